//! ls, stat, du, df, mount.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Call, Options, Outcome, df, failed, users};
use crate::files::{Mount, why};
use crate::task;
use crate::tools::date::Date;

pub async fn run(call: &Call) -> Outcome {
    match call.name {
        "ls" => ls(call).await,
        "stat" => stat(call).await,
        "du" => du(call).await,
        "mount" => {
            let shown = crate::files::mounts().into_iter();
            let shown = shown
                .map(|Mount { what, place, kind, options, .. }| format!("{what} on {place} type {kind} ({options})\n"));
            call.print(shown.collect::<String>()).await?;
            Ok(0)
        }
        _ => df::run(call).await,
    }
}

async fn ls(call: &Call) -> Outcome {
    let options = call.options("laA1dRrtSFhipsnoTgCxkLHQU", "w")?;
    let names = if options.rest.is_empty() { vec![".".to_owned()] } else { options.rest.clone() };
    let (mut status, mut files, mut dirs) = (0, Vec::new(), Vec::new());
    for name in names {
        match fs::symlink_metadata(call.path(&name)) {
            Ok(found) => {
                let dir = fs::metadata(call.path(&name)).is_ok_and(|m| m.is_dir());
                if dir && !options.has('d') { dirs.push(name) } else { files.push((name, found)) }
            }
            Err(_) if crate::files::is_device(&call.path(&name)) => call.print(format!("{name}\n")).await?,
            Err(error) => {
                call.complain(&format!("{name}: {}", why(&error))).await;
                status = 1;
            }
        }
    }
    sort(&mut files, &options);
    let mut out = lines(call, "", &files, &options);
    let headed = dirs.len() > 1 || !files.is_empty() || options.has('R');
    let mut first = files.is_empty();
    dirs.reverse();
    while let Some(dir) = dirs.pop() {
        let mut found = Vec::new();
        if options.has('a') {
            found.extend(
                [".", ".."].into_iter().filter_map(|n| Some((n.to_owned(), fs::metadata(call.path(&dir)).ok()?))),
            );
        }
        match fs::read_dir(call.path(&dir)) {
            Ok(entries) => found.extend(entries.flatten().filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let hidden = name.starts_with('.') && !options.has('a') && !options.has('A');
                if hidden || name == "." || name == ".." { None } else { Some((name, entry.metadata().ok()?)) }
            })),
            Err(error) => {
                call.complain(&format!("can't open '{dir}': {}", why(&error))).await;
                status = 1;
                continue;
            }
        }
        sort(&mut found, &options);
        if headed {
            out.push_str(&format!("{}{dir}:\n", if first { "" } else { "\n" }));
        }
        first = false;
        if options.has('l') {
            out.push_str(&format!("total {}\n", found.iter().map(|(_, m)| m.len().div_ceil(1024)).sum::<u64>()));
        }
        out.push_str(&lines(call, &dir, &found, &options));
        if options.has('R') {
            let inner = found.iter().rev().filter(|(name, m)| m.is_dir() && name != "." && name != "..");
            dirs.extend(inner.map(|(name, _)| format!("{}/{name}", dir.trim_end_matches('/'))));
        }
        call.print(std::mem::take(&mut out)).await?;
        task::pause().await;
    }
    call.print(out).await?;
    Ok(status)
}

fn sort(files: &mut [(String, Metadata)], options: &Options) {
    files.sort_by(|a, b| a.0.cmp(&b.0));
    if options.has('t') {
        files.sort_by_key(|(_, m)| std::cmp::Reverse(m.modified().ok()));
    }
    if options.has('S') {
        files.sort_by_key(|(_, m)| std::cmp::Reverse(m.len()));
    }
    if options.has('r') {
        files.reverse();
    }
}

fn lines(call: &Call, dir: &str, files: &[(String, Metadata)], options: &Options) -> String {
    let line = |(name, found): &(String, Metadata)| {
        let path = if dir.is_empty() { name.clone() } else { format!("{}/{name}", dir.trim_end_matches('/')) };
        let mark = match found {
            m if m.is_dir() && (options.has('F') || options.has('p')) => "/",
            m if m.is_symlink() && options.has('F') => "@",
            _ => "",
        };
        if !options.has('l') {
            return format!("{name}{mark}\n");
        }
        let to = fs::read_link(call.path(&path)).ok().filter(|_| found.is_symlink());
        let to = to.map(|to| format!(" -> {}", to.to_string_lossy())).unwrap_or_default();
        let when = Date::new(seconds(found)).format("%b %e %H:%M");
        let size = if options.has('h') { human(found.len()) } else { found.len().to_string() };
        let full = call.path(&path);
        let (uid, gid) = owner(&full);
        let (user, group) = (users::shown(users::user_name(uid), uid), users::shown(users::group_name(gid), gid));
        format!("{} {:>4} {user:<8} {group:<8} {size:>9} {when} {name}{mark}{to}\n", mode(&full, found), 1)
    };
    files.iter().map(line).collect()
}

/// What a component is told of its files says nothing of permissions. Those that its pod gives to a volume's files, and whose
/// these are, the node leaves here, line by line: `0400 USER:GROUP /path`.
const MODES: &str = "/proc/modes";

thread_local! {
    static KNOWN: RefCell<Option<HashMap<String, Known>>> = const { RefCell::new(None) };
}

/// What is known of a file.
#[derive(Clone, Copy)]
struct Known {
    bits: u32,
    /// User and group.
    owner: (u32, u32),
}

impl Known {
    /// A line of the table, with the path.
    fn parse(line: &str) -> Option<(String, Self)> {
        let mut fields = line.splitn(3, ' ');
        let bits = u32::from_str_radix(fields.next()?, 8).ok()?;
        let (user, group) = fields.next()?.split_once(':')?;
        Some((fields.next()?.to_owned(), Self { bits, owner: (user.parse().ok()?, group.parse().ok()?) }))
    }
}

