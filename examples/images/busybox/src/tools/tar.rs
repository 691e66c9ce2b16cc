//! tar: creates, extracts and lists (ustar, with GNU's long names; pax names are read).

use std::fs;
use std::time::{Duration, SystemTime};

use super::archive::{Sink, Source};
use super::{Call, Failure, Outcome, dir, failed};
use crate::files::{How, why};
use crate::shell::{absolute, matches};
use crate::task;

const BLOCK: usize = 512;
const PIECE: usize = 32 << 10;

#[derive(Default)]
struct Wanted {
    mode: Option<char>,
    file: Option<String>,
    dir: Option<String>,
    gzip: bool,
    verbose: bool,
    keep_time: bool,
    to_stdout: bool,
    follow: bool,
    strip: usize,
    exclude: Vec<Vec<char>>,
    names: Vec<String>,
}

fn read_args(call: &Call) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { keep_time: true, ..Wanted::default() };
    let mut args = call.args.iter().enumerate();
    while let Some((i, arg)) = args.next() {
        let mut next = |what: &str| match args.next() {
            Some((_, value)) => Ok(value.clone()),
            None => failed(format!("option requires an argument -- '{what}'")),
        };
        if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v.to_owned())));
            match name {
                "create" => wanted.mode = Some('c'),
                "extract" | "get" => wanted.mode = Some('x'),
                "list" => wanted.mode = Some('t'),
                "gzip" | "gunzip" => wanted.gzip = true,
                "file" => wanted.file = Some(value.map_or_else(|| next(name), Ok)?),
                "directory" => wanted.dir = Some(value.map_or_else(|| next(name), Ok)?),
                "exclude" => wanted.exclude.push(value.map_or_else(|| next(name), Ok)?.chars().collect()),
                "strip-components" => wanted.strip = value.map_or_else(|| next(name), Ok)?.parse().unwrap_or(0),
                "verbose" => wanted.verbose = true,
                "touch" => wanted.keep_time = false,
                "to-stdout" => wanted.to_stdout = true,
                "dereference" => wanted.follow = true,
                // Owners and modes are not kept in any case.
                _ => {}
            }
            continue;
        }
        let flags = match arg.strip_prefix('-') {
            Some(flags) if !flags.is_empty() => flags,
            None if i == 0 => arg,
            _ => {
                wanted.names.push(arg.clone());
                continue;
            }
        };
        for (at, flag) in flags.char_indices() {
            match flag {
                'c' | 'x' | 't' => wanted.mode = Some(flag),
                'z' => wanted.gzip = true,
                'v' => wanted.verbose = true,
                'm' => wanted.keep_time = false,
                'O' => wanted.to_stdout = true,
                'h' => wanted.follow = true,
                'f' | 'C' | 'X' | 'T' => {
                    let joined = &flags[at + 1..];
                    // With the dash the value may be joined; without, each takes the next argument.
                    let value = if arg.starts_with('-') && !joined.is_empty() {
                        joined.to_owned()
                    } else {
                        next(&flag.to_string())?
                    };
                    match flag {
                        'f' => wanted.file = Some(value),
                        'C' => wanted.dir = Some(value),
                        _ => return failed(format!("unsupported option -- '{flag}'")),
                    }
                    if arg.starts_with('-') && !joined.is_empty() {
                        break;
                    }
                }
                'p' | 'o' | 'k' | 'P' | 'U' | 'S' => {}
                other => return failed(format!("invalid option -- '{other}'")),
            }
        }
    }
    Ok(wanted)
}

pub async fn run(call: &Call) -> Outcome {
    let wanted = read_args(call)?;
    let cwd = wanted.dir.as_ref().map_or_else(|| call.shell.cwd().to_owned(), |dir| call.path(dir));
    if !fs::metadata(&cwd).is_ok_and(|m| m.is_dir()) {
        return failed(format!("can't change directory to '{cwd}': No such file or directory"));
    }
    let file = wanted.file.clone().unwrap_or_else(|| "-".to_owned());
    match wanted.mode {
        Some('c') => {
            if wanted.names.is_empty() {
                return failed("empty archive");
            }
            let output = if file == "-" { call.fd(1) } else { call.open(&file, How::Write)? };
            let mut sink = Sink::new(output, wanted.gzip);
            let mut status = 0;
            for name in &wanted.names {
                status |= add(call, &wanted, &cwd, name, &mut sink).await?;
            }
            sink.put(&[0; 2 * BLOCK]).await?;
            sink.end().await?;
            Ok(status)
        }
        Some(mode) => {
            let source = Source::new(call.input(&file)?);
            take_out(call, &wanted, &cwd, source, mode == 't').await
        }
        None => failed("must specify one of -c, -x, -t"),
    }
}

struct Entry {
    name: String,
    kind: u8,
    size: u64,
    seconds: i64,
    link: String,
}

