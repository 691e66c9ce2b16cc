//! FieldsV1: the JSON form of a set.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::element::Element;
use super::set::{FieldSet, Node};

/// The key by which a path says that it is in the set itself.
const SELF: &str = ".";

impl FieldSet {
    /// The set as FieldsV1, byte for byte as Kubernetes writes it.
    pub fn to_json(&self) -> String {
        let mut text = String::with_capacity(256);
        self.write_json(&mut text, false);
        text
    }

    /// Appends the set as FieldsV1; `own`: the path that it hangs on is a member.
    pub(crate) fn write_json(&self, out: &mut String, own: bool) {
        out.push('{');
        let mut follows = false;
        // A path with nothing below is written as an empty object.
        if own && !self.is_empty() {
            out.push_str("\".\":{}");
            follows = true;
        }
        for (element, node) in &self.nodes {
            if follows {
                out.push(',');
            }
            follows = true;
            write_key(out, element);
            out.push(':');
            node.below.write_json(out, node.member);
        }
        out.push('}');
    }
}

/// Appends an element as a key.
pub(crate) fn write_key(out: &mut String, element: &Element) {
    match element {
        Element::Field(name) => quoted_key(out, name),
        element => quoted(out, &element.encode()),
    }
}

/// Appends a field's name as a key.
pub(crate) fn quoted_key(out: &mut String, name: &str) {
    if name.bytes().all(is_plain) {
        out.push_str("\"f:");
        out.push_str(name);
        out.push('"');
    } else {
        quoted(out, &format!("f:{name}"));
    }
}

/// Whether a byte stands for itself in JSON.
fn is_plain(byte: u8) -> bool {
    !matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

/// Appends a text as JSON.
pub(crate) fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Branch.deserialize(deserializer).map(|node| node.below)
    }
}

/// Reads an object of FieldsV1.
struct Branch;

impl<'de> DeserializeSeed<'de> for Branch {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Branch {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of FieldsV1")
    }

    /// Kubernetes takes `null` for the empty object.
    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::leaf())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut node = Node::default();
        while let Some(key) = map.next_key::<String>()? {
            let inner = map.next_value_seed(Branch)?;
            if key == SELF {
                node.member = true;
                continue;
            }
            let element = Element::decode(&key).map_err(A::Error::custom)?;
            node.below.put(element, inner);
        }
        node.below.settle();
        node.member |= node.below.is_empty();
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_they_were_read() {
        for text in [
            "{}",
            r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{}}}"#,
            r#"{"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}"#,
            r#"{"f:finalizers":{".":{},"v:\"a\"":{},"v:\"b\"":{}}}"#,
            r#"{"f:l":{"i:0":{},"i:1":{"f:x":{}}}}"#,
            r#"{"f:a\"b\\":{}}"#,
        ] {
            let set: FieldSet = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(set.to_json(), text);
        }
    }

    #[test]
    fn sets_are_written_in_order() {
        fn check(text: &str, expected: &str) {
            let set: FieldSet = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(set.to_json(), expected);
        }
        check(
            r#"{"v:1":{},"f:b":{"f:c":{},".":{}},"k:{\"b\":1,\"a\":2}":{},"f:a":{}}"#,
            r#"{"f:a":{},"f:b":{".":{},"f:c":{}},"k:{\"a\":2,\"b\":1}":{},"v:1":{}}"#,
        );
        check(r#"{"f:a":{".":{}}}"#, r#"{"f:a":{}}"#);
        check(r#"{"f:a":null}"#, r#"{"f:a":{}}"#);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["[]", "1", r#"{"a":{}}"#, r#"{"f:a":1}"#, r#"{"f:a":{"q:b":{}}}"#, r#"{"k:{":{}}"#] {
            assert!(serde_json::from_str::<FieldSet>(text).is_err(), "{text}");
        }
    }
}
