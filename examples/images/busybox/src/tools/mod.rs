//! The programs beside the shell.

pub mod agnhost;
mod archive;
mod awk;
mod columns;
mod copy;
mod curl;
mod date;
mod dd;
mod df;
mod dir;
mod dump;
mod find;
mod grep;
mod http;
mod launch;
mod list;
mod nc;
pub mod print;
mod sed;
mod sums;
mod system;
mod tar;
mod test;
mod text;
mod users;

use std::io::{Error, ErrorKind};

use crate::files::{self, How};
use crate::shell::{Shell, absolute};
use crate::stream::Fd;

/// A program to be run.
pub struct Call {
    pub name: &'static str,
    /// Without the name.
    pub args: Vec<String>,
    /// Its own: descriptors, directory, environment.
    pub shell: Shell,
}

/// Why a program failed.
pub enum Failure {
    /// Nobody reads what it writes.
    BrokenPipe,
    /// The exit code, and what to say.
    Told(i32, String),
}

pub type Outcome = Result<i32, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Told(1, files::why(&error)),
        }
    }
}

/// A failure of a program, with status 1.
pub fn failed<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Told(1, why.into()))
}

impl Call {
    pub fn path(&self, name: &str) -> String {
        absolute(self.shell.cwd(), name)
    }

    pub fn fd(&self, number: u32) -> Fd {
        self.shell.fds().get(&number).cloned().unwrap_or(Fd::Null)
    }

    /// A file to be read; `-` is stdin.
    pub fn input(&self, name: &str) -> Result<Fd, Failure> {
        if name == "-" {
            return Ok(self.fd(0));
        }
        self.open(name, How::Read)
    }

    pub fn open(&self, name: &str, how: How) -> Result<Fd, Failure> {
        let opened = files::open(&self.path(name), how, self.shell.fds());
        opened.map_err(|error| Failure::Told(1, about(name, &error)))
    }

    pub async fn print(&self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        Ok(self.fd(1).write(bytes.as_ref()).await?)
    }

    pub async fn complain(&self, why: &str) {
        // Where nobody listens nobody misses it.
        let _ = self.fd(2).write(format!("{}: {why}\n", self.name).as_bytes()).await;
    }

    /// Takes the options off: single signs (those in `valued` with a value), also joined, and what is left.
    pub fn options(&self, flags: &str, valued: &str) -> Result<Options, Failure> {
        let mut options = Options::default();
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                options.rest.extend(args.by_ref().cloned());
            } else if let Some(long) = arg.strip_prefix("--") {
                options.long.push(long.to_owned());
            } else if arg.len() > 1 && arg.starts_with('-') {
                for (at, flag) in arg[1..].char_indices() {
                    if valued.contains(flag) {
                        let joined = &arg[1 + at + flag.len_utf8()..];
                        let value = if joined.is_empty() { args.next().cloned() } else { Some(joined.to_owned()) };
                        let Some(value) = value else {
                            return failed(format!("option requires an argument -- '{flag}'"));
                        };
                        options.values.push((flag, value));
                        break;
                    } else if flags.contains(flag) {
                        options.flags.push(flag);
                    } else {
                        return failed(format!("invalid option -- '{flag}'"));
                    }
                }
            } else {
                options.rest.push(arg.clone());
            }
        }
        Ok(options)
    }
}

/// `NAME: why`.
pub fn about(name: &str, error: &Error) -> String {
    match name.contains("can't") {
        true => name.to_owned(),
        false => format!("can't open '{name}': {}", files::why(error)),
    }
}

#[derive(Default)]
pub struct Options {
    flags: String,
    pub values: Vec<(char, String)>,
    pub long: Vec<String>,
    pub rest: Vec<String>,
}

impl Options {
    pub fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    pub fn value(&self, flag: char) -> Option<&str> {
        self.values.iter().rev().find(|(f, _)| *f == flag).map(|(_, value)| value.as_str())
    }

    /// What was named, or stdin.
    pub fn inputs(&self) -> Vec<String> {
        if self.rest.is_empty() { vec!["-".to_owned()] } else { self.rest.clone() }
    }
}

/// The name without its directories.
pub fn base(name: &str) -> &str {
    name.trim_end_matches('/').rsplit('/').next().unwrap_or(name)
}

const NAMES: &[&str] = &[
    "[",
    "[[",
    "agnhost",
    "ash",
    "awk",
    "base64",
    "basename",
    "bash",
    "busybox",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "cp",
    "curl",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "false",
    "fgrep",
    "find",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hexdump",
    "hostname",
    "id",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "mount",
    "mv",
    "nc",
    "nl",
    "nohup",
    "nproc",
    "od",
    "pause",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rev",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "sync",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "time",
    "timeout",
    "touch",
    "tr",
    "true",
    "tty",
    "uname",
    "uniq",
    "uptime",
    "usleep",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
    "zcat",
];

/// The program of that name.
pub fn known(name: &str) -> Option<&'static str> {
    NAMES.iter().copied().find(|known| *known == name)
}

/// Runs a program to its end.
pub async fn run(call: &mut Call) -> i32 {
    let outcome = match call.name {
        "sh" | "ash" | "bash" => Box::pin(launch::shell(call)).await,
        "true" | "sync" | "chmod" | "chown" | "chgrp" => Ok(0),
        "false" => Ok(1),
        "echo" | "printf" | "seq" | "yes" => Box::pin(print::run(call)).await,
        "test" | "[" | "[[" => Box::pin(test::run(call)).await,
        "cat" | "head" | "tail" | "wc" | "tee" | "rev" | "tac" | "nl" => Box::pin(text::run(call)).await,
        "sort" | "uniq" | "cut" | "tr" => Box::pin(columns::run(call)).await,
        "grep" | "egrep" | "fgrep" => Box::pin(grep::run(call)).await,
        "sed" => Box::pin(sed::run(call)).await,
        "ls" | "stat" | "du" | "df" | "mount" => Box::pin(list::run(call)).await,
        "mkdir" | "rmdir" | "rm" | "touch" | "ln" | "basename" | "dirname" | "readlink" | "realpath" | "mktemp" => {
            Box::pin(dir::run(call)).await
        }
        "cp" | "mv" | "cmp" => Box::pin(copy::run(call)).await,
        "find" => Box::pin(find::run(call)).await,
        "tar" => Box::pin(tar::run(call)).await,
        "gzip" | "gunzip" | "zcat" | "base64" => Box::pin(archive::run(call)).await,
        "date" => Box::pin(date::run(call)).await,
        "wget" => Box::pin(http::run(call)).await,
        "id" | "whoami" => Box::pin(users::run(call)).await,
        "nc" => Box::pin(nc::run(call)).await,
        "curl" => Box::pin(curl::run(call)).await,
        "awk" => Box::pin(awk::run(call)).await,
        "agnhost" => Box::pin(agnhost::run(call)).await,
        "dd" => Box::pin(dd::run(call)).await,
        "hexdump" | "od" => Box::pin(dump::run(call)).await,
        "md5sum" | "sha256sum" => Box::pin(sums::run(call)).await,
        "env" | "xargs" | "timeout" | "nohup" | "time" | "which" | "busybox" => Box::pin(launch::run(call)).await,
        _ => Box::pin(system::run(call)).await,
    };
    match outcome {
        Ok(status) => status,
        Err(Failure::BrokenPipe) => 141,
        Err(Failure::Told(status, why)) => {
            call.complain(&why).await;
            status
        }
    }
}

/// The names of all programs.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied()
}
