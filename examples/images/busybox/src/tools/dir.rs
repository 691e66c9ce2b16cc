//! mkdir, rmdir, rm, touch, ln, basename, dirname, readlink, realpath, mktemp.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::time::SystemTime;

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::ErrorCode;

use super::{Call, Failure, Outcome, base, failed};
use crate::files::{in_short, mount_of, refused, why};
use crate::task;

pub async fn run(call: &Call) -> Outcome {
    match call.name {
        "basename" | "dirname" => names(call).await,
        "readlink" | "realpath" => links(call).await,
        "mktemp" => mktemp(call).await,
        "ln" => ln(call),
        _ => each(call).await,
    }
}

/// What is done with each name by itself.
async fn each(call: &Call) -> Outcome {
    let (flags, valued) = match call.name {
        "mkdir" => ("pv", "m"),
        "rmdir" => ("p", ""),
        "rm" => ("rRfivd", ""),
        _ => ("acm", "dtr"),
    };
    let options = call.options(flags, valued)?;
    let forced = call.name == "rm" && options.has('f');
    if options.rest.is_empty() && !forced {
        return failed("missing operand");
    }
    let mut status = 0;
    for name in &options.rest {
        let path = call.path(name);
        let done = match call.name {
            "mkdir" if options.has('p') => fs::create_dir_all(&path),
            "mkdir" => fs::create_dir(&path),
            "rmdir" => fs::remove_dir(&path),
            "rm" => remove(&path, options.has('r') || options.has('R')),
            _ => touch(&path, options.has('c')),
        };
        match done.map_err(|error| refused(&path, error)) {
            Ok(()) => {}
            Err(error) if forced && error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let what = match call.name {
                    "mkdir" => "can't create directory ",
                    "rm" => "can't remove ",
                    _ => "",
                };
                call.complain(&format!("{what}'{name}': {}", why(&error)).replace("'': ", "")).await;
                status = 1;
            }
        }
        task::pause().await;
    }
    Ok(status)
}

pub fn remove(path: &str, all: bool) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if mount_of(path).is_some_and(|mount| mount.place == path) {
        return Err(ErrorKind::ResourceBusy.into());
    }
    if !found.is_dir() {
        return fs::remove_file(path);
    }
    if !all {
        return Err(ErrorKind::IsADirectory.into());
    }
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        remove(&format!("{path}/{}", name.to_string_lossy()), true)?;
    }
    fs::remove_dir(path)
}

fn touch(path: &str, only_existing: bool) -> io::Result<()> {
    if fs::metadata(path).is_err() {
        return if only_existing { Ok(()) } else { OpenOptions::new().create(true).append(true).open(path).map(drop) };
    }
    set_modified(path, SystemTime::now())
}

/// Sets when a file was changed last; directories keep their own time.
pub fn set_modified(path: &str, at: SystemTime) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        return Ok(());
    }
    OpenOptions::new().append(true).open(path)?.set_modified(at)
}

/// Makes a symbolic link. std has no stable way to, and WASI knows none to absolute paths: one to something in the same
/// directory of the host becomes one from the link's place, another one is refused.
pub fn symlink(target: &str, path: &str) -> Result<(), Failure> {
    let directories = get_directories();
    // The longest name of a directory leaves the shortest rest.
    let home = |path: &str| {
        let inside = directories.iter().enumerate().filter_map(|(at, (_, name))| {
            let rest = path.strip_prefix(name.trim_end_matches('/'))?;
            rest.starts_with('/').then(|| (rest.trim_start_matches('/').to_owned(), at))
        });
        inside.min_by_key(|(rest, _)| rest.len())
    };
    let Some((rest, at)) = home(path) else {
        return failed(format!("{path}: No such file or directory"));
    };
    let reached = match target.starts_with('/') {
        true => home(target).filter(|(_, other)| *other == at).map(|(inner, _)| from_place(&inner, &rest)),
        false => Some(target.to_owned()),
    };
    let made = reached.ok_or(ErrorCode::NotPermitted).and_then(|to| directories[at].0.symlink_at(&to, &rest));
    made.map_err(|code| {
        let read_only = code == ErrorCode::NotPermitted && mount_of(path).is_some_and(|mount| mount.read_only);
        let why = if read_only { "Read-only file system" } else { in_short(code.message()) };
        Failure::Told(1, format!("{path}: {why}"))
    })
}

