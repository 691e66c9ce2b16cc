//! HorizontalPodAutoscalers: as many pods as what they use asks for.
//!
//! What is used is measured every so often, by the one who carries plans out; what was measured is judged here, together with
//! what was recommended and changed before.

mod behavior;
mod calculate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec, MetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::action::{Action, Note, Plan, Severity, Target};
use crate::members::{Owner, says_the_same};
use crate::object::remaining;

use behavior::Limited;
use calculate::{Proposal, Unknown};

const COMPONENT: &str = "horizontal-pod-autoscaler";
/// How often what is used is measured.
const PERIOD: Duration = Duration::from_secs(15);

/// What a container used lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    pub name: String,
    /// Billionths of a core.
    pub cpu_nanos: u64,
    pub memory_bytes: u64,
}

/// What a pod used, averaged over a window that ended then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    pub at: Timestamp,
    pub window: Duration,
    pub containers: Vec<ContainerUsage>,
}

/// How many pods what is scaled has, and is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    pub target: Target,
    pub replicas: i32,
    /// Which pods are meant, as text.
    pub selector: String,
}

/// What was found for an autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    pub at: Timestamp,
    /// The generation of the autoscaler for which it was looked.
    pub generation: i64,
    /// An error says why it is not known.
    pub scale: Result<Scale, String>,
    /// By the pod's name.
    pub usage: BTreeMap<String, PodUsage>,
}

/// What is remembered of an autoscaler, as long as the controllers run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What was judged last.
    judged: Option<(Timestamp, i64)>,
    history: behavior::History,
}

/// Everything that an autoscaler's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub autoscaler: &'a HorizontalPodAutoscaler,
    pub measured: Option<&'a Measured>,
    /// The pods that the scale's selector chooses.
    pub pods: &'a [Arc<Pod>],
}

/// Has what is used measured, or scales to what was measured.
pub fn reconcile(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Plan {
    let meta = &view.autoscaler.metadata;
    let generation = meta.generation.unwrap_or(0);
    let usable = view.measured.filter(|found| found.generation == generation);
    let Some((found, left)) = usable.and_then(|found| Some((found, remaining(found.at, PERIOD, now)?))) else {
        let target = &view.autoscaler.spec.scale_target_ref;
        return Plan::of(Action::Measure {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            generation,
            api_version: target.api_version.clone().unwrap_or_default(),
            kind: target.kind.clone(),
            target: target.name.clone(),
        });
    };
    let mut plan = Plan::idle();
    plan.look_again(left);
    if memory.judged == Some((found.at, generation)) {
        return plan;
    }
    memory.judged = Some((found.at, generation));
    let conditions = view.autoscaler.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let owner = Owner::of(view.autoscaler, COMPONENT);
    let spec = &view.autoscaler.spec;
    let mut judge = Judge { spec, owner, conditions, now, metrics: Vec::new(), notes: Vec::new() };
    judge.judge(view, found, &mut memory.history, &mut plan);
    plan
}

struct Judge<'a> {
    spec: &'a HorizontalPodAutoscalerSpec,
    owner: Owner<'a>,
    conditions: Vec<HorizontalPodAutoscalerCondition>,
    now: Timestamp,
    metrics: Vec<MetricStatus>,
    notes: Vec<Action>,
}

/// How many are wanted, and why.
struct Wanted {
    replicas: i32,
    why: String,
}

