use super::*;
use std::collections::BTreeMap;

fn operation(client: u64, called: u64, at: u64, call: Call, outcome: Outcome) -> Operation {
    let returned = Some(Returned { at, outcome });
    Operation { client, server: "s".to_owned(), called, call, returned }
}

fn txn(guards: &[Guard], writes: &[(&str, Option<Value>)]) -> Call {
    let writes = writes.iter().map(|(key, value)| Write { key: (*key).to_owned(), value: *value }).collect();
    Call::Txn { guards: guards.to_vec(), writes }
}

const DONE: Outcome = Outcome::Committed { revision: None };

fn put(client: u64, called: u64, at: u64, value: Value) -> Operation {
    operation(client, called, at, txn(&[], &[("k", Some(value))]), DONE)
}

/// A put that was never answered.
fn lost(client: u64, called: u64, value: Value) -> Operation {
    Operation { returned: None, ..put(client, called, called, value) }
}

fn remove(client: u64, called: u64, at: u64) -> Operation {
    operation(client, called, at, txn(&[], &[("k", None)]), DONE)
}

fn swap(client: u64, called: u64, at: u64, from: Value, to: Value, outcome: Outcome) -> Operation {
    operation(client, called, at, txn(&[Guard::Is("k".to_owned(), from)], &[("k", Some(to))]), outcome)
}

fn create(client: u64, called: u64, at: u64, value: Value, outcome: Outcome) -> Operation {
    operation(client, called, at, txn(&[Guard::Absent("k".to_owned())], &[("k", Some(value))]), outcome)
}

const REFUSED: Outcome = Outcome::Refused { guard: 0, current: None };

fn refused(current: Option<Value>) -> Outcome {
    Outcome::Refused { guard: 0, current: Some(current) }
}

fn found(value: Value) -> Option<Found> {
    Some(Found { value, modified: None })
}

fn read(client: u64, called: u64, at: u64, value: Option<Value>) -> Operation {
    let outcome = Outcome::Read { found: vec![value.and_then(found)], revision: None };
    operation(client, called, at, Call::Read { keys: vec!["k".to_owned()] }, outcome)
}

fn history(operations: Vec<Operation>) -> History {
    History { operations, ..History::default() }
}

