//! Creating and updating.

use pal_registry::{Config, ListOptions, Patch, PatchKind, Read, WatchEvent, WatchOptions};
use pal_resources::codec::FieldValidation;
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_test, config_map, dry_run, of, pod};

#[tokio::test]
async fn a_create_is_stored_with_what_the_server_adds() {
    let cluster = Cluster::start().await;
    let created = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let value = created.value().expect("parses");
    assert_eq!(value["metadata"]["namespace"], "default");
    assert_eq!(value["metadata"]["resourceVersion"], created.version().to_string());
    assert!(value["metadata"]["uid"].is_string() && value["metadata"]["creationTimestamp"].is_string());
    let text = String::from_utf8(created.json().to_vec()).expect("text");
    let head =
        format!(r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"resourceVersion":"{}","#, created.version());
    assert!(text.starts_with(&head), "{text}");
    let read = cluster.get("configmaps", "a").await.expect("stored");
    assert_eq!(read.json(), created.json());
    assert_eq!((read.name(), read.namespace()), ("a", Some("default")));
}

#[tokio::test]
async fn a_create_that_cannot_be_is_refused_in_kubernetes_words() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("taken", "1")).await.expect("created");
    let check = async |plural: &str, namespace: Option<&str>, body: Value, code: u16, message: &str| {
        let refused = cluster.registry.create(&of(plural), namespace, body, &by_test()).await;
        let status = refused.expect_err(message);
        assert_eq!((status.code, status.message.as_str()), (code, message));
    };
    check("configmaps", Some("default"), config_map("taken", "2"), 409, "configmaps \"taken\" already exists").await;
    check("configmaps", Some("nowhere"), config_map("a", "2"), 404, "namespaces \"nowhere\" not found").await;
    let mut elsewhere = config_map("a", "1");
    elsewhere["metadata"]["namespace"] = "other".into();
    check(
        "configmaps",
        Some("default"),
        elsewhere,
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )
    .await;
    let mut versioned = config_map("a", "1");
    versioned["metadata"]["resourceVersion"] = "7".into();
    check("configmaps", Some("default"), versioned, 400, "resourceVersion should not be set on objects to be created")
        .await;
    check(
        "configmaps",
        Some("default"),
        config_map("", "1"),
        422,
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
    )
    .await;
}

#[tokio::test]
async fn generated_names_differ() {
    let cluster = Cluster::start().await;
    let body = json!({"metadata": {"generateName": "web-"}});
    let first = cluster.create("configmaps", body.clone()).await.expect("created");
    let second = cluster.create("configmaps", body).await.expect("created");
    assert_ne!(first.name(), second.name());
    for name in [first.name(), second.name()] {
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    }
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_goes() {
    let cluster = Cluster::start().await;
    cluster.create("namespaces", json!({"metadata": {"name": "going"}})).await.expect("created");
    let deletion = cluster.delete("namespaces", "going", &Default::default()).await.expect("deleted");
    assert!(!deletion.gone);
    let refused = cluster.registry.create(&of("configmaps"), Some("going"), config_map("a", "1"), &by_test()).await;
    let status = refused.expect_err("the namespace goes");
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            403,
            "configmaps \"a\" is forbidden: unable to create new content in namespace going because it is being \
             terminated"
        )
    );
    let cause = &status.details.as_ref().expect("details").causes[0];
    assert_eq!(cause.reason, "NamespaceTerminating");
}

#[tokio::test]
async fn an_update_replaces_the_version_that_it_names() {
    let cluster = Cluster::start().await;
    let created = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let mut body = created.value().expect("parses");
    body["data"]["a"] = "2".into();
    let updated = cluster.update("configmaps", None, body.clone()).await.expect("updated");
    assert!(updated.version() > created.version());
    body["data"]["a"] = "3".into();
    let status = cluster.update("configmaps", None, body.clone()).await.expect_err("stale");
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            409,
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your \
             changes to the latest version and try again"
        )
    );
    body["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    let updated = cluster.update("configmaps", None, body).await.expect("updated whatever is there");
    assert_eq!(updated.value().expect("parses")["data"]["a"], "3");
}

