//! Containers that come to a pod later.

use super::*;

/// A pod with one container of its own and those that came later.
fn debugged(policy: &str, later: &[&str]) -> Value {
    let later: Vec<Value> = later.iter().map(|name| json!({"name": name, "image": "tools"})).collect();
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "x"}], "ephemeralContainers": later})
}

impl Life {
    /// Takes a manifest in and lets come up what has come.
    fn update(&mut self, spec: Value) -> &mut Self {
        self.tell(Event::Updated(plan(spec)));
        while let Some(effect) = self.take_next() {
            match effect {
                Effect::FindImage { container } => self.tell(Event::ImageFound { container, image: image() }),
                Effect::Start(run) => self.tell(Event::Started(run)),
                _ => self,
            };
        }
        self
    }
}

const LATER: Run = Run { container: 1, attempt: 0 };

#[test]
fn a_container_that_comes_later_runs_once_beside_the_others() {
    let mut life = Life::run(debugged("Always", &[]));
    life.asked();
    life.update(debugged("Always", &["debug"]));
    assert_eq!((life.container("c"), life.container("debug")), ("running".into(), "running".into()));
    assert_eq!(life.asked(), [], "the others were left alone");
    life.tell(Event::Exited(LATER, exit(3)));
    assert_eq!(life.container("debug"), "terminated Error 3");
    life.at(1000);
    assert_eq!(life.asked(), [], "it is not run again");
    assert_eq!((life.phase(), life.condition("Ready")), ("Running".to_owned(), "True".to_owned()));
    let status = life.status().ephemeral_container_statuses.unwrap().remove(0);
    assert_eq!((status.ready, status.started, status.restart_count), (false, None, 0));
    life.update(debugged("Always", &["debug", "more"]));
    assert_eq!((life.container("debug"), life.container("more")), ("terminated Error 3".into(), "running".into()));
}

#[test]
fn it_does_not_keep_a_pod_up_nor_wait_for_one_to_come_up() {
    let mut life = Life::run(debugged("Never", &["debug"]));
    life.asked();
    life.tell(Event::Exited(FIRST, exit(0)));
    assert_eq!(life.asked(), [Effect::Stop { run: LATER, grace: Duration::from_secs(30) }]);
    assert_eq!(life.phase(), "Running", "something of it still runs");
    life.tell(Event::Exited(LATER, exit(143)));
    assert_eq!(life.phase(), "Succeeded");

    let mut spec = debugged("Always", &["debug"]);
    spec["initContainers"] = json!([{"name": "i", "image": "x"}]);
    let life = Life::run(spec);
    assert_eq!((life.container("c"), life.container("debug")), ("waiting PodInitializing".into(), "running".into()));
    assert_eq!(life.phase(), "Pending");
}

#[test]
fn one_that_has_run_is_not_run_again_by_an_agent_that_was_away() {
    let life = Life::run(debugged("Always", &["debug"]));
    let state = PodState::restore(plan(debugged("Always", &["debug"])), &life.status(), at(50));
    let mut life = Life { state, now: at(50), effects: Vec::new() };
    life.update(debugged("Always", &["debug"])).tell(Event::Prepared { ip: "100.64.0.1".parse().unwrap() });
    life.update(debugged("Always", &["debug"]));
    assert_eq!((life.container("c"), life.container("debug")), ("running".into(), "terminated Unknown 255".into()));
}

#[test]
fn containers_of_the_pod_itself_are_neither_added_nor_removed() {
    let mut life = Life::run(debugged("Always", &["debug"]));
    life.asked();
    let two =
        json!({"containers": [{"name": "c", "image": "x"}, {"name": "d", "image": "x"}, {"name": "e", "image": "x"}]});
    for spec in [two, debugged("Always", &[])] {
        life.update(spec);
        assert_eq!((life.asked(), life.container("debug")), (vec![], "running".to_owned()));
    }
}
