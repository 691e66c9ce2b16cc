//! Patches of all kinds.

use pal_registry::{Patch, PatchKind, Warnings, WriteOptions};
use pal_resources::codec::FieldValidation;
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_test, config_map, of};
use crate::writes::deployment;

async fn patch(
    cluster: &Cluster,
    plural: &str,
    subresource: Option<&str>,
    kind: PatchKind,
    body: Value,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), (u16, String)> {
    let patch = Patch { kind, body, validation, found: Vec::new() };
    let patched = cluster.registry.patch(&of(plural), subresource, Some("default"), "a", &patch, &by_test()).await;
    let patched = patched.map_err(|status| (status.code, status.message))?;
    Ok((patched.object.value().expect("parses"), patched.warnings))
}

#[tokio::test]
async fn each_kind_of_patch_changes_the_object() {
    let cluster = Cluster::start().await;
    cluster.create("deployments", deployment("a", 1)).await.expect("created");
    let check = async |kind: PatchKind, body: Value, pointer: &str, expected: Value| {
        let strict = FieldValidation::Strict;
        let (value, _) = patch(&cluster, "deployments", None, kind, body, strict).await.expect("patched");
        assert_eq!(value.pointer(pointer), Some(&expected));
    };
    let replicas = json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 2}]);
    check(PatchKind::Json, replicas, "/spec/replicas", json!(2)).await;
    check(PatchKind::Merge, json!({"spec": {"replicas": 3}}), "/spec/replicas", json!(3)).await;
    let container = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}});
    let path = "/spec/template/spec/containers/0";
    check(PatchKind::Strategic, container, &format!("{path}/env/0/value"), json!("1")).await;
    let value = cluster.value("deployments", "a").await;
    assert_eq!(value.pointer(&format!("{path}/image")), Some(&json!("pal.local/hello:1")));
    assert_eq!(value["metadata"]["generation"], 4);
}

