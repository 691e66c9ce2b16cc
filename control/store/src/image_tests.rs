use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::*;
use crate::dirty::Batch;
use crate::entry::Entry;
use crate::key::{Key, Revision};

/// A state with so many objects of so many bytes.
fn image(objects: u64, len: usize) -> Image {
    let entry = |turn: u64| {
        let key = Key::from(format!("a{}/{turn:05}", turn % 3));
        let value = Bytes::from(vec![turn as u8; len]);
        (key.clone(), Entry::put(key, value, Revision(turn), Revision(turn + 1), turn.is_multiple_of(2).then_some(0)))
    };
    let objects: OrdMap<Key, Arc<Entry>> = (0..objects).map(entry).collect();
    let changed: BTreeMap<Arc<str>, Revision> = [("a0/".into(), Revision(3)), ("gone/".into(), Revision(9))].into();
    let point = Point { index: 90_000, term: 5, revision: Revision(70_000), ..Point::default() };
    let state = State::restored(objects, changed, &point);
    Image { state, conf_state: ConfState { voters: vec![1, 2, 3], learners: vec![4], ..ConfState::default() } }
}

fn stream(image: &Image) -> Vec<u8> {
    image.chunks().flatten().collect()
}

fn read(bytes: &[u8], piece: usize) -> Result<Image, ImageError> {
    let mut reader = ImageReader::new();
    bytes.chunks(piece).try_for_each(|piece| reader.push(piece))?;
    reader.finish()
}

fn content(image: &Image) -> (Vec<Arc<Entry>>, BTreeMap<Arc<str>, Revision>, Point) {
    let entries = image.state.snapshot().range("", None).cloned().collect();
    (entries, image.state.changed().clone(), image.point())
}

#[test]
fn an_image_comes_back_whatever_the_pieces_are() {
    let check = |objects: u64, len: usize, piece: usize| {
        let image = image(objects, len);
        let found = read(&stream(&image), piece).unwrap();
        assert_eq!(content(&found), content(&image));
    };
    check(0, 0, usize::MAX);
    check(1, 0, 1);
    check(1000, 200, usize::MAX);
    check(1000, 200, 1000);
    check(100, 10, 1);
    check(3, 200_000, 7000);
}

#[test]
fn a_stream_is_made_of_bounded_parts() {
    let image = image(1000, 500);
    let sizes: Vec<usize> = image.chunks().map(|chunk| chunk.len()).collect();
    assert!(sizes.len() > 6, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size < CHUNK_BYTES + 1024), "{sizes:?}");
}

/// What changed of `image(objects, len)` since: one object in two is there no more, others are new.
fn later(objects: u64, len: usize) -> (Image, Batch) {
    let mut image = image(objects, len);
    let mut batch = Batch::default();
    let (mut kept, mut changed) = std::mem::take(&mut image.state).into_parts();
    for turn in 0..objects * 2 {
        let key = Key::from(format!("a{}/{turn:05}", turn % 3));
        if turn % 2 == 0 {
            kept.remove(&key);
            batch.objects.insert(key, None);
        } else if turn >= objects {
            let value = Bytes::from(vec![7; len]);
            let entry = Entry::put(key.clone(), value, Revision(80_000), Revision(80_000), None);
            kept.insert(key.clone(), entry.clone());
            batch.objects.insert(key, Some(entry));
        }
    }
    for (name, revision) in [("a0/", 80_000), ("new/", 80_001)] {
        changed.insert(name.into(), Revision(revision));
        batch.changed.insert(name.into(), Revision(revision));
    }
    let point = Point { index: 91_000, term: 6, revision: Revision(80_001), ..Point::default() };
    let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
    let image = Image { state: State::restored(kept, changed, &point), conf_state };
    batch.image = image.clone();
    (image, batch)
}

fn read_above(base: Image, bytes: &[u8], piece: usize) -> Result<Image, ImageError> {
    let mut reader = ImageReader::above(base);
    bytes.chunks(piece).try_for_each(|piece| reader.push(piece))?;
    reader.finish()
}

#[test]
fn changes_lead_from_one_image_to_the_next() {
    let check = |objects: u64, len: usize, piece: usize| {
        let (expected, batch) = later(objects, len);
        let above = image(objects, len).state.index();
        let stream: Vec<u8> = changes(&batch, above).flatten().collect();
        let found = read_above(image(objects, len), &stream, piece).unwrap();
        assert_eq!(content(&found), content(&expected));
    };
    check(0, 0, 1);
    check(1, 10, 1);
    check(1000, 500, 1000);
    check(20_000, 1, usize::MAX);
}

