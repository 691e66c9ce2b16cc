//! Reading a stream back into a state.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::{
    BUCKETS, ENTRIES, FRAME_HEADER_LEN, GONE, HEADER, Image, ImageError, LABEL, Label, MAGIC, MAX_FRAME_BYTES,
    PREAMBLE_LEN, TRAILER, VERSION, checksum,
};
use crate::codec::{DecodeError, Reader};
use crate::entry::Entry;
use crate::key::{Key, Revision};
use crate::mvcc::State;
use crate::point::Point;

/// What a whole stream held.
pub(crate) struct Read {
    pub image: Image,
    /// A backup has one.
    pub label: Option<Label>,
}

/// Takes a stream's bytes, in pieces of any size, and gives the image when the trailer has been seen.
pub(crate) struct ImageReader {
    /// What has come of a frame that is not whole yet.
    pending: Vec<u8>,
    /// Where that begins in the stream.
    at: u64,
    sequence: u64,
    whole: crc32fast::Hasher,
    contents: Contents,
    finished: bool,
}

/// What the frames said so far.
#[derive(Default)]
struct Contents {
    /// Where the state stands that these are changes of.
    above: Option<u64>,
    point: Option<Point>,
    label: Option<Label>,
    changed: BTreeMap<Arc<str>, Revision>,
    objects: OrdMap<Key, Arc<Entry>>,
    last_bucket: Option<Arc<str>>,
    last_key: Option<Key>,
    /// How many buckets, entries and keys that are gone there were.
    counts: [u64; 3],
    /// The kind of the last frame: they come in a fixed order.
    kind: u8,
}

impl Default for ImageReader {
    fn default() -> ImageReader {
        ImageReader::new()
    }
}

impl ImageReader {
    pub fn new() -> ImageReader {
        ImageReader {
            pending: Vec::new(),
            at: 0,
            sequence: 0,
            whole: crc32fast::Hasher::new(),
            contents: Contents::default(),
            finished: false,
        }
    }

    /// Reads changes of this state; the image is what they make of it.
    pub fn above(base: Image) -> ImageReader {
        let above = Some(base.state.index());
        let (objects, changed) = base.state.into_parts();
        let contents = Contents { above, objects, changed, ..Contents::default() };
        ImageReader { contents, ..ImageReader::new() }
    }

    /// Takes the next bytes. After an error the reader is of no more use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.pending.extend_from_slice(bytes);
        let mut used = 0;
        if self.at == 0 {
            let Some(preamble) = self.pending.get(..PREAMBLE_LEN) else { return self.check_start() };
            check_preamble(preamble)?;
            self.whole.update(preamble);
            used = PREAMBLE_LEN;
        }
        let pending = std::mem::take(&mut self.pending);
        let start = self.at;
        while let Some(frame) = Frame::of(&pending[used..]).map_err(|what| self.damaged(start + used as u64, what))? {
            let at = start + used as u64;
            self.take(&frame, at)?;
            used += FRAME_HEADER_LEN + frame.content.len();
        }
        self.at = start + used as u64;
        self.pending = pending;
        self.pending.drain(..used);
        Ok(())
    }

    /// The image, if the stream was whole.
    pub fn finish(self) -> Result<Image, ImageError> {
        self.finish_labelled().map(|read| read.image)
    }

    /// The image with what a backup says beside it.
    pub fn finish_labelled(self) -> Result<Read, ImageError> {
        let end = self.at + self.pending.len() as u64;
        if !self.finished || !self.pending.is_empty() {
            return Err(ImageError::Incomplete { at: end });
        }
        let Contents { point, label, changed, objects, .. } = self.contents;
        // The trailer is only taken behind a header.
        let point = point.ok_or(ImageError::Incomplete { at: end })?;
        let state = State::restored(objects, changed, &point);
        let image = Image { state, conf_state: point.conf_state };
        Ok(Read { image, label })
    }

    /// Refuses what cannot become an image before all of the preamble is there.
    fn check_start(&self) -> Result<(), ImageError> {
        let known = self.pending.len().min(MAGIC.len());
        if self.pending[..known] == MAGIC[..known] { Ok(()) } else { Err(ImageError::Foreign) }
    }

    fn take(&mut self, frame: &Frame<'_>, at: u64) -> Result<(), ImageError> {
        if self.finished {
            return Err(self.damaged(at, "something follows the trailer"));
        }
        if checksum(self.sequence, frame.kind, frame.content) != frame.checksum {
            return Err(self.damaged(at, "a part does not match its checksum"));
        }
        let whole = self.whole.clone().finalize();
        let content = Bytes::copy_from_slice(frame.content);
        let taken = self.contents.take(frame.kind, &content, whole);
        taken.map_err(|error| ImageError::Damaged { at, what: format!("a part makes no sense ({error})") })?;
        self.sequence += 1;
        self.whole.update(frame.header);
        self.whole.update(frame.content);
        self.finished = frame.kind == TRAILER;
        Ok(())
    }

    fn damaged(&self, at: u64, what: &str) -> ImageError {
        ImageError::Damaged { at, what: what.to_owned() }
    }
}

