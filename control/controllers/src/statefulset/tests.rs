use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use super::*;
use crate::action::ResourceId;
use crate::world::World;

struct Cluster {
    world: World,
}

impl Cluster {
    fn new(spec: Value) -> Self {
        let mut world = World::new();
        let mut set = json!({
            "metadata": {"name": "s", "namespace": "a"},
            "spec": {
                "serviceName": "web",
                "selector": {"matchLabels": {"app": "s"}},
                "template": {
                    "metadata": {"labels": {"app": "s"}},
                    "spec": {"containers": [{"name": "c", "image": "one"}]}
                }
            }
        });
        set["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        world.create(ResourceId::of::<StatefulSet>(), set);
        Self { world }
    }

    fn look(&mut self) -> usize {
        let set = self.world.list::<StatefulSet>().remove(0);
        let claims = self.world.list::<PersistentVolumeClaim>();
        let claim = |wanted: &str| claims.iter().map(|claim| claim.metadata.clone()).find(|meta| name(meta) == wanted);
        let view = View { set: &set, pods: &self.world.list(), revisions: &self.world.list(), claim: &claim };
        let plan = reconcile(&view, self.world.now);
        let actions = plan.actions.len();
        self.world.apply(plan);
        actions
    }

    /// Looks until nothing is to be done, making pods ready as they come unless they are `stuck`.
    fn settle(&mut self, stuck: &[&str]) {
        for _ in 0..40 {
            let actions = self.look();
            let mut changed = false;
            for pod in self.world.list::<Pod>() {
                let name = name(&pod.metadata);
                if pod.status.is_none() && !stuck.contains(&name) {
                    let since = Timestamp::from_second(1_700_000_000).unwrap();
                    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
                    let status = json!({"phase": "Running", "conditions": [ready]});
                    self.world.edit_status::<Pod>("a", name, json!({"status": status}));
                    changed = true;
                }
            }
            if actions == 0 && !changed {
                return;
            }
        }
        panic!("no end: {:?}", self.world.objects);
    }

    fn pods(&self) -> Vec<String> {
        let text = |pod: &Arc<Pod>| {
            let image = pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap_or_default();
            format!("{} {image}", name(&pod.metadata))
        };
        self.world.list::<Pod>().iter().map(text).collect()
    }

    fn edit(&mut self, spec: Value) {
        self.world.edit::<StatefulSet>("a", "s", json!({"spec": spec}));
    }

    fn turn(&mut self, image: &str) {
        self.edit(json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}));
    }

    fn status(&self) -> Value {
        json!(self.world.list::<StatefulSet>()[0].status)
    }
}

#[test]
fn pods_come_in_order_or_at_once() {
    let check = |spec: Value, stuck: &[&str], expected: &[&str]| {
        let mut cluster = Cluster::new(spec.clone());
        cluster.settle(stuck);
        assert_eq!(cluster.pods(), expected, "{spec}");
    };
    check(json!({"replicas": 3}), &[], &["s-0 one", "s-1 one", "s-2 one"]);
    check(json!({"replicas": 3}), &["s-1"], &["s-0 one", "s-1 one"]);
    check(json!({"replicas": 3, "podManagementPolicy": "Parallel"}), &["s-0"], &["s-0 one", "s-1 one", "s-2 one"]);
    check(json!({"replicas": 2, "ordinals": {"start": 5}}), &[], &["s-5 one", "s-6 one"]);
    check(json!({"replicas": 0}), &[], &[]);
}

#[test]
fn the_highest_numbers_go_first_and_names_come_back() {
    let mut cluster = Cluster::new(json!({"replicas": 3}));
    cluster.settle(&[]);
    cluster.edit(json!({"replicas": 1}));
    cluster.look();
    assert_eq!(cluster.pods(), ["s-0 one", "s-1 one"]);
    cluster.settle(&[]);
    assert_eq!(cluster.pods(), ["s-0 one"]);
    cluster.world.remove::<Pod>("a", "s-0");
    cluster.settle(&[]);
    assert_eq!(cluster.pods(), ["s-0 one"]);
}