#[test]
fn changes_are_refused_where_they_do_not_belong_and_when_they_are_damaged() {
    let (after, batch) = later(20, 10);
    let above = image(20, 10).state.index();
    let whole: Vec<u8> = changes(&batch, above).flatten().collect();
    let why = |read: Result<Image, ImageError>| read.err().map(|error| error.to_string()).unwrap_or_default();
    let again = why(read_above(after.clone(), &whole, usize::MAX));
    assert!(again.contains("they do not lead on from the state before"), "{again}");
    let alone = why(read(&whole, usize::MAX));
    assert!(alone.contains("something follows the end"), "{alone}");
    let skipped: Vec<u8> = changes(&batch, above + 1).flatten().collect();
    let skipped = why(read_above(image(20, 10), &skipped, usize::MAX));
    assert!(skipped.contains("they do not lead on from the state before"), "{skipped}");
    assert!(read_above(Image::default(), &stream(&after), usize::MAX).is_err(), "an image is no change of one");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(read_above(image(20, 10), &flipped, usize::MAX).is_err(), "byte {at}");
        let cut = read_above(image(20, 10), &whole[..at], usize::MAX);
        assert_eq!(cut.err(), Some(ImageError::Incomplete { at: at as u64 }));
    }
    let chunks: Vec<Bytes> = changes(&batch, above).collect();
    for missing in 0..chunks.len() {
        let kept = chunks.iter().enumerate().filter(|(number, _)| *number != missing);
        let bytes: Vec<u8> = kept.flat_map(|(_, chunk)| chunk.clone()).collect();
        assert!(read_above(image(20, 10), &bytes, usize::MAX).is_err(), "{missing}");
    }
}

#[test]
fn a_backup_carries_its_label() {
    let label = Label { cluster: "c".to_owned(), saved_at: 1234 };
    let image = image(10, 10);
    let mut reader = ImageReader::new();
    image.labelled_chunks(label.clone()).try_for_each(|chunk| reader.push(&chunk)).unwrap();
    let read = reader.finish_labelled().unwrap();
    assert_eq!(read.label, Some(label));
    assert_eq!(content(&read.image), content(&image));
}

#[test]
fn a_stream_that_was_cut_is_incomplete() {
    let whole = stream(&image(40, 10));
    for cut in 0..whole.len() {
        let expected = ImageError::Incomplete { at: cut as u64 };
        assert_eq!(read(&whole[..cut], usize::MAX).err(), Some(expected));
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let whole = stream(&image(40, 10));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            assert!(read(&flipped, usize::MAX).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn parts_that_are_missing_twice_or_elsewhere_are_refused() {
    let chunks: Vec<Bytes> = image(1000, 500).chunks().collect();
    let check = |order: &[usize]| {
        let bytes: Vec<u8> = order.iter().flat_map(|position| chunks[*position].clone()).collect();
        assert!(read(&bytes, usize::MAX).is_err(), "{order:?}");
    };
    let all: Vec<usize> = (0..chunks.len()).collect();
    for position in 0..chunks.len() {
        let mut order = all.clone();
        order.remove(position);
        check(&order);
        order.insert(position, position);
        order.insert(position, position);
        check(&order);
    }
    for position in 1..chunks.len() {
        let mut order = all.clone();
        order.swap(position - 1, position);
        check(&order);
    }
}

#[test]
fn what_is_no_image_or_a_later_ones_is_named_as_such() {
    fn check(bytes: &[u8], expected: &str) {
        for piece in [1, usize::MAX] {
            assert_eq!(read(bytes, piece).err().map(|error| error.to_string()).as_deref(), Some(expected));
        }
    }
    check(b"x", "this is not an image of a store's state");
    check(b"apiVersion: v1", "this is not an image of a store's state");
    check(b"", "it ends at byte 0, before its trailer: the copy is incomplete");
    check(
        b"pal-img\0\x09\0\0\0",
        "its format 9 is newer than this program's (1); use the version that wrote it, or a later one",
    );
    let huge = b"pal-img\0\x01\0\0\0H\xff\xff\xff\xff\0\0\0\0";
    check(huge, "damaged at byte 12: a part claims to be larger than any can be");
}
