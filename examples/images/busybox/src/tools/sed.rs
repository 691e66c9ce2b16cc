//! sed: `s`, `d`, `p`, `q`, `a`, `i`, `c`, `y`, `=`, `n` with addresses.

use super::{Call, Failure, Outcome};
use crate::files::How;
use crate::regex::{Captures, Regex};
use crate::stream::{Fd, Lines};

enum Address {
    Line(usize),
    Last,
    Match(Regex),
}

enum Do {
    Substitute { regex: Regex, with: String, all: bool, print: bool, nth: usize },
    Delete,
    Print,
    Quit,
    Append(String),
    Insert(String),
    Change(String),
    Translate(Vec<char>, Vec<char>),
    Number,
    Next,
}

struct Step {
    from: Option<Address>,
    to: Option<Address>,
    not: bool,
    action: Do,
    inside: std::cell::Cell<bool>,
}

struct Reader<'a> {
    text: &'a [char],
    at: usize,
    extended: bool,
}

fn wrong<T>(why: &str) -> Result<T, Failure> {
    Err(Failure::Told(1, why.to_owned()))
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, signs: &str) {
        while self.peek().is_some_and(|c| signs.contains(c)) {
            self.at += 1;
        }
    }

    /// Text up to the delimiter, which is skipped; a backslash before it is taken off.
    fn until(&mut self, delimiter: char) -> Result<String, Failure> {
        let mut out = String::new();
        loop {
            let Some(c) = self.peek() else { return wrong("unterminated expression") };
            self.at += 1;
            match c {
                c if c == delimiter => return Ok(out),
                '\\' if self.peek() == Some(delimiter) => {
                    out.push(delimiter);
                    self.at += 1;
                }
                '\\' => {
                    out.push('\\');
                    out.extend(self.peek());
                    self.at += 1;
                }
                c => out.push(c),
            }
        }
    }

    fn regex(&self, text: &str, fold: bool) -> Result<Regex, Failure> {
        Regex::new(text, self.extended, fold).map_err(|why| Failure::Told(1, why))
    }

    fn address(&mut self) -> Result<Option<Address>, Failure> {
        match self.peek() {
            Some('$') => {
                self.at += 1;
                Ok(Some(Address::Last))
            }
            Some('/') => {
                self.at += 1;
                let text = self.until('/')?;
                Ok(Some(Address::Match(self.regex(&text, false)?)))
            }
            Some(c) if c.is_ascii_digit() => {
                let digits: String = self.text[self.at..].iter().take_while(|c| c.is_ascii_digit()).collect();
                self.at += digits.len();
                Ok(Some(Address::Line(digits.parse().unwrap_or(usize::MAX))))
            }
            _ => Ok(None),
        }
    }

    fn line(&mut self) -> String {
        self.skip(" \t");
        if self.peek() == Some('\\') {
            self.at += 1;
            self.skip("\n");
        }
        let text: String = self.text[self.at..].iter().take_while(|c| **c != '\n').collect();
        self.at += text.chars().count();
        text
    }

    fn step(&mut self) -> Result<Option<Step>, Failure> {
        self.skip(" \t\n;}");
        if self.at >= self.text.len() {
            return Ok(None);
        }
        let from = self.address()?;
        let mut to = None;
        if self.peek() == Some(',') {
            self.at += 1;
            to = self.address()?;
        }
        self.skip(" ");
        let not = self.peek() == Some('!');
        self.skip("! {");
        let Some(c) = self.peek() else { return wrong("missing command") };
        self.at += 1;
        let action = match c {
            's' => self.substitute()?,
            'y' => {
                let Some(delimiter) = self.peek() else { return wrong("bad y") };
                self.at += 1;
                Do::Translate(self.until(delimiter)?.chars().collect(), self.until(delimiter)?.chars().collect())
            }
            'd' => Do::Delete,
            'p' => Do::Print,
            'q' => Do::Quit,
            'n' => Do::Next,
            '=' => Do::Number,
            'a' => Do::Append(self.line()),
            'i' => Do::Insert(self.line()),
            'c' => Do::Change(self.line()),
            other => return wrong(&format!("unsupported command {other}")),
        };
        Ok(Some(Step { from, to, not, action, inside: std::cell::Cell::new(false) }))
    }

    fn substitute(&mut self) -> Result<Do, Failure> {
        let Some(delimiter) = self.peek() else { return wrong("bad s") };
        self.at += 1;
        let (text, with) = (self.until(delimiter)?, self.until(delimiter)?);
        let (mut all, mut print, mut fold, mut nth) = (false, false, false, 1);
        while let Some(flag) = self.peek() {
            match flag {
                'g' => all = true,
                'p' => print = true,
                'i' | 'I' => fold = true,
                '1'..='9' => nth = flag.to_digit(10).unwrap_or(1) as usize,
                _ => break,
            }
            self.at += 1;
        }
        Ok(Do::Substitute { regex: self.regex(&text, fold)?, with, all, print, nth })
    }
}

