//! What a definition defaults to (apiextensions `v1/defaults.go` and the strategy of its registry).

use serde_json::{Map, Value, json};

/// Fills in what was left out: names, list kind, conversion, versions' flags. Idempotent.
pub fn default_definition(crd: &mut Value) {
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = text(names, "kind").to_owned();
        if text(names, "singular").is_empty() && !kind.is_empty() {
            names.insert("singular".to_owned(), kind.to_lowercase().into());
        }
        if text(names, "listKind").is_empty() && !kind.is_empty() {
            names.insert("listKind".to_owned(), format!("{kind}List").into());
        }
    }
    let conversion = spec.entry("conversion").or_insert(Value::Null);
    if conversion.is_null() {
        *conversion = json!({"strategy": "None"});
    }
    default_webhook(conversion);
}

/// A webhook's service listens on 443 unless it says otherwise.
fn default_webhook(conversion: &mut Value) {
    let service = conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut);
    if let Some(service) = service
        && service.get("port").is_none_or(Value::is_null)
    {
        service.insert("port".to_owned(), 443.into());
    }
}

/// Puts the storage version among `status.storedVersions`, as every write of the spec does.
pub fn store_version(crd: &mut Value) {
    let storage = crd["spec"]["versions"].as_array().and_then(|versions| {
        let version = versions.iter().find(|version| version["storage"] == true)?;
        version["name"].as_str().map(str::to_owned)
    });
    let (Some(storage), Some(crd)) = (storage, crd.as_object_mut()) else { return };
    let status = crd.entry("status").or_insert_with(|| Value::Object(Map::new()));
    if !status.is_object() {
        *status = Value::Object(Map::new());
    }
    let stored = &mut status["storedVersions"];
    match stored {
        Value::Array(stored) if stored.iter().any(|version| *version == storage) => {}
        Value::Array(stored) => stored.push(storage.into()),
        other => *other = json!([storage]),
    }
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> &'a str {
    map.get(name).and_then(Value::as_str).unwrap_or_default()
}
