//! What descriptors stand for: the component's own streams, files and pipes between tasks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::rc::Rc;
use std::task::Poll;

use wasip2::cli::{stderr, stdin, stdout};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::{keys, task};

/// What a pipe holds before the writer waits.
const PIPE_BYTES: usize = 64 << 10;

/// A descriptor; clones stand for the same.
#[derive(Clone)]
pub enum Fd {
    Stdin,
    Stdout,
    Stderr,
    File(Rc<RefCell<File>>),
    /// The end of a pipe that is read.
    Source(Rc<Source>),
    /// The end that is written.
    Drain(Rc<Drain>),
    /// What is written is kept: a command's output on its way into a word.
    Kept(Rc<RefCell<Vec<u8>>>),
    /// A text to be read: a here-document.
    Text(Rc<RefCell<VecDeque<u8>>>),
    Null,
    Zero,
    Random,
}

#[derive(Default)]
struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    no_reader: Cell<bool>,
    no_writer: Cell<bool>,
}

pub struct Source(Rc<Pipe>);
pub struct Drain(Rc<Pipe>);

impl std::ops::Drop for Source {
    fn drop(&mut self) {
        self.0.no_reader.set(true);
        task::progress();
    }
}

impl std::ops::Drop for Drain {
    fn drop(&mut self) {
        self.0.no_writer.set(true);
        task::progress();
    }
}

/// Both ends of a new pipe.
pub fn pipe() -> (Fd, Fd) {
    let pipe = Rc::new(Pipe::default());
    (Fd::Source(Rc::new(Source(pipe.clone()))), Fd::Drain(Rc::new(Drain(pipe))))
}

thread_local! {
    static STDIN: InputStream = stdin::get_stdin();
    static STDOUT: OutputStream = stdout::get_stdout();
    static STDERR: OutputStream = stderr::get_stderr();
}

impl Fd {
    pub fn file(file: File) -> Self {
        Self::File(Rc::new(RefCell::new(file)))
    }

    /// Reads something; nothing is the end.
    pub async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stdin if keys::followed() => keys::read(into).await,
            Self::Stdin => read_host(into).await,
            Self::File(file) => file.borrow_mut().read(into),
            Self::Source(source) => poll_fn(|_| source.poll_read(into)).await,
            Self::Text(text) => Ok(take(&mut text.borrow_mut(), into)),
            Self::Null => Ok(0),
            Self::Zero => {
                task::pause().await;
                into.fill(0);
                Ok(into.len())
            }
            Self::Random => {
                task::pause().await;
                let bytes = wasip2::random::random::get_random_bytes(into.len() as u64);
                into.copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Self::Stdout | Self::Stderr | Self::Drain(_) | Self::Kept(_) => Err(bad()),
        }
    }

    /// Writes all.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => write_host(true, bytes).await,
            Self::Stderr => write_host(false, bytes).await,
            Self::File(file) => file.borrow_mut().write_all(bytes),
            Self::Drain(drain) => {
                let mut rest = bytes;
                poll_fn(|_| drain.poll_write(&mut rest)).await
            }
            Self::Kept(kept) => {
                kept.borrow_mut().extend_from_slice(bytes);
                Ok(())
            }
            Self::Null | Self::Zero | Self::Random => Ok(()),
            Self::Stdin | Self::Source(_) | Self::Text(_) => Err(bad()),
        }
    }

    /// Reads to the end.
    pub async fn read_all(&self) -> io::Result<Vec<u8>> {
        let (mut all, mut piece) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            match self.read(&mut piece).await? {
                0 => return Ok(all),
                n => all.extend_from_slice(&piece[..n]),
            }
        }
    }

    /// Whether a person sits there.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Stdin => wasip2::cli::terminal_stdin::get_terminal_stdin().is_some(),
            Self::Stdout => wasip2::cli::terminal_stdout::get_terminal_stdout().is_some(),
            Self::Stderr => wasip2::cli::terminal_stderr::get_terminal_stderr().is_some(),
            _ => false,
        }
    }
}

fn bad() -> Error {
    Error::other("bad file descriptor")
}

/// Moves what is there and fits.
pub fn take(from: &mut VecDeque<u8>, into: &mut [u8]) -> usize {
    let count = from.len().min(into.len());
    for (place, byte) in into.iter_mut().zip(from.drain(..count)) {
        *place = byte;
    }
    count
}

impl Source {
    fn poll_read(&self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = take(&mut self.0.bytes.borrow_mut(), into);
        if count > 0 {
            task::progress();
        }
        if count > 0 || into.is_empty() || self.0.no_writer.get() { Poll::Ready(Ok(count)) } else { Poll::Pending }
    }
}

impl Drain {
    fn poll_write(&self, rest: &mut &[u8]) -> Poll<io::Result<()>> {
        if self.0.no_reader.get() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let mut bytes = self.0.bytes.borrow_mut();
        let count = rest.len().min(PIPE_BYTES.saturating_sub(bytes.len()));
        if count > 0 {
            bytes.extend(&rest[..count]);
            *rest = &rest[count..];
            task::progress();
        }
        if rest.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// Reads something of the component's own stdin; nothing is the end.
pub async fn read_host(into: &mut [u8]) -> io::Result<usize> {
    loop {
        match STDIN.with(|stream| stream.read(into.len() as u64)) {
            Ok(bytes) if bytes.is_empty() && !into.is_empty() => {
                task::ready(STDIN.with(InputStream::subscribe)).await;
            }
            Ok(bytes) => {
                into[..bytes.len()].copy_from_slice(&bytes);
                return Ok(bytes.len());
            }
            Err(StreamError::Closed) => return Ok(0),
            Err(StreamError::LastOperationFailed(error)) => return Err(Error::other(error.to_debug_string())),
        }
    }
}

async fn write_host(to_stdout: bool, mut bytes: &[u8]) -> io::Result<()> {
    let stream = if to_stdout { &STDOUT } else { &STDERR };
    let failed = |error| match error {
        StreamError::Closed => Error::from(ErrorKind::BrokenPipe),
        StreamError::LastOperationFailed(error) => Error::other(error.to_debug_string()),
    };
    while !bytes.is_empty() {
        let room = stream.with(OutputStream::check_write).map_err(failed)?;
        let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if count == 0 {
            task::ready(stream.with(OutputStream::subscribe)).await;
            continue;
        }
        stream.with(|stream| stream.write(&bytes[..count])).map_err(failed)?;
        bytes = &bytes[count..];
    }
    stream.with(OutputStream::flush).map_err(failed)
}

/// Lines of a descriptor, each with its end.
pub struct Lines {
    fd: Fd,
    bytes: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Lines {
    pub fn new(fd: Fd) -> Self {
        Self { fd, bytes: Vec::new(), at: 0, ended: false }
    }

    /// Whether the next line is here already.
    pub fn has_more(&self) -> bool {
        self.bytes[self.at..].contains(&b'\n')
    }

    /// The next line; the last one may lack its end.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.bytes[self.at..].iter().position(|byte| *byte == b'\n') {
                let line = self.bytes[self.at..=self.at + end].to_vec();
                self.at += end + 1;
                return Ok(Some(line));
            }
            if self.ended {
                let rest = self.bytes.split_off(self.at);
                return Ok((!rest.is_empty()).then_some(rest));
            }
            self.bytes.drain(..self.at);
            self.at = 0;
            let mut piece = vec![0; 8 << 10];
            let count = self.fd.read(&mut piece).await?;
            self.ended = count == 0;
            self.bytes.extend_from_slice(&piece[..count]);
        }
    }
}