impl Step {
    fn applies(&self, line: &[char], number: usize, last: bool) -> bool {
        let meets = |address: &Address| match address {
            Address::Line(n) => number == *n,
            Address::Last => last,
            Address::Match(regex) => regex.find(line, 0).is_some(),
        };
        let applies = match (&self.from, &self.to) {
            (None, _) => true,
            (Some(from), None) => meets(from),
            (Some(_), Some(to)) if self.inside.get() => {
                self.inside.set(!(meets(to) || matches!(to, Address::Line(n) if number >= *n)));
                true
            }
            (Some(from), Some(to)) => {
                let begins = meets(from);
                self.inside.set(begins && !matches!(to, Address::Line(n) if number >= *n));
                begins
            }
        };
        applies != self.not
    }
}

fn replaced(line: &[char], regex: &Regex, with: &str, all: bool, nth: usize) -> Option<Vec<char>> {
    let (mut out, mut at, mut copied, mut count) = (Vec::new(), 0, 0, 0);
    while at <= line.len() {
        let Some(found) = regex.find(line, at) else { break };
        let Some((from, to)) = found[0] else { break };
        count += 1;
        if count >= nth {
            out.extend_from_slice(&line[copied..from]);
            insert(&mut out, with, line, &found);
            copied = to;
            if !all {
                break;
            }
        }
        at = if to == from { to + 1 } else { to };
    }
    if count < nth {
        return None;
    }
    out.extend_from_slice(&line[copied.min(line.len())..]);
    Some(out)
}

fn insert(out: &mut Vec<char>, with: &str, line: &[char], found: &Captures) {
    let group = |n: usize| found.get(n).copied().flatten().map_or(&[][..], |(from, to)| &line[from..to]);
    let mut chars = with.chars();
    while let Some(c) = chars.next() {
        match c {
            '&' => out.extend_from_slice(group(0)),
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c @ '0'..='9') => out.extend_from_slice(group(c.to_digit(10).unwrap_or(0) as usize)),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
}

pub async fn run(call: &Call) -> Outcome {
    let mut options = call.options("nrEisu", "ef")?;
    let mut script: Vec<String> = options.values.iter().filter(|(f, _)| *f == 'e').map(|(_, v)| v.clone()).collect();
    if let Some(file) = options.value('f') {
        script.push(String::from_utf8_lossy(&call.input(file)?.read_all().await?).into_owned());
    }
    if script.is_empty() {
        if options.rest.is_empty() {
            return wrong("usage: sed [-inrE] [-e CMD]... [FILE]...");
        }
        script.push(options.rest.remove(0));
    }
    let text: Vec<char> = script.join("\n").chars().collect();
    let mut reader = Reader { text: &text, at: 0, extended: options.has('r') || options.has('E') };
    let mut steps = Vec::new();
    while let Some(step) = reader.step()? {
        steps.push(step);
    }
    for name in options.inputs() {
        let input = call.input(&name)?;
        let kept = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let output = if options.has('i') { Fd::Kept(kept.clone()) } else { call.fd(1) };
        edit(&steps, input, &output, options.has('n')).await?;
        if options.has('i') {
            let bytes = std::mem::take(&mut *kept.borrow_mut());
            call.open(&name, How::Write)?.write(&bytes).await?;
        }
    }
    Ok(0)
}

async fn edit(steps: &[Step], input: Fd, output: &Fd, quiet: bool) -> Result<(), Failure> {
    let mut lines = Lines::new(input);
    let (mut next, mut number) = (lines.next().await?, 0);
    while let Some(line) = next.take() {
        next = lines.next().await?;
        number += 1;
        let end = if line.ends_with(b"\n") { "\n" } else { "" };
        let mut chars: Vec<char> = String::from_utf8_lossy(&line).trim_end_matches('\n').chars().collect();
        let (mut shown, mut behind, mut quit) = (!quiet, String::new(), false);
        for step in steps {
            if !step.applies(&chars, number, next.is_none()) {
                continue;
            }
            let text: String = chars.iter().collect();
            match &step.action {
                Do::Substitute { regex, with, all, print, nth } => {
                    if let Some(new) = replaced(&chars, regex, with, *all, *nth) {
                        chars = new;
                        if *print {
                            output.write((chars.iter().collect::<String>() + "\n").as_bytes()).await?;
                        }
                    }
                }
                Do::Delete => {
                    shown = false;
                    break;
                }
                Do::Print => output.write((text + "\n").as_bytes()).await?,
                Do::Quit => {
                    quit = true;
                    break;
                }
                Do::Append(text) => behind.push_str(&format!("{text}\n")),
                Do::Insert(text) => output.write(format!("{text}\n").as_bytes()).await?,
                Do::Change(text) => {
                    output.write(format!("{text}\n").as_bytes()).await?;
                    shown = false;
                    break;
                }
                Do::Translate(from, to) => {
                    for c in &mut chars {
                        let place = from.iter().position(|f| f == c);
                        *c = place.and_then(|i| to.get(i)).copied().unwrap_or(*c);
                    }
                }
                Do::Number => output.write(format!("{number}\n").as_bytes()).await?,
                Do::Next => {
                    if shown {
                        output.write((text + "\n").as_bytes()).await?;
                    }
                    let Some(line) = next.take() else { return Ok(()) };
                    next = lines.next().await?;
                    number += 1;
                    chars = String::from_utf8_lossy(&line).trim_end_matches('\n').chars().collect();
                }
            }
        }
        let end = if behind.is_empty() { end } else { "\n" };
        let text = if shown { chars.iter().collect::<String>() + end } else { String::new() };
        output.write((text + &behind).as_bytes()).await?;
        if quit {
            break;
        }
    }
    Ok(())
}
