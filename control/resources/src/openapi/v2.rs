//! The OpenAPI v2 document, in JSON and in the protobuf that older clients and fall-backs ask for (gnostic's
//! `openapi.v2.Document`).
//!
//! Both are made of what the v3 documents say: all kinds' schemas and, in JSON, all operations. Of these protobuf names only
//! what can be patched and with which parameters, which is what kubectl looks up before it writes a kind that no v3 document
//! has.

mod definitions;

use serde_json::{Map, Value, json};

use super::{Document, VERSION, hash, indexed, paths};
use crate::resource::{Resource, ResourceRef};
use definitions::definitions;

/// Tells a custom resource's schemas, its kind's and its list's, as `definitions` has them, each with its name.
pub type Definitions<'a> = &'a dyn for<'r> Fn(&'r Resource) -> Vec<(String, &'r Value)>;

/// `/openapi/v2` as JSON.
pub fn json(resources: &[ResourceRef], custom: Definitions<'_>) -> Document {
    let all: Vec<&Resource> = resources.iter().map(AsRef::as_ref).collect();
    let paths: Map<String, Value> =
        paths::paths(&all).into_iter().map(|(path, item)| (path, operations(&item))).collect();
    indexed(&json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "definitions": definitions(&all, custom),
    }))
}

/// The operations of one path, and the parameters that they share.
fn operations(item: &Value) -> Value {
    let mut found = Map::new();
    for (key, value) in item.as_object().into_iter().flatten() {
        let value = if key == "parameters" { parameters(value, "path").into() } else { operation(value) };
        found.insert(key.clone(), value);
    }
    found.into()
}

fn parameters(list: &Value, place: &'static str) -> Vec<Value> {
    list.as_array().into_iter().flatten().map(|value| Parameter::read(value, place).json()).collect()
}

