//! Go's words, where clients read them in messages.

use std::num::{IntErrorKind, ParseIntError};

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

/// A number as Go reads it (`strconv.ParseInt`), or why it does not.
pub fn signed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: ParseIntError| {
        let too_large = matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
        let why = if too_large { "value out of range" } else { "invalid syntax" };
        format!("strconv.ParseInt: parsing {text:?}: {why}")
    })
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

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let check = |text: &str, expected: Result<i64, &str>| {
            let expected = expected.map_err(|why| format!("strconv.ParseInt: parsing {text:?}: {why}"));
            assert_eq!(signed(text), expected);
        };
        check("0", Ok(0));
        check("+1", Ok(1));
        check("-007", Ok(-7));
        check("9223372036854775807", Ok(i64::MAX));
        check("9223372036854775808", Err("value out of range"));
        check("-9223372036854775809", Err("value out of range"));
        for text in ["", "-", "x", " 1", "0x2", "1_0", "1.5"] {
            check(text, Err("invalid syntax"));
        }
    }
}
