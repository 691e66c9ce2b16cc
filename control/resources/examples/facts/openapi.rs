//! Reads k8s-openapi: the exact JSON names, which fields the served version has, and descriptions.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::sources::rust_files;

/// A definition as the published OpenAPI document has it.
#[derive(Default)]
pub struct Definition {
    pub description: String,
    /// JSON name and description.
    pub properties: Vec<(String, String)>,
    pub required: Vec<String>,
    /// Group, version and kind of what is sent as an object of its own.
    pub kind: Option<String>,
}

/// All definitions by their full name (`io.k8s.api.core.v1.Pod`).
pub fn read(folder: &Path) -> io::Result<BTreeMap<String, Definition>> {
    let mut definitions = BTreeMap::new();
    for path in rust_files(folder)? {
        let text = std::fs::read_to_string(&path)?;
        let Some(name) = text.strip_prefix("// Generated from definition ").and_then(|t| t.lines().next()) else {
            continue;
        };
        if let Some(schema) = text.split("json_schema!({").nth(1) {
            definitions.insert(name.trim().to_owned(), Definition { kind: kind(&text), ..definition(schema) });
        }
    }
    Ok(definitions)
}

fn kind(text: &str) -> Option<String> {
    let constant = |name: &str| {
        let at = text.split(&format!("const {name}: &'static str = \"")).nth(1)?;
        at.split('"').next()
    };
    Some(format!("{}/{}/{}", constant("GROUP")?, constant("VERSION")?, constant("KIND")?))
}

/// Depth is told by the indentation, which the generator of that crate keeps.
fn definition(schema: &str) -> Definition {
    let mut found = Definition::default();
    let mut in_required = false;
    for line in schema.lines() {
        if let Some(text) = line.strip_prefix("            \"description\": \"") {
            found.description = unescape(text);
        } else if line.starts_with("            \"required\": [") {
            in_required = true;
        } else if in_required {
            match line.trim().trim_matches([',', '"']) {
                "]" => in_required = false,
                name => found.required.push(name.to_owned()),
            }
        } else if let Some(rest) = line.strip_prefix("                \"") {
            if let Some((name, _)) = rest.split_once("\": ") {
                found.properties.push((name.to_owned(), String::new()));
            }
        } else if let Some((_, text)) = line
            .split_once("                    \"description\": \"")
            .or_else(|| line.split_once("schema_obj.ensure_object().insert(\"description\".into(), \""))
            && let Some(last) = found.properties.last_mut()
        {
            last.1 = unescape(text);
        }
    }
    found
}

/// The Rust string literal's content up to its closing quote.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some(other) => plain.push(other),
                None => break,
            },
            c => plain.push(c),
        }
    }
    plain
}