impl Entry {
    fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (text, kind) in [(&self.link, b'K'), (&self.name, b'L')] {
            if text.len() > 99 {
                let long = Self {
                    name: "././@LongLink".to_owned(),
                    kind,
                    size: text.len() as u64 + 1,
                    seconds: 0,
                    link: String::new(),
                };
                out.extend(long.header());
                out.extend_from_slice(text.as_bytes());
                out.resize(out.len() + padding(text.len() as u64 + 1) + 1, 0);
            }
        }
        let mut block = [0; BLOCK];
        let mut put = |at: usize, room: usize, text: &[u8]| {
            let count = text.len().min(room);
            block[at..at + count].copy_from_slice(&text[..count]);
        };
        put(0, 99, self.name.as_bytes());
        put(100, 8, if self.kind == b'5' { b"0000755" } else { b"0000644" });
        put(108, 8, b"0000000");
        put(116, 8, b"0000000");
        // More than eleven octal digits do not fit; GNU's form for that is binary.
        match self.size {
            size if size < 1 << 33 => put(124, 12, format!("{size:011o}").as_bytes()),
            size => put(124, 12, &[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat()),
        }
        put(136, 12, format!("{:011o}", self.seconds.max(0)).as_bytes());
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, 99, self.link.as_bytes());
        put(257, 8, b"ustar  ");
        put(265, 4, b"root");
        put(297, 4, b"root");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(block);
        out
    }
}

/// What is missing to a whole block.
fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

async fn add(call: &Call, wanted: &Wanted, cwd: &str, name: &str, sink: &mut Sink) -> Result<i32, Failure> {
    let path = absolute(cwd, name);
    let chars: Vec<char> = name.chars().collect();
    if wanted.exclude.iter().any(|p| matches(p, &chars) || matches(p, &super::base(name).chars().collect::<Vec<_>>())) {
        return Ok(0);
    }
    let found = if wanted.follow { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            call.complain(&format!("{name}: {}", why(&error))).await;
            return Ok(1);
        }
    };
    let stored = name.trim_start_matches('/').to_owned();
    let mut entry =
        Entry { name: stored, kind: b'0', size: 0, seconds: super::list::seconds(&found), link: String::new() };
    if wanted.verbose {
        let _ = call.fd(2).write(format!("{}\n", entry.name).as_bytes()).await;
    }
    task::pause().await;
    if found.is_dir() {
        entry.kind = b'5';
        entry.name = format!("{}/", entry.name.trim_end_matches('/'));
        if entry.name != "/" {
            sink.put(&entry.header()).await?;
        }
        let mut names: Vec<String> = match fs::read_dir(&path) {
            Ok(entries) => entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect(),
            Err(error) => {
                call.complain(&format!("{name}: {}", why(&error))).await;
                return Ok(1);
            }
        };
        names.sort();
        let mut status = 0;
        for inner in names {
            status |=
                Box::pin(add(call, wanted, cwd, &format!("{}/{inner}", name.trim_end_matches('/')), sink)).await?;
        }
        return Ok(status);
    }
    if found.is_symlink() {
        entry.kind = b'2';
        entry.link = fs::read_link(&path)?.to_string_lossy().into_owned();
        sink.put(&entry.header()).await?;
        return Ok(0);
    }
    let input = match crate::files::open(&path, How::Read, call.shell.fds()) {
        Ok(input) => input,
        Err(error) => {
            call.complain(&format!("{name}: {}", why(&error))).await;
            return Ok(1);
        }
    };
    entry.size = found.len();
    sink.put(&entry.header()).await?;
    let (mut left, mut piece) = (entry.size, vec![0; PIECE]);
    while left > 0 {
        let most = left.min(PIECE as u64) as usize;
        let count = match input.read(&mut piece[..most]).await? {
            // It was cut short meanwhile; what was announced has to come.
            0 => {
                piece[..most].fill(0);
                most
            }
            count => count,
        };
        sink.put(&piece[..count]).await?;
        left -= count as u64;
    }
    sink.put(&[0; BLOCK][..padding(entry.size)]).await?;
    Ok(0)
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn octal(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field[1..].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    }
    u64::from_str_radix(text(field).trim(), 8).unwrap_or(0)
}

fn read_header(block: &[u8]) -> Result<Entry, Failure> {
    let sum: u64 =
        block.iter().enumerate().map(|(i, byte)| if (148..156).contains(&i) { 32 } else { u64::from(*byte) }).sum();
    if octal(&block[148..156]) != sum {
        return failed("invalid tar header checksum");
    }
    let prefix = if block[257..].starts_with(b"ustar\0") { text(&block[345..500]) } else { String::new() };
    let name = text(&block[..100]);
    let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
    let (kind, size) = (block[156], octal(&block[124..136]));
    Ok(Entry { name, kind, size, seconds: octal(&block[136..148]) as i64, link: text(&block[157..257]) })
}

