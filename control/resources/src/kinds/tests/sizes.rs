//! What pods may use as a whole, and what of it is changed while they are there.

use serde_json::{Value, json};

use super::{causes, check_refused, created, merge, updated};

fn pod(spec: Value) -> Value {
    let mut pod = json!({"spec": {"nodeName": "n", "containers": [{"name": "a", "image": "x:1"}]}});
    merge(&mut pod, json!({ "spec": spec }));
    pod
}

fn using(resources: Value) -> Value {
    json!([{"name": "a", "image": "x:1", "resources": resources}])
}

#[test]
fn a_pod_that_is_limited_asks_for_what_its_containers_ask_for_else_for_all() {
    let check = |resources: Value, containers: Value, expected: Value| {
        let made = created("Pod", pod(json!({"resources": resources, "containers": containers})));
        assert_eq!(made["spec"]["resources"]["requests"], expected, "{resources} {containers}");
    };
    let limits = json!({"limits": {"cpu": "2", "memory": "1Gi"}});
    check(limits.clone(), using(json!({"requests": {"cpu": "1"}})), json!({"cpu": "1", "memory": "1Gi"}));
    check(limits, using(json!({})), json!({"cpu": "2", "memory": "1Gi"}));
    check(
        json!({"limits": {"memory": "1Gi"}}),
        using(json!({"requests": {"cpu": "1500m"}})),
        json!({"cpu": "1500m", "memory": "1Gi"}),
    );
    check(json!({"requests": {"cpu": "2"}}), using(json!({"requests": {"memory": "1Gi"}})), json!({"cpu": "2"}));
}

#[test]
fn a_pod_as_a_whole_has_what_its_containers_have() {
    let check = |spec: Value, expected: &[&str]| check_refused("Pod", pod(spec), expected);
    check(
        json!({"resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "2"}}}),
        &["spec.resources.requests: Invalid value: \"3\": must be less than or equal to cpu limit of 2"],
    );
    check(
        json!({"resources": {"requests": {"ephemeral-storage": "1Gi"}}}),
        &["spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \
           \"cpu\", \"hugepages-\", \"memory\""],
    );
    check(
        json!({"resources": {"claims": [{"name": "x"}]}}),
        &["spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level"],
    );
    check(
        json!({"resources": {"requests": {"cpu": "1"}}, "containers": using(json!({"requests": {"cpu": "2"}}))}),
        &["spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container \
           requests of 2"],
    );
    let first = json!([{"name": "i", "image": "x:1", "resources": {"requests": {"memory": "3Gi"}}}]);
    check(
        json!({"resources": {"requests": {"memory": "2Gi"}}, "initContainers": first}),
        &[
            "spec.resources.requests[memory]: Invalid value: \"2Gi\": must be greater than or equal to aggregate container \
           requests of 3Gi",
        ],
    );
    check(
        json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
               "containers": using(json!({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}))}),
        &[
            "spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or equal to pod limits of 1",
        ],
    );
    check(
        json!({"os": {"name": "windows"}, "resources": {"limits": {"cpu": "1"}}}),
        &["spec.resources: Forbidden: may not be set for a windows pod"],
    );
}

#[test]
fn a_resize_changes_cpu_and_memory_alone() {
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let first = |more: Value| {
        let mut first = json!({"name": "i", "image": "x:1", "resources": asks("1")});
        merge(&mut first, more);
        json!([first])
    };
    let change = |spec: Value, change: Value| {
        let old = created("Pod", pod(spec));
        updated("Pod", &old, Some("resize"), change).map_err(|status| causes(&status))
    };
    let refused = |spec: Value, wanted: Value, expected: &[&str]| {
        assert_eq!(change(spec, json!({ "spec": wanted })).expect_err("refused"), expected);
    };
    let own = json!({"containers": using(asks("1"))});
    let more = json!({"containers": using(asks("2"))});
    let labelled = json!({"metadata": {"labels": {"a": "b"}}, "spec": more});
    let resized = change(own.clone(), labelled).expect("more");
    assert_eq!(resized["metadata"]["labels"], Value::Null, "nothing else is taken");
    assert_eq!(resized["spec"]["containers"][0]["resources"], asks("2"));
    let whole = change(json!({"resources": asks("2")}), json!({"spec": {"resources": asks("3")}})).expect("more");
    assert_eq!(whole["spec"]["resources"], asks("3"));
    let sooner = json!({"initContainers": first(json!({"resources": asks("3")}))});
    assert!(change(json!({"initContainers": first(json!({}))}), json!({ "spec": sooner })).is_ok());

    refused(
        json!({"os": {"name": "windows"}, "containers": using(asks("1"))}),
        more.clone(),
        &["[]: Forbidden: windows pods cannot be resized"],
    );
    refused(
        json!({"resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}),
        json!({"resources": {"requests": {"memory": null}}}),
        &["spec.resources.requests: Forbidden: pod-level resource requests cannot be removed"],
    );
    let mut renewed = using(asks("2"));
    renewed[0]["resizePolicy"] = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    refused(
        own.clone(),
        json!({"containers": renewed}),
        &["spec: Forbidden: only cpu and memory resources are mutable"],
    );
    refused(
        own.clone(),
        json!({"containers": [{"name": "b", "image": "x:1", "resources": asks("2")}]}),
        &["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
    );
    refused(
        own,
        json!({"initContainers": first(json!({}))}),
        &["spec.initContainers: Forbidden: initContainers may not be added or removed on resize"],
    );
    let policy = json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]});
    let mut bigger = first(policy.clone());
    bigger[0]["resources"] = asks("2");
    refused(
        json!({"initContainers": first(policy)}),
        json!({"initContainers": bigger}),
        &[
            "spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be \
         resized",
        ],
    );
}
