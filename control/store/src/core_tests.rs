use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use raft::eraftpb::ConfState;
use tokio::sync::oneshot;

use super::*;
use crate::codec::encode_txn;
use crate::history::Limits;
use crate::key::{Key, Revision};
use crate::log::Base;
use crate::members::{Change, Members};
use crate::memory_disk::MemoryDisk;
use crate::proposals::{Context, Forward, Refusal, Why};
use crate::storage::{Bounds, Retention};
use crate::txn::{Guard, Op, Outcome, Txn};
use crate::view::Role;

#[path = "core_tests/chaos.rs"]
mod chaos;
#[path = "core_tests/forwarding.rs"]
mod forwarding;
#[path = "core_tests/leases.rs"]
mod leases;
#[path = "core_tests/membership.rs"]
mod membership;

const TICK: Duration = Duration::from_millis(20);

/// What a server said to another one.
enum Said {
    Message(Message),
    Forward(u64, Vec<Forward>),
    Refusal(u64, Vec<Refusal>),
    Snapshot(Box<(Message, Image)>),
}

type Wire = Arc<Mutex<VecDeque<(u64, Said)>>>;

/// Puts what a server says on a wire that the test empties.
struct Wired(u64, Wire);

impl Wired {
    fn say(&self, said: impl IntoIterator<Item = Said>) {
        self.1.lock().unwrap().extend(said.into_iter().map(|said| (self.0, said)));
    }
}

impl Transport for Wired {
    fn send(&mut self, messages: Vec<Message>) {
        self.say(messages.into_iter().map(Said::Message));
    }

    fn forward(&mut self, to: u64, proposals: Vec<Forward>) {
        self.say([Said::Forward(to, proposals)]);
    }

    fn refuse(&mut self, to: u64, refusals: Vec<Refusal>) {
        self.say([Said::Refusal(to, refusals)]);
    }

    fn send_snapshot(&mut self, message: Message, image: Image) {
        self.say([Said::Snapshot(Box::new((message, image)))]);
    }

    fn members(&mut self, _: &Members) {}
}

fn record(server: u64) -> Member {
    Member { id: ServerId(server), name: format!("s{server}"), address: format!("s{server}:1") }
}

/// What a server is made from: founding members, or what it stored.
fn founded(voters: &[u64]) -> Image {
    let mut state = State::default();
    state.pass(FOUNDED_AT, 1);
    for voter in voters {
        state.change_members(&Change::Update(record(*voter)));
    }
    Image { state, conf_state: ConfState { voters: voters.to_vec(), ..ConfState::default() } }
}

/// A server that knows nothing yet.
fn blank() -> Image {
    Image { state: State::default(), conf_state: ConfState::default() }
}

/// A server's start: `starts` tells it from its other ones.
fn core(server: u64, starts: u64, stored: Image, disk: &MemoryDisk, wire: &Wire) -> Core<MemoryDisk> {
    let Image { state, conf_state } = stored;
    let base = Base { index: state.index(), term: state.term(), installed: false };
    let initial = founding_state(state.index().min(FOUNDED_AT), state.term().min(1));
    let (log, recovered) = Log::open(disk.clone(), 4096, base, &initial).unwrap();
    let limits = Limits { events: 100, bytes: usize::MAX };
    let mut core = Core::new(Parts {
        record: record(server),
        origin: server * 1000 + starts,
        seed: server * 7 + starts,
        timing: Timing::default(),
        log,
        recovered,
        hub: Arc::new(Hub::new(limits, state.revision(), state.changed().iter())),
        view: Arc::new(View::new(state.snapshot())),
        state,
        conf_state,
        transport: Box::new(Wired(server, wire.clone())),
        planted: None,
    })
    .unwrap();
    let bounds = |entries| Bounds { entries, bytes: usize::MAX };
    core.retain(Retention { usual: bounds(20), slow: bounds(100), snapshot: bounds(200) });
    core
}

fn put(key: &str) -> Bytes {
    let op = Op::Put { key: key.into(), value: Bytes::from_static(b"v"), revision_at: None };
    encode_txn(&Txn::of(vec![op])).into()
}

fn keys(core: &Core<MemoryDisk>) -> Vec<String> {
    core.view.snapshot().range("", None).map(|entry| entry.key().to_string()).collect()
}

type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// The revision at which a write was committed, if it is known.
fn revision(answer: &mut Answer<Outcome>) -> Option<u64> {
    match answer.try_recv().ok()? {
        Ok(Outcome::Committed { revision, .. }) => Some(revision.0),
        other => panic!("{other:?}"),
    }
}