fn operation(operation: &Value) -> Value {
    let mut of = Map::new();
    of.insert("operationId".to_owned(), operation["operationId"].clone());
    let body = &operation["requestBody"];
    let content = body["content"].as_object();
    let consumes: Vec<&str> = content.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    of.insert("consumes".to_owned(), if consumes.is_empty() { json!(["*/*"]) } else { json!(consumes) });
    of.insert("produces".to_owned(), json!([PRODUCED, "application/yaml"]));
    let mut all = parameters(&operation["parameters"], "query");
    if let Some(media) = content.and_then(|content| content.values().next()) {
        let mut parameter = json!({"name": "body", "in": "body", "schema": definitions::convert(&media["schema"])});
        if body["required"] == true {
            parameter["required"] = true.into();
        }
        all.push(parameter);
    }
    of.insert("parameters".to_owned(), all.into());
    let responses = operation["responses"].as_object().into_iter().flatten().map(|(code, response)| {
        let mut told = json!({"description": response["description"]});
        let schema = &response["content"][PRODUCED]["schema"];
        // There is no choice in v2.
        let schema = schema.get("anyOf").map_or(schema, |choice| &choice[0]);
        if !schema.is_null() {
            told["schema"] = definitions::convert(schema);
        }
        (code.clone(), told)
    });
    of.insert("responses".to_owned(), Value::Object(responses.collect()));
    for key in [ACTION, KIND] {
        of.insert(key.to_owned(), operation[key].clone());
    }
    of.into()
}

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
pub fn protobuf(resources: &[ResourceRef], custom: Definitions<'_>) -> Document {
    let all: Vec<&Resource> = resources.iter().map(AsRef::as_ref).collect();
    let info = Message::default().text(1, "Kubernetes").text(2, VERSION);
    let paths = patches(resources).iter().fold(Message::default(), |paths, patch| {
        // NamedPathItem{name, value: PathItem{patch}}
        let item = Message::default().message(8, patch.operation());
        paths.message(2, Message::default().text(1, &patch.path).message(2, item))
    });
    let named = definitions::properties(&definitions(&all, custom));
    let body = Message::default().text(1, "2.0").message(2, info).message(8, paths).message(9, named).0;
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
            operation = operation.message(13, Message::named_any(name, value));
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

    /// `NamedAny{name, value: Any{yaml}}`; JSON is YAML.
    fn named_any(name: &str, value: &Value) -> Self {
        Self::default().text(1, name).message(2, Self::default().text(2, &value.to_string()))
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
    use std::sync::LazyLock;

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

    fn none(_resource: &Resource) -> Vec<(String, &Value)> {
        Vec::new()
    }

    #[test]
    fn both_forms_tell_how_kinds_are_patched() {
        let document: Value = serde_json::from_slice(&json(builtin(), &none).body).expect("documents are JSON");
        assert_eq!(document["swagger"], "2.0");
        let path = "/api/v1/namespaces/{namespace}/configmaps/{name}";
        let patch = &document["paths"][path]["patch"];
        assert_eq!(patch[KIND], json!({"group": "", "kind": "ConfigMap", "version": "v1"}));
        let parameters = patch["parameters"].as_array().expect("parameters");
        assert!(parameters.iter().any(|p| p["name"] == "fieldValidation" && p["in"] == "query"));
        let shared = document["paths"][path]["parameters"].as_array().expect("parameters");
        assert!(shared.iter().any(|p| p["name"] == "namespace" && p["in"] == "path" && p["required"] == true));

        let bytes = protobuf(builtin(), &none).body;
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

    #[test]
    fn both_forms_tell_what_kinds_are_made_of() {
        static OWN: LazyLock<Value> = LazyLock::new(|| json!({"type": "object", "description": "mine"}));
        fn custom(resource: &Resource) -> Vec<(String, &Value)> {
            // It stands in for a resource of a definition.
            if &*resource.kind == "Lease" { vec![("com.example.v1.Own".to_owned(), &*OWN)] } else { Vec::new() }
        }
        let document: Value = serde_json::from_slice(&json(builtin(), &custom).body).expect("documents are JSON");
        let definitions = &document["definitions"];
        assert_eq!(definitions["com.example.v1.Own"], *OWN);
        let pod = &definitions["io.k8s.api.core.v1.Pod"];
        assert_eq!(pod["properties"]["spec"]["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
        assert!(pod["properties"]["spec"]["description"].is_string());
        assert_eq!(pod[KIND], json!([{"group": "", "kind": "Pod", "version": "v1"}]));
        let quantity = &definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"];
        assert_eq!((&quantity["type"], &quantity["oneOf"]), (&json!("string"), &Value::Null));
        let int_or_string = &definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
        assert_eq!((&int_or_string["type"], &int_or_string["format"]), (&json!("string"), &json!("int-or-string")));
        let post = &document["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"];
        let body = post["parameters"].as_array().expect("parameters").last().expect("a body");
        assert_eq!(body["schema"], json!({"$ref": "#/definitions/io.k8s.api.core.v1.Pod"}));
        assert_eq!(post["responses"]["201"]["schema"], body["schema"]);
        let delete = &document["paths"]["/api/v1/namespaces/{name}"]["delete"]["responses"]["200"]["schema"];
        assert_eq!(*delete, json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Status"}));

        assert!(!document.to_string().contains("#/components"), "of OpenAPI v3");
        let mut pending = vec![&document];
        while let Some(value) = pending.pop() {
            if let Some(target) = value.get("$ref").and_then(Value::as_str) {
                let name = target.trim_start_matches("#/definitions/");
                assert!(definitions.get(name).is_some(), "{name}");
            }
            // Some kinds have fields that are called so; those are objects.
            assert!(!value["oneOf"].is_array() && !value["nullable"].is_boolean(), "of OpenAPI v3: {value}");
            pending.extend(value.as_object().into_iter().flat_map(Map::values));
            pending.extend(value.as_array().into_iter().flatten());
        }

        // Definitions{NamedSchema{name, value: Schema{description}}}, in the order of their names.
        let bytes = protobuf(builtin(), &custom).body;
        let first = field(field(&bytes, 9), 1);
        assert_eq!((field(first, 1), field(field(first, 2), 4)), (&b"com.example.v1.Own"[..], &b"mine"[..]));
    }
}
