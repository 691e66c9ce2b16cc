//! Words: quotes, parameters, substitutions.

use super::parse::{Parser, Wrong};
use super::syntax::{Change, Parameter, Part, Word};

type Result<T> = std::result::Result<T, Wrong>;

impl Parser<'_> {
    /// The word that begins here, if one does.
    pub(super) fn word(&mut self) -> Result<Option<Word>> {
        let begin = self.at;
        let word = self.word_until(|c| " \t\r\n;&|()<>".contains(c))?;
        Ok((self.at > begin).then_some(word))
    }

    fn word_until(&mut self, ends: impl Fn(char) -> bool) -> Result<Word> {
        let (mut word, mut plain) = (Word::new(), String::new());
        while let Some(c) = self.peek().filter(|c| !ends(*c)) {
            if !"\\'\"$`".contains(c) {
                plain.push(c);
                self.at += 1;
                continue;
            }
            if !plain.is_empty() {
                word.push(Part::Plain(std::mem::take(&mut plain)));
            }
            match c {
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => {}
                        Some(c) => word.push(Part::Quoted(c.to_string())),
                        None => word.push(Part::Quoted("\\".to_owned())),
                    }
                    self.at = (self.at + 1).min(self.text.len());
                }
                '\'' => word.push(Part::Quoted(self.single()?)),
                '"' => {
                    self.at += 1;
                    word.push(Part::Double(self.quoted_until(Some('"'))?));
                }
                _ => match self.dollar()? {
                    Some(part) => word.push(part),
                    None => plain.push('$'),
                },
            }
        }
        if !plain.is_empty() {
            word.push(Part::Plain(plain));
        }
        Ok(word)
    }

    fn single(&mut self) -> Result<String> {
        self.at += 1;
        let text: String = self.text[self.at..].iter().take_while(|c| **c != '\'').collect();
        self.at += text.chars().count() + 1;
        if self.at > self.text.len() { Err(Wrong::Unfinished) } else { Ok(text) }
    }

    /// Text in which only `$`, `` ` `` and some backslashes mean something, up to `end`, which is skipped.
    pub(super) fn quoted_until(&mut self, end: Option<char>) -> Result<Word> {
        let (mut word, mut plain) = (Word::new(), String::new());
        loop {
            let Some(c) = self.peek() else {
                if end.is_some() {
                    return Err(Wrong::Unfinished);
                }
                break;
            };
            if Some(c) == end {
                self.at += 1;
                break;
            }
            match c {
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => self.at += 1,
                        Some(c) if "$`\\".contains(c) || Some(c) == end => {
                            plain.push(c);
                            self.at += 1;
                        }
                        _ => plain.push('\\'),
                    }
                }
                '$' | '`' => match self.dollar()? {
                    Some(part) => {
                        if !plain.is_empty() {
                            word.push(Part::Quoted(std::mem::take(&mut plain)));
                        }
                        word.push(part);
                    }
                    None => plain.push('$'),
                },
                _ => {
                    plain.push(c);
                    self.at += 1;
                }
            }
        }
        if !plain.is_empty() {
            word.push(Part::Quoted(plain));
        }
        Ok(word)
    }

    /// What a dollar sign or backquote begins; nothing if the dollar stands for itself (it is skipped).
    fn dollar(&mut self) -> Result<Option<Part>> {
        self.deeper()?;
        let part = if self.take("`") {
            Some(self.backquoted()?)
        } else if self.take("$((") {
            let begin = self.at;
            match self.sum() {
                Ok(sum) => Some(sum),
                Err(_) => {
                    // `$( (…) )` without the blank.
                    self.at = begin - 1;
                    Some(self.output()?)
                }
            }
        } else if self.take("$(") {
            Some(self.output()?)
        } else if self.take("${") {
            Some(Part::Parameter(self.braced()?))
        } else if self.looks_at("$'") {
            self.at += 1;
            Some(Part::Quoted(self.escaped()?))
        } else {
            self.at += 1;
            let name = self.name();
            if name.is_empty() { None } else { Some(Part::Parameter(Parameter { name, change: Change::None })) }
        };
        self.depth -= 1;
        Ok(part)
    }

    fn output(&mut self) -> Result<Part> {
        let list = self.list(&[")"])?;
        self.at += 1;
        Ok(Part::Output(list))
    }

    fn backquoted(&mut self) -> Result<Part> {
        let mut inner = String::new();
        loop {
            let c = self.peek().ok_or(Wrong::Unfinished)?;
            self.at += 1;
            match c {
                '`' => break,
                '\\' if self.peek().is_some_and(|c| "$`\\".contains(c)) => {
                    inner.extend(self.peek());
                    self.at += 1;
                }
                c => inner.push(c),
            }
        }
        let chars: Vec<char> = inner.chars().collect();
        let mut parser = Parser::new(&chars);
        parser.depth = self.depth;
        parser.list(&[]).map(Part::Output)
    }

    /// `$'…'`, with escapes.
    fn escaped(&mut self) -> Result<String> {
        let mut raw = String::new();
        self.at += 1;
        loop {
            let c = self.peek().ok_or(Wrong::Unfinished)?;
            self.at += 1;
            match c {
                '\'' => break,
                '\\' => {
                    raw.push(c);
                    raw.extend(self.peek());
                    self.at += 1;
                }
                c => raw.push(c),
            }
        }
        let bytes = crate::tools::print::unescape(&raw.replace("\\'", "'").replace("\\\"", "\"")).0;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn sum(&mut self) -> Result<Part> {
        let (mut word, mut open) = (Word::new(), 0);
        loop {
            word.extend(self.word_until(|c| c == '(' || c == ')')?);
            match self.peek() {
                Some('(') => open += 1,
                Some(_) if open == 0 && self.take("))") => return Ok(Part::Sum(word)),
                Some(_) if open > 0 => open -= 1,
                Some(_) => return Err(self.wrong("missing ))")),
                None => return Err(Wrong::Unfinished),
            }
            word.push(Part::Plain(self.text[self.at].to_string()));
            self.at += 1;
        }
    }

    /// A parameter's name: a variable's, digits or one special sign.
    fn name(&mut self) -> String {
        let begin = self.at;
        match self.peek() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
            }
            Some(c) if c.is_ascii_digit() || "?#@*!$-".contains(c) => self.at += 1,
            _ => {}
        }
        self.text[begin..self.at].iter().collect()
    }

    /// Behind `${`.
    fn braced(&mut self) -> Result<Parameter> {
        let end = |c: char| c == '}';
        if self.looks_at("#") && !self.looks_at("#}") && !self.looks_at("#:") && !self.looks_at("##") {
            self.at += 1;
            let name = self.long_name();
            return self.closed(Parameter { name, change: Change::Length });
        }
        let name = self.long_name();
        if name.is_empty() {
            return Err(self.wrong("bad substitution"));
        }
        let colon = self.take(":");
        let change = match self.peek() {
            Some(c @ ('-' | '=' | '?' | '+')) => {
                self.at += 1;
                Change::Default(c, colon, self.word_until(end)?)
            }
            Some('}') if !colon => Change::None,
            Some(c @ ('#' | '%')) if !colon => {
                self.at += 1;
                let longest = self.take(&c.to_string());
                Change::Cut(c, longest, self.word_until(end)?)
            }
            Some('/') if !colon => {
                self.at += 1;
                let all = self.take("/");
                let pattern = self.word_until(|c| c == '}' || c == '/')?;
                let with = if self.take("/") { self.word_until(end)? } else { Word::new() };
                Change::Replace(pattern, with, all)
            }
            Some(_) if colon => {
                let from = self.word_until(|c| c == '}' || c == ':')?;
                let length = if self.take(":") { Some(self.word_until(end)?) } else { None };
                Change::Slice(from, length)
            }
            None => return Err(Wrong::Unfinished),
            Some(_) => return Err(self.wrong("bad substitution")),
        };
        self.closed(Parameter { name, change })
    }

    fn long_name(&mut self) -> String {
        let digits: String = self.text[self.at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        if !digits.is_empty() {
            self.at += digits.len();
            return digits;
        }
        self.name()
    }

    fn closed(&mut self, parameter: Parameter) -> Result<Parameter> {
        match self.take("}") {
            true => Ok(parameter),
            false if self.peek().is_none() => Err(Wrong::Unfinished),
            false => Err(self.wrong(format!("bad substitution of {}", parameter.name))),
        }
    }
}