#[tokio::test]
async fn an_update_that_cannot_be_is_refused() {
    let cluster = Cluster::start().await;
    let created = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let check = async |plural: &str, name: &str, body: Value, code: u16, message: &str| {
        let refused = cluster.registry.update(&of(plural), None, Some("default"), name, body, &by_test()).await;
        let status = refused.expect_err(message);
        assert_eq!(status.code, code, "{}", status.message);
        assert!(status.message.starts_with(message), "{}", status.message);
    };
    check("configmaps", "b", config_map("b", "1"), 404, "configmaps \"b\" not found").await;
    check(
        "configmaps",
        "a",
        config_map("b", "1"),
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    )
    .await;
    let mut other = created.value().expect("parses");
    other["metadata"]["uid"] = "another".into();
    check(
        "configmaps",
        "a",
        other,
        409,
        "Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, Key: \
         /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: \
         another, UID in object meta: ",
    )
    .await;
    let lease = json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 40}});
    cluster.create("leases", lease.clone()).await.expect("created");
    check(
        "leases",
        "l",
        lease,
        422,
        "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for \
         an update",
    )
    .await;
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let cluster = Cluster::start().await;
    let objects = [
        ("configmaps", config_map("a", "1")),
        ("pods", pod("a")),
        ("services", json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})),
        ("deployments", deployment("a", 2)),
    ];
    for (plural, body) in objects {
        let created = cluster.create(plural, body).await.expect("created");
        let same = created.value().expect("parses");
        let updated = cluster.update(plural, None, same).await.expect("updated");
        assert_eq!(updated.json(), created.json(), "{plural}");
    }
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let cluster = Cluster::start().await;
    let resource = of("configmaps");
    let made = cluster.registry.create(&resource, Some("default"), config_map("a", "1"), &dry_run()).await;
    let value = made.expect("it could be created").value().expect("parses");
    assert!(value["metadata"]["uid"].is_string() && value["metadata"]["resourceVersion"].is_null());
    assert_eq!(cluster.get("configmaps", "a").await.map_err(|status| status.code).map(|_| ()), Err(404));

    let created = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let body = config_map("a", "2");
    let made = cluster.registry.update(&resource, None, Some("default"), "a", body, &dry_run()).await;
    let value = made.expect("it could be updated").value().expect("parses");
    assert_eq!(value["data"]["a"], "2");
    assert_eq!(value["metadata"]["resourceVersion"], created.version().to_string());
    let stored = cluster.get("configmaps", "a").await.expect("stored");
    assert_eq!(stored.json(), created.json());
    let refused = cluster.registry.create(&resource, Some("default"), config_map("a", "1"), &dry_run()).await;
    assert_eq!(refused.expect_err("it exists").code, 409);
}

