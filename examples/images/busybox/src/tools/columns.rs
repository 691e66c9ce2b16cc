//! sort, uniq, cut, tr.

use std::cmp::Ordering;

use super::{Call, Failure, Options, Outcome, failed};
use crate::files::How;
use crate::shell;
use crate::stream::Lines;

pub async fn run(call: &Call) -> Outcome {
    match call.name {
        "sort" => sort(call).await,
        "uniq" => uniq(call).await,
        "cut" => cut(call).await,
        _ => tr(call).await,
    }
}

async fn sort(call: &Call) -> Outcome {
    let options = call.options("nrufhbdfisVcz", "kto")?;
    let mut lines: Vec<String> = Vec::new();
    for name in options.inputs() {
        let all = call.input(&name)?.read_all().await?;
        lines.extend(String::from_utf8_lossy(&all).lines().map(str::to_owned));
    }
    let by = |a: &String, b: &String| {
        let (a, b) = (key(a, &options), key(b, &options));
        if options.has('n') || options.value('k').is_some_and(|k| k.contains('n')) {
            number(&a).partial_cmp(&number(&b)).unwrap_or(Ordering::Equal)
        } else if options.has('f') {
            a.to_lowercase().cmp(&b.to_lowercase())
        } else {
            a.cmp(&b)
        }
    };
    let reverse = options.has('r') || options.value('k').is_some_and(|k| k.contains('r'));
    lines.sort_by(|a, b| {
        let order = if reverse { by(b, a) } else { by(a, b) };
        if options.has('s') || options.has('u') { order } else { order.then_with(|| a.cmp(b)) }
    });
    if options.has('u') {
        lines.dedup_by(|a, b| by(a, b) == Ordering::Equal);
    }
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    match options.value('o') {
        Some(name) => call.open(name, How::Write)?.write(text.as_bytes()).await?,
        None => call.print(text).await?,
    }
    Ok(0)
}

/// What a line is sorted by: `-k 2`, `-k 2,3`.
fn key(line: &str, options: &Options) -> String {
    let Some(spec) = options.value('k') else { return line.to_owned() };
    let field = |text: &str| -> usize {
        text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(1)
    };
    let (from, to) = spec.split_once(',').map_or((field(spec), usize::MAX), |(a, b)| (field(a), field(b)));
    let fields: Vec<&str> = match options.value('t') {
        Some(separator) => line.split(separator).collect(),
        None => line.split_whitespace().collect(),
    };
    let to = to.min(fields.len());
    fields.get(from.saturating_sub(1)..to).unwrap_or_default().join(" ")
}

fn number(text: &str) -> f64 {
    let text = text.trim_start();
    let digits =
        text.char_indices().take_while(|(i, c)| c.is_ascii_digit() || *c == '.' || *i == 0 && *c == '-').count();
    text[..digits].parse().unwrap_or(0.0)
}

async fn uniq(call: &Call) -> Outcome {
    let options = call.options("cdui", "fs")?;
    let mut lines = Lines::new(call.input(options.rest.first().map_or("-", String::as_str))?);
    let mut before: Option<(Vec<u8>, usize)> = None;
    loop {
        let mut line = lines.next().await?;
        if let Some(line) = &mut line
            && line.last() != Some(&b'\n')
        {
            line.push(b'\n');
        }
        if let (Some((last, count)), Some(line)) = (&mut before, &line)
            && (last == line || options.has('i') && last.eq_ignore_ascii_case(line))
        {
            *count += 1;
            continue;
        }
        if let Some((last, count)) = before.take()
            && !(options.has('d') && count == 1 || options.has('u') && count > 1)
        {
            let head = if options.has('c') { format!("{count:>7} ") } else { String::new() };
            call.print([head.as_bytes(), &last].concat()).await?;
        }
        match line {
            Some(line) => before = Some((line, 1)),
            None => return Ok(0),
        }
    }
}

