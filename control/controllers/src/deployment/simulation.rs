//! A deployment, its sets and their pods over many looks in a random order, with pods that come up, fail and go. What
//! must hold at every moment is checked after every move, and that all ends as it should.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::budget::Budget;
use super::{View, reconcile};
use crate::action::ResourceId;
use crate::members::Owner;
use crate::object::{controller, is_deleting, name};
use crate::pods::{is_active, is_ready};
use crate::replicaset;
use crate::world::World;

pub(super) fn deployment(replicas: i32, strategy: Value, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": strategy,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 2,
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]}
            }
        }
    })
}

pub(super) struct Cluster {
    pub(super) world: World,
}

impl Cluster {
    pub(super) fn new(deployment: Value) -> Self {
        let mut world = World::new();
        world.create(ResourceId::of::<Deployment>(), deployment);
        Self { world }
    }

    pub(super) fn deployment(&self) -> Deployment {
        (*self.world.list::<Deployment>()[0]).clone()
    }

    pub(super) fn edit(&mut self, patch: Value) {
        self.world.edit::<Deployment>("default", "web", patch);
    }

    pub(super) fn look_at_deployment(&mut self) {
        let deployment = self.deployment();
        let sets = self.world.list::<ReplicaSet>();
        let taken = |wanted: &str| sets.iter().any(|set| name(&set.metadata) == wanted);
        let plan = reconcile(&View { deployment: &deployment, sets: &sets, taken: &taken }, self.world.now);
        self.world.apply(plan);
    }