impl Judge<'_> {
    fn judge(&mut self, view: &View<'_>, found: &Measured, history: &mut behavior::History, plan: &mut Plan) {
        let status = view.autoscaler.status.clone().unwrap_or_default();
        let scale = match &found.scale {
            Ok(scale) => scale,
            Err(why) => {
                self.tell(Severity::Warning, "FailedGetScale", why.clone());
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                self.set("AbleToScale", false, "FailedGetScale", message);
                let (current, desired) = (status.current_replicas.unwrap_or(0), status.desired_replicas);
                return self.report(view, current, desired, None, plan);
            }
        };
        let message = "the HPA controller was able to get the target's current scale".to_owned();
        self.set("AbleToScale", true, "SucceededGetScale", message);
        let current = scale.replicas;
        history.begin(current, self.now);
        let Some(wanted) = self.wanted(view, found, current, history) else {
            return self.report(view, current, status.desired_replicas, None, plan);
        };
        let mut scaled = None;
        if wanted.replicas != current {
            let message = format!("the HPA controller was able to update the target scale to {}", wanted.replicas);
            self.set("AbleToScale", true, "SucceededRescale", message);
            let message = format!("New size: {}; reason: {}", wanted.replicas, wanted.why);
            self.tell(Severity::Normal, "SuccessfulRescale", message);
            history.scaled(wanted.replicas - current, self.now);
            scaled = Some(self.now);
            plan.push(Action::Patch {
                target: scale.target.clone(),
                subresource: Some("scale"),
                patch: json!({ "spec": { "replicas": wanted.replicas } }),
                announce: None,
            });
        }
        self.report(view, current, wanted.replicas, scaled, plan);
    }

    /// How many pods there are to be; `None` when that cannot be said.
    fn wanted(
        &mut self,
        view: &View<'_>,
        found: &Measured,
        current: i32,
        history: &mut behavior::History,
    ) -> Option<Wanted> {
        let least = self.spec.min_replicas.unwrap_or(1);
        let bound = |replicas, why: &str| Some(Wanted { replicas, why: why.to_owned() });
        if current == 0 && least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero".to_owned();
            self.set("ScalingActive", false, "ScalingDisabled", message);
            return bound(0, "");
        }
        if current > self.spec.max_replicas {
            return bound(self.spec.max_replicas, "Current number of replicas above Spec.MaxReplicas");
        }
        if current < least {
            return bound(least, "Current number of replicas below Spec.MinReplicas");
        }
        let Proposal { replicas, metric } = self.proposal(view, found, current)?;
        let why = match replicas.cmp(&current) {
            std::cmp::Ordering::Greater => format!("{metric} above target"),
            std::cmp::Ordering::Less => "All metrics below target".to_owned(),
            std::cmp::Ordering::Equal => String::new(),
        };
        let message = format!("the HPA was able to successfully calculate a replica count from {metric}");
        self.set("ScalingActive", true, "ValidMetricFound", message);
        let stable = history.stabilize(self.spec, current, replicas, self.now);
        match stable.cmp(&replicas) {
            std::cmp::Ordering::Greater => {
                let message = "recent recommendations were higher than current one, applying the highest recent \
                               recommendation";
                self.set("AbleToScale", true, "ScaleDownStabilized", message.to_owned());
            }
            std::cmp::Ordering::Less => {
                let message = "recent recommendations were lower than current one, applying the lowest recent \
                               recommendation";
                self.set("AbleToScale", true, "ScaleUpStabilized", message.to_owned());
            }
            std::cmp::Ordering::Equal => {
                let message = "recommended size matches current size".to_owned();
                self.set("AbleToScale", true, "ReadyForNewScale", message);
            }
        }
        let Limited { replicas, reason, message } = history.limit(self.spec, current, stable, self.now);
        self.set("ScalingLimited", replicas != stable, reason, message.to_owned());
        Some(Wanted { replicas, why })
    }

    /// The most that any metric asks for. One that cannot be judged keeps the others from asking for fewer.
    fn proposal(&mut self, view: &View<'_>, found: &Measured, current: i32) -> Option<Proposal> {
        let (mut best, mut first_error): (Option<Proposal>, Option<Unknown>) = (None, None);
        let metrics = self.spec.metrics.as_deref().unwrap_or_default();
        let mut invalid = 0;
        for metric in metrics {
            match calculate::propose(metric, found, view.pods, current, self.now) {
                Ok((proposal, status)) => {
                    self.metrics.push(status);
                    if best.as_ref().is_none_or(|best| proposal.replicas > best.replicas) {
                        best = Some(proposal);
                    }
                }
                Err(unknown) => {
                    self.tell(Severity::Warning, unknown.reason, unknown.why.clone());
                    invalid += 1;
                    first_error.get_or_insert(unknown);
                }
            }
        }
        let Some(Unknown { reason, what, why }) = first_error else { return best };
        if best.as_ref().is_some_and(|best| best.replicas >= current) {
            return best;
        }
        let all = metrics.len();
        let first = format!("failed to get {what}: {why}");
        let message = format!("invalid metrics ({invalid} invalid out of {all}), first error is: {first}");
        self.tell(Severity::Warning, "FailedComputeMetricsReplicas", message);
        let message = format!("the HPA was unable to compute the replica count: {why}");
        self.set("ScalingActive", false, reason, message);
        None
    }

    fn report(&self, view: &View<'_>, current: i32, desired: i32, scaled: Option<Timestamp>, plan: &mut Plan) {
        let known = view.autoscaler.status.clone().unwrap_or_default();
        let metrics = Some(&self.metrics).filter(|metrics| !metrics.is_empty());
        let status = json!({
            "currentReplicas": current,
            "desiredReplicas": desired,
            "currentMetrics": metrics,
            "conditions": self.conditions,
            "lastScaleTime": scaled.map(Time).or(known.last_scale_time.clone()),
            "observedGeneration": view.autoscaler.metadata.generation,
        });
        if !says_the_same(&json!(known), &status) {
            plan.push(self.owner.report(status));
        }
        plan.actions.extend(self.notes.iter().cloned());
    }

    fn set(&mut self, kind: &str, holds: bool, reason: &str, message: String) {
        let status = if holds { "True" } else { "False" };
        let known = self.conditions.iter().position(|known| known.type_ == kind);
        let since = known.and_then(|at| self.conditions.get(at)).filter(|known| known.status == status);
        let since = since.and_then(|known| known.last_transition_time.clone()).unwrap_or(Time(self.now));
        let condition = HorizontalPodAutoscalerCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(since),
        };
        match known {
            Some(at) => self.conditions[at] = condition,
            None => self.conditions.push(condition),
        }
    }

    fn tell(&mut self, severity: Severity, reason: &'static str, message: String) {
        let about = self.owner.about.clone();
        self.notes.push(Action::Tell(Note { about, component: COMPONENT, severity, reason, message }));
    }
}
