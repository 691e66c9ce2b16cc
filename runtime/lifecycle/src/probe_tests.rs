//! What probes lead to.

use super::*;

fn probed(run: Run, probe: ProbeKind, good: bool) -> Event {
    Event::Probed { run, probe, outcome: if good { Ok(None) } else { Err("statuscode: 500".to_owned()) } }
}

#[test]
fn a_probe_that_cannot_be_done_is_refused_by_name() {
    let life = Life::run(json!({"containers": [{"name": "c", "image": "x", "livenessProbe": {"grpc": {"port": 1}}}]}));
    assert_eq!(life.container("c"), "waiting CreateContainerConfigError");
    let state = life.status().container_statuses.unwrap().remove(0).state.unwrap();
    let message = state.waiting.unwrap().message.unwrap();
    assert!(message.starts_with("livenessProbe: grpc is not supported"), "{message}");
}

#[test]
fn who_fails_its_startup_probe_is_killed_in_its_name() {
    let startup = json!({"httpGet": {"port": 8080}, "failureThreshold": 1});
    let mut life = Life::run(json!({"containers": [{"name": "c", "image": "x", "startupProbe": startup}]}));
    life.tell(probed(FIRST, ProbeKind::Startup, false));
    assert!(life.notes().contains(&"Killing: Container c failed startup probe, will be restarted".to_owned()));
}

#[test]
fn what_is_odd_about_a_probe_is_told_and_fails_nothing() {
    let liveness = json!({"httpGet": {"port": 8080}, "failureThreshold": 1});
    let mut life = Life::run(json!({"containers": [{"name": "c", "image": "x", "livenessProbe": liveness}]}));
    life.tell(Event::Probed { run: FIRST, probe: ProbeKind::Liveness, outcome: Ok(Some("odd")) });
    assert_eq!(life.notes().last().map(String::as_str), Some("ProbeWarning: Liveness probe warning: odd"));
    assert_eq!(life.container("c"), "running");
}

#[test]
fn readiness_gates_traffic_by_its_thresholds() {
    let probe = json!({"httpGet": {"port": 8080}, "periodSeconds": 5, "failureThreshold": 2, "initialDelaySeconds": 3});
    let mut life = Life::run(json!({"containers": [{"name": "c", "image": "x", "readinessProbe": probe}]}));
    let effect = Effect::Probe { run: FIRST, probe: ProbeKind::Readiness };
    assert_eq!(life.condition("Ready"), "False ContainersNotReady containers with unready status: [c]");
    assert_eq!(life.state.deadline(), Some(Duration::from_secs(3)));
    life.asked();
    life.at(3);
    assert_eq!(life.asked(), std::slice::from_ref(&effect));
    assert_eq!(life.state.deadline(), None, "one at a time");
    life.tell(probed(FIRST, ProbeKind::Readiness, true));
    assert_eq!(life.condition("Ready"), "True");
    life.at(8).tell(probed(FIRST, ProbeKind::Readiness, false));
    assert_eq!(life.condition("Ready"), "True", "once is not enough");
    assert_eq!(life.notes(), ["Unhealthy: Readiness probe failed: statuscode: 500"]);
    life.at(13).tell(probed(FIRST, ProbeKind::Readiness, false));
    assert_eq!(life.condition("ContainersReady"), "False ContainersNotReady containers with unready status: [c]");
    assert_eq!(life.container("c"), "running");
}

#[test]
fn liveness_waits_for_startup_and_then_restarts() {
    let liveness = json!({"tcpSocket": {"port": "http"}, "failureThreshold": 1, "periodSeconds": 1});
    let startup = json!({"httpGet": {"port": 8080}, "periodSeconds": 1});
    let mut life = Life::run(json!({"containers": [{"name": "c", "image": "x", "livenessProbe": liveness,
        "startupProbe": startup, "ports": [{"name": "http", "containerPort": 8080}]}]}));
    assert_eq!(life.asked(), [Effect::Prepare, Effect::Probe { run: FIRST, probe: ProbeKind::Startup }]);
    assert_eq!(life.condition("Ready"), "False ContainersNotReady containers with unready status: [c]");
    life.tell(probed(FIRST, ProbeKind::Startup, true));
    assert_eq!(life.condition("Ready"), "True");
    assert_eq!(life.asked(), [Effect::Probe { run: FIRST, probe: ProbeKind::Liveness }]);
    life.tell(probed(FIRST, ProbeKind::Liveness, false));
    assert!(life.notes().contains(&"Killing: Container c failed liveness probe, will be restarted".to_owned()));
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::from_secs(30) }]);
    life.tell(Event::Exited(FIRST, exit(0)));
    assert_eq!((life.asked(), life.state.attempt(0)), (vec![Effect::FindImage { container: 0 }], Some(1)));
    // What an earlier run answers is nobody's concern.
    life.tell(probed(FIRST, ProbeKind::Liveness, false));
    assert_eq!(life.asked(), []);
}
