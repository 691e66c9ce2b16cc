//! cat, head, tail, wc, tee, rev, tac, nl.

use super::{Call, Failure, Options, Outcome, failed};
use crate::files::How;
use crate::stream::{Fd, Lines};
use crate::task;

const PIECE: usize = 32 << 10;

pub async fn run(call: &Call) -> Outcome {
    match call.name {
        "cat" => cat(call).await,
        "head" => head(call).await,
        "tail" => tail(call).await,
        "wc" => wc(call).await,
        "tee" => tee(call).await,
        _ => by_line(call).await,
    }
}

async fn cat(call: &Call) -> Outcome {
    let options = call.options("nuvAteEb", "")?;
    let (mut status, mut number) = (0, 0);
    for name in options.inputs() {
        let input = match call.input(&name) {
            Ok(input) => input,
            Err(Failure::Told(code, why)) => {
                call.complain(&why).await;
                status = code;
                continue;
            }
            Err(other) => return Err(other),
        };
        if options.has('n') {
            let mut lines = Lines::new(input);
            while let Some(line) = lines.next().await? {
                number += 1;
                call.print([format!("{number:>6}\t").as_bytes(), &line].concat()).await?;
            }
            continue;
        }
        let mut piece = vec![0; PIECE];
        loop {
            let count = match input.read(&mut piece).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    call.complain(&format!("read error: {}", crate::files::why(&error))).await;
                    status = 1;
                    break;
                }
            };
            call.print(&piece[..count]).await?;
        }
    }
    Ok(status)
}

/// `-3`, `-n 3`, `-c 5k`: how many, and whether of bytes.
fn amount(options: &Options) -> Result<(String, bool), Failure> {
    let text = options.value('c').or(options.value('n')).unwrap_or("10").to_owned();
    let digits = text.trim_start_matches(['+', '-']);
    if digits.is_empty() || !digits.trim_end_matches(['k', 'K', 'm', 'M', 'b']).chars().all(|c| c.is_ascii_digit()) {
        return failed(format!("invalid number '{text}'"));
    }
    Ok((text, options.value('c').is_some()))
}

fn count_of(text: &str) -> usize {
    let digits = text.trim_start_matches(['+', '-']);
    let number: usize = digits.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(usize::MAX);
    let unit = match digits.chars().last() {
        Some('k' | 'K') => 1024,
        Some('m' | 'M') => 1 << 20,
        Some('b') => 512,
        _ => 1,
    };
    number.saturating_mul(unit)
}

/// With `-3` as `-n 3`.
fn old_style(call: &Call, valued: &str, flags: &str) -> Result<Options, Failure> {
    let mut plain = Call { name: call.name, args: call.args.clone(), shell: call.shell.clone() };
    let mut is_value = false;
    for arg in &mut plain.args {
        if std::mem::replace(&mut is_value, matches!(arg.as_str(), "-n" | "-c")) {
            continue;
        }
        let digits = arg.strip_prefix('-').or_else(|| arg.strip_prefix('+').filter(|_| call.name == "tail"));
        if digits.is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_ascii_digit())) {
            *arg = format!("-n{}", if arg.starts_with('+') { arg.clone() } else { arg[1..].to_owned() });
        }
    }
    plain.options(flags, valued)
}

async fn head(call: &Call) -> Outcome {
    let options = old_style(call, "nc", "qv")?;
    let (text, bytes) = amount(&options)?;
    let (count, but) = (count_of(&text), text.starts_with('-'));
    let inputs = options.inputs();
    for (i, name) in inputs.iter().enumerate() {
        let input = call.input(name)?;
        if inputs.len() > 1 && !options.has('q') {
            call.print(format!("{}==> {name} <==\n", if i > 0 { "\n" } else { "" })).await?;
        }
        if but {
            let all = input.read_all().await?;
            call.print(&all[..split_at_end(&all, count, bytes)]).await?;
        } else if bytes {
            let mut left = count;
            let mut piece = vec![0; PIECE.min(left.max(1))];
            while left > 0 {
                let most = left.min(piece.len());
                match input.read(&mut piece[..most]).await? {
                    0 => break,
                    read => {
                        call.print(&piece[..read]).await?;
                        left -= read;
                    }
                }
            }
        } else {
            first_lines(call, input, count).await?;
        }
    }
    Ok(0)
}

async fn first_lines(call: &Call, input: Fd, count: usize) -> Result<(), Failure> {
    let (mut lines, mut out) = (Lines::new(input), Vec::new());
    for _ in 0..count {
        let Some(line) = lines.next().await? else { break };
        out.extend(line);
        if out.len() > PIECE || !lines.has_more() {
            call.print(std::mem::take(&mut out)).await?;
        }
    }
    call.print(out).await
}

/// Where the last `count` lines or bytes begin.
fn split_at_end(all: &[u8], count: usize, bytes: bool) -> usize {
    if bytes {
        return all.len().saturating_sub(count);
    }
    if count == 0 {
        return all.len();
    }
    let end = all.len() - usize::from(all.last() == Some(&b'\n'));
    let mut ends = all[..end].iter().enumerate().rev().filter(|(_, c)| **c == b'\n').map(|(i, _)| i + 1);
    ends.nth(count - 1).unwrap_or(0)
}

