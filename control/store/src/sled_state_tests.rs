use std::collections::BTreeMap;

use imbl::OrdMap;
use raft::eraftpb::ConfState;

use super::*;
use crate::entry::Entry;

fn entry(key: &str, len: usize, revision: u64) -> (Key, Option<Arc<Entry>>) {
    let value = vec![b'x'; len].into();
    (key.into(), Some(Entry::put(key.into(), value, Revision(1), Revision(revision), Some(0))))
}

fn batch(index: u64, objects: Vec<(Key, Option<Arc<Entry>>)>) -> Batch {
    let conf_state = ConfState { voters: vec![7], ..ConfState::default() };
    let changed = objects.iter().map(|(key, _)| (key.bucket().into(), Revision(index))).collect();
    let point = Point { index, term: 2, revision: Revision(index), ..Point::default() };
    let state = State::restored(OrdMap::new(), BTreeMap::new(), &point);
    Batch { image: Image { state, conf_state }, objects: objects.into_iter().collect(), changed }
}

fn load(dir: &Path) -> Image {
    SledState::open(dir, None).unwrap().load(Image::default()).unwrap()
}

#[test]
fn an_empty_folder_holds_no_state() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load(dir.path()).point(), Point::default());
}

#[test]
fn what_was_written_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let stored = SledState::open(dir.path(), None).unwrap();
    let large = 400_000;
    let stored =
        stored.write(&batch(3, vec![entry("a/1", 10, 1), entry("a/2", 10, 2), entry("b/1", large, 3)])).unwrap();
    let stored = stored.write(&batch(5, vec![entry("a/1", 20, 5), ("a/2".into(), None)])).unwrap();
    drop(stored);
    let Image { state, conf_state } = load(dir.path());
    assert_eq!((state.index(), state.term(), state.revision()), (5, 2, Revision(5)));
    assert_eq!(conf_state.voters, [7]);
    let snapshot = state.snapshot();
    let found: Vec<_> = snapshot.range("", None).cloned().collect();
    assert_eq!(found, [entry("a/1", 20, 5).1.unwrap(), entry("b/1", large, 3).1.unwrap()]);
    let changed: Vec<_> = state.changed().iter().map(|(name, at)| (&**name, at.0)).collect();
    assert_eq!(changed, [("a/", 5), ("b/", 3)]);
}

#[test]
fn what_a_kill_while_opening_leaves_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    SledState::open(dir.path(), None).unwrap().write(&batch(3, vec![entry("a/1", 10, 1)])).unwrap();
    let leftover = dir.path().join("snap.0000000000001234.generating");
    fs::write(&leftover, b"half of it").unwrap();
    assert_eq!(load(dir.path()).state.index(), 3);
    assert!(!leftover.exists());
}

#[test]
fn a_state_that_makes_no_sense_is_refused() {
    fn check(key: &[u8], value: &[u8], expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let stored = SledState::open(dir.path(), None).unwrap();
        let mut stored = stored.write(&batch(3, vec![entry("a/1", 10, 1)])).unwrap();
        stored.db().unwrap().insert(key, value).unwrap();
        let refused = stored.load(Image::default()).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(refused, format!("{}: {expected}; {ADVICE}", dir.path().display()));
    }
    check(b"m", b"\x09", "the applied index: at byte 1: the version is not known");
    check(b"m", b"\x01\x01\x01\x01", "the members: there are none");
    check(b"oa/1", b"", "a/1: at byte 0: it ends too early");
    check(b"o\xff", b"", "a key is not UTF-8");
    check(b"ba/", b"1", "a bucket's revision has not 8 bytes");
}

#[test]
fn a_deleted_key_hides_the_one_below() {
    let dir = tempfile::tempdir().unwrap();
    let below = SledState::open(&dir.path().join("below"), None).unwrap();
    let mut below =
        below.write(&batch(3, vec![entry("a/1", 10, 1), entry("a/2", 10, 2), entry("b/1", 10, 3)])).unwrap();
    let below = below.load(Image::default()).unwrap();
    let mut above = SledState::open(&dir.path().join("above"), Some(3)).unwrap();
    assert_eq!(above.load(below.clone()).unwrap().point(), below.point());
    let mut above =
        above.write(&batch(7, vec![("a/1".into(), None), entry("a/2", 20, 7), entry("a/3", 10, 6)])).unwrap();
    let Image { state, .. } = above.load(below).unwrap();
    let found: Vec<_> = state.snapshot().range("", None).cloned().collect();
    assert_eq!(
        found,
        [("a/2", 20, 7), ("a/3", 10, 6), ("b/1", 10, 3)].map(|(key, len, at)| entry(key, len, at).1.unwrap())
    );
    let changed: Vec<_> = state.changed().iter().map(|(name, at)| (&**name, at.0)).collect();
    assert_eq!((state.index(), changed), (7, vec![("a/", 7), ("b/", 3)]));
}

#[test]
fn changes_of_another_state_than_the_one_below_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let stored = SledState::open(dir.path(), Some(5)).unwrap();
    drop(stored.write(&batch(7, vec![entry("a/1", 10, 7)])).unwrap());
    let load = |base: u64| SledState::open(dir.path(), Some(base)).unwrap().load(Image::default());
    let check = |base: u64, fits: bool| {
        let said = load(base).err().map(|error| error.to_string());
        let expected = format!(
            "{}: these are changes of another state than the one at log entry {base}; {ADVICE}",
            dir.path().display()
        );
        assert_eq!(said, (!fits).then_some(expected));
    };
    check(5, true);
    check(4, false);
    check(6, false);
    // The first databases do not say whose changes they are: later ones than the state they lie above.
    SledState::open(dir.path(), None).unwrap().db().unwrap().remove(BASE).unwrap();
    check(6, true);
    check(7, false);
}

/// sled cuts its own log at the first record whose checksum does not hold. So damage takes the content back to an earlier
/// batch, and the log tells whether it reaches back that far.
#[test]
fn damage_is_refused_or_leaves_a_batch_that_once_was_the_last() {
    const BATCHES: u64 = 4;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whole");
    let content =
        |image: &Image| (image.state.index(), image.state.snapshot().range("", None).cloned().collect::<Vec<_>>());
    let mut stored = SledState::open(&path, Some(0)).unwrap();
    let mut expected = vec![content(&Image::default())];
    for index in 1..=BATCHES {
        let key = |turn: u64| format!("a/{:04}", (turn * 7 + index * 13) % 300);
        stored = stored.write(&batch(index, (0..100).map(|turn| entry(&key(turn), 700, index)).collect())).unwrap();
        expected.push(content(&stored.load(Image::default()).unwrap()));
    }
    drop(stored);
    wait_for_lock(&path.join("db")).unwrap();
    let whole = fs::read(path.join("db")).unwrap();
    let mut older = 0;
    for turn in 0..24 {
        let copy = dir.path().join(format!("copy-{turn}"));
        fs::create_dir(&copy).unwrap();
        for file in ["conf", "db"] {
            fs::copy(path.join(file), copy.join(file)).unwrap();
        }
        let mut damaged = whole.clone();
        damaged[(turn * 15_485_863) % whole.len()] ^= 0x10;
        fs::write(copy.join("db"), &damaged).unwrap();
        let load = || SledState::open(&copy, Some(0))?.load(Image::default());
        if let Ok(Ok(found)) = std::panic::catch_unwind(load) {
            let found = content(&found);
            assert_eq!(found, expected[found.0 as usize], "flip {turn}");
            older += usize::from(found.0 < BATCHES);
        }
    }
    assert!(older > 0, "no flip struck");
}
