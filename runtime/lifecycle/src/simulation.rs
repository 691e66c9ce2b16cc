//! Whole lives against a world that answers late, fails, and takes pods away at any moment. The seed decides all; what
//! must always hold is checked after each step.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::json;

use crate::state::Phase;
use crate::{
    Cause, ContainerKind, Effect, Event, Exit, HookKind, Image, ImageFailure, Now, PodPlan, PodState, Report, Run,
    StartFailure,
};

/// SplitMix64: enough for choices, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The node, as the machine sees it.
struct World {
    dice: Dice,
    state: PodState,
    now: Duration,
    /// Answers on their way, with when they come.
    answers: Vec<(Duration, Event)>,
    /// What runs, or is being started.
    alive: HashSet<Run>,
    prepared: bool,
    cleaned: bool,
    removed: bool,
    deleted: bool,
    attempts: HashMap<usize, u32>,
    last_phase: Phase,
}

fn manifest(dice: &mut Dice) -> Pod {
    let policy = ["Always", "OnFailure", "Never"][dice.below(3) as usize];
    let container = |dice: &mut Dice, name: String| {
        let pull = ["Always", "IfNotPresent"][dice.below(2) as usize];
        let mut c = json!({"name": name, "image": "x", "imagePullPolicy": pull});
        for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
            if dice.one_in(4) {
                c[probe] = json!({"tcpSocket": {"port": 80}, "periodSeconds": 1 + dice.below(20), "failureThreshold": 1 + dice.below(3)});
            }
        }
        if dice.one_in(6) {
            c["lifecycle"] = json!({"postStart": {"sleep": {"seconds": 1}}});
        }
        c
    };
    let mains: Vec<_> = (0..1 + dice.below(3)).map(|i| container(dice, format!("c{i}"))).collect();
    let inits: Vec<_> = (0..dice.below(3))
        .map(|i| {
            let mut c = container(dice, format!("i{i}"));
            if dice.one_in(3) {
                c["restartPolicy"] = json!("Always");
            }
            c
        })
        .collect();
    let mut spec = json!({"restartPolicy": policy, "containers": mains, "initContainers": inits});
    if dice.one_in(5) {
        spec["activeDeadlineSeconds"] = json!(1 + dice.below(600));
    }
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec})).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let plan = Arc::new(PodPlan::new(&manifest(&mut dice)));
        let state = PodState::new(plan, Self::instant(Duration::ZERO));
        Self {
            dice,
            state,
            now: Duration::ZERO,
            answers: Vec::new(),
            alive: HashSet::new(),
            prepared: false,
            cleaned: false,
            removed: false,
            deleted: false,
            attempts: HashMap::new(),
            last_phase: Phase::Pending,
        }
    }

    fn instant(mono: Duration) -> Now {
        let wall = Timestamp::from_second(1_800_000_000).unwrap() + mono;
        Now { wall, mono }
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Prepared { .. } => self.prepared = true,
            Event::Exited(run, _) | Event::StartFailed(run, _) => {
                assert!(self.alive.remove(run), "{run:?} ended twice")
            }
            Event::CleanedUp => self.cleaned = true,
            _ => {}
        }
        let effects = self.state.step(event, Self::instant(self.now));
        for effect in effects {
            self.take(effect);
        }
        self.check();
    }

    fn answer(&mut self, event: Event) {
        let delay = Duration::from_millis(self.dice.below(5_000));
        self.answers.push((self.now + delay, event));
    }

    fn exit(&mut self) -> Exit {
        let code = [0, 0, 1, 137][self.dice.below(4) as usize];
        Exit { code, out_of_memory: code == 137, message: String::new() }
    }

    fn take(&mut self, effect: Effect) {
        let image = Image { id: "x@sha256:1".into(), size: 1 };
        let failure = || ImageFailure { cause: Cause::ErrImagePull, message: "no".to_owned() };
        match effect {
            Effect::Prepare => {
                assert!(!self.prepared && !self.cleaned, "the ground is asked for once");
                let event = match self.dice.one_in(4) {
                    true => Event::PrepareFailed { reason: "FailedMount", message: "no".to_owned() },
                    false => Event::Prepared { ip: "100.64.0.1".parse().unwrap() },
                };
                self.answer(event);
            }
            Effect::Resize(run) => self.answer(Event::Resized { run, outcome: Ok(()) }),
            Effect::FindImage { container } => {
                let found = self.dice.one_in(2);
                self.answer(if found {
                    Event::ImageFound { container, image }
                } else {
                    Event::ImageAbsent { container }
                });
            }
            Effect::PullImage { container } => {
                let event = match self.dice.one_in(3) {
                    true => Event::ImageFailed { container, failure: failure() },
                    false => Event::ImagePulled { container, image, took: Duration::from_secs(1) },
                };
                self.answer(event);
            }
            Effect::Start(run) => self.start(run),
            Effect::Stop { run, .. } => self.stop(run),
            Effect::Probe { run, probe } => {
                let outcome = if self.dice.one_in(4) { Err("no".to_owned()) } else { Ok(None) };
                self.answer(Event::Probed { run, probe, outcome });
            }
            Effect::PostStart(run) => {
                let outcome = if self.dice.one_in(4) { Err("no".to_owned()) } else { Ok(()) };
                self.answer(Event::Hooked { run, hook: HookKind::PostStart, outcome });
            }
            Effect::Note(_) => {}
            Effect::CleanUp => {
                assert!(self.alive.is_empty(), "the ground is given back while {:?} is on it", self.alive);
                assert!(!self.cleaned);
                self.answer(Event::CleanedUp);
            }
            Effect::Remove => {
                assert!(self.cleaned && self.deleted && !self.removed);
                self.removed = true;
                self.answer(Event::Gone);
            }
        }
    }

    fn start(&mut self, run: Run) {
        assert!(self.prepared && !self.cleaned, "started without ground");
        assert!(!self.deleted, "started after the deletion");
        assert!(self.alive.iter().all(|r| r.container != run.container), "two runs of one container");
        let expected = self.attempts.get(&run.container).copied();
        assert!(expected.is_none_or(|e| run.attempt == e || run.attempt == e + 1), "attempts go up one by one");
        self.attempts.insert(run.container, run.attempt);
        let kind = |i: usize| self.state.plan().containers[i].kind;
        if kind(run.container) == ContainerKind::Main {
            let inits_alive = self.alive.iter().any(|r| kind(r.container) == ContainerKind::Init);
            assert!(!inits_alive, "a container started beside an init container");
        }
        self.alive.insert(run);
        match self.dice.below(5) {
            0 => {
                let failure = StartFailure::NotCreated { cause: Cause::CreateContainerError, message: "no".to_owned() };
                self.answer(Event::StartFailed(run, failure));
            }
            1 => {
                let exit = self.exit();
                self.answer(Event::StartFailed(run, StartFailure::Crashed(exit)));
            }
            2 => self.answer(Event::Started(run)),
            _ => {
                let exit = self.exit();
                let at = self.now + Duration::from_millis(self.dice.below(1_000));
                self.answers.push((at, Event::Started(run)));
                self.answers.push((at + Duration::from_millis(1 + self.dice.below(900_000)), Event::Exited(run, exit)));
            }
        }
    }

    /// A run that is to stop ends soon, however else it would have ended.
    fn stop(&mut self, run: Run) {
        assert!(self.alive.contains(&run), "{run:?} is stopped and does not run");
        self.answers.retain(|(_, e)| !matches!(e, Event::Exited(r, _) | Event::StartFailed(r, _) if *r == run));
        let exit = self.exit();
        self.answer(Event::Exited(run, exit));
    }

    fn check(&mut self) {
        let phase = self.state.phase();
        let is_final = |p: Phase| matches!(p, Phase::Succeeded | Phase::Failed);
        assert!(!is_final(self.last_phase) || phase == self.last_phase, "{:?} became {phase:?}", self.last_phase);
        self.last_phase = phase;
        let status =
            self.state.status(&Report { host_ip: "10.0.0.1".parse().unwrap(), scheduled: Timestamp::UNIX_EPOCH });
        let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        assert_eq!(ready, self.state.is_ready());
        if ready {
            assert_eq!(phase, Phase::Running);
            for (i, plan) in self.state.plan().containers.iter().enumerate() {
                assert!(
                    plan.kind != ContainerKind::Main || self.state.is_running(i),
                    "ready, and {} does not run",
                    plan.name
                );
            }
        }
        for container in status.container_statuses.iter().chain(&status.init_container_statuses).flatten() {
            let state = container.state.as_ref().unwrap();
            let kinds = [state.waiting.is_some(), state.running.is_some(), state.terminated.is_some()];
            assert_eq!(kinds.iter().filter(|k| **k).count(), 1, "{state:?}");
        }
    }

    /// Goes on to whatever comes next; false when nothing ever will.
    fn advance(&mut self) -> bool {
        let answer = self.answers.iter().enumerate().min_by_key(|(_, (at, _))| *at).map(|(i, (at, _))| (i, *at));
        let deadline = self.state.deadline();
        match (answer, deadline) {
            (Some((i, at)), deadline) if deadline.is_none_or(|d| at <= d) => {
                let (_, event) = self.answers.swap_remove(i);
                self.now = self.now.max(at);
                // What ends a run that has not begun comes after its beginning.
                self.tell(event);
                true
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                self.tell(Event::Tick);
                true
            }
            (None, None) => false,
            (Some(_), None) => true,
        }
    }

    fn live(&mut self, steps: u64) {
        self.tell(Event::Tick);
        for _ in 0..steps {
            if !self.advance() {
                break;
            }
        }
        self.deleted = true;
        match self.dice.one_in(4) {
            true => {
                self.removed = true;
                self.tell(Event::Gone);
            }
            false => self.tell(Event::Delete { grace: Duration::from_secs(30) }),
        }
        let mut left = 1_000;
        while !self.state.is_over() {
            assert!(left > 0 && self.advance(), "a deleted pod does not come to its end: {:?}", self.state);
            left -= 1;
        }
        assert!(self.alive.is_empty() && self.removed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_life_keeps_its_promises(seed: u64, steps in 0u64..120) {
        World::new(seed).live(steps);
    }
}

#[test]
fn the_same_seed_makes_the_same_life() {
    let life = |seed| {
        let mut world = World::new(seed);
        world.live(60);
        (world.now, world.attempts.get(&0).copied())
    };
    for seed in 0..20 {
        assert_eq!(life(seed), life(seed));
    }
}
