use raft::eraftpb::{Entry, HardState};

use super::*;

const SEGMENT: u64 = 3;
const SIZE: usize = 512;

fn batch(index: u64) -> Record {
    let hard_state = HardState { term: 2, vote: 7, commit: index - 1, ..HardState::default() };
    let data = Bytes::from(format!("entry {index}"));
    let entry = Entry { index, term: 2, data, ..Entry::default() };
    Record::Batch { hard_state, entries: vec![entry] }
}

/// A segment with these records, and where each begins.
fn segment(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    write_header(&mut bytes, SEGMENT);
    let mut starts = Vec::new();
    for record in records {
        let at = bytes.len();
        starts.push(at);
        write_frame(&mut bytes, SEGMENT, at as u64, |out| match record {
            Record::Batch { hard_state, entries } => record::write_batch(out, hard_state, entries),
            Record::Seal => record::write_seal(out),
            Record::Reset { hard_state, index, term } => record::write_reset(out, hard_state, *index, *term),
        });
    }
    bytes.resize(SIZE, 0);
    (bytes, starts)
}

/// The bytes of the frame at `start`, without padding.
fn content_len(bytes: &[u8], start: usize) -> usize {
    FRAME_HEADER_LEN + usize::from(bytes[start + 4])
}

fn good(bytes: Vec<u8>) -> Scan {
    scan(&bytes.into(), SEGMENT).unwrap()
}

#[test]
fn records_come_back_as_they_were_written() {
    fn check(records: &[Record], sealed: bool) {
        let found = good(segment(records).0);
        assert_eq!(found.records, records);
        assert_eq!((found.sealed, found.torn), (sealed, false));
    }
    check(&[], false);
    check(&[batch(1)], false);
    check(&[batch(1), Record::Seal], true);
    check(&[batch(1), Record::Seal, batch(2)], false);
    check(&[Record::Reset { hard_state: HardState::default(), index: 9, term: 3 }, batch(10)], false);
}

#[test]
fn a_write_torn_at_any_byte_is_cut_off() {
    let records = [batch(1), batch(2), batch(3)];
    let (whole, starts) = segment(&records);
    let end = good(whole.clone()).end as usize;
    // Padding behind the content says nothing, so the last record is whole without it.
    let content_end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in starts[2]..end {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        let found = good(torn);
        let expected = if cut < content_end { 2 } else { 3 };
        assert_eq!(found.records, records[..expected], "cut at {cut}");
        assert_eq!(found.end as usize, if cut < content_end { starts[2] } else { end });
    }
}

#[test]
fn a_file_cut_short_ends_with_its_last_whole_record() {
    let records = [batch(1), batch(2)];
    let (whole, starts) = segment(&records);
    for len in HEADER_LEN..=SIZE {
        let found = scan(&Bytes::copy_from_slice(&whole[..len]), SEGMENT).unwrap();
        // A record is whole without the padding behind its content.
        let expected = starts.iter().filter(|start| len >= **start + content_len(&whole, **start)).count();
        assert_eq!(found.records, records[..expected], "{len} bytes");
    }
}

#[test]
fn any_flipped_bit_before_another_record_is_damage() {
    let (whole, starts) = segment(&[batch(1), batch(2), batch(3)]);
    for at in HEADER_LEN..starts[2] {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            match scan(&flipped.into(), SEGMENT) {
                Err(Damage::Bad { at: found, .. }) => {
                    let start = starts.iter().rev().find(|start| **start <= at).unwrap();
                    assert_eq!(found, *start, "byte {at} bit {bit}");
                }
                // Padding is not covered: it says nothing.
                Ok(found) => assert_eq!(found.records.len(), 3, "byte {at} bit {bit}"),
                Err(other) => panic!("byte {at} bit {bit}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_seal_protects_the_last_record() {
    let (mut bytes, starts) = segment(&[batch(1), Record::Seal]);
    bytes[starts[0] + 20] ^= 1;
    assert!(matches!(scan(&bytes.into(), SEGMENT), Err(Damage::Bad { at, .. }) if at == starts[0]));
}

#[test]
fn a_bad_header_is_named() {
    fn check(change: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let (mut bytes, _) = segment(&[batch(1)]);
        change(&mut bytes);
        let Err(Damage::Bad { at: 0, what }) = scan(&bytes.into(), SEGMENT) else { panic!("not refused") };
        assert_eq!(what, expected);
    }
    check(|bytes| bytes.clear(), "the file is shorter than its header");
    check(|bytes| bytes[0] = b'x', "the file does not begin as a log segment does");
    check(|bytes| bytes[12] ^= 1, "the header does not match its checksum");
    check(
        |bytes| {
            bytes.clear();
            write_header(bytes, SEGMENT + 1);
        },
        "the file's name is not that of its segment",
    );
}

#[test]
fn a_later_version_is_refused_as_such() {
    let (mut bytes, _) = segment(&[]);
    bytes[8] = 9;
    let checksum = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    assert_eq!(scan(&bytes.into(), SEGMENT), Err(Damage::Version(9)));
}

#[test]
fn a_frame_from_another_place_does_not_count() {
    let (bytes, starts) = segment(&[batch(1), batch(2)]);
    let mut moved = bytes.clone();
    moved.copy_within(starts[1].., starts[0]);
    let found = good(moved);
    assert_eq!((found.records.len(), found.torn), (0, true));
    assert!(matches!(scan(&bytes.into(), SEGMENT + 1), Err(Damage::Bad { at: 0, .. })));
}
