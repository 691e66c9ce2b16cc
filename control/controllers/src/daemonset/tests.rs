use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::json;

use super::*;
use crate::action::ResourceId;
use crate::world::World;

struct Cluster {
    world: World,
    failures: Failures,
}

impl Cluster {
    fn new(spec: Value, nodes: &[&str]) -> Self {
        let mut world = World::new();
        let mut set = json!({
            "metadata": {"name": "d", "namespace": "a", "annotations": {GENERATION: "1"}},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "c", "image": "one"}]}
                }
            }
        });
        set["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        world.create(ResourceId::of::<DaemonSet>(), set);
        for node in nodes {
            world.create(ResourceId::of::<Node>(), json!({"metadata": {"name": node, "labels": {"on": node}}}));
        }
        Self { world, failures: Failures::default() }
    }

    fn look(&mut self) -> usize {
        let set = self.world.list::<DaemonSet>().remove(0);
        let view =
            View { set: &set, pods: &self.world.list(), revisions: &self.world.list(), nodes: &self.world.list() };
        let plan = reconcile(&view, &mut self.failures, self.world.now);
        let actions = plan.actions.len();
        self.world.apply(plan);
        actions
    }

    /// Looks until nothing is to be done, binding pods and making them ready as they come, or not.
    fn settle(&mut self, ready: bool) {
        for _ in 0..20 {
            let actions = self.look();
            let mut changed = false;
            for pod in self.world.list::<Pod>() {
                let name = name(&pod.metadata);
                if is_deleting(&pod.metadata) {
                    self.world.remove::<Pod>("a", name);
                    changed = true;
                } else if crate::pods::node(&pod).is_none() {
                    let node = fit::node_of(&pod).expect("a pod is made for a node");
                    let since = Timestamp::from_second(1_700_000_000).unwrap();
                    let status = if ready { "True" } else { "False" };
                    let condition = json!({"type": "Ready", "status": status, "lastTransitionTime": since});
                    let status = json!({"phase": "Running", "conditions": [condition]});
                    self.world.edit_status::<Pod>("a", name, json!({"spec": {"nodeName": node}, "status": status}));
                    changed = true;
                }
            }
            if actions == 0 && !changed {
                return;
            }
        }
        panic!("no end: {:?}", self.world.objects);
    }

    /// The nodes that have a pod, and the images there.
    fn images(&self) -> Vec<(String, String)> {
        let mut images: Vec<_> = self
            .world
            .list::<Pod>()
            .iter()
            .map(|pod| {
                let image = pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
                (fit::node_of(pod).unwrap_or_default().to_owned(), image)
            })
            .collect();
        images.sort();
        images
    }

    fn status(&self) -> Value {
        json!(self.world.list::<DaemonSet>()[0].status)
    }

    fn turn(&mut self, image: &str) {
        let template = json!({"spec": {"containers": [{"name": "c", "image": image}]}});
        self.world.edit::<DaemonSet>("a", "d", json!({"spec": {"template": template}}));
    }
}

fn on(nodes: &[&str], image: &str) -> Vec<(String, String)> {
    nodes.iter().map(|node| ((*node).to_owned(), image.to_owned())).collect()
}

#[test]
fn every_node_that_takes_it_has_one_pod() {
    let check = |pod: Value, taints: Value, expected: &[&str]| {
        let mut cluster = Cluster::new(json!({}), &["n1", "n2"]);
        cluster.world.edit::<DaemonSet>("a", "d", json!({"spec": {"template": {"spec": pod}}}));
        cluster.world.edit::<Node>("", "n2", json!({"spec": {"taints": taints}}));
        cluster.settle(true);
        assert_eq!(cluster.images(), on(expected, "one"), "{pod} {taints}");
    };
    let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
    check(json!({}), json!([]), &["n1", "n2"]);
    check(json!({"nodeSelector": {"on": "n2"}}), json!([]), &["n2"]);
    check(json!({"nodeName": "n1"}), json!([]), &["n1"]);
    check(json!({}), taint("own", "NoSchedule"), &["n1"]);
    check(json!({}), taint("own", "PreferNoSchedule"), &["n1", "n2"]);
    check(json!({}), taint("node.kubernetes.io/unreachable", "NoExecute"), &["n1", "n2"]);
    check(json!({}), taint("node.kubernetes.io/unschedulable", "NoSchedule"), &["n1", "n2"]);
    check(json!({"tolerations": [{"key": "own", "operator": "Exists"}]}), taint("own", "NoExecute"), &["n1", "n2"]);
}

