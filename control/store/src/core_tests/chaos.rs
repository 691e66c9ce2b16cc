//! Servers under random faults: they agree on every entry, and what was answered stays.

use std::collections::BTreeMap;

use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a server shows of its state, to be compared with others at the same entry.
fn digest(core: &Core<MemoryDisk>) -> String {
    let content: Vec<_> = core
        .state
        .snapshot()
        .range("", None)
        .map(|entry| format!("{}@{}-{}", entry.key(), entry.created().0, entry.modified().0))
        .collect();
    let members: Vec<u64> = core.state.members().iter().map(|member| member.id.0).collect();
    format!("{} {:?} {content:?} {members:?}", core.state.revision().0, core.node.store().conf_state)
}

struct Chaos {
    cluster: Cluster,
    random: Random,
    /// What is on its way, in any order.
    flying: Vec<(u64, Said)>,
    /// An older state of each server, which may be all that a restart finds beside the log.
    stored: Vec<Image>,
    /// Each entry's outcome, as the first server that applied it had it.
    history: BTreeMap<u64, String>,
    writes: Vec<(String, Answer<Outcome>)>,
    acknowledged: BTreeMap<String, u64>,
    changes: Vec<Answer<()>>,
}

impl Chaos {
    fn new(seed: u64, voters: u64) -> Chaos {
        let mut cluster = Cluster::new(voters);
        cluster.add(blank());
        let stored = (1..=voters + 1).map(|server| cluster.core(server).image()).collect();
        Chaos {
            cluster,
            random: Random(seed),
            flying: vec![],
            stored,
            history: BTreeMap::new(),
            writes: vec![],
            acknowledged: BTreeMap::new(),
            changes: vec![],
        }
    }

    fn servers(&self) -> u64 {
        self.cluster.cores.len() as u64
    }

    fn step(&mut self, turn: u64, faults: bool) {
        let servers = self.servers();
        self.cluster.now += TICK / 4;
        for server in 1..=servers {
            if self.random.below(4) == 0 {
                let now = self.cluster.now;
                self.cluster.core(server).set_now(now);
                self.cluster.core(server).tick().unwrap();
            }
        }
        let server = 1 + self.random.below(servers);
        if self.random.below(3) == 0 {
            let key = format!("a/{turn}");
            let answer = self.cluster.propose(server, &key);
            self.writes.push((key, answer));
        }
        if faults && self.random.below(150) == 0 {
            let stored = self.stored[server as usize - 1].clone();
            self.cluster.restart(server, stored);
        }
        if faults && self.random.below(50) == 0 {
            let image = self.cluster.core(server).image();
            let index = image.state.index();
            self.stored[server as usize - 1] = image;
            self.cluster.core(server).log().release(index);
        }
        if faults && self.random.below(60) == 0 {
            let change = match self.random.below(3) {
                0 => Change::Add(record(servers)),
                1 => Change::Lead(ServerId(1 + self.random.below(servers - 1))),
                _ => Change::Update(record(server)),
            };
            let asked = 1 + self.random.below(servers);
            let answer = self.cluster.change(asked, change);
            self.changes.push(answer);
        }
        self.carry_some(faults);
    }

    fn carry_some(&mut self, faults: bool) {
        let all: Vec<u64> = (1..=self.servers()).collect();
        for server in &all {
            self.cluster.core(*server).settle().unwrap();
            self.check(*server);
        }
        let said = std::mem::take(&mut *self.cluster.wire.lock().unwrap());
        for (from, said) in said {
            let fate = if faults { self.random.below(20) } else { 19 };
            match (fate, said) {
                (0, _) => {}
                (1, Said::Message(message)) => {
                    self.flying.push((from, Said::Message(message.clone())));
                    self.flying.push((from, Said::Message(message)));
                }
                (_, said) => self.flying.push((from, said)),
            }
        }
        let count = self.flying.len() as u64;
        for _ in 0..if faults { count.min(1 + count / 2) } else { count } {
            let at = if faults { self.random.below(self.flying.len() as u64) as usize } else { 0 };
            let (from, said) = self.flying.remove(at);
            self.cluster.deliver(from, said, &all);
        }
        for (server, image) in std::mem::take(&mut self.cluster.installed) {
            self.stored[server as usize - 1] = image;
        }
        if self.flying.len() > 2000 {
            self.flying.clear();
        }
    }

    fn check(&mut self, server: u64) {
        let core = &self.cluster.cores[server as usize - 1];
        let index = core.state.index();
        let found = digest(core);
        let expected = self.history.entry(index).or_insert_with(|| found.clone());
        assert_eq!(found, *expected, "server {server} at entry {index}");
        for (key, answer) in &mut self.writes {
            match answer.try_recv() {
                Ok(Ok(Outcome::Committed { revision, .. })) => {
                    self.acknowledged.insert(key.clone(), revision.0);
                }
                Ok(Err(StoreError::Unknown | StoreError::NoLeader | StoreError::QueueFull)) | Err(_) => {}
                other => panic!("{key}: {other:?}"),
            }
        }
    }

    fn end(mut self) {
        for _ in 0..4000 {
            self.cluster.pass(1, &(1..=self.servers()).collect::<Vec<_>>());
        }
        for server in 1..=self.servers() {
            self.check(server);
        }
        let voters = self.servers() - 1;
        let revisions: Vec<Revision> = (1..=voters).map(|server| self.cluster.core(server).state.revision()).collect();
        assert!(revisions.iter().all(|revision| *revision == revisions[0]), "{revisions:?}");
        let snapshot = self.cluster.core(1).state.snapshot();
        for (key, revision) in &self.acknowledged {
            let found = snapshot.get(key).map(|entry| (entry.created().0, entry.modified().0));
            assert_eq!(found, Some((*revision, *revision)), "{key} was acknowledged");
        }
        assert!(self.acknowledged.len() > 20, "hardly anything was written: {}", self.acknowledged.len());
    }
}

#[test]
fn servers_agree_and_keep_what_they_answered_whatever_happens_on_the_way() {
    let (first, count) = match std::env::var("CHAOS") {
        Ok(text) => (text.parse().unwrap(), 1000),
        Err(_) => (0, 4),
    };
    for seed in first..first + count {
        if count > 10 {
            eprintln!("seed {seed}");
        }
        let mut chaos = Chaos::new(seed, if seed % 2 == 0 { 3 } else { 5 });
        for turn in 0..1500 {
            chaos.step(turn, true);
        }
        chaos.end();
    }
}