/// Servers whose messages the test carries, by their numbers.
struct Cluster {
    disks: Vec<MemoryDisk>,
    wire: Wire,
    cores: Vec<Core<MemoryDisk>>,
    now: Duration,
    starts: u64,
    /// The states that servers were sent, which is what is on their disks then.
    installed: Vec<(u64, Image)>,
}

impl Cluster {
    /// So many voters that found a cluster together.
    fn new(voters: u64) -> Cluster {
        let all: Vec<u64> = (1..=voters).collect();
        let mut cluster =
            Cluster { disks: vec![], wire: Wire::default(), cores: vec![], now: TICK, starts: 0, installed: vec![] };
        all.iter().for_each(|_| cluster.add(founded(&all)));
        // Nobody is bound by what it vowed before.
        let now = cluster.now;
        cluster.cores.iter_mut().for_each(|core| core.set_now(now));
        cluster.now += crate::lease::vow(&Timing::default());
        cluster
    }

    /// Adds a server with this state on its disk.
    fn add(&mut self, stored: Image) {
        let disk = MemoryDisk::default();
        let server = self.cores.len() as u64 + 1;
        self.cores.push(core(server, 0, stored, &disk, &self.wire));
        self.disks.push(disk);
    }

    fn core(&mut self, server: u64) -> &mut Core<MemoryDisk> {
        &mut self.cores[server as usize - 1]
    }

    /// Starts a server anew from its log, with this state on its disk.
    fn restart(&mut self, server: u64, stored: Image) {
        let at = server as usize - 1;
        self.starts += 1;
        self.disks[at].cut_power();
        self.cores[at] = core(server, self.starts, stored, &self.disks[at], &self.wire);
        let now = self.now;
        self.core(server).set_now(now);
        self.core(server).settle().unwrap();
    }

    /// Carries messages among these servers until there are none; those from and to others are lost.
    fn carry(&mut self, among: &[u64]) {
        for _ in 0..1000 {
            for server in among {
                let now = self.now;
                self.core(*server).set_now(now);
                self.core(*server).settle().unwrap();
            }
            let said = std::mem::take(&mut *self.wire.lock().unwrap());
            if said.is_empty() {
                return;
            }
            for (from, said) in said.into_iter().filter(|(from, _)| among.contains(from)) {
                self.deliver(from, said, among);
            }
        }
        panic!("the servers do not come to rest");
    }

    fn deliver(&mut self, from: u64, said: Said, among: &[u64]) {
        match said {
            Said::Message(message) if among.contains(&message.to) => self.core(message.to).step(message).unwrap(),
            Said::Forward(to, proposals) if among.contains(&to) => self.core(to).forwarded(from, proposals).unwrap(),
            Said::Refusal(to, refusals) if among.contains(&to) => self.core(to).refused(refusals),
            Said::Snapshot(sent) => {
                let (message, image) = *sent;
                let to = message.to;
                let wanted = among.contains(&to) && self.core(to).wants(&message);
                if wanted {
                    self.installed.push((to, image.clone()));
                    self.core(to).install(message, image).unwrap();
                }
                self.core(from).snapshot_sent(to, wanted);
            }
            _ => {}
        }
    }

    /// Lets so many ticks pass for these servers, who can reach each other.
    fn pass(&mut self, ticks: usize, among: &[u64]) {
        for _ in 0..ticks {
            self.now += TICK;
            for server in among {
                let now = self.now;
                self.core(*server).set_now(now);
                self.core(*server).tick().unwrap();
            }
            self.carry(among);
        }
    }

    /// Lets time pass until one of these servers leads, and returns which.
    fn elect(&mut self, among: &[u64]) -> u64 {
        for _ in 0..200 {
            self.pass(1, among);
            let leads = |server: &&u64| self.cores[**server as usize - 1].view.role() == Role::Leader;
            if let Some(leader) = among.iter().find(leads) {
                return *leader;
            }
        }
        panic!("nobody was elected");
    }

    /// A cluster whose first server leads.
    fn led(voters: u64) -> Cluster {
        let mut cluster = Cluster::new(voters);
        let all: Vec<u64> = (1..=voters).collect();
        cluster.core(1).campaign().unwrap();
        cluster.carry(&all);
        assert_eq!(cluster.core(1).view.role(), Role::Leader);
        cluster
    }

    fn propose(&mut self, server: u64, key: &str) -> Answer<Outcome> {
        let (reply, answer) = oneshot::channel();
        self.core(server).propose(put(key), None, reply);
        answer
    }

