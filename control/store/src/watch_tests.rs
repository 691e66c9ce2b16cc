use bytes::Bytes;

use super::*;
use crate::entry::Entry;
use crate::history::Change;

const LIMITS: Limits = Limits { events: 4, bytes: usize::MAX };

fn event(key: &str, revision: u64) -> Arc<Event> {
    let revision = Revision(revision);
    let entry = Entry::put(key.into(), Bytes::new(), revision, revision, None);
    Arc::new(Event { revision, change: Change::Put { entry, previous: None } })
}

fn hub(events: &[Arc<Event>], revision: u64) -> Arc<Hub> {
    let hub = Arc::new(Hub::new(LIMITS, Revision(0), std::iter::empty()));
    hub.push(events, Revision(revision)).announce();
    hub
}

fn drain(watcher: &mut Watcher) -> Vec<(String, u64)> {
    let next = || watcher.try_next().unwrap().map(|event| (event.key().to_string(), event.revision.0));
    std::iter::from_fn(next).collect()
}

#[test]
fn a_watcher_sees_its_prefix_from_behind_its_revision() {
    let events = [event("a/x/1", 1), event("b/x/1", 2), event("a/y/1", 3), event("a/x/2", 4)];
    let check = |prefix: &str, after: u64, expected: &[(&str, u64)]| {
        let mut watcher = hub(&events, 4).watch(prefix, Revision(after)).unwrap();
        let expected: Vec<_> = expected.iter().map(|(key, at)| ((*key).to_owned(), *at)).collect();
        assert_eq!(drain(&mut watcher), expected);
        assert_eq!(watcher.revision(), Revision(after.max(4)));
    };
    check("a/", 0, &[("a/x/1", 1), ("a/y/1", 3), ("a/x/2", 4)]);
    check("a/", 1, &[("a/y/1", 3), ("a/x/2", 4)]);
    check("a/x/", 0, &[("a/x/1", 1), ("a/x/2", 4)]);
    check("a/x/", 4, &[]);
    check("b/", 0, &[("b/x/1", 2)]);
    check("c/", 0, &[]);
    check("a/", 9, &[]);
}

#[test]
fn a_revision_is_delivered_when_all_its_events_are() {
    let hub = hub(&[event("a/1", 6), event("b/1", 7), event("a/2", 7), event("a/3", 7), event("a/4", 9)], 9);
    let mut watcher = hub.watch("a/", Revision(0)).unwrap();
    let mut check = |key: &str, revision: u64| {
        assert_eq!(watcher.try_next().unwrap().unwrap().key().as_str(), key);
        assert_eq!(watcher.revision(), Revision(revision));
    };
    check("a/1", 6);
    check("a/2", 6);
    check("a/3", 7);
    check("a/4", 9);
}

#[test]
fn an_idle_bucket_follows_the_stores_revision() {
    let hub = hub(&[event("a/1", 1)], 1);
    let mut watcher = hub.watch("b/", Revision(0)).unwrap();
    assert_eq!(drain(&mut watcher), []);
    assert_eq!(watcher.revision(), Revision(1));
    hub.push(&[event("a/1", 2)], Revision(2)).announce();
    assert_eq!(drain(&mut watcher), []);
    assert_eq!(watcher.revision(), Revision(2));
}

#[test]
fn a_watch_from_the_future_waits_for_it() {
    let hub = hub(&[event("a/1", 1)], 1);
    let mut watcher = hub.watch("a/", Revision(3)).unwrap();
    for revision in 2..=4 {
        hub.push(&[event("a/1", revision)], Revision(revision)).announce();
    }
    assert_eq!(drain(&mut watcher), [("a/1".to_owned(), 4)]);
}