    pub(super) fn look_at_sets(&mut self) {
        for set in self.world.list::<ReplicaSet>() {
            let mut pods = self.world.list::<Pod>();
            pods.retain(|pod| {
                controller(&pod.metadata).is_none_or(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
            });
            let owner = Owner::of(&*set, replicaset::COMPONENT);
            let view = replicaset::View { set: &set, owner: &owner, pods: &pods, failure: None };
            let plan = replicaset::reconcile(&view, self.world.now);
            self.world.apply(plan);
        }
        self.collect_garbage();
    }

    /// Pods of sets that are gone.
    fn collect_garbage(&mut self) {
        let sets = self.world.list::<ReplicaSet>();
        for pod in self.world.list::<Pod>() {
            let owner = controller(&pod.metadata).unwrap();
            if !sets.iter().any(|set| set.metadata.uid.as_ref() == Some(&owner.uid)) {
                self.world.remove::<Pod>("default", name(&pod.metadata));
            }
        }
    }

    pub(super) fn set_ready(&mut self, pod: &str, ready: bool) {
        let now = self.world.now;
        self.world.edit::<Pod>(
            "default",
            pod,
            json!({
                "spec": {"nodeName": "n1"},
                "status": {"phase": "Running", "conditions": [
                    {"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": now}
                ]}
            }),
        );
    }

    /// Every pod that should run, runs; every pod that should go, is gone.
    pub(super) fn nodes_catch_up(&mut self) {
        for pod in self.world.list::<Pod>() {
            let name = name(&pod.metadata).to_owned();
            if is_deleting(&pod.metadata) {
                self.world.remove::<Pod>("default", &name);
            } else if !is_ready(&pod) && is_active(&pod) {
                self.set_ready(&name, true);
            }
        }
    }

    /// Looks until nothing changes.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.world.objects.clone();
            self.look_at_deployment();
            self.look_at_sets();
            self.nodes_catch_up();
            if self.world.objects == before {
                return;
            }
            self.world.pass(10);
        }
        panic!("does not settle: {:#?}", self.world.objects);
    }

    pub(super) fn available(&self) -> i32 {
        self.world.list::<Pod>().iter().filter(|pod| is_active(pod) && is_ready(pod)).count() as i32
    }

    pub(super) fn asked_for(&self) -> i32 {
        self.world.list::<ReplicaSet>().iter().map(|set| replicaset::wanted(set)).sum()
    }

    /// The image and the number of each set's pods.
    pub(super) fn images(&self) -> Vec<(String, i32)> {
        let sets = self.world.list::<ReplicaSet>();
        let image = |set: &ReplicaSet| {
            let template = set.spec.as_ref()?.template.as_ref()?;
            template.spec.as_ref()?.containers[0].image.clone()
        };
        sets.iter()
            .map(|set| (image(set).unwrap_or_default(), replicaset::wanted(set)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// One random move of the world; `failing` says whether pods may fail.
    fn random_move(&mut self, choice: u32, failing: bool) {
        let pods = self.world.list::<Pod>();
        let pick = |offset: u32| pods.get((choice / 16 + offset) as usize % pods.len().max(1));
        match choice % 16 {
            0..6 => self.look_at_deployment(),
            6..11 => self.look_at_sets(),
            11..14 => {
                let starting = (0..pods.len() as u32).filter_map(pick).find(|pod| is_active(pod) && !is_ready(pod));
                if let Some(pod) = starting {
                    self.set_ready(name(&pod.metadata), true);
                }
            }
            14 => {
                let going = pods.iter().find(|pod| is_deleting(&pod.metadata));
                if let Some(pod) = going {
                    self.world.remove::<Pod>("default", name(&pod.metadata));
                }
            }
            _ => {
                if let Some(pod) = pick(0).filter(|pod| failing && is_ready(pod)) {
                    self.set_ready(name(&pod.metadata), false);
                }
            }
        }
        self.world.pass(i64::from(choice % 7) * 100);
    }
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A rollout of healthy pods, interrupted by others, keeps to its bounds at every moment and ends.
    #[test]
    fn a_rolling_update_keeps_to_its_bounds(
        replicas in 1i32..12,
        surge in 0i32..4,
        unavailable in 0i32..4,
        moves in prop::collection::vec(any::<u32>(), 0..250),
    ) {
        let mut cluster = Cluster::new(deployment(replicas, rolling(json!(surge), json!(unavailable)), "v1"));
        cluster.settle();
        let budget = Budget::of(&cluster.deployment());
        prop_assert_eq!(cluster.available(), replicas);
        for (index, choice) in moves.iter().enumerate() {
            if index % 40 == 0 {
                cluster.edit(json!({"spec": {"template": {"spec": {"containers": [
                    {"name": "main", "image": format!("v{}", 2 + index / 40)}
                ]}}}}));
            }
            cluster.random_move(*choice, false);
            prop_assert!(cluster.available() >= budget.least_available(), "too few after move {index}");
            prop_assert!(cluster.asked_for() <= budget.most(), "too many after move {index}");
        }
        cluster.settle();
        let last = 1 + moves.len().div_ceil(40);
        prop_assert_eq!(cluster.images(), [(format!("v{last}"), replicas)]);
    }

    /// With failing pods and changes of size the number that is asked for keeps to its bound, and all ends well.
    #[test]
    fn failures_and_scaling_end_in_the_wanted_state(
        sizes in prop::collection::vec(0i32..9, 1..4),
        moves in prop::collection::vec(any::<u32>(), 30..200),
        recreate in any::<bool>(),
    ) {
        let strategy = if recreate { json!({"type": "Recreate"}) } else { rolling(json!("25%"), json!("25%")) };
        let mut cluster = Cluster::new(deployment(sizes[0], strategy, "v1"));
        cluster.settle();
        cluster.edit(json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "v2"}]}}}}));
        for (index, choice) in moves.iter().enumerate() {
            if index % 25 == 24 {
                let replicas = sizes[(index / 25) % sizes.len()];
                cluster.edit(json!({"spec": {"replicas": replicas}}));
            }
            cluster.random_move(*choice, true);
            if recreate {
                let images = cluster.images();
                prop_assert!(images.len() <= 1, "old and new together: {images:?}");
            }
        }
        cluster.settle();
        let wanted = cluster.deployment().spec.unwrap().replicas.unwrap();
        let expected = if wanted == 0 { vec![] } else { vec![("v2".to_owned(), wanted)] };
        prop_assert_eq!(cluster.images(), expected);
        prop_assert_eq!(cluster.available(), wanted);
    }
}
