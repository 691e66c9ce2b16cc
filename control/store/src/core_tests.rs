use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::codec::encode_txn;
use crate::history::Limits;
use crate::key::{Key, Revision};
use crate::log::Base;
use crate::memory_disk::MemoryDisk;
use crate::txn::{Op, Txn};

type Wire = Arc<Mutex<VecDeque<Message>>>;

/// Puts messages on a wire that the test empties.
struct Wired(Wire);

impl Transport for Wired {
    fn send(&mut self, messages: Vec<Message>) {
        self.0.lock().unwrap().extend(messages);
    }

    fn forward(&mut self, _: u64, _: Vec<Forward>) {}

    fn refuse(&mut self, _: u64, _: Vec<Refusal>) {}

    fn send_snapshot(&mut self, _: Message, _: Image) {}

    fn members(&mut self, _: &Members) {}
}

fn core(server: u64, voters: &[u64], disk: &MemoryDisk, wire: &Wire) -> Core<MemoryDisk> {
    let mut state = State::default();
    state.pass(FOUNDED_AT, 1);
    let (log, recovered) =
        Log::open(disk.clone(), 4096, Base { index: FOUNDED_AT, ..Base::default() }, &founding_state(FOUNDED_AT, 1))
            .unwrap();
    let limits = Limits { events: 100, bytes: usize::MAX };
    Core::new(Parts {
        server,
        log,
        recovered,
        hub: Arc::new(Hub::new(limits, state.revision(), state.changed().iter())),
        view: Arc::new(View::new(state.snapshot())),
        state,
        conf_state: ConfState { voters: voters.to_vec(), ..ConfState::default() },
        transport: Box::new(Wired(wire.clone())),
    })
    .unwrap()
}

fn put(key: &str) -> Vec<u8> {
    encode_txn(&Txn::of(vec![Op::Put { key: key.into(), value: Bytes::from_static(b"v"), revision_at: None }]))
}

fn keys(core: &Core<MemoryDisk>) -> Vec<String> {
    core.view.snapshot().range("", None).map(|entry| entry.key().to_string()).collect()
}

/// Three servers whose messages the test carries.
struct Three {
    disks: Vec<MemoryDisk>,
    wire: Wire,
    cores: Vec<Core<MemoryDisk>>,
}

impl Three {
    fn new() -> Three {
        let disks: Vec<MemoryDisk> = (0..3).map(|_| MemoryDisk::default()).collect();
        let wire = Wire::default();
        let cores = (1..).zip(&disks).map(|(server, disk)| core(server, &[1, 2, 3], disk, &wire)).collect();
        Three { disks, wire, cores }
    }

    /// Carries messages among these servers until there are none; those for others are lost.
    fn carry(&mut self, among: &[u64]) {
        loop {
            for server in among {
                self.cores[*server as usize - 1].settle().unwrap();
            }
            let messages = std::mem::take(&mut *self.wire.lock().unwrap());
            if messages.is_empty() {
                return;
            }
            for message in messages.into_iter().filter(|message| among.contains(&message.to)) {
                self.cores[message.to as usize - 1].step(message);
            }
        }
    }
}

#[test]
fn a_sole_server_leads_at_once_and_one_flush_serves_all_that_wait() {
    let disk = MemoryDisk::default();
    let mut core = core(7, &[7], &disk, &Wire::default());
    core.campaign().unwrap();
    core.settle().unwrap();
    assert!(core.view.is_sole_leader());
    assert_eq!(core.view.role(), Role::Leader);

    let before = disk.syncs();
    let mut answers: Vec<_> = (0..10)
        .map(|turn| {
            let (reply, answer) = oneshot::channel();
            core.propose(put(&format!("a/{turn}")), reply).unwrap();
            answer
        })
        .collect();
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    core.settle().unwrap();
    assert_eq!(disk.syncs(), before + 1);
    for (revision, answer) in (1..).zip(&mut answers) {
        let Ok(Ok(Outcome::Committed { revision: found, .. })) = answer.try_recv() else { panic!("not committed") };
        assert_eq!(found, Revision(revision));
    }
}

#[test]
fn a_read_through_the_leader_sees_what_was_answered() {
    let mut core = core(7, &[7], &MemoryDisk::default(), &Wire::default());
    core.campaign().unwrap();
    core.settle().unwrap();
    let (reply, _answer) = oneshot::channel();
    core.propose(put("a/1"), reply).unwrap();
    core.settle().unwrap();
    let (reply, mut answer) = oneshot::channel();
    core.read(reply);
    core.settle().unwrap();
    let snapshot = answer.try_recv().unwrap().unwrap();
    assert!(snapshot.get(Key::from("a/1")).is_some());
}