#[test]
fn pods_that_are_not_well_keep_those_above_them() {
    let check = |policy: &str, sick: &[&str], expected: &[&str]| {
        let mut cluster = Cluster::new(json!({"replicas": 3, "podManagementPolicy": policy}));
        cluster.settle(&[]);
        for name in sick {
            let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]});
            cluster.world.edit_status::<Pod>("a", name, json!({"status": status}));
        }
        cluster.edit(json!({"replicas": 0}));
        cluster.settle(&[]);
        assert_eq!(cluster.pods(), expected, "{policy} {sick:?}");
    };
    check("OrderedReady", &[], &[]);
    check("OrderedReady", &["s-0", "s-1", "s-2"], &["s-0 one", "s-1 one", "s-2 one"]);
    check("OrderedReady", &["s-0", "s-1"], &["s-0 one", "s-1 one"]);
    check("OrderedReady", &["s-2"], &[]);
    check("OrderedReady", &["s-0"], &[]);
    check("Parallel", &["s-0", "s-1", "s-2"], &[]);
}

#[test]
fn a_rollout_goes_from_the_highest_number_down() {
    let check = |strategy: Value, stuck: &[&str], expected: &[&str]| {
        let mut cluster = Cluster::new(json!({"replicas": 3, "updateStrategy": strategy}));
        cluster.settle(&[]);
        cluster.turn("two");
        cluster.settle(stuck);
        assert_eq!(cluster.pods(), expected, "{strategy}");
    };
    let rolling = |partition: i32| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
    check(rolling(0), &[], &["s-0 two", "s-1 two", "s-2 two"]);
    check(rolling(0), &["s-1"], &["s-0 one", "s-1 two", "s-2 two"]);
    check(rolling(2), &[], &["s-0 one", "s-1 one", "s-2 two"]);
    check(rolling(9), &[], &["s-0 one", "s-1 one", "s-2 one"]);
    check(json!({"type": "OnDelete"}), &[], &["s-0 one", "s-1 one", "s-2 one"]);
}

#[test]
fn below_the_partition_a_pod_comes_back_as_it_was() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let mut cluster = Cluster::new(json!({"replicas": 3, "updateStrategy": rolling}));
    cluster.settle(&[]);
    cluster.turn("two");
    cluster.settle(&[]);
    for pod in ["s-0", "s-2"] {
        cluster.world.remove::<Pod>("a", pod);
        cluster.settle(&[]);
    }
    assert_eq!(cluster.pods(), ["s-0 one", "s-1 one", "s-2 two"]);
    let status = cluster.status();
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(2), &json!(1)));
    cluster.edit(json!({"updateStrategy": {"rollingUpdate": {"partition": 0}}}));
    cluster.settle(&[]);
    let status = cluster.status();
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(3), &json!(3)));
}

#[test]
fn a_pod_knows_who_it_is_and_has_its_claims() {
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    let mut cluster = Cluster::new(json!({"replicas": 1, "volumeClaimTemplates": claims}));
    cluster.settle(&[]);
    let pod = cluster.world.list::<Pod>().remove(0);
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("s-0"), Some("web")));
    let labels = pod.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "s-0");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("s-"));
    let revision = cluster.world.list::<ControllerRevision>().remove(0);
    let hash = &revision.metadata.labels.as_ref().unwrap()["controller.kubernetes.io/hash"];
    assert_eq!(labels["controller-revision-hash"], format!("s-{hash}"));
    let claim = spec.volumes.as_ref().unwrap()[0].persistent_volume_claim.as_ref().unwrap();
    assert_eq!(claim.claim_name, "data-s-0");
    cluster.world.remove::<Pod>("a", "s-0");
    cluster.settle(&[]);
    let claims = cluster.world.list::<PersistentVolumeClaim>();
    assert_eq!(claims.iter().map(|claim| name(&claim.metadata)).collect::<Vec<_>>(), ["data-s-0"], "it is kept");
}

#[test]
fn claims_go_with_whom_the_policy_says() {
    let check = |scaled: &str, deleted: &str, expected: [&str; 2]| {
        let templates = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
        let mut cluster = Cluster::new(json!({
            "replicas": 2, "volumeClaimTemplates": templates,
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}
        }));
        cluster.settle(&[]);
        let owners = |cluster: &Cluster| -> Vec<String> {
            let owners = |claim: &Arc<PersistentVolumeClaim>| {
                let owners = claim.metadata.owner_references.iter().flatten();
                owners.map(|owner| format!("{} {}", owner.kind, owner.name)).collect::<Vec<_>>().join(",")
            };
            cluster.world.list::<PersistentVolumeClaim>().iter().map(owners).collect()
        };
        assert_eq!(owners(&cluster), [expected[0]; 2], "{scaled} {deleted}");
        cluster.edit(json!({"replicas": 1}));
        cluster.look();
        assert_eq!(owners(&cluster), expected, "{scaled} {deleted}, one less");
        // It is wanted again before its claim is gone: it waits for that, if it is to go.
        cluster.edit(json!({"replicas": 2}));
        cluster.settle(&[]);
        let goes = expected[1].starts_with("Pod");
        assert_eq!(cluster.pods().len(), if goes { 1 } else { 2 }, "{scaled} {deleted}");
        if goes {
            cluster.world.remove::<PersistentVolumeClaim>("a", "data-s-1");
        }
        cluster.settle(&[]);
        assert_eq!(owners(&cluster), [expected[0]; 2], "{scaled} {deleted}, one more");
    };
    check("Retain", "Retain", ["", ""]);
    check("Retain", "Delete", ["StatefulSet s", "StatefulSet s"]);
    check("Delete", "Retain", ["", "Pod s-1"]);
    check("Delete", "Delete", ["StatefulSet s", "Pod s-1"]);
}