async fn take_out(call: &Call, wanted: &Wanted, cwd: &str, mut source: Source, list: bool) -> Outcome {
    let (mut long_name, mut long_link, mut any, mut status) = (None, None, false, 0);
    loop {
        let block = source.exactly(BLOCK).await?;
        if block.len() < BLOCK {
            return if any || block.is_empty() && list { Ok(status) } else { failed("short read") };
        }
        if block.iter().all(|byte| *byte == 0) {
            // Whoever sends is not cut off in what fills the last record.
            while !source.some(PIECE).await?.is_empty() {}
            return Ok(status);
        }
        any = true;
        let mut entry = read_header(&block)?;
        if matches!(entry.kind, b'L' | b'K' | b'x' | b'g') {
            if entry.size > 1 << 20 {
                return failed("a name is too long");
            }
            let value = source.exactly(entry.size as usize).await?;
            source.exactly(padding(entry.size)).await?;
            match entry.kind {
                b'L' => long_name = Some(text(&value)),
                b'K' => long_link = Some(text(&value)),
                b'x' => {
                    for line in String::from_utf8_lossy(&value).lines() {
                        let pair = line.split_once(' ').and_then(|(_, pair)| pair.split_once('='));
                        match pair {
                            Some(("path", path)) => long_name = Some(path.to_owned()),
                            Some(("linkpath", path)) => long_link = Some(path.to_owned()),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
            continue;
        }
        entry.name = long_name.take().unwrap_or(entry.name);
        entry.link = long_link.take().unwrap_or(entry.link);
        let name = entry.name.trim_start_matches("./").trim_end_matches('/').to_owned();
        let chosen = wanted.names.is_empty()
            || wanted.names.iter().any(|w| {
                let w = w.trim_start_matches("./").trim_end_matches('/');
                name == w || name.starts_with(&format!("{w}/"))
            });
        if list || !chosen {
            if chosen {
                call.print(format!("{}\n", entry.name)).await?;
            }
            skip(&mut source, entry.size).await?;
            continue;
        }
        if wanted.verbose {
            let _ = call.fd(if wanted.to_stdout { 2 } else { 1 }).write(format!("{}\n", entry.name).as_bytes()).await;
        }
        status |= extract(call, wanted, cwd, &entry, &mut source).await?;
        task::pause().await;
    }
}

async fn skip(source: &mut Source, size: u64) -> Result<(), Failure> {
    let mut left = size + padding(size) as u64;
    while left > 0 {
        let piece = source.some(left.min(PIECE as u64) as usize).await?;
        if piece.is_empty() {
            return failed("short read");
        }
        left -= piece.len() as u64;
    }
    Ok(())
}

async fn extract(call: &Call, wanted: &Wanted, cwd: &str, entry: &Entry, source: &mut Source) -> Result<i32, Failure> {
    let parts: Vec<&str> = entry.name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        call.complain(&format!("name with '..' refused: {}", entry.name)).await;
        skip(source, entry.size).await?;
        return Ok(1);
    }
    let name = parts.get(wanted.strip..).unwrap_or_default().join("/");
    if name.is_empty() {
        skip(source, entry.size).await?;
        return Ok(0);
    }
    let path = absolute(cwd, &name);
    let told = |error: std::io::Error| Failure::Told(1, format!("can't create '{name}': {}", why(&error)));
    if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty() && !wanted.to_stdout) {
        fs::create_dir_all(parent).map_err(told)?;
    }
    match entry.kind {
        _ if wanted.to_stdout && entry.kind != b'0' && entry.kind != 0 => {}
        b'5' => fs::create_dir_all(&path).map_err(told)?,
        b'2' | b'1' => {
            if fs::symlink_metadata(&path).is_ok_and(|m| !m.is_dir()) {
                fs::remove_file(&path).map_err(told)?;
            }
            match entry.kind {
                b'2' => dir::symlink(&entry.link, &path)?,
                _ => fs::hard_link(absolute(cwd, &entry.link), &path).map_err(told)?,
            }
        }
        _ => {
            let output = if wanted.to_stdout {
                call.fd(1)
            } else {
                // What a link leads to is not written over.
                if fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) {
                    fs::remove_file(&path).map_err(told)?;
                }
                call.open(&path, How::Write)?
            };
            let mut left = entry.size;
            while left > 0 {
                let piece = source.some(left.min(PIECE as u64) as usize).await?;
                if piece.is_empty() {
                    return failed("short read");
                }
                output.write(&piece).await?;
                left -= piece.len() as u64;
            }
            source.exactly(padding(entry.size)).await?;
            drop(output);
            if wanted.keep_time && !wanted.to_stdout {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(entry.seconds).unwrap_or(0));
                // Where times cannot be set they are not.
                let _ = dir::set_modified(&path, at);
            }
            return Ok(0);
        }
    }
    skip(source, entry.size).await?;
    Ok(0)
}
