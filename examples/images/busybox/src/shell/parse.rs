//! From text to a [`List`].

use std::rc::Rc;

use super::syntax::{Command, Compound, Item, List, Part, Redirect, RedirectKind, Simple, Word};

/// What is wrong with a script.
#[derive(Debug)]
pub enum Wrong {
    /// It goes on in what is not there yet.
    Unfinished,
    /// With the line.
    Syntax(usize, String),
}

pub(super) type Result<T> = std::result::Result<T, Wrong>;

/// How deep commands and expansions may be nested.
const MAX_DEPTH: usize = 100;

pub struct Parser<'a> {
    pub(super) text: &'a [char],
    pub(super) at: usize,
    pub(super) depth: usize,
    /// Here-documents whose text comes with the next line: the end mark, whether tabs are cut, whether it is quoted,
    /// and where to put it.
    heres: Vec<Here>,
    texts: Vec<Rc<std::cell::RefCell<Option<Word>>>>,
}

struct Here {
    mark: String,
    cut_tabs: bool,
    quoted: bool,
    place: usize,
}

const RESERVED: [&str; 15] =
    ["if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "{", "}", "!"];

/// Reads a script.
pub fn parse(text: &str) -> Result<List> {
    let chars: Vec<char> = text.chars().collect();
    let mut parser = Parser::new(&chars);
    let list = parser.list(&[])?;
    if parser.at < chars.len() {
        return Err(parser.unexpected());
    }
    Ok(list)
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [char]) -> Self {
        Self { text, at: 0, depth: 0, heres: Vec::new(), texts: Vec::new() }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn looks_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.looks_at(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    pub(super) fn wrong(&self, why: impl Into<String>) -> Wrong {
        let line = self.text[..self.at.min(self.text.len())].iter().filter(|c| **c == '\n').count() + 1;
        Wrong::Syntax(line, why.into())
    }

    pub(super) fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.wrong("nested too deep")) } else { Ok(()) }
    }

    pub(super) fn unexpected(&mut self) -> Wrong {
        self.blanks();
        let at = self.at;
        match self.peek() {
            None => return Wrong::Unfinished,
            Some('\n') => return self.wrong("unexpected newline"),
            Some(_) => {}
        }
        let mut word: String = self.plain_word();
        if word.is_empty() {
            word = self.text[at..].iter().take_while(|c| "&|;()<>".contains(**c)).take(2).collect();
        }
        self.wrong(format!("unexpected \"{word}\""))
    }

    /// Skips blanks, joined lines and a comment.
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.text.get(self.at + 1) == Some(&'\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    pub(super) fn newlines(&mut self) -> Result<()> {
        loop {
            self.blanks();
            if self.peek() != Some('\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    /// The end of a line, behind which the here-documents are that it asked for.
    fn newline(&mut self) -> Result<()> {
        self.at += 1;
        for here in std::mem::take(&mut self.heres) {
            let mut text = String::new();
            loop {
                if self.at >= self.text.len() {
                    return Err(Wrong::Unfinished);
                }
                let mut line: String = self.text[self.at..].iter().take_while(|c| **c != '\n').collect();
                self.at = (self.at + line.chars().count() + 1).min(self.text.len());
                if here.cut_tabs {
                    line = line.trim_start_matches('\t').to_owned();
                }
                if line == here.mark {
                    break;
                }
                text.push_str(&line);
                text.push('\n');
            }
            let word = if here.quoted { vec![Part::Quoted(text)] } else { here_text(&text)? };
            *self.texts[here.place].borrow_mut() = Some(word);
        }
        Ok(())
    }

    /// The word here, if it is plain text that ends where a word ends.
    pub(super) fn plain_word(&self) -> String {
        self.text[self.at..].iter().take_while(|c| !" \t\r\n;&|()<>\"'\\$`".contains(**c)).collect()
    }

    fn reserved(&self) -> Option<&'static str> {
        let word = self.plain_word();
        let next = self.text.get(self.at + word.chars().count());
        if next.is_some_and(|c| "\"'\\$`".contains(*c)) {
            return None;
        }
        RESERVED.iter().copied().find(|reserved| *reserved == word)
    }

    pub(super) fn keyword(&mut self, word: &str) -> bool {
        self.blanks();
        let found = self.reserved() == Some(word);
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<()> {
        self.newlines()?;
        if self.keyword(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Commands up to one of the words (or `)`, `;;`), which is left, or up to the end.
    pub(super) fn list(&mut self, ends: &[&str]) -> Result<List> {
        self.deeper()?;
        let mut items = Vec::new();
        loop {
            self.newlines()?;
            if self.peek().is_none() {
                if ends.is_empty() {
                    break;
                }
                return Err(Wrong::Unfinished);
            }
            if ends.iter().any(|end| {
                self.reserved() == Some(end) || !end.starts_with(|c: char| c.is_ascii_lowercase()) && self.looks_at(end)
            }) {
                break;
            }
            let command = self.and_or()?;
            self.blanks();
            let background = self.peek() == Some('&');
            items.push(Item { command, background });
            match self.peek() {
                Some(';') if self.looks_at(";;") => {}
                Some(';' | '&') => self.at += 1,
                Some('\n') => self.newline()?,
                None => {}
                Some(')') if ends.contains(&")") => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
        if self.peek().is_none() && !self.heres.is_empty() {
            return Err(Wrong::Unfinished);
        }
        self.depth -= 1;
        Ok(Rc::new(items))
    }

    fn and_or(&mut self) -> Result<Rc<Command>> {
        let mut left = self.pipeline()?;
        loop {
            self.blanks();
            let and = match () {
                () if self.take("&&") => true,
                () if self.take("||") => false,
                () => return Ok(left),
            };
            self.newlines()?;
            let right = self.pipeline()?;
            left = Rc::new(if and { Command::And(left, right) } else { Command::Or(left, right) });
        }
    }

    fn pipeline(&mut self) -> Result<Rc<Command>> {
        let mut not = false;
        while self.keyword("!") {
            not = !not;
        }
        let mut stages = vec![Rc::new(self.command()?)];
        loop {
            self.blanks();
            if self.peek() != Some('|') || self.looks_at("||") {
                break;
            }
            self.at += 1;
            self.newlines()?;
            stages.push(Rc::new(self.command()?));
        }
        Ok(match (not, stages.len()) {
            (false, 1) => stages.remove(0),
            _ => Rc::new(Command::Pipeline(not, stages)),
        })
    }

    fn command(&mut self) -> Result<Command> {
        self.blanks();
        let compound = if self.peek() == Some('(') {
            self.at += 1;
            let list = self.list(&[")"])?;
            self.at += 1;
            Compound::Subshell(list)
        } else {
            match self.reserved() {
                Some("{") => {
                    self.at += 1;
                    let list = self.list(&["}"])?;
                    self.at += 1;
                    Compound::Group(list)
                }
                Some("if") => self.branches()?,
                Some("for") => self.for_loop()?,
                Some("case") => self.case()?,
                Some(word @ ("while" | "until")) => {
                    self.at += word.len();
                    let condition = self.list(&["do"])?;
                    Compound::Loop { until: word == "until", condition, body: self.do_group()? }
                }
                Some(_) => return Err(self.unexpected()),
                None => return self.simple(),
            }
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(Command::Compound(compound, redirects))
    }

    fn simple(&mut self) -> Result<Command> {
        let mut simple = Simple::default();
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                simple.redirects.push(redirect);
                continue;
            }
            let begin = self.at;
            let Some(word) = self.word()? else { break };
            if simple.words.is_empty() && self.function(begin)? {
                let name = self.text[begin..].iter().take_while(|c| !" \t(".contains(**c)).collect();
                self.newlines()?;
                return Ok(Command::Function(name, Rc::new(self.command()?)));
            }
            match assignment(word) {
                Ok(assign) if simple.words.is_empty() => simple.assigns.push(assign),
                Ok((name, mut value)) => {
                    value.insert(0, Part::Plain(format!("{name}=")));
                    simple.words.push(value);
                }
                Err(word) => simple.words.push(word),
            }
        }
        if simple.assigns.is_empty() && simple.words.is_empty() && simple.redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command::Simple(simple))
    }

    /// Whether the word that began at `begin` is followed by `()`, which is skipped.
    fn function(&mut self, begin: usize) -> Result<bool> {
        let name: String = self.text[begin..self.at].iter().collect();
        let before = self.at;
        self.blanks();
        if self.peek() == Some('(') && name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
            self.at += 1;
            self.blanks();
            if self.take(")") {
                return Ok(true);
            }
            return Err(self.unexpected());
        }
        self.at = before;
        Ok(false)
    }

    fn redirect(&mut self) -> Result<Option<Redirect>> {
        self.blanks();
        let begin = self.at;
        let digits = self.text[begin..].iter().take_while(|c| c.is_ascii_digit()).count();
        let fd: Option<u32> = self.text[begin..begin + digits].iter().collect::<String>().parse().ok();
        self.at += digits;
        const OPERATORS: [(&str, RedirectKind); 11] = [
            ("<<<", RedirectKind::Here),
            ("<<-", RedirectKind::Here),
            ("<<", RedirectKind::Here),
            ("<&", RedirectKind::Like),
            ("<>", RedirectKind::ReadWrite),
            ("<", RedirectKind::Read),
            (">>", RedirectKind::Append),
            (">&", RedirectKind::Like),
            (">|", RedirectKind::Write),
            (">", RedirectKind::Write),
            ("&>", RedirectKind::Both),
        ];
        let Some((operator, kind)) = OPERATORS.iter().copied().find(|(operator, _)| self.looks_at(operator)) else {
            self.at = begin;
            return Ok(None);
        };
        self.at += operator.len();
        self.blanks();
        let from = self.at;
        let mut target = self.word()?.ok_or_else(|| self.unexpected())?;
        if operator == "<<" || operator == "<<-" {
            let raw: String = self.text[from..self.at].iter().collect();
            let mark: String = raw.chars().filter(|c| !"'\"\\".contains(*c)).collect();
            let place = Rc::new(std::cell::RefCell::new(None));
            self.heres.push(Here { quoted: mark != raw, cut_tabs: operator == "<<-", mark, place: self.texts.len() });
            self.texts.push(place.clone());
            target = vec![Part::Later(place)];
        } else if operator == "<<<" {
            target.push(Part::Quoted("\n".to_owned()));
        }
        let standard = if operator.starts_with('<') { 0 } else { 1 };
        Ok(Some(Redirect { fd: fd.unwrap_or(standard), kind, target }))
    }
}

/// A here-document's text, in which parameters are expanded.
fn here_text(text: &str) -> Result<Word> {
    let chars: Vec<char> = text.chars().collect();
    let mut parser = Parser::new(&chars);
    Ok(vec![Part::Double(parser.quoted_until(None)?)])
}

/// Whether it can be a variable's name.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Takes `NAME=value` apart.
fn assignment(mut word: Word) -> std::result::Result<(String, Word), Word> {
    let Some(Part::Plain(first)) = word.first() else { return Err(word) };
    let Some((name, rest)) = first.split_once('=').filter(|(name, _)| is_name(name)) else { return Err(word) };
    let (name, rest) = (name.to_owned(), rest.to_owned());
    word[0] = Part::Plain(rest);
    Ok((name, word))
}
