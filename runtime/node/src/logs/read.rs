//! Reading a container's log: over rotated files, from the end, since a time, and on as it grows.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream as FuturesStream;
use futures::stream;
use jiff::Timestamp;
use tokio::sync::watch;

use super::record::{self, Stream, time_text};
use super::write::ContainerLog;

const CHUNK: usize = 64 << 10;

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogQuery {
    /// Go on as the log grows.
    pub(crate) follow: bool,
    /// Only so many lines at the end.
    pub(crate) tail: Option<u64>,
    /// Only what was written then or later.
    pub(crate) since: Option<Timestamp>,
    /// With times before the lines.
    pub(crate) timestamps: bool,
    /// At most so many bytes.
    pub(crate) limit: Option<u64>,
}

/// The rotated files of a log with their numbers, oldest first.
pub(super) fn rotated(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name();
        let number = file
            .to_str()
            .and_then(|f| f.strip_prefix(name))
            .and_then(|f| f.strip_prefix('.'))
            .and_then(|n| n.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The log as a stream of bytes. `writer` is there while the run goes on.
pub(crate) fn stream(
    path: PathBuf,
    writer: Option<Arc<ContainerLog>>,
    query: LogQuery,
) -> impl FuturesStream<Item = io::Result<Bytes>> + Send {
    let changes = writer.as_ref().filter(|_| query.follow).map(|w| w.subscribe());
    let source = Source { reader: Some(Reader::new(path, query)), writer, changes };
    stream::unfold(source, |mut source| async move {
        let item = source.next().await.transpose()?;
        Some((item, source))
    })
}

struct Source {
    /// Away while a thread reads.
    reader: Option<Reader>,
    writer: Option<Arc<ContainerLog>>,
    changes: Option<watch::Receiver<u64>>,
}

impl Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // Asked before reading, so that nothing written meanwhile is missed.
            let over = self.writer.as_ref().is_none_or(|w| w.is_closed());
            if let Some(changes) = &mut self.changes {
                changes.mark_unchanged();
            }
            let Some(mut reader) = self.reader.take() else { return Ok(None) };
            let (reader, chunk) = tokio::task::spawn_blocking(move || {
                let chunk = reader.chunk();
                (reader, chunk)
            })
            .await
            .map_err(io::Error::other)?;
            let chunk = chunk?;
            let full = reader.left == Some(0);
            if !full {
                self.reader = Some(reader);
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk.into()));
            }
            match &mut self.changes {
                Some(changes) if !over && !full => {
                    if changes.changed().await.is_err() {
                        return Ok(None);
                    }
                }
                _ => return Ok(None),
            }
        }
    }
}

/// Where in which file the reading is.
struct Reader {
    path: PathBuf,
    query: LogQuery,
    since: Option<String>,
    file: Option<File>,
    /// The number of `file`, which the file that is written to gets when it is rotated.
    number: u64,
    /// How far `file` was read.
    position: u64,
    /// Where what was there at the beginning ends: file and offset. A log that is not followed is read up to there.
    stop: Option<(u64, u64)>,
    begun: bool,
    /// A record whose end is not read yet.
    rest: Vec<u8>,
    /// Whether the stream is in the middle of a line.
    midline: [bool; 2],
    left: Option<u64>,
}

impl Reader {
    fn new(path: PathBuf, query: LogQuery) -> Self {
        let since = query.since.map(time_text);
        let left = query.limit;
        Self {
            path,
            query,
            since,
            file: None,
            number: 0,
            position: 0,
            stop: None,
            begun: false,
            rest: Vec::new(),
            midline: [false; 2],
            left,
        }
    }

