//! One event as a line of JSON (`Event` of `audit.k8s.io/v1`). Pure.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::USER_AGENT;
use jiff::Timestamp;
use pal_resources::Resource;
use pal_resources::codec::{self, FieldValidation, Media};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::policy::{Asked, Level, Stage};
use crate::auth::User;

/// Longer names of programs are cut, as kube-apiserver does.
const LONGEST_AGENT: usize = 1024;

/// What is known of a request when something is told of it.
#[derive(Clone, Debug)]
pub(super) struct Told<'a> {
    pub level: Level,
    pub id: &'a str,
    pub uri: &'a str,
    pub asked: &'a Asked,
    pub user: Option<&'a User>,
    pub impersonated: Option<&'a User>,
    pub source_ips: &'a [String],
    pub agent: &'a str,
    /// Name, namespace, uid and version, where the request's body says what its path does not.
    pub named: Option<&'a Value>,
    pub status: Option<Value>,
    pub request: Option<Value>,
    pub response: Option<Value>,
    pub received: Timestamp,
    pub annotations: Option<&'a BTreeMap<String, String>>,
}

/// An object with its fields in the order in which kube-apiserver writes them.
struct Fields(Vec<(&'static str, Value)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The event's line, with its end.
pub(super) fn line(told: Told<'_>, stage: Stage, now: Timestamp) -> String {
    let mut event: Vec<(&'static str, Value)> = Vec::with_capacity(16);
    let mut put = |key, value| event.push((key, value));
    put("kind", "Event".into());
    put("apiVersion", "audit.k8s.io/v1".into());
    put("level", told.level.name().into());
    put("auditID", told.id.into());
    put("stage", stage.name().into());
    put("requestURI", told.uri.into());
    put("verb", told.asked.verb.as_str().into());
    put("user", told.user.map_or_else(|| json!({}), user));
    if let Some(impersonated) = told.impersonated {
        put("impersonatedUser", user(impersonated));
    }
    put("sourceIPs", told.source_ips.into());
    if !told.agent.is_empty() {
        put("userAgent", told.agent.into());
    }
    if let Some(reference) = reference(&told) {
        put("objectRef", reference);
    }
    let optional =
        [("responseStatus", told.status), ("requestObject", told.request), ("responseObject", told.response)];
    for (key, value) in optional {
        if let Some(value) = value {
            put(key, value);
        }
    }
    put("requestReceivedTimestamp", micros(told.received).into());
    put("stageTimestamp", micros(now).into());
    if let Some(annotations) = told.annotations.filter(|annotations| !annotations.is_empty()) {
        put("annotations", json!(annotations));
    }
    // Values have texts for keys: nothing about them cannot be written.
    let mut line = serde_json::to_string(&Fields(event)).unwrap_or_default();
    line.push('\n');
    line
}

fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn user(user: &User) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), user.name.as_str().into());
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        info.insert("groups".to_owned(), user.groups.clone().into());
    }
    if !user.extra.is_empty() {
        info.insert("extra".to_owned(), json!(user.extra));
    }
    info.into()
}

fn reference(told: &Told<'_>) -> Option<Value> {
    let object = told.asked.object.as_ref()?;
    let metadata = told.named.map_or(&Value::Null, |body| &body["metadata"]);
    let said = |field: &str| metadata[field].as_str().unwrap_or_default();
    let or = |path: &str, field: &str| if path.is_empty() { said(field).to_owned() } else { path.to_owned() };
    let fields = [
        ("resource", object.resource.clone()),
        ("namespace", or(&object.namespace, "namespace")),
        ("name", or(&object.name, "name")),
        ("uid", said("uid").to_owned()),
        ("apiGroup", object.group.clone()),
        ("apiVersion", object.version.clone()),
        ("resourceVersion", said("resourceVersion").to_owned()),
        ("subresource", object.subresource.clone()),
    ];
    let present = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Some(present.map(|(key, value)| (key.to_owned(), Value::String(value))).collect::<Map<_, _>>().into())
}

/// The outcome: the code, and of a `Status` what is bounded.
pub(super) fn outcome(code: u16, body: Option<&Value>) -> Value {
    let mut status = Map::new();
    status.insert("metadata".to_owned(), json!({}));
    let body = body.filter(|body| body["kind"] == "Status" && body["apiVersion"] == "v1");
    for field in ["status", "message", "reason", "details"] {
        if let Some(value) = body.and_then(|body| body.get(field)) {
            status.insert(field.to_owned(), value.clone());
        }
    }
    status.insert("code".to_owned(), code.into());
    status.into()
}

/// A body as JSON, whatever its form; nothing where it cannot be read.
pub(super) fn body(content_type: &str, bytes: &[u8], resource: Option<&Resource>) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let raw = |media| codec::decode_raw(media, bytes, FieldValidation::Ignore).ok().map(|(value, _)| value);
    match essence {
        "application/vnd.kubernetes.protobuf" => {
            let read = |expect| codec::decode(Media::Protobuf, bytes, expect, FieldValidation::Ignore).ok();
            read(None).or_else(|| read(resource)).map(|decoded| decoded.value)
        }
        "application/yaml" | "application/apply-patch+yaml" => raw(Media::Yaml),
        _ => raw(Media::Json),
    }
}

