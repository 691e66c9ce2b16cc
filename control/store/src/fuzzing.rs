//! What is read of files and of other servers, for fuzzing: each takes any bytes, and fails where a promise does not hold.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::Message;

use crate::codec::{decode_entry, decode_txn, encode_txn, write_bytes, write_number};
use crate::image::{Image, ImageReader};
use crate::key::Key;
use crate::peer::fuzzing::frames;
use crate::point::Point;
use crate::proposals::Context;
use crate::record::{self, Record};
use crate::segment;

/// A stream of another server's: the frames, and what is in them.
pub fn peers(input: &[u8]) {
    let (whole, piecewise) = (frames(input, input.len()), frames(input, 1));
    assert_eq!(whole, piecewise, "cut otherwise, it is something else");
    for content in whole.0 {
        let _ = Message::parse_from_carllerche_bytes(&content);
        transaction(&content);
        if let Ok(context) = Context::decode(&content) {
            assert_eq!(Context::decode(&context.encode()), Ok(context), "what is written can be read");
        }
    }
}

fn transaction(content: &Bytes) {
    if let Ok(txn) = decode_txn(content) {
        assert_eq!(decode_txn(&encode_txn(&txn).into()), Ok(txn), "what is written can be read");
    }
}

/// A segment of the log: as it is, and one of which every line of the input is a record.
pub fn log(input: &[u8]) {
    let _ = segment::scan(&Bytes::copy_from_slice(input), 1);
    let (mut file, mut written) = (Vec::new(), Vec::new());
    segment::write_header(&mut file, 1);
    for line in input.split(|byte| *byte == b'\n') {
        let at = file.len() as u64;
        if let Ok(record) = record::decode(&Bytes::copy_from_slice(line)) {
            segment::write_frame(&mut file, 1, at, |out| write_record(out, &record));
            written.push(record);
        }
    }
    let whole = segment::scan(&file.clone().into(), 1).unwrap_or_else(|damage| panic!("{damage:?}"));
    assert_eq!((&whole.records, whole.end, whole.torn), (&written, file.len() as u64, false));
    // Without its last byte that is not zero, the last record is one that a crash tore.
    let Some(last) = file.iter().rposition(|byte| *byte != 0).filter(|_| !written.is_empty()) else { return };
    let torn = segment::scan(&Bytes::copy_from_slice(&file[..last]), 1).unwrap_or_else(|damage| panic!("{damage:?}"));
    assert_eq!(torn.records, written[..written.len() - 1]);
}

fn write_record(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Batch { hard_state, entries } => record::write_batch(out, hard_state, entries),
        Record::Seal => record::write_seal(out),
        Record::Reset { hard_state, index, term } => record::write_reset(out, hard_state, *index, *term),
    }
}

/// An image of the state, and changes of an empty one: as it is, and one of which every line of the input is a part, its kind
/// first.
pub fn image(input: &[u8]) {
    read_stream(input, ImageReader::new);
    read_stream(input, || ImageReader::above(Image::default()));
}

fn read_stream(input: &[u8], reader: fn() -> ImageReader) {
    let read = |reader: fn() -> ImageReader, bytes: &[u8], piece: usize| {
        let mut reader = reader();
        bytes.chunks(piece.max(1)).try_for_each(|bytes| reader.push(bytes)).and_then(|()| reader.finish())
    };
    let _ = read(reader, input, input.len());
    let parts = input.split(|byte| *byte == b'\n').filter_map(|line| line.split_first());
    let stream = crate::image::framed(parts);
    let image = match (read(reader, &stream, stream.len()), read(reader, &stream, 1)) {
        (Ok(image), Ok(_)) => image,
        (Err(why), Err(again)) => return assert_eq!(why, again, "cut otherwise, it is something else"),
        (whole, pieces) => panic!("{:?} in one piece, {:?} in many", whole.err(), pieces.err()),
    };
    let chunks: Vec<u8> = image.chunks().flatten().collect();
    assert!(read(ImageReader::new, &chunks, chunks.len()).is_ok(), "what is written can be read");
}

/// What the stored state keeps of an entry, and of itself.
pub fn stored(input: &[u8]) {
    let _ = decode_entry(Key::from("a/b"), input);
    if let Ok(point) = Point::decode(input) {
        assert_eq!(Point::decode(&point.encode()), Ok(point), "what is written can be read");
    }
    let mut numbers = Vec::new();
    input.iter().for_each(|byte| write_number(&mut numbers, u64::from(*byte) << 57));
    write_bytes(&mut numbers, input);
    transaction(&numbers.into());
    transaction(&Bytes::copy_from_slice(input));
}