/// How a link at `link` names `target`, both below one directory.
fn from_place(target: &str, link: &str) -> String {
    let parts = |path: &str| path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect();
    let (target, mut place): (Vec<String>, Vec<String>) = (parts(target), parts(link));
    place.pop();
    let common = target.iter().zip(&place).take_while(|(a, b)| a == b).count();
    let up = place[common..].iter().map(|_| "..");
    let words: Vec<&str> = up.chain(target[common..].iter().map(String::as_str)).collect();
    if words.is_empty() { ".".to_owned() } else { words.join("/") }
}

fn ln(call: &Call) -> Outcome {
    let options = call.options("sfnvT", "")?;
    let (target, name) = match options.rest.as_slice() {
        [target] => (target, base(target).to_owned()),
        [target, name] if fs::metadata(call.path(name)).is_ok_and(|m| m.is_dir()) && !options.has('n') => {
            (target, format!("{name}/{}", base(target)))
        }
        [target, name] => (target, name.clone()),
        _ => return failed("usage: ln [-sf] TARGET [LINK]"),
    };
    let path = call.path(&name);
    if options.has('f') && fs::symlink_metadata(&path).is_ok_and(|m| !m.is_dir()) {
        fs::remove_file(&path).map_err(|error| refused(&path, error))?;
    }
    if options.has('s') {
        symlink(target, &path)?;
    } else {
        let made = fs::hard_link(call.path(target), &path).map_err(|error| refused(&path, error));
        made.map_err(|error| Failure::Told(1, format!("{name}: {}", why(&error))))?;
    }
    Ok(0)
}

async fn names(call: &Call) -> Outcome {
    let options = call.options("az", "s")?;
    let Some(name) = options.rest.first() else { return failed("missing operand") };
    let text = if call.name == "dirname" {
        let trimmed = name.trim_end_matches('/');
        match trimmed.rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((dir, _)) => dir.trim_end_matches('/').to_owned(),
            None if trimmed.is_empty() && !name.is_empty() => "/".to_owned(),
            None => ".".to_owned(),
        }
    } else {
        let suffix = options.value('s').or(options.rest.get(1).map(String::as_str)).unwrap_or_default();
        let name = base(name);
        name.strip_suffix(suffix).filter(|rest| !rest.is_empty()).unwrap_or(name).to_owned()
    };
    call.print(text + "\n").await?;
    Ok(0)
}

async fn links(call: &Call) -> Outcome {
    let options = call.options("fnemsq", "")?;
    let mut status = 0;
    for name in &options.rest {
        let path = call.path(name);
        let whole = options.has('f') || call.name == "realpath";
        let found = if whole {
            Ok(followed(path, 0))
        } else {
            fs::read_link(&path).map(|to| to.to_string_lossy().into_owned())
        };
        match found {
            Ok(text) => call.print(text + if options.has('n') { "" } else { "\n" }).await?,
            Err(_) => status = 1,
        }
    }
    Ok(status)
}

/// Where a path leads in the end.
fn followed(path: String, depth: usize) -> String {
    let (dir, _) = path.rsplit_once('/').unwrap_or(("", ""));
    let next = fs::read_link(&path).ok().filter(|_| depth < 20);
    match next {
        Some(to) => followed(crate::shell::absolute(&format!("{dir}/"), &to.to_string_lossy()), depth + 1),
        None => path,
    }
}

async fn mktemp(call: &Call) -> Outcome {
    let options = call.options("dqtu", "p")?;
    let template = options.rest.first().cloned();
    let template = template.unwrap_or_else(|| format!("{}/tmp.XXXXXX", options.value('p').unwrap_or("/tmp")));
    let fixed = template.trim_end_matches('X');
    let signs = b"abcdefghijklmnopqrstuvwxyz0123456789";
    for _ in 0..100 {
        let random = wasip2::random::random::get_random_bytes((template.len() - fixed.len()) as u64);
        let name: String = random.iter().map(|byte| char::from(signs[usize::from(*byte) % signs.len()])).collect();
        let name = format!("{fixed}{name}");
        let path = call.path(&name);
        let made = match options.has('d') {
            true => fs::create_dir(&path),
            false => OpenOptions::new().write(true).create_new(true).open(&path).map(drop),
        };
        match made.map_err(|error| refused(&path, error)) {
            Ok(()) => {
                call.print(name + "\n").await?;
                return Ok(0);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return failed(format!("{template}: {}", why(&error))),
        }
    }
    failed(format!("{template}: File exists"))
}
