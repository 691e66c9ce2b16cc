use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, columns, human_duration};
use crate::Resource;
use crate::resource;

fn resource(group: &str, kind: &str) -> crate::ResourceRef {
    resource::by_kind(group, "v1", kind).expect("a built-in kind")
}

fn now() -> Timestamp {
    Timestamp::from_str("2026-01-01T01:00:00Z").expect("a time")
}

/// The row as kubectl would print it, cells joined by `|`.
fn row(resource: &Resource, object: &Value) -> String {
    let cells = cells(resource, object, now());
    assert_eq!(cells.len(), columns(resource).len(), "a cell for each column");
    let mut written = Vec::new();
    super::row(resource, object).write(now(), &mut written);
    let written: Vec<Value> = serde_json::from_slice(&written).expect("JSON");
    assert_eq!(written, cells, "a row that waits is the same in the end");
    let shown = cells.iter().map(|cell| match cell {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    shown.collect::<Vec<_>>().join("|")
}

#[test]
fn durations_have_two_figures_at_most() {
    let table = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400 + 3600, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (735 * 86400, "2y5d"),
        (8 * 365 * 86400 + 86400, "8y"),
    ];
    for (seconds, expected) in table {
        assert_eq!(human_duration(seconds), expected, "{seconds}");
    }
}

fn pod(spec: Value, status: Value) -> Value {
    json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
        "status": status,
    })
}

#[test]
fn a_pods_state_is_told_in_one_word() {
    let one = json!({"containers": [{"name": "a"}]});
    let init = json!({
        "containers": [{"name": "a"}],
        "initContainers": [{"name": "i"}, {"name": "j"}],
    });
    let table = [
        (one.clone(), json!({"phase": "Pending"}), "0/1|Pending|0"),
        (
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 3, "state": {"running": {}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}},
            ]}),
            "1/1|Running|3 (5m ago)",
        ),
        (
            one.clone(),
            json!({"phase": "Running", "containerStatuses": [
                {"name": "a", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ]}),
            "0/1|CrashLoopBackOff|1",
        ),
        (
            one.clone(),
            json!({"phase": "Succeeded", "containerStatuses": [
                {"name": "a", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}},
            ]}),
            "0/1|Completed|0",
        ),
        (
            one.clone(),
            json!({"phase": "Failed", "containerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 7}}},
            ]}),
            "0/1|ExitCode:7|0",
        ),
        (one.clone(), json!({"phase": "Failed", "reason": "Evicted"}), "0/1|Evicted|0"),
        (
            init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"running": {}}},
            ]}),
            "0/1|Init:0/2|0",
        ),
        (
            init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0}}},
                {"name": "j", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}},
            ], "containerStatuses": [
                {"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}},
            ]}),
            "0/1|Init:Error|2",
        ),
        (
            init,
            json!({"phase": "Running",
            "conditions": [{"type": "Initialized", "status": "True"}],
            "initContainerStatuses": [
                {"name": "i", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}},
                {"name": "j", "state": {"terminated": {"exitCode": 0}}},
            ], "containerStatuses": [
                {"name": "a", "ready": true, "state": {"running": {}}},
            ]}),
            "1/1|Running|0",
        ),
        (
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"phase": "Running", "containerStatuses": [
                {"name": "a", "state": {"terminated": {"reason": "Completed"}}},
                {"name": "b", "ready": true, "state": {"running": {}}},
            ]}),
            "1/2|NotReady|0",
        ),
        (
            one,
            json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"},
            ]}),
            "0/1|SchedulingGated|0",
        ),
    ];
    for (spec, status, expected) in table {
        let expected = format!("web|{expected}|60m|<none>|<none>|<none>|<none>");
        assert_eq!(row(&resource("", "Pod"), &pod(spec, status)), expected);
    }
}

#[test]
fn a_pod_that_is_deleted_is_terminating_until_it_has_ended() {
    for (phase, expected) in [("Running", "Terminating"), ("Succeeded", "Succeeded")] {
        let mut object = pod(json!({"containers": [{}]}), json!({"phase": phase}));
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:59:00Z");
        let expected = format!("web|0/1|{expected}|0|60m|<none>|<none>|<none>|<none>");
        assert_eq!(row(&resource("", "Pod"), &object), expected);
    }
}

