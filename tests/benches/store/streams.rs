//! Many watches as a lean client follows them: just enough of HTTP/1.1, of HTTP/2 and of gRPC to ask for them and to find the
//! marks in what comes. A load must leave the processors to who is measured.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use memchr::{memmem, memrchr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

/// Written before the time at which an event's write was sent, in microseconds.
pub const MARK: &str = "\"sent\":\"";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
const FIRST_WINDOW: u32 = 65_535;
/// The connection's window is opened again when so much came.
const OPENED_AFTER: u32 = 1 << 24;
/// `:status: 200`, by its number in HPACK's table.
const OK: u8 = 0x88;

/// What HTTP/2 calls its frames (RFC 9113, section 6).
mod frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// A connection of whatever kind.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// What all that follow have in common.
pub struct Shared {
    pub begun: Instant,
    /// Events that were seen.
    pub seen: AtomicU64,
}

/// What the watches of one connection were told.
#[derive(Default)]
pub struct Told {
    /// How long each event took, in microseconds.
    pub times: Vec<u32>,
    /// How many there were, for each watch.
    pub counts: Vec<u64>,
}

/// A request for a watch.
pub struct Asked<'a> {
    pub headers: Vec<(&'static str, &'a str)>,
    /// With a body, the request goes on.
    pub body: Option<Vec<u8>>,
}

/// The watches of one connection.
pub struct Follower {
    io: Box<dyn Io>,
    framed: bool,
    held: Vec<u8>,
    /// What came of each watch and is no whole line yet.
    rests: Vec<Vec<u8>>,
    /// Since the window was opened.
    taken: u32,
    told: Told,
    marks: memmem::Finder<'static>,
    shared: Arc<Shared>,
}

impl Follower {
    fn new(io: Box<dyn Io>, framed: bool, watches: usize, shared: Arc<Shared>) -> Self {
        Self {
            io,
            framed,
            held: Vec::with_capacity(64 * 1024),
            rests: vec![Vec::new(); watches],
            taken: 0,
            told: Told { times: Vec::new(), counts: vec![0; watches] },
            marks: memmem::Finder::new(MARK),
            shared,
        }
    }

    /// One watch over HTTP/1.1.
    pub async fn alone(mut io: Box<dyn Io>, path: &str, shared: Arc<Shared>) -> io::Result<Self> {
        io.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
        io.flush().await?;
        let mut head = vec![0; 4096];
        let length = io.read(&mut head).await?;
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&head[..length]).into_owned()));
        }
        Ok(Self::new(io, false, 1, shared))
    }

    /// So many watches over HTTP/2. Returns when each was answered.
    pub async fn together(io: Box<dyn Io>, watches: usize, asked: &Asked<'_>, shared: Arc<Shared>) -> io::Result<Self> {
        let mut this = Self::new(io, true, watches, shared);
        let mut out = PREFACE.to_vec();
        let mut settings = Vec::new();
        // ENABLE_PUSH and INITIAL_WINDOW_SIZE.
        for (setting, value) in [(2_u16, 0), (4, LARGEST_WINDOW)] {
            settings.extend_from_slice(&setting.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        write_frame(&mut out, frame::SETTINGS, 0, 0, &settings);
        write_frame(&mut out, frame::WINDOW_UPDATE, 0, 0, &(LARGEST_WINDOW - FIRST_WINDOW).to_be_bytes());
        let mut block = Vec::new();
        for text in asked.headers.iter().flat_map(|(name, value)| [(0, *name), (1, *value)]) {
            if text.0 == 0 {
                // Neither indexed nor compressed.
                block.push(0);
            }
            block.push(u8::try_from(text.1.len()).ok().filter(|length| *length < 127).expect("a short text"));
            block.extend_from_slice(text.1.as_bytes());
        }
        for number in 0..watches as u32 {
            let (stream, end) = (number * 2 + 1, if asked.body.is_none() { frame::END_STREAM } else { 0 });
            write_frame(&mut out, frame::HEADERS, frame::END_HEADERS | end, stream, &block);
            if let Some(body) = &asked.body {
                write_frame(&mut out, frame::DATA, 0, stream, body);
            }
        }
        this.io.write_all(&out).await?;
        this.io.flush().await?;
        let mut answered = 0;
        while answered < watches {
            answered += this.read().await?;
        }
        Ok(this)
    }

    /// Notes what comes, until it is told to stop.
    pub async fn follow(mut self, mut stop: watch::Receiver<bool>) -> io::Result<Told> {
        loop {
            tokio::select! {
                read = self.read() => drop(read?),
                _ = stop.changed() => return Ok(self.told),
            }
        }
    }

    /// Takes in what came. Returns how many watches were answered.
    async fn read(&mut self) -> io::Result<usize> {
        if self.io.read_buf(&mut self.held).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = self.shared.begun.elapsed().as_micros() as u32;
        let held = std::mem::take(&mut self.held);
        let (used, answered) = if self.framed {
            self.frames(&held, now).await?
        } else {
            self.take(0, &held, now);
            (held.len(), 0)
        };
        self.held = held;
        self.held.drain(..used);
        Ok(answered)
    }

    async fn frames(&mut self, held: &[u8], now: u32) -> io::Result<(usize, usize)> {
        let (mut at, mut answered, mut out) = (0, 0, Vec::new());
        while let Some((head, rest)) = held[at..].split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..length) else { break };
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match kind {
                frame::DATA => {
                    self.taken += length as u32;
                    self.take(stream as usize / 2, payload, now);
                }
                frame::HEADERS if payload.first() == Some(&OK) => answered += 1,
                frame::SETTINGS if flags & frame::ACK == 0 => {
                    write_frame(&mut out, frame::SETTINGS, frame::ACK, 0, &[]);
                }
                frame::PING if flags & frame::ACK == 0 => {
                    write_frame(&mut out, frame::PING, frame::ACK, 0, payload);
                }
                frame::SETTINGS | frame::PING | frame::WINDOW_UPDATE => {}
                _ => return Err(io::Error::other(format!("frame {kind} of stream {stream}: {payload:?}"))),
            }
            at += 9 + length;
        }
        if self.taken > OPENED_AFTER {
            write_frame(&mut out, frame::WINDOW_UPDATE, 0, 0, &std::mem::take(&mut self.taken).to_be_bytes());
        }
        if !out.is_empty() {
            self.io.write_all(&out).await?;
            self.io.flush().await?;
        }
        Ok((at, answered))
    }

    /// Finds the marks in what came of one watch, as far as its lines are whole.
    fn take(&mut self, watch: usize, came: &[u8], now: u32) {
        let before = self.told.times.len();
        let rest = &mut self.rests[watch];
        if rest.is_empty() && came.last() == Some(&b'\n') {
            find(&self.marks, came, now, &mut self.told.times);
        } else {
            rest.extend_from_slice(came);
            if let Some(end) = memrchr(b'\n', rest) {
                find(&self.marks, &rest[..end], now, &mut self.told.times);
                rest.drain(..=end);
            }
        }
        let more = (self.told.times.len() - before) as u64;
        self.told.counts[watch] += more;
        self.shared.seen.fetch_add(more, Ordering::Relaxed);
    }
}

fn find(marks: &memmem::Finder, lines: &[u8], now: u32, times: &mut Vec<u32>) {
    for at in marks.find_iter(lines) {
        let digits = lines[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let sent = digits.fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
        times.push(now.saturating_sub(sent));
    }
}

fn write_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
