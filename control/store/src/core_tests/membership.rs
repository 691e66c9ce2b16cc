//! Members that come and go, and states that are sent whole.

use super::*;

fn members(cluster: &mut Cluster, server: u64) -> Vec<u64> {
    cluster.core(server).state.members().iter().map(|member| member.id.0).collect()
}

fn voters(cluster: &mut Cluster, server: u64) -> Vec<u64> {
    let mut voters = cluster.core(server).node.store().conf_state.voters.clone();
    voters.sort_unstable();
    voters
}

fn joint(cluster: &mut Cluster, server: u64) -> bool {
    !cluster.core(server).node.store().conf_state.voters_outgoing.is_empty()
}

/// One server that leads and to which others can be added.
fn first() -> Cluster {
    let mut cluster = Cluster::new(1);
    cluster.core(1).campaign().unwrap();
    cluster.carry(&[1]);
    cluster
}

/// Adds a blank server through `through`, and waits until it votes.
fn grow(cluster: &mut Cluster, through: u64, among: &[u64]) {
    cluster.add(blank());
    let new = cluster.cores.len() as u64;
    let mut answer = cluster.change(through, Change::Add(record(new)));
    let all: Vec<u64> = among.iter().copied().chain([new]).collect();
    for _ in 0..100 {
        cluster.pass(1, &all);
        if voters(cluster, new).contains(&new) && !joint(cluster, through) {
            answer.try_recv().unwrap().unwrap();
            return;
        }
    }
    panic!("server {new} does not vote: {:?}", cluster.core(new).node.store().conf_state);
}

#[test]
fn a_server_joins_by_a_snapshot_catches_up_and_is_promoted_by_itself() {
    let mut cluster = first();
    let mut write = cluster.propose(1, "a/1");
    cluster.carry(&[1]);
    assert_eq!(revision(&mut write), Some(1));
    cluster.add(blank());
    assert_eq!(cluster.core(2).view.role(), Role::Learner);
    let mut answer = cluster.change(1, Change::Add(record(2)));
    cluster.carry(&[1]);
    answer.try_recv().unwrap().unwrap();
    assert!(!cluster.core(1).view.is_sole_leader(), "another one may soon vote");
    cluster.pass(20, &[1, 2]);
    assert_eq!(voters(&mut cluster, 1), [1, 2]);
    assert_eq!(voters(&mut cluster, 2), [1, 2]);
    assert!(!joint(&mut cluster, 1) && !joint(&mut cluster, 2));
    assert_eq!(cluster.core(2).view.role(), Role::Follower);
    assert_eq!(cluster.keys(&[2])[0], ["a/1"]);
    let seen = cluster.core(2).view.membership();
    assert_eq!(seen.leader, Some(ServerId(1)));
    assert_eq!(seen.members.iter().map(|status| status.member.clone()).collect::<Vec<_>>(), [record(1), record(2)]);
}

#[test]
fn a_cluster_grows_to_five_and_shrinks_to_one_through_any_server() {
    let mut cluster = first();
    for size in 1..5 {
        let among: Vec<u64> = (1..=size).collect();
        grow(&mut cluster, size, &among);
    }
    let all = [1, 2, 3, 4, 5];
    cluster.pass(10, &all);
    assert!(all.iter().all(|server| voters(&mut cluster, *server) == all));
    for size in (2..=5).rev() {
        let mut answer = cluster.change(1, Change::Remove(ServerId(size)));
        cluster.pass(60, &all);
        answer.try_recv().unwrap().unwrap();
        assert_eq!(cluster.core(size).view.role(), Role::Removed, "server {size}");
        assert_eq!(voters(&mut cluster, 1), (1..size).collect::<Vec<_>>());
        assert!(!joint(&mut cluster, 1));
    }
    assert!(cluster.core(1).is_alone());
    let mut last = cluster.change(1, Change::Remove(ServerId(1)));
    cluster.carry(&[1]);
    assert!(matches!(last.try_recv(), Ok(Err(StoreError::LastVoter(ServerId(1))))));
    let mut write = cluster.propose(1, "a/1");
    cluster.carry(&[1]);
    assert_eq!(revision(&mut write), Some(1));
    assert!(cluster.core(1).view.is_sole_leader());
}

