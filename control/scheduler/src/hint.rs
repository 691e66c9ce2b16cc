//! Whether a pod that fitted nowhere is worth another try, now that something has changed.

use k8s_openapi::api::core::v1::Pod;

use crate::candidate::Candidate;
use crate::cluster::Cluster;
use crate::company::{Company, Face, Term};
use crate::filter::{Refusal, refusals};
use crate::volumes::Used;

/// Whether the pod may find room on a node that is as it is now: by itself, or by driving others out.
pub fn may_fit(cluster: &Cluster, candidate: &Candidate, name: &str) -> bool {
    let Some(node) = cluster.node(name) else { return false };
    let full = cluster.with_nominated(candidate, name, node);
    let reasons = refusals(candidate, name, full.as_ref().unwrap_or(node));
    let lower = || cluster.below(candidate.rank.priority).any(|(_, placed)| placed.node == name);
    reasons.is_empty() || reasons.iter().all(Refusal::is_about_room) && lower()
}

/// A pod on a node that came, went or looks other than before, as others see it.
#[derive(Clone, Debug)]
pub struct Neighbour {
    face: Face,
    shuns: Vec<Term>,
    claims: Vec<Used>,
}

impl Neighbour {
    /// That pod.
    pub fn of(pod: &Pod) -> Self {
        let face = Face::of(pod);
        Self { shuns: Company::of(pod, &face).shuns, claims: Used::of(pod), face }
    }

    /// Whether it matters to the candidate where this pod is, or whether it is.
    pub fn concerns(&self, cluster: &Cluster, candidate: &Candidate) -> bool {
        let (company, namespaces) = (&candidate.company, cluster.namespaces());
        let shares = || {
            self.face.namespace == candidate.face.namespace
                && candidate.claims.iter().any(|used| self.claims.contains(used))
        };
        company.wants.iter().chain(&company.shuns).any(|term| term.is_about(&self.face, namespaces))
            || company.spreads.iter().any(|spread| spread.is_of(&self.face, &candidate.face.namespace))
            || self.shuns.iter().any(|term| term.is_about(&candidate.face, namespaces))
            || shares()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Node;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::NodeChange;

    fn pod(name: &str, app: &str, spec: Value) -> Pod {
        let mut object = json!({
            "metadata": {"name": name, "namespace": "a", "uid": name, "labels": {"app": app}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        });
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(object).unwrap()
    }

    fn cluster(node: Value, placed: &[Pod]) -> Cluster {
        let mut cluster = Cluster::new();
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let mut object = json!({
            "metadata": {"name": "n", "labels": {"kind": "small"}},
            "status": {"allocatable": {"cpu": "2", "pods": "9"}, "conditions": ready},
        });
        object.as_object_mut().unwrap().extend(node.as_object().unwrap().clone());
        cluster.set_node(&serde_json::from_value(object).unwrap());
        placed.iter().for_each(|pod| {
            cluster.set_pod(pod);
        });
        cluster
    }

    #[test]
    fn a_node_helps_a_pod_that_it_can_take_or_make_room_for() {
        let placed = |name: &str, cpu: &str, priority: i32| {
            let containers = json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}]);
            pod(name, "x", json!({"nodeName": "n", "priority": priority, "containers": containers}))
        };
        let check = |node: Value, on_it: &[Pod], more: Value, expected: bool| {
            let candidate = Candidate::of(Arc::new(pod("p", "web", more.clone())));
            assert_eq!(may_fit(&cluster(node.clone(), on_it), &candidate, "n"), expected, "{node} {on_it:?} {more}");
        };
        check(json!({}), &[], json!({}), true);
        check(json!({}), &[placed("q", "1", 0)], json!({}), true);
        check(json!({}), &[placed("q", "2", 0)], json!({}), false);
        check(json!({}), &[placed("q", "2", 0)], json!({"priority": 1}), true);
        check(json!({}), &[], json!({"nodeSelector": {"kind": "large"}}), false);
        check(json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}), &[], json!({"priority": 1}), false);
        let candidate = Candidate::of(Arc::new(pod("p", "web", json!({}))));
        assert!(!may_fit(&cluster(json!({}), &[]), &candidate, "gone"));
    }

    #[test]
    fn a_pod_concerns_those_that_want_it_shun_it_are_spread_with_it_or_use_its_claim() {
        let term = |app: &str| json!([{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kind"}]);
        let required = |side: &str, app: &str| json!({"affinity": {side: {"requiredDuringSchedulingIgnoredDuringExecution": term(app)}}});
        let spread = json!({"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kind", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "db"}},
        }]});
        let claim = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
        let check = |own: &Value, other: &Value, expected: bool| {
            let candidate = Candidate::of(Arc::new(pod("p", "web", own.clone())));
            let neighbour = Neighbour::of(&pod("q", "db", other.clone()));
            assert_eq!(neighbour.concerns(&cluster(json!({}), &[]), &candidate), expected, "{own} {other}");
        };
        let nothing = json!({});
        check(&nothing, &nothing, false);
        check(&required("podAffinity", "db"), &nothing, true);
        check(&required("podAffinity", "other"), &nothing, false);
        check(&required("podAntiAffinity", "db"), &nothing, true);
        check(&spread, &nothing, true);
        check(&nothing, &required("podAntiAffinity", "web"), true);
        check(&nothing, &required("podAntiAffinity", "other"), false);
        check(&claim, &claim, true);
        check(&claim, &nothing, false);
    }

    #[test]
    fn a_node_is_another_place_by_its_labels_and_taints_and_has_other_room_by_the_rest() {
        let node = |changes: &Value| -> Node {
            let mut node = json!({
                "metadata": {"name": "n", "labels": {"zone": "a"}},
                "spec": {},
                "status": {"allocatable": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}]},
            });
            for (path, value) in changes.as_object().unwrap() {
                let (parent, field) = path.rsplit_once('/').unwrap();
                node.pointer_mut(parent).unwrap()[field] = value.clone();
            }
            serde_json::from_value(node).unwrap()
        };
        let check = |changes: Value, expected: NodeChange| {
            let mut cluster = Cluster::new();
            assert_eq!(cluster.set_node(&node(&json!({}))), NodeChange::Place, "it is new");
            assert_eq!(cluster.set_node(&node(&changes)), expected, "{changes}");
        };
        check(json!({}), NodeChange::None);
        check(json!({"/metadata/annotations": {"a": "b"}}), NodeChange::None);
        check(json!({"/metadata/labels": {"zone": "b"}}), NodeChange::Place);
        check(json!({"/spec/taints": [{"key": "k", "effect": "NoSchedule"}]}), NodeChange::Place);
        check(json!({"/status/conditions": []}), NodeChange::Place);
        check(json!({"/spec/unschedulable": true}), NodeChange::Room);
        check(json!({"/status/allocatable": {"cpu": "4"}}), NodeChange::Room);
    }
}