#[tokio::test]
async fn status_and_the_rest_are_written_apart() {
    let cluster = Cluster::start().await;
    let created = cluster.create("deployments", deployment("a", 2)).await.expect("created");
    let mut body = created.value().expect("parses");
    body["status"] = json!({"replicas": 2, "observedGeneration": 1});
    body["spec"]["replicas"] = 9.into();
    let written = cluster.update("deployments", Some("status"), body.clone()).await.expect("status written");
    let value = written.value().expect("parses");
    assert_eq!((&value["status"]["replicas"], &value["spec"]["replicas"]), (&json!(2), &json!(2)));
    assert_eq!(value["metadata"]["generation"], 1);

    body["metadata"]["resourceVersion"] = value["metadata"]["resourceVersion"].clone();
    body["status"] = json!({"replicas": 7});
    let written = cluster.update("deployments", None, body).await.expect("spec written");
    let value = written.value().expect("parses");
    assert_eq!((&value["status"]["replicas"], &value["spec"]["replicas"]), (&json!(2), &json!(9)));
    assert_eq!(value["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_scale_is_read_and_written() {
    let cluster = Cluster::start().await;
    cluster.create("deployments", deployment("a", 2)).await.expect("created");
    let deployments = of("deployments");
    let registry = &cluster.registry;
    let scale =
        registry.get_subresource(&deployments, "scale", Some("default"), "a", Read::Any).await.expect("a scale");
    let mut body = scale.value().expect("parses");
    assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(body["spec"]["replicas"], 2);
    body["spec"]["replicas"] = 5.into();
    let written = cluster.update("deployments", Some("scale"), body.clone()).await.expect("scaled");
    let value = written.value().expect("parses");
    assert_eq!((&value["kind"], &value["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    let stored = cluster.value("deployments", "a").await;
    assert_eq!((&stored["spec"]["replicas"], &stored["metadata"]["generation"]), (&json!(5), &json!(2)));
    assert_eq!(stored["metadata"]["resourceVersion"], value["metadata"]["resourceVersion"]);

    let status = cluster.update("deployments", Some("scale"), body.clone()).await.expect_err("stale");
    assert_eq!(status.code, 409);
    body["metadata"]["resourceVersion"] = Value::Null;
    body["spec"]["replicas"] = (-1).into();
    let status = cluster.update("deployments", Some("scale"), body).await.expect_err("negative");
    assert_eq!(
        status.message,
        "Scale.autoscaling \"a\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    let refused = registry.get_subresource(&of("pods"), "scale", Some("default"), "a", Read::Any).await;
    assert_eq!(refused.expect_err("pods do not scale").code, 404);
}

#[tokio::test]
async fn an_object_beyond_the_limit_is_refused_and_not_stored() {
    let cluster = Cluster::with(Config { object_limit_bytes: 2000, ..Config::default() }).await;
    let status = cluster.create("configmaps", config_map("a", &"x".repeat(2000))).await.expect_err("too large");
    assert_eq!(status.code, 413);
    assert_eq!(cluster.get("configmaps", "a").await.expect_err("not stored").code, 404);
}

#[tokio::test]
async fn a_signing_request_says_who_made_it() {
    let cluster = Cluster::start().await;
    let body = json!({
        "metadata": {"name": "a"},
        "spec": {
            "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=",
            "signerName": "kubernetes.io/kubelet-serving", "usages": ["digital signature", "server auth"],
            "username": "someone-else", "groups": ["wheel"], "uid": "0", "extra": {"a": ["b"]}
        }
    });
    let created = cluster.create("certificatesigningrequests", body).await.expect("created");
    let spec = created.value().expect("parses")["spec"].clone();
    assert_eq!((&spec["username"], &spec["groups"]), (&json!("system:test"), &json!(["system:masters"])));
}

#[tokio::test]
async fn a_name_whose_object_still_goes_is_taken() {
    let cluster = Cluster::start().await;
    let mut body = config_map("a", "1");
    body["metadata"]["finalizers"] = json!(["x/y"]);
    cluster.create("configmaps", body.clone()).await.expect("created");
    cluster.delete("configmaps", "a", &Default::default()).await.expect("marked");
    let status = cluster.create("configmaps", body).await.expect_err("taken");
    let words = "object is being deleted: configmaps \"a\" already exists";
    assert_eq!((status.code, status.message.as_str()), (409, words));
}

pub fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "pal.local/hello:1"}]}
            }
        }
    })
}

#[tokio::test]
async fn one_object_is_served_in_two_forms() {
    let cluster = Cluster::start().await;
    let served = pal_resources::resource::find("events.k8s.io", "v1", "events").expect("built in");
    let body = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "hello", "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "Said", "action": "Say",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "c-1"
    });
    let watching = cluster.registry.watch(&served, Some("default"), WatchOptions::default()).await;
    let made = cluster.registry.create(&served, Some("default"), body, &by_test()).await.expect("created");
    let made = made.value().expect("parses");
    assert_eq!((&made["apiVersion"], &made["note"]), (&json!("events.k8s.io/v1"), &json!("hello")));
    let Some(WatchEvent::Added(seen)) = watching.expect("a watch").try_next() else { panic!("nothing was seen") };
    assert_eq!(seen.value().expect("parses"), made);
    let stored = cluster.value("events", "e").await;
    assert_eq!((&stored["message"], &stored["involvedObject"]["name"]), (&json!("hello"), &json!("p")));

    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let patch = Patch { kind: PatchKind::Merge, body: series, validation: FieldValidation::Strict, found: Vec::new() };
    let patched =
        cluster.registry.patch(&served, None, Some("default"), "e", &patch, &by_test()).await.expect("patched");
    assert_eq!(patched.object.value().expect("parses")["series"]["count"], 2);
    let patch = Patch {
        kind: PatchKind::Merge,
        body: json!({"note": "else"}),
        validation: FieldValidation::Strict,
        found: Vec::new(),
    };
    let refused = cluster.registry.patch(&served, None, Some("default"), "e", &patch, &by_test()).await;
    let why = "Event \"e\" is invalid: message: Invalid value: \"else\": field is immutable";
    assert_eq!(refused.map(drop).map_err(|status| status.message), Err(why.to_owned()));

    let field = pal_resources::selector::FieldSelector::parse("regarding.name=p").expect("a selector");
    let options = ListOptions { field: Some(field), ..ListOptions::default() };
    let list = cluster.registry.list(&served, None, options).await.expect("a list");
    assert_eq!(list.items.len(), 1);
    assert_eq!(list.items[0].value().expect("parses")["regarding"]["name"], "p");
}