#[test]
fn a_leader_that_is_removed_lets_another_one_lead_first() {
    for asked in [1, 2] {
        let mut cluster = Cluster::led(3);
        cluster.pass(10, &[1, 2, 3]);
        let mut answer = cluster.change(asked, Change::Remove(ServerId(1)));
        let mut write = cluster.propose(3, "a/1");
        cluster.pass(100, &[1, 2, 3]);
        answer.try_recv().unwrap().unwrap();
        assert_eq!(revision(&mut write), Some(1));
        assert_eq!(cluster.core(1).view.role(), Role::Removed);
        assert_eq!(voters(&mut cluster, 2), [2, 3]);
        assert_eq!(members(&mut cluster, 3), [2, 3]);
        let mut late = cluster.propose(1, "a/2");
        assert!(matches!(late.try_recv(), Ok(Err(StoreError::Removed))));
        let mut late = cluster.read(1);
        assert!(matches!(late.try_recv(), Ok(Err(StoreError::Removed))));
    }
}

#[test]
fn a_new_leader_ends_the_joint_state_that_the_old_one_left() {
    let mut cluster = Cluster::led(4);
    cluster.pass(10, &[1, 2, 3, 4]);
    let mut answer = cluster.change(1, Change::Remove(ServerId(4)));
    // Until all are in the joint state, and no further.
    for _ in 0..100 {
        for server in 1..=4 {
            cluster.core(server).settle().unwrap();
        }
        if (2..=4).all(|server| joint(&mut cluster, server)) {
            break;
        }
        let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
        for (from, said) in said {
            let leaves = matches!(&said, Said::Message(message)
                if message.entries.iter().any(|e| e.data.is_empty() && e.entry_type == raft::eraftpb::EntryType::EntryConfChangeV2));
            if !leaves {
                cluster.deliver(from, said, &[1, 2, 3, 4]);
            }
        }
    }
    assert!((2..=4).all(|server| joint(&mut cluster, server)));
    assert!(answer.try_recv().is_err(), "who goes has a vote until the joint state is over");
    cluster.wire.lock().unwrap().clear();
    cluster.elect(&[2, 3, 4]);
    cluster.pass(40, &[2, 3, 4]);
    for server in [2, 3] {
        assert_eq!(voters(&mut cluster, server), [1, 2, 3]);
        assert!(!joint(&mut cluster, server));
    }
    cluster.pass(40, &[1, 2, 3]);
    assert_eq!(voters(&mut cluster, 1), [1, 2, 3]);
    answer.try_recv().unwrap().unwrap();
}

/// Whether this ends a joint state, or tells of it.
fn ends_joint(said: &Said) -> bool {
    matches!(said, Said::Message(message)
        if message.entries.iter().any(|e| e.data.is_empty() && e.entry_type == raft::eraftpb::EntryType::EntryConfChangeV2))
}

#[test]
fn a_server_that_goes_is_a_member_as_long_as_its_vote_is_needed() {
    let mut cluster = first();
    grow(&mut cluster, 1, &[1]);
    cluster.pass(10, &[1, 2]);
    let mut answer = cluster.change(1, Change::Remove(ServerId(2)));
    for turn in 0..400 {
        let leaves = cluster.core(2).view.role() == Role::Removed;
        cluster.now += TICK;
        for server in 1..=if leaves { 1 } else { 2 } {
            let now = cluster.now;
            cluster.core(server).set_now(now);
            cluster.core(server).tick().unwrap();
            cluster.core(server).settle().unwrap();
        }
        let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
        // A server that knows that it was removed stops, and for a while it hears of the change but not of its end.
        let heard = said.into_iter().filter(|(_, said)| !leaves && (turn > 40 || !ends_joint(said)));
        heard.for_each(|(from, said)| cluster.deliver(from, said, &[1, 2]));
        if turn == 40 {
            assert!(joint(&mut cluster, 1) && joint(&mut cluster, 2));
            assert_eq!(members(&mut cluster, 1), [1, 2]);
            assert_eq!(cluster.core(1).view.membership().members.len(), 2);
            assert!(answer.try_recv().is_err());
        }
        if !joint(&mut cluster, 1) && turn > 40 {
            break;
        }
    }
    assert!(cluster.core(1).is_alone() && !joint(&mut cluster, 1));
    cluster.core(1).settle().unwrap();
    answer.try_recv().unwrap().unwrap();
    assert_eq!(members(&mut cluster, 1), [1]);
    let mut write = cluster.propose(1, "a/1");
    cluster.carry(&[1]);
    assert_eq!(revision(&mut write), Some(1));
}

