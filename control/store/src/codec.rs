//! How transactions and entries are laid out in bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::Entry;
use crate::key::{Key, Revision};
use crate::txn::{Guard, Op, Txn};

/// The first byte of every encoded transaction and entry.
const VERSION: u8 = 1;

const ABSENT: u8 = 0;
const UNCHANGED: u8 = 1;
const PRESENT: u8 = 2;
const PUT: u8 = 0;
const DELETE: u8 = 1;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub(crate) struct DecodeError {
    pub at: usize,
    pub what: &'static str,
}

/// Appends an unsigned LEB128 number.
pub(crate) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes with their length.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A cursor over encoded bytes.
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a Bytes) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub fn fail<T>(&self, what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError { at: self.at, what })
    }

    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.fail("it ends too early"),
        }
    }

    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        self.fail("a number is too long")
    }

    /// A slice of the underlying buffer, not a copy.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.number()?;
        let left = self.bytes.len() - self.at;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                let bytes = self.bytes.slice(self.at..self.at + len);
                self.at += len;
                Ok(bytes)
            }
            _ => self.fail("a length is past the end"),
        }
    }

    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }

    pub fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() { Ok(()) } else { self.fail("something follows the end") }
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// A text in the underlying buffer.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes;
        let len = self.bytes()?.len();
        match std::str::from_utf8(&bytes[self.at - len..self.at]) {
            Ok(text) => Ok(text),
            Err(_) => self.fail("a text is not UTF-8"),
        }
    }

    fn key(&mut self) -> Result<Key, DecodeError> {
        self.text().map(Key::from)
    }

    fn version(&mut self) -> Result<(), DecodeError> {
        if self.byte()? == VERSION { Ok(()) } else { self.fail("the version is not known") }
    }

    pub fn position(&mut self) -> Result<Option<u32>, DecodeError> {
        match self.number()? {
            0 => Ok(None),
            position => match u32::try_from(position - 1) {
                Ok(position) => Ok(Some(position)),
                Err(_) => self.fail("a position is too large"),
            },
        }
    }
}

pub(crate) fn write_position(out: &mut Vec<u8>, position: Option<u32>) {
    write_number(out, position.map_or(0, |position| u64::from(position) + 1));
}

/// A transaction's bytes, as the log keeps them.
pub(crate) fn encode_txn(txn: &Txn) -> Vec<u8> {
    let size: usize = txn
        .ops
        .iter()
        .map(|op| 16 + op.key().as_str().len() + if let Op::Put { value, .. } = op { value.len() } else { 0 })
        .chain(txn.guards.iter().map(|guard| 16 + guard.key().as_str().len()))
        .sum();
    let mut out = Vec::with_capacity(size + 16);
    out.push(VERSION);
    write_number(&mut out, txn.guards.len() as u64);
    for guard in &txn.guards {
        let (tag, modified) = match guard {
            Guard::Absent(_) => (ABSENT, None),
            Guard::Unchanged(_, modified) => (UNCHANGED, Some(modified.0)),
            Guard::Present(_) => (PRESENT, None),
        };
        out.push(tag);
        write_bytes(&mut out, guard.key().as_str().as_bytes());
        if let Some(modified) = modified {
            write_number(&mut out, modified);
        }
    }
    write_number(&mut out, txn.ops.len() as u64);
    for op in &txn.ops {
        match op {
            Op::Put { key, value, revision_at } => {
                out.push(PUT);
                write_bytes(&mut out, key.as_str().as_bytes());
                write_position(&mut out, *revision_at);
                write_bytes(&mut out, value);
            }
            Op::Delete { key } => {
                out.push(DELETE);
                write_bytes(&mut out, key.as_str().as_bytes());
            }
        }
    }
    out
}

