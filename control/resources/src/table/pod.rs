//! The row of a pod: its state in one word.

use super::duration::Clock;
use serde_json::Value;

use super::access::{age, ago, items, name, number, text, text_or_none};

pub(super) fn cells(pod: &Value, now: Clock) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match summary.restarted {
        Some(at) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, ago(at, now))
        }
        _ => summary.restarts.to_string(),
    };
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.reason.into(),
        restarts.into(),
        age(pod, now),
        text_or_none(&pod["status"]["podIPs"][0]["ip"]).into(),
        text_or_none(&pod["spec"]["nodeName"]).into(),
        text_or_none(&pod["status"]["nominatedNodeName"]).into(),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates.iter().filter(|gate| is_true(pod, text(&gate["conditionType"]))).count();
    format!("{open}/{}", gates.len())
}

fn is_true(pod: &Value, condition: &str) -> bool {
    items(&pod["status"]["conditions"]).iter().any(|c| text(&c["type"]) == condition && text(&c["status"]) == "True")
}

/// What the containers of a pod amount to.
struct Summary<'a> {
    containers: usize,
    ready: usize,
    restarts: i64,
    /// When a container last ended and was started again.
    restarted: Option<&'a Value>,
    reason: String,
}

impl<'a> Summary<'a> {
    fn of(pod: &'a Value) -> Self {
        let sidecars = items(&pod["spec"]["initContainers"]).iter().filter(|c| is_sidecar(c));
        let containers = items(&pod["spec"]["containers"]).len() + sidecars.count();
        let reason = phase_reason(pod);
        let mut summary = Self { containers, ready: 0, restarts: 0, restarted: None, reason };
        let mut sidecars = Restarts::default();
        let initializing = summary.read_init(pod, &mut sidecars);
        if !initializing || is_true(pod, "Initialized") {
            summary.restarts = sidecars.count;
            summary.restarted = sidecars.last;
            summary.read_containers(pod);
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if text(&pod["status"]["reason"]) == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    fn count(&mut self, status: &'a Value) {
        self.restarts += number(&status["restartCount"]);
        self.restarted = later(self.restarted, &status["lastState"]["terminated"]["finishedAt"]);
    }

    /// Reads the init containers up to the first that has not done its work; whether there is such a one.
    fn read_init(&mut self, pod: &'a Value, sidecars: &mut Restarts<'a>) -> bool {
        let specs = items(&pod["spec"]["initContainers"]);
        for (index, status) in items(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
            self.count(status);
            let spec = specs.iter().find(|spec| spec["name"] == status["name"]);
            let sidecar = spec.is_some_and(is_sidecar);
            if sidecar {
                sidecars.count += number(&status["restartCount"]);
                let finished = &status["lastState"]["terminated"]["finishedAt"];
                sidecars.last = later(sidecars.last, finished);
            }
            let terminated = &status["state"]["terminated"];
            let waiting = text(&status["state"]["waiting"]["reason"]);
            if !terminated.is_null() && number(&terminated["exitCode"]) == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            self.reason = if !terminated.is_null() {
                format!("Init:{}", how_ended(terminated))
            } else if !matches!(waiting, "" | "PodInitializing") {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", specs.len())
            };
            return true;
        }
        false
    }

    fn read_containers(&mut self, pod: &'a Value) {
        let mut running = false;
        for status in items(&pod["status"]["containerStatuses"]).iter().rev() {
            self.count(status);
            let state = &status["state"];
            let waiting = text(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if !state["terminated"].is_null() {
                self.reason = how_ended(&state["terminated"]);
            } else if status["ready"] == true && !state["running"].is_null() {
                running = true;
                self.ready += 1;
            }
        }
        // One that has done its work does not make the pod done while another runs.
        if self.reason == "Completed" && running {
            let ready = is_true(pod, "Ready");
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

/// Restarts of init containers that go on beside the others.
#[derive(Default)]
struct Restarts<'a> {
    count: i64,
    last: Option<&'a Value>,
}

fn is_sidecar(container: &Value) -> bool {
    text(&container["restartPolicy"]) == "Always"
}

/// The later of two times; as both are written in UTC to the second, their texts compare.
fn later<'a>(a: Option<&'a Value>, b: &'a Value) -> Option<&'a Value> {
    if b.is_null() || a.is_some_and(|a| text(a) >= text(b)) { a } else { Some(b) }
}

fn phase_reason(pod: &Value) -> String {
    let status = &pod["status"];
    let gated = items(&status["conditions"])
        .iter()
        .any(|condition| text(&condition["type"]) == "PodScheduled" && text(&condition["reason"]) == "SchedulingGated");
    let reason = match text(&status["reason"]) {
        _ if gated => "SchedulingGated",
        "" => text(&status["phase"]),
        reason => reason,
    };
    reason.to_owned()
}

fn how_ended(terminated: &Value) -> String {
    let (reason, signal) = (text(&terminated["reason"]), number(&terminated["signal"]));
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", number(&terminated["exitCode"]))
    }
}
