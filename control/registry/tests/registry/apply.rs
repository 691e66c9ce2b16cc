//! Who owns the fields of stored objects, and server-side apply to them.

use pal_registry::{Binding, Config, DeleteOptions, Patch, PatchKind, Patched, WriteOptions};
use pal_resources::Status;
use pal_resources::codec::FieldValidation;
use serde_json::{Value, json};

use crate::cluster::{Cluster, config_map, of, pod};
use crate::writes::deployment;

fn by(manager: &str) -> WriteOptions {
    WriteOptions { field_manager: Some(manager.to_owned()), ..WriteOptions::system("test") }
}

struct Applier<'a> {
    cluster: &'a Cluster,
    plural: &'a str,
    subresource: Option<&'a str>,
}

impl Applier<'_> {
    async fn patch(&self, manager: &str, kind: PatchKind, body: Value) -> Result<Patched, Status> {
        let patch = Patch { kind, body, validation: FieldValidation::Strict, found: Vec::new() };
        let options = by(manager);
        let resource = of(self.plural);
        self.cluster.registry.patch(&resource, self.subresource, Some("default"), "a", &patch, &options).await
    }

    async fn apply(&self, manager: &str, body: Value) -> Result<Patched, Status> {
        self.patch(manager, PatchKind::Apply { force: false }, body).await
    }

    async fn force(&self, manager: &str, body: Value) -> Result<Patched, Status> {
        self.patch(manager, PatchKind::Apply { force: true }, body).await
    }
}

fn to<'a>(cluster: &'a Cluster, plural: &'a str) -> Applier<'a> {
    Applier { cluster, plural, subresource: None }
}

/// `manager operation subresource` to the fields that it owns.
fn owners(object: &Value) -> Value {
    let mut owners = serde_json::Map::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        assert_eq!(entry["fieldsType"], "FieldsV1");
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        let name = format!("{} {} {}", text("manager"), text("operation"), text("subresource"));
        owners.insert(name.trim_end().to_owned(), entry["fieldsV1"].clone());
    }
    owners.into()
}

async fn stored(cluster: &Cluster, plural: &str) -> Value {
    cluster.value(plural, "a").await
}

#[tokio::test]
async fn the_beginning_of_a_name_goes_when_nobody_says_it_any_more() {
    let cluster = Cluster::start().await;
    let maps = to(&cluster, "configmaps");
    let config = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    maps.apply("m", config(json!({"name": "a", "generateName": "x"}))).await.expect("applied");
    assert_eq!(stored(&cluster, "configmaps").await["metadata"]["generateName"], "x");
    maps.apply("m", config(json!({"name": "a"}))).await.expect("applied");
    assert_eq!(stored(&cluster, "configmaps").await["metadata"].get("generateName"), None);
}

#[tokio::test]
async fn a_configuration_makes_the_object_and_then_changes_it() {
    let cluster = Cluster::start().await;
    let maps = to(&cluster, "configmaps");
    let made = maps.apply("one", config_map("a", "1")).await.expect("applied");
    assert!(made.created);
    let again = maps.apply("one", config_map("a", "1")).await.expect("applied");
    assert!(!again.created);
    assert_eq!(again.object.version(), made.object.version(), "nothing changed, so nothing was written");
    maps.apply("one", json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "2"}})).await.expect("applied");
    let object = stored(&cluster, "configmaps").await;
    assert_eq!(object["data"], json!({"b": "2"}));
    assert_eq!(owners(&object), json!({"one Apply": {"f:data": {"f:b": {}}}}));
}

#[tokio::test]
async fn a_conflict_names_the_manager_and_force_takes_over() {
    let cluster = Cluster::start().await;
    cluster
        .registry
        .create(&of("configmaps"), Some("default"), config_map("a", "1"), &by("maker"))
        .await
        .expect("made");
    let maps = to(&cluster, "configmaps");
    let refused = maps.apply("one", config_map("a", "2")).await.map_err(|status| (status.code, status.message));
    let words = "Apply failed with 1 conflict: conflict with \"maker\" using v1: .data.a";
    assert_eq!(refused.map(drop), Err((409, words.to_owned())));
    maps.force("one", config_map("a", "2")).await.expect("forced");
    let object = stored(&cluster, "configmaps").await;
    assert_eq!(owners(&object), json!({"one Apply": {"f:data": {"f:a": {}}}, "maker Update": {"f:data": {}}}));
}

