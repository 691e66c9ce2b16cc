//! What changes much at a time, in files of its own.

use super::*;

/// Objects of 100 KB in one bucket, so many from there on.
fn put_many(writer: &mut Writer, from: u64, count: u64) {
    (from..from + count).for_each(|turn| writer.put(&format!("many/{turn:06}"), 100_000));
}

#[test]
fn what_changes_much_at_a_time_is_written_once_while_little_of_it_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let open = || open(dir.path());
    let mut stored = open();
    for round in 0..10 {
        put_many(&mut writer, round * 20, 20);
        writer.delete(&format!("many/{:06}", round * 20));
        stored.write(&writer.batch()).unwrap();
        if round % 3 == 2 {
            drop(stored);
            check_stored(dir.path(), &writer.image, false);
            stored = open();
        }
    }
    assert_eq!(stored.current, Some(Current { changes: 9, ..Current::fresh(1, false) }));
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
    // What changes little by little goes on top, and what then changes much makes a fresh folder.
    let mut stored = open();
    writer.put("many/000001", 1);
    writer.delete("many/000002");
    stored.write(&writer.batch()).unwrap();
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
    let mut stored = open();
    put_many(&mut writer, 1, 60);
    stored.write(&writer.batch()).unwrap();
    assert_eq!(stored.current, Some(Current::fresh(2, false)));
    put_many(&mut writer, 100, 20);
    stored.write(&writer.batch()).unwrap();
    assert_eq!(stored.current, Some(Current { changes: 1, ..Current::fresh(2, false) }));
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
}

#[test]
fn what_is_overwritten_much_at_a_time_is_written_anew_when_a_quarter_is_of_no_use() {
    const SLACK: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let mut stored = StoredState::open(dir.path(), BATCH_BYTES).unwrap();
    stored.slack = SLACK;
    let mut writer = Writer::new();
    put_many(&mut writer, 0, 200);
    stored.write(&writer.batch()).unwrap();
    let live = 200 * 100_000;
    let mut most = 0;
    for round in 0..40 {
        put_many(&mut writer, round * 12 % 180, 20);
        stored.write(&writer.batch()).unwrap();
        most = most.max(stored.folders.usage(stored.current.unwrap().number).unwrap());
    }
    assert!(most < live / 4 * 5 + 2 * SLACK, "{most} bytes for {live} live ones");
    let made = stored.current.unwrap().number;
    assert!((4..20).contains(&made), "{made} folders for 40 batches");
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
}

#[test]
fn what_is_deleted_stays_so_and_what_comes_again_is_there_whichever_file_says_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let mut stored = open(dir.path());
    let write = |writer: &mut Writer, stored: &mut StoredState, from: u64, expected: u64| {
        put_many(writer, from, 20);
        stored.write(&writer.batch()).unwrap();
        assert_eq!(stored.current, Some(Current { changes: expected, ..Current::fresh(1, false) }));
        *stored = open(dir.path());
        check_stored(dir.path(), &writer.image, false);
    };
    // Of these keys the one is in the image and the other in the first file of changes.
    for key in ["a/image", "a/both"] {
        writer.put(key, 10);
    }
    write(&mut writer, &mut stored, 0, 0);
    writer.put("a/changes", 20);
    write(&mut writer, &mut stored, 100, 1);
    for key in ["a/image", "a/changes", "a/both"] {
        writer.delete(key);
    }
    write(&mut writer, &mut stored, 200, 2);
    writer.put("a/both", 30);
    writer.put("a/changes", 30);
    write(&mut writer, &mut stored, 300, 3);
    writer.delete("a/both");
    writer.delete("many/000001");
    writer.put("a/image", 40);
    stored.write(&writer.batch()).unwrap();
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
    assert!(dir.path().join("0000000000000001/sled").is_dir());
}

#[test]
fn what_changes_much_has_a_file_of_its_own_too_after_a_rebuild_failed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let mut stored = open(dir.path());
    put_many(&mut writer, 0, 20);
    stored.write(&writer.batch()).unwrap();
    stored.patience = u64::MAX;
    put_many(&mut writer, 0, 20);
    stored.write(&writer.batch()).unwrap();
    assert_eq!(stored.current, Some(Current { changes: 1, ..Current::fresh(1, false) }));
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
}