#[test]
fn a_history_is_good_if_some_order_explains_it() {
    fn check(operations: &[Operation], expected: bool) {
        let report = crate::check(&history(operations.to_vec()), Limits::default());
        let kinds = if expected { vec![] } else { vec![Kind::NotLinearizable] };
        assert_eq!((report.kinds(), report.undecided.len()), (kinds, 0), "{operations:#?}\n{report}");
    }
    let (good, bad) = (true, false);
    check(&[], good);
    check(&[read(1, 0, 1, None)], good);
    check(&[read(1, 0, 1, Some(1))], bad);
    check(&[put(1, 0, 1, 7), read(2, 2, 3, Some(7))], good);
    check(&[put(1, 0, 1, 7), read(2, 2, 3, None)], bad);
    // At the same instant they may have overlapped.
    check(&[put(1, 0, 2, 7), read(2, 2, 3, None)], good);
    check(&[put(1, 0, 9, 7), read(2, 2, 3, None), read(2, 4, 5, Some(7))], good);
    check(&[put(1, 0, 9, 7), read(2, 2, 3, Some(7)), read(2, 4, 5, None)], bad);
    // Two readers must agree on the order of two writes.
    check(&[put(1, 0, 9, 1), put(2, 0, 9, 2), read(3, 1, 2, Some(1)), read(3, 3, 4, Some(2))], good);
    check(
        &[put(1, 0, 9, 1), put(2, 0, 9, 2), read(3, 1, 2, Some(1)), read(3, 3, 4, Some(2)), read(4, 5, 6, Some(1))],
        bad,
    );
    // What was never answered may happen at any time, or never, but not twice.
    check(&[put(1, 0, 1, 1), lost(2, 2, 2), read(1, 3, 4, Some(1))], good);
    check(&[put(1, 0, 1, 1), lost(2, 2, 2), read(1, 3, 4, Some(1)), read(1, 5, 6, Some(2))], good);
    check(&[put(1, 0, 1, 1), lost(2, 2, 2), read(1, 3, 4, Some(2)), put(1, 5, 6, 3), read(1, 7, 8, Some(2))], bad);
    check(&[lost(2, 5, 2), read(1, 3, 4, Some(2))], bad);
    check(&[operation(1, 0, 1, txn(&[], &[("k", Some(1))]), Outcome::Unknown), read(1, 2, 3, Some(1))], good);
    // What failed never happens.
    check(&[operation(1, 0, 1, txn(&[], &[("k", Some(1))]), Outcome::Failed), read(1, 2, 3, None)], good);
    // Compare and set.
    check(&[put(1, 0, 1, 1), swap(1, 2, 3, 1, 2, DONE), read(1, 4, 5, Some(2))], good);
    check(&[put(1, 0, 1, 1), swap(1, 2, 3, 9, 2, DONE)], bad);
    check(&[put(1, 0, 1, 1), swap(1, 2, 9, 1, 2, DONE), swap(2, 2, 9, 1, 3, DONE)], bad);
    check(&[put(1, 0, 1, 1), swap(1, 2, 9, 1, 2, DONE), swap(2, 2, 9, 1, 3, REFUSED)], good);
    check(&[put(1, 0, 1, 1), swap(1, 2, 3, 1, 2, REFUSED)], bad);
    check(&[put(1, 0, 1, 1), swap(1, 2, 3, 9, 2, refused(Some(1)))], good);
    check(&[put(1, 0, 1, 1), swap(1, 2, 3, 9, 2, refused(Some(5)))], bad);
    check(&[put(1, 0, 1, 1), swap(1, 2, 3, 9, 2, refused(Some(9)))], bad);
    // Create and remove.
    check(&[create(1, 0, 1, 1, DONE), create(1, 2, 3, 2, REFUSED), remove(1, 4, 5), create(1, 6, 7, 3, DONE)], good);
    check(&[create(1, 0, 1, 1, DONE), create(2, 2, 3, 2, DONE)], bad);
    check(&[create(1, 0, 1, 1, REFUSED)], bad);
    check(&[lost(2, 0, 9), create(1, 2, 3, 1, REFUSED)], good);
    check(&[put(1, 0, 1, 1), remove(1, 2, 3), read(1, 4, 5, Some(1))], bad);
}

#[test]
fn each_key_is_judged_by_itself_and_a_beginning_is_known() {
    let both = txn(&[Guard::Is("a".to_owned(), 1)], &[("a", Some(2)), ("b", Some(3))]);
    let look = |a, b| {
        let keys = vec!["a".to_owned(), "b".to_owned()];
        let seen = Outcome::Read { found: vec![found(a), found(b)], revision: None };
        operation(2, 2, 3, Call::Read { keys }, seen)
    };
    let check = |a, b, expected: &[Kind]| {
        let operations = vec![operation(1, 0, 1, both.clone(), DONE), look(a, b)];
        let initial = BTreeMap::from([("a".to_owned(), 1)]);
        let report = crate::check(&History { initial, ..history(operations) }, Limits::default());
        assert_eq!((report.kinds(), report.keys), (expected.to_vec(), 2), "{report}");
    };
    check(2, 3, &[]);
    check(1, 3, &[Kind::NotLinearizable]);
    check(2, 4, &[Kind::NotLinearizable]);
}

#[test]
fn a_failure_is_told_by_its_smallest_part() {
    let mut operations: Vec<Operation> = (1..=40).map(|n| put(1, 10 * n, 10 * n + 5, n)).collect();
    operations.extend((1..40).map(|n| read(2, 10 * n + 6, 10 * n + 9, Some(n))));
    operations.push(read(3, 236, 239, Some(22)));
    let report = crate::check(&history(operations), Limits::default());
    let expected = "k: the smallest part that no order explains, 3 of 80 operations:
  [0.000220 .. 0.000225 ms] client 1 at s: k = 22 -> committed
  [0.000230 .. 0.000235 ms] client 1 at s: k = 23 -> committed
  [0.000236 .. 0.000239 ms] client 3 at s: read k -> 22";
    assert_eq!(report.violations[0].text, expected);
}

