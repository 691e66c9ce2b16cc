//! Who owns what: `metadata.managedFields`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::fields_v1::quoted;
use super::set::FieldSet;

/// How fields came to be owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What a manager is told apart by. One that applies is the same in all versions of the API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

/// One manager's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub manager: String,
    pub operation: Operation,
    /// The version in which the fields are named.
    pub api_version: String,
    /// When the manager last took fields: RFC 3339, in whole seconds.
    pub time: Option<String>,
    pub fields: FieldSet,
    /// The subresource through which it wrote; empty for the object itself.
    pub subresource: String,
}

impl Entry {
    pub(crate) fn identity(&self) -> Identity {
        let applied = self.operation == Operation::Apply;
        Identity {
            manager: self.manager.clone(),
            operation: self.operation,
            api_version: if applied { String::new() } else { self.api_version.clone() },
            subresource: self.subresource.clone(),
        }
    }

    pub(crate) fn is(&self, identity: &Identity) -> bool {
        self.manager == identity.manager
            && self.operation == identity.operation
            && self.subresource == identity.subresource
            && (self.operation == Operation::Apply || self.api_version == identity.api_version)
    }
}

/// The managers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(pub(crate) Vec<Entry>);

/// `managedFields` that say nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadManagers(String);

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    manager: Option<String>,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    fields_type: Option<String>,
    #[serde(default)]
    fields_v1: Option<FieldSet>,
    #[serde(default)]
    subresource: Option<String>,
}

impl Managers {
    /// The managers that these entries are of.
    pub fn of(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    /// Reads the list.
    pub fn from_json(text: &str) -> Result<Self, BadManagers> {
        serde_json::from_str(text).map_err(|error| BadManagers(error.to_string())).and_then(Self::read)
    }

    /// Reads the list.
    pub fn from_value(value: &Value) -> Result<Self, BadManagers> {
        if value.is_null() {
            return Ok(Self::default());
        }
        Vec::<Written>::deserialize(value).map_err(|error| BadManagers(error.to_string())).and_then(Self::read)
    }

    /// Whether a body asks for the managers to be forgotten: an empty list, or one entry that says nothing.
    pub fn is_reset(value: &Value) -> bool {
        match value.as_array().map(Vec::as_slice) {
            Some([]) => true,
            Some([Value::Object(entry)]) => entry.values().all(Value::is_null),
            _ => false,
        }
    }

    fn read(written: Vec<Written>) -> Result<Self, BadManagers> {
        let mut managers: Vec<Entry> = Vec::with_capacity(written.len());
        for (at, entry) in written.into_iter().enumerate() {
            let entry = entry_of(at, entry)?;
            let identity = entry.identity();
            match managers.iter_mut().find(|other| other.is(&identity)) {
                Some(other) => *other = entry,
                None => managers.push(entry),
            }
        }
        Ok(Self(managers))
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the same managers own the same fields in the same versions; times aside.
    pub fn owns_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|entry| {
                other
                    .get(&entry.identity())
                    .is_some_and(|other| other.api_version == entry.api_version && other.fields == entry.fields)
            })
    }

