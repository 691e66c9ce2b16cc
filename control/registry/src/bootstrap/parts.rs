//! What the API consists of and how it is shared out, as objects that clients list, and the classes of pods that keep a
//! cluster going.

use pal_resources::{ResourceRef, resource};
use serde_json::{Value, json};

const FLOWS: &str = "flowcontrol.apiserver.k8s.io";

/// Each with its resource. Resources that are not served are left out.
pub(super) fn all() -> Vec<(ResourceRef, Value)> {
    let of =
        |group: &str, plural: &str, object: Value| resource::find(group, "v1", plural).map(|found| (found, object));
    let classes = priority_classes().map(|class| of("scheduling.k8s.io", "priorityclasses", class));
    let services = api_services().into_iter().map(|service| of("apiregistration.k8s.io", "apiservices", service));
    let levels = levels().into_iter().map(|level| of(FLOWS, "prioritylevelconfigurations", level));
    let flows = flows().into_iter().map(|flow| of(FLOWS, "flowschemas", flow));
    classes.chain(services).chain(levels).chain(flows).flatten().collect()
}

fn priority_classes() -> impl Iterator<Item = Value> {
    let rows = [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ];
    rows.into_iter().map(|(name, value, description)| {
        json!({
            "metadata": {"name": name}, "value": value, "description": description,
            "preemptionPolicy": "PreemptLowerPriority"
        })
    })
}

/// Groups with the priority that kube-apiserver gives them among the groups; others come last.
const GROUPS: &[(&str, i64)] = &[
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_150),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    (FLOWS, 16_100),
];

fn api_services() -> Vec<Value> {
    let mut served: Vec<(&str, &str)> = Vec::new();
    for resource in resource::builtin().iter().chain(resource::measured()) {
        let version = (&*resource.group, &*resource.version);
        if !served.contains(&version) && resource.group != "apiregistration.k8s.io" {
            served.push(version);
        }
    }
    let service = |(group, version): (&str, &str)| {
        let of_group = GROUPS.iter().find(|(known, _)| *known == group).map_or(15_000, |(_, priority)| *priority);
        let of_version = match (group, version) {
            ("", _) => 1,
            (_, "v2") => 30,
            _ => 15,
        };
        let mut spec = json!({"version": version, "groupPriorityMinimum": of_group, "versionPriority": of_version});
        if !group.is_empty() {
            spec["group"] = group.into();
        }
        let labels = json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"});
        json!({"metadata": {"name": format!("{version}.{group}"), "labels": labels}, "spec": spec})
    };
    served.into_iter().map(service).collect()
}

fn mandatory(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}, "spec": spec})
}

/// The levels that cannot be left out.
fn levels() -> [Value; 2] {
    [
        mandatory("exempt", json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})),
        mandatory(
            "catch-all",
            json!({"type": "Limited", "limited": {
                "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}}}),
        ),
    ]
}

/// The flows that cannot be left out.
fn flows() -> [Value; 2] {
    let everything =
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]);
    let paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let rule =
        |subjects: Value| json!([{"subjects": subjects, "resourceRules": everything, "nonResourceRules": paths}]);
    [
        mandatory(
            "exempt",
            json!({"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1,
                   "rules": rule(json!([group("system:masters")]))}),
        ),
        mandatory(
            "catch-all",
            json!({"priorityLevelConfiguration": {"name": "catch-all"}, "matchingPrecedence": 10_000,
                   "distinguisherMethod": {"type": "ByUser"},
                   "rules": rule(json!([group("system:authenticated"), group("system:unauthenticated")]))}),
        ),
    ]
}