/// `1,3-5,7-`: from and to, counted from one.
fn ranges(text: &str) -> Result<Vec<(usize, usize)>, Failure> {
    let wrong = || Failure::Told(1, format!("invalid range '{text}'"));
    let number = |text: &str, default| if text.is_empty() { Ok(default) } else { text.parse().map_err(|_| wrong()) };
    text.split(',')
        .map(|part| match part.split_once('-') {
            Some((from, to)) => Ok((number(from, 1)?, number(to, usize::MAX)?)),
            None => part.parse().map(|n| (n, n)).map_err(|_| wrong()),
        })
        .collect()
}

async fn cut(call: &Call) -> Outcome {
    let options = call.options("sn", "dfcb")?;
    let Some(list) = options.value('f').or(options.value('c')).or(options.value('b')) else {
        return failed("expected a list of bytes, characters, or fields");
    };
    let (ranges, fields) = (ranges(list)?, options.value('f').is_some());
    let chosen = |i: usize| ranges.iter().any(|(from, to)| (*from..=*to).contains(&(i + 1)));
    let delimiter = options.value('d').unwrap_or("\t").to_owned();
    for name in options.inputs() {
        let mut lines = Lines::new(call.input(&name)?);
        while let Some(line) = lines.next().await? {
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\n');
            let text: String = if !fields {
                line.chars().enumerate().filter(|(i, _)| chosen(*i)).map(|(_, c)| c).collect()
            } else if !line.contains(&delimiter) {
                if options.has('s') {
                    continue;
                }
                line.to_owned()
            } else {
                let kept = line.split(&delimiter).enumerate().filter(|(i, _)| chosen(*i)).map(|(_, field)| field);
                kept.collect::<Vec<_>>().join(&delimiter)
            };
            call.print(text + "\n").await?;
        }
    }
    Ok(0)
}

async fn tr(call: &Call) -> Outcome {
    let options = call.options("dscC", "")?;
    let (first, second) = match options.rest.as_slice() {
        [first] if options.has('d') || options.has('s') => (signs(first), Vec::new()),
        [first, second] => (signs(first), signs(second)),
        _ => return failed("usage: tr [-cds] STRING1 [STRING2]"),
    };
    let not = options.has('c') || options.has('C');
    let squeezed = if second.is_empty() { &first } else { &second };
    let (input, mut piece, mut last) = (call.fd(0), vec![0; 32 << 10], None);
    loop {
        let count = input.read(&mut piece).await?;
        if count == 0 {
            return Ok(0);
        }
        let mut out = Vec::with_capacity(count);
        for byte in &piece[..count] {
            let place = first.iter().position(|c| c == byte);
            let inside = place.is_some() != not;
            if inside && options.has('d') {
                continue;
            }
            let byte = match (inside, second.last()) {
                (true, Some(end)) if !options.has('d') => place.and_then(|i| second.get(i)).copied().unwrap_or(*end),
                _ => *byte,
            };
            let same = last == Some(byte) && (squeezed.contains(&byte) != (not && second.is_empty()));
            last = Some(byte);
            if !(options.has('s') && same) {
                out.push(byte);
            }
        }
        call.print(out).await?;
    }
}

/// The bytes that `a-z`, `[:upper:]` and `\n` stand for.
fn signs(text: &str) -> Vec<u8> {
    let bytes = super::print::unescape(text).0;
    let (mut out, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let rest = &bytes[i..];
        let end = rest.windows(2).position(|pair| pair == b":]").filter(|_| rest.starts_with(b"[:"));
        if let Some(end) = end {
            let name = String::from_utf8_lossy(&rest[2..end]).into_owned();
            out.extend((0..=127u8).filter(|byte| shell::class(&name, char::from(*byte))));
            i += end + 2;
        } else if rest.len() > 2 && rest[1] == b'-' && rest[2] >= rest[0] {
            out.extend(rest[0]..=rest[2]);
            i += 3;
        } else {
            out.push(rest[0]);
            i += 1;
        }
    }
    out
}
