//! The pod's conditions, when they last changed, and what of a status is urgent.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::Now;
use crate::plan::ContainerKind;
use crate::state::{Ground, Phase, PodState};

/// The conditions that the node writes, in the order of `kubectl describe`.
const TYPES: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// When each condition came to be as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transitions([(bool, Timestamp); 4]);

impl Transitions {
    pub(crate) fn new(at: Timestamp) -> Self {
        Self([(false, at); 4])
    }

    /// As an earlier report had it.
    pub(crate) fn recall(&mut self, reported: &[PodCondition]) {
        for (slot, name) in self.0.iter_mut().zip(TYPES) {
            if let Some(condition) = reported.iter().find(|c| c.type_ == name)
                && let Some(at) = &condition.last_transition_time
            {
                *slot = (condition.status == "True", at.0);
            }
        }
    }
}

/// A condition that does not hold, and why.
struct Unmet {
    reason: &'static str,
    message: Option<String>,
}

impl PodState {
    pub(crate) fn note_transitions(&mut self, now: Now) {
        let holds = [
            self.ground == Ground::Ready,
            self.initialized,
            self.containers_ready() && self.gates.iter().all(|g| *g),
            self.containers_ready(),
        ];
        for (slot, holds) in self.transitions.0.iter_mut().zip(holds) {
            if slot.0 != holds {
                *slot = (holds, now.wall);
            }
        }
    }

    /// The conditions as the API shows them; `scheduled` is since when the pod is bound.
    pub(crate) fn conditions(&self, scheduled: Timestamp) -> Vec<PodCondition> {
        let why = [None, self.why_uninitialized(), self.why_unready(), self.why_containers_unready()];
        let mut all = Vec::with_capacity(5);
        for (((name, (holds, since)), unmet), _) in TYPES.iter().zip(self.transitions.0).zip(why).zip(0..) {
            let finished = holds && *name == "Initialized" && self.shown_phase() == Phase::Succeeded;
            let (reason, message) = match unmet.filter(|_| !holds) {
                Some(unmet) => (Some(unmet.reason.to_owned()), unmet.message),
                None => (finished.then(|| "PodCompleted".to_owned()), None),
            };
            all.push(condition(name, holds, since, reason, message, self.plan.generation));
        }
        all.push(condition("PodScheduled", true, scheduled, None, None, self.plan.generation));
        all.extend(self.resize_condition());
        all
    }

    fn why_uninitialized(&self) -> Option<Unmet> {
        let names = self.names(|i, kind| kind != ContainerKind::Main && !self.lets_next_start(i));
        let message = Some(format!("containers with incomplete status: [{}]", names.join(" ")));
        Some(Unmet { reason: "ContainersNotInitialized", message })
    }

    fn why_containers_unready(&self) -> Option<Unmet> {
        match self.shown_phase() {
            Phase::Succeeded => Some(Unmet { reason: "PodCompleted", message: None }),
            Phase::Failed => Some(Unmet { reason: "PodFailed", message: None }),
            _ => {
                let unready = |i: usize, _| {
                    let plan = &self.plan.containers[i];
                    plan.counts_for_ready() && !self.containers[i].ready(plan)
                };
                let names = self.names(unready);
                let message = Some(format!("containers with unready status: [{}]", names.join(" ")));
                Some(Unmet { reason: "ContainersNotReady", message })
            }
        }
    }

    fn why_unready(&self) -> Option<Unmet> {
        if !self.containers_ready() {
            return self.why_containers_unready();
        }
        let unmet = self.plan.readiness_gates.iter().zip(&self.gates).filter(|(_, holds)| !**holds);
        let lines: Vec<String> = unmet
            .map(|(name, _)| format!("the status of pod readiness gate \"{name}\" is not \"True\", but False"))
            .collect();
        Some(Unmet { reason: "ReadinessGatesNotReady", message: Some(lines.join(", ")) })
    }

    fn names(&self, wanted: impl Fn(usize, ContainerKind) -> bool) -> Vec<&str> {
        let all = self.plan.containers.iter().enumerate();
        all.filter(|(i, c)| wanted(*i, c.kind)).map(|(_, c)| c.name.as_str()).collect()
    }
}

pub(crate) fn condition(
    name: &str,
    holds: bool,
    since: Timestamp,
    reason: Option<String>,
    message: Option<String>,
    generation: Option<i64>,
) -> PodCondition {
    PodCondition {
        type_: name.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(Time(whole_seconds(since))),
        observed_generation: generation,
        reason,
        message,
        ..PodCondition::default()
    }
}

/// The API's times have no fractions; a status is compared with what was sent.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// How soon a status has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It is as it was.
    None,
    /// With others that come soon.
    Soon,
    /// Not before others had the time to come.
    Later,
    /// Somebody waits for it: ready or not any more, ended, failing.
    Now,
}

/// Compares what was written last with what is to be written. `ends` of a pod that is meant to end: a command that takes a
/// moment has then not been ready for anybody who would come too late to it.
pub fn urgency(old: Option<&PodStatus>, new: &PodStatus, ends: bool) -> Urgency {
    if old == Some(new) {
        return Urgency::None;
    }
    let ended = final_phase(new) && old.is_none_or(|old| old.phase != new.phase);
    match (old.is_some_and(ready), ready(new)) {
        _ if ended => Urgency::Now,
        (false, true) if ends => Urgency::Later,
        (true, false) if comes_up_again(new) => Urgency::Soon,
        (before, after) if before != after => Urgency::Now,
        _ => Urgency::Soon,
    }
}

/// Whether all that is missing are containers that have ended and are being started again.
fn comes_up_again(status: &PodStatus) -> bool {
    let again = |container: &ContainerStatus| {
        let waits = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
        let ran = container.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
        ran && matches!(waits, Some("ContainerCreating" | "PodInitializing"))
    };
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let mut missing = all.filter(|container| !container.ready).peekable();
    missing.peek().is_some() && missing.all(again)
}

fn ready(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn final_phase(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}
