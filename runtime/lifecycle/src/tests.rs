//! Single lives, told step by step.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use crate::{
    Cause, Effect, Event, Exit, Hook, HookKind, Image, ImageFailure, Now, PodPlan, PodState, ProbeAction, ProbeKind,
    Report, Run, StartFailure, Urgency, urgency,
};

#[path = "ephemeral_tests.rs"]
mod ephemeral;
#[path = "hook_tests.rs"]
mod hooks;
#[path = "probe_tests.rs"]
mod probes;
#[path = "resize_tests.rs"]
mod resized;
#[path = "restore_tests.rs"]
mod restored;

/// A pod with its clock and what it has asked for.
struct Life {
    state: PodState,
    now: Now,
    effects: Vec<Effect>,
}

fn at(seconds: u64) -> Now {
    let wall = Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap();
    Now { wall, mono: Duration::from_secs(seconds) }
}

fn plan(spec: Value) -> Arc<PodPlan> {
    let meta = json!({"name": "p", "namespace": "ns", "uid": "u"});
    let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
    Arc::new(PodPlan::new(&pod))
}

fn image() -> Image {
    Image { id: "pal.local/x@sha256:1".into(), size: 1 }
}

fn exit(code: i32) -> Exit {
    Exit { code, out_of_memory: false, message: String::new() }
}

const FIRST: Run = Run { container: 0, attempt: 0 };

impl Life {
    fn new(spec: Value) -> Self {
        let mut life = Self { state: PodState::new(plan(spec), at(0)), now: at(0), effects: Vec::new() };
        life.tell(Event::Tick);
        life
    }

    fn tell(&mut self, event: Event) -> &mut Self {
        let effects = self.state.step(event, self.now);
        self.effects.extend(effects);
        self
    }

    /// Goes to where every container whose turn it is runs.
    fn run(spec: Value) -> Self {
        let mut life = Self::new(spec);
        life.tell(Event::Prepared { ip: "100.64.0.1".parse().unwrap() });
        while let Some(effect) = life.take_next() {
            match effect {
                Effect::FindImage { container } => life.tell(Event::ImageFound { container, image: image() }),
                Effect::Start(run) => life.tell(Event::Started(run)),
                _ => &mut life,
            };
        }
        life
    }

    fn take_next(&mut self) -> Option<Effect> {
        let wanted = |e: &Effect| matches!(e, Effect::FindImage { .. } | Effect::Start(_));
        let at = self.effects.iter().position(wanted)?;
        Some(self.effects.remove(at))
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = at(seconds);
        self.tell(Event::Tick)
    }

    /// What was asked for since the last time, without events.
    fn asked(&mut self) -> Vec<Effect> {
        let all = std::mem::take(&mut self.effects);
        all.into_iter().filter(|e| !matches!(e, Effect::Note(_))).collect()
    }

    fn notes(&self) -> Vec<String> {
        let notes = self.effects.iter().filter_map(|e| match e {
            Effect::Note(note) => Some(format!("{}: {}", note.reason, note.message)),
            _ => None,
        });
        notes.collect()
    }

    fn status(&self) -> PodStatus {
        self.state.status(&Report { host_ip: "10.0.0.1".parse().unwrap(), scheduled: at(0).wall })
    }

    fn phase(&self) -> String {
        self.status().phase.unwrap()
    }

    /// `waiting CrashLoopBackOff`, `running`, `terminated Completed 0`
    fn container(&self, name: &str) -> String {
        let status = self.status();
        let lists = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
        let state = lists.into_iter().flatten().flatten().find(|c| c.name == name).unwrap().state.clone().unwrap();
        match (state.waiting, state.running, state.terminated) {
            (Some(w), ..) => format!("waiting {}", w.reason.unwrap()),
            (_, Some(_), _) => "running".to_owned(),
            (.., Some(t)) => format!("terminated {} {}", t.reason.unwrap(), t.exit_code),
            _ => "nothing".to_owned(),
        }
    }

    fn condition(&self, name: &str) -> String {
        let conditions = self.status().conditions.unwrap();
        let c = conditions.into_iter().find(|c| c.type_ == name).unwrap();
        [c.status, c.reason.unwrap_or_default(), c.message.unwrap_or_default()].join(" ").trim_end().to_owned()
    }
}

