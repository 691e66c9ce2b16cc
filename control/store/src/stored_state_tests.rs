use std::fs;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::dirty::Dirty;
use crate::entry::Entry;
use crate::txn::{Op, Txn};

#[path = "stored_state_tests/changes.rs"]
mod changes;

const BATCH_BYTES: usize = 4 << 20;

/// A state that is changed, and the changes that were not handed out yet.
struct Writer {
    image: Image,
    dirty: Dirty,
}

impl Writer {
    fn new() -> Writer {
        let mut image = Image::default();
        image.conf_state.voters = vec![7];
        image.state.pass(1, 1);
        Writer { image, dirty: Dirty::default() }
    }

    fn put(&mut self, key: &str, len: usize) {
        let value = Bytes::from(vec![b'x'; len]);
        self.apply(Op::Put { key: key.into(), value, revision_at: None });
    }

    fn delete(&mut self, key: &str) {
        self.apply(Op::Delete { key: key.into() });
    }

    fn apply(&mut self, op: Op) {
        let index = self.image.state.index() + 1;
        let applied = self.image.state.apply(Txn::of(vec![op]), index, 1).unwrap();
        applied.events.iter().for_each(|event| self.dirty.note(event));
    }

    fn batch(&mut self) -> Batch {
        Batch::merged(self.dirty.take(self.image.clone()))
    }
}

fn content(image: &Image) -> (Vec<Arc<Entry>>, Vec<(String, u64)>, u64) {
    let entries = image.state.snapshot().range("", None).cloned().collect();
    let changed = image.state.changed().iter().map(|(name, at)| (name.to_string(), at.0)).collect();
    (entries, changed, image.state.index())
}

fn load(dir: &Path) -> Option<Loaded> {
    StoredState::open(dir, BATCH_BYTES).unwrap().load().unwrap()
}

fn check_stored(dir: &Path, expected: &Image, installed: bool) {
    let found = load(dir).unwrap();
    assert_eq!(found.installed, installed);
    let found = Image { state: found.state, conf_state: found.conf_state };
    assert_eq!(content(&found), content(expected));
    assert_eq!(found.point(), expected.point());
}

/// The state as a start finds it, to go on with.
fn open(dir: &Path) -> StoredState {
    let mut stored = StoredState::open(dir, BATCH_BYTES).unwrap();
    stored.load().unwrap();
    stored
}

fn folders(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

#[test]
fn what_was_written_comes_back_after_every_batch() {
    let dir = tempfile::tempdir().unwrap();
    assert!(load(dir.path()).is_none());
    let mut writer = Writer::new();
    for round in 0..6 {
        let mut stored = StoredState::open(dir.path(), BATCH_BYTES).unwrap();
        stored.load().unwrap();
        for turn in 0..20 {
            writer.put(&format!("a/{}", turn * (round + 1) % 50), 100 * round);
            writer.delete(&format!("a/{}", turn * 3));
        }
        stored.write(&writer.batch()).unwrap();
        drop(stored);
        check_stored(dir.path(), &writer.image, false);
        assert_eq!(folders(dir.path()), 1);
    }
}

#[test]
fn a_batch_from_before_what_is_stored_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let mut stored = StoredState::open(dir.path(), BATCH_BYTES).unwrap();
    writer.put("a/1", 1);
    let early = writer.batch();
    writer.put("a/1", 2);
    stored.write(&writer.batch()).unwrap();
    stored.write(&early).unwrap();
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
}

#[test]
fn disk_use_is_bounded_under_overwriting_and_shrinks_after_deletes() {
    const OBJECTS: usize = 200;
    const LEN: usize = 5000;
    let dir = tempfile::tempdir().unwrap();
    let mut stored = StoredState::open(dir.path(), BATCH_BYTES).unwrap();
    stored.slack = 100_000;
    let mut writer = Writer::new();
    let number = |stored: &StoredState| stored.current.unwrap().number;
    let mut most = 0;
    for round in 0..20 {
        for turn in 0..OBJECTS {
            writer.put(&format!("a/{turn:04}"), LEN - round);
            if turn % 20 == 19 {
                stored.write(&writer.batch()).unwrap();
                most = most.max(stored.folders.usage(number(&stored)).unwrap());
            }
        }
    }
    assert!(number(&stored) > 5, "it was never rebuilt: {}", number(&stored));
    let live = (OBJECTS * LEN) as u64;
    // sled takes room in large steps.
    assert!(most < live / 2 * 3 + (1 << 19), "{most} bytes for {live} live ones");
    for turn in 0..OBJECTS * 9 / 10 {
        writer.delete(&format!("a/{turn:04}"));
    }
    stored.write(&writer.batch()).unwrap();
    let left = stored.folders.usage(number(&stored)).unwrap();
    assert!(left < live / 5 + 100_000, "{left} bytes are left of {most}");
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
}