/// Takes the managers from an object, or from those of a list.
pub(super) fn without_managers(mut value: Value) -> Value {
    let strip = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    strip(&mut value);
    for item in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        strip(item);
    }
    value
}

/// Where a request comes from, by those who passed it on and by its connection.
pub(super) fn source_ips(headers: &HeaderMap, from: std::net::IpAddr) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ips: Vec<std::net::IpAddr> =
        text("x-forwarded-for").split(',').filter_map(|part| part.trim().parse().ok()).collect();
    if let Ok(real) = text("x-real-ip").trim().parse()
        && !ips.contains(&real)
    {
        ips.push(real);
    }
    let from = from.to_canonical();
    if ips.last() != Some(&from) {
        ips.push(from);
    }
    ips.into_iter().map(|ip| ip.to_string()).collect()
}

/// The program that asks.
pub(super) fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let agent = agent.unwrap_or_default();
    match agent.char_indices().nth(LONGEST_AGENT) {
        Some((end, _)) => format!("{}...TRUNCATED", &agent[..end]),
        None => agent,
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Object;
    use super::*;

    #[test]
    fn an_event_has_kubernetes_form() {
        let object = Object {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            resource: "deployments".to_owned(),
            namespace: "a".to_owned(),
            ..Object::default()
        };
        let asked = Asked { verb: "create".to_owned(), path: String::new(), object: Some(object) };
        let body = json!({"metadata": {"name": "web"}});
        let annotations = BTreeMap::from([("authorization.k8s.io/decision".to_owned(), "allow".to_owned())]);
        let (jane, root) = (User::new("jane", &["dev"]), User::new("root", &[]));
        let received: Timestamp = "2026-01-02T03:04:05.000007Z".parse().expect("a time");
        let told = Told {
            level: Level::Request,
            id: "1",
            uri: "/apis/apps/v1/namespaces/a/deployments?x=y",
            asked: &asked,
            user: Some(&root),
            impersonated: Some(&jane),
            source_ips: &["127.0.0.1".to_owned()],
            agent: "kubectl",
            named: Some(&body),
            status: Some(outcome(201, None)),
            request: Some(body.clone()),
            response: None,
            received,
            annotations: Some(&annotations),
        };
        let expected = concat!(
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"1","stage":"ResponseComplete","#,
            r#""requestURI":"/apis/apps/v1/namespaces/a/deployments?x=y","verb":"create","user":{"username":"root"},"#,
            r#""impersonatedUser":{"groups":["dev"],"username":"jane"},"sourceIPs":["127.0.0.1"],"userAgent":"kubectl","#,
            r#""objectRef":{"apiGroup":"apps","apiVersion":"v1","name":"web","namespace":"a","resource":"deployments"},"#,
            r#""responseStatus":{"code":201,"metadata":{}},"requestObject":{"metadata":{"name":"web"}},"#,
            r#""requestReceivedTimestamp":"2026-01-02T03:04:05.000007Z","stageTimestamp":"2026-01-02T03:04:05.000007Z","#,
            r#""annotations":{"authorization.k8s.io/decision":"allow"}}"#,
            "\n"
        );
        assert_eq!(line(told, Stage::ResponseComplete, received), expected);
    }

    #[test]
    fn an_outcome_tells_what_is_bounded() {
        let check = |body: Value, expected: Value| assert_eq!(outcome(404, Some(&body)), expected);
        check(json!({"kind": "Pod", "status": {}}), json!({"metadata": {}, "code": 404}));
        check(
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "m", "reason": "NotFound", "code": 404}),
            json!({"metadata": {}, "status": "Failure", "message": "m", "reason": "NotFound", "code": 404}),
        );
    }

    #[test]
    fn requests_come_from_where_those_between_say() {
        let check = |pairs: &[(&'static str, &str)], expected: &[&str]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a header"));
            }
            let from = "::ffff:10.0.0.1".parse().expect("an address");
            assert_eq!(source_ips(&headers, from), expected);
        };
        check(&[], &["10.0.0.1"]);
        check(&[("x-forwarded-for", "1.1.1.1, nonsense, 2.2.2.2")], &["1.1.1.1", "2.2.2.2", "10.0.0.1"]);
        check(&[("x-forwarded-for", "1.1.1.1"), ("x-real-ip", "1.1.1.1")], &["1.1.1.1", "10.0.0.1"]);
        check(&[("x-real-ip", "10.0.0.1")], &["10.0.0.1"]);
    }

    #[test]
    fn bodies_are_told_as_json() {
        let check = |content_type: &str, text: &str, expected: Option<Value>| {
            assert_eq!(body(content_type, text.as_bytes(), None), expected, "{content_type} {text}");
        };
        check("application/json; charset=utf-8", r#"{"a":1}"#, Some(json!({"a": 1})));
        check("", r#"{"a":1}"#, Some(json!({"a": 1})));
        check("application/json-patch+json", "[]", Some(json!([])));
        check("application/apply-patch+yaml", "a: 1", Some(json!({"a": 1})));
        check("application/json", "{", None);
        check("application/json", "", None);
        let listed =
            json!({"metadata": {"managedFields": [1]}, "items": [{"metadata": {"name": "a", "managedFields": []}}]});
        let expected = json!({"metadata": {}, "items": [{"metadata": {"name": "a"}}]});
        assert_eq!(without_managers(listed), expected);
    }
}
