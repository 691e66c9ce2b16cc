//! Custom resources: their definitions, and their objects as clients drive them.

use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::cluster::{Client, Cluster, PATIENCE};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GROUP: &str = "/apis/stable.example.com";
const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";
const OLD_TABS: &str = "/apis/stable.example.com/v1beta1/namespaces/default/crontabs";

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["cron"], "properties": {
            "cron": {"type": "string", "pattern": "^[0-9* ]+$"},
            "replicas": {"type": "integer", "default": 1, "minimum": 0},
            "color": {"type": "string"},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                "items": {"type": "object", "required": ["port"], "properties": {
                    "port": {"type": "integer"}, "name": {"type": "string"}}}},
        }, "x-kubernetes-validations": [
            {"rule": "!has(self.replicas) || self.replicas <= 10", "message": "no more than ten"}]},
        "status": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }});
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "deprecated": !storage,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
            "additionalPrinterColumns": [{"name": "Cron", "type": "string", "jsonPath": ".spec.cron"}],
            "selectableFields": [{"jsonPath": ".spec.color"}],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
                 "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
                 "versions": [version("v1", true), version("v1beta1", false)]},
    })
}

fn merging(client: &Client) -> Client {
    client.clone().with("content-type", "application/merge-patch+json")
}

/// Makes the definition and says what the controllers, which do not run here, say of it.
async fn establish(admin: &Client) {
    let made = admin.post(DEFINITIONS, &definition()).await.ok();
    assert_eq!(made["spec"]["names"]["listKind"], "CronTabList");
    accept(admin, &made["spec"]["names"]).await;
}