#[test]
fn too_long_a_search_is_said_to_be_undecided() {
    let mut operations: Vec<Operation> = (1..=12).map(|n| put(n, 0, 1000, n)).collect();
    operations.push(read(20, 1001, 1002, Some(99)));
    let report = crate::check(&history(operations.clone()), Limits { steps: 1000 });
    assert_eq!((report.kinds(), report.undecided.clone()), (vec![], vec!["k".to_owned()]));
    assert!(!report.holds());
    let report = crate::check(&history(operations), Limits::default());
    assert_eq!(report.kinds(), vec![Kind::NotLinearizable]);
}

#[test]
fn many_operations_take_little_work() {
    // Five writers and five readers that overlap all the time, and writes that get lost.
    let mut operations = Vec::new();
    for n in 0..4000 {
        let at = 10 * n;
        operations.push(put(n % 5, at, at + 40, n));
        operations.push(read(5 + n % 5, at + 41, at + 49, Some(n)));
        if n % 50 == 0 {
            operations.push(lost(100 + n, at, 1_000_000 + n));
        }
    }
    let report = crate::check(&history(operations), Limits { steps: 200_000 });
    assert!(report.holds(), "{report}");
}

fn committed(client: u64, called: u64, at: u64, revision: u64, value: Value) -> Operation {
    let outcome = Outcome::Committed { revision: Some(revision) };
    operation(client, called, at, txn(&[], &[("k", Some(value))]), outcome)
}

fn read_at(client: u64, called: u64, at: u64, revision: u64, seen: Option<(Value, u64)>) -> Operation {
    let found = seen.map(|(value, modified)| Found { value, modified: Some(modified) });
    let outcome = Outcome::Read { found: vec![found], revision: Some(revision) };
    operation(client, called, at, Call::Read { keys: vec!["k".to_owned()] }, outcome)
}

fn stale(operation: Operation) -> Operation {
    Operation { call: Call::Stale { keys: vec!["k".to_owned()] }, ..operation }
}

#[test]
fn revisions_rise_with_time_and_are_never_used_again() {
    fn check(operations: &[Operation], expected: &[Kind]) {
        let report = crate::check(&history(operations.to_vec()), Limits::default());
        assert_eq!(report.kinds(), expected, "{operations:#?}\n{report}");
    }
    check(&[committed(1, 0, 1, 5, 1), committed(1, 2, 3, 6, 2), read_at(1, 4, 5, 6, Some((2, 6)))], &[]);
    check(&[committed(1, 0, 9, 6, 1), committed(2, 2, 3, 5, 2)], &[]);
    check(&[committed(1, 0, 1, 6, 1), committed(2, 2, 3, 5, 2)], &[Kind::RevisionWentBack]);
    check(&[committed(1, 0, 9, 5, 1), committed(2, 2, 3, 5, 2)], &[Kind::RevisionReused]);
    check(&[committed(1, 0, 1, 5, 1), read_at(1, 2, 3, 4, None)], &[Kind::NotLinearizable, Kind::RevisionWentBack]);
    check(&[committed(1, 0, 1, 5, 1), stale(read_at(1, 2, 3, 4, None))], &[]);
    check(&[committed(1, 0, 1, 5, 1), stale(read_at(1, 2, 3, 5, Some((3, 5))))], &[Kind::RevisionReused]);
    check(&[stale(read_at(1, 0, 1, 5, None)), committed(1, 2, 3, 5, 1)], &[Kind::RevisionWentBack]);
}

fn change(key: &str, value: Option<Value>) -> Change {
    Change { key: key.to_owned(), value }
}

