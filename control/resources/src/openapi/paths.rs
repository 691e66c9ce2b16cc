//! `paths`: what can be asked of each resource.

use serde_json::{Map, Value, json};

use super::{custom_name, reference};
use crate::resource::Resource;
use crate::schema::{self, Field, Type};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The methods that subresources take, with their verbs.
const METHODS: [(&str, &str); 4] = [("get", "get"), ("put", "update"), ("patch", "patch"), ("post", "create")];

/// All paths of the resources.
pub(super) fn paths(resources: &[&Resource]) -> Map<String, Value> {
    let mut paths = Map::new();
    for resource in resources {
        let root = super::path_of(resource);
        let namespaced = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let collection = format!("/{root}/{namespaced}{}", resource.plural);
        let subject = Subject::of(resource);
        add(&mut paths, &collection, subject.collection());
        if resource.namespaced {
            let all = Subject { scope: Scope::All, ..subject.clone() };
            add(&mut paths, &format!("/{root}/{}", resource.plural), all.operations(&[("get", "list")]));
        }
        let object = format!("{collection}/{{name}}");
        add(&mut paths, &object, subject.object());
        for sub in resource.subresources.iter() {
            let subject = Subject {
                group: &sub.group,
                version: &sub.version,
                kind: &sub.kind,
                verbs: &sub.verbs,
                name: format!("{}{}", resource.kind, capitalized(&sub.name)),
                ..subject.clone()
            };
            let operations = match &*sub.name {
                "log" => subject.log(),
                "attach" | "exec" | "portforward" | "proxy" => subject.connections(),
                _ => subject.operations(&METHODS),
            };
            add(&mut paths, &format!("{object}/{}", sub.name), operations);
        }
    }
    paths
}

fn add(paths: &mut Map<String, Value>, path: &str, operations: Map<String, Value>) {
    if operations.is_empty() {
        return;
    }
    let mut item = operations;
    let mut parameters = Vec::new();
    for name in ["namespace", "name"] {
        if path.contains(&format!("{{{name}}}")) {
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true},
            }));
        }
    }
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    paths.insert(path.to_owned(), item.into());
}

/// What operations are about.
#[derive(Clone)]
struct Subject<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    verbs: &'a [&'static str],
    scope: Scope,
    /// Its kinds are of a definition.
    custom: bool,
    /// Whether the answer to a delete is what was deleted.
    returned: bool,
    /// The group and version of the path, for operation ids.
    prefix: String,
    /// The same, by which operations are put together.
    tag: String,
    /// The kind, with the subresource.
    name: String,
}

/// Where the objects of a path lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespace,
    /// In all namespaces.
    All,
}

/// How operations of a group, or of one of its versions, begin and are put together.
pub(super) struct Named {
    pub(super) prefix: String,
    pub(super) tag: String,
}

impl Named {
    pub(super) fn group(resource: &Resource) -> Self {
        let group = if resource.group.is_empty() { "core" } else { resource.group.trim_end_matches(".k8s.io") };
        let prefix: String = group.split(['.', '-']).map(capitalized).collect();
        let mut tag = prefix.clone();
        tag.get_mut(..1).into_iter().for_each(str::make_ascii_lowercase);
        Self { prefix, tag }
    }

    pub(super) fn of(resource: &Resource) -> Self {
        let Self { prefix, tag } = Self::group(resource);
        let version = &resource.version;
        Self { prefix: format!("{prefix}{}", capitalized(version)), tag: format!("{tag}_{version}") }
    }
}

impl<'a> Subject<'a> {
    fn of(resource: &'a Resource) -> Self {
        let Named { prefix, tag } = Named::of(resource);
        Self {
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            verbs: &resource.verbs,
            scope: if resource.namespaced { Scope::Namespace } else { Scope::Cluster },
            custom: resource.custom.is_some(),
            returned: resource.returned(),
            prefix,
            tag,
            name: resource.kind.to_string(),
        }
    }

