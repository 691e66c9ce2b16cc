//! Paths of fields as rules and selectable fields write them: `.spec.color`, `.map['key']`, checked against a schema.

use serde_json::Value;

/// What a path leads to.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// As messages write it: `spec.color`, `map[key]`.
    pub(crate) path: String,
    pub(crate) schema: &'a Value,
}

/// What a path may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    /// `.name` alone
    Fields,
    /// and `['name']`
    FieldsAndKeys,
}

/// Follows a path through a schema.
pub(crate) fn resolve<'a>(path: &str, schema: &'a Value, notation: Notation) -> Result<Found<'a>, String> {
    let mut found = Found { path: String::new(), schema };
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let name = match first {
            '.' => {
                let end = rest[1..].find(['.', '[', ']']).map_or(rest.len(), |at| at + 1);
                let name = &rest[1..end];
                rest = &rest[end..];
                if name.is_empty() {
                    // The scanner of Kubernetes would take the next delimiter for a name.
                    return Err(match rest.chars().next() {
                        None => "unexpected end of JSON path".to_owned(),
                        Some(_) => "does not refer to a valid field".to_owned(),
                    });
                }
                name.to_owned()
            }
            '[' if notation == Notation::Fields => return Err("array notation is not allowed".to_owned()),
            '[' => {
                let (name, after) = quoted(&rest[1..])?;
                rest = after;
                name
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        step(&mut found, &name)?;
    }
    Ok(found)
}

/// The text in quotes and what follows the bracket behind it.
fn quoted(rest: &str) -> Result<(String, &str), String> {
    let Some(inner) = rest.strip_prefix('\'') else {
        let got = rest.split(['.', '[', ']']).next().unwrap_or_default();
        return Err(match got {
            "" => "unexpected end of JSON path".to_owned(),
            got => format!("expected single quoted string but got {got}"),
        });
    };
    let mut name = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => {
                let after = inner[at + 1..].strip_prefix(']').ok_or("expected ]")?;
                return Ok((name, after));
            }
            '\\' => match chars.next() {
                Some((_, 'n')) => name.push('\n'),
                Some((_, 't')) => name.push('\t'),
                Some((_, 'r')) => name.push('\r'),
                Some((_, c @ ('\'' | '\\'))) => name.push(c),
                Some((_, other)) => return Err(format!("invalid string literal: invalid escape char \\{other}")),
                None => break,
            },
            c => name.push(c),
        }
    }
    Err("unexpected end of JSON path".to_owned())
}

fn step(found: &mut Found<'_>, name: &str) -> Result<(), String> {
    let schema = found.schema;
    if let Some(properties) = schema["properties"].as_object().filter(|map| !map.is_empty()) {
        found.schema = properties.get(name).ok_or("does not refer to a valid field")?;
        if !found.path.is_empty() {
            found.path.push('.');
        }
        found.path.push_str(name);
    } else if schema["additionalProperties"].is_object() {
        found.schema = &schema["additionalProperties"];
        found.path = format!("{}[{name}]", found.path);
    } else {
        return Err("does not refer to a valid field".to_owned());
    }
    Ok(())
}