async fn tail(call: &Call) -> Outcome {
    let options = old_style(call, "ncs", "fFqv")?;
    let (text, bytes) = amount(&options)?;
    let count = count_of(&text);
    let inputs = options.inputs();
    let mut followed = None;
    for (i, name) in inputs.iter().enumerate() {
        let input = call.input(name)?;
        if inputs.len() > 1 && !options.has('q') {
            call.print(format!("{}==> {name} <==\n", if i > 0 { "\n" } else { "" })).await?;
        }
        let all = input.read_all().await?;
        let from = match text.starts_with('+') {
            true if bytes => count.saturating_sub(1).min(all.len()),
            true => {
                let mut ends = all.iter().enumerate().filter(|(_, c)| **c == b'\n').map(|(i, _)| i + 1);
                if count <= 1 { 0 } else { ends.nth(count - 2).unwrap_or(all.len()) }
            }
            false => split_at_end(&all, count, bytes),
        };
        call.print(&all[from..]).await?;
        followed = Some(input);
    }
    if let (true, Some(input)) = (options.has('f') || options.has('F'), followed) {
        let mut piece = vec![0; PIECE];
        loop {
            match input.read(&mut piece).await? {
                // What cannot grow has been followed to its end.
                0 if !matches!(input, Fd::File(_) | Fd::Null) => return Ok(0),
                0 => task::sleep(1.0).await,
                count => call.print(&piece[..count]).await?,
            }
        }
    }
    Ok(0)
}

async fn wc(call: &Call) -> Outcome {
    let options = call.options("lwcmL", "")?;
    let any = "lwcmL".chars().any(|flag| options.has(flag));
    let line = |counts: &[usize; 4], name: &str| {
        let shown = [('l', 0), ('w', 1), ('c', 2), ('m', 3)];
        let chosen = shown.iter().filter(|(flag, _)| if any { options.has(*flag) } else { *flag != 'm' });
        let numbers: Vec<String> = chosen.map(|(_, i)| counts[*i].to_string()).collect();
        let numbers = match numbers.as_slice() {
            [one] => one.clone(),
            many => many.iter().map(|n| format!("{n:>9}")).collect::<String>(),
        };
        if name == "-" { format!("{numbers}\n") } else { format!("{numbers} {name}\n") }
    };
    let (mut total, mut status) = ([0; 4], 0);
    let inputs = options.inputs();
    for name in &inputs {
        let input = match call.input(name) {
            Ok(input) => input,
            Err(Failure::Told(code, why)) => {
                call.complain(&why).await;
                status = code;
                continue;
            }
            Err(other) => return Err(other),
        };
        let (mut counts, mut inside, mut piece) = ([0; 4], false, vec![0; PIECE]);
        loop {
            let count = input.read(&mut piece).await?;
            if count == 0 {
                break;
            }
            for byte in &piece[..count] {
                counts[0] += usize::from(*byte == b'\n');
                counts[1] += usize::from(!inside && !byte.is_ascii_whitespace());
                inside = !byte.is_ascii_whitespace();
                counts[3] += usize::from(byte & 0xc0 != 0x80);
            }
            counts[2] += count;
        }
        call.print(line(&counts, name)).await?;
        (0..4).for_each(|i| total[i] += counts[i]);
    }
    if inputs.len() > 1 {
        call.print(line(&total, "total")).await?;
    }
    Ok(status)
}

async fn tee(call: &Call) -> Outcome {
    let options = call.options("ai", "")?;
    let how = if options.has('a') { How::Append } else { How::Write };
    let mut outputs = vec![call.fd(1)];
    for name in &options.rest {
        outputs.push(call.open(name, how)?);
    }
    let (input, mut piece) = (call.fd(0), vec![0; PIECE]);
    loop {
        let count = input.read(&mut piece).await?;
        if count == 0 {
            return Ok(0);
        }
        for output in &outputs {
            output.write(&piece[..count]).await?;
        }
    }
}

async fn by_line(call: &Call) -> Outcome {
    let options = call.options("ab", "bvwns")?;
    let mut number = 0;
    for name in options.inputs() {
        let input = call.input(&name)?;
        if call.name == "tac" {
            let all = input.read_all().await?;
            let lines: Vec<&[u8]> = all.split_inclusive(|c| *c == b'\n').rev().collect();
            call.print(lines.concat()).await?;
            continue;
        }
        let mut lines = Lines::new(input);
        while let Some(line) = lines.next().await? {
            if call.name == "rev" {
                let text = String::from_utf8_lossy(&line);
                let reversed: String = text.trim_end_matches('\n').chars().rev().collect();
                call.print(reversed + "\n").await?;
            } else if line == b"\n" && options.value('b') != Some("a") {
                call.print("       \n").await?;
            } else {
                number += 1;
                call.print([format!("{number:>6}\t").as_bytes(), &line].concat()).await?;
            }
        }
    }
    Ok(0)
}
