use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::resource;

fn quota(spec: Value) -> Quota {
    Quota::read(&json!({"metadata": {"name": "q", "uid": "u"}, "spec": spec}))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

#[test]
fn objects_take_what_quotas_count() {
    fn check(plural: &str, object: Value, expected: &str) {
        let resource = resource::builtin().iter().find(|resource| resource.plural == plural).expect("built in");
        assert_eq!(amounts::shown(&measure(resource, &object).usage(now())), expected, "{object}");
    }
    check("configmaps", json!({}), "configmaps=1,count/configmaps=1");
    check("deployments", json!({}), "count/deployments.apps=1");
    let spec = json!({"containers": [{"resources": {"requests": {"cpu": "1", "example.com/x": "2"},
                                                   "limits": {"memory": "1Gi", "cpu": "2"}}}]});
    check(
        "pods",
        json!({"spec": spec}),
        "count/pods=1,cpu=1,limits.cpu=2,limits.memory=1Gi,pods=1,requests.cpu=1,requests.example.com/x=2",
    );
    check("pods", json!({"spec": spec, "status": {"phase": "Succeeded"}}), "count/pods=1");
    let overdue = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30});
    check("pods", json!({"spec": spec, "metadata": overdue}), "count/pods=1");
    let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30000}]);
    let counts = |balancers: u8, ports: u8| {
        format!("count/services=1,services=1,services.loadbalancers={balancers},services.nodeports={ports}")
    };
    check("services", json!({"spec": {"ports": ports}}), &counts(0, 0));
    check("services", json!({"spec": {"type": "NodePort", "ports": ports}}), &counts(0, 2));
    let sparing = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": ports});
    check("services", json!({"spec": sparing}), &counts(1, 1));
    let size = json!({"requests": {"storage": "1Gi"}});
    check(
        "persistentvolumeclaims",
        json!({"spec": {"storageClassName": "gold", "resources": size}}),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
    );
}

#[test]
fn a_quota_counts_what_its_scopes_say() {
    fn check(spec: Value, pod: Value, expected: bool) {
        let pods = resource::find("", "v1", "pods").expect("built in");
        assert_eq!(quota(spec.clone()).covers(&measure(&pods, &pod)), expected, "{spec} {pod}");
    }
    let class = |name: &str| json!({"spec": {"priorityClassName": name}});
    let selector = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
    };
    check(json!({}), json!({}), true);
    check(json!({"scopes": ["Terminating"]}), json!({"spec": {"activeDeadlineSeconds": 5}}), true);
    check(json!({"scopes": ["Terminating"]}), json!({}), false);
    check(json!({"scopes": ["NotTerminating"]}), json!({}), true);
    check(json!({"scopes": ["BestEffort"]}), json!({"status": {"qosClass": "BestEffort"}}), true);
    check(json!({"scopes": ["NotBestEffort", "Terminating"]}), json!({}), false);
    check(selector("In", json!(["high"])), class("high"), true);
    check(selector("In", json!(["high"])), class("low"), false);
    check(selector("NotIn", json!(["high"])), class("low"), true);
    check(selector("Exists", json!(null)), json!({}), false);
    check(selector("DoesNotExist", json!(null)), json!({}), true);
    let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["a"]}]}});
    check(json!({"scopes": ["CrossNamespacePodAffinity"]}), json!({"spec": {"affinity": affinity}}), true);
    check(json!({"scopes": ["CrossNamespacePodAffinity"]}), json!({}), false);
    // A quota with scopes counts pods alone.
    let services = resource::find("", "v1", "services").expect("built in");
    assert!(!quota(json!({"scopes": ["NotTerminating"]})).covers(&measure(&services, &json!({}))));
}

#[test]
fn more_than_is_allowed_is_refused_with_the_numbers() {
    fn check(hard: Value, used: Value, more: Value, expected: Result<&str, &str>) {
        let outcome = quota(json!({"hard": hard})).charged(&amounts::read(&used), &amounts::read(&more));
        let outcome = outcome.map(|used| amounts::shown(&used));
        assert_eq!(outcome, expected.map(str::to_owned).map_err(str::to_owned));
    }
    let refusal = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2";
    check(json!({"pods": "2"}), json!({"pods": "2"}), json!({"pods": "1", "cpu": "1"}), Err(refusal));
    check(json!({"pods": "2"}), json!({"pods": "1"}), json!({"pods": "1", "cpu": "1"}), Ok("pods=2"));
    let refusal = "exceeded quota: q, requested: limits.memory=600Mi,requests.cpu=500m, \
                   used: limits.memory=500Mi,requests.cpu=800m, limited: limits.memory=1Gi,requests.cpu=1";
    check(
        json!({"limits.memory": "1Gi", "requests.cpu": "1", "pods": "9"}),
        json!({"limits.memory": "500Mi", "requests.cpu": "800m", "pods": "1"}),
        json!({"limits.memory": "600Mi", "requests.cpu": "500m", "pods": "1"}),
        Err(refusal),
    );
    // A quota that was lowered below what is used refuses only what adds to that.
    check(json!({"pods": "1", "cpu": "1"}), json!({"pods": "3", "cpu": "0"}), json!({"cpu": "1"}), Ok("cpu=1,pods=3"));
}

#[test]
fn containers_must_say_what_is_counted() {
    fn check(hard: Value, containers: Value, expected: Result<(), &str>) {
        let pods = resource::find("", "v1", "pods").expect("built in");
        let verdict = quota(json!({"hard": hard})).check_said(&pods, &json!({"spec": {"containers": containers}}));
        assert_eq!(verdict, expected.map_err(str::to_owned));
    }
    let hard = json!({"limits.cpu": "1", "requests.memory": "1Gi", "pods": "1", "requests.ephemeral-storage": "1Gi"});
    check(
        hard.clone(),
        json!([{"name": "b"}, {"name": "a", "resources": {"requests": {"memory": "1"}}}]),
        Err("failed quota: q: must specify limits.cpu for: a,b; requests.memory for: b"),
    );
    let resources = json!({"requests": {"memory": "1"}, "limits": {"cpu": "1"}});
    check(hard, json!([{"name": "a", "resources": resources}]), Ok(()));
}

#[test]
fn growth_is_what_is_more() {
    let (old, new) = (json!({"a": "1", "b": "2", "c": "1"}), json!({"a": "3", "b": "1", "d": "1"}));
    assert_eq!(amounts::shown(&growth(&amounts::read(&old), &amounts::read(&new))), "a=2,d=1");
}