#[tokio::test]
async fn a_creator_owns_what_it_wrote_and_not_what_the_server_added() {
    let cluster = Cluster::start().await;
    let mut body = pod("a");
    body["spec"]["priority"] = 0.into();
    cluster.create("pods", body).await.expect("created");
    let owned = owners(&stored(&cluster, "pods").await);
    let spec = &owned["test Update"]["f:spec"];
    assert!(spec["f:priority"].is_object() && spec["f:restartPolicy"].is_object(), "{spec}");
    for server in ["f:serviceAccountName", "f:serviceAccount", "f:tolerations", "f:preemptionPolicy"] {
        assert!(spec.get(server).is_none(), "{server}");
    }
    assert!(owned["test Update"].get("f:status").is_none() && owned["test Update"].get("f:metadata").is_none());
    cluster.create("namespaces", json!({"metadata": {"name": "n"}})).await.expect("created");
    let namespace = cluster.value("namespaces", "n").await;
    let labels = json!({"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}});
    assert_eq!(owners(&namespace), json!({"test Update": labels}));
}

#[tokio::test]
async fn what_a_job_gets_to_know_its_pods_by_is_nobodys() {
    let check = async |labels: Value, expected: Value| {
        let cluster = Cluster::start().await;
        let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]});
        let template = json!({"metadata": {"labels": labels}, "spec": spec});
        let job = json!({"metadata": {"name": "a"}, "spec": {"template": template}});
        cluster.create("jobs", job).await.expect("created");
        let made = stored(&cluster, "jobs").await;
        let generated = &made["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"];
        assert_eq!(generated, "a");
        let owned = &owners(&made)["test Update"];
        let spec = &owned["f:spec"];
        let found = json!([owned.get("f:metadata"), spec.get("f:selector"), spec["f:template"].get("f:metadata")]);
        assert_eq!(found, expected, "{labels}");
    };
    check(Value::Null, json!([null, null, null])).await;
    let own = json!({"f:labels": {".": {}, "f:app": {}}});
    check(json!({"app": "b"}), json!([own, null, own])).await;
}

#[tokio::test]
async fn writers_that_know_nothing_of_managers_keep_them() {
    let cluster = Cluster::start().await;
    to(&cluster, "configmaps").apply("one", config_map("a", "1")).await.expect("applied");
    let mut object = stored(&cluster, "configmaps").await;
    object["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    object["data"]["b"] = "2".into();
    cluster.update("configmaps", None, object).await.expect("updated");
    let expected = json!({"one Apply": {"f:data": {"f:a": {}}}, "test Update": {"f:data": {"f:b": {}}}});
    assert_eq!(owners(&stored(&cluster, "configmaps").await), expected);
    let object = stored(&cluster, "configmaps").await;
    let version = cluster.update("configmaps", None, object.clone()).await.expect("updated").version();
    assert_eq!(version.to_string(), object["metadata"]["resourceVersion"], "nothing changed");
}

#[tokio::test]
async fn managers_are_reset_by_an_empty_entry_and_begin_with_the_next_apply() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    for reset in [json!([{}]), json!([])] {
        let mut object = stored(&cluster, "configmaps").await;
        object["metadata"]["managedFields"] = reset;
        cluster.update("configmaps", None, object).await.expect("updated");
        assert_eq!(owners(&stored(&cluster, "configmaps").await), json!({}));
    }
    cluster.merge("configmaps", None, "a", json!({"data": {"b": "2"}})).await.expect("patched");
    assert_eq!(owners(&stored(&cluster, "configmaps").await), json!({}), "updates track nothing yet");
    let maps = to(&cluster, "configmaps");
    maps.apply("one", json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"c": "3"}})).await.expect("applied");
    assert_eq!(
        owners(&stored(&cluster, "configmaps").await),
        json!({
            "one Apply": {"f:data": {"f:c": {}}},
            "before-first-apply Update": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
        })
    );
}

#[tokio::test]
async fn owners_that_are_too_much_are_dropped_unless_somebody_applies() {
    let cluster = Cluster::with(Config { object_limit_bytes: 3000, ..Config::default() }).await;
    let data = |value: &str| -> Value {
        let named = |i: usize| (format!("a-name-that-is-longer-than-the-value-{i}"), value.into());
        json!((0..30).map(named).collect::<serde_json::Map<_, _>>())
    };
    let body = json!({"metadata": {"name": "a"}, "data": data("1")});
    cluster.create("configmaps", body).await.expect("created without its owners");
    assert_eq!(owners(&stored(&cluster, "configmaps").await), json!({}));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    let refused = to(&cluster, "configmaps").apply("one", config.clone()).await.expect_err("owners would be too much");
    assert_eq!(refused.code, 413);

    cluster.delete("configmaps", "a", &DeleteOptions::default()).await.expect("deleted");
    to(&cluster, "configmaps").apply("one", config).await.expect("applied");
    cluster.merge("configmaps", None, "a", json!({"data": data("2")})).await.expect("patched");
    let object = stored(&cluster, "configmaps").await;
    assert_eq!((owners(&object), object["data"].as_object().map(|data| data.len())), (json!({}), Some(31)));
}

#[tokio::test]
async fn patches_can_change_managers() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let entry = json!([{"manager": "new", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
                        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}}}]);
    let maps = to(&cluster, "configmaps");
    let version = stored(&cluster, "configmaps").await["metadata"]["resourceVersion"].clone();
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": entry},
                       {"op": "replace", "path": "/metadata/resourceVersion", "value": version}]);
    maps.patch("kubectl", PatchKind::Json, patch).await.expect("patched");
    let object = stored(&cluster, "configmaps").await;
    assert_eq!(object["metadata"]["managedFields"], entry);
    let gone = maps.patch("kubectl", PatchKind::Merge, json!({"metadata": {"managedFields": [{}]}})).await;
    gone.expect("patched");
    assert_eq!(owners(&stored(&cluster, "configmaps").await), json!({}));
}