#[test]
fn when_the_pointer_cannot_be_prepared_all_is_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let mut stored = open(dir.path());
    put_many(&mut writer, 0, 40);
    stored.write(&writer.batch()).unwrap();
    let expected = writer.image.clone();
    let in_the_way = dir.path().join("current.tmp");
    fs::create_dir(&in_the_way).unwrap();
    put_many(&mut writer, 0, 20);
    let batch = writer.batch();
    for slack in [BATCH_BYTES as u64, 0] {
        stored.slack = slack;
        stored.write(&batch).unwrap_err();
        assert!(!stored.unsure);
        assert_eq!(
            (folders(dir.path()), stored.current),
            (2, Some(Current::fresh(1, false))),
            "with what is in the way"
        );
        assert!(!stored.folders.changes(1, 1).exists());
        check_stored(dir.path(), &expected, false);
    }
    fs::remove_dir(&in_the_way).unwrap();
    (stored.slack, stored.patience) = (BATCH_BYTES as u64, 0);
    stored.write(&batch).unwrap();
    assert_eq!(stored.current, Some(Current { changes: 1, ..Current::fresh(1, false) }));
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
}

#[test]
fn when_nobody_knows_what_counts_a_fresh_folder_does_and_the_others_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let mut stored = open(dir.path());
    put_many(&mut writer, 0, 20);
    stored.write(&writer.batch()).unwrap();
    let pointer = dir.path().join("current");
    let said = fs::read(&pointer).unwrap();
    fs::remove_file(&pointer).unwrap();
    fs::create_dir_all(pointer.join("in the way")).unwrap();
    put_many(&mut writer, 0, 20);
    let batch = writer.batch();
    for _ in 0..3 {
        stored.write(&batch).unwrap_err();
        assert!(stored.unsure);
    }
    fs::remove_dir_all(&pointer).unwrap();
    fs::write(&pointer, said).unwrap();
    stored.write(&batch).unwrap();
    assert_eq!(folders(dir.path()), 1);
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
}

#[test]
fn a_state_from_another_server_begins_its_own_files_of_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut other) = (Writer::new(), Writer::new());
    let mut stored = open(dir.path());
    for from in [0, 20] {
        put_many(&mut writer, from, 20);
        stored.write(&writer.batch()).unwrap();
    }
    put_many(&mut other, 100, 60);
    stored.stage(&other.image).unwrap();
    stored.adopt().unwrap();
    assert_eq!(stored.current, Some(Current::fresh(2, true)));
    other.batch();
    put_many(&mut other, 200, 20);
    stored.write(&other.batch()).unwrap();
    assert_eq!(stored.current, Some(Current { changes: 1, ..Current::fresh(2, false) }));
    drop(stored);
    check_stored(dir.path(), &other.image, false);
}

#[test]
fn changes_whose_state_is_missing_are_refused_and_nothing_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let mut stored = open(dir.path());
    for from in [0, 20, 40] {
        put_many(&mut writer, from, 20);
        stored.write(&writer.batch()).unwrap();
    }
    writer.put("a/1", 10);
    stored.write(&writer.batch()).unwrap();
    let counts = stored.current.unwrap();
    assert_eq!(counts.changes, 2);
    // As if the pointer had never reached the disk, but what was written after it had.
    stored.point(Current { changes: 1, ..counts }).unwrap();
    drop(stored);
    let load = || StoredState::open(dir.path(), BATCH_BYTES).unwrap().load().err().map(|error| error.to_string());
    let error = load().unwrap();
    assert!(error.contains("changes of another state"), "{error}");
    let (folders, _) = Folders::open(dir.path()).unwrap();
    assert!(folders.changes(1, 2).exists());
    folders.point(folders.prepare(counts).unwrap()).unwrap();
    check_stored(dir.path(), &writer.image, false);
    fs::remove_file(folders.changes(1, 1)).unwrap();
    let error = load().unwrap();
    assert_eq!(error, format!("{}: it is missing; {ADVICE}", folders.changes(1, 1).display()));
}

#[test]
fn a_damaged_file_of_changes_is_refused_and_one_that_does_not_count_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let mut stored = StoredState::open(dir.path(), BATCH_BYTES).unwrap();
    for round in 0..3 {
        put_many(&mut writer, round * 20, 20);
        stored.write(&writer.batch()).unwrap();
    }
    let path = stored.folders.changes(1, 1);
    // A kill between the file and the pointer leaves this.
    fs::write(stored.folders.changes(1, 3), b"half").unwrap();
    drop(stored);
    check_stored(dir.path(), &writer.image, false);
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let refused = StoredState::open(dir.path(), BATCH_BYTES).unwrap().load();
        refused.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    assert!(refused(&flipped).starts_with(&format!("{}: damaged at byte", path.display())), "{}", refused(&flipped));
    assert!(refused(&whole[..whole.len() / 2]).contains("the copy is incomplete"));
    fs::rename(dir.path().join("0000000000000001/changes-2"), &path).unwrap();
    let error = StoredState::open(dir.path(), BATCH_BYTES).unwrap().load().err().unwrap();
    assert!(error.to_string().contains("they do not lead on from the state before"), "{error}");
}
