//! Where one container of a pod is in its life.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::backoff::Backoff;
use crate::event::{Cause, Exit};
use crate::plan::{ContainerPlan, ProbeKind};
use crate::probe::ProbeState;
use crate::resize::{Resources, Unresized};

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) attempt: u32,
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
}

impl Ended {
    pub(crate) fn new(attempt: u32, exit: Exit, started: Option<Timestamp>, finished: Timestamp) -> Self {
        let reason = match (exit.out_of_memory, exit.code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        Self { attempt, code: exit.code, reason: reason.to_owned(), message: exit.message, started, finished }
    }
}

/// Why a container was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The pod ends.
    PodEnds,
    /// A liveness or startup probe says so.
    Unhealthy(ProbeKind),
    /// The hook after the start failed.
    Unhooked,
    /// The manifest has another image now.
    Changed,
    /// It is to use what it cannot be given while it runs.
    Resized,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not its turn yet, or about to look for its image.
    Idle,
    Finding,
    Pulling,
    /// The image cannot be had; `shown_until` is when `ErrImagePull` becomes `ImagePullBackOff`.
    NoImage {
        cause: Cause,
        message: String,
        shown_until: Option<Duration>,
        until: Duration,
    },
    ImageReady,
    /// Being created and started.
    Starting {
        stop: Option<StopCause>,
    },
    NotCreated {
        cause: Cause,
        message: String,
        until: Duration,
    },
    Running {
        since: Timestamp,
        since_mono: Duration,
        stop: Option<StopCause>,
    },
    /// Ended, and to be restarted then.
    Crashed {
        until: Duration,
        delay: Duration,
    },
    /// Ended for good; the run is in `last`.
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerState {
    pub(crate) stage: Stage,
    /// The number of the run that is or comes next; also the restart count.
    pub(crate) attempt: u32,
    pub(crate) image_id: Option<Arc<str>>,
    /// The last run that is over.
    pub(crate) last: Option<Ended>,
    /// The run before `last`, which is what `lastState` shows once the container is done.
    pub(crate) before: Option<Ended>,
    pub(crate) crashes: Backoff,
    pub(crate) pulls: Backoff,
    pub(crate) creations: Backoff,
    pub(crate) probes: [Option<Box<ProbeState>>; 3],
    /// The hook after the start is under way.
    pub(crate) hooking: bool,
    /// What it may use as it runs, or ran last.
    pub(crate) resources: Option<Arc<Resources>>,
    /// The manifest says otherwise, and why that is not so yet.
    pub(crate) unresized: Option<Box<Unresized>>,
}

impl ContainerState {
    pub(crate) fn new() -> Self {
        Self {
            stage: Stage::Idle,
            attempt: 0,
            image_id: None,
            last: None,
            before: None,
            crashes: Backoff::crashes(),
            pulls: Backoff::attempts(),
            creations: Backoff::attempts(),
            probes: [None, None, None],
            hooking: false,
            resources: None,
            unresized: None,
        }
    }

    /// Whether it runs and the hook after the start, if there is one, is through.
    pub(crate) fn up(&self) -> bool {
        matches!(self.stage, Stage::Running { .. }) && !self.hooking
    }

    /// Whether the startup probe, if there is one, has succeeded in this run.
    pub(crate) fn started(&self, plan: &ContainerPlan) -> bool {
        self.up() && (plan.probe(ProbeKind::Startup).is_none() || self.verdict(ProbeKind::Startup) == Some(true))
    }

    /// Whether traffic may go to it. One that is to run anew with other settings serves until it has stopped.
    pub(crate) fn ready(&self, plan: &ContainerPlan) -> bool {
        let unhealthy = matches!(self.stage, Stage::Running { stop: Some(StopCause::Unhealthy(_)), .. });
        self.started(plan)
            && !unhealthy
            && (plan.probe(ProbeKind::Readiness).is_none() || self.verdict(ProbeKind::Readiness) == Some(true))
    }

    pub(crate) fn verdict(&self, kind: ProbeKind) -> Option<bool> {
        self.probes[kind as usize].as_ref().and_then(|p| p.verdict)
    }

    /// The exit code, when it has ended for good.
    pub(crate) fn done(&self) -> Option<i32> {
        match self.stage {
            Stage::Done => Some(self.last.as_ref().map_or(0, |ended| ended.code)),
            _ => None,
        }
    }

    /// Whether the node has something running or starting for it.
    pub(crate) fn busy(&self) -> bool {
        matches!(self.stage, Stage::Starting { .. } | Stage::Running { .. })
    }

    pub(crate) fn end(&mut self, ended: Ended) {
        self.before = self.last.replace(ended);
        self.probes = [None, None, None];
        self.hooking = false;
        self.unresized = None;
    }
}