fn one() -> Value {
    json!({"containers": [{"name": "c", "image": "x"}]})
}

fn with(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "x"}]})
}

#[test]
fn a_pod_comes_up_and_is_ready() {
    let mut life = Life::new(one());
    assert_eq!(life.asked(), [Effect::Prepare, Effect::FindImage { container: 0 }]);
    assert_eq!((life.phase().as_str(), life.container("c").as_str()), ("Pending", "waiting ContainerCreating"));
    assert_eq!(life.condition("Ready"), "False ContainersNotReady containers with unready status: [c]");
    assert_eq!(life.condition("PodScheduled"), "True");
    life.tell(Event::ImageFound { container: 0, image: image() });
    assert_eq!(life.asked(), []);
    life.tell(Event::Prepared { ip: "100.64.0.1".parse().unwrap() });
    assert_eq!(life.asked(), [Effect::Start(FIRST)]);
    let before = life.status();
    life.tell(Event::Started(FIRST));
    assert_eq!((life.phase().as_str(), life.container("c").as_str()), ("Running", "running"));
    for condition in ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(life.condition(condition), "True", "{condition}");
    }
    let status = life.status();
    assert_eq!(status.pod_ip.as_deref(), Some("100.64.0.1"));
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(
        (container.image_id.as_str(), container.ready, container.started),
        ("pal.local/x@sha256:1", true, Some(true))
    );
    assert_eq!(container.container_id.as_deref(), Some("pal://u/c/0"));
    for (old, new, ends, expected) in [
        (Some(&before), &status, false, Urgency::Now),
        (Some(&before), &status, true, Urgency::Later),
        (None, &status, true, Urgency::Later),
        (Some(&status), &before, true, Urgency::Now),
        (Some(&status), &status, true, Urgency::None),
        (None, &before, true, Urgency::Soon),
    ] {
        assert_eq!(urgency(old, new, ends), expected);
    }
    assert_eq!(life.state.deadline(), None, "an idle pod has no timer");
}

#[test]
fn restart_policies_decide_on_what_has_ended() {
    let check = |policy: &str, code: i32, phase: &str, container: &str| {
        let mut life = Life::run(with(policy));
        life.tell(Event::Exited(FIRST, exit(code)));
        assert_eq!((life.phase().as_str(), life.container("c").as_str()), (phase, container), "{policy} {code}");
    };
    check("Always", 0, "Running", "waiting ContainerCreating");
    check("Always", 1, "Running", "waiting ContainerCreating");
    check("OnFailure", 0, "Succeeded", "terminated Completed 0");
    check("OnFailure", 3, "Running", "waiting ContainerCreating");
    check("Never", 0, "Succeeded", "terminated Completed 0");
    check("Never", 3, "Failed", "terminated Error 3");
}

#[test]
fn crashes_are_backed_off_and_counted() {
    let mut life = Life::run(with("Always"));
    let mut second = 0;
    for (attempt, delay) in [(0, 0), (1, 10), (2, 20)] {
        let run = Run { container: 0, attempt };
        life.effects.clear();
        life.tell(Event::Exited(run, exit(1)));
        if delay > 0 {
            assert_eq!(life.container("c"), "waiting CrashLoopBackOff");
            assert_eq!(life.notes(), ["BackOff: Back-off restarting failed container c in pod p_ns(u)"]);
            assert_eq!(life.state.deadline(), Some(Duration::from_secs(second + delay)));
            life.at(second + delay - 1);
            assert!(!life.asked().contains(&Effect::FindImage { container: 0 }));
            life.at(second + delay);
        }
        second += delay;
        assert_eq!(life.asked(), [Effect::FindImage { container: 0 }]);
        let run = Run { container: 0, attempt: attempt + 1 };
        life.tell(Event::ImageFound { container: 0, image: image() }).tell(Event::Started(run));
    }
    let container = life.status().container_statuses.unwrap().remove(0);
    assert_eq!(container.restart_count, 3);
    let last = container.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.container_id.as_deref()), (1, Some("pal://u/c/2")));
}

