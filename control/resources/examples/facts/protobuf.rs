//! Reads k8s-pb: messages, field numbers, types and the markers in the comments.

use std::io;
use std::path::Path;

use crate::sources::rust_files;

/// A message as prost declares it.
pub struct Message {
    /// `api.core.v1`
    pub module: Vec<String>,
    pub rust_name: String,
    pub docs: Vec<String>,
    pub fields: Vec<Field>,
}

/// A field of it.
pub struct Field {
    pub rust_name: String,
    pub number: u32,
    /// prost's word: `string`, `int32`, `message`, ...
    pub scalar: String,
    pub repeated: bool,
    pub map: bool,
    /// Where `scalar` is `message`: module and name.
    pub message: Option<(Vec<String>, String)>,
    pub docs: Vec<String>,
}

/// Everything below k8s-pb's `src`.
pub fn read(folder: &Path) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    for path in rust_files(folder)? {
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        let module: Vec<String> = relative
            .parent()
            .into_iter()
            .flat_map(|p| p.iter().map(|part| part.to_string_lossy().into_owned()))
            .collect();
        let text = std::fs::read_to_string(&path)?;
        messages.extend(messages_of(&module, &text));
    }
    Ok(messages)
}

fn messages_of(module: &[String], text: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut docs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(doc) = line.strip_prefix("///") {
            docs.push(doc.trim().to_owned());
        } else if let Some(name) = line.strip_prefix("pub struct ").and_then(|l| l.strip_suffix('{')) {
            let fields = fields_of(module, &mut lines);
            messages.push(Message {
                module: module.to_vec(),
                rust_name: name.trim().to_owned(),
                docs: std::mem::take(&mut docs),
                fields,
            });
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            let name = rest.trim_end_matches(['{', '}', ';', ' ']).to_owned();
            let docs = std::mem::take(&mut docs);
            messages.push(Message { module: module.to_vec(), rust_name: name, docs, fields: Vec::new() });
        } else if !line.starts_with("#[") {
            docs.clear();
        }
    }
    messages
}

fn fields_of<'a>(module: &[String], lines: &mut impl Iterator<Item = &'a str>) -> Vec<Field> {
    let (mut fields, mut docs) = (Vec::new(), Vec::new());
    let mut attribute = String::new();
    let mut declaration = String::new();
    for line in lines {
        let line = line.trim();
        if line == "}" {
            break;
        }
        if let Some(doc) = line.strip_prefix("///") {
            docs.push(doc.trim().to_owned());
        } else if line.starts_with("#[prost(") || (!attribute.is_empty() && !attribute.ends_with(")]")) {
            attribute.push_str(line);
        } else {
            declaration.push_str(line);
            let open = declaration.matches('<').count() - declaration.matches('>').count();
            if declaration.ends_with(',') && open == 0 {
                let docs = std::mem::take(&mut docs);
                fields.extend(field(module, &std::mem::take(&mut attribute), &declaration, docs));
                declaration.clear();
            }
        }
    }
    fields
}

fn field(module: &[String], attribute: &str, declaration: &str, docs: Vec<String>) -> Option<Field> {
    let attribute = attribute.strip_prefix("#[prost(")?.strip_suffix(")]")?;
    let number = attribute.split("tag = \"").nth(1)?.split('"').next()?.parse().ok()?;
    let (name, rust_type) = declaration.strip_prefix("pub ")?.split_once(':')?;
    let map = attribute.starts_with("btree_map");
    let scalar = if map {
        attribute.split('"').nth(1)?.split(',').nth(1)?.trim()
    } else {
        attribute.split([',', ' ', '=']).next()?
    };
    let message = (scalar == "message").then(|| message_path(module, rust_type, map));
    Some(Field {
        rust_name: name.trim().trim_start_matches("r#").to_owned(),
        number,
        scalar: scalar.to_owned(),
        repeated: attribute.contains("repeated"),
        map,
        message,
        docs,
    })
}

/// `::core::option::Option<super::super::core::v1::X>,` to the module and `X`.
fn message_path(module: &[String], rust_type: &str, map: bool) -> (Vec<String>, String) {
    let inner = match rust_type.split_once("String,") {
        Some((_, item)) if map => item,
        _ => rust_type,
    };
    let path = inner.rsplit('<').next().unwrap_or(inner).trim_matches([',', '>', ' ']);
    let mut resolved = module.to_vec();
    for part in path.split("::") {
        match part {
            "super" => {
                resolved.pop();
            }
            name => resolved.push(name.to_owned()),
        }
    }
    let name = resolved.pop().unwrap_or_default();
    (resolved, name)
}