#[test]
fn answers_are_held_against_the_commits_that_are_known() {
    fn check(operations: &[Operation], commits: &[(u64, &[Change])], expected: &[Kind]) {
        let history = history(operations.to_vec());
        let commits = commits.iter().map(|(revision, changes)| (*revision, changes.to_vec()));
        let sequence = Sequence::complete(&history, commits);
        let report = crate::check_against(&history, &sequence, Limits::default());
        assert_eq!(report.kinds(), expected, "{operations:#?}\n{report}");
    }
    let one: &[(u64, &[Change])] = &[(1, &[change("k", Some(7))])];
    check(&[committed(1, 0, 1, 1, 7)], one, &[]);
    check(&[put(1, 0, 1, 7)], one, &[]);
    check(&[lost(1, 0, 7)], one, &[]);
    check(&[lost(1, 0, 7), lost(1, 0, 8)], one, &[]);
    check(&[], one, &[Kind::Unasked]);
    check(&[committed(1, 0, 1, 1, 7), committed(1, 2, 3, 2, 8)], one, &[Kind::Lost]);
    check(&[committed(1, 0, 1, 1, 7), put(1, 2, 3, 8)], one, &[Kind::Lost]);
    check(&[lost(1, 0, 7), committed(1, 2, 3, 1, 8)], one, &[Kind::RevisionReused]);
    check(&[create(1, 0, 1, 7, refused(Some(3)))], one, &[Kind::NotLinearizable, Kind::Unasked]);
    check(&[operation(1, 0, 1, txn(&[], &[("k", Some(7))]), Outcome::Failed)], one, &[Kind::Unasked]);
    check(&[lost(1, 0, 7), stale(read_at(1, 0, 1, 1, Some((7, 1))))], one, &[]);
    check(&[lost(1, 0, 7), stale(read_at(1, 0, 1, 0, None))], one, &[]);
    check(&[lost(1, 0, 7), stale(read_at(1, 0, 1, 1, None))], one, &[Kind::ReadDiffers]);
    check(&[lost(1, 0, 7), stale(read_at(1, 0, 1, 1, Some((7, 0))))], one, &[Kind::ReadDiffers]);
    check(&[lost(1, 0, 7), stale(read_at(1, 0, 1, 0, Some((7, 0))))], one, &[Kind::ReadDiffers]);

    let twice: &[(u64, &[Change])] = &[(1, &[change("k", Some(7))]), (2, &[change("k", Some(7))])];
    check(&[committed(1, 0, 1, 1, 7)], twice, &[Kind::AppliedTwice]);

    let two: &[(u64, &[Change])] = &[(1, &[change("k", Some(1))]), (2, &[change("k", Some(2))])];
    let swapped = Outcome::Committed { revision: Some(2) };
    check(&[lost(1, 0, 1), swap(1, 1, 2, 1, 2, swapped.clone())], two, &[]);
    check(&[lost(1, 0, 1), swap(1, 1, 2, 5, 2, swapped)], two, &[Kind::NotLinearizable, Kind::GuardIgnored]);

    // A delete of what is not there changes nothing, but one of what is there does.
    let gone: &[(u64, &[Change])] = &[(1, &[change("k", Some(1))]), (2, &[change("k", None)])];
    let removed = |revision| {
        operation(1, 1, 2, txn(&[], &[("k", None), ("j", None)]), Outcome::Committed { revision: Some(revision) })
    };
    check(&[lost(1, 0, 1), removed(2)], gone, &[]);
    check(&[lost(1, 0, 1), removed(2)], one_of(gone), &[Kind::Lost]);
}

