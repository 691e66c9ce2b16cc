//! echo, printf, seq, yes.

use super::{Call, Outcome, failed};

pub async fn run(call: &Call) -> Outcome {
    match call.name {
        "echo" => echo(call).await,
        "printf" => printf(call).await,
        "seq" => seq(call).await,
        _ => {
            let line = if call.args.is_empty() { "y".to_owned() } else { call.args.join(" ") } + "\n";
            let piece = line.repeat((4096 / line.len()).max(1));
            loop {
                call.print(&piece).await?;
                crate::task::pause().await;
            }
        }
    }
}

async fn echo(call: &Call) -> Outcome {
    let (mut newline, mut escapes, mut at) = (true, false, 0);
    while let Some(flags) = call.args.get(at).and_then(|arg| arg.strip_prefix('-')) {
        if flags.is_empty() || !flags.chars().all(|c| "neE".contains(c)) {
            break;
        }
        newline &= !flags.contains('n');
        escapes |= flags.contains('e');
        at += 1;
    }
    let mut out = call.args[at..].join(" ").into_bytes();
    if escapes {
        let (bytes, stop) = unescape(&String::from_utf8_lossy(&out));
        out = bytes;
        newline &= !stop;
    }
    if newline {
        out.push(b'\n');
    }
    call.print(out).await?;
    Ok(0)
}

/// A text with its backslashes taken at their word; whether `\c` ended it.
pub fn unescape(text: &str) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    let mut utf8 = [0; 4];
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            continue;
        }
        let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix, most| {
            let mut value = None;
            for _ in 0..most {
                let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
                chars.next();
                value = Some(value.unwrap_or(0) * radix + digit);
            }
            value
        };
        match chars.next() {
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('r') => out.push(b'\r'),
            Some('a') => out.push(7),
            Some('b') => out.push(8),
            Some('f') => out.push(12),
            Some('v') => out.push(11),
            Some('e') => out.push(27),
            Some('\\') => out.push(b'\\'),
            Some('c') => return (out, true),
            Some('0') => out.push(digits(&mut chars, 8, 3).unwrap_or(0) as u8),
            Some(c @ '1'..='7') => {
                let first = c.to_digit(8).unwrap_or(0);
                let rest: String = chars.clone().take(2).take_while(|c| c.is_digit(8)).collect();
                let value = rest.chars().fold(first, |v, c| v * 8 + c.to_digit(8).unwrap_or(0));
                for _ in rest.chars() {
                    chars.next();
                }
                out.push(value as u8);
            }
            Some('x') => out.push(digits(&mut chars, 16, 2).unwrap_or(0) as u8),
            Some(other) => {
                out.push(b'\\');
                out.extend_from_slice(other.encode_utf8(&mut utf8).as_bytes());
            }
            None => out.push(b'\\'),
        }
    }
    (out, false)
}

async fn printf(call: &Call) -> Outcome {
    let Some((format, mut args)) = call.args.split_first() else { return failed("usage: printf FORMAT [ARG]...") };
    let (mut out, mut status) = (Vec::new(), 0);
    loop {
        let before = args.len();
        let stop = once(format, &mut args, &mut out, &mut status);
        if stop || args.is_empty() || args.len() == before {
            break;
        }
    }
    call.print(out).await?;
    if status != 0 {
        call.complain("invalid number").await;
    }
    Ok(status)
}

/// Goes through the format once; whether `\c` ended it.
fn once(format: &str, args: &mut &[String], out: &mut Vec<u8>, status: &mut i32) -> bool {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let (bytes, stop) = unescape(&rest[..at]);
        out.extend(bytes);
        if stop {
            return true;
        }
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push(b'%');
            rest = after;
            continue;
        }
        let flags: String = rest.chars().take_while(|c| "-+ 0#".contains(*c)).collect();
        rest = &rest[flags.len()..];
        let width = size(&mut rest, args);
        let precision = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                Some(size(&mut rest, args).unwrap_or(0))
            }
            None => None,
        };
        let Some(kind) = rest.chars().next() else { break };
        rest = &rest[kind.len_utf8()..];
        let arg = args.split_first().map(|(first, others)| {
            *args = others;
            first.as_str()
        });
        let (text, stop) = one(kind, arg, &flags, precision, status);
        let fill = width.unwrap_or(0).saturating_sub(String::from_utf8_lossy(&text).chars().count());
        if flags.contains('-') {
            out.extend(text);
            out.extend(std::iter::repeat_n(b' ', fill));
        } else if flags.contains('0') && kind != 's' {
            let sign = usize::from(text.first().is_some_and(|c| b"+-".contains(c)));
            out.extend(&text[..sign]);
            out.extend(std::iter::repeat_n(b'0', fill));
            out.extend(&text[sign..]);
        } else {
            out.extend(std::iter::repeat_n(b' ', fill));
            out.extend(text);
        }
        if stop {
            return true;
        }
    }
    let (bytes, stop) = unescape(rest);
    out.extend(bytes);
    stop
}

