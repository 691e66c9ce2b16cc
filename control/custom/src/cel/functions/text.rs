//! Texts (cel-go's `ext.Strings`, Kubernetes' `regex`).

use regex::Regex;

use super::super::meter::{Fail, Meter};
use super::super::signatures;
use super::super::value::V;
use super::{Outcome, int, unsigned};
use crate::schema::go_regex;

pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Option<Outcome<'a>> {
    // What a function walks over, and that it does.
    if let Some(V::Text(text)) = args.first()
        && let Err(fail) = meter.charge_text(text.len())
    {
        return Some(Err(fail));
    }
    Some(match (name, args) {
        ("contains", [V::Text(text), V::Text(part)]) => {
            meter.charge_pattern(text.len(), part.len()).map(|()| V::Bool(text.contains(&**part)))
        }
        ("startsWith", [V::Text(text), V::Text(part)]) => Ok(V::Bool(text.starts_with(&**part))),
        ("endsWith", [V::Text(text), V::Text(part)]) => Ok(V::Bool(text.ends_with(&**part))),
        ("matches" | "find" | "findAll", [V::Text(text), V::Text(pattern), limit @ ..]) => {
            compile(pattern, meter).and_then(|pattern| search(name, text, &pattern, limit, meter))
        }
        ("charAt", [V::Text(text), V::Int(at)]) => char_at(text, *at),
        ("indexOf", [V::Text(text), V::Text(part), from @ ..]) => index_of(text, part, from, meter),
        ("lastIndexOf", [V::Text(text), V::Text(part), to @ ..]) => last_index_of(text, part, to, meter),
        ("lowerAscii", [V::Text(text)]) => Ok(V::text(text.to_ascii_lowercase())),
        ("upperAscii", [V::Text(text)]) => Ok(V::text(text.to_ascii_uppercase())),
        ("trim", [V::Text(text)]) => Ok(V::text(text.trim())),
        ("reverse", [V::Text(text)]) => Ok(V::text(text.chars().rev().collect::<String>())),
        ("replace", [V::Text(text), V::Text(from), V::Text(to), times @ ..]) => replace(text, from, to, times, meter),
        ("split", [V::Text(text), V::Text(by), limit @ ..]) => split(text, by, limit, meter),
        ("substring", [V::Text(text), V::Int(from), to @ ..]) => substring(text, *from, to),
        ("strings.quote", [V::Text(text)]) => Ok(V::text(format!("{:?}", &**text))),
        (signatures::ESCAPE_KEY, [V::Text(text)]) => Ok(V::text(text.replace('~', "~0").replace('/', "~1"))),
        ("join", [list @ (V::List(_) | V::JsonList(..)), by @ ..]) => join(list, by, meter),
        ("format", [V::Text(form), list @ (V::List(_) | V::JsonList(..))]) => format(form, list, meter),
        _ => return None,
    })
}

/// A pattern that was not known before is compiled each time, and costs accordingly.
fn compile(pattern: &str, meter: &mut Meter) -> Result<Regex, Fail> {
    meter.charge(pattern.len().saturating_mul(10).saturating_add(5_000))?;
    go_regex::compile_small(pattern).map_err(Fail::Error)
}

/// `matches`, `find` and `findAll`.
pub(in super::super) fn search<'a>(
    name: &str,
    text: &str,
    pattern: &Regex,
    limit: &[V<'a>],
    meter: &mut Meter,
) -> Outcome<'a> {
    meter.charge_pattern(text.len(), pattern.as_str().len())?;
    match name {
        "matches" => return Ok(V::Bool(pattern.is_match(text))),
        "find" => return Ok(V::text(pattern.find(text).map_or("", |found| found.as_str()))),
        _ => {}
    }
    let limit = match limit {
        [V::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let mut found = Vec::new();
    for part in pattern.find_iter(text).take(limit) {
        meter.charge(1)?;
        found.push(V::text(part.as_str()));
    }
    Ok(V::list(found))
}

fn char_at<'a>(text: &str, at: i64) -> Outcome<'a> {
    let place = unsigned(at)?;
    match text.chars().nth(place) {
        Some(c) => Ok(V::text(c.to_string())),
        None if place == text.chars().count() => Ok(V::text("")),
        None => Err(Fail::error(format!("index out of range: {at}"))),
    }
}

/// The byte at which the character of that number begins.
fn byte_of(text: &str, at: usize) -> Result<usize, Fail> {
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.nth(at).ok_or_else(|| Fail::error(format!("index out of range: {at}")))
}

fn index_of<'a>(text: &str, part: &str, from: &[V<'a>], meter: &mut Meter) -> Outcome<'a> {
    meter.charge_pattern(text.len(), part.len())?;
    let from = match from {
        [V::Int(from)] => byte_of(text, unsigned(*from)?)?,
        _ => 0,
    };
    Ok(match text[from..].find(part) {
        Some(at) => int(text[..from + at].chars().count()),
        None => V::Int(-1),
    })
}

fn last_index_of<'a>(text: &str, part: &str, to: &[V<'a>], meter: &mut Meter) -> Outcome<'a> {
    meter.charge_pattern(text.len(), part.len())?;
    let end = match to {
        // The match may begin at that place and go on behind it.
        [V::Int(to)] => (byte_of(text, unsigned(*to)?)? + part.len()).min(text.len()),
        _ => text.len(),
    };
    // A match ends where a character does; what is cut within one holds none.
    let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    Ok(match text[..end].rfind(part) {
        Some(at) => int(text[..at].chars().count()),
        None => V::Int(-1),
    })
}

