//! The schema of a kind as OpenAPI documents publish it (apiextensions `controller/openapi/builder`).

use serde_json::{Map, Value, json};

use crate::definition::Names;

const API_VERSION_TEXT: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND_TEXT: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA_TEXT: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const LIST_METADATA_TEXT: &str = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Which document a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    V2,
    V3,
}

impl Edition {
    fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }

    /// A reference with a text beside it, which a bare one has no room for.
    fn described(self, name: &str, text: &str) -> Value {
        match self {
            Self::V2 => {
                let mut reference = self.reference(name);
                reference["description"] = text.into();
                reference
            }
            Self::V3 => json!({"allOf": [self.reference(name)], "description": text}),
        }
    }
}

/// The name of a kind's schema: `com.example.v1.Widget`.
pub(crate) fn name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// The schema of one object.
pub(crate) fn object(schema: &Value, group: &str, version: &str, kind: &str, edition: Edition) -> Value {
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let kind = json!([{"group": group, "kind": kind, "version": version}]);
    if edition == Edition::V2 && (free || !schema.is_object()) {
        // What is free at its root is told as free as a whole: old clients refuse what they do not know.
        return json!({"type": "object", "x-kubernetes-group-version-kind": kind});
    }
    let mut schema = match (schema, edition) {
        (Value::Object(_), Edition::V3) => schema.clone(),
        (Value::Object(_), Edition::V2) => v2(schema),
        _ => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    };
    let properties = &mut schema["properties"];
    if !properties.is_object() {
        *properties = Value::Object(Map::new());
    }
    properties["apiVersion"] = json!({"type": "string", "description": API_VERSION_TEXT});
    properties["kind"] = json!({"type": "string", "description": KIND_TEXT});
    properties["metadata"] = edition.described(OBJECT_META, METADATA_TEXT);
    embedded(&mut schema, edition, true);
    schema["x-kubernetes-group-version-kind"] = kind;
    schema
}

/// The schema of a list of them.
pub(crate) fn list(group: &str, version: &str, names: &Names, edition: Edition) -> Value {
    let items = edition.reference(&name(group, version, &names.kind));
    json!({
        "description": format!("{} is a list of {}", names.list_kind, names.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION_TEXT},
            "items": {
                "description": format!("List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", names.plural),
                "type": "array",
                "items": items,
            },
            "kind": {"type": "string", "description": KIND_TEXT},
            "metadata": edition.described(LIST_META, LIST_METADATA_TEXT),
        },
        "x-kubernetes-group-version-kind": [{"group": group, "kind": names.list_kind, "version": version}],
    })
}

/// Objects in objects have metadata too.
fn embedded(schema: &mut Value, edition: Edition, root: bool) {
    let Some(map) = schema.as_object_mut() else { return };
    if !root && map.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        let properties = map.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        properties["apiVersion"] = json!({"type": "string", "description": API_VERSION_TEXT});
        properties["kind"] = json!({"type": "string", "description": KIND_TEXT});
        properties["metadata"] = edition.described(OBJECT_META, METADATA_TEXT);
    }
    for inner in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        embedded(inner, edition, false);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(name) {
            embedded(inner, edition, false);
        }
    }
}

/// What OpenAPI v2 cannot say is left out; what it would say wrongly becomes free.
fn v2(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let flag = |name: &str| map.get(name) == Some(&Value::Bool(true));
    // Old kubectl checks types, and knows neither null nor two types.
    let free = flag("nullable") || flag("x-kubernetes-int-or-string");
    let mut out = Map::new();
    for (name, value) in map {
        match name.as_str() {
            "anyOf" | "oneOf" | "allOf" | "not" | "nullable" => {}
            "type" | "items" | "properties" | "additionalProperties" if free => {}
            "items" | "additionalProperties" => drop(out.insert(name.clone(), v2(value))),
            "properties" if flag("x-kubernetes-preserve-unknown-fields") => {}
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let properties: Map<String, Value> =
                    properties.map(|(name, value)| (name.clone(), v2(value))).collect();
                out.insert(name.clone(), properties.into());
            }
            _ => drop(out.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_published_with_what_every_object_has() {
        let schema = json!({
            "type": "object",
            "description": "A widget.",
            "properties": {
                "metadata": {"type": "object"},
                "spec": {"type": "object", "properties": {
                    "size": {"type": "integer", "nullable": true},
                    "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                }},
            },
        });
        let v3 = object(&schema, "example.com", "v1", "Widget", Edition::V3);
        assert_eq!(v3["description"], "A widget.");
        let reference = format!("#/components/schemas/{OBJECT_META}");
        assert_eq!(v3["properties"]["metadata"]["allOf"][0]["$ref"], reference);
        let template = &v3["properties"]["spec"]["properties"]["template"]["properties"];
        assert_eq!(template["metadata"]["allOf"][0]["$ref"], reference);
        let gvk = json!([{"group": "example.com", "kind": "Widget", "version": "v1"}]);
        assert_eq!(v3["x-kubernetes-group-version-kind"], gvk);
        assert_eq!(name("stable.example.com", "v1", "Widget"), "com.example.stable.v1.Widget");
        let v2 = object(&schema, "example.com", "v1", "Widget", Edition::V2);
        assert_eq!(v2["properties"]["spec"]["properties"]["size"], json!({}));
        assert_eq!(v2["properties"]["spec"]["properties"]["port"], json!({"x-kubernetes-int-or-string": true}));
        assert_eq!(v2["properties"]["metadata"]["$ref"], format!("#/definitions/{OBJECT_META}"));
        let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"spec": {}}});
        let whole = json!({"type": "object", "x-kubernetes-group-version-kind": gvk});
        assert_eq!(object(&free, "example.com", "v1", "Widget", Edition::V2), whole, "nothing in it is refused");
    }
}