/// Whose the file at an absolute path is. What the program makes is its own; in a directory that belongs to a group it is
/// that group's.
pub fn owner(path: &str) -> (u32, u32) {
    let known = |path: &str| with_modes(|known| known.get(path).map(|known| known.owner));
    if let Some(owner) = known(path) {
        return owner;
    }
    if ["/etc", "/proc", "/dev"].iter().any(|dir| path.starts_with(dir)) || path == "/" {
        return (0, 0);
    }
    let own = users::own();
    let above = std::iter::successors(path.rsplit_once('/'), |(dir, _)| dir.rsplit_once('/'));
    let group = above.filter_map(|(dir, _)| known(dir)).map(|(_, group)| group).next();
    (own.uid, group.filter(|group| *group != 0).unwrap_or(own.gid))
}

fn with_modes<T>(look: impl FnOnce(&mut HashMap<String, Known>) -> T) -> T {
    KNOWN.with_borrow_mut(|known| {
        look(known.get_or_insert_with(|| {
            let text = crate::files::read_text(MODES).unwrap_or_default();
            text.lines().filter_map(Known::parse).collect()
        }))
    })
}

/// From now on the file at that path has these.
pub fn set_bits(path: &str, bits: u32) {
    let owner = owner(path);
    with_modes(|known| known.insert(path.to_owned(), Known { bits, owner }));
}

/// The permissions of the file at an absolute path.
fn bits(path: &str, found: &Metadata) -> u32 {
    if found.is_symlink() {
        return 0o777;
    }
    let otherwise = if found.is_dir() { 0o755 } else { 0o644 };
    with_modes(|known| known.get(path).map(|known| known.bits)).unwrap_or(otherwise)
}

/// `drwxr-xr-x`.
fn mode(path: &str, found: &Metadata) -> String {
    let kind = if found.is_dir() {
        'd'
    } else if found.is_symlink() {
        'l'
    } else {
        '-'
    };
    let bits = bits(path, found);
    let flags = "rwxrwxrwx".chars().enumerate();
    std::iter::once(kind).chain(flags.map(|(i, flag)| if bits >> (8 - i) & 1 == 1 { flag } else { '-' })).collect()
}

/// The same of what a path leads to.
pub fn mode_of(path: &str) -> std::io::Result<String> {
    fs::metadata(path).map(|found| mode(path, &found))
}

pub fn seconds(found: &Metadata) -> i64 {
    let at = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

pub fn human(bytes: u64) -> String {
    let units = ["", "K", "M", "G", "T"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { bytes.to_string() } else { format!("{value:.1}{}", units[unit]) }
}

async fn stat(call: &Call) -> Outcome {
    let options = call.options("Lt", "c")?;
    if options.rest.is_empty() {
        return failed("missing operand");
    }
    for name in &options.rest {
        let path = call.path(name);
        let found = match if options.has('L') { fs::metadata(&path) } else { fs::symlink_metadata(&path) } {
            Ok(found) => found,
            Err(error) => return failed(format!("can't stat '{name}': {}", why(&error))),
        };
        let kind = match &found {
            m if m.is_dir() => "directory",
            m if m.is_symlink() => "symbolic link",
            _ => "regular file",
        };
        let (bits, mode) = (format!("{:o}", bits(&path, &found)), mode(&path, &found));
        let date = Date::new(seconds(&found)).format("%Y-%m-%d %H:%M:%S.000000000 +0000");
        let (uid, gid) = owner(&path);
        let (user, group) = (users::shown(users::user_name(uid), uid), users::shown(users::group_name(gid), gid));
        let text = match options.value('c') {
            None => format!(
                "  File: {name}\n  Size: {}\t{kind}\nAccess: (0{bits}/{})  Uid: ({uid:>5}/{user:>8})   Gid: ({gid:>5}/{group:>8})\nModify: {date}\n",
                found.len(),
                mode
            ),
            Some(format) => {
                let pairs = [
                    ("%n", name.clone()),
                    ("%s", found.len().to_string()),
                    ("%a", bits),
                    ("%A", mode),
                    ("%F", kind.to_owned()),
                    ("%Y", seconds(&found).to_string()),
                    ("%y", date),
                    ("%u", uid.to_string()),
                    ("%g", gid.to_string()),
                    ("%U", user),
                    ("%G", group),
                ];
                pairs.iter().fold(format.to_owned(), |text, (from, to)| text.replace(from, to)) + "\n"
            }
        };
        call.print(text).await?;
    }
    Ok(0)
}

async fn du(call: &Call) -> Outcome {
    let options = call.options("shakmxc", "d")?;
    let roots = if options.rest.is_empty() { vec![".".to_owned()] } else { options.rest.clone() };
    for root in roots {
        let mut out = Vec::new();
        let all = sizes(call, &root, &mut out);
        if options.has('s') {
            out = vec![(all, root)];
        }
        for (bytes, name) in out {
            let size = if options.has('h') { human(bytes) } else { bytes.div_ceil(1024).to_string() };
            call.print(format!("{size}\t{name}\n")).await?;
        }
    }
    Ok(0)
}

fn sizes(call: &Call, name: &str, out: &mut Vec<(u64, String)>) -> u64 {
    let Ok(found) = fs::symlink_metadata(call.path(name)) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    let entries = fs::read_dir(call.path(name)).into_iter().flatten().flatten();
    let inner: u64 = entries.map(|e| sizes(call, &format!("{name}/{}", e.file_name().to_string_lossy()), out)).sum();
    out.push((inner + 4096, name.to_owned()));
    inner + 4096
}
