//! The functions that awk brings along.

use std::rc::Rc;

use super::run::{Done, Machine, wrong};
use super::syntax::Expr;
use super::value::Value;
use crate::tools::print;

/// Calls one of them.
pub fn call(machine: &mut Machine<'_>, name: &str, args: &[Expr]) -> Done<Value> {
    match name {
        "length" => return length(machine, args),
        "split" => return split(machine, args),
        "sub" | "gsub" => return substitute(machine, args, name == "gsub"),
        "match" => return find(machine, args),
        _ => {}
    }
    let values = args.iter().map(|arg| machine.value(arg)).collect::<Done<Vec<_>>>()?;
    let number = |i: usize| values.get(i).map_or(0.0, Value::number);
    let text = |i: usize| values.get(i).map_or_else(|| "".into(), Value::string);
    Ok(match name {
        "substr" => Value::text(part(&text(0), number(1), values.get(2).map(Value::number))),
        "index" => {
            let (whole, part) = (text(0), text(1));
            Value::Number(whole.find(&*part).map_or(0, |at| whole[..at].chars().count() + 1) as f64)
        }
        "tolower" => Value::text(text(0).to_lowercase()),
        "toupper" => Value::text(text(0).to_uppercase()),
        "sprintf" => Value::text(String::from_utf8_lossy(&format(&values))),
        "int" => Value::Number(number(0).trunc()),
        "sqrt" => Value::Number(number(0).sqrt()),
        "exp" => Value::Number(number(0).exp()),
        "log" => Value::Number(number(0).ln()),
        "sin" => Value::Number(number(0).sin()),
        "cos" => Value::Number(number(0).cos()),
        "atan2" => Value::Number(number(0).atan2(number(1))),
        "rand" => {
            // The next of a sequence that the seed begins: a multiplier with a long period below 2^31.
            machine.seed = (machine.seed + 1.0) * 48_271.0 % 2_147_483_647.0;
            Value::Number(machine.seed / 2_147_483_647.0)
        }
        "srand" => {
            let now = wasip2::clocks::wall_clock::now().seconds as f64;
            let seed = values.first().map_or(now, Value::number);
            Value::Number(std::mem::replace(&mut machine.seed, seed))
        }
        "systime" => Value::Number(wasip2::clocks::wall_clock::now().seconds as f64),
        "close" => Value::Number(if machine.close(&text(0)) { 0.0 } else { -1.0 }),
        "fflush" => Value::Number(0.0),
        "system" => return wrong("system: programs are not run from awk; print to a pipe instead"),
        other => return wrong(format!("function {other} is not defined")),
    })
}

fn length(machine: &mut Machine<'_>, args: &[Expr]) -> Done<Value> {
    let count = match args.first() {
        None => machine.record.chars().count(),
        Some(Expr::Variable(name)) => match (machine.get(name), machine.array(name).borrow().len()) {
            (Value::Unset, elements) => elements,
            (value, _) => value.string().chars().count(),
        },
        Some(arg) => machine.value(arg)?.string().chars().count(),
    };
    Ok(Value::Number(count as f64))
}

fn split(machine: &mut Machine<'_>, args: &[Expr]) -> Done<Value> {
    let (Some(text), Some(Expr::Variable(array))) = (args.first(), args.get(1)) else {
        return wrong("split: usage: split(text, array, separator)");
    };
    let text = machine.value(text)?.string();
    let parts = match args.get(2) {
        Some(Expr::Regex(regex)) => regex.split(&text),
        Some(separator) => {
            let separator = machine.value(separator)?.string();
            machine.split(&text, &separator, false)?
        }
        None => {
            let separator = machine.get("FS").string();
            machine.split(&text, &separator, false)?
        }
    };
    let array = machine.array(array);
    let mut array = array.borrow_mut();
    array.clear();
    array.extend(parts.iter().enumerate().map(|(i, part)| ((i + 1).to_string(), Value::Input(part.clone()))));
    Ok(Value::Number(parts.len() as f64))
}

fn substitute(machine: &mut Machine<'_>, args: &[Expr], all: bool) -> Done<Value> {
    let (Some(pattern), Some(by)) = (args.first(), args.get(1)) else { return wrong("sub: usage: sub(regex, text)") };
    let record = Expr::Field(Box::new(Expr::Number(0.0)));
    let target = args.get(2).unwrap_or(&record);
    let (regex, by) = (machine.regex(pattern)?, machine.value(by)?.string());
    let text: Vec<char> = machine.value(target)?.string().chars().collect();
    let (mut out, mut at, mut count) = (String::new(), 0, 0);
    while at <= text.len() {
        let found = if all || count == 0 { regex.find(&text, at) } else { None };
        let Some((from, to)) = found.and_then(|groups| groups[0]) else { break };
        out.extend(&text[at..from]);
        put(&mut out, &by, &text[from..to]);
        count += 1;
        at = to;
        if from == to {
            out.extend(text.get(at));
            at += 1;
        }
    }
    if count > 0 {
        out.extend(text.get(at..).unwrap_or_default());
        machine.assign(target, Value::text(out))?;
    }
    Ok(Value::Number(f64::from(count)))
}

/// What takes a match's place: `&` is the match itself.
fn put(out: &mut String, by: &str, found: &[char]) {
    let mut chars = by.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '&' => out.extend(found),
            '\\' if matches!(chars.peek(), Some('&' | '\\')) => out.extend(chars.next()),
            c => out.push(c),
        }
    }
}

fn find(machine: &mut Machine<'_>, args: &[Expr]) -> Done<Value> {
    let (Some(text), Some(pattern)) = (args.first(), args.get(1)) else {
        return wrong("match: usage: match(text, regex)");
    };
    let text: Vec<char> = machine.value(text)?.string().chars().collect();
    let found = machine.regex(pattern)?.find(&text, 0).and_then(|groups| groups[0]);
    let (start, length) = found.map_or((0.0, -1.0), |(from, to)| ((from + 1) as f64, (to - from) as f64));
    machine.set("RSTART", Value::Number(start));
    machine.set("RLENGTH", Value::Number(length));
    Ok(Value::Number(start))
}

/// The part of a text from a sign on, counted from one.
fn part(text: &str, from: f64, length: Option<f64>) -> String {
    let begin = from.round();
    let end = length.map_or(f64::INFINITY, |length| begin + length.round());
    let inside = |i: usize| (begin..end).contains(&((i + 1) as f64));
    text.chars().enumerate().filter(|(i, _)| inside(*i)).map(|(_, c)| c).collect()
}

/// `printf`: what comes first is the format.
pub fn format(values: &[Value]) -> Vec<u8> {
    let Some((format, mut rest)) = values.split_first() else { return Vec::new() };
    let format = format.string();
    let mut texts = Vec::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        for c in chars.by_ref() {
            let takes = c == '*' || c.is_ascii_alphabetic();
            if let (true, Some((value, others))) = (takes, rest.split_first()) {
                rest = others;
                texts.push(as_wanted(c, value));
            }
            if c == '%' || c.is_ascii_alphabetic() {
                break;
            }
        }
    }
    // Its backslashes were dealt with when the program was read.
    print::formatted(&format.replace('\\', "\\\\"), &texts)
}

fn as_wanted(kind: char, value: &Value) -> String {
    match (kind, value) {
        ('d' | 'i' | 'u' | 'x' | 'X' | 'o' | '*', value) => (value.number() as i64).to_string(),
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', value) => value.number().to_string(),
        ('c', Value::Number(code)) => char::from_u32(*code as u32).map(String::from).unwrap_or_default(),
        (_, value) => Rc::<str>::as_ref(&value.string()).to_owned(),
    }
}
