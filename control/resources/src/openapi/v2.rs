//! The OpenAPI v2 document, in JSON and in the protobuf that older clients and fall-backs ask for (gnostic's
//! `openapi.v2.Document`).
//!
//! It names what can be patched and with which parameters, which is what kubectl looks up before it writes a kind that no
//! v3 document has. Schemas are in the v3 documents alone.

use serde_json::{Map, Value, json};

use super::{Document, VERSION, hash, indexed, paths};
use crate::resource::ResourceRef;

const DESCRIPTION: &str = "What can be patched, and how. Schemas are served as OpenAPI v3 alone.";

/// `/openapi/v2` as JSON.
pub fn json(resources: &[ResourceRef]) -> Document {
    let mut paths = Map::new();
    for patch in patches(resources) {
        let mut operation = Map::new();
        operation.insert("operationId".to_owned(), patch.id.clone().into());
        operation.insert("consumes".to_owned(), patch.consumes.clone().into());
        operation.insert("produces".to_owned(), json!([PRODUCED]));
        let parameters: Vec<Value> = patch.parameters.iter().map(Parameter::json).collect();
        operation.insert("parameters".to_owned(), parameters.into());
        operation.insert("responses".to_owned(), json!({"200": {"description": "OK"}}));
        operation.insert(ACTION.to_owned(), "patch".into());
        operation.insert(KIND.to_owned(), patch.kind.clone());
        paths.insert(patch.path, json!({"patch": operation}));
    }
    indexed(&json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION, "description": DESCRIPTION},
        "paths": paths,
    }))
}

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
pub fn protobuf(resources: &[ResourceRef]) -> Document {
    let info = Message::default().text(1, "Kubernetes").text(2, VERSION).text(3, DESCRIPTION);
    let paths = patches(resources).iter().fold(Message::default(), |paths, patch| {
        // NamedPathItem{name, value: PathItem{patch}}
        let item = Message::default().message(8, patch.operation());
        paths.message(2, Message::default().text(1, &patch.path).message(2, item))
    });
    let body = Message::default().text(1, "2.0").message(2, info).message(8, paths).0;
    Document { hash: hash(&[&body]), body }
}

const PRODUCED: &str = "application/json";
const ACTION: &str = "x-kubernetes-action";
const KIND: &str = "x-kubernetes-group-version-kind";

/// The `patch` operation of one path.
struct Patch {
    path: String,
    id: String,
    consumes: Vec<String>,
    parameters: Vec<Parameter>,
    kind: Value,
}

struct Parameter {
    name: String,
    /// `query` or `path`
    place: &'static str,
    kind: String,
    description: String,
}

impl Parameter {
    fn read(value: &Value, place: &'static str) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            name: text(&value["name"]),
            place,
            kind: text(&value["schema"]["type"]),
            description: text(&value["description"]),
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({"name": self.name, "in": self.place, "type": self.kind, "uniqueItems": true});
        if self.place == "path" {
            value["required"] = true.into();
        }
        if !self.description.is_empty() {
            value["description"] = self.description.as_str().into();
        }
        value
    }

    /// ParametersItem{parameter: Parameter{non_body_parameter: {query or path}}}
    fn message(&self) -> Message {
        let schema = if self.place == "path" { Message::default().number(1, 1) } else { Message::default() };
        let schema = schema.text(2, self.place).text(3, &self.description).text(4, &self.name);
        let non_body = match self.place {
            "path" => Message::default().message(4, schema.text(5, &self.kind).number(19, 1)),
            _ => Message::default().message(3, schema.text(6, &self.kind).number(20, 1)),
        };
        Message::default().message(1, Message::default().message(2, non_body))
    }
}

