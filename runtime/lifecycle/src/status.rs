//! What the API is told of a pod.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::advance::back_off_message;
use crate::conditions::whole_seconds;
use crate::container::{ContainerState, Ended, Stage};
use crate::plan::{ContainerKind, ContainerPlan};
use crate::state::PodState;

/// What of a status is not the machine's to know.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The node's address.
    pub host_ip: IpAddr,
    /// Since when the pod is bound.
    pub scheduled: Timestamp,
}

impl PodState {
    /// The status as it is to be written.
    pub fn status(&self, report: &Report) -> PodStatus {
        let of = |list: &str| -> Option<Vec<ContainerStatus>> {
            let pairs = self.plan.containers.iter().zip(&self.containers);
            let list: Vec<_> =
                pairs.filter(|(p, _)| p.kind.list() == list).map(|(p, s)| self.container_status(p, s)).collect();
            (!list.is_empty()).then_some(list)
        };
        let ip = self.ip.map(|ip| ip.to_string());
        let host_ip = report.host_ip.to_string();
        let failure = self.failure.as_ref().filter(|_| !self.busy());
        PodStatus {
            phase: Some(self.shown_phase().as_str().to_owned()),
            observed_generation: self.plan.generation,
            conditions: Some(self.conditions(report.scheduled)),
            container_statuses: of(ContainerKind::Main.list()),
            init_container_statuses: of(ContainerKind::Init.list()),
            ephemeral_container_statuses: of(ContainerKind::Ephemeral.list()),
            host_ips: Some(vec![HostIP { ip: host_ip.clone() }]),
            host_ip: Some(host_ip),
            pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
            pod_ip: ip,
            start_time: Some(Time(whole_seconds(self.start_time))),
            reason: failure.map(|(reason, _)| (*reason).to_owned()),
            message: failure.map(|(_, message)| message.clone().into_owned()),
            ..PodStatus::default()
        }
    }

    fn container_status(&self, plan: &ContainerPlan, state: &ContainerState) -> ContainerStatus {
        let ran = state.up();
        let id = |attempt: u32| format!("pal://{}/{}/{attempt}", self.plan.uid, plan.name);
        let last_state = match state.stage {
            Stage::Done => state.before.as_ref(),
            _ => state.last.as_ref(),
        };
        let mut status = ContainerStatus {
            name: plan.name.clone(),
            image: plan.image.clone(),
            image_id: state.image_id.as_deref().unwrap_or_default().to_owned(),
            container_id: match (ran, &state.last) {
                (true, _) => Some(id(state.attempt)),
                (false, Some(last)) => Some(id(last.attempt)),
                (false, None) => None,
            },
            ready: match plan.kind {
                ContainerKind::Init => state.done() == Some(0),
                ContainerKind::Ephemeral => false,
                _ => state.ready(plan),
            },
            started: (plan.kind != ContainerKind::Ephemeral).then(|| state.started(plan)),
            restart_count: i32::try_from(state.shown_restarts()).unwrap_or(i32::MAX),
            state: Some(self.container_state(plan, state)),
            last_state: Some(last_state.map(|ended| terminated(ended, id(ended.attempt))).unwrap_or_default()),
            ..ContainerStatus::default()
        };
        if let Some(resources) = &state.resources {
            resources.show(&mut status);
        }
        status
    }

    fn container_state(&self, plan: &ContainerPlan, state: &ContainerState) -> ApiState {
        let waiting = |reason: &str, message: Option<String>| ApiState {
            waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
            ..ApiState::default()
        };
        let coming_up = || {
            let inits = self.plan.containers.iter().any(|c| c.kind.list() == ContainerKind::Init.list());
            let first_init = inits && self.plan.containers[0].name == plan.name;
            waiting(if inits && !first_init { "PodInitializing" } else { "ContainerCreating" }, None)
        };
        match &state.stage {
            Stage::Idle | Stage::Finding | Stage::Pulling | Stage::ImageReady | Stage::Starting { .. } => coming_up(),
            Stage::Running { .. } if state.hooking => coming_up(),
            Stage::NoImage { cause, message, shown_until: Some(_), .. } => {
                waiting(cause.as_str(), Some(message.clone()))
            }
            Stage::NoImage { cause: cause @ crate::Cause::ErrImagePull, message, .. } => {
                waiting("ImagePullBackOff", Some(back_off_message(&plan.image, *cause, message)))
            }
            Stage::NoImage { cause, message, .. } | Stage::NotCreated { cause, message, .. } => {
                waiting(cause.as_str(), Some(message.clone()))
            }
            Stage::Crashed { delay, .. } => {
                let time = duration(*delay);
                let message =
                    format!("back-off {time} restarting failed container={} pod={}", plan.name, self.plan.label);
                waiting("CrashLoopBackOff", Some(message))
            }
            Stage::Running { since, .. } => ApiState {
                running: Some(ContainerStateRunning { started_at: Some(Time(whole_seconds(*since))) }),
                ..ApiState::default()
            },
            Stage::Done => match &state.last {
                Some(ended) => terminated(ended, format!("pal://{}/{}/{}", self.plan.uid, plan.name, ended.attempt)),
                None => ApiState::default(),
            },
        }
    }
}

impl ContainerState {
    /// A restart counts once the run is over that it replaces and the next one is due.
    fn shown_restarts(&self) -> u32 {
        self.attempt
    }
}

fn terminated(ended: &Ended, container_id: String) -> ApiState {
    ApiState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(container_id),
            exit_code: ended.code,
            reason: Some(ended.reason.clone()),
            message: (!ended.message.is_empty()).then(|| ended.message.clone()),
            started_at: ended.started.map(|at| Time(whole_seconds(at))),
            finished_at: Some(Time(whole_seconds(ended.finished))),
            signal: None,
        }),
        ..ApiState::default()
    }
}

/// As Go prints a duration, to the millisecond: `10s`, `1m20s`, `2.534s`, `43ms`.
pub(crate) fn duration(length: Duration) -> String {
    let (minutes, ms) = (length.as_secs() / 60, length.as_millis() % 60_000);
    if minutes == 0 && (1..1000).contains(&ms) {
        return format!("{ms}ms");
    }
    let seconds = match ms % 1000 {
        0 => format!("{}s", ms / 1000),
        rest => format!("{}.{}s", ms / 1000, format!("{rest:03}").trim_end_matches('0')),
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        let check = |ms, expected: &str| assert_eq!(duration(Duration::from_millis(ms)), expected);
        check(0, "0s");
        check(43, "43ms");
        check(2_534, "2.534s");
        check(10_500, "10.5s");
        check(300_000, "5m0s");
        check(60_020, "1m0.02s");
        check(3_605_000, "1h0m5s");
    }
}
