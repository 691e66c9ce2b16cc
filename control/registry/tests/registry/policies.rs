//! Policies of admission: what they are asked about beside objects that are created and changed.

use pal_registry::{Binding, DeleteOptions, ListOptions, Patch, PatchKind, WriteOptions};
use pal_resources::Status;
use pal_resources::codec::FieldValidation;
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_test, config_map, of};

/// A policy for one resource, and its binding.
async fn policy(cluster: &Cluster, kind: &str, rule: (&str, &str, &str), spec: Value) {
    let (group, resource, operation) = rule;
    let plural = |suffix: &str| format!("{}admissionpolic{suffix}", kind.to_lowercase());
    let name = format!("{}-{}", resource.replace('/', "-"), operation.to_lowercase());
    let mut spec = spec;
    spec["matchConstraints"] = json!({"resourceRules": [
        {"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": [operation]}]});
    if kind == "Mutating" {
        spec["reinvocationPolicy"] = "Never".into();
    }
    cluster.create(&plural("ies"), json!({"metadata": {"name": name}, "spec": spec})).await.expect("a policy");
    let mut bound = json!({"policyName": name});
    if kind == "Validating" {
        bound["validationActions"] = json!(["Deny"]);
    }
    cluster.create(&plural("ybindings"), json!({"metadata": {"name": name}, "spec": bound})).await.expect("a binding");
}

fn denied(outcome: Result<(), Status>, words: &str) {
    let status = outcome.expect_err(words);
    assert_eq!(status.code, 422, "{status:?}");
    assert!(status.message.contains(words), "{}", status.message);
}

#[tokio::test]
async fn policies_are_asked_of_what_is_posted_and_not_stored() {
    let cluster = Cluster::start().await;
    let refuse = |message: &str| json!({"validations": [{"expression": message}]});
    policy(
        &cluster,
        "Validating",
        ("", "pods/eviction", "CREATE"),
        refuse("request.kind.kind != 'Eviction' || object.metadata.name != 'a' || has(object.deleteOptions)"),
    )
    .await;
    policy(&cluster, "Validating", ("", "pods/binding", "CREATE"), refuse("object.target.name != 'n1'")).await;
    policy(&cluster, "Validating", ("", "serviceaccounts/token", "CREATE"), refuse("object.spec.audiences == ['x']"))
        .await;
    let posted = |plural: &'static str, subresource: &'static str, mut object: Value| {
        let outcome = cluster.registry.admit_posted(&of(plural), Some(subresource), "default", &mut object, &by_test());
        outcome.map(|()| object)
    };
    let named = |name: &str| json!({"metadata": {"name": name, "namespace": "default"}});
    let words = "ValidatingAdmissionPolicy 'pods-eviction-create' with binding 'pods-eviction-create' denied request";
    denied(posted("pods", "eviction", named("a")).map(drop), words);
    posted("pods", "eviction", named("b")).expect("it is not about b");
    let mut wanted = named("a");
    wanted["deleteOptions"] = json!({});
    posted("pods", "eviction", wanted).expect("it has options");
    let bind = |node: &str| {
        cluster.registry.admit_binding("default", "a", &mut Binding::to(node), &WriteOptions::system("scheduler"))
    };
    denied(bind("n1"), "failed expression: object.target.name != 'n1'");
    bind("n2").expect("another node");
    let token = |audience: &str| {
        let mut request = named("default");
        request["spec"] = json!({"audiences": [audience]});
        posted("serviceaccounts", "token", request)
    };
    denied(token("y").map(drop), "failed expression: object.spec.audiences == ['x']");
    token("x").expect("the audience");
}

#[tokio::test]
async fn policies_change_what_is_posted_and_what_is_connected_for() {
    let cluster = Cluster::start().await;
    let patch = |operation: &str| {
        let jsonpatch = json!({"expression": format!("[JSONPatch{{{operation}}}]")});
        json!({"mutations": [{"patchType": "JSONPatch", "jsonPatch": jsonpatch}]})
    };
    policy(
        &cluster,
        "Mutating",
        ("", "pods/binding", "CREATE"),
        patch("op: 'add', path: '/metadata/annotations', value: {'bound-to': object.target.name}"),
    )
    .await;
    policy(
        &cluster,
        "Mutating",
        ("", "pods/exec", "CONNECT"),
        patch("op: 'replace', path: '/command', value: ['echo'] + object.command"),
    )
    .await;
    let mut binding = Binding::to("n1");
    cluster.registry.admit_binding("default", "a", &mut binding, &by_test()).expect("bound");
    assert_eq!((binding.node.as_str(), binding.annotations), ("n1", vec![("bound-to".to_owned(), "n1".to_owned())]));
    let mut asked = json!({"apiVersion": "v1", "kind": "PodExecOptions", "command": ["ls"]});
    let place = (Some("default"), "a");
    cluster.registry.admit_connection(&of("pods"), "exec", place, &mut asked, &by_test()).expect("connected");
    assert_eq!(asked["command"], json!(["echo", "ls"]));
}

