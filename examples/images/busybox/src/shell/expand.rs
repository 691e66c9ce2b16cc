//! From words to arguments: parameters, substitutions, fields, files.

use std::cell::RefCell;
use std::rc::Rc;

use super::syntax::{Change, List, Parameter, Part, Word};
use super::{Flow, Shell, pattern, sum};
use crate::stream::Fd;

/// A piece of a word on its way.
enum Bit {
    Text {
        text: String,
        quoted: bool,
        /// It came out of an expansion without quotes: blanks in it end fields.
        split: bool,
    },
    /// A field ends here in any case: between the parameters in `"$@"`.
    Break,
}

type Result<T> = std::result::Result<T, Flow>;

impl Shell {
    /// The fields that words stand for.
    pub(super) async fn fields(&mut self, words: &[Word]) -> Result<Vec<String>> {
        let mut fields = Vec::new();
        // Between these each word stays one, whatever is in it.
        if let Some([Part::Plain(first)]) = words.first().map(Vec::as_slice)
            && first == "[["
        {
            for word in words {
                fields.push(self.text(word).await?);
            }
            return Ok(fields);
        }
        for word in words {
            if let [Part::Plain(text)] = word.as_slice()
                && !text.starts_with('~')
                && !pattern::is_pattern(text)
            {
                fields.push(text.clone());
                continue;
            }
            let mut bits = Vec::new();
            self.bits(word, false, &mut bits).await?;
            for field in self.cut(bits) {
                let pattern: String = field
                    .iter()
                    .map(|(text, quoted)| if *quoted { pattern::literal(text) } else { text.replace('\\', "\\\\") })
                    .collect();
                let found = match !self.options.noglob && pattern::is_pattern(&pattern) {
                    true => pattern::files(&pattern, &self.cwd),
                    false => Vec::new(),
                };
                match found.is_empty() {
                    true => fields.push(field.into_iter().map(|(text, _)| text).collect()),
                    false => fields.extend(found),
                }
            }
        }
        Ok(fields)
    }

    /// The text that a word stands for as a whole: a value, a file's name.
    pub(super) async fn text(&mut self, word: &Word) -> Result<String> {
        let mut bits = Vec::new();
        self.bits(word, false, &mut bits).await?;
        Ok(bits.iter().map(|bit| if let Bit::Text { text, .. } = bit { text } else { " " }).collect())
    }

    /// A word as a pattern: what is quoted means itself.
    pub(super) async fn pattern(&mut self, word: &Word) -> Result<Vec<char>> {
        let mut bits = Vec::new();
        self.bits(word, false, &mut bits).await?;
        let texts = bits.iter().map(|bit| match bit {
            Bit::Text { text, quoted: true, .. } => pattern::literal(text),
            Bit::Text { text, .. } => text.clone(),
            Bit::Break => " ".to_owned(),
        });
        Ok(texts.collect::<String>().chars().collect())
    }

    fn cut(&self, bits: Vec<Bit>) -> Vec<Vec<(String, bool)>> {
        let ifs = self.get("IFS").unwrap_or(" \t\n").to_owned();
        let mut fields = Vec::new();
        let mut field: Option<Vec<(String, bool)>> = None;
        for bit in bits {
            match bit {
                Bit::Break => fields.push(field.take().unwrap_or_default()),
                Bit::Text { text, quoted, split: false } => {
                    if quoted || !text.is_empty() {
                        field.get_or_insert_default().push((text, quoted));
                    }
                }
                Bit::Text { text, .. } => {
                    let mut run = String::new();
                    for c in text.chars() {
                        if !ifs.contains(c) {
                            run.push(c);
                            continue;
                        }
                        if !run.is_empty() {
                            field.get_or_insert_default().push((std::mem::take(&mut run), false));
                        }
                        if field.is_some() || !c.is_whitespace() {
                            fields.push(field.take().unwrap_or_default());
                        }
                    }
                    if !run.is_empty() {
                        field.get_or_insert_default().push((run, false));
                    }
                }
            }
        }
        fields.extend(field);
        fields
    }