fn one_of<'a>(commits: &'a [(u64, &'a [Change])]) -> &'a [(u64, &'a [Change])] {
    &commits[..1]
}

fn started(after: u64) -> Step {
    Step::Started { server: "s".to_owned(), after }
}

fn event(revision: u64, key: &str, value: Option<Value>) -> Step {
    Step::Event { revision, key: key.to_owned(), value }
}

fn complete(revision: u64) -> Step {
    Step::Complete { revision }
}

#[test]
fn a_watcher_misses_nothing_and_sees_nothing_twice() {
    let commits: Vec<(u64, Vec<Change>)> = vec![
        (1, vec![change("a/1", Some(1))]),
        (2, vec![change("b/1", Some(2))]),
        (3, vec![change("a/1", Some(3)), change("a/2", Some(3)), change("b/2", Some(3))]),
        (5, vec![change("a/1", None)]),
        (6, vec![change("a/1", Some(6))]),
    ];
    let check = |steps: &[Step], expected: Option<Kind>| {
        let watch = Watch { watcher: 1, prefix: "a/".to_owned(), steps: steps.to_vec() };
        let history = History { watches: vec![watch], ..History::default() };
        let sequence = Sequence::complete(&history, commits.clone());
        let mut report = Report::default();
        crate::watches::check(&history, &sequence, &mut report);
        assert_eq!(report.kinds(), Vec::from_iter(expected), "{steps:#?}\n{report}");
    };
    let (one, three, three_too) = (event(1, "a/1", Some(1)), event(3, "a/1", Some(3)), event(3, "a/2", Some(3)));
    let (five, six) = (event(5, "a/1", None), event(6, "a/1", Some(6)));
    let all = [one.clone(), three.clone(), three_too.clone(), five.clone(), six.clone()];
    let with = |first: &[Step], then: &[Step]| [first, then].concat();
    check(&with(&[started(0)], &all), None);
    check(&with(&[started(0)], &all[..2]), None);
    check(&with(&with(&[started(0)], &all), &[complete(9)]), None);
    check(&[started(2), three.clone(), three_too.clone(), complete(4)], None);
    check(&[started(0), complete(0), one.clone(), complete(2)], None);
    // Gaps: in the middle, of half a commit, at the end.
    check(&[started(0), three.clone()], Some(Kind::WatchGap));
    check(&[started(0), one.clone(), three.clone(), five.clone()], Some(Kind::WatchGap));
    check(&[started(0), one.clone(), three.clone(), complete(3)], Some(Kind::WatchGap));
    check(&[started(0), one.clone(), complete(3)], Some(Kind::WatchGap));
    check(&[started(0), one.clone(), complete(2), six.clone()], Some(Kind::WatchGap));
    // Repeats.
    check(&[started(0), one.clone(), one.clone()], Some(Kind::WatchRepeat));
    check(&[started(1), one.clone()], Some(Kind::WatchRepeat));
    check(&[started(2), three.clone(), three_too.clone(), three.clone()], Some(Kind::WatchRepeat));
    check(&[started(3), six.clone(), five.clone()], Some(Kind::WatchGap));
    check(&[started(3), five.clone(), six.clone(), five.clone()], Some(Kind::WatchRepeat));
    // What never happened, or is not for it.
    check(&[started(0), event(1, "a/1", Some(9))], Some(Kind::WatchForeign));
    check(&[started(0), event(1, "a/7", Some(1))], Some(Kind::WatchForeign));
    check(&[started(1), event(2, "b/1", Some(2))], Some(Kind::WatchForeign));
    // Going on elsewhere.
    check(&[started(0), one.clone(), Step::Ended, started(1), three.clone(), three_too.clone()], None);
    check(&[started(0), one.clone(), Step::Ended, started(1), five.clone()], Some(Kind::WatchGap));
    check(&[started(2), three.clone(), Step::Ended, started(2), three.clone(), three_too.clone()], None);
    // Told that it cannot go on, it lists.
    let listed =
        |value| Step::Listed { revision: 4, found: BTreeMap::from([("a/1".to_owned(), value), ("a/2".to_owned(), 3)]) };
    check(&[started(0), one.clone(), Step::Broken, listed(3), started(4), five.clone()], None);
    check(&[started(0), one.clone(), Step::Broken, listed(1)], Some(Kind::ReadDiffers));
    check(&[started(0), Step::Broken, one.clone()], Some(Kind::Malformed));
}

#[test]
fn watchers_are_held_against_each_other_and_against_the_answers() {
    fn check(watches: &[&[Step]], operations: &[Operation], expected: &[Kind]) {
        let watch = |steps: &&[Step]| Watch { watcher: 1, prefix: "".to_owned(), steps: steps.to_vec() };
        let watches = watches.iter().map(watch).collect();
        let report = crate::check(&History { watches, ..history(operations.to_vec()) }, Limits::default());
        assert_eq!(report.kinds(), expected, "{report}");
    }
    let (one, two) = (event(1, "k", Some(1)), event(2, "k", Some(2)));
    check(&[&[started(0), one.clone(), two.clone()], &[started(0), one.clone(), two.clone()]], &[], &[]);
    check(&[&[started(0), one.clone(), two.clone()], &[started(0), two.clone()]], &[], &[Kind::WatchGap]);
    check(
        &[&[started(0), one.clone()], &[started(0), event(1, "k", Some(5))]],
        &[],
        &[Kind::RevisionReused, Kind::WatchForeign],
    );
    check(&[&[started(0), two.clone()]], &[committed(1, 0, 1, 1, 1)], &[Kind::WatchGap]);
    check(&[&[started(0), one.clone(), two.clone()]], &[committed(1, 0, 1, 2, 2)], &[]);
    // What nobody watched is not known, so nothing can be said about it.
    let read = stale(read_at(1, 0, 1, 2, None));
    check(&[&[started(0), one.clone(), complete(1)]], std::slice::from_ref(&read), &[]);
    check(&[&[started(0), one.clone(), complete(2)]], &[read], &[Kind::ReadDiffers]);
    // The delete lay where no watcher looked.
    let read = stale(read_at(1, 0, 1, 9, None));
    check(&[&[started(0), one.clone(), Step::Broken, started(8), complete(9)]], &[read], &[]);
}

/// Whether some order explains the steps, by trying all.
fn by_trial(left: &[crate::linear::Step], state: Option<Value>) -> bool {
    if left.iter().all(|step| step.returned.is_none()) {
        return true;
    }
    (0..left.len()).any(|at| {
        let mut rest = left.to_vec();
        let step = rest.remove(at);
        let is_first = rest.iter().all(|other| other.returned.is_none_or(|returned| returned >= step.called));
        let fits = step.sees.iter().all(|seen| seen.fits(state));
        is_first && fits && by_trial(&rest, step.writes.unwrap_or(state))
    })
}

#[test]
fn the_search_finds_what_trying_all_orders_finds() {
    let mut state = 1u64;
    let mut draw = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    let mut verdicts = [0, 0];
    for round in 0..4000 {
        let mut operations = Vec::new();
        for n in 0..2 + draw(5) {
            let called = draw(12);
            let at = called + draw(6);
            let seen = Some(draw(4)).filter(|value| *value > 0);
            let mut operation = match draw(7) {
                0 | 1 => read(n, called, at, seen),
                // Values repeat here, which histories are not meant to have: the search must be right all the same.
                2 => put(n, called, at, 1 + draw(3)),
                3 => remove(n, called, at),
                4 => swap(n, called, at, 1 + draw(3), 1 + draw(3), DONE),
                5 => swap(n, called, at, 1 + draw(3), 1 + draw(3), if draw(2) == 0 { REFUSED } else { refused(seen) }),
                _ => create(n, called, at, 1 + draw(3), if draw(2) == 0 { REFUSED } else { DONE }),
            };
            if draw(4) == 0 {
                operation.returned = None;
            }
            operations.push(operation);
        }
        let history = history(operations);
        let steps = crate::project::all_steps(&history, "k");
        let expected = by_trial(&steps, None);
        verdicts[usize::from(expected)] += 1;
        let report = crate::check(&history, Limits::default());
        assert_eq!(!report.kinds().contains(&Kind::NotLinearizable), expected, "round {round}: {history:#?}");
    }
    assert!(verdicts.iter().all(|count| *count > 500), "{verdicts:?}");
}
