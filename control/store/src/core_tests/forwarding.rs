//! Proposals of servers that do not lead, and of those that did.

use super::*;

#[test]
fn a_follower_hands_writes_to_the_leader_and_answers_when_it_has_applied_them() {
    let mut cluster = Cluster::led(3);
    let mut answers = [cluster.propose(2, "a/1"), cluster.propose(3, "a/2"), cluster.propose(2, "a/3")];
    cluster.carry(&[1, 2, 3]);
    for answer in &mut answers {
        let revision = revision(answer).expect("answered");
        assert!((1..=3).contains(&revision));
    }
    assert!(cluster.keys(&[1, 2, 3]).iter().all(|keys| keys == &["a/1", "a/2", "a/3"]));
}

#[test]
fn what_was_lost_on_the_way_is_handed_in_again_and_applied_once() {
    let mut cluster = Cluster::led(3);
    let mut answer = cluster.propose(2, "a/1");
    // The forward is lost.
    cluster.carry(&[2]);
    cluster.pass(20, &[1, 2, 3]);
    assert!(answer.try_recv().is_err());
    cluster.pass(20, &[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(1));

    // Sooner when the stream breaks and is opened again.
    let mut answer = cluster.propose(2, "a/1");
    cluster.carry(&[2]);
    cluster.core(2).reachable(3);
    cluster.carry(&[1, 2, 3]);
    assert!(answer.try_recv().is_err());
    cluster.core(2).reachable(1);
    cluster.carry(&[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(2));

    // The leader takes it, but its follower hears nothing of that and hands it in again.
    let mut answer = cluster.propose(2, "a/2");
    cluster.core(2).settle().unwrap();
    let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
    said.into_iter().for_each(|(from, said)| cluster.deliver(from, said, &[1]));
    cluster.pass(10, &[1, 3]);
    cluster.pass(60, &[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(3));
    assert_eq!(cluster.core(1).view.snapshot().revision(), Revision(3));
}

#[test]
fn a_write_of_a_lost_leader_is_handed_to_the_next_one() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let mut answer = cluster.propose(1, "a/kept");
    cluster.carry(&[1]);
    let leader = cluster.elect(&[2, 3]);
    let mut other = cluster.propose(leader, "a/other");
    cluster.carry(&[2, 3]);
    assert_eq!(revision(&mut other), Some(1));
    assert!(answer.try_recv().is_err());
    cluster.pass(20, &[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(2));
    assert!(cluster.keys(&[1, 2, 3]).iter().all(|keys| keys == &["a/kept", "a/other"]));
}

#[test]
fn a_write_that_two_leaders_put_into_the_log_is_applied_once() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    // All have the entry, but nobody learns that.
    let mut answer = cluster.propose(1, "a/1");
    cluster.core(1).settle().unwrap();
    let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
    said.into_iter().for_each(|(from, said)| cluster.deliver(from, said, &[2, 3]));
    for server in [2, 3] {
        cluster.core(server).settle().unwrap();
    }
    cluster.wire.lock().unwrap().clear();
    let leader = cluster.elect(&[2, 3]);
    let before = cluster.core(leader).node.raft.raft_log.last_index();
    assert!(cluster.keys(&[leader])[0] == ["a/1"]);
    // The old leader is only behind now: it hands its write in before it learns that it was applied.
    cluster.pass(1, &[1]);
    let context = Context { origin: 1000, seq: 1, low: 0, change: None };
    let repeated = Forward { context: Context { seq: 0, ..context.clone() }, data: put("a/1") };
    let fresh = Forward { context, data: put("a/2") };
    cluster.core(leader).forwarded(1, vec![repeated, fresh]).unwrap();
    cluster.pass(20, &[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(1));
    assert_eq!(cluster.core(leader).node.raft.raft_log.last_index(), before + 1, "the repeated one is not proposed");
    assert!(cluster.keys(&[1, 2, 3]).iter().all(|keys| keys == &["a/1", "a/2"]));
    assert!(cluster.cores.iter().all(|core| core.view.snapshot().revision() == Revision(2)));
}

#[test]
fn an_entry_that_is_in_the_log_twice_counts_once_also_after_a_restart() {
    let disk = MemoryDisk::default();
    let context = Context { origin: 5, seq: 3, low: 3, change: None };
    let entry = || {
        let txn = Txn { guards: vec![], ops: vec![Op::Delete { key: "a/1".into() }, decode_put("a/2")] };
        Entry { context: context.encode(), data: encode_txn(&txn).into(), ..Entry::default() }
    };
    let mut core = alone(&disk);
    for _ in 0..2 {
        let mut message = Message { from: 7, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry()].into());
        core.node.raft.step(message).unwrap();
        core.settle().unwrap();
    }
    assert_eq!(core.view.snapshot().revision(), Revision(1));
    let stored = core.image();
    drop(core);
    let mut core = super::core(7, 1, stored, &disk, &Wire::default());
    core.campaign().unwrap();
    core.settle().unwrap();
    assert!(core.state.holds(5, 3) && !core.state.holds(5, 4));
    assert_eq!(core.view.snapshot().revision(), Revision(1));
}

fn decode_put(key: &str) -> Op {
    Op::Put { key: key.into(), value: Bytes::new(), revision_at: None }
}

#[test]
fn a_guard_is_judged_once_though_its_write_is_handed_in_twice() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let txn = Txn { guards: vec![Guard::Absent("a/1".into())], ops: vec![decode_put("a/1")] };
    let (reply, mut answer) = oneshot::channel();
    cluster.core(1).propose(encode_txn(&txn).into(), None, reply);
    cluster.core(1).settle().unwrap();
    let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
    said.into_iter().for_each(|(from, said)| cluster.deliver(from, said, &[2, 3]));
    cluster.pass(0, &[2, 3]);
    cluster.elect(&[2, 3]);
    cluster.pass(20, &[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(1));
}

#[test]
fn what_the_leader_has_no_room_for_is_refused_to_its_writer() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    cluster.disks[0].limit(Some(0));
    let mut answers: Vec<_> = (0..200).map(|turn| cluster.propose(2, &format!("a/{turn}"))).collect();
    cluster.carry(&[1, 2, 3]);
    let refused = answers.iter_mut().filter_map(|answer| answer.try_recv().ok()?.err()).collect::<Vec<_>>();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|error| error.to_string() == "the leader's log: the disk is full"), "{refused:?}");
    assert_eq!(cluster.keys(&[1])[0].len() + refused.len(), 200);
}

#[test]
fn who_does_not_lead_says_so_and_the_write_waits() {
    let mut cluster = Cluster::led(3);
    let context = Context { origin: 2000, seq: 0, low: 0, change: None };
    cluster.core(3).forwarded(2, vec![Forward { context, data: put("a/1") }]).unwrap();
    let said = cluster.wire.lock().unwrap().pop_back();
    let Some((3, Said::Refusal(2, refusals))) = said else { panic!("no refusal") };
    assert_eq!(refusals, [Refusal { origin: 2000, seq: 0, why: Why::NotLeader }]);
    let mut answer = cluster.propose(2, "a/1");
    cluster.core(2).settle().unwrap();
    cluster.wire.lock().unwrap().clear();
    cluster.core(2).refused(refusals);
    assert!(answer.try_recv().is_err());
    cluster.pass(30, &[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(1));
}
