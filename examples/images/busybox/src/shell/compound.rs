//! Compound commands: `if`, `for`, `case`, and the bodies of loops.

use super::parse::{Parser, Result, is_name};
use super::syntax::{Branch, Compound, List};

impl Parser<'_> {
    pub(super) fn do_group(&mut self) -> Result<List> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    pub(super) fn branches(&mut self) -> Result<Compound> {
        self.at += 2;
        let mut branches = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            branches.push((condition, self.list(&["elif", "else", "fi"])?));
            if !self.keyword("elif") {
                break;
            }
        }
        let otherwise = if self.keyword("else") { Some(self.list(&["fi"])?) } else { None };
        self.expect("fi")?;
        Ok(Compound::If(branches, otherwise))
    }

    pub(super) fn for_loop(&mut self) -> Result<Compound> {
        self.at += 3;
        self.blanks();
        let name = self.plain_word();
        if !is_name(&name) {
            return Err(self.wrong("bad for loop variable"));
        }
        self.at += name.chars().count();
        self.newlines()?;
        let mut words = None;
        if self.plain_word() == "in" {
            self.at += 2;
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.word()? {
                    Some(word) => list.push(word),
                    None => break,
                }
            }
            words = Some(list);
        }
        self.blanks();
        if self.peek() == Some(';') {
            self.at += 1;
        }
        Ok(Compound::For(name, words, self.do_group()?))
    }

    pub(super) fn case(&mut self) -> Result<Compound> {
        self.at += 4;
        self.blanks();
        let subject = self.word()?.ok_or_else(|| self.unexpected())?;
        self.newlines()?;
        if self.plain_word() != "in" {
            return Err(self.unexpected());
        }
        self.at += 2;
        let mut branches = Vec::new();
        loop {
            self.newlines()?;
            if self.keyword("esac") {
                return Ok(Compound::Case(subject, branches));
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?.ok_or_else(|| self.unexpected())?);
                self.blanks();
                match self.peek() {
                    Some('|') => self.at += 1,
                    Some(')') => break,
                    _ => return Err(self.unexpected()),
                }
            }
            self.at += 1;
            let body = self.list(&[";;", "esac"])?;
            self.take(";;");
            branches.push(Branch { patterns, body });
        }
    }
}
