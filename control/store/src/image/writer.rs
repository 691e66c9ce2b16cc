//! Writing a state as a stream.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::{BUCKETS, CHUNK_BYTES, ENTRIES, FRAME_HEADER_LEN, HEADER, Image, LABEL, MAGIC, PREAMBLE_LEN, TRAILER, VERSION, checksum};
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

    /// A frame to be: its content, of about so many bytes, is appended to this.
    fn begin(&self, room: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(PREAMBLE_LEN + FRAME_HEADER_LEN + room);
        if self.sequence == 0 {
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&VERSION.to_le_bytes());
        }
        out.resize(out.len() + FRAME_HEADER_LEN, 0);
        out
    }

    /// Where the content of the next frame begins in what [`Self::begin`] returns.
    fn content_at(&self) -> usize {
        FRAME_HEADER_LEN + if self.sequence == 0 { PREAMBLE_LEN } else { 0 }
    }

    /// Makes a frame of what was begun.
    fn frame(&mut self, kind: u8, mut out: Vec<u8>) -> Bytes {
        let (head, content) = out.split_at_mut(self.content_at());
        let mut header = [kind; FRAME_HEADER_LEN];
        // A chunk and one transaction more, far below 4 GiB.
        header[1..5].copy_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
        header[5..].copy_from_slice(&checksum(self.sequence, kind, content).to_le_bytes());
        let at = head.len() - FRAME_HEADER_LEN;
        head[at..].copy_from_slice(&header);
        self.sequence += 1;
        self.whole.update(&out);
        out.into()
    }

    fn header(&mut self) -> Bytes {
        let mut out = self.begin(0);
        out.extend_from_slice(&self.image.point().encode());
        self.frame(HEADER, out)
    }

    fn label(&mut self) -> Option<Bytes> {
        let label = self.label.as_ref()?;
        let mut out = self.begin(0);
        write_bytes(&mut out, label.cluster.as_bytes());
        write_number(&mut out, label.saved_at);
        self.next = Next::Buckets(None);
        Some(self.frame(LABEL, out))
    }

    fn some_buckets(&mut self, after: Option<Arc<str>>) -> Option<Bytes> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut out = self.begin(0);
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
            self.frame(BUCKETS, out)
        })
    }

    fn some_entries(&mut self, after: Option<Key>) -> Option<Bytes> {
        let mut out = self.begin(CHUNK_BYTES + CHUNK_BYTES / 8);
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
            self.frame(ENTRIES, out)
        })
    }

    fn trailer(&mut self) -> Bytes {
        let mut out = self.begin(0);
        write_number(&mut out, self.buckets);
        write_number(&mut out, self.entries);
        out.extend_from_slice(&self.whole.clone().finalize().to_le_bytes());
        self.frame(TRAILER, out)
    }
}

/// A stream of these parts, each with its kind: well-formed, whatever they say.
#[cfg(feature = "fuzzing")]
pub(crate) fn framed<'a>(parts: impl Iterator<Item = (&'a u8, &'a [u8])>) -> Vec<u8> {
    let (mut chunks, mut stream) = (Image::default().chunks(), Vec::new());
    for (kind, content) in parts {
        let mut out = chunks.begin(content.len());
        out.extend_from_slice(content);
        if *kind == TRAILER {
            out.extend_from_slice(&chunks.whole.clone().finalize().to_le_bytes());
        }
        stream.extend_from_slice(&chunks.frame(*kind, out));
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
                    return Some(self.header());
                }
                Next::Trailer => return Some(self.trailer()),
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