fn replace<'a>(text: &str, from: &str, to: &str, times: &[V<'a>], meter: &mut Meter) -> Outcome<'a> {
    meter.charge_pattern(text.len(), from.len())?;
    let times = match times {
        [V::Int(times)] => usize::try_from(*times).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let count = text.matches(from).take(times).count();
    meter.charge_text(text.len().saturating_add(count.saturating_mul(to.len())))?;
    Ok(V::text(text.replacen(from, to, times)))
}

fn split<'a>(text: &str, by: &str, limit: &[V<'a>], meter: &mut Meter) -> Outcome<'a> {
    meter.charge_pattern(text.len(), by.len())?;
    let limit = match limit {
        [V::Int(0)] => return Ok(V::list(Vec::new())),
        [V::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let mut parts = Vec::new();
    if by.is_empty() {
        // Every character by itself, as Go splits.
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            meter.charge(1)?;
            if parts.len() + 1 == limit {
                parts.push(V::text(rest));
                break;
            }
            parts.push(V::text(first.to_string()));
            rest = &rest[first.len_utf8()..];
        }
        return Ok(V::list(parts));
    }
    for part in text.splitn(limit, by) {
        meter.charge(1)?;
        parts.push(V::text(part));
    }
    Ok(V::list(parts))
}

fn substring<'a>(text: &str, from: i64, to: &[V<'a>]) -> Outcome<'a> {
    let start = byte_of(text, unsigned(from)?)?;
    let end = match to {
        [V::Int(to)] if *to < from => {
            return Err(Fail::error(format!("invalid substring range. start: {from}, end: {to}")));
        }
        [V::Int(to)] => byte_of(text, unsigned(*to)?)?,
        _ => text.len(),
    };
    Ok(V::text(&text[start..end]))
}

fn join<'a>(list: &V<'a>, by: &[V<'a>], meter: &mut Meter) -> Outcome<'a> {
    let by = match by {
        [V::Text(by)] => &**by,
        [] => "",
        _ => return Err(Fail::no_overload()),
    };
    let mut out = String::new();
    for (index, item) in list.items(meter)?.iter().enumerate() {
        let V::Text(text) = item else { return Err(Fail::no_overload()) };
        meter.charge_text(by.len() + text.len())?;
        if index > 0 {
            out.push_str(by);
        }
        out.push_str(text);
    }
    Ok(V::text(out))
}

/// `'%s is %d'.format(['a', 1])`.
fn format<'a>(form: &str, list: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    let mut items = list.items(meter)?.into_iter();
    let mut out = String::new();
    let mut rest = form;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let end =
            rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| Fail::error("unexpected end of string"))?;
        let precision: Option<usize> = match rest[..end].strip_prefix('.') {
            Some(digits) => Some(digits.parse().ok().filter(|digits| *digits <= 100).ok_or_else(bad_precision)?),
            None if end == 0 => None,
            None => return Err(bad_precision()),
        };
        let item = items.next().ok_or_else(|| Fail::error("index out of range"))?;
        let text = clause(&rest[end..=end], precision, &item, meter)?;
        meter.charge_text(text.len())?;
        out.push_str(&text);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(V::text(out))
}

fn bad_precision() -> Fail {
    Fail::error("could not parse formatting clause: error while parsing precision")
}

fn clause(verb: &str, precision: Option<usize>, item: &V<'_>, meter: &mut Meter) -> Result<String, Fail> {
    let digits = precision.unwrap_or(6);
    Ok(match (verb, item) {
        ("s", item) => shown(item, meter)?,
        ("d", V::Int(number)) => number.to_string(),
        ("d", V::Uint(number)) => number.to_string(),
        ("f", V::Double(number)) => format!("{number:.digits$}"),
        ("f", V::Int(number)) => format!("{:.digits$}", *number as f64),
        ("e", V::Double(number)) => {
            let text = format!("{number:.digits$e}");
            let (head, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{head}e{sign}{exponent:0>2}")
        }
        ("b", V::Int(number)) => format!("{}{:b}", if *number < 0 { "-" } else { "" }, number.unsigned_abs()),
        ("b", V::Uint(number)) => format!("{number:b}"),
        ("b", V::Bool(yes)) => u8::from(*yes).to_string(),
        ("o", V::Int(number)) => format!("{}{:o}", if *number < 0 { "-" } else { "" }, number.unsigned_abs()),
        ("x", V::Int(number)) => format!("{}{:x}", if *number < 0 { "-" } else { "" }, number.unsigned_abs()),
        ("X", V::Int(number)) => format!("{}{:X}", if *number < 0 { "-" } else { "" }, number.unsigned_abs()),
        ("x", V::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ("x", V::Bytes(bytes)) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        (verb, item) => {
            let why = format!("error during formatting: %{verb} clause can not be used on {}", item.type_name());
            return Err(Fail::Error(why));
        }
    })
}

/// `%s` of a value.
fn shown(item: &V<'_>, meter: &mut Meter) -> Result<String, Fail> {
    meter.charge(1)?;
    Ok(match item {
        V::Null => "null".to_owned(),
        V::Duration(span) => super::convert::show_duration(*span),
        V::List(_) | V::JsonList(..) => {
            let mut parts = Vec::new();
            for item in item.items(meter)? {
                parts.push(shown(&item, meter)?);
            }
            format!("[{}]", parts.join(", "))
        }
        V::Map(_) | V::JsonMap(..) => {
            let mut parts = Vec::new();
            for key in item.keys(meter)? {
                let value = item.get(&key).unwrap_or(V::Null);
                parts.push(format!("{}: {}", shown(&key, meter)?, shown(&value, meter)?));
            }
            parts.sort_unstable();
            format!("{{{}}}", parts.join(", "))
        }
        other => match super::convert::to_text(other, meter)? {
            V::Text(text) => (*text).to_owned(),
            _ => String::new(),
        },
    })
}