    fn read(&mut self, server: u64) -> Answer<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.core(server).read(reply);
        answer
    }

    fn change(&mut self, server: u64, change: Change) -> Answer<()> {
        let (reply, answer) = oneshot::channel();
        self.core(server).change(change, reply);
        answer
    }

    /// The keys that each of these servers shows.
    fn keys(&self, among: &[u64]) -> Vec<Vec<String>> {
        among.iter().map(|server| keys(&self.cores[*server as usize - 1])).collect()
    }
}

/// A server that is alone and leads.
fn alone(disk: &MemoryDisk) -> Core<MemoryDisk> {
    let mut core = core(7, 0, founded(&[7]), disk, &Wire::default());
    core.campaign().unwrap();
    core.settle().unwrap();
    core
}

#[test]
fn a_sole_server_leads_at_once_and_one_flush_serves_all_that_wait() {
    let disk = MemoryDisk::default();
    let mut core = alone(&disk);
    assert!(core.view.is_sole_leader());
    assert_eq!(core.view.role(), Role::Leader);

    let before = disk.syncs();
    let mut answers: Vec<_> = (0..10)
        .map(|turn| {
            let (reply, answer) = oneshot::channel();
            core.propose(put(&format!("a/{turn}")), None, reply);
            answer
        })
        .collect();
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    core.settle().unwrap();
    assert_eq!(disk.syncs(), before + 1);
    let revisions: Vec<_> = answers.iter_mut().map(revision).collect();
    assert_eq!(revisions, (1..=10).map(Some).collect::<Vec<_>>());
}

#[test]
fn much_at_once_is_written_in_parts() {
    let mut cluster = Cluster::led(3);
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    let mut answers: Vec<_> = (0..20)
        .map(|turn| {
            let op = Op::Put { key: format!("a/{turn:02}").into(), value: value.clone(), revision_at: None };
            let (reply, answer) = oneshot::channel();
            cluster.core(1 + turn % 2).propose(encode_txn(&Txn::of(vec![op])).into(), None, reply);
            answer
        })
        .collect();
    cluster.core(2).settle().unwrap();
    let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
    said.into_iter().for_each(|(from, said)| cluster.deliver(from, said, &[1]));
    let before = cluster.disks[0].syncs();
    cluster.core(1).settle().unwrap();
    // With every part a new segment is begun, and the one before is marked as whole.
    assert!((5..=20).contains(&(cluster.disks[0].syncs() - before)), "{}", cluster.disks[0].syncs() - before);
    cluster.pass(20, &[1, 2, 3]);
    assert!(answers.iter_mut().all(|answer| revision(answer).is_some()));
    assert_eq!(cluster.keys(&[3])[0].len(), 20);
}

#[test]
fn a_read_through_the_leader_sees_what_was_answered() {
    let mut core = alone(&MemoryDisk::default());
    let (reply, _answer) = oneshot::channel();
    core.propose(put("a/1"), None, reply);
    core.settle().unwrap();
    let (reply, mut answer) = oneshot::channel();
    core.read(reply);
    core.settle().unwrap();
    let snapshot = answer.try_recv().unwrap().unwrap();
    assert!(snapshot.get(Key::from("a/1")).is_some());
}

#[test]
fn without_a_leader_writes_and_reads_wait_for_one_and_then_fail() {
    let mut cluster = Cluster::new(3);
    cluster.pass(1, &[1]);
    let mut write = cluster.propose(1, "a/1");
    let mut read = cluster.read(1);
    cluster.pass(120, &[1]);
    assert!(write.try_recv().is_err() && read.try_recv().is_err());
    cluster.pass(10, &[1]);
    assert!(matches!(read.try_recv(), Ok(Err(StoreError::NoLeader))));
    assert!(matches!(write.try_recv(), Ok(Err(StoreError::NoLeader))));
    // Whoever comes then does not wait once more.
    assert!(matches!(cluster.read(1).try_recv(), Ok(Err(StoreError::NoLeader))));
    assert!(matches!(cluster.propose(1, "a/2").try_recv(), Ok(Err(StoreError::NoLeader))));
    assert!(!cluster.core(1).view.is_sole_leader());
}