#[test]
fn several_pods_may_be_missing_during_a_rollout() {
    let check = |most: Value, partition: i32, stuck: &[&str], expected: &[&str]| {
        let rolling = json!({"maxUnavailable": most, "partition": partition});
        let mut cluster = Cluster::new(json!({
            "replicas": 4, "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        }));
        cluster.settle(&[]);
        cluster.turn("two");
        cluster.settle(stuck);
        assert_eq!(cluster.pods(), expected, "{rolling}");
    };
    check(json!(2), 0, &["s-2", "s-3"], &["s-0 one", "s-1 one", "s-2 two", "s-3 two"]);
    check(json!("50%"), 0, &["s-2", "s-3"], &["s-0 one", "s-1 one", "s-2 two", "s-3 two"]);
    check(json!(3), 0, &[], &["s-0 two", "s-1 two", "s-2 two", "s-3 two"]);
    check(json!(3), 3, &[], &["s-0 one", "s-1 one", "s-2 one", "s-3 two"]);
}

#[test]
fn what_is_done_to_pods_and_claims_is_told() {
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    let mut cluster = Cluster::new(json!({"replicas": 1, "volumeClaimTemplates": claims}));
    cluster.settle(&[]);
    cluster.world.edit_status::<Pod>("a", "s-0", json!({"status": {"phase": "Failed"}}));
    cluster.look();
    assert_eq!(
        cluster.world.told,
        [
            "create Claim data-s-0 Pod s-0 in StatefulSet s success",
            "create Pod s-0 in StatefulSet s successful",
            "StatefulSet a/s is recreating failed Pod s-0",
            "delete Pod s-0 in StatefulSet s successful",
        ]
    );
}

#[test]
fn a_pod_gets_its_labels_back_and_what_it_claims() {
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    let mut cluster = Cluster::new(json!({"replicas": 1, "volumeClaimTemplates": claims}));
    cluster.settle(&["s-0"]);
    cluster.world.edit::<Pod>(
        "a",
        "s-0",
        json!({"metadata": {"labels": {"statefulset.kubernetes.io/pod-name": null}}}),
    );
    cluster.world.remove::<PersistentVolumeClaim>("a", "data-s-0");
    cluster.settle(&["s-0"]);
    let labels = cluster.world.list::<Pod>()[0].metadata.labels.clone().unwrap();
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "s-0");
    assert_eq!(cluster.world.list::<PersistentVolumeClaim>().len(), 1);
}

#[test]
fn the_status_is_written_before_pods_are_made() {
    let mut cluster = Cluster::new(json!({"replicas": 2}));
    let set = cluster.world.list::<StatefulSet>().remove(0);
    let view = View { set: &set, pods: &[], revisions: &[], claim: &|_| None };
    let plan = reconcile(&view, cluster.world.now);
    let kind = |action: &crate::action::Action| match action {
        crate::action::Action::Patch { subresource: Some("status"), .. } => "status",
        crate::action::Action::Create { resource, .. } if resource.plural == "pods" => "pod",
        _ => "other",
    };
    assert_eq!(plan.actions.iter().map(kind).collect::<Vec<_>>(), ["other", "status", "pod"]);
    cluster.world.apply(plan);
}

#[test]
fn only_numbers_that_the_set_gives_are_its_own() {
    let check = |pod: &str, expected: Option<i32>| {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": pod}})).unwrap();
        assert_eq!(identity::ordinal("s", &pod), expected);
    };
    check("s-0", Some(0));
    check("s-12", Some(12));
    check("s-01", None);
    check("s-", None);
    check("s-x", None);
    check("s-+1", None);
    check("other-1", None);
    check("s-99999999999", None);
}