#[test]
fn out_of_memory_and_traps_say_so() {
    let mut life = Life::run(with("Never"));
    let end = Exit { code: 137, out_of_memory: true, message: String::new() };
    life.tell(Event::Exited(FIRST, end));
    assert_eq!(life.container("c"), "terminated OOMKilled 137");
    let mut life = Life::run(with("Never"));
    let end = Exit { code: 134, out_of_memory: false, message: "wasm trap: unreachable".to_owned() };
    life.tell(Event::Exited(FIRST, end));
    let state = life.status().container_statuses.unwrap().remove(0).state.unwrap();
    assert_eq!(state.terminated.unwrap().message.as_deref(), Some("wasm trap: unreachable"));
    assert_eq!(life.condition("Ready"), "False PodFailed");
}

#[test]
fn an_end_is_told_of_when_a_run_was_broken_off_and_not_for_what_a_program_leaves_to_say() {
    let check = |code: i32, message: &str, expected: &[&str]| {
        let mut life = Life::run(with("Never"));
        life.effects.clear();
        life.tell(Event::Exited(FIRST, Exit { code, out_of_memory: false, message: message.to_owned() }));
        assert_eq!(life.notes(), expected, "{code} {message}");
    };
    check(0, "42 rows", &[]);
    check(3, "no such table", &[]);
    check(134, "wasm trap: unreachable", &["Failed: Container c ended: wasm trap: unreachable"]);
    check(137, "no time left", &["Failed: Container c ended: no time left"]);
    check(137, "", &[]);
}

#[test]
fn init_containers_run_in_order_and_a_sidecar_stays_up() {
    let spec = json!({"restartPolicy": "OnFailure", "initContainers": [
        {"name": "a", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always"}, {"name": "b", "image": "x"},
    ], "containers": [{"name": "c", "image": "x"}]});
    let mut life = Life::run(spec);
    assert_eq!(life.container("a"), "running");
    assert_eq!(life.container("c"), "waiting PodInitializing");
    assert_eq!(
        life.condition("Initialized"),
        "False ContainersNotInitialized containers with incomplete status: [a s b]"
    );
    life.asked();
    life.tell(Event::Exited(FIRST, exit(0)));
    assert_eq!(life.asked(), [Effect::FindImage { container: 1 }]);
    let sidecar = Run { container: 1, attempt: 0 };
    life.tell(Event::ImageFound { container: 1, image: image() }).tell(Event::Started(sidecar));
    life.asked();
    let b = Run { container: 2, attempt: 0 };
    life.tell(Event::ImageFound { container: 2, image: image() })
        .tell(Event::Started(b))
        .tell(Event::Exited(b, exit(0)));
    let main = Run { container: 3, attempt: 0 };
    life.tell(Event::ImageFound { container: 3, image: image() }).tell(Event::Started(main));
    assert_eq!((life.phase().as_str(), life.condition("Ready").as_str()), ("Running", "True"));
    life.asked();
    life.tell(Event::Exited(main, exit(0)));
    assert_eq!(life.asked(), [Effect::Stop { run: sidecar, grace: Duration::from_secs(30) }]);
    assert_eq!(life.phase(), "Running", "the sidecar still runs");
    life.tell(Event::Exited(sidecar, exit(143)));
    assert_eq!((life.phase().as_str(), life.asked()), ("Succeeded", vec![Effect::CleanUp]));
    assert_eq!(life.condition("Ready"), "False PodCompleted");
    assert_eq!(life.condition("ContainersReady"), "False PodCompleted");
    assert_eq!(life.condition("Initialized"), "True PodCompleted");
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "a", "image": "x"}],
        "containers": [{"name": "c", "image": "x"}]});
    let mut life = Life::run(spec);
    life.tell(Event::Exited(FIRST, exit(1)));
    assert_eq!((life.phase().as_str(), life.container("c").as_str()), ("Failed", "waiting PodInitializing"));
}

