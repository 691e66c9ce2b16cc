//! Writing a state as a stream, or what changed of it.

use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::{
    BUCKETS, CHUNK_BYTES, ENTRIES, FRAME_HEADER_LEN, GONE, HEADER, Image, LABEL, MAGIC, PREAMBLE_LEN, TRAILER, VERSION,
    checksum,
};
use crate::codec::{write_bytes, write_number, write_position};
use crate::dirty::Batch;
use crate::entry::Entry;
use crate::key::{Key, Revision};

/// What a backup says beside the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    /// The cluster that it was made of.
    pub cluster: String,
    /// When, in seconds since 1970.
    pub saved_at: u64,
}

/// A stream's frames as they are made.
#[derive(Default)]
struct Frames {
    sequence: u64,
    /// Of all that was made.
    whole: crc32fast::Hasher,
}

impl Frames {
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

    /// The next of the frames that hold these items, unless there are no more; it counts them.
    fn part<T>(
        &mut self,
        kind: u8,
        items: &mut Peekable<impl Iterator<Item = T>>,
        count: &mut u64,
        write: impl Fn(&mut Vec<u8>, T),
    ) -> Option<Bytes> {
        items.peek()?;
        let mut out = self.begin(CHUNK_BYTES + CHUNK_BYTES / 8);
        while out.len() < CHUNK_BYTES
            && let Some(item) = items.next()
        {
            write(&mut out, item);
            *count += 1;
        }
        Some(self.frame(kind, out))
    }

    /// The last frame: how many of each kind of items there were.
    fn trailer(&mut self, counts: &[u64]) -> Bytes {
        let mut out = self.begin(0);
        counts.iter().for_each(|count| write_number(&mut out, *count));
        out.extend_from_slice(&self.whole().to_le_bytes());
        self.frame(TRAILER, out)
    }

    fn whole(&self) -> u32 {
        self.whole.clone().finalize()
    }
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
    frames: Frames,
    /// How many buckets and entries there were.
    counts: [u64; 2],
}

impl Chunks {
    pub(super) fn new(image: Image, label: Option<Label>) -> Chunks {
        Chunks { image, label, next: Next::Header, frames: Frames::default(), counts: [0; 2] }
    }

    fn header(&mut self) -> Bytes {
        let mut out = self.frames.begin(0);
        out.extend_from_slice(&self.image.point().encode());
        self.frames.frame(HEADER, out)
    }

    fn label(&mut self) -> Option<Bytes> {
        let label = self.label.as_ref()?;
        let mut out = self.frames.begin(0);
        write_bytes(&mut out, label.cluster.as_bytes());
        write_number(&mut out, label.saved_at);
        self.next = Next::Buckets(None);
        Some(self.frames.frame(LABEL, out))
    }

    fn some_buckets(&mut self, after: Option<Arc<str>>) -> Option<Bytes> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut out = self.frames.begin(0);
        let mut last = None;
        for (name, revision) in self.image.state.changed().range::<Arc<str>, _>((from, Bound::Unbounded)) {
            write_bucket(&mut out, (name, revision));
            last = Some(name.clone());
            self.counts[0] += 1;
            if out.len() >= CHUNK_BYTES {
                break;
            }
        }
        last.map(|last| {
            self.next = Next::Buckets(Some(last));
            self.frames.frame(BUCKETS, out)
        })
    }

    fn some_entries(&mut self, after: Option<Key>) -> Option<Bytes> {
        let mut out = self.frames.begin(CHUNK_BYTES + CHUNK_BYTES / 8);
        let mut last = None;
        for entry in self.image.state.snapshot().range("", after.as_ref()) {
            write_entry(&mut out, entry);
            last = Some(entry.key().clone());
            self.counts[1] += 1;
            if out.len() >= CHUNK_BYTES {
                break;
            }
        }
        last.map(|last| {
            self.next = Next::Entries(Some(last));
            self.frames.frame(ENTRIES, out)
        })
    }
}

fn write_bucket(out: &mut Vec<u8>, (name, revision): (&Arc<str>, &Revision)) {
    write_bytes(out, name.as_bytes());
    write_number(out, revision.0);
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    write_bytes(out, entry.key().as_str().as_bytes());
    write_number(out, entry.created().0);
    write_number(out, entry.modified().0);
    write_position(out, entry.revision_at());
    write_bytes(out, entry.value());
}

/// What a batch changed of the state at the log entry `above`, as a stream that is read above that.
pub(crate) fn changes(batch: &Batch, above: u64) -> impl Iterator<Item = Bytes> {
    let mut frames = Frames::default();
    let mut point = Some(batch.image.point());
    let mut buckets = batch.changed.iter().peekable();
    let mut entries = batch.objects.values().flatten().peekable();
    let mut gone = batch.objects.iter().filter(|(_, entry)| entry.is_none()).peekable();
    let (mut counts, mut ended) = ([0; 3], false);
    std::iter::from_fn(move || {
        if let Some(point) = point.take() {
            let mut out = frames.begin(0);
            out.extend_from_slice(&point.encode());
            write_number(&mut out, above);
            return Some(frames.frame(HEADER, out));
        }
        let key = |out: &mut Vec<u8>, (key, _): (&Key, _)| write_bytes(out, key.as_str().as_bytes());
        let part = frames.part(BUCKETS, &mut buckets, &mut counts[0], write_bucket);
        let part =
            part.or_else(|| frames.part(ENTRIES, &mut entries, &mut counts[1], |out, entry| write_entry(out, entry)));
        let part = part.or_else(|| frames.part(GONE, &mut gone, &mut counts[2], key));
        part.or_else(|| (!std::mem::replace(&mut ended, true)).then(|| frames.trailer(&counts)))
    })
}

/// A stream of these parts, each with its kind: well-formed, whatever they say.
#[cfg(feature = "fuzzing")]
pub(crate) fn framed<'a>(parts: impl Iterator<Item = (&'a u8, &'a [u8])>) -> Vec<u8> {
    let (mut frames, mut stream) = (Frames::default(), Vec::new());
    for (kind, content) in parts {
        let mut out = frames.begin(content.len());
        out.extend_from_slice(content);
        if *kind == TRAILER {
            out.extend_from_slice(&frames.whole().to_le_bytes());
        }
        stream.extend_from_slice(&frames.frame(*kind, out));
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
                Next::Trailer => return Some(self.frames.trailer(&self.counts)),
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