#[tokio::test]
async fn the_status_is_owned_by_who_writes_it_as_such() {
    let cluster = Cluster::start().await;
    cluster.create("deployments", deployment("a", 1)).await.expect("created");
    let status = Applier { subresource: Some("status"), ..to(&cluster, "deployments") };
    let body = |kind: &str| {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"},
               "spec": {"replicas": 9}, "status": {"replicas": 1}})
    };
    status.apply("one", body("Deployment")).await.expect("applied");
    let object = stored(&cluster, "deployments").await;
    assert_eq!((&object["spec"]["replicas"], &object["status"]["replicas"]), (&json!(1), &json!(1)));
    assert_eq!(owners(&object)["one Apply status"], json!({"f:status": {"f:replicas": {}}}));
    let refused = status.apply("one", body("Pod")).await.map_err(|status| status.message);
    assert_eq!(refused.map(drop), Err("invalid object type: apps/v1, Kind=Pod".to_owned()));
}

#[tokio::test]
async fn the_scale_shares_the_owner_of_the_number_of_replicas() {
    let cluster = Cluster::start().await;
    let deployments = to(&cluster, "deployments");
    let mut body = deployment("a", 1);
    deployments.apply("one", body.clone()).await.expect("applied");
    let scale = Applier { subresource: Some("scale"), ..to(&cluster, "deployments") };
    let of_scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": replicas}});
    let refused = scale.apply("two", of_scale(3)).await.map_err(|status| status.message);
    let words = "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas";
    assert_eq!(refused.map(drop), Err(words.to_owned()));
    scale.force("two", of_scale(3)).await.expect("forced");
    let object = stored(&cluster, "deployments").await;
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(owners(&object)["two Apply scale"], json!({"f:spec": {"f:replicas": {}}}));
    assert!(owners(&object)["one Apply"]["f:spec"].get("f:replicas").is_none());
    let refused = deployments.apply("one", body.clone()).await.map_err(|status| status.message);
    let words = "Apply failed with 1 conflict: conflict with \"two\" with subresource \"scale\": .spec.replicas";
    assert_eq!(refused.map(drop), Err(words.to_owned()));
    body["spec"].as_object_mut().expect("a spec").remove("replicas");
    deployments.apply("one", body).await.expect("no conflict any more");
    assert_eq!(stored(&cluster, "deployments").await["spec"]["replicas"], 3);
}

#[tokio::test]
async fn what_the_server_does_by_itself_keeps_the_managers() {
    let cluster = Cluster::start().await;
    let mut body = pod("a");
    body["metadata"]["finalizers"] = json!(["example.com/wait"]);
    cluster.create("pods", body).await.expect("created");
    let before = owners(&stored(&cluster, "pods").await);
    cluster.registry.bind("default", "a", &Binding::to("node"), &by("scheduler")).await.expect("bound");
    cluster.delete("pods", "a", &DeleteOptions::system("test")).await.expect("deleted");
    let object = stored(&cluster, "pods").await;
    assert!(object["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(owners(&object), before);
}

#[tokio::test]
async fn an_apply_that_cannot_be_is_refused() {
    let cluster = Cluster::start().await;
    let maps = to(&cluster, "configmaps");
    let map = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let check = async |body: Value, code: u16, expected: &str| {
        let refused = maps.apply("one", body).await.map_err(|status| (status.code, status.message));
        assert_eq!(refused.map(drop), Err((code, expected.to_owned())));
    };
    check(json!({"apiVersion": "v1"}), 400, "invalid object type: /v1, Kind=").await;
    check(
        map(json!({"name": "a", "uid": "u"})),
        409,
        "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no \
         existing object was found",
    )
    .await;
    check(map(json!({"name": "b"})), 400, "the name of the object (b) does not match the name on the URL (a)").await;
    check(map(json!({})), 400, "the name of the object (a based on URL) was undeterminable: name must be provided")
        .await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    check(
        map(json!({"name": "a", "resourceVersion": "1"})),
        409,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again",
    )
    .await;
    let status = Applier { subresource: Some("status"), ..to(&cluster, "deployments") };
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    assert_eq!(status.apply("one", body).await.map(drop).map_err(|status| status.code), Err(404));
}

#[tokio::test]
async fn a_dry_run_shows_and_writes_nothing() {
    let cluster = Cluster::start().await;
    let patch = Patch {
        kind: PatchKind::Apply { force: false },
        body: config_map("a", "1"),
        validation: FieldValidation::Strict,
        found: Vec::new(),
    };
    let options = WriteOptions { dry_run: true, ..by("one") };
    let shown =
        cluster.registry.patch(&of("configmaps"), None, Some("default"), "a", &patch, &options).await.expect("shown");
    assert!(shown.created);
    assert_eq!(owners(&shown.object.value().expect("JSON")), json!({"one Apply": {"f:data": {"f:a": {}}}}));
    assert_eq!(cluster.get("configmaps", "a").await.map(drop).map_err(|status| status.code), Err(404));
}