#[test]
fn a_node_that_no_longer_takes_its_pod_loses_it() {
    let check = |patch: Value, left: usize| {
        let mut cluster = Cluster::new(json!({}), &["n1"]);
        cluster.world.edit::<DaemonSet>(
            "a",
            "d",
            json!({"spec": {"template": {"spec": {"nodeSelector": {"on": "n1"}}}}}),
        );
        cluster.settle(true);
        cluster.world.edit::<Node>("", "n1", patch.clone());
        cluster.settle(true);
        assert_eq!(cluster.images().len(), left, "{patch}");
    };
    check(json!({"metadata": {"labels": {"on": null}}}), 0);
    check(json!({"spec": {"taints": [{"key": "own", "effect": "NoExecute"}]}}), 0);
    check(json!({"spec": {"taints": [{"key": "own", "effect": "NoSchedule"}]}}), 1);
}

#[test]
fn a_rollout_replaces_as_many_pods_as_may_be_missing() {
    let nodes = ["n1", "n2", "n3", "n4"];
    let check = |strategy: Value, ready: bool, expected: [usize; 2]| {
        let mut cluster = Cluster::new(json!({"updateStrategy": strategy}), &nodes);
        cluster.settle(true);
        cluster.turn("two");
        cluster.settle(ready);
        let images = cluster.images();
        let count = |image: &str| images.iter().filter(|(_, known)| known == image).count();
        assert_eq!([count("one"), count("two")], expected, "{strategy}: {images:?}");
    };
    check(json!({"type": "RollingUpdate"}), true, [0, 4]);
    check(json!({"type": "RollingUpdate"}), false, [3, 1]);
    check(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}), false, [2, 2]);
    check(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2}}), false, [4, 2]);
    check(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}), true, [0, 4]);
    check(json!({"type": "OnDelete"}), true, [4, 0]);
}

#[test]
fn a_rollout_takes_old_pods_from_nodes_that_take_no_new_ones() {
    let check = |strategy: Value, ready: bool, expected: Vec<(String, String)>| {
        let mut cluster = Cluster::new(json!({"updateStrategy": strategy}), &["n1", "n2"]);
        cluster.settle(true);
        cluster.world.edit::<Node>("", "n1", json!({"spec": {"taints": [{"key": "own", "effect": "NoSchedule"}]}}));
        cluster.settle(true);
        assert_eq!(cluster.images(), on(&["n1", "n2"], "one"));
        cluster.turn("two");
        cluster.settle(ready);
        assert_eq!(cluster.images(), expected, "{strategy} {ready}");
    };
    let surge = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    check(json!({"type": "RollingUpdate"}), true, on(&["n2"], "two"));
    check(surge.clone(), true, on(&["n2"], "two"));
    // Two were available where one is to be: one is one too many.
    check(surge, false, [on(&["n2"], "one"), on(&["n2"], "two")].concat());
    check(json!({"type": "OnDelete"}), true, on(&["n1", "n2"], "one"));
}

#[test]
fn with_a_surge_as_many_are_available_as_ever() {
    let surge = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    let mut cluster = Cluster::new(json!({"updateStrategy": surge}), &["n1", "n2"]);
    cluster.world.edit::<DaemonSet>("a", "d", json!({"spec": {"template": {"spec": {"nodeSelector": {"on": "n1"}}}}}));
    cluster.settle(true);
    assert_eq!(cluster.images(), on(&["n1"], "one"));
    cluster.world.edit::<Node>("", "n1", json!({"spec": {"taints": [{"key": "own", "effect": "NoSchedule"}]}}));
    cluster.world.edit::<DaemonSet>("a", "d", json!({"spec": {"template": {"spec": {"nodeSelector": null}}}}));
    cluster.settle(false);
    assert_eq!(cluster.images(), on(&["n1", "n2"], "one"), "the new one is not available");
    cluster.settle(true);
    for pod in cluster.world.list::<Pod>() {
        let since = Timestamp::from_second(1_700_000_000).unwrap();
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
        cluster.world.edit_status::<Pod>("a", name(&pod.metadata), json!({"status": {"conditions": [ready]}}));
    }
    cluster.settle(true);
    assert_eq!(cluster.images(), on(&["n2"], "one"));
}

#[test]
fn while_two_pods_are_on_a_node_the_old_one_stands_for_it() {
    let surge = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    let mut cluster = Cluster::new(json!({"updateStrategy": surge}), &["n1"]);
    cluster.settle(true);
    cluster.world.pass(1000);
    cluster.turn("two");
    cluster.settle(false);
    let status = cluster.status();
    assert_eq!((&status["numberAvailable"], &status["updatedNumberScheduled"]), (&json!(1), &Value::Null));
}

