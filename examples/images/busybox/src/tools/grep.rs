//! grep.

use std::fs;

use super::{Call, Failure, Options, Outcome};
use crate::regex::Regex;
use crate::stream::{Fd, Lines};

struct Search<'a> {
    call: &'a Call,
    options: &'a Options,
    patterns: Vec<Regex>,
    names: bool,
}

pub async fn run(call: &Call) -> Outcome {
    let mut options = call.options("ivncqlLowxrRsEFHhaP", "eAmBCf")?;
    let mut texts: Vec<String> = options.values.iter().filter(|(f, _)| *f == 'e').map(|(_, v)| v.clone()).collect();
    if texts.is_empty() {
        if options.rest.is_empty() {
            return Err(Failure::Told(2, "usage: grep [-OPTIONS] PATTERN [FILE]...".to_owned()));
        }
        texts = options.rest.remove(0).lines().map(str::to_owned).collect();
        if texts.is_empty() {
            texts.push(String::new());
        }
    }
    let fixed = options.has('F') || call.name == "fgrep";
    let extended = options.has('E') || options.has('P') || call.name == "egrep" || fixed;
    let read = |text: &String| {
        let mut text = if fixed {
            text.chars().flat_map(|c| c.is_ascii_punctuation().then_some('\\').into_iter().chain([c])).collect()
        } else {
            text.clone()
        };
        if options.has('w') {
            text = if extended { format!("\\b({text})\\b") } else { format!("\\b\\({text}\\)\\b") };
        }
        if options.has('x') {
            text = if extended { format!("^({text})$") } else { format!("^\\({text}\\)$") };
        }
        Regex::new(&text, extended, options.has('i'))
    };
    let patterns: Result<Vec<_>, _> = texts.iter().map(read).collect();
    let patterns = patterns.map_err(|why| Failure::Told(2, why))?;
    let recursive = options.has('r') || options.has('R');
    let mut inputs = options.inputs();
    if recursive {
        let roots = if options.rest.is_empty() { vec![".".to_owned()] } else { options.rest.clone() };
        inputs = roots.iter().flat_map(|root| below(call, root)).collect();
    }
    let names = (inputs.len() > 1 || recursive || options.has('H')) && !options.has('h');
    let search = Search { call, options: &options, patterns, names };
    let (mut found, mut status) = (false, 1);
    for name in &inputs {
        match call.input(name) {
            Ok(input) => found |= search.file(name, input).await?,
            Err(Failure::Told(_, why)) => {
                if !options.has('s') {
                    call.complain(why.trim_start_matches("can't open ").replace('\'', "").as_str()).await;
                }
                status = 2;
            }
            Err(other) => return Err(other),
        }
        if found && options.has('q') {
            return Ok(0);
        }
    }
    if status == 2 { Ok(2) } else { Ok(i32::from(!found)) }
}

/// All files below a directory, or the file itself.
fn below(call: &Call, root: &str) -> Vec<String> {
    if !fs::metadata(call.path(root)).is_ok_and(|m| m.is_dir()) {
        return vec![root.to_owned()];
    }
    let mut names: Vec<String> = fs::read_dir(call.path(root))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| format!("{}/{name}", root.trim_end_matches('/')))
        .collect();
    names.sort();
    names.iter().flat_map(|name| below(call, name)).collect()
}

impl Search<'_> {
    async fn file(&self, name: &str, input: Fd) -> Result<bool, Failure> {
        let (options, call) = (self.options, self.call);
        let number = |flag| {
            options.value(flag).or(options.value('C').filter(|_| flag != 'm')).and_then(|n| n.parse::<usize>().ok())
        };
        let (after, before, most) =
            (number('A').unwrap_or(0), number('B').unwrap_or(0), number('m').unwrap_or(usize::MAX));
        let quiet = options.has('q') || options.has('l') || options.has('L') || options.has('c');
        let (mut lines, mut count, mut index, mut due) = (Lines::new(input), 0, 0, 0);
        let mut kept: Vec<(usize, String)> = Vec::new();
        let label = |index: usize, sign: char| {
            let file = if self.names {
                format!("{}{sign}", if name == "-" { "(standard input)" } else { name })
            } else {
                String::new()
            };
            if options.has('n') { format!("{file}{index}{sign}") } else { file }
        };
        while count < most
            && let Some(line) = lines.next().await?
        {
            index += 1;
            let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            let chars: Vec<char> = line.chars().collect();
            let matched = self.patterns.iter().any(|p| p.find(&chars, 0).is_some()) != options.has('v');
            if !matched {
                if due > 0 && !quiet {
                    due -= 1;
                    call.print(format!("{}{line}\n", label(index, '-'))).await?;
                } else if before > 0 {
                    kept.push((index, line));
                    kept.drain(..kept.len().saturating_sub(before));
                }
                continue;
            }
            count += 1;
            if quiet {
                if !options.has('c') {
                    break;
                }
                continue;
            }
            for (index, line) in kept.drain(..) {
                call.print(format!("{}{line}\n", label(index, '-'))).await?;
            }
            due = after;
            match options.has('o') {
                true => self.pieces(&chars, &label(index, ':')).await?,
                false => call.print(format!("{}{line}\n", label(index, ':'))).await?,
            }
        }
        if options.has('c') {
            let file = if self.names { format!("{name}:") } else { String::new() };
            call.print(format!("{file}{count}\n")).await?;
        }
        if options.has('l') && count > 0 || options.has('L') && count == 0 {
            call.print(format!("{name}\n")).await?;
        }
        Ok(count > 0)
    }

    async fn pieces(&self, chars: &[char], label: &str) -> Result<(), Failure> {
        let mut at = 0;
        while at <= chars.len() {
            let found = self
                .patterns
                .iter()
                .filter_map(|p| p.find(chars, at)?[0])
                .min_by_key(|(from, to)| (*from, usize::MAX - to));
            let Some((from, to)) = found else { return Ok(()) };
            if to > from {
                let text: String = chars[from..to].iter().collect();
                self.call.print(format!("{label}{text}\n")).await?;
            }
            at = to.max(from + 1);
        }
        Ok(())
    }
}
