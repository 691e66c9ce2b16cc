use super::*;
use crate::directory::ADVICE;
use crate::memory_disk::MemoryDisk;

const SEGMENT_BYTES: u64 = 1024;

fn state(term: u64) -> HardState {
    HardState { term, vote: 1, commit: 1, ..HardState::default() }
}

fn entry(index: u64, term: u64, len: usize) -> Entry {
    Entry { index, term, data: vec![index as u8; len].into(), ..Entry::default() }
}

fn open(disk: &MemoryDisk, applied: u64) -> Result<(Log<MemoryDisk>, Recovered), StoreError> {
    Log::open(disk.clone(), SEGMENT_BYTES, Base { index: applied, ..Base::default() }, &state(1))
}

/// A log whose entries 2, 3, … have so many bytes each.
fn written(sizes: &[usize]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let (mut log, _) = open(&disk, 1).unwrap();
    for (index, len) in (2..).zip(sizes) {
        log.append(&state(1), &[entry(index, 1, *len)]).unwrap();
    }
    disk
}

fn indexes(recovered: &Recovered) -> Vec<(u64, u64)> {
    recovered.entries.iter().map(|entry| (entry.index, entry.term)).collect()
}

fn refusal(disk: &MemoryDisk, applied: u64) -> String {
    open(disk, applied).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn entries_behind_the_applied_one_come_back() {
    let disk = written(&[300; 9]);
    assert!(disk.segments().unwrap().len() > 2);
    let check = |applied: u64, expected: std::ops::Range<u64>| {
        let (_, recovered) = open(&disk, applied).unwrap();
        assert_eq!(indexes(&recovered), expected.map(|index| (index, 1)).collect::<Vec<_>>());
        assert!(recovered.entries.iter().all(|found| *found == entry(found.index, 1, 300)));
    };
    check(1, 2..11);
    check(5, 6..11);
    check(10, 11..11);
}

#[test]
fn an_entry_larger_than_a_segment_gets_one_of_its_size() {
    let disk = written(&[10, 5000, 10]);
    let (_, recovered) = open(&disk, 1).unwrap();
    assert_eq!(indexes(&recovered), [(2, 1), (3, 1), (4, 1)]);
}

#[test]
fn a_new_leaders_entries_replace_what_was_not_committed() {
    let disk = written(&[10; 5]);
    let (mut log, _) = open(&disk, 1).unwrap();
    log.append(&state(2), &[entry(4, 2, 10)]).unwrap();
    let check = |applied: u64, expected: &[(u64, u64)]| {
        let (_, recovered) = open(&disk, applied).unwrap();
        assert_eq!(indexes(&recovered), expected);
        assert_eq!(recovered.hard_state, Some(state(2)));
    };
    check(1, &[(2, 1), (3, 1), (4, 2)]);
    check(3, &[(4, 2)]);
}

#[test]
fn one_append_is_one_flush() {
    let disk = written(&[]);
    let (mut log, _) = open(&disk, 1).unwrap();
    let before = disk.syncs();
    let entries: Vec<_> = (2..12).map(|index| entry(index, 1, 20)).collect();
    log.append(&state(1), &entries).unwrap();
    assert_eq!(disk.syncs(), before + 1);
    disk.cut_power();
    assert_eq!(open(&disk, 1).unwrap().1.entries.len(), 10);
}

#[test]
fn segments_go_when_the_stored_state_has_passed_them() {
    let disk = written(&[300; 9]);
    let (mut log, _) = open(&disk, 1).unwrap();
    let all = disk.segments().unwrap();
    let mut check = |durable: u64, first: u64| {
        log.release(durable);
        assert_eq!(disk.segments().unwrap().first(), Some(&first), "durable up to {durable}");
        let (_, recovered) = open(&disk, durable).unwrap();
        assert_eq!(recovered.entries.back().map_or(durable, |entry| entry.index), 10);
    };
    let per_segment = 2;
    check(1, 1);
    check(1 + per_segment, 2);
    check(2 + per_segment, 2);
    check(1 + 2 * per_segment, 3);
    // The one that is being written stays, and holds the voter's state.
    check(10, *all.last().unwrap());
    assert_eq!(open(&disk, 10).unwrap().1.hard_state, Some(state(1)));
}

#[test]
fn a_full_disk_refuses_before_anything_is_written_and_recovers() {
    let disk = written(&[300, 300]);
    let (mut log, _) = open(&disk, 1).unwrap();
    disk.limit(Some(0));
    for _ in 0..3 {
        assert!(matches!(log.reserve(1, 300), Err(StoreError::Full { .. })));
    }
    // What fits still goes in.
    log.append(&state(1), &[entry(4, 1, 10)]).unwrap();
    disk.limit(None);
    log.reserve(1, 300).unwrap();
    log.append(&state(1), &[entry(5, 1, 300)]).unwrap();
    assert_eq!(indexes(&open(&disk, 1).unwrap().1), [(2, 1), (3, 1), (4, 1), (5, 1)]);
}

#[test]
fn what_was_not_flushed_is_gone_and_the_log_goes_on_before_it() {
    let disk = written(&[10, 10]);
    let (mut log, _) = open(&disk, 1).unwrap();
    // A write that the machine died on: half of it reached the disk.
    let end = log.offset as usize;
    disk.damage(1, |bytes| bytes[end..end + 8].copy_from_slice(b"RLAP\x40\0\0\0"));
    drop(log);
    (log, _) = open(&disk, 1).unwrap();
    assert_eq!(log.offset as usize, end);
    log.append(&state(1), &[entry(4, 1, 4)]).unwrap();
    assert_eq!(indexes(&open(&disk, 1).unwrap().1), [(2, 1), (3, 1), (4, 1)]);
}

#[test]
fn damage_is_refused_with_the_file_and_what_to_do() {
    fn check(damage: impl FnOnce(&MemoryDisk), applied: u64, expected: &str) {
        let disk = written(&[300; 9]);
        damage(&disk);
        let refused = refusal(&disk, applied);
        assert_eq!(refused, format!("{expected}; {ADVICE}"));
    }
    let at = HEADER_LEN + frame_len(5);
    let len = frame_len(311);
    check(
        |disk| disk.damage(2, |bytes| bytes[at + 100] ^= 4),
        1,
        &format!("log/2: at byte {at}: a record is damaged, for at byte {} a good one follows", at + len),
    );
    // The last record of a segment that is not the last one is protected by the seal.
    check(
        |disk| disk.damage(2, |bytes| bytes[at + len + 100] ^= 4),
        1,
        &format!("log/2: at byte {}: a record is damaged, for at byte {} a good one follows", at + len, at + 2 * len),
    );
    check(
        |disk| disk.damage(2, |bytes| bytes.truncate(at + len)),
        1,
        &format!("log/2: at byte {}: records are missing at the end", at + len),
    );
    check(|disk| disk.clone().remove(3).unwrap(), 1, "log/4: the segment before this one is missing");
    check(|disk| disk.clone().remove(1).unwrap(), 1, "log/2: the log begins at entry 4, but only 1 are applied");
    check(|_| (), 11, "log: the log ends at entry 10, but 11 are applied");
    check(
        |disk| (1..=5).for_each(|segment| disk.clone().remove(segment).unwrap()),
        9,
        "log: the log is missing, but 9 are applied",
    );
}

#[test]
fn a_state_that_has_lost_what_the_log_was_cut_behind_is_refused() {
    let disk = written(&[300, 300]);
    let (mut log, _) = open(&disk, 1).unwrap();
    log.note(&HardState { commit: 3, ..state(1) });
    // The next segment begins with what is known then.
    log.reserve(1, 5000).unwrap();
    log.release(3);
    drop(log);
    assert_eq!(indexes(&open(&disk, 3).unwrap().1), []);
    let expected = "log: entries up to 3 are committed, but only 2 are in the log or applied";
    assert_eq!(refusal(&disk, 2), format!("{expected}; {ADVICE}"));
}

#[test]
fn the_seal_is_written_once() {
    let disk = written(&[10]);
    let (mut log, _) = open(&disk, 1).unwrap();
    log.seal().unwrap();
    let end = log.offset;
    log.seal().unwrap();
    assert_eq!(log.offset, end);
    let (mut log, _) = open(&disk, 1).unwrap();
    log.seal().unwrap();
    assert_eq!(log.offset, end);
}

/// The log over a state that was installed at this entry.
fn open_installed(disk: &MemoryDisk, index: u64, term: u64) -> (Log<MemoryDisk>, Recovered) {
    Log::open(disk.clone(), SEGMENT_BYTES, Base { index, term, installed: true }, &state(1)).unwrap()
}

#[test]
fn a_reset_log_begins_anew_and_holds_one_segment() {
    let disk = written(&[300; 9]);
    let (mut log, _) = open(&disk, 1).unwrap();
    log.reset(50, 3, &state(3)).unwrap();
    assert_eq!(disk.segments().unwrap().len(), 1);
    let check = |applied: u64, expected: &[(u64, u64)]| {
        for installed in [false, true] {
            let base = Base { index: applied, term: 3, installed };
            let (_, recovered) = Log::open(disk.clone(), SEGMENT_BYTES, base, &state(1)).unwrap();
            assert_eq!(indexes(&recovered), expected);
            assert_eq!(recovered.hard_state, Some(state(3)));
        }
    };
    check(50, &[]);
    for index in 51..60 {
        log.append(&state(3), &[entry(index, 3, 300)]).unwrap();
    }
    assert_eq!(refusal(&disk, 40), format!("log: the log begins behind entry 50, but only 40 are applied; {ADVICE}"));
    check(50, &(51..60).map(|index| (index, 3)).collect::<Vec<_>>());
    log.release(57);
    let (_, recovered) = open(&disk, 58).unwrap();
    assert_eq!(indexes(&recovered), [(59, 3)]);
    // The state that the log was reset behind is older than that.
    assert_eq!(
        refusal(&disk, 40),
        format!("{}: the log begins at entry 58, but only 40 are applied; {ADVICE}", disk.path(9).display())
    );
}

#[test]
fn a_reset_that_a_crash_cut_off_is_finished_when_the_state_was_installed() {
    for (vote, recovered_term) in [(1, 2), (0, 5)] {
        let disk = written(&[300; 9]);
        let (mut log, _) = open(&disk, 1).unwrap();
        log.append(&state(2), &[]).unwrap();
        drop(log);
        let (_, recovered) = open_installed(&disk, 50, recovered_term);
        let hard_state = HardState { term: recovered_term, vote, commit: 50, ..HardState::default() };
        assert_eq!(recovered, Recovered { hard_state: Some(hard_state.clone()), ..Recovered::default() });
        assert_eq!(disk.segments().unwrap().len(), 1);
        // The next start need not: it only makes sure of what it reads.
        let syncs = disk.syncs();
        assert_eq!(open_installed(&disk, 50, recovered_term).1.hard_state, Some(hard_state));
        assert_eq!(disk.syncs(), syncs + 1);
    }
    // A server that had nothing before.
    let disk = MemoryDisk::default();
    let (_, recovered) = open_installed(&disk, 50, 5);
    assert_eq!(recovered.hard_state.map(|state| (state.term, state.commit)), Some((5, 50)));
    // Without the mark it is a log that has lost something.
    let disk = written(&[300; 9]);
    assert_eq!(refusal(&disk, 50), format!("log: the log ends at entry 10, but 50 are applied; {ADVICE}"));
}

#[test]
fn a_reset_behind_segments_that_could_not_be_removed_still_holds() {
    let disk = written(&[300; 9]);
    let (mut log, _) = open(&disk, 1).unwrap();
    let all = disk.segments().unwrap();
    let before: Vec<_> = all.iter().map(|segment| (*segment, disk.read(*segment).unwrap())).collect();
    log.reset(50, 3, &state(3)).unwrap();
    log.append(&state(3), &[entry(51, 3, 10)]).unwrap();
    drop(log);
    for (segment, bytes) in &before[..before.len() - 1] {
        disk.clone().create(*segment, bytes, bytes.len() as u64).unwrap();
    }
    let (mut log, recovered) = open(&disk, 50).unwrap();
    assert_eq!(indexes(&recovered), [(51, 3)]);
    log.release(0);
    assert_eq!(disk.segments().unwrap(), all[all.len() - 1..]);
}

#[test]
fn a_full_disk_still_takes_small_records() {
    const LARGE: u64 = 64 << 10;
    let disk = MemoryDisk::default();
    let open =
        |applied: u64| Log::open(disk.clone(), LARGE, Base { index: applied, ..Base::default() }, &state(1)).unwrap();
    let (mut log, _) = open(1);
    disk.limit(Some(0));
    let mut index = 2;
    while log.reserve(1, 1000).is_ok() {
        log.append(&state(1), &[entry(index, 1, 1000)]).unwrap();
        index += 1;
    }
    assert!(matches!(log.append(&state(1), &[entry(index, 1, 1000)]), Err(StoreError::Full { .. })));
    for term in 2..20 {
        log.append(&state(term), &[]).unwrap();
    }
    // A new leader's entry without content.
    log.append(&state(20), &[entry(index, 20, 0)]).unwrap();
    log.reset(index + 5, 20, &state(20)).unwrap();
    let (mut log, recovered) = open(index + 5);
    assert_eq!(recovered.hard_state, Some(state(20)));
    disk.limit(None);
    log.append(&state(20), &[entry(index + 6, 20, 1000)]).unwrap();
    assert_eq!(indexes(&open(index + 5).1), [(index + 6, 20)]);
}

#[test]
fn what_was_read_at_a_start_is_there_after_the_machine_dies() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 0).unwrap().0;
    disk.break_down();
    assert!(log.append(&HardState { term: 3, vote: 2, ..HardState::default() }, &[]).is_err());
    drop(log);
    disk.repair();
    let read = open(&disk, 0).unwrap().1.hard_state;
    disk.cut_power();
    assert_eq!(open(&disk, 0).unwrap().1.hard_state, read, "a start acts on what it has read");
}

#[test]
fn a_mark_of_the_end_that_was_not_flushed_is_flushed_before_anything_follows_it() {
    let disk = written(&[10; 3]);
    let (mut log, _) = open(&disk, 1).unwrap();
    disk.break_down();
    assert!(log.seal().is_err());
    drop(log);
    assert_eq!(refusal(&disk, 1), "log/1: the disk is broken");
    disk.repair();
    drop(open(&disk, 1).unwrap());
    disk.cut_power();
    let (mut log, recovered) = open(&disk, 1).unwrap();
    assert!(log.sealed);
    assert_eq!(indexes(&recovered), [(2, 1), (3, 1), (4, 1)]);
    log.append(&state(1), &[entry(5, 1, 10)]).unwrap();
    assert_eq!(indexes(&open(&disk, 1).unwrap().1).len(), 4);
}
