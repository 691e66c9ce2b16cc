//! Writing a state as a stream.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::{BUCKETS, CHUNK_BYTES, ENTRIES, FRAME_HEADER_LEN, HEADER, Image, LABEL, MAGIC, TRAILER, VERSION, checksum};
use crate::codec::{write_bytes, write_number, write_position};
use crate::key::Key;

/// What a backup says beside the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    /// The cluster that it was made of.
    pub cluster: String,
    /// When, in seconds since 1970.
    pub saved_at: u64,
}

/// What comes next.
enum Next {
    Header,
    Label,
    /// The bucket behind this one.
    Buckets(Option<Arc<str>>),
    /// The entry behind this one.
    Entries(Option<Key>),
    Trailer,
    Nothing,
}

/// An image's frames, one after another.
pub(crate) struct Chunks {
    image: Image,
    label: Option<Label>,
    next: Next,
    sequence: u64,
    buckets: u64,
    entries: u64,
    whole: crc32fast::Hasher,
}

impl Chunks {
    pub(super) fn new(image: Image, label: Option<Label>) -> Chunks {
        let whole = crc32fast::Hasher::new();
        Chunks { image, label, next: Next::Header, sequence: 0, buckets: 0, entries: 0, whole }
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(content.len() + FRAME_HEADER_LEN + MAGIC.len() + 4);
        if self.sequence == 0 {
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&VERSION.to_le_bytes());
        }
        out.push(kind);
        // A chunk and one transaction more, far below 4 GiB.
        out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&checksum(self.sequence, kind, content).to_le_bytes());
        out.extend_from_slice(content);
        self.sequence += 1;
        self.whole.update(&out);
        out.into()
    }

    fn header(&self) -> Vec<u8> {
        self.image.point().encode()
    }

    fn label(&mut self) -> Option<Bytes> {
        let label = self.label.as_ref()?;
        let mut out = Vec::new();
        write_bytes(&mut out, label.cluster.as_bytes());
        write_number(&mut out, label.saved_at);
        self.next = Next::Buckets(None);
        Some(self.frame(LABEL, &out))
    }

    fn some_buckets(&mut self, after: Option<Arc<str>>) -> Option<Bytes> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut out = Vec::new();
        let mut last = None;
        for (name, revision) in self.image.state.changed().range::<Arc<str>, _>((from, Bound::Unbounded)) {
            write_bytes(&mut out, name.as_bytes());
            write_number(&mut out, revision.0);
            last = Some(name.clone());
            self.buckets += 1;
            if out.len() >= CHUNK_BYTES {
                break;
            }
        }
        last.map(|last| {
            self.next = Next::Buckets(Some(last));
            self.frame(BUCKETS, &out)
        })
    }

    fn some_entries(&mut self, after: Option<Key>) -> Option<Bytes> {
        let mut out = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        let mut last = None;
        for entry in self.image.state.snapshot().range("", after.as_ref()) {
            write_bytes(&mut out, entry.key().as_str().as_bytes());
            write_number(&mut out, entry.created().0);
            write_number(&mut out, entry.modified().0);
            write_position(&mut out, entry.revision_at());
            write_bytes(&mut out, entry.value());
            last = Some(entry.key().clone());
            self.entries += 1;
            if out.len() >= CHUNK_BYTES {
                break;
            }
        }
        last.map(|last| {
            self.next = Next::Entries(Some(last));
            self.frame(ENTRIES, &out)
        })
    }

    fn trailer(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_number(&mut out, self.buckets);
        write_number(&mut out, self.entries);
        out.extend_from_slice(&self.whole.clone().finalize().to_le_bytes());
        out
    }
}

/// A stream of these parts, each with its kind: well-formed, whatever they say.
#[cfg(feature = "fuzzing")]
pub(crate) fn framed<'a>(parts: impl Iterator<Item = (&'a u8, &'a [u8])>) -> Vec<u8> {
    let (mut chunks, mut stream) = (Image::default().chunks(), Vec::new());
    for (kind, content) in parts {
        let mut content = content.to_vec();
        if *kind == TRAILER {
            content.extend_from_slice(&chunks.whole.clone().finalize().to_le_bytes());
        }
        stream.extend_from_slice(&chunks.frame(*kind, &content));
    }
    stream
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            // A step that has something to give says what comes next; one that has nothing is passed over.
            let (chunk, otherwise) = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Nothing => return None,
                Next::Header => {
                    self.next = Next::Label;
                    let header = self.header();
                    return Some(self.frame(HEADER, &header));
                }
                Next::Trailer => {
                    let trailer = self.trailer();
                    return Some(self.frame(TRAILER, &trailer));
                }
                Next::Label => (self.label(), Next::Buckets(None)),
                Next::Buckets(after) => (self.some_buckets(after), Next::Entries(None)),
                Next::Entries(after) => (self.some_entries(after), Next::Trailer),
            };
            match chunk {
                Some(chunk) => return Some(chunk),
                None => self.next = otherwise,
            }
        }
    }
}