#[tokio::test]
async fn a_patch_that_changes_nothing_writes_nothing() {
    let cluster = Cluster::start().await;
    let created = cluster.create("deployments", deployment("a", 1)).await.expect("created");
    for (kind, body) in [
        (PatchKind::Merge, json!({"spec": {"replicas": 1}})),
        (PatchKind::Strategic, json!({"spec": {"replicas": 1}})),
        (PatchKind::Json, json!([])),
    ] {
        patch(&cluster, "deployments", None, kind, body, FieldValidation::Strict).await.expect("patched");
        assert_eq!(cluster.get("deployments", "a").await.expect("stored").version(), created.version());
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_is_refused() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let check = async |kind: PatchKind, body: Value, code: u16| {
        let strict = FieldValidation::Strict;
        let refused = patch(&cluster, "configmaps", None, kind, body.clone(), strict).await.expect_err("refused");
        assert_eq!(refused.0, code, "{body}: {}", refused.1);
    };
    check(PatchKind::Json, json!([{"op": "test", "path": "/data/a", "value": "2"}]), 422).await;
    check(PatchKind::Merge, json!({"dta": {"a": "2"}}), 422).await;
    check(PatchKind::Merge, json!({"data": {"a": {"b": 1}}}), 422).await;
    check(PatchKind::Merge, json!({"metadata": {"name": "b"}}), 400).await;
    check(PatchKind::Merge, json!({"metadata": {"name": null}}), 400).await;
    check(PatchKind::Strategic, json!({"$patch": "delete"}), 400).await;
    check(PatchKind::Json, json!([{"op": "remove", "path": "/metadata"}]), 400).await;
    check(PatchKind::Merge, json!({"metadata": null}), 400).await;
    check(PatchKind::Merge, json!({"kind": "X"}), 422).await;
    let fields =
        json!({"apiVersion": "v1", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}});
    let managed = |manager: String| {
        let mut entry = fields.clone();
        entry["manager"] = manager.into();
        json!({"metadata": {"managedFields": [entry]}})
    };
    check(PatchKind::Merge, managed("m".repeat(129)), 422).await;
    check(PatchKind::Merge, json!({"apiVersion": "v9"}), 422).await;
    check(PatchKind::Merge, json!({"metadata": {"resourceVersion": "1"}}), 409).await;
    check(PatchKind::Merge, json!({"metadata": {"resourceVersion": "x"}}), 500).await;
    let kept = async |kind: PatchKind, body: Value| {
        let patched = patch(&cluster, "configmaps", None, kind, body, FieldValidation::Strict).await.expect("patched");
        assert_eq!((&patched.0["kind"], &patched.0["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    };
    kept(PatchKind::Strategic, json!({"kind": "X", "apiVersion": "v9"})).await;
    kept(PatchKind::Merge, json!({"kind": null, "apiVersion": null})).await;
    assert_eq!(cluster.value("configmaps", "a").await["data"]["a"], "1");
}

#[tokio::test]
async fn unknown_fields_are_told_or_dropped_as_asked() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    for (validation, warnings) in [(FieldValidation::Warn, 1), (FieldValidation::Ignore, 0)] {
        let body = json!({"dta": "x", "data": {"a": format!("{validation:?}")}});
        let patched = patch(&cluster, "configmaps", None, PatchKind::Merge, body, validation).await.expect("patched");
        assert_eq!((patched.1.len(), patched.0.get("dta")), (warnings, None));
    }
}

#[tokio::test]
async fn subresources_are_patched_apart() {
    let cluster = Cluster::start().await;
    cluster.create("deployments", deployment("a", 1)).await.expect("created");
    let merge = async |subresource: &str, body: Value| {
        let strict = FieldValidation::Strict;
        let patched = patch(&cluster, "deployments", Some(subresource), PatchKind::Merge, body, strict).await;
        patched.expect("patched").0
    };
    let scale = merge("scale", json!({"spec": {"replicas": 4}})).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(4)));
    let value = merge("status", json!({"spec": {"replicas": 9}, "status": {"replicas": 4}})).await;
    assert_eq!((&value["spec"]["replicas"], &value["status"]["replicas"]), (&json!(4), &json!(4)));
}

#[tokio::test]
async fn what_is_the_servers_no_patch_changes() {
    let cluster = Cluster::start().await;
    let created = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let created = created.value().expect("parses")["metadata"]["creationTimestamp"].clone();
    let check = async |metadata: Value, expected: Result<(), (u16, &str)>| {
        let body = json!({"metadata": metadata.clone()});
        let found = patch(&cluster, "configmaps", None, PatchKind::Merge, body, FieldValidation::Strict).await;
        let found = found.map(|(value, _)| assert_eq!(value["metadata"]["creationTimestamp"], created));
        let expected = expected.map_err(|(code, message)| (code, message.to_owned()));
        assert_eq!(found, expected, "{metadata}");
    };
    let invalid = "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable";
    check(json!({"uid": "x"}), Err((422, invalid))).await;
    let period =
        "ConfigMap \"a\" is invalid: metadata.deletionGracePeriodSeconds: Invalid value: 5: field is immutable";
    check(json!({"deletionGracePeriodSeconds": 5}), Err((422, period))).await;
    check(json!({"creationTimestamp": "2000-01-01T00:00:00Z"}), Ok(())).await;
    check(json!({"creationTimestamp": null, "uid": null, "generation": 77}), Ok(())).await;
    let stale = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your \
                 changes to the latest version and try again";
    check(json!({"resourceVersion": "1", "uid": "x"}), Err((409, stale))).await;
    let mut merge = Patch {
        kind: PatchKind::Merge,
        body: json!({"metadata": {"uid": "x"}}),
        validation: FieldValidation::Strict,
        found: Vec::new(),
    };
    // Whoever means the one object tells that it is another one now.
    for (uid, other) in [("x", true), ("", false)] {
        merge.body["metadata"] = json!({"uid": uid, "deletionGracePeriodSeconds": 5});
        let refused = cluster.registry.patch(&of("configmaps"), None, Some("default"), "a", &merge, &by_test()).await;
        assert_eq!(refused.map(drop).expect_err("refused").is_for_another(), other, "{uid}");
    }
}

#[tokio::test]
async fn an_owner_that_is_named_twice_is_kept_once_with_a_warning() {
    let cluster = Cluster::start().await;
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Widget", "name": name, "uid": "u-1"});
    let owned = |name: &str, owners: &[&str]| {
        let mut body = config_map(name, "1");
        body["metadata"]["ownerReferences"] = owners.iter().map(|name| owner(name)).collect();
        body
    };
    let (early, late) = (
        ".metadata.ownerReferences contains duplicate entries; API server dedups",
        ".metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups",
    );
    let check = |outcome: pal_registry::Object, by: &WriteOptions, owners: usize, expected: Option<&str>| {
        let value = outcome.value().expect("parses");
        assert_eq!(value["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(owners), "{value}");
        let told = by.warnings.as_ref().map(Warnings::take).unwrap_or_default();
        assert_eq!(told.len(), usize::from(expected.is_some()), "{told:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected) && told.ends_with("duplicate UID(s) observed: u-1"), "{told}");
        }
    };
    let by = WriteOptions { warnings: Some(Warnings::default()), ..by_test() };
    let (maps, home) = (of("configmaps"), Some("default"));
    let made = cluster.registry.create(&maps, home, owned("a", &["w", "w"]), &by).await.expect("created");
    check(made, &by, 1, Some(early));
    // Two that differ are two, with one uid or not.
    let put = cluster.registry.update(&maps, None, home, "a", owned("a", &["w", "v"]), &by).await.expect("replaced");
    check(put, &by, 2, None);
    let put =
        cluster.registry.update(&maps, None, home, "a", owned("a", &["w", "v", "w"]), &by).await.expect("replaced");
    check(put, &by, 2, Some(early));
    let twice = json!({"metadata": {"ownerReferences": [owner("w"), owner("w")]}});
    let merge = Patch { kind: PatchKind::Merge, body: twice, validation: FieldValidation::Strict, found: Vec::new() };
    let patched = cluster.registry.patch(&maps, None, home, "a", &merge, &by).await.expect("patched");
    check(patched.object, &by, 1, Some(late));
}