fn check_preamble(preamble: &[u8]) -> Result<(), ImageError> {
    let (magic, version) = preamble.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(ImageError::Foreign);
    }
    match u32::from_le_bytes([version[0], version[1], version[2], version[3]]) {
        0..=VERSION => Ok(()),
        found => Err(ImageError::TooNew { found }),
    }
}

/// A frame as it came.
struct Frame<'a> {
    header: &'a [u8],
    kind: u8,
    checksum: u32,
    content: &'a [u8],
}

impl Frame<'_> {
    /// The frame that begins these bytes, if all of it is there.
    fn of(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
        let Some((header, rest)) = bytes.split_at_checked(FRAME_HEADER_LEN) else { return Ok(None) };
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let len = word(1) as usize;
        if len > MAX_FRAME_BYTES {
            return Err("a part claims to be larger than any can be");
        }
        let content = rest.get(..len);
        Ok(content.map(|content| Frame { header, kind: header[0], checksum: word(5), content }))
    }
}

impl Contents {
    /// Takes a frame's content; `whole` is the checksum of everything before it.
    fn take(&mut self, kind: u8, content: &Bytes, whole: u32) -> Result<(), DecodeError> {
        let mut reader = Reader::new(content);
        let order = |kind: u8| [0, HEADER, LABEL, BUCKETS, ENTRIES, GONE, TRAILER].iter().position(|k| *k == kind);
        let repeats = matches!(kind, BUCKETS | ENTRIES | GONE) && self.kind == kind;
        let first = self.kind == 0;
        let foreign = kind == GONE && self.above.is_none();
        if order(kind).is_none() || order(kind) <= order(self.kind) && !repeats || first != (kind == HEADER) || foreign
        {
            return reader.fail("it does not belong here");
        }
        if kind != self.kind {
            self.last_key = None;
        }
        self.kind = kind;
        match kind {
            HEADER => self.take_header(&mut reader)?,
            LABEL => {
                let cluster = reader.text()?.to_owned();
                self.label = Some(Label { cluster, saved_at: reader.number()? });
            }
            BUCKETS => self.take_buckets(&mut reader)?,
            ENTRIES => self.take_entries(&mut reader)?,
            GONE => self.take_gone(&mut reader)?,
            _ => self.check_trailer(&mut reader, whole)?,
        }
        reader.end()
    }

    fn take_header(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let point = Point::read(reader)?;
        if let Some(above) = self.above
            && (reader.number()? != above || point.index <= above)
        {
            return reader.fail("they do not lead on from the state before");
        }
        self.point = Some(point);
        Ok(())
    }

    fn take_buckets(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        while !reader.is_at_end() {
            let name: Arc<str> = reader.text()?.into();
            let revision = Revision(reader.number()?);
            if self.last_bucket.as_ref().is_some_and(|last| *last >= name) {
                return reader.fail("a bucket out of order");
            }
            self.last_bucket = Some(name.clone());
            self.changed.insert(name, revision);
            self.counts[0] += 1;
        }
        Ok(())
    }

    fn take_entries(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        while !reader.is_at_end() {
            let key = Key::from(reader.text()?);
            let (created, modified) = (Revision(reader.number()?), Revision(reader.number()?));
            let revision_at = reader.position()?;
            // A copy of its own: a slice would keep the whole frame in memory.
            let value = Bytes::copy_from_slice(&reader.bytes()?);
            if revision_at.is_some_and(|at| at as usize > value.len()) {
                return reader.fail("the revision's position is past the value");
            }
            self.check_order(reader, &key)?;
            self.objects.insert(key.clone(), Entry::stored(key, value, created, modified, revision_at));
            self.counts[1] += 1;
        }
        Ok(())
    }

    fn take_gone(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        while !reader.is_at_end() {
            let key = Key::from(reader.text()?);
            self.check_order(reader, &key)?;
            // What came and went since is not there.
            self.objects.remove(&key);
            self.counts[2] += 1;
        }
        Ok(())
    }

    fn check_order(&mut self, reader: &Reader<'_>, key: &Key) -> Result<(), DecodeError> {
        if self.last_key.as_ref().is_some_and(|last| last >= key) {
            return reader.fail("a key out of order");
        }
        self.last_key = Some(key.clone());
        Ok(())
    }

    fn check_trailer(&self, reader: &mut Reader<'_>, whole: u32) -> Result<(), DecodeError> {
        let counted = if self.above.is_some() { &self.counts[..] } else { &self.counts[..2] };
        for count in counted {
            if reader.number()? != *count {
                return reader.fail("the trailer counts something else");
            }
        }
        if *reader.rest() != whole.to_le_bytes() {
            return reader.fail("the whole does not match its checksum");
        }
        Ok(())
    }
}
