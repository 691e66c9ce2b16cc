//! Taking up a pod again after the agent was away: its last report says what had been.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState as ApiState, ContainerStateTerminated, ContainerStatus, PodStatus};

use crate::Now;
use crate::advance::{DEADLINE_EXCEEDED, EVICTED};
use crate::backoff::Backoff;
use crate::container::{ContainerState, Ended, Stage};
use crate::event::Exit;
use crate::plan::{ContainerKind, ContainerPlan, PodPlan};
use crate::resize::Resources;
use crate::state::PodState;

/// Why a run ended that was going on when the agent stopped: no crash.
const AGENT_STOPPED: &str = "Unknown";

impl PodState {
    /// A pod that this node had before. What was running is taken to have ended when the agent did, and runs again if
    /// the restart policy lets it. Follow with [`crate::Event::Tick`].
    pub fn restore(plan: Arc<PodPlan>, status: &PodStatus, now: Now) -> Self {
        let mut state = Self::new(plan, now);
        if let Some(start) = &status.start_time {
            state.start_time = start.0;
            let active = now.wall.as_second().saturating_sub(start.0.as_second());
            let active = Duration::from_secs(u64::try_from(active).unwrap_or(0));
            state.start_mono = now.mono.saturating_sub(active);
        }
        state.ip = status.pod_ip.as_deref().and_then(|ip| ip.parse().ok());
        state.transitions.recall(status.conditions.as_deref().unwrap_or_default());
        state.failure = match status.reason.as_deref() {
            Some("DeadlineExceeded") => Some(DEADLINE_EXCEEDED),
            Some(EVICTED) => Some((EVICTED, status.message.clone().unwrap_or_default().into())),
            _ => None,
        };
        let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
        let reported = || lists.into_iter().flatten().flatten();
        let plan = Arc::clone(&state.plan);
        for (plan_of, container) in plan.containers.iter().zip(&mut state.containers) {
            if let Some(old) = reported().find(|c| c.name == plan_of.name) {
                recall(container, plan_of, old, now);
            }
        }
        // Init containers that were through are not run again: what they prepared is on disk.
        state.initialized = plan
            .containers
            .iter()
            .zip(&state.containers)
            .all(|(p, c)| p.kind != ContainerKind::Init || c.done() == Some(0))
            && status.conditions.iter().flatten().any(|c| c.type_ == "Initialized" && c.status == "True");
        state
    }
}

fn recall(container: &mut ContainerState, plan: &ContainerPlan, old: &ContainerStatus, now: Now) {
    container.attempt = u32::try_from(old.restart_count).unwrap_or(0);
    container.image_id = Some(old.image_id.as_str()).filter(|id| !id.is_empty()).map(Arc::from);
    container.resources = Resources::reported(old);
    let previous = old.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let Some(state) = &old.state else { return };
    // In a back-off the run that failed is over and the next one has not got its number yet.
    let backing_off = waiting_to_restart(state);
    let before = if backing_off { container.attempt } else { container.attempt.saturating_sub(1) };
    container.last = previous.map(|t| ended(before, t, now));
    if container.last.as_ref().is_some_and(|last| last.reason != AGENT_STOPPED) {
        container.crashes = Backoff::after_crashes(container.attempt);
    }
    match state {
        ApiState { running: Some(running), .. } => {
            let exit = Exit { code: 255, out_of_memory: false, message: "the node's agent was stopped".to_owned() };
            let started = running.started_at.as_ref().map(|t| t.0);
            let mut over = Ended::new(container.attempt, exit, started, now.wall);
            over.reason = AGENT_STOPPED.to_owned();
            container.end(over);
        }
        ApiState { terminated: Some(terminated), .. } => {
            let over = ended(container.attempt, terminated, now);
            container.end(over);
        }
        // It waited, and now waits anew for its image, or for what is left of its back-off.
        _ => {
            if let Some(last) = container.last.as_ref().filter(|_| backing_off) {
                let delay = container.crashes.delay();
                let passed = now.wall.as_second().saturating_sub(last.finished.as_second());
                let left = delay.saturating_sub(Duration::from_secs(u64::try_from(passed).unwrap_or(0)));
                container.stage = Stage::Crashed { until: now.mono + left, delay };
            }
            return;
        }
    }
    let code = container.last.as_ref().map_or(0, |last| last.code);
    container.stage = match plan.runs_again(code) {
        true => Stage::Crashed { until: now.mono, delay: Duration::ZERO },
        false => Stage::Done,
    };
}

fn waiting_to_restart(state: &ApiState) -> bool {
    state.waiting.as_ref().is_some_and(|w| w.reason.as_deref() == Some("CrashLoopBackOff"))
}

fn ended(attempt: u32, old: &ContainerStateTerminated, now: Now) -> Ended {
    Ended {
        attempt,
        code: old.exit_code,
        reason: old.reason.clone().unwrap_or_default(),
        message: old.message.clone().unwrap_or_default(),
        started: old.started_at.as_ref().map(|t| t.0),
        finished: old.finished_at.as_ref().map_or(now.wall, |t| t.0),
    }
}