#[test]
fn history_that_is_gone_is_refused_with_where_it_begins() {
    let known: Arc<str> = "a/".into();
    let check = |after: u64, expected: Result<(), u64>| {
        let hub = Arc::new(Hub::new(LIMITS, Revision(10), [(&known, &Revision(7))].into_iter()));
        let refused = hub.watch("a/", Revision(after)).map(drop);
        assert_eq!(refused, expected.map_err(|oldest| WatchError::Compacted { oldest: Revision(oldest) }));
        assert_eq!(hub.watch("never-changed/", Revision(0)).map(drop), Ok(()));
    };
    check(6, Err(7));
    check(7, Ok(()));
    check(10, Ok(()));
}

#[test]
fn a_slow_watcher_has_lagged_and_can_resume_from_where_it_stood() {
    let hub = hub(&[event("a/1", 1), event("a/1", 2)], 2);
    let mut watcher = hub.watch("a/", Revision(0)).unwrap();
    assert!(watcher.try_next().unwrap().is_some());
    for revision in 3..=5 {
        hub.push(&[event("a/1", revision)], Revision(revision)).announce();
    }
    let mut quick = hub.watch("a/", watcher.revision()).unwrap();
    hub.push(&[event("a/1", 6)], Revision(6)).announce();
    assert_eq!(watcher.try_next(), Err(WatchError::Lagged));
    assert_eq!(quick.try_next(), Err(WatchError::Lagged));
    let mut resumed = hub.watch("a/", Revision(2)).unwrap();
    assert_eq!(drain(&mut resumed).len(), 4);
}

#[test]
fn a_replaced_state_ends_the_watches_of_the_buckets_that_changed_and_of_no_others() {
    let hub = hub(&[event("a/1", 1), event("b/1", 2), event("c/1", 3)], 3);
    let mut watchers = ["a/", "b/", "new/", "never/"].map(|prefix| hub.watch(prefix, Revision(0)).unwrap());
    watchers.iter_mut().for_each(|watcher| _ = drain(watcher));
    let changed: Vec<(Arc<str>, Revision)> =
        [("a/", 1), ("b/", 8), ("c/", 3), ("new/", 9)].map(|(name, at)| (name.into(), Revision(at))).into();
    hub.reset(Revision(9), changed.iter().map(|(name, at)| (name, at)));
    let ends = watchers.each_mut().map(|watcher| watcher.try_next().err());
    assert_eq!(ends, [None, Some(WatchError::Lagged), Some(WatchError::Lagged), None]);
    assert_eq!([&watchers[0], &watchers[3]].map(Watcher::revision), [Revision(9); 2]);
    let check = |prefix: &str, after: u64, expected: Option<u64>| {
        let refused = hub.watch(prefix, Revision(after)).err();
        assert_eq!(refused, expected.map(|oldest| WatchError::Compacted { oldest: Revision(oldest) }));
    };
    check("a/", 0, None);
    check("b/", 7, Some(8));
    check("b/", 8, None);
    check("new/", 3, Some(9));
    check("never/", 0, None);
    hub.push(&[event("a/2", 10), event("b/2", 11)], Revision(11)).announce();
    assert_eq!(drain(&mut watchers[0]), [("a/2".to_owned(), 10)]);
}

#[test]
fn a_floor_of_every_bucket_holds_for_those_that_are_not_named() {
    let every: Arc<str> = EVERY_BUCKET.into();
    let (named, at): (Arc<str>, _) = ("a/".into(), Revision(105));
    let check = |hub: &Arc<Hub>| {
        for (prefix, floor) in [("a/", 105), ("b/", 100), ("", 100)] {
            let refused = hub.watch(prefix, Revision(99)).err();
            assert_eq!(refused, Some(WatchError::Compacted { oldest: Revision(floor) }), "{prefix:?}");
            assert!(hub.watch(prefix, Revision(floor)).is_ok());
        }
    };
    let changed = || [(&every, &Revision(100)), (&named, &at)].into_iter();
    check(&Arc::new(Hub::new(LIMITS, Revision(105), changed())));
    let hub = hub(&[event("b/1", 1)], 1);
    let mut watcher = hub.watch("b/", Revision(1)).unwrap();
    hub.reset(Revision(105), changed());
    check(&hub);
    assert_eq!(watcher.try_next(), Err(WatchError::Lagged));
}