#[tokio::test]
async fn a_name_that_is_made_up_is_seen_by_who_judges_and_not_by_who_changes() {
    let cluster = Cluster::start().await;
    let seen = "string(has(object.metadata.name)) + ' ' + (has(request.name) ? request.name : '')";
    let patch = format!("[JSONPatch{{op: 'add', path: '/data', value: {{'seen': {seen}}}}}]");
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": patch}});
    policy(&cluster, "Mutating", ("", "configmaps", "CREATE"), json!({"mutations": [mutation]})).await;
    let expression = "request.name == object.metadata.name && request.name.startsWith('web-') && size(request.name) == 9 || \
                      request.name == 'named'";
    policy(&cluster, "Validating", ("", "configmaps", "CREATE"), json!({"validations": [{"expression": expression}]}))
        .await;
    for (metadata, expected) in [(json!({"generateName": "web-"}), "false "), (json!({"name": "named"}), "true named")]
    {
        let made = cluster.create("configmaps", json!({"metadata": metadata})).await.expect("created");
        assert_eq!(made.value().expect("a value")["data"]["seen"], expected);
    }
    let status = cluster.create("configmaps", json!({"metadata": {"generateName": "db-"}})).await.expect_err("refused");
    assert!(status.message.starts_with("configmaps \"db-"), "{}", status.message);
}

#[tokio::test]
async fn what_policies_change_is_nobodys() {
    let cluster = Cluster::start().await;
    let mutation = json!({"patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{data: {'policy': object.data['a']}}"}});
    for operation in ["CREATE", "UPDATE"] {
        let spec = json!({"mutations": [mutation]});
        policy(&cluster, "Mutating", ("", "configmaps", operation), spec).await;
    }
    let check = |made: pal_registry::Object, data: Value, owned: Value| {
        let made = made.value().expect("a value");
        assert_eq!(made["data"], data);
        assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"]["f:data"], owned);
    };
    let made = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    check(made, json!({"a": "1", "policy": "1"}), json!({".": {}, "f:a": {}}));
    let body = json!({"data": {"a": "2", "b": "3"}});
    let merge = Patch { kind: PatchKind::Merge, body, validation: FieldValidation::Strict, found: Vec::new() };
    let patched = cluster.registry.patch(&of("configmaps"), None, Some("default"), "a", &merge, &by_test()).await;
    let data = json!({"a": "2", "b": "3", "policy": "2"});
    check(patched.expect("patched").object, data, json!({".": {}, "f:a": {}, "f:b": {}}));
}

#[tokio::test]
async fn policies_move_nothing_to_another_namespace() {
    let cluster = Cluster::start().await;
    let patch = "[JSONPatch{op: 'replace', path: '/metadata/namespace', value: 'other'}]";
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": patch}});
    policy(&cluster, "Mutating", ("", "configmaps", "CREATE"), json!({"mutations": [mutation]})).await;
    let status = cluster.create("configmaps", config_map("a", "1")).await.expect_err("refused");
    let expected = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!((status.code, status.message.as_str()), (400, expected));
}

#[tokio::test]
async fn what_a_request_does_not_say_is_not_there_and_a_namespace_lies_in_itself() {
    let cluster = Cluster::start().await;
    let expression = "!has(request.subResource) && !has(request.requestSubResource) && !has(request.userInfo.uid) && \
                      request.namespace == object.metadata.name && request.options.kind == 'CreateOptions' && \
                      request.options.dryRun == ['All'] && namespaceObject == null";
    let spec = json!({"validations": [{"expression": expression}]});
    policy(&cluster, "Validating", ("", "namespaces", "CREATE"), spec).await;
    let dry = WriteOptions { dry_run: true, ..by_test() };
    let body = json!({"metadata": {"name": "n"}});
    cluster.registry.create(&of("namespaces"), None, body, &dry).await.expect("it is so");
}

#[tokio::test]
async fn a_policy_whose_parameters_are_of_no_kind_fails() {
    let cluster = Cluster::start().await;
    let spec = json!({"paramKind": {"apiVersion": "q.example.com/v1", "kind": "Nope"},
        "validations": [{"expression": "true"}]});
    policy(&cluster, "Validating", ("", "configmaps", "CREATE"), spec).await;
    let words = "ValidatingAdmissionPolicy 'configmaps-create' denied request: failed to configure policy: failed to find \
                 resource referenced by paramKind: 'q.example.com/v1, Kind=Nope'";
    denied(cluster.create("configmaps", config_map("a", "1")).await.map(drop), words);
}

