use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), revision_at: None }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

/// `a/1` created at 1 and changed at 3, `a/2` created at 2, `b/1` created at 4 and deleted at 5.
fn sample() -> State {
    let mut state = State::default();
    let ops = [put("a/1", "x"), put("a/2", "y"), put("a/1", "z"), put("b/1", "w"), delete("b/1")];
    for (index, op) in (1..).zip(ops) {
        state.apply(Txn::of(vec![op]), index, 1).unwrap();
    }
    state
}

#[test]
fn guards_decide_whether_a_transaction_happens() {
    fn check(guards: Vec<Guard>, refused_by: Option<usize>) {
        let mut state = sample();
        let applied = state.apply(Txn { guards, ops: vec![put("c/1", "new")] }, 6, 1).unwrap();
        match (applied.outcome, refused_by) {
            (Outcome::Committed { revision, .. }, None) => assert_eq!(revision, Revision(6)),
            (Outcome::Refused { guard, .. }, Some(expected)) => {
                assert_eq!(guard, expected);
                assert_eq!((applied.events.len(), state.revision()), (0, Revision(5)));
                assert!(state.snapshot().get("c/1").is_none());
            }
            (outcome, expected) => panic!("{outcome:?}, but {expected:?} was expected"),
        }
    }
    check(vec![], None);
    check(vec![Guard::Absent("a/9".into())], None);
    check(vec![Guard::Absent("b/1".into())], None);
    check(vec![Guard::Absent("a/1".into())], Some(0));
    check(vec![Guard::Present("a/1".into())], None);
    check(vec![Guard::Present("b/1".into())], Some(0));
    check(vec![Guard::Unchanged("a/1".into(), Revision(3))], None);
    check(vec![Guard::Unchanged("a/1".into(), Revision(1))], Some(0));
    check(vec![Guard::Unchanged("b/1".into(), Revision(4))], Some(0));
    check(vec![Guard::Present("a/1".into()), Guard::Absent("a/2".into())], Some(1));
}

#[test]
fn a_refusal_shows_what_is_there() {
    let mut state = sample();
    let applied = state.apply(Txn { guards: vec![Guard::Absent("a/1".into())], ops: vec![] }, 6, 1).unwrap();
    let Outcome::Refused { current: Some(current), .. } = applied.outcome else { panic!("not refused") };
    assert_eq!((current.value().as_ref(), current.modified()), (b"z".as_ref(), Revision(3)));
}

#[test]
fn entries_know_when_they_came_to_be_and_changed() {
    let snapshot = sample().snapshot();
    let check = |key: &str, expected: Option<(u64, u64)>| {
        let found = snapshot.get(key).map(|entry| (entry.created().0, entry.modified().0));
        assert_eq!(found, expected);
    };
    check("a/1", Some((1, 3)));
    check("a/2", Some((2, 2)));
    check("b/1", None);
}

#[test]
fn a_delete_leaves_a_tombstone_with_its_revision() {
    let mut state = State::default();
    let op = Op::Put { key: "a/1".into(), value: Bytes::from_static(b"<>"), revision_at: Some(1) };
    state.apply(Txn::of(vec![op]), 1, 1).unwrap();
    let applied = state.apply(Txn::of(vec![delete("a/1"), delete("a/2")]), 2, 1).unwrap();
    let Outcome::Committed { revision: Revision(2), entries } = applied.outcome else { panic!("not committed") };
    assert_eq!(entries[0].as_ref().unwrap().value(), b"<2>".as_ref());
    assert_eq!(entries[1], None);
    let [event] = applied.events.as_slice() else { panic!("one event was expected") };
    let Change::Delete { tombstone, previous } = &event.change else { panic!("no delete") };
    assert_eq!((tombstone.value(), previous.value()), (&Bytes::from_static(b"<2>"), &Bytes::from_static(b"<1>")));
}

#[test]
fn what_changes_nothing_takes_no_revision() {
    fn check(ops: Vec<Op>, expected: u64) {
        let mut state = sample();
        let applied = state.apply(Txn::of(ops), 6, 1).unwrap();
        assert!(matches!(applied.outcome, Outcome::Committed { revision, .. } if revision.0 == expected));
        assert_eq!((state.revision().0, state.index()), (expected, 6));
    }
    check(vec![], 5);
    check(vec![delete("b/1")], 5);
    check(vec![delete("a/1")], 6);
    check(vec![put("a/1", "z")], 6);
}