#[test]
fn an_image_that_cannot_be_had_is_tried_again_and_told_of() {
    let mut life = Life::new(one());
    life.tell(Event::ImageAbsent { container: 0 });
    assert!(life.asked().contains(&Effect::PullImage { container: 0 }));
    let failure = ImageFailure { cause: Cause::ErrImagePull, message: "image x is not found".to_owned() };
    life.tell(Event::ImageFailed { container: 0, failure });
    assert_eq!(life.container("c"), "waiting ErrImagePull");
    assert_eq!(
        life.notes(),
        ["Failed: Failed to pull image \"x\": image x is not found", "Failed: Error: ErrImagePull"]
    );
    life.at(2);
    assert_eq!(life.container("c"), "waiting ImagePullBackOff");
    life.asked();
    life.at(10);
    assert_eq!(life.asked(), [Effect::FindImage { container: 0 }]);
    let failure = ImageFailure { cause: Cause::InvalidImageName, message: "./x".to_owned() };
    life.tell(Event::ImageFailed { container: 0, failure });
    life.at(13);
    assert_eq!(life.container("c"), "waiting InvalidImageName");
}

#[test]
fn pull_policies() {
    let check = |policy: &str, expected: Effect| {
        let spec = json!({"containers": [{"name": "c", "image": "x", "imagePullPolicy": policy}]});
        assert_eq!(Life::new(spec).asked()[1], expected);
    };
    check("Always", Effect::PullImage { container: 0 });
    check("IfNotPresent", Effect::FindImage { container: 0 });
    check("Never", Effect::FindImage { container: 0 });
    let mut life = Life::new(json!({"containers": [{"name": "c", "image": "x", "imagePullPolicy": "Never"}]}));
    life.tell(Event::ImageAbsent { container: 0 });
    assert_eq!(life.container("c"), "waiting ErrImageNeverPull");
}

#[test]
fn what_cannot_be_created_waits_with_its_reason() {
    let mut life = Life::new(one());
    life.tell(Event::Prepared { ip: "100.64.0.1".parse().unwrap() });
    life.tell(Event::ImageFound { container: 0, image: image() });
    life.effects.clear();
    let message = "nothing provides wasi:nn/graph@0.2.0".to_owned();
    let failure = StartFailure::NotCreated { cause: Cause::CreateContainerError, message: message.clone() };
    life.tell(Event::StartFailed(FIRST, failure));
    assert_eq!(life.container("c"), "waiting CreateContainerError");
    assert_eq!(life.notes(), [format!("Failed: Error: {message}")]);
    life.asked();
    life.at(10);
    assert_eq!(life.asked(), [Effect::FindImage { container: 0 }]);
    assert_eq!(life.state.attempt(0), Some(0), "what never ran was not restarted");
}

#[test]
fn what_belongs_to_the_node_is_refused_by_name() {
    let check = |pod: Value, port: Value, expected: &str| {
        let mut spec = json!({"containers": [{"name": "c", "image": "x", "ports": [port]}]});
        spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        let life = Life::new(spec);
        let state = life.status().container_statuses.unwrap().remove(0).state.unwrap();
        let waiting = state.waiting.unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("CreateContainerConfigError"));
        assert!(waiting.message.as_ref().unwrap().starts_with(expected), "{waiting:?}");
        assert!(life.notes()[0].starts_with(&format!("Failed: Error: {expected}")), "{:?}", life.notes());
    };
    let port = json!({"containerPort": 80});
    // With hostNetwork the API gives each port its hostPort.
    let both = json!({"containerPort": 80, "hostPort": 80});
    check(json!({"hostNetwork": true}), both, "hostNetwork is not supported");
    check(json!({"hostPID": true}), port.clone(), "hostPID is not supported");
    check(json!({"hostIPC": true}), port, "hostIPC is not supported");
    let datagrams = json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"});
    check(json!({}), datagrams, "hostPort 80 is not supported for UDP");
}

#[test]
fn a_pod_whose_port_another_has_is_not_taken() {
    let mut life = Life::new(one());
    life.tell(Event::PortsTaken).tell(Event::Prepared { ip: "100.64.0.1".parse().unwrap() });
    let status = life.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("NodePorts")));
    assert!(status.message.unwrap().starts_with("Pod was rejected: Predicate NodePorts failed: node(s) didn't"));
    assert_eq!(
        life.notes(),
        ["NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"]
    );
}