#[tokio::test]
async fn waiting_watchers_wake_for_events_and_for_the_end() {
    let hub = hub(&[], 0);
    let mut watchers: Vec<_> = (0..100).map(|_| hub.watch("a/", Revision(0)).unwrap()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    while let Some(mut watcher) = watchers.pop() {
        tasks.spawn(async move {
            let event = watcher.next().await.unwrap();
            (event, watcher.next().await)
        });
    }
    tokio::task::yield_now().await;
    hub.push(&[event("a/1", 1)], Revision(1)).announce();
    tokio::task::yield_now().await;
    hub.close();
    let mut shared = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (event, end) = done.unwrap();
        assert_eq!(end, Err(WatchError::Closed));
        shared.push(event);
    }
    assert_eq!(shared.len(), 100);
    assert!(shared.iter().all(|event| Arc::ptr_eq(event, &shared[0])));
}

#[tokio::test]
async fn a_watcher_is_stirred_by_its_place_by_its_end_and_before_it_falls_behind() {
    let limits = Limits { events: 24, bytes: usize::MAX };
    let hub = Arc::new(Hub::new(limits, Revision(0), std::iter::empty()));
    let push = |key: &str, revision: u64| hub.push(&[event(key, revision)], Revision(revision)).announce();
    let mut watcher = hub.watch("a/x/", Revision(0)).unwrap();
    let mut whole = hub.watch("a/", Revision(0)).unwrap();
    push("a/x/1", 1);
    watcher.stirred().await;
    assert_eq!(drain(&mut watcher), [("a/x/1".to_owned(), 1)]);
    assert_eq!(drain(&mut whole), [("a/x/1".to_owned(), 1)]);
    {
        let (mut stirred, mut all) = (std::pin::pin!(watcher.stirred()), std::pin::pin!(whole.stirred()));
        assert!(futures::poll!(&mut stirred).is_pending() && futures::poll!(&mut all).is_pending());
        push("b/x/1", 2);
        assert!(futures::poll!(&mut stirred).is_pending() && futures::poll!(&mut all).is_pending());
        push("a/y/1", 3);
        assert!(futures::poll!(&mut stirred).is_pending() && futures::poll!(&mut all).is_ready());
        push("a/x/2", 4);
        assert!(futures::poll!(&mut stirred).is_ready());
    }
    assert_eq!(drain(&mut watcher), [("a/x/2".to_owned(), 4)]);
    // More of others' events than the history holds: whoever looks when it is stirred misses nothing.
    let (mut stirred, mut looks) = (Box::pin(watcher.stirred()), 0);
    for revision in 5..=100 {
        assert!(futures::poll!(&mut stirred).is_pending());
        push("a/y/1", revision);
        if futures::poll!(&mut stirred).is_ready() {
            assert_eq!(drain(&mut watcher), []);
            stirred = Box::pin(watcher.stirred());
            looks += 1;
        }
    }
    assert!((4..=24).contains(&looks), "{looks}");
    hub.close();
    assert!(futures::poll!(&mut stirred).is_ready());
}

#[test]
fn places_that_nobody_reads_are_forgotten() {
    let hub = hub(&[], 0);
    for number in 0..100 {
        drop(hub.watch(&format!("a/{number}/"), Revision(0)).unwrap());
    }
    let kept = [hub.watch("a/x/", Revision(0)).unwrap(), hub.watch("a/x/", Revision(0)).unwrap()];
    assert!(Arc::ptr_eq(&kept[0].grown, &kept[1].grown));
    assert_eq!(kept[0].bucket.places.lock().unwrap().len(), 1);
}

