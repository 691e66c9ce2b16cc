//! Files by name, those of `/dev` included, which no component has, and programs by name.

use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::io::{self, Error, ErrorKind};
use std::pin::pin;
use std::task::Poll;

use crate::shell::{Fds, PATH, absolute};
use crate::stream::Fd;
use crate::{task, tools};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    Read,
    Write,
    Append,
    ReadWrite,
}

/// Opens a file by its absolute path.
pub fn open(path: &str, how: How, fds: &Fds) -> io::Result<Fd> {
    if let Some(found) = device(path, fds) {
        return found;
    }
    if how != How::Read && mount_of(path).is_some_and(|mount| mount.read_only && mount.place == path) {
        // A file that is mounted alone; the host may have no other way to refuse it.
        return Err(ErrorKind::ReadOnlyFilesystem.into());
    }
    let mut options = OpenOptions::new();
    match how {
        How::Read => options.read(true),
        How::Write => options.write(true).create(true).truncate(true),
        How::Append => options.append(true).create(true),
        How::ReadWrite => options.read(true).write(true).create(true),
    };
    let file: File = options.open(path).map_err(|error| if how == How::Read { error } else { refused(path, error) })?;
    if how == How::Read && file.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    Ok(Fd::file(file))
}

fn device(path: &str, fds: &Fds) -> Option<io::Result<Fd>> {
    let number = match path {
        "/dev/null" => return Some(Ok(Fd::Null)),
        "/dev/zero" => return Some(Ok(Fd::Zero)),
        "/dev/random" | "/dev/urandom" => return Some(Ok(Fd::Random)),
        "/dev/stdin" => 0,
        "/dev/stdout" | "/dev/tty" => 1,
        "/dev/stderr" => 2,
        _ => {
            let text = path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"));
            text.or_else(|| path.strip_prefix("/proc/1/fd/"))?.parse().ok()?
        }
    };
    Some(fds.get(&number).cloned().ok_or_else(|| ErrorKind::NotFound.into()))
}

/// Whether it is one of the devices that are files by name alone.
pub fn is_device(path: &str) -> bool {
    device(path, &Fds::new()).is_some()
}

/// An error in libc's words.
pub fn why(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "No such file or directory".to_owned(),
        ErrorKind::PermissionDenied => "Permission denied".to_owned(),
        ErrorKind::AlreadyExists => "File exists".to_owned(),
        ErrorKind::NotADirectory => "Not a directory".to_owned(),
        ErrorKind::IsADirectory => "Is a directory".to_owned(),
        ErrorKind::DirectoryNotEmpty => "Directory not empty".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "Read-only file system".to_owned(),
        ErrorKind::ResourceBusy => "Device or resource busy".to_owned(),
        ErrorKind::StorageFull => "No space left on device".to_owned(),
        ErrorKind::BrokenPipe => "Broken pipe".to_owned(),
        _ => {
            let text = error.to_string();
            let text = in_short(text.split(" (os error").next().unwrap_or_default());
            if text.contains("pre-opened") { "No such file or directory".to_owned() } else { text.to_owned() }
        }
    }
}

/// Words of WASI without what they say of POSIX.
pub fn in_short(text: &str) -> &str {
    text.split(", similar to").next().unwrap_or_default().trim_end_matches('.')
}

/// What is mounted somewhere, as `/proc/mounts` says it.
pub struct Mount {
    pub what: String,
    pub place: String,
    pub kind: String,
    pub options: String,
    pub read_only: bool,
}

impl Mount {
    fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.place.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// All mounts, in the order in which they were made.
pub fn mounts() -> Vec<Mount> {
    let table = read_text("/proc/mounts").unwrap_or_default();
    let of = |line: &str| match line.split(' ').collect::<Vec<_>>().as_slice() {
        [what, place, kind, options, ..] => Some(Mount {
            what: (*what).to_owned(),
            place: (*place).to_owned(),
            kind: (*kind).to_owned(),
            options: (*options).to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
        }),
        _ => None,
    };
    table.lines().filter_map(of).collect()
}

/// The mount in which an absolute path lies.
pub fn mount_of(path: &str) -> Option<Mount> {
    mounts().into_iter().filter(|mount| mount.holds(path)).max_by_key(|mount| mount.place.len())
}

/// The error of a change at an absolute path: WASI has one word for what may not be changed, Linux has two.
pub fn refused(path: &str, error: Error) -> Error {
    if error.kind() == ErrorKind::PermissionDenied && mount_of(path).is_some_and(|mount| mount.read_only) {
        return ErrorKind::ReadOnlyFilesystem.into();
    }
    error
}

pub fn read_text(path: &str) -> io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// What a command's name stands for.
pub enum Program {
    Tool(&'static str),
    /// A script's path and text.
    Script(String, String),
    /// There, and not to be run.
    Unfit(&'static str),
    None,
}

/// Looks a program up as a shell does.
pub fn find_program(name: &str, path: Option<&str>, cwd: &str) -> Program {
    if name.contains('/') {
        let full = absolute(cwd, name);
        let (dir, base) = full.rsplit_once('/').unwrap_or(("", &full));
        return match at(&full) {
            Program::None if PATH.split(':').any(|d| d == dir) || matches!(base, "agnhost" | "agnhost-2" | "pause") => {
                // The second name of the same program is for tests of how programs are named.
                let name = if base == "agnhost-2" { "agnhost" } else { base };
                tools::known(name).map_or(Program::None, Program::Tool)
            }
            found => found,
        };
    }
    if let Some(tool) = tools::known(name) {
        return Program::Tool(tool);
    }
    let dirs = path.unwrap_or(PATH).split(':').filter(|dir| !dir.is_empty() && !name.is_empty());
    let mut found = dirs.map(|dir| at(&absolute(cwd, &format!("{dir}/{name}"))));
    found.find(|program| !matches!(program, Program::None)).unwrap_or(Program::None)
}

fn at(path: &str) -> Program {
    match std::fs::metadata(path) {
        Err(_) => return Program::None,
        Ok(found) if found.is_dir() => return Program::Unfit("Permission denied"),
        Ok(_) => {}
    }
    match std::fs::read(path) {
        Ok(bytes) if bytes.starts_with(b"\0asm") || bytes.starts_with(b"\x7fELF") => {
            Program::Unfit("Exec format error")
        }
        Ok(bytes) => Program::Script(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => Program::Unfit("Permission denied"),
    }
}

/// A line, read sign by sign so that the rest is left to others; whether the input ended before the line did.
pub async fn line(input: &Fd, raw: bool, most: usize) -> (String, bool) {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    let ended = loop {
        if bytes.len() >= most {
            break false;
        }
        match input.read(&mut byte).await {
            Ok(1) if byte[0] == b'\n' => break false,
            Ok(1) if byte[0] == b'\\' && !raw => match input.read(&mut byte).await {
                Ok(1) if byte[0] == b'\n' => {}
                Ok(1) => bytes.push(byte[0]),
                _ => break true,
            },
            Ok(1) => bytes.push(byte[0]),
            _ => break true,
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), ended)
}

/// What comes of it within that many seconds.
pub async fn within<T>(seconds: f64, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut limit) = (pin!(work), pin!(task::sleep(seconds)));
    poll_fn(|context| {
        if let Poll::Ready(found) = work.as_mut().poll(context) {
            return Poll::Ready(Some(found));
        }
        limit.as_mut().poll(context).map(|()| None)
    })
    .await
}