async fn accept(admin: &Client, names: &Value) {
    let status = json!({"status": {"acceptedNames": names, "conditions": [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found",
         "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "accepted",
         "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com/status");
    merging(admin).send(Method::PATCH, &path, status.to_string()).await.ok();
}

fn tab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_definition_brings_its_resource_into_the_world_and_takes_it_along() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let nobody = admin.get(&format!("{TABS}/a")).await;
    assert_eq!((nobody.code.as_u16(), nobody.text().as_str()), (404, "404 page not found\n"));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let discovering = admin.clone().with("accept", aggregated);
    let before = discovering.get("/apis").await.headers["etag"].clone();
    establish(&admin).await;

    let after = discovering.get("/apis").await;
    assert_ne!(after.headers["etag"], before);
    let groups = after.json();
    let mut all = groups["items"].as_array().into_iter().flatten();
    let group = all.find(|group| group["metadata"]["name"] == "stable.example.com").expect("the group is told");
    let versions: Vec<&str> =
        group["versions"].as_array().into_iter().flatten().filter_map(|v| v["version"].as_str()).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    let resource = &group["versions"][0]["resources"][0];
    assert_eq!((&resource["shortNames"], &resource["categories"]), (&json!(["ct"]), &json!(["all"])));
    let subresources: Vec<&str> =
        resource["subresources"].as_array().into_iter().flatten().filter_map(|s| s["subresource"].as_str()).collect();
    assert_eq!(subresources, ["status", "scale"]);
    assert_eq!(admin.get(GROUP).await.ok()["preferredVersion"]["version"], "v1");
    let list = admin.get(&format!("{GROUP}/v1")).await.ok();
    assert_eq!(list["resources"][0]["name"], "crontabs");
    let index = admin.get("/openapi/v3").await.ok();
    let url =
        index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].as_str().expect("a document").to_owned();
    let document = admin.get(&url).await.ok();
    assert!(document["components"]["schemas"]["com.example.stable.v1.CronTab"]["properties"]["spec"].is_object());

    admin.post(TABS, &tab("a", json!({"cron": "* *"}))).await.ok();
    // What is created says its name itself; in no namespace there is nothing to write to.
    let named = admin.post(&format!("{TABS}/other"), &tab("b", json!({"cron": "* *"}))).await.ok();
    assert_eq!(named["metadata"]["name"], "b");
    let everywhere = format!("{GROUP}/v1/crontabs");
    assert_eq!(admin.post(&everywhere, &tab("c", json!({}))).await.code, 404);
    admin.send(Method::PUT, TABS, tab("c", json!({})).to_string()).await.refused(400, "name must be provided");

    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let going = admin.send(Method::DELETE, &path, "").await.ok();
    assert_eq!(going["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let refusal = "create not allowed while custom resource definition is terminating";
    admin.post(TABS, &tab("b", json!({"cron": "* *"}))).await.refused(405, refusal);
    admin.get(&format!("{TABS}/a")).await.ok();
    let release = json!({"metadata": {"finalizers": null}});
    merging(&admin).send(Method::PATCH, &path, release.to_string()).await.ok();
    assert_eq!(admin.get(&format!("{TABS}/a")).await.text(), "404 page not found\n");
    assert_eq!(admin.get(GROUP).await.text(), "404 page not found\n");
    cluster.stop().await;
}

#[tokio::test]
async fn who_is_told_that_a_definition_is_made_can_use_it() {
    let cluster = Cluster::configured(|config| config.definition_wait = PATIENCE).await;
    let admin = cluster.admin();
    let trial = format!("{DEFINITIONS}?dryRun=All");
    admin.post(&trial, &definition()).await.ok();
    let accepted = AtomicBool::new(false);
    let making = async {
        let made = admin.post(DEFINITIONS, &definition()).await.ok();
        assert!(accepted.load(Ordering::Relaxed), "it waits until the names are accepted");
        assert_eq!(made["status"]["conditions"], Value::Null, "the answer is what was created: {made}");
        admin.get(TABS).await.ok();
    };
    let accepting = async {
        let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
        let there = async {
            loop {
                let found = admin.get(&path).await;
                if found.code == 200 {
                    return found.json();
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, there).await.expect("the definition is stored");
        accepted.store(true, Ordering::Relaxed);
        accept(&admin, &found["spec"]["names"]).await;
    };
    tokio::join!(making, accepting);
    cluster.stop().await;
}

#[tokio::test]
async fn objects_are_what_their_definition_makes_of_them() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    let check = async |body: Value, query: &str, code: u16, expected: &str| {
        let answer = admin.post(&format!("{TABS}?dryRun=All{query}"), &body).await;
        assert_eq!(answer.code.as_u16(), code, "{body}: {}", answer.text());
        assert!(answer.text().contains(expected), "{expected:?} in {}", answer.text());
    };
    check(tab("a", json!({"cron": "* *"})), "", 201, r#""replicas":1"#).await;
    check(tab("a", json!({})), "", 422, "spec.cron: Required value").await;
    check(tab("a", json!({"cron": "x"})), "", 422, "spec.cron: Invalid value").await;
    check(tab("a", json!({"cron": "*", "replicas": 11})), "", 422, "no more than ten").await;
    check(tab("A", json!({"cron": "*"})), "", 422, "metadata.name: Invalid value").await;
    let strange = || tab("a", json!({"cron": "*", "more": 1}));
    check(strange(), "&fieldValidation=Ignore", 201, "").await;
    check(strange(), "&fieldValidation=Strict", 400, r#"strict decoding error: unknown field \"spec.more\""#).await;
    let version =
        "the API version in the data (apps/v1) does not match the expected API version (stable.example.com/v1)";
    check(json!({"kind": "CronTab", "apiVersion": "apps/v1"}), "", 400, version).await;
    let mut other = tab("a", json!({"cron": "*"}));
    other["kind"] = json!("Other");
    let kind = r#"Other.stable.example.com \"a\" is invalid: kind: Invalid value: \"Other\": must be CronTab"#;
    check(other, "", 422, kind).await;
    check(json!({"apiVersion": "stable.example.com/v1"}), "", 400, "Object 'Kind' is missing in").await;
    let warned = admin.post(&format!("{TABS}?dryRun=All"), &strange()).await;
    assert_eq!(warned.headers["warning"], r#"299 - "unknown field \"spec.more\"""#);
    assert!(warned.json()["spec"].get("more").is_none(), "{}", warned.text());
    cluster.stop().await;
}

#[tokio::test]
async fn objects_live_as_others_do() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    let merge = merging(&admin);
    let made = admin.post(TABS, &json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"cron": "*", "color": "red"}, "status": {"replicas": 9}})).await.ok();
    assert_eq!((&made["metadata"]["generation"], made.get("status")), (&json!(1), None));
    admin.post(TABS, &tab("b", json!({"cron": "*", "color": "blue"}))).await.ok();

    let generation = async |path: &str, patch: Value, expected: i64| {
        let patched = merge.send(Method::PATCH, &format!("{TABS}/{path}"), patch.to_string()).await.ok();
        assert_eq!(patched["metadata"]["generation"], expected, "{path} {patch}");
        patched
    };
    generation("a", json!({"metadata": {"labels": {"z": "1"}}}), 1).await;
    generation("a", json!({"status": {"replicas": 3}}), 1).await;
    let status =
        generation("a/status", json!({"spec": {"cron": "1"}, "status": {"replicas": 3, "selector": "x=y"}}), 1).await;
    assert_eq!((&status["spec"]["cron"], &status["status"]["replicas"]), (&json!("*"), &json!(3)));
    generation("a", json!({"spec": {"replicas": 2}}), 2).await;

    let scale = admin.get(&format!("{TABS}/a/scale")).await.ok();
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 2}), &json!({"replicas": 3, "selector": "x=y"}))
    );
    let scaled = merge.send(Method::PATCH, &format!("{TABS}/a/scale"), r#"{"spec":{"replicas":4}}"#).await.ok();
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(4)));

    let names = async |query: &str| -> Vec<String> {
        let list = admin.get(&format!("{TABS}?{query}")).await.ok();
        assert_eq!(list["kind"], "CronTabList");
        let names = list["items"].as_array().expect("items").iter();
        names.map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names("").await, ["a", "b"]);
    assert_eq!(names("labelSelector=x%3Dy").await, ["a"]);
    assert_eq!(names("fieldSelector=spec.color%3Dblue").await, ["b"]);
    assert_eq!(names("limit=1").await, ["a"]);
    admin
        .get(&format!("{TABS}?fieldSelector=spec.cron%3D1"))
        .await
        .refused(400, "field label not supported: spec.cron");

    let old = admin.get(&format!("{OLD_TABS}/a")).await;
    assert_eq!(
        old.headers["warning"],
        r#"299 - "stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab""#
    );
    assert_eq!(old.json()["apiVersion"], "stable.example.com/v1beta1");
    let table = admin.clone().with("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = table.get(TABS).await.ok();
    assert_eq!(table["columnDefinitions"][1]["name"], "Cron");
    assert_eq!(table["rows"][0]["cells"], json!(["a", "*"]));

    let strategic = admin.clone().with("content-type", "application/strategic-merge-patch+json");
    let refusal = "accepted media types include: application/json-patch+json, application/merge-patch+json, \
                   application/apply-patch+yaml";
    strategic.send(Method::PATCH, &format!("{TABS}/a"), "{}").await.refused(415, refusal);
    let put = admin.send(Method::PUT, &format!("{TABS}/a"), tab("a", json!({"cron": "*"})).to_string()).await;
    put.refused(422, "metadata.resourceVersion: Invalid value: 0: must be specified for an update");
    admin.get(&format!("{TABS}/a/log")).await.refused(404, "crontabs.stable.example.com \"a\" not found");
    assert_eq!(admin.get(&format!("{GROUP}/v1/crontabs/a")).await.text(), "404 page not found\n");
    let gone = admin.send(Method::DELETE, TABS, "").await.ok();
    assert_eq!(gone["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(gone["items"][0]["kind"], "CronTab", "a custom resource's items say it themselves");
    cluster.stop().await;
}

#[tokio::test]
async fn a_scale_may_name_no_version_and_begin_the_count() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    let default = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas/default";
    let removed = json!([{"op": "remove", "path": default}]).to_string();
    let json_patch = admin.clone().with("content-type", "application/json-patch+json");
    json_patch.send(Method::PATCH, &format!("{DEFINITIONS}/crontabs.stable.example.com"), removed).await.ok();
    admin.post(TABS, &tab("b", json!({"cron": "*"}))).await.ok();
    let scaled = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "b"}, "spec": {"replicas": replicas}});
    let path = format!("{TABS}/b/scale");
    let why = r#"the spec replicas field ".spec.replicas" does not exist"#;
    let missing = admin.get(&path).await;
    missing.refused(500, why);
    assert_eq!(missing.json()["details"], json!({"causes": [{"message": why}]}));
    let negative = admin.send(Method::PUT, &path, scaled(-2).to_string()).await;
    negative.refused(422, ".spec.replicas: Invalid value: -2: should be a non-negative integer");
    let empty = merging(&admin).send(Method::PATCH, &path, "{}").await;
    empty.refused(400, r#"the spec replicas field ".spec.replicas" cannot be empty"#);
    let put = admin.send(Method::PUT, &path, scaled(2).to_string()).await.ok();
    assert_eq!(put["spec"]["replicas"], 2);
    cluster.stop().await;
}