fn size(rest: &mut &str, args: &mut &[String]) -> Option<usize> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        let (first, others) = args.split_first()?;
        *args = others;
        return first.parse().ok();
    }
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    number.parse().ok().map(|n: usize| n.min(1 << 16))
}

fn one(kind: char, arg: Option<&str>, flags: &str, precision: Option<usize>, status: &mut i32) -> (Vec<u8>, bool) {
    let text = arg.unwrap_or_default();
    let mut number = || -> i64 {
        let trimmed = text.trim();
        if let Some(c) = trimmed.strip_prefix(['\'', '"']) {
            return c.chars().next().map_or(0, |c| i64::from(u32::from(c)));
        }
        let hex = trimmed.strip_prefix("0x").map(|hex| i64::from_str_radix(hex, 16).ok());
        let value =
            hex.unwrap_or_else(|| trimmed.parse().ok().or_else(|| trimmed.parse::<u64>().ok().map(|n| n as i64)));
        value.unwrap_or_else(|| {
            *status = i32::from(!trimmed.is_empty());
            0
        })
    };
    let sign = |value: String| if flags.contains('+') && !value.starts_with('-') { format!("+{value}") } else { value };
    let padded = |digits: String| match precision {
        Some(n) if digits.len() < n => format!("{}{digits}", "0".repeat(n - digits.len())),
        _ => digits,
    };
    let text = match kind {
        's' => text.chars().take(precision.unwrap_or(usize::MAX)).collect(),
        'b' => return unescape(text),
        'q' => crate::shell::quoted(text),
        'c' => text.chars().take(1).collect(),
        'd' | 'i' => {
            let value = number();
            sign(format!("{}{}", if value < 0 { "-" } else { "" }, padded(value.unsigned_abs().to_string())))
        }
        'u' => padded((number() as u64).to_string()),
        'x' => padded(format!("{:x}", number())),
        'X' => padded(format!("{:X}", number())),
        'o' => padded(format!("{:o}", number())),
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' => {
            let value: f64 = text.trim().parse().unwrap_or(0.0);
            let precision = precision.unwrap_or(6);
            let digits = match kind.to_ascii_lowercase() {
                'g' => general(value, precision),
                'e' => scientific(value, precision),
                _ => format!("{value:.precision$}"),
            };
            sign(if kind.is_ascii_uppercase() { digits.to_uppercase() } else { digits })
        }
        other => format!("%{other}"),
    };
    (text.into_bytes(), false)
}

/// A number as `%e` has it: one digit before the point, at least two in the power.
fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((digits, power)) = text.split_once('e') else { return text };
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

/// A number as `%g` has it: so many digits that mean something, and no zeros behind them.
pub fn general(value: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let text = scientific(value, precision - 1);
    let Some((digits, power)) = text.split_once('e') else { return text };
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match power.parse::<i32>() {
        Ok(power) if power >= -4 && power < precision as i32 => {
            trimmed(&format!("{value:.*}", (precision as i32 - 1 - power) as usize))
        }
        _ => format!("{}e{power}", trimmed(digits)),
    }
}

/// The format with its arguments put in, once.
pub fn formatted(format: &str, mut args: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    once(format, &mut args, &mut out, &mut 0);
    out
}

async fn seq(call: &Call) -> Outcome {
    let (mut separator, mut wide, mut numbers) = ("\n".to_owned(), false, Vec::new());
    let mut args = call.args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-s" => separator = args.next().cloned().unwrap_or_default(),
            "-w" => wide = true,
            joined if joined.starts_with("-s") => separator = joined.trim_start_matches("-s").to_owned(),
            other => match other.parse::<f64>() {
                Ok(number) => numbers.push((number, other.split_once('.').map_or(0, |(_, f)| f.len()))),
                Err(_) => return failed(format!("invalid number '{other}'")),
            },
        }
    }
    let (first, step, last) = match numbers.as_slice() {
        [last] => (1.0, 1.0, last.0),
        [first, last] => (first.0, 1.0, last.0),
        [first, step, last] => (first.0, step.0, last.0),
        _ => return failed("usage: seq [-w] [-s SEP] [FIRST [INC]] LAST"),
    };
    if step == 0.0 {
        return failed("increment is 0");
    }
    let digits = numbers.iter().map(|(_, digits)| *digits).max().unwrap_or(0);
    let width = if wide { format!("{first:.digits$}").len().max(format!("{last:.digits$}").len()) } else { 0 };
    let mut out = String::new();
    let mut n = 0.0;
    loop {
        let value = first + n * step;
        if step > 0.0 && value > last || step < 0.0 && value < last {
            break;
        }
        if n > 0.0 {
            out.push_str(&separator);
        }
        out.push_str(&format!("{value:0width$.digits$}"));
        n += 1.0;
        if out.len() > 8192 {
            call.print(std::mem::take(&mut out)).await?;
        }
    }
    if n > 0.0 {
        out.push('\n');
    }
    call.print(out).await?;
    Ok(0)
}