/// The transaction that `encode_txn` wrote.
pub(crate) fn decode_txn(bytes: &Bytes) -> Result<Txn, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.version()?;
    let mut txn = Txn::default();
    for _ in 0..reader.number()? {
        let tag = reader.byte()?;
        let key = reader.key()?;
        txn.guards.push(match tag {
            ABSENT => Guard::Absent(key),
            UNCHANGED => Guard::Unchanged(key, Revision(reader.number()?)),
            PRESENT => Guard::Present(key),
            _ => return reader.fail("a guard of an unknown kind"),
        });
    }
    for _ in 0..reader.number()? {
        let tag = reader.byte()?;
        let key = reader.key()?;
        txn.ops.push(match tag {
            PUT => {
                let revision_at = reader.position()?;
                let value = reader.bytes()?;
                // Splicing copies the value anyway. Without it, a slice would keep a whole log segment in memory.
                let value = if revision_at.is_some() { value } else { Bytes::copy_from_slice(&value) };
                Op::Put { key, value, revision_at }
            }
            DELETE => Op::Delete { key },
            _ => return reader.fail("a change of an unknown kind"),
        });
    }
    reader.end()?;
    Ok(txn)
}

/// An entry's bytes without its key, as the applied state keeps them.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.value().len() + 24);
    out.push(VERSION);
    write_number(&mut out, entry.created().0);
    write_number(&mut out, entry.modified().0);
    write_position(&mut out, entry.revision_at());
    out.extend_from_slice(entry.value());
    out
}

/// The entry that `encode_entry` wrote.
pub(crate) fn decode_entry(key: Key, bytes: &[u8]) -> Result<Arc<Entry>, DecodeError> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&bytes);
    reader.version()?;
    let created = Revision(reader.number()?);
    let modified = Revision(reader.number()?);
    let revision_at = reader.position()?;
    let value = reader.rest();
    if revision_at.is_some_and(|at| at as usize > value.len()) {
        return reader.fail("the revision's position is past the value");
    }
    Ok(Entry::stored(key, value, created, modified, revision_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Key> {
        "[a-z]{1,5}/[a-zé]{0,5}".prop_map(Key::from)
    }

    fn guard() -> impl Strategy<Value = Guard> {
        prop_oneof![
            key().prop_map(Guard::Absent),
            key().prop_map(Guard::Present),
            (key(), any::<u64>()).prop_map(|(key, modified)| Guard::Unchanged(key, Revision(modified))),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let value = proptest::collection::vec(any::<u8>(), 0..50);
        prop_oneof![
            key().prop_map(|key| Op::Delete { key }),
            (key(), value, any::<Option<u32>>()).prop_map(|(key, value, revision_at)| Op::Put {
                key,
                value: value.into(),
                revision_at
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_transaction_survives_encoding(
            guards in proptest::collection::vec(guard(), 0..4),
            ops in proptest::collection::vec(op(), 0..4),
        ) {
            // A position that does not fit its encoding cannot come from an accepted transaction.
            let txn = Txn { guards, ops };
            prop_assert_eq!(decode_txn(&encode_txn(&txn).into()), Ok(txn));
        }

        #[test]
        fn foreign_bytes_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_txn(&Bytes::from(bytes.clone()));
            let _ = decode_entry("a/b".into(), &bytes);
        }

        #[test]
        fn a_cut_transaction_is_an_error(ops in proptest::collection::vec(op(), 1..4), cut in any::<prop::sample::Index>()) {
            let bytes = encode_txn(&Txn::of(ops));
            let cut = cut.index(bytes.len());
            prop_assert!(decode_txn(&Bytes::copy_from_slice(&bytes[..cut])).is_err());
        }
    }

    #[test]
    fn an_entry_survives_encoding() {
        fn check(value: &'static [u8], revision_at: Option<u32>) {
            let value = Bytes::from_static(value);
            let entry = Entry::put("a/b".into(), value, Revision(3), Revision(70_000), revision_at);
            assert_eq!(decode_entry("a/b".into(), &encode_entry(&entry)), Ok(entry));
        }
        check(b"", None);
        check(b"<>", Some(1));
        check(&[7; 1000], Some(1000));
    }
}
