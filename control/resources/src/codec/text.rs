//! JSON as answers have it.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// What of an object comes first: what it is, and what it is called. The rest is in the order of the names.
const FIRST: [&str; 3] = ["kind", "apiVersion", "metadata"];

/// A value as compact JSON, in which each object begins with its kind, its version and its metadata.
pub fn to_json(value: &Value) -> Vec<u8> {
    // Values have texts for keys: nothing about them cannot be written.
    serde_json::to_vec(&Led(value)).unwrap_or_default()
}

struct Led<'a>(&'a Value);

impl Serialize for Led<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let first = FIRST.into_iter().filter_map(|name| fields.get_key_value(name));
                let others = fields.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
                serializer.collect_map(first.chain(others).map(|(name, value)| (name, Led(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Led)),
            plain => plain.serialize(serializer),
        }
    }
}

/// JSON as people read it: a line for each field and item, two spaces for each level. Nothing else about it changes, its
/// order and how its numbers are written included.
pub fn indented(json: &[u8]) -> Vec<u8> {
    fn line(out: &mut Vec<u8>, depth: usize) {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    }
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut within, mut escaped) = (0usize, false, false);
    for &byte in json {
        if within {
            out.push(byte);
            within = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                // What is empty stays on its line.
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    line(&mut out, depth);
                }
            }
            _ if matches!(out.last(), Some(b'{' | b'[')) => line(&mut out, depth),
            _ => {}
        }
        out.push(byte);
        match byte {
            b'"' => within = true,
            b'{' | b'[' => depth += 1,
            b',' => line(&mut out, depth),
            b':' => out.push(b' '),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_begin_with_what_they_are() {
        let check = |value: Value, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&to_json(&value)), expected);
        };
        check(
            json!({"items": [{"a": 1, "metadata": {"name": "x"}}], "apiVersion": "v1", "metadata": {}, "kind": "List"}),
            r#"{"kind":"List","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"x"},"a":1}]}"#,
        );
        check(json!(["b", null, 1.5, {"c": {}, "b": []}]), r#"["b",null,1.5,{"b":[],"c":{}}]"#);
    }

    #[test]
    fn indented_json_says_the_same_on_more_lines() {
        let check = |json: &str, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&indented(json.as_bytes())), expected);
        };
        check("{}", "{}");
        check("[ ]", "[]");
        check(r#"{"b":1.50,"a":[]}"#, "{\n  \"b\": 1.50,\n  \"a\": []\n}");
        check(
            r#"[{"x":{"y":[1,2]}}]"#,
            "[\n  {\n    \"x\": {\n      \"y\": [\n        1,\n        2\n      ]\n    }\n  }\n]",
        );
        check(r#"{"a":"{\"[,:\\","b":"\\\"}"}"#, "{\n  \"a\": \"{\\\"[,:\\\\\",\n  \"b\": \"\\\\\\\"}\"\n}");
        check(" {\"a\" : [ {} , [ ] ] } \n", "{\n  \"a\": [\n    {},\n    []\n  ]\n}");
    }

    #[test]
    fn indented_json_is_as_serde_writes_it() {
        let value = json!({"a": [1, {"b": "c\n\"", "d": []}], "e": {}, "f": {"g": null, "h": [[], [true]]}});
        let compact = serde_json::to_vec(&value).expect("JSON");
        assert_eq!(indented(&compact), serde_json::to_vec_pretty(&value).expect("JSON"));
    }
}
