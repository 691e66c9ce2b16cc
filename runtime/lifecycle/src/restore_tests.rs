//! Pods that are taken up again.

use super::*;

/// A container that crashes at once each time, until its back-off is the one after `attempt`.
fn crash_looping(attempt: u32) -> Life {
    let mut life = Life::run(with("Always"));
    for n in 0..=attempt {
        let run = Run { container: 0, attempt: n };
        life.tell(Event::Exited(run, exit(1)));
        if let (true, Some(at)) = (n < attempt, life.state.deadline()) {
            life.at(at.as_secs());
        }
        if n < attempt {
            let next = Run { container: 0, attempt: n + 1 };
            life.tell(Event::ImageFound { container: 0, image: image() }).tell(Event::Started(next));
        }
    }
    life
}

#[test]
fn a_crash_loop_goes_on_where_it_was() {
    let life = crash_looping(4);
    let (status, now) = (life.status(), life.now.mono.as_secs());
    assert_eq!(life.state.deadline(), Some(Duration::from_secs(now + 80)));
    // The agent is away for half a minute.
    let back = at(now + 30);
    let state = PodState::restore(plan(with("Always")), &status, back);
    let mut life = Life { state, now: back, effects: Vec::new() };
    life.tell(Event::Tick);
    assert_eq!(life.asked(), [Effect::Prepare]);
    assert_eq!(life.status().container_statuses, status.container_statuses);
    assert_eq!(life.state.deadline(), Some(Duration::from_secs(now + 80)), "what is left of the back-off");
    life.tell(Event::Prepared { ip: "100.64.0.1".parse().unwrap() });
    life.at(now + 80);
    assert_eq!(life.asked(), [Effect::FindImage { container: 0 }]);
    let run = Run { container: 0, attempt: 5 };
    life.tell(Event::ImageFound { container: 0, image: image() }).tell(Event::Started(run));
    life.tell(Event::Exited(run, exit(1)));
    assert_eq!(life.state.deadline(), Some(Duration::from_secs(now + 80 + 160)));
}

#[test]
fn what_ran_well_starts_with_a_clean_record() {
    let status = Life::run(with("Always")).status();
    let mut state = PodState::restore(plan(with("Always")), &status, at(100));
    state.step(Event::Tick, at(100));
    let again = state.status(&Report { host_ip: "10.0.0.1".parse().unwrap(), scheduled: at(0).wall });
    // Twice taken up, and still no crash.
    let state = PodState::restore(plan(with("Always")), &again, at(200));
    let mut life = Life { state, now: at(200), effects: Vec::new() };
    life.tell(Event::Tick).tell(Event::Prepared { ip: "100.64.0.1".parse().unwrap() });
    let run = Run { container: 0, attempt: life.state.attempt(0).unwrap() };
    life.tell(Event::ImageFound { container: 0, image: image() }).tell(Event::Started(run));
    life.asked();
    life.tell(Event::Exited(run, exit(1)));
    assert_eq!(life.asked(), [Effect::FindImage { container: 0 }], "the first crash is forgiven");
}

#[test]
fn after_the_agent_was_away_what_ran_is_run_again() {
    let check = |policy: &str, phase: &str, effects: &[Effect]| {
        let status = Life::run(with(policy)).status();
        let mut state = PodState::restore(plan(with(policy)), &status, at(100));
        let effects_got = state.step(Event::Tick, at(100));
        assert_eq!(effects_got, effects, "{policy}");
        let now = state.status(&Report { host_ip: "10.0.0.1".parse().unwrap(), scheduled: at(0).wall });
        let container = &now.container_statuses.as_ref().unwrap()[0];
        assert_eq!(now.phase.as_deref(), Some(phase), "{policy}");
        assert_eq!((now.pod_ip, now.start_time), (status.pod_ip, status.start_time));
        let ended = [&container.state, &container.last_state].map(|s| s.as_ref().and_then(|s| s.terminated.clone()));
        let ended = ended.into_iter().flatten().next().unwrap();
        assert_eq!((ended.reason.as_deref(), ended.exit_code), (Some("Unknown"), 255));
    };
    check("Always", "Running", &[Effect::Prepare, Effect::FindImage { container: 0 }]);
    check("Never", "Failed", &[Effect::CleanUp]);
}

#[test]
fn what_had_ended_before_the_agent_was_away_stays_ended() {
    let mut life = Life::run(with("Never"));
    life.tell(Event::Exited(FIRST, exit(0)));
    let status = life.status();
    let mut state = PodState::restore(plan(with("Never")), &status, at(100));
    assert_eq!(state.step(Event::Tick, at(100)), [Effect::CleanUp]);
    let report = Report { host_ip: "10.0.0.1".parse().unwrap(), scheduled: at(0).wall };
    assert_eq!(state.status(&report).container_statuses, status.container_statuses);
}
