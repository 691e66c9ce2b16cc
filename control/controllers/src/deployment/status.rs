//! What a Deployment says of itself, in Kubernetes' words.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::budget::Budget;
use super::member::{Member, Members};
use crate::action::{Action, Plan, Target};
use crate::object::{name, remaining, same_object};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The status while a step is being worked out.
pub(super) struct Report<'a> {
    deployment: &'a Deployment,
    now: Timestamp,
    current: DeploymentStatus,
    next: DeploymentStatus,
    conditions: Vec<DeploymentCondition>,
}

/// What a condition says.
struct Saying<'a> {
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    message: String,
}

impl<'a> Report<'a> {
    pub(super) fn begin(deployment: &'a Deployment, now: Timestamp) -> Self {
        let current = deployment.status.clone().unwrap_or_default();
        let mut next = current.clone();
        next.observed_generation = deployment.metadata.generation;
        let conditions = current.conditions.clone().unwrap_or_default();
        Self { deployment, now, current, next, conditions }
    }

    /// That the rollout was paused, or goes on.
    pub(super) fn paused(&mut self) {
        if self.deadline().is_none() {
            return;
        }
        let reason = self.reason(PROGRESSING);
        if reason == Some(TIMED_OUT) {
            return;
        }
        let was = reason == Some(PAUSED);
        let is = self.deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
        let (reason, message) = match (was, is) {
            (false, true) => (PAUSED, "Deployment is paused"),
            (true, false) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        self.say(Saying { kind: PROGRESSING, status: "Unknown", reason, message: message.to_owned() });
    }

    /// That the template's set exists, if nothing was ever said of the rollout.
    pub(super) fn found(&mut self, set: &str) {
        if self.deadline().is_some() && self.condition(PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{set}\"");
            self.say(Saying { kind: PROGRESSING, status: "True", reason: "FoundNewReplicaSet", message });
        }
    }

    /// That the template's set is being made.
    pub(super) fn made(&mut self, set: &str) {
        if self.deadline().is_some() {
            let message = format!("Created new replica set \"{set}\"");
            self.say(Saying { kind: PROGRESSING, status: "True", reason: "NewReplicaSetCreated", message });
        }
    }

    /// That the name of the template's set is taken.
    pub(super) fn collided(&mut self) {
        self.next.collision_count = Some(self.next.collision_count.unwrap_or(0).saturating_add(1));
    }