#[test]
fn a_staged_state_takes_over_when_it_is_adopted_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut other) = (Writer::new(), Writer::new());
    writer.put("a/1", 10);
    (0..30).for_each(|turn| other.put(&format!("b/{turn}"), 10));
    let open = || open(dir.path());
    let mut stored = open();
    stored.write(&writer.batch()).unwrap();
    stored.stage(&other.image).unwrap();
    stored.stage(&other.image).unwrap();
    assert_eq!(folders(dir.path()), 2);
    drop(stored);
    // A kill here forgets it.
    check_stored(dir.path(), &writer.image, false);
    assert_eq!(folders(dir.path()), 1);

    let mut stored = open();
    stored.stage(&other.image).unwrap();
    stored.discard();
    assert!(stored.adopt().is_err());
    stored.stage(&other.image).unwrap();
    writer.put("a/2", 10);
    stored.write(&writer.batch()).unwrap();
    stored.adopt().unwrap();
    // What was on its way is older, and of another past.
    stored.write(&writer.batch()).unwrap();
    assert_eq!(folders(dir.path()), 1);
    drop(stored);
    check_stored(dir.path(), &other.image, true);

    let mut stored = open();
    other.batch();
    other.put("b/1", 20);
    stored.write(&other.batch()).unwrap();
    drop(stored);
    check_stored(dir.path(), &other.image, false);
}

#[test]
fn a_database_of_the_first_layout_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut writer = Writer::new();
    writer.put("a/1", 10);
    writer.put("a/2", 10);
    SledState::open(&state, None).unwrap().write(&writer.batch()).unwrap();
    let mut stored = StoredState::open(&state, BATCH_BYTES).unwrap();
    stored.load().unwrap().unwrap();
    writer.delete("a/1");
    stored.write(&writer.batch()).unwrap();
    drop(stored);
    check_stored(&state, &writer.image, false);
    let mut stored = StoredState::open(&state, BATCH_BYTES).unwrap();
    stored.load().unwrap().unwrap();
    stored.slack = 0;
    writer.put("a/3", 10);
    stored.write(&writer.batch()).unwrap();
    assert_eq!(stored.current, Some(Current::fresh(2, false)));
    drop(stored);
    check_stored(&state, &writer.image, false);
}

#[test]
fn a_damaged_image_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    writer.put("a/1", 1000);
    let mut stored = StoredState::open(dir.path(), BATCH_BYTES).unwrap();
    stored.write(&writer.batch()).unwrap();
    let path = stored.folders.image(1);
    drop(stored);
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).unwrap();
        let refused = StoredState::open(dir.path(), BATCH_BYTES).unwrap().load().err().map(|error| error.to_string());
        assert_eq!(refused.unwrap_or_default(), format!("{}: {expected}; {ADVICE}", path.display()));
    };
    let cut = whole.len() - 3;
    check(&whole[..cut], &format!("it ends at byte {cut}, before its trailer: the copy is incomplete"));
    let mut flipped = whole.clone();
    flipped[200] ^= 1;
    fs::write(&path, flipped).unwrap();
    let refused = StoredState::open(dir.path(), BATCH_BYTES).unwrap().load();
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn an_install_that_was_cut_off_before_the_log_was_reset_is_finished_by_the_next_start() {
    use crate::store::{Store, StoreConfig};
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { dir: dir.path().join("store"), ..StoreConfig::default() };
    let put =
        |key: &str| Txn::of(vec![Op::Put { key: key.into(), value: Bytes::from_static(b"x"), revision_at: None }]);
    let store = Store::open(config.clone()).await.unwrap();
    for turn in 0..20 {
        store.commit(put(&format!("old/{turn}"))).await.unwrap();
    }
    let server = store.identity().server;
    store.close().await;
    // What another server sent was put in place, and the machine died.
    let mut installed = Writer::new();
    installed.image.conf_state.voters = vec![server.0];
    (0..500).for_each(|turn| installed.put(&format!("new/{turn}"), 10));
    let mut stored = StoredState::open(&config.dir.join("state"), BATCH_BYTES).unwrap();
    stored.load().unwrap();
    stored.stage(&installed.image).unwrap();
    stored.adopt().unwrap();
    drop(stored);
    for restart in 0..3 {
        let store = Store::open(config.clone()).await.unwrap();
        let snapshot = store.applied();
        assert_eq!((snapshot.range("old/", None).count(), snapshot.range("new/", None).count()), (0, 500 + restart));
        store.commit(put(&format!("new/again/{restart}"))).await.unwrap();
        store.close().await;
    }
}