    /// The managers, in their order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The list as it is stored, in Kubernetes' order. Empty text for no managers.
    pub fn to_json(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut order: Vec<&Entry> = self.0.iter().collect();
        order.sort_by(|a, b| place(a).cmp(&place(b)));
        let mut text = String::with_capacity(512);
        text.push('[');
        for (at, entry) in order.into_iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            open_entry(&mut text, entry);
            entry.fields.write_json(&mut text, false);
            close_entry(&mut text, &entry.subresource);
        }
        text.push(']');
        text
    }

    pub(crate) fn get(&self, identity: &Identity) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is(identity))
    }

    pub(crate) fn get_mut(&mut self, identity: &Identity) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.is(identity))
    }

    pub(crate) fn remove(&mut self, identity: &Identity) -> Option<Entry> {
        let at = self.0.iter().position(|entry| entry.is(identity))?;
        Some(self.0.remove(at))
    }

    /// Merges the oldest entries of updates, of one version each, until there are no more than `most`.
    pub(crate) fn cap_updates(&mut self, most: usize, name: &str) {
        let mut updates: Vec<Entry> = self.0.extract_if(.., |entry| entry.operation == Operation::Update).collect();
        updates.sort_by(|a, b| (&a.time, a.identity()).cmp(&(&b.time, b.identity())));
        let mut count = updates.len();
        let mut firsts: BTreeMap<String, usize> = BTreeMap::new();
        let mut at = 0;
        while at < updates.len() && count > most {
            let Some(&first) = firsts.get(&updates[at].api_version) else {
                firsts.insert(updates[at].api_version.clone(), at);
                at += 1;
                continue;
            };
            let merged = updates.remove(at);
            let bucket = &mut updates[first];
            bucket.manager = name.to_owned();
            bucket.subresource.clear();
            bucket.time = merged.time;
            bucket.fields.add(merged.fields);
            count -= 1;
        }
        self.0.extend(updates);
    }
}

