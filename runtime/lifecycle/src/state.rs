//! The state of a pod's machine, and the questions about it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::Now;
use crate::backoff::Backoff;
use crate::conditions::Transitions;
use crate::container::{ContainerState, Stage};
use crate::event::{Effect, Event, Note};
use crate::plan::{ContainerKind, PodPlan};

/// The pod's address and volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// To be asked for at that moment.
    Wanted {
        at: Duration,
    },
    Asked,
    Ready,
    /// Being given back.
    Releasing,
    Released,
}

/// A deletion under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// When the grace is over (monotonic).
    pub(crate) deadline: Duration,
    pub(crate) removed: bool,
}

/// Where the pod is, `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// Why the node ended a pod: reason and message of its status.
pub(crate) type Failure = (&'static str, Cow<'static, str>);

/// All that is known of one pod on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    pub(crate) plan: Arc<PodPlan>,
    pub(crate) start_time: Timestamp,
    /// When the pod's active time began (monotonic).
    pub(crate) start_mono: Duration,
    pub(crate) ground: Ground,
    pub(crate) preparations: Backoff,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) containers: Vec<ContainerState>,
    /// All init containers have been through, once; a restarted sidecar does not undo that.
    pub(crate) initialized: bool,
    pub(crate) ending: Option<Ending>,
    /// The pod was ended by the node: reason and message of its status.
    pub(crate) failure: Option<Failure>,
    pub(crate) gone: bool,
    pub(crate) gates: Vec<bool>,
    pub(crate) transitions: Transitions,
}

impl PodState {
    /// A pod that is new to the node. Follow with [`Event::Tick`].
    pub fn new(plan: Arc<PodPlan>, now: Now) -> Self {
        let containers = plan.containers.iter().map(|_| ContainerState::new()).collect();
        let gates = vec![false; plan.readiness_gates.len()];
        Self {
            plan,
            start_time: now.wall,
            start_mono: now.mono,
            ground: Ground::Wanted { at: now.mono },
            preparations: Backoff::quick(),
            ip: None,
            containers,
            initialized: false,
            ending: None,
            failure: None,
            gone: false,
            gates,
            transitions: Transitions::new(now.wall),
        }
    }

    /// Takes one event in and says what to do.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut out = Effects(Vec::new());
        self.apply(event, now, &mut out);
        self.advance(now, &mut out);
        self.note_transitions(now);
        out.0
    }

    /// The manifest.
    pub fn plan(&self) -> &Arc<PodPlan> {
        &self.plan
    }

    /// How often the container of that index was restarted: the number of its current run.
    pub fn attempt(&self, container: usize) -> Option<u32> {
        self.containers.get(container).map(|c| c.attempt)
    }

    /// Whether the container of that index is running.
    pub fn is_running(&self, container: usize) -> bool {
        self.containers.get(container).is_some_and(|c| c.up())
    }

    /// Whether the pod has ended for good: nothing of it will run again.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase(), Phase::Succeeded | Phase::Failed)
    }

    /// Whether the pod is ready.
    pub fn is_ready(&self) -> bool {
        self.containers_ready() && self.gates.iter().all(|g| *g)
    }

    /// Nothing is left to be done or reported: the pod can be forgotten.
    pub fn is_over(&self) -> bool {
        self.gone && self.ground == Ground::Released
    }

    /// When to come back with [`Event::Tick`] if nothing happens before.
    pub fn deadline(&self) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut consider = |at: Duration| next = Some(next.map_or(at, |n| n.min(at)));
        if self.must_end() {
            return None;
        }
        if let Some(limit) = self.plan.active_deadline {
            consider(self.start_mono + limit);
        }
        if let Ground::Wanted { at } = self.ground {
            consider(at);
        }
        for (i, c) in self.containers.iter().enumerate() {
            match &c.stage {
                Stage::NoImage { shown_until, until, .. } => consider(shown_until.unwrap_or(*until).min(*until)),
                Stage::NotCreated { until, .. } | Stage::Crashed { until, .. } if self.eligible(i) => consider(*until),
                Stage::Running { stop: None, .. } => {
                    c.probes.iter().flatten().filter_map(|p| p.due()).for_each(&mut consider);
                    c.unresized.iter().filter_map(|u| u.again).for_each(&mut consider);
                }
                _ => {}
            }
        }
        next
    }

    /// Whether it is the container's turn to be run.
    pub(crate) fn eligible(&self, index: usize) -> bool {
        match self.plan.containers[index].kind {
            ContainerKind::Main if self.initialized => return true,
            // It may be there to find out why the others do not come up.
            ContainerKind::Ephemeral => return true,
            _ => {}
        }
        (0..index).all(|i| self.lets_next_start(i))
    }

    /// Whether the containers after this one may start, as far as it is concerned.
    pub(crate) fn lets_next_start(&self, index: usize) -> bool {
        let (plan, state) = (&self.plan.containers[index], &self.containers[index]);
        match plan.kind {
            ContainerKind::Init => state.done() == Some(0),
            ContainerKind::Sidecar => state.started(plan) || self.initialized,
            ContainerKind::Main | ContainerKind::Ephemeral => true,
        }
    }

    /// Whether all that is left to do is to stop.
    pub(crate) fn must_end(&self) -> bool {
        self.ending.is_some() || self.failure.is_some() || self.gone || self.is_finished()
    }

    pub(crate) fn busy(&self) -> bool {
        self.containers.iter().any(ContainerState::busy)
    }

    pub(crate) fn containers_ready(&self) -> bool {
        let mut mains = self.plan.containers.iter().zip(&self.containers);
        self.initialized
            && self.failure.is_none()
            && mains.all(|(plan, state)| !plan.counts_for_ready() || state.ready(plan))
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.failure.is_some() || self.init_failed() {
            return Phase::Failed;
        }
        if !self.initialized {
            return Phase::Pending;
        }
        let mains = || {
            self.plan
                .containers
                .iter()
                .zip(&self.containers)
                .filter(|(p, _)| p.kind == ContainerKind::Main)
                .map(|(_, s)| s)
        };
        if mains().all(|s| s.done().is_some()) {
            let good = mains().all(|s| s.done() == Some(0));
            return if good { Phase::Succeeded } else { Phase::Failed };
        }
        let never_ran = |s: &ContainerState| s.last.is_none() && !s.up();
        if mains().any(never_ran) { Phase::Pending } else { Phase::Running }
    }

    /// The phase as the API shows it: a pod has not ended while something of it runs, as sidecars do for a while.
    pub(crate) fn shown_phase(&self) -> Phase {
        match self.phase() {
            Phase::Succeeded | Phase::Failed if self.busy() && self.initialized => Phase::Running,
            Phase::Succeeded | Phase::Failed if self.busy() => Phase::Pending,
            phase => phase,
        }
    }

    fn init_failed(&self) -> bool {
        let inits = self.plan.containers.iter().zip(&self.containers).filter(|(p, _)| p.kind == ContainerKind::Init);
        inits.into_iter().any(|(_, s)| s.done().is_some_and(|code| code != 0))
    }
}

/// What a step has to say so far.
pub(crate) struct Effects(pub(crate) Vec<Effect>);

impl Effects {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    pub(crate) fn normal(&mut self, container: Option<usize>, reason: &'static str, message: String) {
        self.push(Effect::Note(Note { warning: false, reason, message, container }));
    }

    pub(crate) fn warning(&mut self, container: Option<usize>, reason: &'static str, message: String) {
        self.push(Effect::Note(Note { warning: true, reason, message, container }));
    }
}