#[test]
fn rows_are_those_of_kube_apiserver() {
    let template = json!({"spec": {"containers": [
        {"name": "a", "image": "x:1"}, {"name": "b", "image": "y"},
    ]}});
    let table = [
        (
            ("apps", "Deployment"),
            json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
                   "status": {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}}),
            "web|2/3|1|2|60m|a,b|x:1,y|app=web",
        ),
        (
            ("apps", "ReplicaSet"),
            json!({"spec": {"replicas": 3, "selector": {"matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["b", "a"]},
            ]}, "template": template}, "status": {"replicas": 3, "readyReplicas": 1}}),
            "web|3|3|1|60m|a,b|x:1,y|tier in (a,b)",
        ),
        (
            ("", "Service"),
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "selector": {"b": "2", "a": "1"},
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
            "web|NodePort|10.96.0.9|<none>|80:30080/TCP,53/UDP|60m|a=1,b=2",
        ),
        (
            ("", "Service"),
            json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "protocol": "TCP"}]}}),
            "web|LoadBalancer|10.96.0.9|<pending>|80/TCP|60m|<none>",
        ),
        (
            ("", "Service"),
            json!({"spec": {"type": "ExternalName", "externalName": "example.com"}}),
            "web|ExternalName|<none>|example.com|<none>|60m|<none>",
        ),
        (
            ("discovery.k8s.io", "EndpointSlice"),
            json!({"addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [
                {"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]},
                {"addresses": ["10.0.0.3"]}, {"addresses": ["10.0.0.4"]},
            ]}),
            "web|IPv4|8080|10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...|60m",
        ),
        (("discovery.k8s.io", "EndpointSlice"), json!({"addressType": "IPv4"}), "web|IPv4|<unset>|<unset>|60m"),
        (
            ("", "Node"),
            json!({"spec": {"unschedulable": true}, "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0+pal", "osImage": "linux"}}}),
            "web|Ready,SchedulingDisabled|<none>|60m|v1.36.0+pal|127.0.0.1|<none>|linux|<unknown>|<unknown>",
        ),
        (("", "Namespace"), json!({"status": {"phase": "Active"}}), "web|Active|60m"),
        (("", "ConfigMap"), json!({"data": {"a": "b"}, "binaryData": {"c": ""}}), "web|2|60m"),
        (("", "Secret"), json!({"type": "Opaque", "data": {"a": ""}}), "web|Opaque|1|60m"),
        (("", "ServiceAccount"), json!({}), "web|0|60m"),
        (("coordination.k8s.io", "Lease"), json!({"spec": {"holderIdentity": "n1"}}), "web|n1|60m"),
        (
            ("certificates.k8s.io", "CertificateSigningRequest"),
            json!({"spec": {"signerName": "a.b/c", "username": "u", "expirationSeconds": 86400},
                   "status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="}}),
            "web|60m|a.b/c|u|24h|Approved,Issued",
        ),
        (
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            json!({"roleRef": {"kind": "ClusterRole", "name": "admin"}, "subjects": [
                {"kind": "Group", "name": "g"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
            ]}),
            "web|ClusterRole/admin|60m||g|n/s",
        ),
        (("rbac.authorization.k8s.io", "ClusterRole"), json!({}), "web|2026-01-01T00:00:00Z"),
        (("networking.k8s.io", "IngressClass"), json!({"spec": {"controller": "a.b/c"}}), "web|a.b/c|<none>|60m"),
        (
            ("networking.k8s.io", "IngressClass"),
            json!({"metadata": {"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
                   "spec": {"controller": "a.b/c"}}),
            "web (default)|a.b/c|<none>|60m",
        ),
        (
            ("networking.k8s.io", "IPAddress"),
            json!({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}}}),
            "web|services/default/web",
        ),
        (
            ("networking.k8s.io", "IPAddress"),
            json!({"spec": {"parentRef": {"group": "A.b", "resource": "Gates", "name": "web"}}}),
            "web|gates.a.b/web",
        ),
        (("networking.k8s.io", "ServiceCIDR"), json!({"spec": {"cidrs": ["a", "b"]}}), "web|a,b|60m"),
        (("storage.k8s.io", "VolumeAttributesClass"), json!({"driverName": "a.b"}), "web|a.b|60m"),
    ];
    for ((group, kind), mut object, expected) in table {
        object["metadata"]["name"] = "web".into();
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(row(&resource(group, kind), &object), expected, "{kind}");
    }
}

#[test]
fn events_tell_when_they_were_last_seen() {
    let event = json!({
        "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}"},
        "type": "Warning", "reason": "BackOff", "message": "Back-off \n",
        "source": {"component": "kubelet", "host": "n1"},
        "firstTimestamp": "2026-01-01T00:50:00Z",
        "lastTimestamp": "2026-01-01T00:59:30Z",
        "count": 5,
    });
    let expected = "30s|Warning|BackOff|pod/web|spec.containers{a}|kubelet, n1|Back-off|10m|5|web.1";
    assert_eq!(row(&resource("", "Event"), &event), expected);
    let event = json!({
        "metadata": {"name": "web.2"},
        "involvedObject": {"kind": "Node"},
        "eventTime": "2026-01-01T00:59:59.000001Z",
        "reportingComponent": "scheduler",
    });
    let expected = "0s|||node||scheduler||0s|1|web.2";
    assert_eq!(row(&resource("", "Event"), &event), expected);
}