#[test]
fn pods_that_fail_come_again_ever_later() {
    let mut cluster = Cluster::new(json!({}), &["n1"]);
    let mut waits = Vec::new();
    for _ in 0..4 {
        cluster.settle(true);
        let pod = cluster.world.list::<Pod>().remove(0);
        cluster.world.edit_status::<Pod>("a", name(&pod.metadata), json!({"status": {"phase": "Failed"}}));
        let mut waited = 0;
        loop {
            cluster.look();
            if cluster.world.list::<Pod>().iter().all(|pod| is_deleting(&pod.metadata)) {
                break;
            }
            cluster.world.pass(1000);
            waited += 1;
        }
        waits.push(waited);
    }
    assert_eq!(waits, [0, 1, 2, 4]);
    let told = cluster.world.told.iter().find(|told| told.starts_with("Found"));
    let first = cluster.world.told.iter().filter(|told| told.starts_with("Found failed daemon pod a/d-")).count();
    assert_eq!(first, 4, "{told:?}");
}

#[test]
fn the_status_is_written_before_pods_are_made() {
    let cluster = Cluster::new(json!({}), &["n1"]);
    let set = cluster.world.list::<DaemonSet>().remove(0);
    let view = View { set: &set, pods: &[], revisions: &[], nodes: &cluster.world.list() };
    let plan = reconcile(&view, &mut Failures::default(), cluster.world.now);
    let kind = |action: &Action| match action {
        Action::Patch { subresource: Some("status"), .. } => "status",
        Action::Create { resource, .. } if resource.plural == "pods" => "pod",
        _ => "other",
    };
    assert_eq!(plan.actions.iter().map(kind).collect::<Vec<_>>(), ["other", "status", "pod"]);
}

#[test]
fn another_template_may_have_the_name_that_a_revision_would_get() {
    let mut cluster = Cluster::new(json!({}), &["n1"]);
    cluster.settle(true);
    cluster.turn("two");
    let set = cluster.world.list::<DaemonSet>().remove(0);
    let first = cluster.world.list::<ControllerRevision>().remove(0);
    let hash = crate::hash::of(&set.spec.as_ref().unwrap().template, 0);
    let mut other = json!(*first);
    other["metadata"]["name"] = json!(format!("d-{hash}"));
    other["metadata"]["labels"][HASH] = json!(hash);
    other["revision"] = json!(2);
    other["data"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    cluster.world.create(ResourceId::of::<ControllerRevision>(), other);
    cluster.settle(true);
    assert_eq!(cluster.images(), on(&["n1"], "two"));
    assert_eq!(cluster.status()["collisionCount"], 1);
    cluster.turn("three");
    cluster.settle(true);
    assert_eq!(cluster.status()["collisionCount"], 1, "it is remembered");
}

#[test]
fn of_several_revisions_with_one_template_the_newest_stays() {
    let mut cluster = Cluster::new(json!({}), &["n1"]);
    cluster.settle(true);
    let mut twin = json!(*cluster.world.list::<ControllerRevision>().remove(0));
    twin["metadata"]["name"] = json!("d-twin");
    twin["metadata"]["labels"][HASH] = json!("twin");
    twin["revision"] = json!(2);
    cluster.world.create(ResourceId::of::<ControllerRevision>(), twin);
    let before = cluster.world.list::<Pod>()[0].metadata.uid.clone();
    cluster.settle(true);
    let pod = cluster.world.list::<Pod>().remove(0);
    assert_eq!((&pod.metadata.uid, pod.metadata.labels.as_ref().unwrap()[HASH].as_str()), (&before, "twin"));
    let left = cluster.world.list::<ControllerRevision>();
    assert_eq!(left.iter().map(|revision| name(&revision.metadata)).collect::<Vec<_>>(), ["d-twin"]);
}

#[test]
fn templates_are_kept_to_go_back_to() {
    let mut cluster = Cluster::new(json!({"revisionHistoryLimit": 1}), &["n1"]);
    for image in ["one", "two", "three", "two"] {
        cluster.turn(image);
        cluster.settle(true);
    }
    let revisions = cluster.world.list::<ControllerRevision>();
    let mut known: Vec<_> = revisions
        .iter()
        .map(|revision| {
            (revision.revision, revision::template(revision).unwrap().spec.unwrap().containers[0].image.clone())
        })
        .collect();
    known.sort();
    assert_eq!(known, [(3, Some("three".to_owned())), (4, Some("two".to_owned()))]);
}

#[test]
fn the_status_counts_nodes() {
    let mut cluster = Cluster::new(json!({}), &["n1", "n2"]);
    cluster.look();
    cluster.look();
    let status = cluster.status();
    assert_eq!((&status["desiredNumberScheduled"], &status["numberUnavailable"]), (&json!(2), &json!(2)));
    cluster.settle(true);
    let expected = json!({
        "currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2,
        "numberAvailable": 2, "updatedNumberScheduled": 2, "observedGeneration": 1,
    });
    assert_eq!(cluster.status(), expected);
}
