//! Writing a container's log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use pal_engine::LogSink;
use tokio::sync::watch;

use super::LogLimits;
use super::read::rotated;
use super::record::{MAX_TEXT, Stream, append, time_text};
use crate::disk;

/// What a record costs beside its text.
const RECORD_OVERHEAD: usize = 41;

/// The log of one run of one container, being written.
pub(crate) struct ContainerLog {
    path: PathBuf,
    limits: LogLimits,
    inner: Mutex<Inner>,
    /// Ticks with each write; dropped tells followers that the run is over.
    changed: watch::Sender<u64>,
}

struct Inner {
    file: Option<File>,
    size: u64,
    /// The beginnings of lines, per stream.
    partial: [Vec<u8>; 2],
    budget: Budget,
    /// Bytes that were not written since the last note about it.
    dropped: u64,
    closed: bool,
}

/// A token bucket of bytes.
struct Budget {
    left: u64,
    filled: Instant,
    /// Nothing is let through until there is enough for a while, so that what is let through is in long pieces.
    exhausted: bool,
}

impl Budget {
    fn take(&mut self, bytes: u64, limits: &LogLimits, now: Instant) -> bool {
        let gained = now.duration_since(self.filled).as_secs_f64() * limits.bytes_per_second as f64;
        if gained >= 1.0 {
            self.left = self.left.saturating_add(gained as u64).min(limits.burst_bytes);
            self.filled = now;
        }
        if self.exhausted && self.left < limits.bytes_per_second.min(limits.burst_bytes) {
            return false;
        }
        let left = self.left.checked_sub(bytes);
        self.exhausted = left.is_none();
        self.left = left.unwrap_or(self.left);
        !self.exhausted
    }
}

impl ContainerLog {
    pub(super) fn new(path: PathBuf, limits: LogLimits) -> Self {
        let budget = Budget { left: limits.burst_bytes, filled: Instant::now(), exhausted: false };
        let inner = Inner { file: None, size: 0, partial: [Vec::new(), Vec::new()], budget, dropped: 0, closed: false };
        Self { path, limits, inner: Mutex::new(inner), changed: watch::Sender::new(0) }
    }

    /// Where the guest's output of that stream goes.
    pub(crate) fn sink(self: &Arc<Self>, stream: Stream) -> Arc<dyn LogSink> {
        Arc::new(Sink { log: self.clone(), stream })
    }

    /// The file that is written to.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A receiver that hears of each write.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// The run is over: what was begun is written out, and followers come to their end.
    pub(crate) fn close(&self) {
        {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let time = time_text(Timestamp::now());
            let mut out = Vec::new();
            for stream in [Stream::Stdout, Stream::Stderr] {
                let rest = std::mem::take(&mut inner.partial[stream as usize]);
                if !rest.is_empty() {
                    append(&mut out, &time, stream, false, &rest);
                }
            }
            inner.note_dropped(&mut out, &time);
            self.put(&mut inner, &out);
            inner.closed = true;
            inner.file = None;
        }
        self.changed.send_modify(|n| *n += 1);
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.closed {
                return;
            }
            let lines = bytes.iter().filter(|b| **b == b'\n').count();
            let cost = (bytes.len() + lines * RECORD_OVERHEAD) as u64;
            if !inner.budget.take(cost, &self.limits, Instant::now()) {
                inner.dropped += bytes.len() as u64;
                return;
            }
            let time = time_text(Timestamp::now());
            let mut out = Vec::with_capacity(cost as usize);
            inner.note_dropped(&mut out, &time);
            inner.cut(&mut out, &time, stream, bytes);
            self.put(&mut inner, &out);
        }
        self.changed.send_modify(|n| *n += 1);
    }

    /// Writes records; a disk that takes no more costs the records, not the pod.
    fn put(&self, inner: &mut Inner, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        let before = inner.file.is_some();
        if let Err(error) = self.try_put(inner, records) {
            // Told once, for this may be the log in which it is told.
            if before {
                tracing::debug!(path = %self.path.display(), %error, "log not written");
            }
            inner.dropped += records.len() as u64;
            inner.file = None;
        }
    }

    fn try_put(&self, inner: &mut Inner, records: &[u8]) -> io::Result<()> {
        if inner.file.is_some() && inner.size + records.len() as u64 > self.limits.file_bytes {
            inner.file = None;
            self.rotate()?;
        }
        if inner.file.is_none() {
            if let Some(dir) = self.path.parent() {
                disk::private_dir(dir)?;
            }
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
            inner.size = file.metadata()?.len();
            inner.file = Some(file);
        }
        if let Some(file) = &mut inner.file {
            file.write_all(records)?;
            inner.size += records.len() as u64;
        }
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let old = rotated(&self.path)?;
        let next = old.last().map_or(1, |(n, _)| n + 1);
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{next}"));
        fs::rename(&self.path, name)?;
        let kept = self.limits.files.saturating_sub(2);
        for (_, path) in old.iter().take(old.len().saturating_sub(kept)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

impl Inner {
    /// Cuts what was written into lines.
    fn cut(&mut self, out: &mut Vec<u8>, time: &str, stream: Stream, mut bytes: &[u8]) {
        let partial = &mut self.partial[stream as usize];
        while !bytes.is_empty() {
            let room = MAX_TEXT - partial.len();
            match bytes.iter().take(room + 1).position(|b| *b == b'\n') {
                Some(end) => {
                    if partial.is_empty() {
                        append(out, time, stream, true, &bytes[..end]);
                    } else {
                        partial.extend_from_slice(&bytes[..end]);
                        append(out, time, stream, true, partial);
                        *partial = Vec::new();
                    }
                    bytes = &bytes[end + 1..];
                }
                None if bytes.len() <= room => {
                    partial.extend_from_slice(bytes);
                    bytes = &[];
                }
                None => {
                    partial.extend_from_slice(&bytes[..room]);
                    append(out, time, stream, false, partial);
                    partial.clear();
                    bytes = &bytes[room..];
                }
            }
        }
    }

    fn note_dropped(&mut self, out: &mut Vec<u8>, time: &str) {
        if self.dropped > 0 {
            let text = format!("[pal: {} bytes of output were dropped: the container writes too fast]", self.dropped);
            append(out, time, Stream::Stderr, true, text.as_bytes());
            self.dropped = 0;
        }
    }
}

struct Sink {
    log: Arc<ContainerLog>,
    stream: Stream,
}

impl LogSink for Sink {
    fn write(&self, bytes: &[u8]) {
        self.log.write(self.stream, bytes);
    }
}
