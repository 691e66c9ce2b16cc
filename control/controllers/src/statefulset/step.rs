//! The next step of a StatefulSet: first what is missing, in order; then what is too much and what is of an older
//! template, the highest number first.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Look, Versioned, identity, retention, revision_of};
use crate::action::Plan;
use crate::object::is_deleting;
use crate::pods::{Availability, is_finished, phase};

/// Pods that one look creates or deletes at most.
const BURST: usize = 500;

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
                None => {
                    let owners = retention::of_new(self.set, self.spec);
                    let is_missing = |name: &str| (self.claim)(name).is_none();
                    plan.actions.extend(identity::claims(&self.owner, self.spec, ordinal, &owners, is_missing));
                    let body = identity::pod(&self.owner, self.spec, self.version(ordinal), ordinal);
                    creates.push(self.owner.create(body));
                    complete = false;
                }
                // A pod that ended comes again when it is gone.
                Some(pod) if is_finished(pod) && !is_deleting(&pod.metadata) => {
                    plan.push(self.owner.delete(pod));
                    complete = false;
                }
                Some(pod) if ordered && !self.is_settled(pod, plan) => complete = false,
                Some(_) => {}
            }
            if ordered && !complete || creates.len() >= BURST {
                break;
            }
        }
        plan.actions.extend(creates);
        complete || !ordered
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
                plan.push(self.owner.delete(pod));
                deleted += 1;
            }
            if ordered || deleted == BURST {
                return false;
            }
        }
        true
    }

    /// Deletes the highest pod that is of an older template, when all above it are well.
    fn renew(&self, plan: &mut Plan) {
        let strategy = self.spec.update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return;
        }
        let partition = strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0).max(0);
        let first = self.first().saturating_add(partition);
        for (_, pod) in self.members.wanted.range(first..).rev() {
            let Some(pod) = pod else { return };
            if revision_of(pod) != Some(self.update.name.as_str()) && !is_deleting(&pod.metadata) {
                plan.push(self.owner.delete(pod));
                return;
            }
            if !self.is_settled(pod, plan) {
                return;
            }
        }
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