    async fn bits(&mut self, word: &Word, quoted: bool, out: &mut Vec<Bit>) -> Result<()> {
        for (i, part) in word.iter().enumerate() {
            let text = |text: String, quoted| Bit::Text { text, quoted, split: false };
            match part {
                Part::Plain(plain) => match plain
                    .strip_prefix('~')
                    .filter(|rest| i == 0 && !quoted && (rest.is_empty() || rest.starts_with('/')))
                {
                    Some(rest) => {
                        out.push(text(self.get("HOME").unwrap_or("/root").to_owned(), true));
                        out.push(text(rest.to_owned(), false));
                    }
                    None => out.push(text(plain.clone(), quoted)),
                },
                Part::Quoted(plain) => out.push(text(plain.clone(), true)),
                Part::Double(inner) => {
                    let before = out.len();
                    Box::pin(self.bits(inner, true, out)).await?;
                    let nothing = self.parameters.is_empty() && inner.iter().any(is_all);
                    if out.len() == before && !nothing {
                        out.push(text(String::new(), true));
                    }
                }
                Part::Output(list) => {
                    let output = self.output(list).await?;
                    out.push(Bit::Text { text: output, quoted, split: !quoted });
                }
                Part::Sum(inner) => {
                    let value = Box::pin(self.sum(inner)).await?;
                    out.push(Bit::Text { text: value.to_string(), quoted, split: !quoted });
                }
                Part::Later(place) => {
                    let later = place.borrow_mut().take();
                    if let Some(word) = later {
                        let done = Box::pin(self.bits(&word, quoted, out)).await;
                        // The command may run again.
                        *place.borrow_mut() = Some(word);
                        done?;
                    }
                }
                Part::Parameter(parameter) => Box::pin(self.parameter(parameter, quoted, out)).await?,
            }
        }
        Ok(())
    }

    pub(super) async fn sum(&mut self, word: &Word) -> Result<i64> {
        let text = self.text(word).await?;
        match sum::evaluate(&text, self) {
            Ok(value) => Ok(value),
            Err(why) => {
                self.complain(&why).await;
                Err(Flow::Exit(2))
            }
        }
    }

    /// What commands print, without the newlines at its end.
    async fn output(&mut self, list: &List) -> Result<String> {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let mut shell = self.subshell();
        shell.fds.insert(1, Fd::Kept(kept.clone()));
        self.status = Box::pin(shell.finish(list.clone())).await;
        let bytes = std::mem::take(&mut *kept.borrow_mut());
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').replace('\0', ""))
    }

    fn value(&self, name: &str) -> Option<String> {
        let number = |n: usize| Some(n.to_string());
        match name {
            "?" => Some(self.status.to_string()),
            "#" => number(self.parameters.len()),
            "$" => number(1),
            "!" => self.last_job.map(|id| id.to_string()),
            "-" => Some(self.flags()),
            "@" | "*" => (!self.parameters.is_empty()).then(|| self.parameters.join(" ")),
            "0" => Some(self.name.clone()),
            _ => match name.parse::<usize>() {
                Ok(n) => self.parameters.get(n - 1).cloned(),
                Err(_) => self.get(name).map(str::to_owned),
            },
        }
    }

    fn flags(&self) -> String {
        let o = &self.options;
        let all = [(o.errexit, 'e'), (o.noglob, 'f'), (self.interactive, 'i'), (o.nounset, 'u'), (o.xtrace, 'x')];
        all.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect()
    }

    async fn parameter(&mut self, parameter: &Parameter, quoted: bool, out: &mut Vec<Bit>) -> Result<()> {
        let name = parameter.name.as_str();
        let push = |out: &mut Vec<Bit>, text: String| out.push(Bit::Text { text, quoted, split: !quoted });
        if matches!(name, "@" | "*") && matches!(parameter.change, Change::None) {
            if name == "*" && quoted {
                let ifs = self.get("IFS").map_or(Some(' '), |ifs| ifs.chars().next());
                push(out, self.parameters.join(&ifs.map(String::from).unwrap_or_default()));
                return Ok(());
            }
            for (i, text) in self.parameters.iter().enumerate() {
                if i > 0 {
                    out.push(Bit::Break);
                }
                out.push(Bit::Text { text: text.clone(), quoted, split: !quoted });
            }
            return Ok(());
        }
        let value = self.value(name);
        let unset = value.is_none() && self.options.nounset && !matches!(name, "@" | "*" | "!");
        if unset && !matches!(parameter.change, Change::Default(..)) {
            self.complain(&format!("{name}: parameter not set")).await;
            return Err(Flow::Exit(2));
        }
        match &parameter.change {
            Change::None => push(out, value.unwrap_or_default()),
            Change::Length if matches!(name, "@" | "*") => push(out, self.parameters.len().to_string()),
            Change::Length => push(out, value.unwrap_or_default().chars().count().to_string()),
            Change::Default(kind, empty_too, word) => {
                let there = value.as_ref().is_some_and(|v| !*empty_too || !v.is_empty());
                return Box::pin(self.default(parameter, *kind, there.then_some(value).flatten(), word, quoted, out))
                    .await;
            }
            Change::Cut(side, longest, word) => {
                let pattern = self.pattern(word).await?;
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                push(out, cut(&value, &pattern, *side == '#', *longest));
            }
            Change::Replace(from, to, all) => {
                let (pattern, to) = (self.pattern(from).await?, self.text(to).await?);
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                push(out, replace(&value, &pattern, &to, *all));
            }
            Change::Slice(from, length) => {
                let from = self.sum(from).await?;
                let length = match length {
                    Some(word) => Some(self.sum(word).await?),
                    None => None,
                };
                push(out, slice(&value.unwrap_or_default(), from, length));
            }
        }
        Ok(())
    }