#[tokio::test]
async fn policies_change_a_scale_however_it_is_written() {
    let cluster = Cluster::start().await;
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {
        "expression": "Object{spec: Object.spec{replicas: object.spec.replicas > 3 ? 3 : object.spec.replicas}}"}});
    policy(&cluster, "Mutating", ("apps", "deployments/scale", "UPDATE"), json!({"mutations": [mutation]})).await;
    policy(
        &cluster,
        "Validating",
        ("apps", "deployments/scale", "UPDATE"),
        json!({"validations": [{"expression":
            "request.kind.kind == 'Scale' && object.spec.replicas != 2 && oldObject.spec.replicas < 10"}]}),
    )
    .await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    cluster.create("deployments", json!({"metadata": {"name": "d"}, "spec": spec})).await.expect("a deployment");
    let apply = async |replicas: u32| {
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"},
            "spec": {"replicas": replicas}});
        let kind = PatchKind::Apply { force: true };
        let patch = Patch { kind, body: scale, validation: FieldValidation::Strict, found: Vec::new() };
        let deployments = of("deployments");
        let by = WriteOptions { field_manager: Some("m".to_owned()), ..by_test() };
        let patched = cluster.registry.patch(&deployments, Some("scale"), Some("default"), "d", &patch, &by).await;
        patched.map(|patched| patched.object)
    };
    for (asked, by_apply, expected) in
        [(5, false, Ok(3)), (1, true, Ok(1)), (9, true, Ok(3)), (2, true, Err(422)), (2, false, Err(422))]
    {
        let change = json!({"spec": {"replicas": asked}});
        let scaled =
            if by_apply { apply(asked).await } else { cluster.merge("deployments", Some("scale"), "d", change).await };
        let found = scaled.map(|object| object.value().expect("JSON")["spec"]["replicas"].clone());
        assert_eq!(found.map_err(|status| status.code), expected.map(Value::from), "{asked} by apply: {by_apply}");
        if let Ok(replicas) = expected {
            assert_eq!(cluster.value("deployments", "d").await["spec"]["replicas"], replicas);
        }
    }
}

#[tokio::test]
async fn an_eviction_is_no_delete_to_policies() {
    let cluster = Cluster::start().await;
    policy(&cluster, "Validating", ("", "pods", "DELETE"), json!({"validations": [{"expression": "false"}]})).await;
    let body = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    cluster.create("pods", body).await.expect("a pod");
    let options = DeleteOptions::default();
    denied(cluster.delete("pods", "a", &options).await.map(drop), "failed expression: false");
    cluster.registry.evict("default", "a", &options).await.expect("evicted");
}

#[tokio::test]
async fn who_deletes_a_collection_names_nothing() {
    let cluster = Cluster::start().await;
    let expression = "has(request.name) || oldObject.metadata.name == 'a'";
    let spec = json!({"validations": [{"expression": expression, "message": "no"}]});
    policy(&cluster, "Validating", ("", "configmaps", "DELETE"), spec).await;
    for name in ["a", "b"] {
        cluster.create("configmaps", config_map(name, "1")).await.expect("created");
    }
    let (maps, options) = (of("configmaps"), DeleteOptions::default());
    let deleted = cluster.registry.delete_collection(&maps, Some("default"), ListOptions::default(), &options).await;
    let message = deleted.map(drop).expect_err("b is refused").message;
    assert!(
        message.starts_with("configmaps \"Unknown\" is forbidden: ") && message.ends_with("denied request: no"),
        "{message}"
    );
    cluster.delete("configmaps", "b", &options).await.expect("it is named");
}

#[tokio::test]
async fn a_policys_status_tells_what_is_wrong_with_its_expressions() {
    let cluster = Cluster::start().await;
    let validation = |expression: &str| json!({"validations": [{"expression": expression}]});
    policy(&cluster, "Validating", ("apps", "deployments", "CREATE"), validation("object.spec.replicas > '1'")).await;
    let name = "deployments-create";
    let shown = cluster.value("validatingadmissionpolicies", name).await;
    let warning = &shown["status"]["typeChecking"]["expressionWarnings"][0];
    assert_eq!(warning["fieldRef"], "spec.validations[0].expression");
    let told = warning["warning"].as_str().expect("a warning");
    let words = "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n";
    assert!(told.starts_with(words) && told.ends_with("^\n"), "{told}");
    let mut changed = shown.clone();
    changed["spec"]["validations"] = json!([{"expression": "object.spec.replicas > 1"}]);
    changed.as_object_mut().expect("an object").remove("status");
    cluster.update("validatingadmissionpolicies", None, changed).await.expect("changed");
    let status = &cluster.value("validatingadmissionpolicies", name).await["status"];
    assert_eq!(*status, json!({"observedGeneration": 2, "typeChecking": {}}));
}

#[tokio::test]
async fn conditions_of_webhooks_must_compile_where_they_are_new() {
    let cluster = Cluster::start().await;
    let configuration = |expression: &str, path: &str| {
        json!({"metadata": {"name": "w"}, "webhooks": [{
            "name": "w.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": format!("https://example.com/{path}")},
            "matchConditions": [{"name": "c", "expression": expression}],
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]})
    };
    for resource in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        denied(cluster.create(resource, configuration("[", "a")).await.map(drop), "compilation failed");
        cluster.create(resource, configuration("true", "a")).await.expect("it compiles");
        let kept = cluster.value(resource, "w").await;
        let changed = |expression: &str| {
            let mut changed = configuration(expression, "b");
            changed["metadata"] = kept["metadata"].clone();
            changed
        };
        denied(cluster.update(resource, None, changed("object.")).await.map(drop), "compilation failed");
        cluster.update(resource, None, changed("true")).await.expect("the same");
    }
}