#[test]
fn a_deleted_pod_ends_within_its_grace_and_lets_go() {
    let mut life = Life::run(one());
    life.asked();
    life.tell(Event::Delete { grace: Duration::from_secs(30) });
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::from_secs(30) }]);
    assert_eq!(life.condition("Ready"), "True", "it serves on until it has ended");
    life.at(5);
    life.tell(Event::Delete { grace: Duration::from_secs(1) });
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::from_secs(1) }]);
    life.tell(Event::Exited(FIRST, exit(0)));
    assert_eq!(life.asked(), [Effect::CleanUp]);
    life.tell(Event::CleanedUp);
    assert_eq!((life.asked(), life.phase().as_str()), (vec![Effect::Remove], "Succeeded"));
    life.at(6);
    assert_eq!(life.asked(), []);
    life.tell(Event::Gone);
    assert!(life.state.is_over());
}

#[test]
fn a_pod_that_vanishes_is_ended_without_a_word_to_the_api() {
    let mut life = Life::run(one());
    life.asked();
    life.tell(Event::Gone);
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::ZERO }]);
    life.tell(Event::Exited(FIRST, exit(143)));
    life.tell(Event::CleanedUp);
    assert_eq!(life.asked(), [Effect::CleanUp]);
    assert!(life.state.is_over());
}

#[test]
fn a_pod_over_its_time_fails() {
    let mut life = Life::run(json!({"activeDeadlineSeconds": 60, "containers": [{"name": "c", "image": "x"}]}));
    assert_eq!(life.state.deadline(), Some(Duration::from_secs(60)));
    life.effects.clear();
    life.at(60);
    assert_eq!(life.notes()[0], "DeadlineExceeded: Pod was active on the node longer than the specified deadline");
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::from_secs(30) }]);
    life.at(61);
    assert_eq!(life.notes(), Vec::<String>::new(), "it is told once");
    let status = life.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Running"), None), "it has not ended yet");
    life.tell(Event::Exited(FIRST, exit(143)));
    let status = life.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("DeadlineExceeded")));
}

#[test]
fn a_pod_that_takes_too_much_of_the_disk_fails() {
    let mut life = Life::run(one());
    life.effects.clear();
    life.tell(Event::Exceeded("too much".to_owned()));
    assert_eq!(life.notes()[0], "Evicted: too much");
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::from_secs(1) }]);
    life.tell(Event::Exceeded("still".to_owned()));
    life.tell(Event::Exited(FIRST, exit(143)));
    assert_eq!(life.asked(), [Effect::CleanUp], "it is told once, and nothing runs again");
    let status = life.status();
    let told = [status.phase.as_deref(), status.reason.as_deref(), status.message.as_deref()];
    assert_eq!(told, [Some("Failed"), Some("Evicted"), Some("too much")]);
    let restored = PodState::restore(life.state.plan().clone(), &status, life.now);
    assert_eq!(restored.failure, life.state.failure);
}

#[test]
fn another_image_restarts_the_container() {
    let mut life = Life::run(one());
    life.asked();
    life.tell(Event::Updated(plan(json!({"containers": [{"name": "c", "image": "y"}]}))));
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::from_secs(30) }]);
    // Until it has stopped it serves, and that it is gone for a moment need not be told.
    assert_eq!(life.condition("Ready"), "True");
    let before = life.status();
    life.tell(Event::Exited(FIRST, exit(143)));
    assert_eq!((life.asked(), life.state.attempt(0)), (vec![Effect::FindImage { container: 0 }], Some(1)));
    let after = life.status();
    assert!(life.condition("Ready").starts_with("False"));
    assert_eq!(urgency(Some(&before), &after, false), Urgency::Soon);
}

#[test]
fn readiness_gates_wait_for_conditions_of_others() {
    let mut life = Life::run(
        json!({"readinessGates": [{"conditionType": "example.com/ok"}], "containers": [{"name": "c", "image": "x"}]}),
    );
    assert_eq!(life.condition("ContainersReady"), "True");
    assert!(life.condition("Ready").starts_with("False ReadinessGatesNotReady"));
    life.tell(Event::Gates(vec![true]));
    assert_eq!(life.condition("Ready"), "True");
}
