//! Reads that the leader answers without asking: only for as long as nobody else can lead.

use super::*;
use crate::lease::{trust, vow};

impl Cluster {
    /// The entry up to which this server answers reads by its lease now.
    fn leased(&mut self, server: u64) -> Option<u64> {
        let now = self.now;
        self.core(server).view.leased(|| now)
    }

    /// Cuts the first of three servers off from the third and, when that one has lost patience, from the second as well,
    /// which is started again. Returns for how long the first one has a lease although another one leads.
    fn betray(&mut self, planted: Option<Planted>) -> Duration {
        self.pass(60, &[1, 2]);
        assert!(self.leased(1).is_some());
        // The third one has asked for votes meanwhile, and is about to ask again.
        self.pass(40, &[3]);
        while self.core(3).node.raft.election_elapsed + 3 < self.core(3).patience.ticks() {
            self.pass(1, &[3]);
        }
        self.pass(5, &[1, 2]);
        let stored = founded(&[1, 2, 3]);
        self.starts += 1;
        self.disks[1].cut_power();
        self.cores[1] = core(2, self.starts, stored, &self.disks[1], &self.wire);
        for server in 1..=3 {
            self.core(server).planted = planted;
        }
        let mut both = Duration::ZERO;
        for _ in 0..60 {
            self.pass(1, &[2, 3]);
            let other = [2, 3].iter().any(|server| self.cores[*server as usize - 1].leads());
            if other && self.leased(1).is_some() {
                both += TICK;
            }
        }
        both
    }
}

#[test]
fn a_leader_that_a_majority_answers_has_a_lease_and_nobody_else_has() {
    let mut cluster = Cluster::led(3);
    let mut write = cluster.propose(1, "a/1");
    cluster.carry(&[1, 2, 3]);
    assert!(revision(&mut write).is_some());
    cluster.pass(10, &[1, 2, 3]);
    let committed = cluster.core(1).node.raft.raft_log.committed;
    assert_eq!(cluster.leased(1), Some(committed));
    assert_eq!((cluster.leased(2), cluster.leased(3)), (None, None));
    cluster.now += trust(&Timing::default());
    assert_eq!(cluster.leased(1), None, "it ends by itself");
}

#[test]
fn the_lease_has_ended_when_another_server_leads() {
    for voters in [3, 5] {
        let mut cluster = Cluster::led(voters);
        let all: Vec<u64> = (1..=voters).collect();
        cluster.pass(40, &all);
        assert!(cluster.leased(1).is_some());
        cluster.elect(&all[1..]);
        assert_eq!(cluster.leased(1), None);
    }
}

#[test]
fn a_server_that_was_started_keeps_the_vow_that_it_forgot() {
    assert_eq!(Cluster::led(3).betray(None), Duration::ZERO);
}

#[test]
fn forgetting_the_vow_gives_two_leaders_at_once() {
    assert!(Cluster::led(3).betray(Some(Planted::ForgetVow)) > Duration::ZERO);
}

#[test]
fn who_hands_over_has_no_lease_any_more() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    assert!(cluster.leased(1).is_some());
    let _answer = cluster.change(1, Change::Lead(ServerId(2)));
    cluster.core(1).settle().unwrap();
    assert_eq!(cluster.leased(1), None);
    // The word that the other one is to stand is on its way for long, and the transfer is given up.
    cluster.wire.lock().unwrap().clear();
    cluster.pass(40, &[1, 3]);
    assert!(cluster.core(1).leads());
    assert_eq!(cluster.leased(1), None);
}

#[test]
fn while_the_members_change_there_is_no_lease() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let mut answer = cluster.change(1, Change::Remove(ServerId(3)));
    cluster.core(1).settle().unwrap();
    assert_eq!(cluster.leased(1), None);
    cluster.pass(40, &[1, 2, 3]);
    answer.try_recv().unwrap().unwrap();
    assert!(cluster.leased(1).is_some());
}

#[test]
fn who_has_heard_the_leader_votes_for_nobody_until_the_vow_ends() {
    let mut cluster = Cluster::led(3);
    cluster.pass(5, &[1, 2, 3]);
    let heard = cluster.now;
    let term = cluster.core(2).node.raft.term;
    let vow = vow(&Timing::default());
    for (late, expected) in [(Duration::ZERO, false), (vow / 2, false), (vow, true)] {
        cluster.now = heard + late;
        let mut message = Message { from: 3, to: 2, term: term + 1, index: 100, log_term: term, ..Message::default() };
        message.set_msg_type(MessageType::MsgRequestVote);
        let now = cluster.now;
        cluster.core(2).set_now(now);
        let taken = cluster.core(2).may_take(&message);
        assert_eq!(taken, expected, "{late:?} later");
    }
}