fn entry_of(at: usize, written: Written) -> Result<Entry, BadManagers> {
    let bad = |words: String| Err(BadManagers(words));
    let operation = match written.operation.as_deref() {
        Some("Apply") => Operation::Apply,
        Some("Update") => Operation::Update,
        _ => return bad("operation must be `Apply` or `Update`".to_owned()),
    };
    let api_version = written.api_version.unwrap_or_default();
    if api_version.is_empty() {
        return bad("apiVersion must not be empty".to_owned());
    }
    match written.fields_type.as_deref().unwrap_or_default() {
        "FieldsV1" => {}
        "" => return bad(format!("missing fieldsType in managed fields entry {at}")),
        other => return bad(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
    }
    Ok(Entry {
        manager: written.manager.unwrap_or_default(),
        operation,
        api_version,
        time: written.time,
        fields: written.fields_v1.unwrap_or_default(),
        subresource: written.subresource.unwrap_or_default(),
    })
}

/// What entries are ordered by.
fn place(entry: &Entry) -> impl Ord {
    (entry.operation, &entry.time, &entry.manager, &entry.api_version, &entry.subresource)
}

/// Writes an entry up to its fields.
pub(crate) fn open_entry(out: &mut String, entry: &Entry) {
    out.push('{');
    if !entry.manager.is_empty() {
        out.push_str("\"manager\":");
        quoted(out, &entry.manager);
        out.push(',');
    }
    out.push_str("\"operation\":\"");
    out.push_str(entry.operation.word());
    out.push_str("\",\"apiVersion\":");
    quoted(out, &entry.api_version);
    if let Some(time) = &entry.time {
        out.push_str(",\"time\":");
        quoted(out, time);
    }
    out.push_str(",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
}

/// Writes what comes after an entry's fields.
pub(crate) fn close_entry(out: &mut String, subresource: &str) {
    if !subresource.is_empty() {
        out.push_str(",\"subresource\":");
        quoted(out, subresource);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: Operation, time: &str, fields: &[&[&str]]) -> Entry {
        Entry {
            manager: manager.to_owned(),
            operation,
            api_version: "v1".to_owned(),
            time: (!time.is_empty()).then(|| time.to_owned()),
            fields: FieldSet::of_fields(fields),
            subresource: String::new(),
        }
    }

    #[test]
    fn managers_are_written_in_kubernetes_order_and_read_again() {
        let mut status = entry("kubelet", Operation::Update, "2026-01-02T00:00:00Z", &[&["status", "phase"]]);
        status.subresource = "status".to_owned();
        let managers = Managers(vec![
            status,
            entry("b", Operation::Update, "2026-01-01T00:00:00Z", &[&["data"]]),
            entry("a", Operation::Update, "2026-01-01T00:00:00Z", &[&["data"]]),
            entry("z", Operation::Apply, "2026-01-03T00:00:00Z", &[&["data", "x"]]),
        ]);
        let text = managers.to_json();
        assert_eq!(
            text,
            concat!(
                r#"[{"manager":"z","operation":"Apply","apiVersion":"v1","time":"2026-01-03T00:00:00Z","#,
                r#""fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:x":{}}}},"#,
                r#"{"manager":"a","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","#,
                r#""fieldsType":"FieldsV1","fieldsV1":{"f:data":{}}},"#,
                r#"{"manager":"b","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","#,
                r#""fieldsType":"FieldsV1","fieldsV1":{"f:data":{}}},"#,
                r#"{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2026-01-02T00:00:00Z","#,
                r#""fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:phase":{}}},"subresource":"status"}]"#,
            )
        );
        assert_eq!(Managers::from_json(&text).map(|read| read.to_json()), Ok(text));
        assert_eq!(Managers::default().to_json(), "");
    }

    #[test]
    fn what_says_nothing_useful_is_refused() {
        fn check(value: Value, expected: &str) {
            let found = Managers::from_value(&value).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{value}: {found}");
        }
        check(json!([{"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}]), "");
        check(json!(null), "");
        check(json!([{}]), "operation must be `Apply` or `Update`");
        check(json!([{"operation": "Apply"}]), "apiVersion must not be empty");
        check(json!([{"operation": "Apply", "apiVersion": "v1"}]), "missing fieldsType in managed fields entry 0");
        check(
            json!([{"operation": "Apply", "apiVersion": "v1", "fieldsType": "V2"}]),
            "invalid fieldsType \"V2\" in managed fields entry 0",
        );
        check(
            json!([{"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"x": {}}}]),
            "missing colon",
        );
    }

    #[test]
    fn an_empty_list_or_an_empty_entry_resets() {
        for (value, expected) in [
            (json!([]), true),
            (json!([{}]), true),
            (json!(null), false),
            (json!([{}, {}]), false),
            (json!([{"manager": "a"}]), false),
        ] {
            assert_eq!(Managers::is_reset(&value), expected, "{value}");
        }
    }

    #[test]
    fn the_oldest_updates_become_one() {
        let update = |n: u32| {
            entry(
                &format!("m{n:02}"),
                Operation::Update,
                &format!("2026-01-01T00:00:{n:02}Z"),
                &[&["data", &format!("k{n}")]],
            )
        };
        let mut managers = Managers((0..12).map(update).collect());
        managers.0.push(entry("applier", Operation::Apply, "2020-01-01T00:00:00Z", &[&["data"]]));
        managers.cap_updates(10, "ancient-changes");
        let names: Vec<&str> = managers.0.iter().map(|entry| &*entry.manager).collect();
        assert_eq!(
            names,
            ["applier", "ancient-changes", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11"]
        );
        let ancient = &managers.0[1];
        assert_eq!(ancient.time.as_deref(), Some("2026-01-01T00:00:02Z"));
        assert_eq!(ancient.fields.to_json(), r#"{"f:data":{"f:k0":{},"f:k1":{},"f:k2":{}}}"#);
    }

    #[test]
    fn updates_of_other_versions_are_kept_apart() {
        let mut managers = Managers::default();
        for n in 0..4 {
            let mut one = entry(&format!("m{n}"), Operation::Update, &format!("2026-01-01T00:00:0{n}Z"), &[&["a"]]);
            one.api_version = if n % 2 == 0 { "v1" } else { "v2" }.to_owned();
            managers.0.push(one);
        }
        managers.cap_updates(2, "old");
        let names: Vec<(&str, &str)> = managers.0.iter().map(|e| (&*e.manager, &*e.api_version)).collect();
        assert_eq!(names, [("old", "v1"), ("old", "v2")]);
    }
}