    fn collection(&self) -> Map<String, Value> {
        self.operations(&[("get", "list"), ("post", "create"), ("delete", "deletecollection")])
    }

    fn object(&self) -> Map<String, Value> {
        self.operations(&[("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")])
    }

    /// The operations of those that the subject has: HTTP method and verb.
    fn operations(&self, wanted: &[(&str, &str)]) -> Map<String, Value> {
        let mut operations = Map::new();
        for (method, verb) in wanted.iter().filter(|(_, verb)| self.verbs.contains(verb)) {
            operations.insert((*method).to_owned(), self.operation(verb));
        }
        operations
    }

    fn log(&self) -> Map<String, Value> {
        let media = ["application/json", "application/yaml", "text/plain"];
        let operation = self.text("read", "get", &media, "PodLogOptions");
        Map::from_iter([("get".to_owned(), operation)])
    }

    /// What is passed on to a pod, a node or a Service.
    fn connections(&self) -> Map<String, Value> {
        let methods = METHODS.into_iter().chain([("delete", "delete")]).filter(|(_, verb)| self.verbs.contains(verb));
        let operation = |(method, _): (&str, &str)| {
            let operation = self.text(&format!("connect{}", capitalized(method)), "connect", &["*/*"], self.kind);
            (method.to_owned(), operation)
        };
        methods.map(operation).collect()
    }

    /// An operation that is answered with text, or whatever somebody else answers. What is wanted is in the query, by the fields of
    /// `options`.
    fn text(&self, word: &str, action: &str, media: &[&str], options: &str) -> Value {
        let message = schema::message(&format!("io.k8s.api.core.v1.{options}"));
        let parameter = |field: &Field| {
            let ty = match field.ty {
                Type::String => "string",
                Type::Bool => "boolean",
                Type::Int32 | Type::Int64 => "integer",
                _ => return None,
            };
            let name = field.name.replace("Tls", "TLS");
            Some(json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}}))
        };
        let parameters: Vec<Value> =
            message.into_iter().flat_map(|message| &message.fields).filter_map(parameter).collect();
        let content = media.iter().map(|media| ((*media).to_owned(), json!({"schema": {"type": "string"}})));
        let content: Map<String, Value> = content.collect();
        // Of a connection the method comes after the group: `connectCoreV1GetNamespacedPodExec`.
        let (word, method) = word.split_at(if action == "connect" { action.len() } else { word.len() });
        let scope = if self.scope == Scope::Namespace { "Namespaced" } else { "" };
        json!({
            "tags": [self.tag],
            "operationId": format!("{word}{}{method}{scope}{}", self.prefix, self.name),
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": self.group, "kind": self.kind, "version": self.version},
        })
    }

    fn operation(&self, verb: &str) -> Value {
        let (word, action) = match verb {
            "get" => ("read", "get"),
            "create" => ("create", "post"),
            "update" => ("replace", "put"),
            "deletecollection" => ("delete", "deletecollection"),
            other => (other, other),
        };
        let (scope, everywhere) = match self.scope {
            Scope::Cluster => ("", ""),
            Scope::Namespace => ("Namespaced", ""),
            Scope::All => ("", "ForAllNamespaces"),
        };
        let (prefix, name) = (&self.prefix, &self.name);
        let many = if verb == "deletecollection" { "Collection" } else { "" };
        let mut operation = Map::new();
        operation.insert("tags".to_owned(), json!([self.tag]));
        operation.insert("operationId".to_owned(), format!("{word}{prefix}{many}{scope}{name}{everywhere}").into());
        operation.insert("parameters".to_owned(), parameters(verb).into());
        if let Some(body) = self.body(verb) {
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("responses".to_owned(), self.responses(verb));
        operation.insert("x-kubernetes-action".to_owned(), action.into());
        let kind = json!({"group": self.group, "kind": self.kind, "version": self.version});
        operation.insert("x-kubernetes-group-version-kind".to_owned(), kind);
        operation.into()
    }

    /// A reference to the kind's schema, if there is one.
    fn schema(&self, kind: &str) -> Value {
        match schema::message_for(self.group, self.version, kind) {
            Some(message) => reference(message.name),
            None if self.custom => reference(&custom_name(self.group, self.version, kind)),
            None => json!({}),
        }
    }

    fn body(&self, verb: &str) -> Option<Value> {
        match verb {
            "create" | "update" => {
                Some(json!({"content": {"*/*": {"schema": self.schema(self.kind)}}, "required": true}))
            }
            "patch" => {
                let any = json!({"schema": {"type": "object"}});
                let mut content = json!({
                    "application/apply-patch+yaml": any,
                    "application/json-patch+json": any,
                    "application/merge-patch+json": any,
                });
                if !self.custom {
                    content["application/strategic-merge-patch+json"] = any;
                }
                Some(json!({"required": true, "content": content}))
            }
            "delete" | "deletecollection" => Some(json!({"content": {"*/*": {"schema": reference(DELETE_OPTIONS)}}})),
            _ => None,
        }
    }

    fn responses(&self, verb: &str) -> Value {
        let schema = match verb {
            "list" => self.schema(&format!("{}List", self.kind)),
            "delete" if self.returned => self.schema(self.kind),
            // What has a finalizer is answered as it stays, which kube-apiserver's documents are silent about.
            "delete" => json!({"anyOf": [reference(STATUS), self.schema(self.kind)]}),
            "deletecollection" => reference(STATUS),
            _ => self.schema(self.kind),
        };
        let content = json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}});
        let codes: &[(&str, &str)] = match verb {
            "create" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            "update" | "patch" => &[("200", "OK"), ("201", "Created")],
            "delete" => &[("200", "OK"), ("202", "Accepted")],
            _ => &[("200", "OK")],
        };
        let told = codes.iter().map(|(code, words)| (*code, json!({"description": words, "content": content})));
        let told = told.chain([("401", json!({"description": "Unauthorized"}))]);
        Value::Object(told.map(|(code, response)| (code.to_owned(), response)).collect())
    }
}