#[test]
fn three_servers_answer_when_two_have_it_on_disk() {
    let mut cluster = Cluster::new(3);
    cluster.core(1).campaign().unwrap();
    cluster.carry(&[1, 2]);
    assert_eq!(cluster.core(1).view.role(), Role::Leader);
    assert!(!cluster.core(1).view.is_sole_leader());

    let mut answer = cluster.propose(1, "a/1");
    cluster.carry(&[1]);
    assert!(answer.try_recv().is_err(), "answered without a majority");
    // A heartbeat shows the leader that its follower can be reached again.
    cluster.pass(10, &[1, 2]);
    assert_eq!(revision(&mut answer), Some(1));
    cluster.pass(10, &[1, 2, 3]);
    assert!(cluster.keys(&[1, 2, 3]).iter().all(|keys| keys == &["a/1"]));
    let held = cluster.disks.iter().filter(|disk| {
        let base = Base { index: FOUNDED_AT, term: 1, installed: false };
        let (_, recovered) = Log::open((*disk).clone(), 4096, base, &founding_state(FOUNDED_AT, 1)).unwrap();
        recovered.entries.iter().any(|entry| !entry.data.is_empty())
    });
    assert_eq!(held.count(), 3);
}

#[test]
fn a_lost_leader_is_replaced_within_two_timeouts() {
    for voters in [3, 5] {
        let mut cluster = Cluster::led(voters);
        cluster.pass(20, &(1..=voters).collect::<Vec<_>>());
        let rest: Vec<u64> = (2..=voters).collect();
        let before = cluster.now;
        cluster.elect(&rest);
        let ticks = (cluster.now - before).as_millis() / TICK.as_millis();
        assert!((15..=30).contains(&ticks), "{voters} voters: {ticks} ticks");
    }
}

#[test]
fn the_same_seeds_and_messages_come_to_the_same_end() {
    let run = || {
        let mut cluster = Cluster::new(5);
        let leader = cluster.elect(&[1, 2, 3, 4, 5]);
        let answer = cluster.propose(leader, "a/1");
        let rest: Vec<u64> = (1..=5).filter(|server| *server != leader).collect();
        let next = cluster.elect(&rest);
        drop(answer);
        (leader, next, cluster.now, cluster.cores.iter().map(|core| core.node.raft.term).collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = MemoryDisk::default();
    let mut core = alone(&disk);
    let mut commit = |key: &str, len: usize| {
        let op = Op::Put { key: key.into(), value: vec![0; len].into(), revision_at: None };
        let (reply, mut answer) = oneshot::channel();
        core.propose(encode_txn(&Txn::of(vec![op])).into(), None, reply);
        core.settle().unwrap();
        (answer.try_recv().unwrap().map(drop).map_err(|error| error.to_string()), keys(&core).len())
    };
    let full = Err("log/2: the disk is full".to_owned());
    assert_eq!(commit("a/1", 2500), (Ok(()), 1));
    disk.limit(Some(0));
    assert_eq!(commit("a/2", 3000), (full.clone(), 1));
    assert_eq!(commit("a/3", 3000), (full, 1));
    assert_eq!(commit("a/4", 10), (Ok(()), 2));
    disk.limit(None);
    assert_eq!(commit("a/2", 3000), (Ok(()), 3));
}

#[test]
fn a_follower_with_a_full_disk_goes_on_when_there_is_room() {
    let mut cluster = Cluster::led(3);
    cluster.disks[2].limit(Some(0));
    let mut answers: Vec<_> = (0..100).map(|turn| cluster.propose(1, &format!("a/{turn:02}"))).collect();
    cluster.pass(30, &[1, 2, 3]);
    assert!(answers.iter_mut().all(|answer| revision(answer).is_some()));
    assert_eq!(cluster.keys(&[3])[0].len(), 0);
    assert_eq!(cluster.core(1).view.role(), Role::Leader);
    cluster.disks[2].limit(None);
    cluster.pass(30, &[1, 2, 3]);
    assert_eq!(cluster.keys(&[3])[0].len(), 100);
}

#[test]
fn reads_on_followers_hold_what_was_answered_before() {
    let mut cluster = Cluster::led(3);
    let mut write = cluster.propose(1, "a/1");
    cluster.carry(&[1, 2]);
    assert_eq!(revision(&mut write), Some(1));
    // The third server has not heard of the write.
    let mut answers = [cluster.read(3), cluster.read(3)];
    cluster.carry(&[3]);
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    cluster.pass(10, &[1, 2, 3]);
    for answer in &mut answers {
        assert!(answer.try_recv().unwrap().unwrap().get("a/1").is_some());
    }
}

#[test]
fn a_leader_that_was_cut_off_answers_no_reads() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let mut stale = cluster.read(1);
    let new = cluster.elect(&[2, 3]);
    let mut write = cluster.propose(new, "a/new");
    cluster.carry(&[2, 3]);
    assert_eq!(revision(&mut write), Some(1));
    cluster.pass(5, &[1]);
    assert!(stale.try_recv().is_err());
    cluster.pass(20, &[1, 2, 3]);
    assert!(stale.try_recv().unwrap().unwrap().get("a/new").is_some());
}
