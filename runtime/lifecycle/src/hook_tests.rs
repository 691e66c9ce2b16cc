//! What is done after a container's start and before its end.

use super::*;

fn hooked(run: Run, hook: HookKind, outcome: Result<(), &str>) -> Event {
    Event::Hooked { run, hook, outcome: outcome.map_err(str::to_owned) }
}

fn with_hooks(hooks: Value) -> Value {
    json!({"containers": [{"name": "c", "image": "x", "lifecycle": hooks,
        "readinessProbe": {"tcpSocket": {"port": 80}}, "ports": [{"name": "http", "containerPort": 80}]}]})
}

#[test]
fn hooks_are_read_or_refused_by_name() {
    let check = |hooks: Value, kind: HookKind, expected: Result<Hook, &str>| {
        let plan = plan(with_hooks(hooks));
        let container = &plan.containers[0];
        match expected {
            Ok(hook) => assert_eq!((container.hook(kind), &container.refusal), (Some(&hook), &None)),
            Err(why) => assert!(container.refusal.as_ref().unwrap().starts_with(why), "{:?}", container.refusal),
        }
    };
    let seconds = Hook::Sleep(Duration::from_secs(3));
    check(json!({"preStop": {"sleep": {"seconds": 3}}}), HookKind::PreStop, Ok(seconds.clone()));
    check(json!({"postStart": {"sleep": {"seconds": 3}}}), HookKind::PostStart, Ok(seconds));
    let get = ProbeAction::HttpGet { host: None, port: 80, path: "/bye".to_owned(), headers: Vec::new() };
    check(json!({"preStop": {"httpGet": {"port": "http", "path": "bye"}}}), HookKind::PreStop, Ok(Hook::Http(get)));
    let exec = json!({"exec": {"command": ["sh"]}});
    check(json!({"preStop": exec}), HookKind::PreStop, Ok(Hook::Exec(vec!["sh".to_owned()])));
    check(json!({"postStart": exec}), HookKind::PostStart, Ok(Hook::Exec(vec!["sh".to_owned()])));
    let tcp = json!({"preStop": {"tcpSocket": {"port": 80}}});
    check(tcp, HookKind::PreStop, Err("lifecycle.preStop: tcpSocket is not supported"));
    let port = json!({"preStop": {"httpGet": {"port": "web"}}});
    check(port, HookKind::PreStop, Err("lifecycle.preStop: no port of the container is named \"web\""));
}

#[test]
fn a_container_runs_once_its_post_start_hook_is_through() {
    let mut life = Life::run(with_hooks(json!({"postStart": {"sleep": {"seconds": 5}}})));
    assert_eq!(life.asked(), [Effect::Prepare, Effect::PostStart(FIRST)], "no probe yet");
    assert_eq!((life.phase().as_str(), life.container("c").as_str()), ("Pending", "waiting ContainerCreating"));
    life.at(5).tell(hooked(FIRST, HookKind::PostStart, Ok(())));
    assert_eq!((life.phase().as_str(), life.container("c").as_str()), ("Running", "running"));
    assert_eq!(life.asked(), [Effect::Probe { run: FIRST, probe: ProbeKind::Readiness }]);
}

#[test]
fn a_post_start_hook_that_fails_ends_the_run() {
    let mut life = Life::run(with_hooks(json!({"postStart": {"httpGet": {"port": 80}}})));
    life.effects.clear();
    life.tell(hooked(FIRST, HookKind::PostStart, Err("connection refused")));
    assert_eq!(
        life.notes(),
        ["FailedPostStartHook: PostStartHook failed: connection refused", "Killing: FailedPostStartHook"]
    );
    assert_eq!(life.asked(), [Effect::Stop { run: FIRST, grace: Duration::from_secs(30) }]);
    life.tell(Event::Exited(FIRST, exit(0)));
    assert_eq!((life.asked(), life.state.attempt(0)), (vec![Effect::FindImage { container: 0 }], Some(1)));
    // A late answer is nobody's concern.
    life.tell(hooked(FIRST, HookKind::PostStart, Ok(())));
    assert_eq!(life.asked(), []);
}

#[test]
fn a_pre_stop_hook_that_fails_is_told_of_and_changes_nothing() {
    let mut life = Life::run(with_hooks(json!({"preStop": {"httpGet": {"port": 80}}})));
    life.tell(Event::Delete { grace: Duration::from_secs(30) });
    life.effects.clear();
    life.tell(hooked(FIRST, HookKind::PreStop, Err("statuscode: 500")));
    assert_eq!(life.notes(), ["FailedPreStopHook: PreStopHook failed: statuscode: 500"]);
    assert_eq!(life.asked(), []);
}