fn parameters(verb: &str) -> Vec<Value> {
    let query = |name: &str, ty: &str, text: &str| json!({"name": name, "in": "query", "description": text, "schema": {"type": ty, "uniqueItems": true}});
    let pretty = query("pretty", "string", "Whether the output is indented.");
    let dry_run = query("dryRun", "string", "With the value All nothing is stored.");
    match verb {
        "create" | "update" | "patch" => {
            let mut list = vec![
                pretty,
                dry_run,
                query("fieldManager", "string", "The name of the actor that makes the changes."),
                query(
                    "fieldValidation",
                    "string",
                    "What is done about unknown or duplicate fields: Ignore, Warn or Strict.",
                ),
            ];
            if verb == "patch" {
                list.push(query("force", "boolean", "Take fields over from other managers (apply patches only)."));
            }
            list
        }
        "delete" => vec![
            pretty,
            dry_run,
            query("gracePeriodSeconds", "integer", "The time before the object is deleted."),
            query("propagationPolicy", "string", "Orphan, Background or Foreground."),
        ],
        "list" | "deletecollection" => vec![
            pretty,
            query("allowWatchBookmarks", "boolean", "Ask for events of the type BOOKMARK."),
            query("continue", "string", "Where a list that was cut goes on."),
            query("fieldSelector", "string", "Only objects whose fields match."),
            query("labelSelector", "string", "Only objects whose labels match."),
            query("limit", "integer", "How many items are returned at most."),
            query("resourceVersion", "string", "The version that the answer may be based on."),
            query("resourceVersionMatch", "string", "How resourceVersion is applied."),
            query("sendInitialEvents", "boolean", "Begin a watch with the objects that exist."),
            query("timeoutSeconds", "integer", "How long the call may take."),
            query("watch", "boolean", "Send changes as they happen."),
        ],
        _ => vec![pretty],
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
