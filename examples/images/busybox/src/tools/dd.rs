//! dd: blocks from one file into another.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::rc::Rc;

use super::{Call, Failure, Outcome, about, failed};
use crate::files::{How, is_device, refused};
use crate::stream::Fd;
use crate::task;

/// The largest block: it is held in memory.
const MAX_BLOCK: u64 = 64 << 20;

struct Asked {
    input: Option<String>,
    output: Option<String>,
    read: u64,
    write: u64,
    count: Option<u64>,
    skip: u64,
    seek: u64,
    flags: String,
    status: String,
}

/// `512`, `4k`, `1M`, `2x512`.
fn bytes(text: &str) -> Option<u64> {
    if let Some((left, right)) = text.split_once('x') {
        return bytes(left)?.checked_mul(bytes(right)?);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "c" => 1,
        "w" => 2,
        "b" => 512,
        "k" | "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "kB" | "KB" | "kD" => 1000,
        "MB" | "MD" => 1_000_000,
        "GB" | "GD" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn asked(call: &Call) -> Result<Asked, Failure> {
    let mut asked = Asked {
        input: None,
        output: None,
        read: 512,
        write: 512,
        count: None,
        skip: 0,
        seek: 0,
        flags: String::new(),
        status: String::new(),
    };
    for arg in &call.args {
        let Some((name, value)) = arg.split_once('=') else { return failed(format!("invalid argument '{arg}'")) };
        let number = || bytes(value).ok_or_else(|| Failure::Told(1, format!("invalid number '{value}'")));
        let block = || number().map(|size| size.clamp(1, MAX_BLOCK));
        match name {
            "if" => asked.input = Some(value.to_owned()),
            "of" => asked.output = Some(value.to_owned()),
            "bs" => (asked.read, asked.write) = (block()?, block()?),
            "ibs" => asked.read = block()?,
            "obs" => asked.write = block()?,
            "count" => asked.count = Some(number()?),
            "skip" | "iseek" => asked.skip = number()?,
            "seek" | "oseek" => asked.seek = number()?,
            "conv" | "iflag" | "oflag" => asked.flags = format!("{},{value}", asked.flags),
            "status" => asked.status = value.to_owned(),
            _ => return failed(format!("invalid argument '{arg}'")),
        }
    }
    Ok(asked)
}

fn output(call: &Call, asked: &Asked) -> Result<Fd, Failure> {
    let Some(name) = &asked.output else { return Ok(call.fd(1)) };
    let path = call.path(name);
    if is_device(&path) {
        return call.open(name, How::Write);
    }
    let told = |error: std::io::Error| Failure::Told(1, about(name, &refused(&path, error)));
    let mut options = OpenOptions::new();
    let kept = asked.flags.contains("notrunc") || asked.seek > 0;
    let mut file: File = options.write(true).create(true).truncate(!kept).open(&path).map_err(told)?;
    let at = asked.seek.saturating_mul(asked.write);
    if asked.seek > 0 {
        if !asked.flags.contains("notrunc") {
            file.set_len(at).map_err(told)?;
        }
        file.seek(SeekFrom::Start(at)).map_err(told)?;
    }
    if asked.flags.contains("append") {
        file.seek(SeekFrom::End(0)).map_err(told)?;
    }
    Ok(Fd::File(Rc::new(RefCell::new(file))))
}

/// A block, or what there is of it: with `fullblock` only the end of the input is short.
async fn block(input: &Fd, into: &mut [u8], full: bool) -> Result<usize, Failure> {
    let mut filled = 0;
    while filled < into.len() {
        match input.read(&mut into[filled..]).await? {
            0 => break,
            count => filled += count,
        }
        if !full {
            break;
        }
    }
    Ok(filled)
}

pub async fn run(call: &Call) -> Outcome {
    let asked = asked(call)?;
    let input = match &asked.input {
        Some(name) => call.input(name)?,
        None => call.fd(0),
    };
    let output = output(call, &asked)?;
    let begun = wasip2::clocks::monotonic_clock::now();
    let full = asked.flags.contains("fullblock") || matches!(input, Fd::File(_));
    let mut piece = vec![0; asked.read as usize];
    for _ in 0..asked.skip {
        if block(&input, &mut piece, full).await? == 0 {
            break;
        }
    }
    let (mut whole, mut parts, mut total) = (0_u64, 0_u64, 0_u64);
    while asked.count.is_none_or(|count| whole + parts < count) {
        let count = block(&input, &mut piece, full).await?;
        match count {
            0 => break,
            count if count == piece.len() => whole += 1,
            _ => parts += 1,
        }
        output.write(&piece[..count]).await?;
        total += count as u64;
        task::pause().await;
    }
    if asked.status != "none" {
        let mut told = format!("{whole}+{parts} records in\n{whole}+{parts} records out\n");
        if asked.status != "noxfer" {
            let seconds = (wasip2::clocks::monotonic_clock::now() - begun) as f64 / 1e9;
            let rate = total as f64 / seconds.max(1e-6) / f64::from(1 << 20);
            told.push_str(&format!("{total} bytes copied, {seconds:.6} seconds, {rate:.1}MB/s\n"));
        }
        // Where nobody listens nobody misses it.
        let _ = call.fd(2).write(told.as_bytes()).await;
    }
    Ok(0)
}
