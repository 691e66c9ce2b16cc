//! The next step of a StatefulSet: first what is missing, in order; then what is too much and what is of an older
//! template, the highest number first.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::told::{self, Deed};
use super::{Look, Versioned, identity, retention, revision_of};
use crate::action::{Action, Plan, ResourceId, Target};
use crate::deployment::budget::{Rounding, scaled};
use crate::object::{is_deleting, name};
use crate::pods::{Availability, is_finished, phase};

/// Pods that one look creates or deletes at most.
const BURST: usize = 500;
/// How soon is looked again for a claim that is on its way out.
const LEAVING: Duration = Duration::from_millis(500);

impl Look<'_> {
    /// Adds the writes of the next step. With ordered pods that is one, which the next waits for.
    pub(super) fn step(&self, plan: &mut Plan) {
        let ordered = self.spec.pod_management_policy.as_deref() != Some("Parallel");
        if self.fill(ordered, plan) && self.shrink(ordered, plan) {
            self.renew(plan);
        }
    }

    /// Says of each claim with whom it goes, before any pod does.
    pub(super) fn retain(&self, plan: &mut Plan) {
        let wanted = self.members.wanted.iter().filter_map(|(ordinal, pod)| Some((*ordinal, (*pod)?, true)));
        let condemned = self.members.condemned.iter().map(|(ordinal, pod)| (*ordinal, *pod, false));
        for (ordinal, pod, is_wanted) in wanted.chain(condemned) {
            for (name, _) in identity::claim_names(&self.owner, self.spec, ordinal) {
                let claim = (self.claim)(&name);
                let kept = claim.and_then(|claim| retention::keep(self.set, self.spec, pod, is_wanted, &claim));
                plan.actions.extend(kept);
            }
        }
    }

    /// Makes what is missing; whether the step can go on.
    fn fill(&self, ordered: bool, plan: &mut Plan) -> bool {
        let mut complete = true;
        let mut creates = Vec::new();
        for (&ordinal, pod) in &self.members.wanted {
            match pod {
                None if self.has_leaving_claim(ordinal) => {
                    plan.look_again(LEAVING);
                    complete = false;
                }
                None => {
                    self.claim(ordinal, plan);
                    let body = identity::pod(&self.owner, self.spec, self.version(ordinal), ordinal);
                    creates.push(self.create(body, ordinal));
                    complete = false;
                }
                // A pod that ended comes again when it is gone.
                Some(pod) if is_finished(pod) && !is_deleting(&pod.metadata) => {
                    plan.push(told::again(&self.owner, name(&pod.metadata), phase(pod) == "Failed"));
                    plan.push(self.delete(pod));
                    complete = false;
                }
                Some(pod) => {
                    if !is_deleting(&pod.metadata) {
                        if matches!(phase(pod), "" | "Pending") {
                            self.claim(ordinal, plan);
                        }
                        plan.actions.extend(identity::mended(&self.owner, pod, ordinal));
                    }
                    complete &= !ordered || self.is_settled(pod, plan);
                }
            }
            if ordered && !complete || creates.len() >= BURST {
                break;
            }
        }
        plan.actions.extend(creates);
        complete || !ordered
    }

    /// Makes the claims of that number that are missing.
    fn claim(&self, ordinal: i32, plan: &mut Plan) {
        let owners = retention::of_new(self.set, self.spec);
        let is_missing = |name: &str| (self.claim)(name).is_none();
        plan.actions.extend(identity::claims(&self.owner, self.spec, ordinal, &owners, is_missing));
    }

    /// Whether a claim of that number is on its way out.
    fn has_leaving_claim(&self, ordinal: i32) -> bool {
        let pod = identity::pod_name(&self.owner, ordinal);
        identity::claim_names(&self.owner, self.spec, ordinal)
            .filter_map(|(name, _)| (self.claim)(&name))
            .any(|claim| retention::is_leaving(self.spec, &pod, &claim))
    }

    fn create(&self, body: Value, ordinal: i32) -> Action {
        Action::Create {
            resource: ResourceId::of::<Pod>(),
            namespace: self.owner.meta.namespace.clone(),
            body,
            announce: Some(told::pod(&self.owner, Deed::Create, &identity::pod_name(&self.owner, ordinal))),
        }
    }

    fn delete(&self, pod: &Pod) -> Action {
        Action::Delete {
            target: Target::of(pod),
            grace_seconds: None,
            propagation: None,
            announce: Some(told::pod(&self.owner, Deed::Delete, name(&pod.metadata))),
        }
    }

    /// Deletes what is too much; whether the step can go on. In order, a pod goes only while it is well itself, or when
    /// no lower one is unwell.
    fn shrink(&self, ordered: bool, plan: &mut Plan) -> bool {
        let mut deleted = 0;
        let unwell = self.members.condemned.iter().find(|(_, pod)| !self.is_well(pod)).map(|(ordinal, _)| *ordinal);
        for (ordinal, pod) in self.members.condemned.iter().rev() {
            if ordered && unwell != Some(*ordinal) && !self.is_settled(pod, plan) {
                return false;
            }
            if !is_deleting(&pod.metadata) {
                plan.push(self.delete(pod));
                deleted += 1;
            }
            if ordered || deleted == BURST {
                return false;
            }
        }
        true
    }

    /// Deletes the highest pods that are of an older template: the next one when all above it are well, or, where several
    /// may be missing, as many as that allows.
    fn renew(&self, plan: &mut Plan) {
        let strategy = self.spec.update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return;
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let first = self.first().saturating_add(rolling.partition.unwrap_or(0).max(0));
        let most = rolling.max_unavailable.as_ref().map_or(1, |most| self.most_missing(most));
        if most > 1 {
            self.renew_several(first, most, plan);
            return;
        }
        for (_, pod) in self.members.wanted.range(first..).rev() {
            let Some(pod) = pod else { return };
            if self.is_old(pod) {
                plan.push(self.delete(pod));
                return;
            }
            if !self.is_settled(pod, plan) {
                return;
            }
        }
    }

    /// Of the pods from that number on the old ones go, the highest first. Of those that are well no more go than may be
    /// missing.
    fn renew_several(&self, first: i32, most: usize, plan: &mut Plan) {
        let mut missing = 0;
        for pod in self.members.wanted.values() {
            missing += usize::from(!pod.is_some_and(|pod| self.is_settled(pod, plan)));
        }
        for pod in self.members.wanted.range(first..).rev().filter_map(|(_, pod)| *pod) {
            if !self.is_old(pod) {
                continue;
            }
            if self.is_settled(pod, plan) {
                if missing >= most {
                    continue;
                }
                missing += 1;
            }
            plan.push(self.delete(pod));
        }
    }

    /// How many pods may be missing during a rollout.
    fn most_missing(&self, most: &IntOrString) -> usize {
        let most = scaled(most, self.spec.replicas.unwrap_or(1), Rounding::Down);
        usize::try_from(most).unwrap_or(0).max(1)
    }

    /// Whether the pod is of another template than the newest, and stays.
    fn is_old(&self, pod: &Pod) -> bool {
        revision_of(pod) != Some(self.update.name.as_str()) && !is_deleting(&pod.metadata)
    }

    /// Whether the pod runs, is ready and stays.
    fn is_well(&self, pod: &Arc<Pod>) -> bool {
        let stays = !is_deleting(&pod.metadata) && phase(pod) == "Running";
        stays && !matches!(self.availability(pod), Availability::NotReady)
    }

    /// Whether the next pod may follow after that one.
    fn is_settled(&self, pod: &Arc<Pod>, plan: &mut Plan) -> bool {
        if !self.is_well(pod) {
            return false;
        }
        match self.availability(pod) {
            Availability::Available => true,
            Availability::After(wait) => {
                plan.look_again(wait);
                false
            }
            Availability::NotReady => false,
        }
    }

    /// The template of a pod that is made anew: below the partition of a rollout that of before.
    fn version(&self, ordinal: i32) -> &Versioned {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return &self.update;
        }
        let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
        if ordinal < self.first().saturating_add(partition) { &self.current } else { &self.update }
    }

    fn first(&self) -> i32 {
        self.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
    }
}
