//! Values as Go prints them, which is how Kubernetes' messages show patches.

use std::fmt::Write;

use serde_json::Value;

/// As `fmt.Sprintf("%v")` prints a decoded JSON value: `map[spec:map[replicas:3]]`, keys in order.
pub fn go_text(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::String(string) => text.push_str(string),
        // Writing to a String cannot fail.
        Value::Bool(_) | Value::Number(_) => drop(write!(text, "{value}")),
        Value::Array(list) => {
            text.push('[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    text.push(' ');
                }
                write(text, item);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push_str("map[");
            for (at, (key, item)) in entries.into_iter().enumerate() {
                if at > 0 {
                    text.push(' ');
                }
                text.push_str(key);
                text.push(':');
                write(text, item);
            }
            text.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_printed_as_go_does() {
        let value = json!({"b": [1, "x", true], "a": {"c": null}});
        assert_eq!(go_text(&value), "map[a:map[c:<nil>] b:[1 x true]]");
    }
}
