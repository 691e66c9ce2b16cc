//! Go's words, where clients read them in messages.

use serde_json::Value;

/// The type of an unstructured value as Go's `%T` has it.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Why Go reads no unsigned number from a text (`strconv.ParseUint`); `None` where it does.
pub fn unsigned_fault(text: &str) -> Option<String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let why = match text.parse::<u64>() {
        Ok(_) if digits => return None,
        Err(_) if digits => "value out of range",
        _ => "invalid syntax",
    };
    Some(format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_unsigned_number_is_told_in_gos_words() {
        let check = |text: &str, why: Option<&str>| {
            let expected = why.map(|why| format!("strconv.ParseUint: parsing {text:?}: {why}"));
            assert_eq!(unsigned_fault(text), expected);
        };
        check("0", None);
        check("18446744073709551615", None);
        check("18446744073709551616", Some("value out of range"));
        for text in ["", "x", "+1", "-1", "1 "] {
            check(text, Some("invalid syntax"));
        }
    }
}
