use bytes::Bytes;

use super::*;

fn member(id: u64, name: &str, address: &str) -> Member {
    Member { id: ServerId(id), name: name.to_owned(), address: address.to_owned() }
}

fn conf(voters: &[u64], learners: &[u64]) -> ConfState {
    ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..ConfState::default() }
}

fn sample() -> Members {
    let mut members = Members::default();
    members.apply(&Change::Update(member(1, "a", "a:1")));
    members.apply(&Change::Add(member(2, "b", "b:1")));
    members.apply(&Change::Add(member(9, "z", "z:1")));
    members.apply(&Change::Remove(ServerId(9)));
    members
}

#[test]
fn changes_that_make_no_sense_are_refused_with_the_reason() {
    let check = |change: Change, expected: Option<&str>| {
        let refused = sample().check(&change, &conf(&[1], &[2])).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), expected, "{change:?}");
    };
    check(Change::Add(member(3, "c", "c:1")), None);
    check(Change::Add(member(2, "b", "b:1")), None);
    check(
        Change::Add(member(2, "b", "b:2")),
        Some(
            "the id 0000000000000002 is taken by server 0000000000000002: choose another, or remove that server first",
        ),
    );
    check(
        Change::Add(member(3, "a", "c:1")),
        Some("the name \"a\" is taken by server 0000000000000001: choose another, or remove that server first"),
    );
    check(
        Change::Add(member(3, "c", "b:1")),
        Some("the address b:1 is taken by server 0000000000000002: choose another, or remove that server first"),
    );
    check(
        Change::Add(member(9, "new", "n:1")),
        Some("this server was removed from the cluster: move its data directory away and join anew"),
    );
    check(
        Change::Add(member(3, "", "c:1")),
        Some("invalid transaction: server 0000000000000003: its name or address is empty"),
    );
    check(Change::Update(member(1, "a", "a:2")), None);
    check(
        Change::Update(member(1, "b", "a:2")),
        Some("the name \"b\" is taken by server 0000000000000002: choose another, or remove that server first"),
    );
    check(Change::Update(member(5, "e", "e:1")), Some("server 0000000000000005 is not a member of the cluster"));
    check(Change::Promote(ServerId(2)), None);
    check(Change::Promote(ServerId(5)), Some("server 0000000000000005 is not a member of the cluster"));
    check(
        Change::Remove(ServerId(1)),
        Some("server 0000000000000001 is the cluster's last voter and cannot be removed"),
    );
    check(Change::Remove(ServerId(2)), None);
    check(Change::Lead(ServerId(1)), None);
    check(
        Change::Lead(ServerId(2)),
        Some("server 0000000000000002 cannot lead now: it has no vote until it has caught up"),
    );
}

#[test]
fn a_cluster_has_so_many_members_and_no_more() {
    let mut members = Members::default();
    for id in 1..=MEMBERS as u64 {
        let change = Change::Add(member(id, &format!("s{id}"), &format!("s{id}:1")));
        members.check(&change, &conf(&[1], &[])).unwrap();
        members.apply(&change);
    }
    let refused = members.check(&Change::Add(member(100, "last", "last:1")), &conf(&[1], &[]));
    assert!(matches!(refused, Err(StoreError::TooManyMembers { limit: MEMBERS })));
}

#[test]
fn votes_change_through_a_joint_state() {
    let check = |change: Change, expected: Option<ConfChangeTransition>| {
        let change = change.for_raft(&conf(&[1, 3], &[2]));
        assert_eq!(change.map(|change| change.get_transition()), expected);
    };
    check(Change::Add(member(4, "d", "d:1")), Some(ConfChangeTransition::Auto));
    check(Change::Promote(ServerId(2)), Some(ConfChangeTransition::Explicit));
    check(Change::Remove(ServerId(3)), Some(ConfChangeTransition::Explicit));
    check(Change::Remove(ServerId(2)), Some(ConfChangeTransition::Auto));
    check(Change::Update(member(1, "a", "a:2")), None);
    check(Change::Lead(ServerId(3)), None);
}

#[test]
fn members_and_changes_survive_encoding() {
    let mut bytes = Vec::new();
    sample().write(&mut bytes);
    assert_eq!(Members::read(&mut Reader::new(&bytes.into())), Ok(sample()));
    let check = |change: Change| {
        let mut bytes = Vec::new();
        change.write(&mut bytes);
        assert_eq!(Change::read(&mut Reader::new(&Bytes::from(bytes))), Ok(change));
    };
    check(Change::Add(member(u64::MAX, "ä", "a:1")));
    check(Change::Update(member(1, "", "")));
    check(Change::Promote(ServerId(7)));
    check(Change::Remove(ServerId(7)));
    check(Change::Lead(ServerId(7)));
}
