use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use raft::eraftpb::ConfState;
use tokio::sync::oneshot;

use self::cluster::*;
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
#[path = "core_tests/cluster.rs"]
mod cluster;
#[path = "core_tests/forwarding.rs"]
mod forwarding;
#[path = "core_tests/leases.rs"]
mod leases;
#[path = "core_tests/membership.rs"]
mod membership;

const TICK: Duration = Duration::from_millis(20);

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
fn a_server_whose_disk_has_long_been_full_is_as_if_cut_off_until_there_is_room() {
    let mut cluster = Cluster::led(3);
    cluster.disks[2].limit(Some(0));
    // Each election is noted, in what room is left.
    for turn in 0..100 {
        let leader = cluster.elect(&[1, 2, 3]);
        let next = if leader == 1 { 2 } else { 1 };
        let answer = cluster.change(leader, Change::Lead(ServerId(next)));
        cluster.pass(5, &[1, 2, 3]);
        drop(answer);
        assert!(cluster.core(3).view.failure().is_none(), "turn {turn}");
    }
    assert!(cluster.core(3).cramped);
    let (ahead, behind) = (cluster.core(1).node.raft.term, cluster.core(3).node.raft.term);
    assert!(behind < ahead, "term {behind} was noted, of {ahead}");
    cluster.disks[2].limit(None);
    let mut write = cluster.propose(1, "a/1");
    cluster.pass(60, &[1, 2, 3]);
    assert!(revision(&mut write).is_some());
    assert_eq!(cluster.keys(&[3])[0], ["a/1"]);
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