/// What a watcher is told, one way or another.
#[derive(Clone, Debug)]
enum Step {
    /// Something happens to a key of that prefix.
    Push(usize),
    /// A watcher begins behind so much of what has happened.
    Begin(usize, proptest::sample::Index),
    /// It is shown so many at most.
    Look(proptest::sample::Index, usize),
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::*;
    prop_oneof![
        4 => (0..3_usize).prop_map(Step::Push),
        1 => (0..2_usize, any::<proptest::sample::Index>()).prop_map(|(prefix, after)| Step::Begin(prefix, after)),
        8 => (any::<proptest::sample::Index>(), 1..5_usize).prop_map(|(who, most)| Step::Look(who, most)),
    ]
}

proptest::proptest! {
    /// Watchers that go on from one another's places see what they would have seen by themselves.
    #[test]
    fn what_others_were_shown_counts_as_shown(steps in proptest::collection::vec(step(), 1..120)) {
        const PREFIXES: [&str; 3] = ["a/x/", "a/", "a/y/"];
        let limits = Limits { events: 1_000, bytes: usize::MAX };
        let hub = Arc::new(Hub::new(limits, Revision(0), std::iter::empty()));
        let (mut happened, mut watchers) = (Vec::new(), Vec::new());
        let mut pieces: Vec<(Stand, Stand, Vec<u64>)> = Vec::new();
        let expected = |happened: &[(String, u64)], prefix: &str, after: u64| -> Vec<u64> {
            let told = happened.iter().filter(|(key, revision)| key.starts_with(prefix) && *revision > after);
            told.map(|(_, revision)| *revision).collect()
        };
        for step in steps {
            match step {
                Step::Push(place) => {
                    let revision = happened.len() as u64 + 1;
                    let key = format!("a/{}/{revision}", ["x", "y", "z"][place]);
                    hub.push(&[event(&key, revision)], Revision(revision)).announce();
                    happened.push((key, revision));
                }
                Step::Begin(prefix, after) => {
                    let (prefix, after) = (PREFIXES[prefix], after.index(happened.len() + 1) as u64);
                    watchers.push((hub.watch(prefix, Revision(after)).unwrap(), prefix, after, Vec::new()));
                }
                Step::Look(who, most) if !watchers.is_empty() => {
                    let who = who.index(watchers.len());
                    let (watcher, prefix, after, seen) = &mut watchers[who];
                    let from = watcher.stand().unwrap().clone();
                    let known = pieces.iter().rev().find(|piece| piece.0.is(&from));
                    if let Some((_, to, told)) = known {
                        seen.extend_from_slice(told);
                        watcher.go_on(to);
                    } else {
                        let within = pieces.iter().find(|piece| piece.0.is_before(&from) && from.is_before(&piece.1));
                        let end = within.map(|piece| piece.1.clone());
                        let mut told = Vec::new();
                        watcher.visit_until(end.as_ref(), most, |event| told.push(event.revision.0)).unwrap();
                        seen.extend_from_slice(&told);
                        if let Some(end) = &end {
                            assert!(!told.is_empty() && watcher.stand().unwrap().settled <= end.settled);
                        }
                        if !told.is_empty() {
                            pieces.push((from, watcher.stand().unwrap().clone(), told));
                        }
                    }
                    let all = expected(&happened, prefix, *after);
                    assert!(all.starts_with(seen), "{seen:?} of {all:?}");
                    let before = all[seen.len()..].first().map_or(happened.len() as u64, |next| next - 1);
                    assert!(watcher.revision().0 <= before.max(*after), "{:?}", watcher.revision());
                }
                Step::Look(..) => {}
            }
        }
        for (mut watcher, prefix, after, mut seen) in watchers {
            seen.extend(drain(&mut watcher).into_iter().map(|(_, revision)| revision));
            assert_eq!(seen, expected(&happened, prefix, after));
        }
    }
}

#[test]
fn a_watch_from_the_future_stands_with_nobody() {
    let hub = hub(&[event("a/1", 1)], 1);
    assert!(hub.watch("a/", Revision(1)).unwrap().stand().is_some());
    assert!(hub.watch("a/", Revision(2)).unwrap().stand().is_none());
}