#[test]
fn without_a_leader_writes_and_reads_are_refused() {
    let mut three = Three::new();
    let (reply, mut answer) = oneshot::channel();
    three.cores[0].propose(put("a/1"), reply).unwrap();
    assert!(matches!(answer.try_recv(), Ok(Err(StoreError::NoLeader))));
    let (reply, mut answer) = oneshot::channel();
    three.cores[0].read(reply);
    assert!(matches!(answer.try_recv(), Ok(Err(StoreError::NoLeader))));
    assert!(!three.cores[0].view.is_sole_leader());
}

#[test]
fn three_servers_answer_when_two_have_it_on_disk() {
    let mut three = Three::new();
    three.cores[0].campaign().unwrap();
    three.carry(&[1, 2]);
    assert_eq!(three.cores[0].view.role(), Role::Leader);
    assert!(!three.cores[0].view.is_sole_leader());

    let (reply, mut answer) = oneshot::channel();
    three.cores[0].propose(put("a/1"), reply).unwrap();
    three.carry(&[1]);
    assert!(answer.try_recv().is_err(), "answered without a majority");
    // A heartbeat shows the leader that its follower can be reached again.
    (0..4).for_each(|_| three.cores[0].tick());
    three.carry(&[1, 2]);
    assert!(matches!(answer.try_recv(), Ok(Ok(Outcome::Committed { revision: Revision(1), .. }))));
    (0..4).for_each(|_| three.cores[0].tick());
    three.carry(&[1, 2, 3]);
    assert!(three.cores.iter().all(|core| keys(core) == ["a/1"]));
    let held = three.disks.iter().filter(|disk| {
        let (_, recovered) = Log::open(
            (*disk).clone(),
            4096,
            Base { index: FOUNDED_AT, ..Base::default() },
            &founding_state(FOUNDED_AT, 1),
        )
        .unwrap();
        recovered.entries.iter().any(|entry| !entry.data.is_empty())
    });
    assert_eq!(held.count(), 3);
}

#[test]
fn what_an_old_leader_could_not_commit_is_not_known_to_its_writer() {
    let mut three = Three::new();
    three.cores[0].campaign().unwrap();
    three.carry(&[1, 2, 3]);
    let (reply, mut answer) = oneshot::channel();
    three.cores[0].propose(put("a/lost"), reply).unwrap();
    three.carry(&[1]);

    // Long enough for the others to give the leader up.
    for _ in 0..50 {
        (1..3).for_each(|server| three.cores[server].tick());
        three.carry(&[2, 3]);
    }
    let leader = three.cores.iter().skip(1).position(|core| core.view.role() == Role::Leader).unwrap() + 1;
    let (reply, mut kept) = oneshot::channel();
    three.cores[leader].propose(put("a/kept"), reply).unwrap();
    three.carry(&[2, 3]);
    assert!(matches!(kept.try_recv(), Ok(Ok(Outcome::Committed { revision: Revision(1), .. }))));
    for _ in 0..4 {
        three.cores[leader].tick();
        three.carry(&[1, 2, 3]);
    }
    assert!(matches!(answer.try_recv(), Ok(Err(StoreError::Unknown))));
    assert!(three.cores.iter().all(|core| keys(core) == ["a/kept"]));
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = MemoryDisk::default();
    let mut core = core(7, &[7], &disk, &Wire::default());
    core.campaign().unwrap();
    core.settle().unwrap();
    let mut commit = |key: &str, len: usize| {
        let op = Op::Put { key: key.into(), value: vec![0; len].into(), revision_at: None };
        let (reply, mut answer) = oneshot::channel();
        core.propose(encode_txn(&Txn::of(vec![op])), reply).unwrap();
        core.settle().unwrap();
        (answer.try_recv().unwrap().map(drop).map_err(|error| error.to_string()), keys(&core).len())
    };
    let full = Err("log/2: the disk is full".to_owned());
    assert_eq!(commit("a/1", 3000), (Ok(()), 1));
    disk.limit(Some(0));
    assert_eq!(commit("a/2", 3000), (full.clone(), 1));
    assert_eq!(commit("a/3", 3000), (full, 1));
    assert_eq!(commit("a/4", 10), (Ok(()), 2));
    disk.limit(None);
    assert_eq!(commit("a/2", 3000), (Ok(()), 3));
}
