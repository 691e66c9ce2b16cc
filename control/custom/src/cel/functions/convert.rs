//! From one type to another, and optional values.

use std::rc::Rc;

use pal_resources::duration;

use super::super::meter::{Fail, Meter};
use super::super::value::{Text, V};
use super::{Outcome, int};
use crate::number;

pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Option<Outcome<'a>> {
    Some(match (name, args) {
        ("size", [of]) => size(of, meter),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(V::Type(value.type_name())),
        ("bool", [value]) => to_bool(value),
        ("int", [value]) => to_int(value),
        ("uint", [value]) => to_uint(value),
        ("double", [value]) => to_double(value),
        ("string", [value]) => to_text(value, meter),
        ("bytes", [V::Text(text)]) => Ok(V::Bytes(text.as_bytes().into())),
        ("bytes", [bytes @ V::Bytes(_)]) => Ok(bytes.clone()),
        ("optional.of", [value]) => Ok(V::some(value.clone())),
        ("optional.none", []) => Ok(V::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(V::Optional((!is_zero(value)).then(|| Rc::new(value.clone())))),
        ("hasValue", [V::Optional(inner)]) => Ok(V::Bool(inner.is_some())),
        ("value", [V::Optional(inner)]) => {
            inner.as_deref().cloned().ok_or_else(|| Fail::error("optional.none() dereference"))
        }
        ("or", [V::Optional(inner), other]) => Ok(if inner.is_some() { args[0].clone() } else { other.clone() }),
        ("orValue", [V::Optional(inner), other]) => Ok(inner.as_deref().unwrap_or(other).clone()),
        _ => return None,
    })
}

fn size<'a>(of: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    match of {
        V::Text(text) => {
            meter.charge_text(text.len())?;
            Ok(int(text.chars().count()))
        }
        V::Bytes(bytes) => Ok(int(bytes.len())),
        other => other.count().map(int).ok_or_else(Fail::no_overload),
    }
}

fn is_zero(value: &V<'_>) -> bool {
    match value {
        V::Null | V::Bool(false) | V::Int(0) | V::Uint(0) | V::Duration(0) | V::Optional(None) => true,
        V::Double(number) => *number == 0.0,
        V::Text(text) => text.is_empty(),
        V::Bytes(bytes) => bytes.is_empty(),
        other => other.count() == Some(0),
    }
}

fn to_bool<'a>(value: &V<'a>) -> Outcome<'a> {
    match value {
        V::Bool(_) => Ok(value.clone()),
        V::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(V::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(V::Bool(false)),
            other => Err(Fail::error(format!("Type conversion error: {other:?} is no bool"))),
        },
        _ => Err(Fail::no_overload()),
    }
}

fn range() -> Fail {
    Fail::error("integer overflow")
}

fn to_int<'a>(value: &V<'a>) -> Outcome<'a> {
    match value {
        V::Int(_) => Ok(value.clone()),
        V::Uint(number) => i64::try_from(*number).map(V::Int).map_err(|_| range()),
        V::Double(number) if number.abs() < 9.223_372_036_854_775e18 => Ok(V::Int(number.trunc() as i64)),
        V::Double(_) => Err(range()),
        V::Text(text) => text
            .parse()
            .map(V::Int)
            .map_err(|_| Fail::error(format!("strconv.ParseInt: parsing {:?}: invalid syntax", &**text))),
        V::Time(time) => Ok(V::Int(time.as_second())),
        V::Duration(span) => Ok(V::Int(*span)),
        _ => Err(Fail::no_overload()),
    }
}

fn to_uint<'a>(value: &V<'a>) -> Outcome<'a> {
    match value {
        V::Uint(_) => Ok(value.clone()),
        V::Int(number) => u64::try_from(*number).map(V::Uint).map_err(|_| Fail::error("unsigned integer overflow")),
        V::Double(number) if (0.0..1.844_674_407_370_955e19).contains(number) => Ok(V::Uint(number.trunc() as u64)),
        V::Double(_) => Err(Fail::error("unsigned integer overflow")),
        V::Text(text) => text
            .parse()
            .map(V::Uint)
            .map_err(|_| Fail::error(format!("strconv.ParseUint: parsing {:?}: invalid syntax", &**text))),
        _ => Err(Fail::no_overload()),
    }
}

fn to_double<'a>(value: &V<'a>) -> Outcome<'a> {
    match value {
        V::Double(_) => Ok(value.clone()),
        V::Int(number) => Ok(V::Double(*number as f64)),
        V::Uint(number) => Ok(V::Double(*number as f64)),
        V::Text(text) => text
            .parse()
            .map(V::Double)
            .map_err(|_| Fail::error(format!("strconv.ParseFloat: parsing {:?}: invalid syntax", &**text))),
        _ => Err(Fail::no_overload()),
    }
}

/// The text of a value, as `string()` and `%s` write it.
pub(super) fn to_text<'a>(value: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    Ok(match value {
        V::Text(_) => value.clone(),
        V::Bool(yes) => V::text(yes.to_string()),
        V::Int(number) => V::text(number.to_string()),
        V::Uint(number) => V::text(number.to_string()),
        V::Double(number) => V::text(number::show(*number)),
        V::Bytes(bytes) => {
            meter.charge_text(bytes.len())?;
            match std::str::from_utf8(bytes) {
                Ok(text) => V::text(text),
                Err(_) => return Err(Fail::error("invalid UTF-8 in bytes, cannot convert to string")),
            }
        }
        V::Time(time) => V::text(time.to_string()),
        // CEL writes seconds alone.
        V::Duration(span) => V::text(format!("{}s", number::show(*span as f64 / 1e9))),
        V::Ip(address) => V::text(address.to_string()),
        V::Cidr(address, bits) => V::text(format!("{address}/{bits}")),
        V::Type(name) => V::Text(Text::Borrowed(name)),
        V::Quantity(quantity) => V::text(quantity.to_string()),
        V::Url(url) => V::text(url.as_str()),
        _ => return Err(Fail::no_overload()),
    })
}

/// How `%s` of `format` writes durations: as Go does.
pub(super) fn show_duration(nanoseconds: i64) -> String {
    duration::show(nanoseconds)
}