impl Patch {
    fn operation(&self) -> Message {
        let mut operation = Message::default().text(5, &self.id).text(6, PRODUCED);
        for media in &self.consumes {
            operation = operation.text(7, media);
        }
        for parameter in &self.parameters {
            operation = operation.message(8, parameter.message());
        }
        // Responses{response_code: NamedResponseValue{name, value: ResponseValue{response: {description}}}}
        let response = Message::default().message(1, Message::default().text(1, "OK"));
        let named = Message::default().text(1, "200").message(2, response);
        operation = operation.message(9, Message::default().message(1, named));
        for (name, value) in [(ACTION, &Value::from("patch")), (KIND, &self.kind)] {
            // NamedAny{name, value: Any{yaml}}; JSON is YAML.
            let any = Message::default().text(2, &value.to_string());
            operation = operation.message(13, Message::default().text(1, name).message(2, any));
        }
        operation
    }
}

/// What the v3 documents have under `patch`.
fn patches(resources: &[ResourceRef]) -> Vec<Patch> {
    let resources: Vec<_> = resources.iter().map(AsRef::as_ref).collect();
    let mut found = Vec::new();
    for (path, item) in paths::paths(&resources) {
        let Some(patch) = item.get("patch") else { continue };
        let list = |value: &Value, place| -> Vec<Parameter> {
            value.as_array().into_iter().flatten().map(|value| Parameter::read(value, place)).collect()
        };
        let content = patch["requestBody"]["content"].as_object();
        let mut parameters = list(&patch["parameters"], "query");
        parameters.extend(list(&item["parameters"], "path"));
        found.push(Patch {
            path,
            id: patch["operationId"].as_str().unwrap_or_default().to_owned(),
            consumes: content.into_iter().flat_map(Map::keys).cloned().collect(),
            parameters,
            kind: patch[KIND].clone(),
        });
    }
    found
}

/// A protobuf message as it is written, field by field. What is empty is left out, as proto3 does.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(self, field: u32, text: &str) -> Self {
        if text.is_empty() { self } else { self.bytes(field, text.as_bytes()) }
    }

    fn message(self, field: u32, message: Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn number(mut self, field: u32, number: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(number);
        self
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        const LENGTH_DELIMITED: u64 = 2;
        self.varint(u64::from(field) << 3 | LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::builtin;

    /// The value of the first field of that number; length-delimited fields only, numbers are skipped.
    fn field(mut message: &[u8], wanted: u64) -> &[u8] {
        let varint = |message: &mut &[u8]| {
            let mut number = 0;
            for shift in (0..).step_by(7) {
                let (byte, rest) = message.split_first().expect("a byte");
                *message = rest;
                number |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            number
        };
        loop {
            let tag = varint(&mut message);
            let length = varint(&mut message);
            if tag & 7 == 2 {
                let (value, rest) = message.split_at(usize::try_from(length).expect("it fits"));
                if tag >> 3 == wanted {
                    return value;
                }
                message = rest;
            }
        }
    }

    #[test]
    fn both_forms_tell_how_kinds_are_patched() {
        let document: Value = serde_json::from_slice(&json(builtin()).body).expect("documents are JSON");
        assert_eq!(document["swagger"], "2.0");
        let path = "/api/v1/namespaces/{namespace}/configmaps/{name}";
        let patch = &document["paths"][path]["patch"];
        assert_eq!(patch[KIND], json!({"group": "", "kind": "ConfigMap", "version": "v1"}));
        let parameters = patch["parameters"].as_array().expect("parameters");
        assert!(parameters.iter().any(|p| p["name"] == "fieldValidation" && p["in"] == "query"));
        assert!(parameters.iter().any(|p| p["name"] == "namespace" && p["in"] == "path" && p["required"] == true));

        let bytes = protobuf(builtin()).body;
        assert_eq!(field(&bytes, 1), b"2.0");
        assert_eq!(field(field(&bytes, 2), 1), b"Kubernetes");
        let named = field(field(&bytes, 8), 2);
        assert_eq!(field(named, 1), path.as_bytes());
        let operation = field(field(named, 2), 8);
        assert_eq!(field(operation, 5), patch["operationId"].as_str().expect("an id").as_bytes());
        let query = field(field(field(field(operation, 8), 1), 2), 3);
        assert_eq!((field(query, 2), field(query, 4)), (&b"query"[..], &b"pretty"[..]));
        let extension = field(operation, 13);
        assert_eq!((field(extension, 1), field(field(extension, 2), 2)), (ACTION.as_bytes(), &b"\"patch\""[..]));
    }
}