    /// Counts pods, and says whether enough of them are available.
    pub(super) fn counts(&mut self, members: &Members<'_>, budget: &Budget) {
        let sum = |count: fn(&ReplicaSetStatus) -> i32| -> i32 {
            members.all().filter_map(|member| member.set?.status.as_ref()).map(count).sum()
        };
        let available = sum(|status| status.available_replicas.unwrap_or(0));
        let updated = members.new.as_ref().map_or(0, Member::existing);
        // What is asked for, and not yet or no longer available.
        let total: i32 = members.all().map(|member| member.replicas).sum();
        self.next.replicas = Some(sum(|status| status.replicas));
        self.next.updated_replicas = Some(updated);
        self.next.ready_replicas = Some(sum(|status| status.ready_replicas.unwrap_or(0)));
        self.next.available_replicas = Some(available);
        self.next.unavailable_replicas = Some((total - available).max(0));
        self.next.terminating_replicas = Some(sum(|status| status.terminating_replicas.unwrap_or(0)));
        let (status, reason, message) = if available >= budget.least_available() {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        self.say(Saying { kind: AVAILABLE, status, reason, message: message.to_owned() });
        self.failures(members);
    }

    /// Passes on what keeps a set from creating pods.
    fn failures(&mut self, members: &Members<'_>) {
        let failure = members
            .new
            .iter()
            .chain(&members.old)
            .filter_map(|member| member.set?.status.as_ref()?.conditions.as_ref())
            .flatten()
            .find(|condition| condition.type_ == REPLICA_FAILURE);
        match failure {
            Some(failure) => self.say(Saying {
                kind: REPLICA_FAILURE,
                status: &failure.status,
                reason: failure.reason.as_deref().unwrap_or_default(),
                message: failure.message.clone().unwrap_or_default(),
            }),
            None => self.conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
        }
    }

    /// Says whether the rollout is through, moves, or has not moved for too long.
    pub(super) fn progress(&mut self, members: &Members<'_>, plan: &mut Plan) {
        let Some(deadline) = self.deadline() else {
            self.conditions.retain(|condition| condition.type_ != PROGRESSING);
            return;
        };
        let was_complete = self.next.replicas == self.next.updated_replicas
            && self.current_reason(PROGRESSING) == Some(NEW_SET_AVAILABLE);
        if was_complete {
            return;
        }
        let subject = match &members.new {
            Some(new) => format!("ReplicaSet \"{}\"", new.name),
            None => format!("Deployment \"{}\"", name(&self.deployment.metadata)),
        };
        if self.is_complete() {
            let message = format!("{subject} has successfully progressed.");
            self.say(Saying { kind: PROGRESSING, status: "True", reason: NEW_SET_AVAILABLE, message });
        } else if self.has_moved() {
            self.moved(format!("{subject} is progressing."));
            plan.look_again(deadline + Duration::from_secs(1));
        } else {
            self.stuck(deadline, &subject, plan);
        }
    }

    /// A move is noted even when the words are the same: the deadline counts from it.
    fn moved(&mut self, message: String) {
        let since = self
            .condition(PROGRESSING)
            .filter(|condition| condition.status == "True")
            .and_then(|condition| condition.last_transition_time.clone());
        self.conditions.retain(|condition| condition.type_ != PROGRESSING);
        self.conditions.push(DeploymentCondition {
            type_: PROGRESSING.to_owned(),
            status: "True".to_owned(),
            reason: Some("ReplicaSetUpdated".to_owned()),
            message: Some(message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: Some(since.unwrap_or(Time(self.now))),
        });
    }

    fn stuck(&mut self, deadline: Duration, subject: &str, plan: &mut Plan) {
        let Some(condition) = self.condition(PROGRESSING) else { return };
        if matches!(condition.reason.as_deref(), Some(TIMED_OUT | NEW_SET_AVAILABLE)) {
            return;
        }
        let last_move = condition.last_update_time.as_ref().map_or(self.now, |time| time.0);
        if let Some(rest) = remaining(last_move, deadline, self.now) {
            plan.look_again(rest + Duration::from_secs(1));
            return;
        }
        let message = format!("{subject} has timed out progressing.");
        self.say(Saying { kind: PROGRESSING, status: "False", reason: TIMED_OUT, message });
    }

    /// Whether all pods are of the template, and available, and none is left of another.
    pub(super) fn is_complete(&self) -> bool {
        let wanted = self.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = &self.next;
        [status.updated_replicas, status.replicas, status.available_replicas]
            .iter()
            .all(|count| count.unwrap_or(0) == wanted)
    }

    fn has_moved(&self) -> bool {
        let counts = |status: &DeploymentStatus| {
            let updated = status.updated_replicas.unwrap_or(0);
            (
                updated,
                status.replicas.unwrap_or(0) - updated,
                status.ready_replicas.unwrap_or(0),
                status.available_replicas.unwrap_or(0),
            )
        };
        let (before, after) = (counts(&self.current), counts(&self.next));
        after.0 > before.0 || after.1 < before.1 || after.2 > before.2 || after.3 > before.3
    }

    /// Adds the write, if anything is new.
    pub(super) fn write(self, plan: &mut Plan) {
        let mut next = self.next;
        next.conditions = (!self.conditions.is_empty()).then_some(self.conditions);
        if !differs(&self.current, &next) {
            return;
        }
        let target = Target::of(self.deployment);
        let status = json!({
            "observedGeneration": next.observed_generation,
            "replicas": next.replicas.filter(|count| *count != 0),
            "updatedReplicas": next.updated_replicas.filter(|count| *count != 0),
            "readyReplicas": next.ready_replicas.filter(|count| *count != 0),
            "availableReplicas": next.available_replicas.filter(|count| *count != 0),
            "unavailableReplicas": next.unavailable_replicas.filter(|count| *count != 0),
            "terminatingReplicas": next.terminating_replicas,
            "collisionCount": next.collision_count,
            "conditions": next.conditions,
        });
        plan.push(Action::Patch {
            patch: json!({ "metadata": same_object(&target), "status": status }),
            target,
            subresource: Some("status"),
            announce: None,
        });
    }

    /// How long a rollout may stand still; the largest number stands for no limit.
    fn deadline(&self) -> Option<Duration> {
        let seconds = self.deployment.spec.as_ref()?.progress_deadline_seconds?;
        u64::try_from(seconds).ok().filter(|_| seconds != i32::MAX).map(Duration::from_secs)
    }

    fn condition(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.conditions.iter().find(|condition| condition.type_ == kind)
    }

    fn reason(&self, kind: &str) -> Option<&str> {
        self.condition(kind)?.reason.as_deref()
    }

    fn current_reason(&self, kind: &str) -> Option<&str> {
        let conditions = self.current.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == kind)?.reason.as_deref()
    }

    /// Sets a condition unless it says the same already; since when it holds changes with its status alone.
    fn say(&mut self, saying: Saying<'_>) {
        let known = self.condition(saying.kind);
        if known.is_some_and(|known| known.status == saying.status && known.reason.as_deref() == Some(saying.reason)) {
            return;
        }
        let since =
            known.filter(|known| known.status == saying.status).and_then(|known| known.last_transition_time.clone());
        self.conditions.retain(|condition| condition.type_ != saying.kind);
        self.conditions.push(DeploymentCondition {
            type_: saying.kind.to_owned(),
            status: saying.status.to_owned(),
            reason: Some(saying.reason.to_owned()),
            message: Some(saying.message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: Some(since.unwrap_or(Time(self.now))),
        });
    }
}

/// Zero and absent are the same number.
fn differs(current: &DeploymentStatus, next: &DeploymentStatus) -> bool {
    let numbers = |status: &DeploymentStatus| {
        [
            status.replicas,
            status.updated_replicas,
            status.ready_replicas,
            status.available_replicas,
            status.unavailable_replicas,
            status.terminating_replicas,
            status.collision_count,
        ]
        .map(Option::unwrap_or_default)
    };
    let conditions = |status: &DeploymentStatus| status.conditions.clone().unwrap_or_default();
    numbers(current) != numbers(next)
        || current.observed_generation != next.observed_generation
        || conditions(current) != conditions(next)
}