#[test]
fn an_entry_of_the_log_is_applied_once() {
    let mut state = sample();
    assert_eq!(state.apply(Txn::of(vec![put("a/1", "again")]), 5, 1), None);
    assert!(!state.pass(3, 1));
    assert_eq!((state.revision(), state.index()), (Revision(5), 5));
}

#[test]
fn buckets_remember_their_last_change() {
    let changed: Vec<_> = sample().changed().iter().map(|(name, at)| (name.to_string(), at.0)).collect();
    assert_eq!(changed, [("a/".to_owned(), 3), ("b/".to_owned(), 5)]);
}

#[test]
fn a_snapshot_does_not_change() {
    let mut state = sample();
    let snapshot = state.snapshot();
    state.apply(Txn::of(vec![delete("a/1"), put("a/3", "v")]), 6, 1).unwrap();
    let keys: Vec<_> = snapshot.range("a/", None).map(|entry| entry.key().to_string()).collect();
    assert_eq!((snapshot.revision(), keys), (Revision(5), vec!["a/1".to_owned(), "a/2".to_owned()]));
}

/// What the state machine should hold: value, created, modified.
type Model = BTreeMap<String, (Vec<u8>, u64, u64)>;

fn arbitrary_txn() -> impl Strategy<Value = Txn> {
    let key = || prop::sample::select(vec!["a/1", "a/2", "a/3", "b/1", "b/2"]);
    let guard = prop_oneof![
        key().prop_map(|key| Guard::Absent(key.into())),
        key().prop_map(|key| Guard::Present(key.into())),
        (key(), 0..8u64).prop_map(|(key, at)| Guard::Unchanged(key.into(), Revision(at))),
    ];
    let op = (key(), prop::option::of("[a-z]{0,4}")).prop_map(|(key, value)| match value {
        Some(value) => put(key, &value),
        None => delete(key),
    });
    let unique = prop::collection::vec(op, 0..4).prop_map(|mut ops| {
        let mut seen = std::collections::BTreeSet::new();
        ops.retain(|op| seen.insert(op.key().clone()));
        ops
    });
    (prop::collection::vec(guard, 0..2), unique).prop_map(|(guards, ops)| Txn { guards, ops })
}

fn holds(model: &Model, guard: &Guard) -> bool {
    let found = model.get(guard.key().as_str());
    match guard {
        Guard::Absent(_) => found.is_none(),
        Guard::Present(_) => found.is_some(),
        Guard::Unchanged(_, at) => found.is_some_and(|(_, _, modified)| *modified == at.0),
    }
}

/// Applies a transaction to the model; true when it changed something.
fn apply(model: &mut Model, txn: &Txn, revision: u64) -> bool {
    if !txn.guards.iter().all(|guard| holds(model, guard)) {
        return false;
    }
    let mut changed = false;
    for op in &txn.ops {
        let key = op.key().to_string();
        changed |= match op {
            Op::Put { value, .. } => {
                let created = model.get(&key).map_or(revision, |(_, created, _)| *created);
                model.insert(key, (value.to_vec(), created, revision));
                true
            }
            Op::Delete { .. } => model.remove(&key).is_some(),
        };
    }
    changed
}

proptest! {
    #[test]
    fn the_state_is_what_a_plain_map_says(txns in prop::collection::vec(arbitrary_txn(), 0..40)) {
        let mut state = State::default();
        let mut model = Model::new();
        let mut replayed = Model::new();
        let mut revision = 0;
        for (index, txn) in (1..).zip(txns) {
            revision += u64::from(apply(&mut model, &txn, revision + 1));
            let applied = state.apply(txn, index, 1).unwrap();
            prop_assert_eq!(state.revision().0, revision);
            // The events alone must bring a watcher to the same content.
            for event in &applied.events {
                let entry = event.entry();
                match &event.change {
                    Change::Put { .. } => replayed.insert(
                        entry.key().to_string(),
                        (entry.value().to_vec(), entry.created().0, entry.modified().0),
                    ),
                    Change::Delete { .. } => replayed.remove(entry.key().as_str()),
                };
            }
        }
        let content: Model = state
            .snapshot()
            .range("", None)
            .map(|entry| (entry.key().to_string(), (entry.value().to_vec(), entry.created().0, entry.modified().0)))
            .collect();
        prop_assert_eq!(&content, &model);
        prop_assert_eq!(&replayed, &model);
    }
}
