use serde_json::{Value, json};

use super::of;
use crate::resource::{self, Resource};

fn check(group: &str, plural: &str, object: Value, expected: &[&str]) {
    let resource = resource::find(group, "v1", plural).expect("a resource");
    assert_eq!(of(&resource, None, &object), expected, "{plural} {object}");
}

#[test]
fn pods_that_do_not_do_what_they_seem_to_are_warned_of() {
    let pod = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec});
    let container = |fields: Value| pod(json!({"containers": [fields]}));
    check("", "pods", container(json!({"name": "c"})), &[]);
    check(
        "",
        "pods",
        json!({"metadata": {"name": "a.b"}}),
        &[
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
         recommended: [must not contain dots]",
        ],
    );
    check(
        "",
        "pods",
        pod(json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "terminationGracePeriodSeconds": -1})),
        &[
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ],
    );
    let env = |second: Value| container(json!({"name": "c", "env": [{"name": "X", "value": "a"}, second]}));
    let hides = "spec.containers[0].env[1]: hides previous definition of \"X\", which may be dropped when using apply";
    check("", "pods", env(json!({"name": "X", "value": "b"})), &[hides]);
    check("", "pods", env(json!({"name": "X", "value": "$(X)"})), &[hides]);
    check("", "pods", env(json!({"name": "X", "value": "$(X)b"})), &[]);
    check(
        "",
        "pods",
        container(json!({"name": "c", "resources": {"requests": {"memory": "100m", "cpu": "100m"}}})),
        &[
            "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer",
        ],
    );
    let port = |fields: Value| {
        let ports = json!([{"containerPort": 80, "protocol": "TCP"}, fields]);
        container(json!({"name": "c", "ports": ports}))
    };
    let at = "spec.containers[0].ports[1]";
    let first = "spec.containers[0].ports[0]";
    check(
        "",
        "pods",
        port(json!({"containerPort": 80, "protocol": "TCP"})),
        &[&format!("{at}: duplicate port definition with {first}")],
    );
    check(
        "",
        "pods",
        port(json!({"containerPort": 80, "protocol": "TCP", "hostPort": 8080})),
        &[&format!("{at}: overlapping port definition with {first}")],
    );
    check("", "pods", port(json!({"containerPort": 80, "protocol": "UDP"})), &[]);
    check(
        "",
        "pods",
        pod(json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]})),
        &[
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
            "spec.imagePullSecrets[2].name: invalid empty name \"\"",
        ],
    );
    check(
        "",
        "pods",
        pod(json!({"volumes": [{"name": "v", "gitRepo": {"repository": "x"}}]})),
        &["spec.volumes[0].gitRepo: deprecated in v1.11"],
    );
    let affinity = json!({"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x"}]}}});
    check(
        "",
        "pods",
        pod(affinity),
        &["spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null \
         labelSelector results in matching no pod"],
    );
}

#[test]
fn templates_are_warned_of_at_their_place_and_only_when_they_change() {
    let deployment = |generation: u32| {
        json!({"metadata": {"name": "d.e", "generation": generation}, "spec": {"template": {
            "metadata": {"annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}}, "spec": {}}}})
    };
    let name = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
                label is recommended: [must not contain dots]";
    let template = "spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in \
                    v1.16+; use the \"priorityClassName\" field instead";
    check("apps", "deployments", deployment(1), &[name, template]);
    let resource = resource::find("apps", "v1", "deployments").expect("a resource");
    assert_eq!(of(&resource, Some(&deployment(1)), &deployment(2)), [template]);
    assert!(of(&resource, Some(&deployment(1)), &deployment(1)).is_empty());
    let spec = json!({"completionMode": "Indexed", "completions": 200_000, "parallelism": 20_000});
    check(
        "batch",
        "jobs",
        json!({"metadata": {"name": "j"}, "spec": spec}),
        &[
            "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes \
         might not be able to track completedIndexes when a big number of indexes fail",
        ],
    );
}

#[test]
fn services_volumes_and_ingresses_are_warned_of() {
    let service = |spec: Value| json!({"metadata": {"name": "s"}, "spec": spec});
    check("", "services", service(json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"})), &[]);
    check(
        "",
        "services",
        service(json!({"type": "ClusterIP", "clusterIP": "None", "loadBalancerIP": "1.2.3.4",
        "sessionAffinity": "ClientIP"})),
        &[
            "spec.loadBalancerIP is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
        ],
    );
    check(
        "",
        "services",
        service(json!({"type": "ExternalName", "externalName": "a.b", "externalIPs": ["1.2.3.4"]})),
        &["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
    );
    check(
        "",
        "services",
        service(json!({"type": "ClusterIP", "externalName": "a.b"})),
        &["spec.externalName is ignored when spec.type is not \"ExternalName\""],
    );
    check(
        "",
        "persistentvolumes",
        service(json!({"persistentVolumeReclaimPolicy": "Recycle"})),
        &[
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is \
         to use dynamic provisioning.",
        ],
    );
    check(
        "",
        "persistentvolumeclaims",
        service(json!({"resources": {"requests": {"storage": "1500m"}}})),
        &["spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer"],
    );
    let annotated = json!({"metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "x"}}});
    check(
        "networking.k8s.io",
        "ingresses",
        annotated,
        &["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"],
    );
    let key = "failure-domain.beta.kubernetes.io/zone";
    let class = json!({"metadata": {"name": "c"}, "allowedTopologies": [{"matchLabelExpressions": [{"key": key}]}]});
    check(
        "storage.k8s.io",
        "storageclasses",
        class,
        &[
            "allowedTopologies[0].matchLabelExpressions[0].key: failure-domain.beta.kubernetes.io/zone is deprecated since \
         v1.17; use \"topology.kubernetes.io/zone\" instead",
        ],
    );
}

#[test]
fn finalizers_of_custom_resources_that_could_be_anybodys_are_warned_of() {
    let of = |finalizers: Value| json!({"metadata": {"name": "a", "finalizers": finalizers}});
    let mut custom = Resource::clone(&resource::find("", "v1", "configmaps").expect("a resource"));
    custom.custom = Some(resource::Custom::new(std::sync::Arc::new(())));
    let check = |old: Option<Value>, new: Value, expected: &[&str]| {
        let words = "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other \
                     finalizer writers";
        let expected: Vec<String> =
            expected.iter().map(|name| format!("metadata.finalizers: {name:?}: {words}")).collect();
        assert_eq!(super::of(&custom, old.as_ref(), &new), expected, "{new}");
    };
    check(
        None,
        of(json!(["z.example.com", "a", "example.com/a", "orphan", "foregroundDeletion"])),
        &["a", "z.example.com"],
    );
    check(Some(of(json!(["a"]))), of(json!(["a", "b"])), &["b"]);
    check(Some(of(json!(["a"]))), of(json!([])), &[]);
    check(None, of(json!(["kubernetes"])), &["kubernetes"]);
}
