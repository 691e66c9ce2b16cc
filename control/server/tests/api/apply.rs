//! Server-side apply over HTTP.

use http::Method;
use serde_json::{Value, json};

use crate::cluster::{Client, Cluster};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

fn applier(client: &Client) -> Client {
    client.clone().with("content-type", "application/apply-patch+yaml")
}

fn config(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": data}})
}

#[tokio::test]
async fn a_configuration_is_applied_as_kubernetes_does() {
    let cluster = Cluster::start().await;
    let admin = applier(&cluster.admin());
    let apply =
        async |query: &str, body: String| admin.send(Method::PATCH, &format!("{CONFIGS}/a?{query}"), body).await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  a: '1'\n";
    let made = apply("fieldManager=one", yaml.to_owned()).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let entry = &made.json()["metadata"]["managedFields"][0];
    assert_eq!((&entry["manager"], &entry["operation"]), (&json!("one"), &json!("Apply")));
    let again = apply("fieldManager=one", config("a", "1").to_string()).await;
    assert_eq!((again.code.as_u16(), again.json()), (200, made.json()));

    let refused = apply("fieldManager=two", config("a", "2").to_string()).await;
    refused.refused(409, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let cause = json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"}]);
    assert_eq!(refused.json()["details"], json!({"causes": cause}));
    let forced = apply("fieldManager=two&force=true", config("a", "2").to_string()).await.ok();
    assert_eq!(forced["data"], json!({"a": "2"}));

    apply("", config("a", "2").to_string()).await.refused(422, "fieldManager: Required value");
    apply("fieldManager=two", "a: [".to_owned()).await.refused(400, "error decoding YAML");
    apply("fieldManager=two", "[]".to_owned()).await.refused(400, "error decoding YAML");
    let twice = r#"{"apiVersion":"v1","kind":"ConfigMap","kind":"ConfigMap","metadata":{"name":"a"}}"#;
    let strict = apply("fieldManager=two&fieldValidation=Strict", twice.to_owned()).await;
    strict.refused(400, "error strict decoding YAML");
    let unknown = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dta": {}});
    let words = "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dta: field not declared in schema";
    apply("fieldManager=two", unknown.to_string()).await.refused(500, words);
    let cbor = cluster.admin().with("content-type", "application/apply-patch+cbor");
    cbor.send(Method::PATCH, &format!("{CONFIGS}/a?fieldManager=one"), "{}")
        .await
        .refused(415, "415: Unsupported Media Type");
    let merge = cluster.admin().with("content-type", "application/merge-patch+json");
    let force = merge.send(Method::PATCH, &format!("{CONFIGS}/a?force=true"), "{}").await;
    force.refused(422, "force: Forbidden: may not be specified for non-apply patch");
    cluster.stop().await;
}

#[tokio::test]
async fn writers_are_named_by_their_program_unless_they_say() {
    let cluster = Cluster::start().await;
    let client = cluster.admin().with("user-agent", "gardener/1.2 (linux)");
    let manager = |object: &Value| object["metadata"]["managedFields"][0]["manager"].clone();
    let made = client.post(CONFIGS, &config("a", "1")).await.ok();
    assert_eq!(manager(&made), "gardener");
    let made = client.post(&format!("{CONFIGS}?fieldManager=other"), &config("b", "1")).await.ok();
    assert_eq!(manager(&made), "other");
    cluster.stop().await;
}

#[tokio::test]
async fn who_may_not_create_creates_nothing_by_applying() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]});
    admin.post(&format!("{roles}/roles"), &json!({"metadata": {"name": "patcher"}, "rules": [rule]})).await.ok();
    let binding = json!({
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    admin.post(&format!("{roles}/rolebindings"), &binding).await.ok();
    admin.post(CONFIGS, &config("there", "1")).await.ok();
    let jane = applier(&admin.with("impersonate-user", "jane"));
    let apply = async |name: &str| {
        let path = format!("{CONFIGS}/{name}?fieldManager=jane");
        jane.send(Method::PATCH, &path, config(name, "1").to_string()).await
    };
    apply("there").await.ok();
    apply("new").await.refused(403, "User \"jane\" cannot create resource \"configmaps\"");
    cluster.stop().await;
}
