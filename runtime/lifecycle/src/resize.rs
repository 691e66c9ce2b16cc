//! What a container may use, and how that changes while it runs (KEP-1287).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodCondition, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::Now;
use crate::conditions::condition;
use crate::container::{Stage, StopCause};
use crate::event::{Effect, Run};
use crate::state::{Effects, PodState};

/// How long until a change that could not be made is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Quantities as they are written.
type Amounts = BTreeMap<String, String>;

/// What a container may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    limits: Amounts,
    requests: Amounts,
    /// What cannot change while it runs: the container is restarted.
    restart: Vec<String>,
}

impl Resources {
    /// What the manifest says; nothing where it says nothing.
    pub(crate) fn of(container: &Container) -> Option<Arc<Self>> {
        let mut own = Self::read(container.resources.as_ref()?)?;
        let policies = container.resize_policy.iter().flatten();
        let restart = policies.filter(|policy| policy.restart_policy == "RestartContainer");
        own.restart = restart.map(|policy| policy.resource_name.clone()).collect();
        Some(Arc::new(own))
    }

    /// What an earlier report says.
    pub(crate) fn reported(status: &ContainerStatus) -> Option<Arc<Self>> {
        Self::read(status.resources.as_ref()?).map(Arc::new)
    }

    fn read(from: &ResourceRequirements) -> Option<Self> {
        let amounts = |given: &Option<BTreeMap<String, Quantity>>| -> Amounts {
            given.iter().flatten().map(|(name, quantity)| (name.clone(), quantity.0.clone())).collect()
        };
        let own = Self { limits: amounts(&from.limits), requests: amounts(&from.requests), restart: vec![] };
        (!own.limits.is_empty() || !own.requests.is_empty()).then_some(own)
    }

    fn shown(amounts: &Amounts) -> Option<BTreeMap<String, Quantity>> {
        let quantities = || amounts.iter().map(|(name, text)| (name.clone(), Quantity(text.clone()))).collect();
        (!amounts.is_empty()).then(quantities)
    }

    /// `allocatedResources` and `resources` of the status.
    pub(crate) fn show(&self, status: &mut ContainerStatus) {
        let (limits, requests) = (Self::shown(&self.limits), Self::shown(&self.requests));
        status.allocated_resources.clone_from(&requests);
        status.resources = Some(ResourceRequirements { limits, requests, ..ResourceRequirements::default() });
    }

    /// Whether what differs cannot change while the container runs.
    fn needs_restart(&self, before: &Self) -> bool {
        self.restart.iter().any(|name| {
            self.limits.get(name) != before.limits.get(name) || self.requests.get(name) != before.requests.get(name)
        })
    }

    fn same(one: Option<&Self>, other: Option<&Self>) -> bool {
        let amounts = |of: Option<&Self>| of.map(|of| (of.limits.clone(), of.requests.clone()));
        amounts(one) == amounts(other)
    }
}

/// Why a container does not get what its manifest says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResizeFailure {
    /// The node has not so much; only another manifest helps.
    Infeasible(String),
    /// It could not be done now, and is tried again.
    Failed(String),
}

/// A change that was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unresized {
    failure: ResizeFailure,
    since: Timestamp,
    pub(crate) again: Option<Duration>,
}

impl PodState {
    /// The manifest may say something else of what the container may use.
    pub(crate) fn look_at_resources(&mut self, i: usize, out: &mut Effects) {
        let (plan, state) = (&self.plan.containers[i], &mut self.containers[i]);
        if !matches!(state.stage, Stage::Running { stop: None, .. }) {
            return;
        }
        if Resources::same(plan.resources.as_deref(), state.resources.as_deref()) {
            state.unresized = None;
            return;
        }
        out.push(Effect::Resize(Run { container: i, attempt: state.attempt }));
    }

    /// Tries again what could not be done.
    pub(crate) fn retry_resize(&mut self, i: usize, now: Now, out: &mut Effects) {
        let due = self.containers[i].unresized.as_mut().and_then(|u| u.again.take_if(|at| *at <= now.mono));
        if due.is_some() {
            self.look_at_resources(i, out);
        }
    }

    pub(crate) fn resized(&mut self, run: Run, outcome: Result<(), ResizeFailure>, now: Now, out: &mut Effects) {
        let i = run.container;
        let wanted = self.plan.containers[i].resources.clone();
        let state = &mut self.containers[i];
        match outcome {
            Ok(()) => {
                state.unresized = None;
                let before = state.resources.take().unwrap_or_default();
                let restart = wanted.as_ref().is_some_and(|wanted| wanted.needs_restart(&before));
                state.resources = if restart { Some(before) } else { wanted };
                if restart {
                    self.stop(i, StopCause::Resized, now, out);
                }
            }
            Err(failure) => {
                let known = state.unresized.take().filter(|known| known.failure == failure);
                let since = known.map_or(now.wall, |known| known.since);
                let again = matches!(failure, ResizeFailure::Failed(_)).then(|| now.mono + AGAIN);
                state.unresized = Some(Box::new(Unresized { failure, since, again }));
            }
        }
    }

    /// The condition of a change that was not made.
    pub(crate) fn resize_condition(&self) -> Option<PodCondition> {
        let unresized = self.containers.iter().find_map(|state| state.unresized.as_ref())?;
        let (kind, reason, message) = match &unresized.failure {
            ResizeFailure::Infeasible(why) => ("PodResizePending", "Infeasible", why),
            ResizeFailure::Failed(why) => ("PodResizeInProgress", "Error", why),
        };
        let (reason, message) = (Some(reason.to_owned()), Some(message.clone()));
        Some(condition(kind, true, unresized.since, reason, message, self.plan.generation))
    }
}
