//! What is due: looks at the state alone, so that calling it again changes nothing.

use std::borrow::Cow;
use std::time::Duration;

use crate::Now;
use crate::container::{Stage, StopCause};
use crate::event::{Cause, Effect, Run};
use crate::plan::{ContainerKind, ProbeKind, PullPolicy};
use crate::state::{Effects, Failure, Ground, PodState};

/// Reason and message of a pod that was active for too long.
pub(crate) const DEADLINE_EXCEEDED: Failure =
    ("DeadlineExceeded", Cow::Borrowed("Pod was active on the node longer than the specified deadline"));
/// Of one that asks for a port of the node which another pod has.
pub(crate) const PORTS_TAKEN: Failure = (
    "NodePorts",
    Cow::Borrowed(
        "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    ),
);
/// Reason of one that used more of the node's disk than it may.
pub(crate) const EVICTED: &str = "Evicted";
/// What its containers have to end in; kubelet gives as much.
const EVICTION_GRACE: Duration = Duration::from_secs(1);

impl PodState {
    pub(crate) fn advance(&mut self, now: Now, out: &mut Effects) {
        self.check_active_deadline(now, out);
        if self.must_end() {
            return self.wind_down(now, out);
        }
        if matches!(self.ground, Ground::Wanted { at } if at <= now.mono) {
            self.ground = Ground::Asked;
            out.push(Effect::Prepare);
        }
        for i in 0..self.containers.len() {
            if self.eligible(i) {
                self.drive(i, now, out);
            }
        }
        if !self.initialized && (0..self.containers.len()).all(|i| self.lets_next_start(i)) {
            self.initialized = true;
            // The others' turn has come.
            self.advance(now, out);
        }
    }

    fn check_active_deadline(&mut self, now: Now, out: &mut Effects) {
        let Some(limit) = self.plan.active_deadline else { return };
        if now.mono >= self.start_mono + limit && !self.must_end() {
            self.failure = Some(DEADLINE_EXCEEDED);
            out.normal(None, DEADLINE_EXCEEDED.0, DEADLINE_EXCEEDED.1.into_owned());
        }
    }

    /// Stops what runs, sidecars last, then gives back what the pod has, then lets the object go.
    fn wind_down(&mut self, now: Now, out: &mut Effects) {
        let others_busy = self
            .containers
            .iter()
            .zip(&self.plan.containers)
            .any(|(state, plan)| plan.kind != ContainerKind::Sidecar && state.busy());
        for i in 0..self.containers.len() {
            if self.plan.containers[i].kind != ContainerKind::Sidecar || !others_busy {
                self.stop(i, StopCause::PodEnds, now, out);
            }
        }
        // A request for the ground that is under way has to come back first, or what it brings would be lost.
        if !self.busy() && matches!(self.ground, Ground::Wanted { .. } | Ground::Ready) {
            self.ground = Ground::Releasing;
            out.push(Effect::CleanUp);
        }
        let released = self.ground == Ground::Released;
        if let Some(ending) = self.ending.as_mut().filter(|e| released && !e.removed && !self.gone) {
            ending.removed = true;
            out.push(Effect::Remove);
        }
    }

    /// Asks the container to stop, once.
    pub(crate) fn stop(&mut self, index: usize, cause: StopCause, now: Now, out: &mut Effects) {
        let grace = match (&self.ending, self.gone) {
            (_, true) => Duration::ZERO,
            (Some(ending), _) => ending.deadline.saturating_sub(now.mono),
            (None, _) if matches!(self.failure, Some((EVICTED, _))) => EVICTION_GRACE,
            (None, _) => self.plan.grace,
        };
        let container = &mut self.containers[index];
        let stop = match &mut container.stage {
            Stage::Starting { stop } | Stage::Running { stop, .. } => stop,
            // It waits for something and will not be run again.
            _ => return,
        };
        if let Some(earlier) = stop {
            // A pod that ends overrides a restart that is under way; the run was asked to stop already.
            if cause == StopCause::PodEnds {
                *earlier = cause;
            }
            return;
        }
        *stop = Some(cause);
        let run = Run { container: index, attempt: container.attempt };
        let name = &self.plan.containers[index].name;
        let message = match cause {
            StopCause::PodEnds => format!("Stopping container {name}"),
            StopCause::Unhealthy(ProbeKind::Startup) => {
                format!("Container {name} failed startup probe, will be restarted")
            }
            StopCause::Unhealthy(_) => format!("Container {name} failed liveness probe, will be restarted"),
            StopCause::Unhooked => "FailedPostStartHook".to_owned(),
            StopCause::Changed => format!("Container {name} definition changed, will be restarted"),
            StopCause::Resized => format!("Container {name} resize requires restart"),
        };
        out.normal(Some(index), "Killing", message);
        out.push(Effect::Stop { run, grace });
    }

    /// One container whose turn it is.
    fn drive(&mut self, i: usize, now: Now, out: &mut Effects) {
        if let Stage::Crashed { until, .. } = self.containers[i].stage
            && until <= now.mono
        {
            self.containers[i].attempt = self.containers[i].attempt.saturating_add(1);
            self.containers[i].stage = Stage::Idle;
        }
        match &mut self.containers[i].stage {
            Stage::NoImage { until, .. } if *until <= now.mono => self.containers[i].stage = Stage::Idle,
            Stage::NotCreated { until, .. } if *until <= now.mono => self.containers[i].stage = Stage::Idle,
            Stage::NoImage { shown_until, cause, message, .. } if shown_until.is_some_and(|at| at <= now.mono) => {
                *shown_until = None;
                let text = back_off_message(&self.plan.containers[i].image, *cause, message);
                out.normal(Some(i), "BackOff", text);
            }
            _ => {}
        }
        match &self.containers[i].stage {
            Stage::Idle => self.look_for_image(i, now, out),
            Stage::ImageReady if self.ground == Ground::Ready => {
                self.containers[i].stage = Stage::Starting { stop: None };
                out.push(Effect::Start(Run { container: i, attempt: self.containers[i].attempt }));
            }
            Stage::Running { stop: None, .. } => {
                self.probe(i, now, out);
                self.retry_resize(i, now, out);
            }
            _ => {}
        }
    }

    fn look_for_image(&mut self, i: usize, now: Now, out: &mut Effects) {
        let plan = &self.plan.containers[i];
        if let Some(refusal) = plan.refusal.clone() {
            // Only a new manifest changes that; it comes as an event.
            let until = now.mono + Duration::from_secs(3600);
            let cause = Cause::CreateContainerConfigError;
            out.warning(Some(i), "Failed", format!("Error: {refusal}"));
            self.containers[i].stage = Stage::NotCreated { cause, message: refusal, until };
        } else if plan.pull == PullPolicy::Always {
            self.pull(i, out);
        } else {
            self.containers[i].stage = Stage::Finding;
            out.push(Effect::FindImage { container: i });
        }
    }

    pub(crate) fn pull(&mut self, i: usize, out: &mut Effects) {
        out.normal(Some(i), "Pulling", format!("Pulling image {:?}", self.plan.containers[i].image));
        self.containers[i].stage = Stage::Pulling;
        out.push(Effect::PullImage { container: i });
    }

    fn probe(&mut self, i: usize, now: Now, out: &mut Effects) {
        let run = Run { container: i, attempt: self.containers[i].attempt };
        for probe in ProbeKind::ALL {
            if self.containers[i].probes[probe as usize].as_mut().is_some_and(|p| p.take_due(now.mono)) {
                out.push(Effect::Probe { run, probe });
            }
        }
    }
}

/// What `ImagePullBackOff` says.
pub(crate) fn back_off_message(image: &str, cause: Cause, message: &str) -> String {
    format!("Back-off pulling image {image:?}: {}: {message}", cause.as_str())
}