#[tokio::test]
async fn reading_another_version_fills_in_none_of_its_defaults() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    let color = "/spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/color/default";
    let added = json!([{"op": "add", "path": color, "value": "red"}]).to_string();
    let json_patch = admin.clone().with("content-type", "application/json-patch+json");
    json_patch.send(Method::PATCH, &format!("{DEFINITIONS}/crontabs.stable.example.com"), added).await.ok();
    admin.post(TABS, &tab("a", json!({"cron": "*"}))).await.ok();
    let read = admin.get(&format!("{OLD_TABS}/a")).await.ok();
    assert_eq!((&read["spec"]["replicas"], read["spec"].get("color")), (&json!(1), None));
    let mut old = tab("b", json!({"cron": "*"}));
    old["apiVersion"] = json!("stable.example.com/v1beta1");
    assert_eq!(admin.post(OLD_TABS, &old).await.ok()["spec"]["color"], "red", "a body has its own version's");
    cluster.stop().await;
}

#[tokio::test]
async fn who_is_refused_is_warned_and_patches_keep_the_kind() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    admin.post(TABS, &tab("a", json!({"cron": "*"}))).await.ok();
    let path = format!("{TABS}/a");
    let warning = r#"299 - "unknown field \"spec.more\"""#;
    let put = admin.send(Method::PUT, &path, tab("a", json!({"cron": "*", "more": 1})).to_string()).await;
    put.refused(422, r#"crontabs.stable.example.com "a" is invalid: metadata.resourceVersion: Invalid value: 0"#);
    assert_eq!(put.headers["warning"], warning);
    let merge = merging(&admin);
    let patched = merge.send(Method::PATCH, &path, r#"{"spec":{"cron":7,"more":1}}"#).await;
    patched.refused(422, "spec.cron in body must be of type string");
    assert_eq!(patched.headers["warning"], warning);
    let other = merge.send(Method::PATCH, &path, r#"{"kind":"Other"}"#).await;
    other.refused(422, r#"Other.stable.example.com "a" is invalid: kind: Invalid value: "Other": must be CronTab"#);
    let mut unknown = tab("none", json!({"cron": "*"}));
    unknown["metadata"]["uid"] = json!("u");
    let put = admin.send(Method::PUT, &format!("{TABS}/none"), unknown.to_string()).await;
    put.refused(404, r#"crontabs.stable.example.com "none" not found"#);
    cluster.stop().await;
}

#[tokio::test]
async fn configurations_are_applied_by_the_definitions_keys() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    let applier = admin.clone().with("content-type", "application/apply-patch+yaml");
    let apply = async |manager: &str, ports: Value| {
        let mut body = tab("a", json!({"cron": "*", "ports": ports}));
        if manager == "b" {
            body["spec"].as_object_mut().expect("a spec").remove("cron");
        }
        applier.send(Method::PATCH, &format!("{TABS}/a?fieldManager={manager}"), body.to_string()).await
    };
    assert_eq!(apply("a", json!([{"port": 1, "name": "one"}])).await.code, 201);
    let both = apply("b", json!([{"port": 2, "name": "two"}])).await.ok();
    assert_eq!(both["spec"]["ports"], json!([{"port": 1, "name": "one"}, {"port": 2, "name": "two"}]));
    assert_eq!(both["metadata"]["managedFields"].as_array().map(Vec::len), Some(2));
    apply("b", json!([{"port": 1, "name": "other"}])).await.refused(409, "conflict with \"a\"");
    let less = apply("b", json!([])).await.ok();
    assert_eq!(less["spec"]["ports"], json!([{"port": 1, "name": "one"}]));
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_ends_where_its_definition_changes_and_goes_on_by_the_new_one() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    let watch = admin.open(Method::GET, &format!("{TABS}?watch=true"), "").await;
    let made = admin.post(TABS, &tab("a", json!({"cron": "*"}))).await.ok();

    let size = json!([{"op": "add", "value": {"type": "string", "default": "small"},
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size"}]);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let patching = admin.clone().with("content-type", "application/json-patch+json");
    patching.send(Method::PATCH, &path, size.to_string()).await.ok();
    admin.post(TABS, &tab("b", json!({"cron": "*"}))).await.ok();

    let body = tokio::time::timeout(PATIENCE, watch.into_body().collect()).await.expect("an end in time");
    let names = |text: &str| -> Vec<(Value, Value)> {
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
        events
            .map(|event| (event["object"]["metadata"]["name"].clone(), event["object"]["spec"]["size"].clone()))
            .collect()
    };
    let told = body.expect("a body").to_bytes();
    let told = names(std::str::from_utf8(&told).expect("text"));
    assert!(told.is_empty() || told == [(json!("a"), Value::Null)], "{told:?}");
    let version = made["metadata"]["resourceVersion"].as_str().expect("a version");
    let later = admin.get(&format!("{TABS}?watch=true&resourceVersion={version}&timeoutSeconds=1")).await.text();
    assert_eq!(names(&later), [(json!("b"), json!("small"))]);
    cluster.stop().await;
}

#[tokio::test]
async fn what_a_later_rule_says_of_what_did_not_change_is_a_warning() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    establish(&admin).await;
    admin.post(TABS, &tab("a", json!({"cron": "*", "replicas": 5}))).await.ok();
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let mut stricter = admin.get(&path).await.ok();
    for version in stricter["spec"]["versions"].as_array_mut().expect("versions") {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
            json!([{"rule": "!has(self.replicas) || self.replicas <= 3", "message": "no more than three"}]);
    }
    admin.send(Method::PUT, &path, stricter.to_string()).await.ok();
    let warning = "299 - \"spec: Invalid value: no more than three\"";
    for (tail, change) in
        [("", json!({"metadata": {"labels": {"x": "y"}}})), ("/status", json!({"status": {"replicas": 5}}))]
    {
        let changed = merging(&admin).send(Method::PATCH, &format!("{TABS}/a{tail}"), change.to_string()).await;
        assert_eq!((changed.code.as_u16(), &changed.headers["warning"]), (200, &warning.parse().expect("a header")));
    }
    let change = json!({"spec": {"cron": "1"}}).to_string();
    merging(&admin).send(Method::PATCH, &format!("{TABS}/a"), change).await.refused(422, "no more than three");
    cluster.stop().await;
}
