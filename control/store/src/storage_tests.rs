use super::*;

fn entries(indexes: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| Entry { index, term, data: vec![0; 10].into(), ..Entry::default() }).collect()
}

fn tail(voters: &[u64]) -> Tail {
    let conf_state = ConfState { voters: voters.to_vec(), ..ConfState::default() };
    Tail::new(1, HardState::default(), conf_state, 5, 1, entries(6..=9, 2).into())
}

fn terms(tail: &Tail) -> Vec<Option<u64>> {
    (4..12).map(|index| tail.term(index).ok()).collect()
}

#[test]
fn later_entries_replace_earlier_ones() {
    let check = |added: Vec<Entry>, expected: &[u64]| {
        let mut tail = tail(&[1]);
        tail.append(added);
        let expected: Vec<_> = expected.iter().copied().map(Some).collect();
        let terms = terms(&tail);
        let found: Vec<_> = terms.iter().filter(|term| term.is_some()).copied().collect();
        assert_eq!(found, expected);
        assert_eq!(tail.last_index().unwrap(), 5 + expected.len() as u64 - 1);
        assert_eq!(tail.bytes, tail.entries.len() * 10);
    };
    check(vec![], &[1, 2, 2, 2, 2]);
    check(entries(10..=11, 3), &[1, 2, 2, 2, 2, 3, 3]);
    check(entries(8..=8, 3), &[1, 2, 2, 3]);
    check(entries(6..=7, 3), &[1, 3, 3]);
}

#[test]
fn a_range_is_cut_at_its_size_but_never_empty() {
    let tail = tail(&[1]);
    let check = |low: u64, high: u64, limit: Option<u64>, expected: Option<usize>| {
        let found = tail.entries(low, high, limit, GetEntriesContext::empty(false));
        assert_eq!(found.ok().map(|entries| entries.len()), expected);
    };
    check(6, 10, None, Some(4));
    check(7, 9, None, Some(2));
    check(6, 10, Some(0), Some(1));
    check(6, 10, Some(25), Some(2));
    check(5, 7, None, None);
    check(6, 11, None, None);
}

#[test]
fn a_sole_server_forgets_what_it_applied_and_one_with_peers_keeps_some() {
    let check = |voters: &[u64], applied: u64, first: u64| {
        let mut tail = tail(voters);
        tail.forget((applied, 2), None);
        assert_eq!((tail.first_index().unwrap(), tail.last_index().unwrap()), (first, 9));
        assert!(tail.term(first - 1).is_ok());
    };
    check(&[1], 5, 6);
    check(&[1], 7, 8);
    check(&[1], 9, 10);
    check(&[1, 2, 3], 9, 6);
}

#[test]
fn a_leader_keeps_what_others_lack_within_bounds() {
    let check = |needed: Option<Needed>, count: u64, first: u64| {
        let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
        let mut tail = Tail::new(1, HardState::default(), conf_state, 5, 1, entries(6..=5 + count, 2).into());
        tail.forget((5 + count, 2), needed);
        assert_eq!(tail.first_index().unwrap(), first, "{needed:?}");
    };
    let kept = Retention::default().usual.entries as u64;
    let slow = Retention::default().slow.entries as u64;
    let from = |from: u64| Some(Needed { from, snapshot: false });
    check(None, kept, 6);
    check(None, kept + 10, 16);
    check(from(6), kept + 10, 6);
    check(from(8), kept + 10, 8);
    check(from(6), slow + 10, 16);
    check(Some(Needed { from: 6, snapshot: true }), slow + 10, 6);
}