    /// The next piece of what is there; empty at the (present) end.
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        if !self.begun {
            self.begun = true;
            self.begin()?;
        }
        let mut buffer = vec![0; CHUNK];
        let mut out = Vec::new();
        loop {
            if self.file.is_none() && !self.open_next()? {
                return Ok(out);
            }
            // Listed before reading: when it was rotated by now, then its end is its end.
            let is_over = rotated(&self.path)?.iter().any(|(n, _)| *n >= self.number);
            let room = match self.stop {
                Some((last, _)) if self.number > last => 0,
                Some((last, end)) if self.number == last => end.saturating_sub(self.position),
                _ => CHUNK as u64,
            };
            if room == 0 {
                return Ok(out);
            }
            let Some(file) = &mut self.file else { return Ok(out) };
            let read = file.take(room).read(&mut buffer)?;
            self.position += read as u64;
            if read == 0 {
                if !is_over {
                    return Ok(out);
                }
                self.file = None;
                self.rest.clear();
                continue;
            }
            self.take(&buffer[..read], &mut out);
            if !out.is_empty() {
                return Ok(out);
            }
        }
    }

    /// Opens the file after `number`.
    fn open_next(&mut self) -> io::Result<bool> {
        let old = rotated(&self.path)?;
        let next = old.iter().find(|(n, _)| *n > self.number);
        let (number, path) = match next {
            Some((number, path)) => (*number, path),
            None => (old.last().map_or(1, |(n, _)| n + 1), &self.path),
        };
        match File::open(path) {
            Ok(file) => {
                (self.number, self.position) = (number, 0);
                self.file = Some(file);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes to where the query begins.
    fn begin(&mut self) -> io::Result<()> {
        let mut files = rotated(&self.path)?;
        if !self.query.follow {
            let end = fs::metadata(&self.path).map_or(0, |m| m.len());
            self.stop = Some((files.last().map_or(1, |(n, _)| n + 1), end));
        }
        let Some(mut wanted) = self.query.tail else { return Ok(()) };
        let newest = files.last().map_or(1, |(n, _)| n + 1);
        files.push((newest, self.path.clone()));
        for (number, path) in files.into_iter().rev() {
            let mut content = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if let Some((last, end)) = self.stop
                && last == number
            {
                content.truncate(usize::try_from(end).unwrap_or(usize::MAX));
            }
            let offset = tail_offset(&content, number == newest, &mut wanted);
            if let Some(offset) = offset {
                use std::io::Seek;
                let mut file = File::open(&path)?;
                file.seek(io::SeekFrom::Start(offset as u64))?;
                self.file = Some(file);
                (self.number, self.position) = (number, offset as u64);
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        let mut from = 0;
        while let Some(end) = rest[from..].iter().position(|b| *b == b'\n') {
            self.record(&rest[from..from + end], out);
            from += end + 1;
        }
        self.rest = rest[from..].to_vec();
    }

    fn record(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(record) = record::parse(line) else { return };
        if self.since.as_ref().is_some_and(|since| record.time < since.as_bytes()) {
            return;
        }
        let midline = &mut self.midline[record.stream as usize];
        let mut emit = |piece: &[u8]| {
            let len =
                self.left.map_or(piece.len(), |left| piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            out.extend_from_slice(&piece[..len]);
            self.left = self.left.map(|left| left - len as u64);
        };
        if self.query.timestamps && !*midline {
            emit(record.time);
            emit(b" ");
        }
        emit(record.text);
        if record.full {
            emit(b"\n");
        }
        *midline = !record.full;
    }
}

/// Where the last `wanted` lines of the content begin; `None`, with `wanted` lowered, when it has fewer.
fn tail_offset(content: &[u8], newest: bool, wanted: &mut u64) -> Option<usize> {
    // A piece of a line belongs to the line that follows it, where there is one: the offset only moves at ends of lines.
    let mut starts = content.len();
    let mut end = content.len();
    while end > 0 {
        let body = content[..end - 1].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let last = newest && end == content.len();
        let full = last || record::parse(&content[body..end - 1]).is_none_or(|r| r.full);
        if full {
            if *wanted == 0 {
                return Some(starts);
            }
            *wanted -= 1;
        }
        starts = body;
        end = body;
    }
    None
}

/// For `stream as usize`.
const _: () = assert!(Stream::Stdout as usize == 0 && Stream::Stderr as usize == 1);
