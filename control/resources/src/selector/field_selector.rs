//! Field selectors: `status.phase!=Failed,spec.nodeName=a`.

use crate::Status;

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldOperator {
    Equals,
    NotEquals,
}

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub field: String,
    pub operator: FieldOperator,
    pub value: String,
}

/// Conditions on fields that must all hold. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// The selector of a query string.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut requirements = Vec::new();
        for term in terms(text) {
            if term.is_empty() {
                continue;
            }
            let Some((field, operator, value)) = split(term) else {
                let message = format!("invalid selector: '{text}'; can't understand '{term}'");
                return Err(Status::bad_request(message));
            };
            let value = unescape(value).map_err(Status::bad_request)?;
            requirements.push(FieldRequirement { field: field.to_owned(), operator, value });
        }
        Ok(Self { requirements })
    }

    /// The conditions.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The same conditions on fields of other names.
    pub fn renamed(self, name: impl Fn(&str) -> String) -> Self {
        let renamed =
            |requirement: FieldRequirement| FieldRequirement { field: name(&requirement.field), ..requirement };
        Self { requirements: self.requirements.into_iter().map(renamed).collect() }
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object is selected whose fields have the values that `field` tells; a field without one is empty.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let equal = field(&requirement.field).unwrap_or("") == requirement.value;
            equal == (requirement.operator == FieldOperator::Equals)
        })
    }

    /// The value that a field must have, when the selector says so: `metadata.name=x` reads one object.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.field == field && r.operator == FieldOperator::Equals)
            .map(|r| r.value.as_str())
    }
}

/// The parts between commas that no backslash stands before.
fn terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split(term: &str) -> Option<(&str, FieldOperator, &str)> {
    const OPERATORS: &[(&str, FieldOperator)] =
        &[("!=", FieldOperator::NotEquals), ("==", FieldOperator::Equals), ("=", FieldOperator::Equals)];
    for (index, _) in term.char_indices() {
        for (text, operator) in OPERATORS {
            if let Some(value) = term[index..].strip_prefix(text) {
                return Some((&term[..index], *operator, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => {
                    let sequence = format!("\\{other}");
                    return Err(format!("invalid field selector: invalid escape sequence: {sequence:?}"));
                }
                None => {
                    return Err("invalid field selector: invalid escape sequence: \"\\\\\"".into());
                }
            },
            ',' | '=' => {
                return Err(format!("invalid field selector: unescaped character in value: {c}"));
            }
            other => plain.push(other),
        }
    }
    Ok(plain)
}