    async fn default(
        &mut self,
        parameter: &Parameter,
        kind: char,
        value: Option<String>,
        word: &Word,
        quoted: bool,
        out: &mut Vec<Bit>,
    ) -> Result<()> {
        match (kind, value) {
            ('+', Some(_)) => self.bits(word, quoted, out).await?,
            ('+', None) => {}
            // As the parameter itself is, which may be several fields.
            (_, Some(_)) => {
                let plain = Parameter { name: parameter.name.clone(), change: Change::None };
                Box::pin(self.parameter(&plain, quoted, out)).await?;
            }
            ('-', None) => {
                let mut bits = Vec::new();
                self.bits(word, quoted, &mut bits).await?;
                out.extend(bits.into_iter().map(|bit| match bit {
                    Bit::Text { text, quoted: false, .. } => Bit::Text { text, quoted: false, split: true },
                    other => other,
                }));
            }
            ('=', None) => {
                let text = self.text(word).await?;
                if let Err(why) = self.set(&parameter.name, text.clone()) {
                    self.complain(&why).await;
                    return Err(Flow::Exit(2));
                }
                out.push(Bit::Text { text, quoted, split: !quoted });
            }
            (_, None) => {
                let text = self.text(word).await?;
                let why = if text.is_empty() { "parameter not set" } else { &text };
                self.complain(&format!("{}: {why}", parameter.name)).await;
                return Err(Flow::Exit(2));
            }
        }
        Ok(())
    }
}

fn is_all(part: &Part) -> bool {
    matches!(part, Part::Parameter(Parameter { name, change: Change::None }) if name == "@")
}

/// Without the longest or shortest beginning (or end) that matches.
fn cut(value: &[char], pattern: &[char], front: bool, longest: bool) -> String {
    let all = 0..=value.len();
    // The length of what is cut.
    let fits = |n: &usize| {
        let piece = if front { &value[..*n] } else { &value[value.len() - *n..] };
        pattern::matches(pattern, piece)
    };
    let found = if longest { all.rev().find(fits) } else { all.into_iter().find(fits) };
    let n = found.unwrap_or(0);
    if front { value[n..].iter().collect() } else { value[..value.len() - n].iter().collect() }
}

fn replace(value: &[char], pattern: &[char], to: &str, all: bool) -> String {
    let (mut out, mut at) = (String::new(), 0);
    while at < value.len() {
        let found = (at + 1..=value.len()).rev().find(|end| pattern::matches(pattern, &value[at..*end]));
        match found {
            Some(end) => {
                out.push_str(to);
                at = end;
                if !all {
                    break;
                }
            }
            None => {
                out.push(value[at]);
                at += 1;
            }
        }
    }
    out.extend(&value[at..]);
    out
}

fn slice(value: &str, from: i64, length: Option<i64>) -> String {
    let chars: Vec<char> = value.chars().collect();
    let count = chars.len() as i64;
    let at = |n: i64| if n < 0 { (count + n).max(0) } else { n.min(count) };
    let from = at(from);
    let end = match length {
        None => count,
        Some(n) if n < 0 => (count + n).max(from),
        Some(n) => from.saturating_add(n).min(count),
    };
    chars[from as usize..end as usize].iter().collect()
}