#[test]
fn a_change_of_members_is_applied_once_though_its_leader_is_lost() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let mut answer = cluster.change(2, Change::Add(record(4)));
    cluster.core(2).settle().unwrap();
    let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
    said.into_iter().for_each(|(from, said)| cluster.deliver(from, said, &[1]));
    // The leader has it in its log, and is lost.
    cluster.carry(&[1]);
    cluster.elect(&[2, 3]);
    cluster.pass(60, &[2, 3]);
    answer.try_recv().unwrap().unwrap();
    assert_eq!(members(&mut cluster, 2), [1, 2, 3, 4]);
    cluster.pass(60, &[1, 2, 3]);
    assert_eq!(cluster.core(1).node.store().conf_state.learners, [4]);
}

#[test]
fn changes_that_make_no_sense_are_refused_wherever_they_are_asked() {
    for asked in [1, 2] {
        let mut cluster = Cluster::led(3);
        cluster.pass(10, &[1, 2, 3]);
        let taken = Member { name: "s3".to_owned(), ..record(9) };
        let mut taken = cluster.change(asked, Change::Add(taken));
        let mut unknown = cluster.change(asked, Change::Remove(ServerId(8)));
        let mut nobody = cluster.change(asked, Change::Lead(ServerId(8)));
        let mut again = cluster.change(asked, Change::Add(record(2)));
        cluster.pass(30, &[1, 2, 3]);
        assert!(matches!(taken.try_recv(), Ok(Err(StoreError::MemberExists { .. }))));
        assert!(matches!(unknown.try_recv(), Ok(Err(StoreError::NotMember(ServerId(8))))));
        assert!(matches!(nobody.try_recv(), Ok(Err(StoreError::NotMember(ServerId(8))))));
        again.try_recv().unwrap().unwrap();
        assert_eq!(voters(&mut cluster, 1), [1, 2, 3], "nobody was demoted");
    }
}

#[test]
fn another_server_leads_when_it_is_asked_for() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    for (asked, leader) in [(1, 2), (1, 3), (3, 1), (1, 1)] {
        let mut answer = cluster.change(asked, Change::Lead(ServerId(leader)));
        let mut write = cluster.propose(2, "a/1");
        cluster.pass(10, &[1, 2, 3]);
        answer.try_recv().unwrap().unwrap();
        assert_eq!(cluster.core(leader).view.role(), Role::Leader);
        assert!(revision(&mut write).is_some());
    }
}

#[test]
fn writes_go_on_while_one_that_does_not_answer_is_to_lead() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let others = [1, 2];
    // Until it is noticed that the third is gone.
    cluster.pass(200, &others);
    let mut refused = cluster.change(1, Change::Lead(ServerId(3)));
    for turn in 0..20 {
        let mut write = cluster.propose(2, &format!("a/{turn}"));
        cluster.pass(2, &others);
        assert!(revision(&mut write).is_some(), "write {turn}");
    }
    cluster.pass(600, &others);
    assert!(matches!(refused.try_recv(), Ok(Err(StoreError::CannotLead { id: ServerId(3), .. }))));
}

#[test]
fn a_server_corrects_its_own_record_when_it_starts() {
    let mut cluster = Cluster::led(3);
    cluster.core(2).record.address = "moved:1".to_owned();
    cluster.pass(30, &[1, 2, 3]);
    for server in 1..=3 {
        assert_eq!(cluster.core(server).state.members().get(ServerId(2)).unwrap().address, "moved:1");
    }
}

#[test]
fn a_server_that_is_too_far_behind_gets_the_whole_state() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let mut watcher = cluster.core(3).hub.watch("a/", Revision(0)).unwrap();
    for batch in 0..10 {
        let mut answers: Vec<_> = (0..20).map(|turn| cluster.propose(1, &format!("a/{batch}-{turn}"))).collect();
        cluster.pass(1, &[1, 2]);
        assert!(answers.iter_mut().all(|answer| revision(answer).is_some()));
    }
    assert!(cluster.core(1).node.store().first() > FOUNDED_AT + 1);
    cluster.pass(40, &[1, 2, 3]);
    assert_eq!(cluster.keys(&[3])[0].len(), 200);
    assert!(watcher.try_next().is_err(), "its watchers have missed something");
    let mut answer = cluster.propose(3, "b/1");
    cluster.carry(&[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(201));

    // What it has on disk is the new state and what came after.
    let stored = cluster.core(3).image();
    cluster.restart(3, stored);
    assert_eq!(cluster.keys(&[3])[0].len(), 201);
    let mut answer = cluster.propose(3, "b/2");
    cluster.pass(20, &[1, 2, 3]);
    assert_eq!(revision(&mut answer), Some(202));
}

