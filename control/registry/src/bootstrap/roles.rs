//! The default roles, named and bound as Kubernetes names and binds them.

use serde_json::{Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// What people work with in a namespace, by API group; Secrets and RBAC aside.
const WORKLOADS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "pods",
            "pods/log",
            "pods/status",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    (
        "apps",
        &[
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
        ],
    ),
    ("discovery.k8s.io", &["endpointslices"]),
];

/// All default ClusterRoles and ClusterRoleBindings.
pub(super) fn all() -> Vec<Value> {
    let mut objects = vec![
        role("cluster-admin", &[rule(&["*"], &["*"], &["*"]), urls(&["*"], &["*"])]),
        role("admin", &namespaced(true, &[rule(&["rbac.authorization.k8s.io"], &["roles", "rolebindings"], &["*"])])),
        role("edit", &namespaced(true, &[])),
        role("view", &namespaced(false, &[])),
    ];
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let own_reviews = [
        rule(&["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
        rule(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
    ];
    let bound = [
        (role("system:discovery", &[urls(&discovery, &["get"])]), vec![group("system:authenticated")]),
        (role("system:basic-user", &own_reviews), vec![group("system:authenticated")]),
        (
            role("system:public-info-viewer", &[urls(&public, &["get"])]),
            vec![group("system:authenticated"), group("system:unauthenticated")],
        ),
        (role("system:node", &node_rules()), Vec::new()),
        (role("system:node-bootstrapper", &bootstrapper_rules()), vec![group("system:bootstrappers")]),
        (role("system:kube-scheduler", &scheduler_rules()), vec![user("system:kube-scheduler")]),
        (
            role("system:kube-controller-manager", &[rule(&["*"], &["*"], &["*"])]),
            vec![user("system:kube-controller-manager")],
        ),
    ];
    objects.push(binding("cluster-admin", &[group("system:masters")]));
    for (role, subjects) in bound {
        objects.push(binding(role["metadata"]["name"].as_str().unwrap_or_default(), &subjects));
        objects.push(role);
    }
    objects
}

fn namespaced(writes: bool, more: &[Value]) -> Vec<Value> {
    let mut rules: Vec<Value> = WORKLOADS.iter().map(|(group, resources)| rule(&[group], resources, READ)).collect();
    rules.push(rule(&[""], &["namespaces"], READ));
    if writes {
        let all: Vec<&str> = READ.iter().chain(WRITE).copied().collect();
        rules.extend(WORKLOADS.iter().map(|(group, resources)| rule(&[group], resources, WRITE)));
        rules.push(rule(&[""], &["secrets"], &all));
        let streams = ["pods/attach", "pods/exec", "pods/portforward", "pods/eviction", "serviceaccounts/token"];
        rules.push(rule(&[""], &streams, &["create", "get"]));
        rules.push(rule(&["coordination.k8s.io"], &["leases"], &all));
    }
    rules.extend_from_slice(more);
    rules
}

fn node_rules() -> Vec<Value> {
    vec![
        rule(&[""], &["services", "configmaps", "secrets", "pods", "nodes"], READ),
        rule(&[""], &["nodes", "nodes/status", "pods/status"], &["create", "patch", "update"]),
        rule(&[""], &["pods"], &["delete"]),
        rule(&[""], &["events"], &["create", "patch", "update"]),
        rule(&["coordination.k8s.io"], &["leases"], &["create", "delete", "get", "patch", "update"]),
        rule(&["discovery.k8s.io"], &["endpointslices"], READ),
        rule(&["certificates.k8s.io"], &["certificatesigningrequests"], &["create", "get", "list", "watch"]),
    ]
}

fn bootstrapper_rules() -> Vec<Value> {
    vec![rule(&["certificates.k8s.io"], &["certificatesigningrequests"], &["create", "get", "list", "watch"])]
}

fn scheduler_rules() -> Vec<Value> {
    vec![
        rule(&[""], &["nodes", "pods", "namespaces"], READ),
        rule(&[""], &["bindings", "pods/binding"], &["create"]),
        rule(&[""], &["pods/status"], &["patch", "update"]),
        rule(&["", "events.k8s.io"], &["events"], &["create", "patch", "update"]),
    ]
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": metadata(name), "rules": rules
    })
}

fn binding(name: &str, subjects: &[Value]) -> Value {
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": metadata(name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    });
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    binding
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    })
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

fn urls(paths: &[&str], verbs: &[&str]) -> Value {
    json!({"verbs": verbs, "nonResourceURLs": paths})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}