#[test]
fn a_write_whose_outcome_went_by_in_a_whole_state_is_not_known() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let mut lost = cluster.propose(3, "a/lost");
    cluster.core(3).settle().unwrap();
    let said = std::mem::take(&mut *cluster.wire.lock().unwrap());
    said.into_iter().for_each(|(from, said)| cluster.deliver(from, said, &[1]));
    for batch in 0..10 {
        let _answers: Vec<_> = (0..20).map(|turn| cluster.propose(1, &format!("a/{batch}-{turn}"))).collect();
        cluster.pass(1, &[1, 2]);
    }
    cluster.pass(40, &[1, 2, 3]);
    assert!(matches!(lost.try_recv(), Ok(Err(StoreError::Unknown))));
    assert_eq!(cluster.keys(&[3])[0].len(), 201);
}

#[test]
fn stale_states_are_not_wanted() {
    let mut cluster = Cluster::led(3);
    cluster.pass(10, &[1, 2, 3]);
    let old = cluster.core(1).image();
    let _answer = cluster.propose(1, "a/1");
    cluster.pass(10, &[1, 2, 3]);
    let term = cluster.core(1).node.raft.term;
    let mut check = |image: &Image, index: u64, term: u64, expected: bool| {
        let mut message = Message { from: 1, to: 3, term, ..Message::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = index;
        metadata.term = image.state.term();
        metadata.set_conf_state(image.conf_state.clone());
        assert_eq!(cluster.core(3).wants(&message), expected);
    };
    let index = old.state.index();
    check(&old, index, term, false);
    check(&old, index + 100, term, true);
    check(&old, index + 100, term - 1, false);
    let elsewhere = Image { conf_state: ConfState { voters: vec![8], ..ConfState::default() }, ..old };
    check(&elsewhere, index + 100, term, false);
}

#[test]
fn a_restart_does_not_fall_back_to_the_members_of_before() {
    let mut cluster = first();
    let stored = cluster.core(1).image();
    grow(&mut cluster, 1, &[1]);
    grow(&mut cluster, 1, &[1, 2]);
    // The first server starts from the state that it had when it was alone; the rest is in its log.
    cluster.restart(1, stored);
    assert_eq!(voters(&mut cluster, 1), [1, 2, 3]);
    assert!(!cluster.core(1).is_alone());
    cluster.pass(100, &[1]);
    assert_ne!(cluster.core(1).view.role(), Role::Leader);
    cluster.elect(&[1, 2, 3]);
}

#[test]
fn members_survive_restarts_of_all() {
    let mut cluster = Cluster::led(3);
    let stored: Vec<Image> = (1..=3).map(|server| cluster.core(server).image()).collect();
    let mut answer = cluster.change(2, Change::Add(record(4)));
    let mut write = cluster.propose(3, "a/1");
    cluster.pass(30, &[1, 2, 3]);
    answer.try_recv().unwrap().unwrap();
    assert_eq!(revision(&mut write), Some(1));
    for (server, stored) in (1..).zip(stored) {
        cluster.restart(server, stored);
    }
    cluster.elect(&[1, 2, 3]);
    cluster.pass(10, &[1, 2, 3]);
    for server in 1..=3 {
        assert_eq!(members(&mut cluster, server), [1, 2, 3, 4]);
        assert_eq!(cluster.keys(&[server])[0], ["a/1"]);
    }
}

#[test]
fn a_leader_shows_who_answers_at_all_times_and_soon_who_does_not() {
    let mut cluster = Cluster::led(3);
    let all = [1, 2, 3];
    let leader = all.into_iter().find(|server| cluster.core(*server).view.role() == Role::Leader).unwrap();
    let active = |cluster: &mut Cluster| {
        let members = cluster.core(leader).view.membership().members;
        members.iter().filter(|status| status.progress.is_some_and(|progress| progress.active)).count()
    };
    cluster.pass(30, &all);
    for tick in 0..100 {
        cluster.pass(1, &all);
        assert_eq!(active(&mut cluster), 3, "{tick} ticks later");
    }
    let others: Vec<u64> = all.into_iter().filter(|server| *server != leader).take(1).chain([leader]).collect();
    cluster.pass(80, &others);
    assert_eq!(active(&mut cluster), 2);
}
