//! What a program does with a record.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::rc::Rc;

use super::syntax::{Expr, Pattern, Program, Statement, Target};
use super::value::{Array, Value, Variable};
use crate::regex::Regex;
use crate::tools::Call;

/// What ends more than a statement.
pub enum Flow {
    Next,
    Exit,
    Return(Value),
    Break,
    Continue,
    Wrong(String),
}

pub type Done<T> = Result<T, Flow>;

pub fn wrong<T>(why: impl Into<String>) -> Done<T> {
    Err(Flow::Wrong(why.into()))
}

pub struct Machine<'a> {
    pub call: &'a Call,
    pub program: &'a Program,
    globals: HashMap<Rc<str>, Variable>,
    pub(super) frames: Vec<HashMap<Rc<str>, Variable>>,
    pub record: Rc<str>,
    pub(super) fields: Vec<Rc<str>>,
    /// Which ranges have begun.
    inside: Vec<bool>,
    regexes: HashMap<Rc<str>, Rc<Regex>>,
    /// What is to be printed.
    pub out: Vec<u8>,
    /// What other programs are to read, by their command.
    pub pipes: BTreeMap<String, Vec<u8>>,
    written: HashMap<String, std::fs::File>,
    pub(super) read: HashMap<String, VecDeque<String>>,
    /// Records that are here already, for a program that asks for them itself.
    pub ahead: VecDeque<String>,
    pub status: i32,
    pub seed: f64,
}

impl<'a> Machine<'a> {
    pub fn new(call: &'a Call, program: &'a Program) -> Self {
        let mut machine = Self {
            call,
            program,
            globals: HashMap::new(),
            frames: Vec::new(),
            record: "".into(),
            fields: Vec::new(),
            inside: vec![false; program.ranges],
            regexes: HashMap::new(),
            out: Vec::new(),
            pipes: BTreeMap::new(),
            written: HashMap::new(),
            read: HashMap::new(),
            ahead: VecDeque::new(),
            status: 0,
            seed: 0.0,
        };
        for (name, text) in
            [("FS", " "), ("OFS", " "), ("ORS", "\n"), ("RS", "\n"), ("SUBSEP", "\u{1c}"), ("FILENAME", "")]
        {
            machine.set(name, Value::text(text));
        }
        let environment = call.shell.environment().into_iter().map(|(name, value)| (name, Value::input(value)));
        machine.array("ENVIRON").borrow_mut().extend(environment);
        machine
    }

    pub(super) fn variable(&mut self, name: &str) -> &mut Variable {
        let local = self.frames.last().is_some_and(|frame| frame.contains_key(name));
        let scope = match self.frames.last_mut() {
            Some(frame) if local => frame,
            _ => &mut self.globals,
        };
        if !scope.contains_key(name) {
            scope.insert(name.into(), Variable::default());
        }
        scope.entry(name.into()).or_default()
    }

    pub fn get(&mut self, name: &str) -> Value {
        match name {
            "NF" => Value::Number(self.fields.len() as f64),
            _ => self.variable(name).value.clone(),
        }
    }

    pub fn set(&mut self, name: &str, value: Value) {
        if name == "NF" {
            let count = value.number().clamp(0.0, 1e6) as usize;
            self.fields.resize(count, "".into());
            self.join_fields();
        } else {
            self.variable(name).value = value;
        }
    }

    pub fn array(&mut self, name: &str) -> Array {
        self.variable(name).array.clone()
    }

    /// The next record.
    pub fn take_record(&mut self, text: &str) {
        self.count_record();
        self.set_record(text);
    }

    pub(super) fn count_record(&mut self) {
        for name in ["NR", "FNR"] {
            let count = self.get(name).number() + 1.0;
            self.set(name, Value::Number(count));
        }
    }

    pub(super) fn set_record(&mut self, text: &str) {
        self.record = text.into();
        let separator = self.get("FS").string();
        let paragraphs = self.get("RS").string().is_empty();
        self.fields = self.split(text, &separator, paragraphs).unwrap_or_default();
    }

    pub(super) fn join_fields(&mut self) {
        let separator = self.get("OFS").string();
        self.record = self.fields.join(&*separator).into();
    }

    /// The parts of a text by a separator, as fields are told apart; by lines as well where records are paragraphs.
    pub fn split(&mut self, text: &str, separator: &Rc<str>, lines: bool) -> Done<Vec<Rc<str>>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let mut chars = separator.chars();
        Ok(match (chars.next(), chars.next()) {
            (None, _) => text.chars().map(|c| c.to_string().into()).collect(),
            (Some(' '), None) => text.split_ascii_whitespace().map(Rc::from).collect(),
            (Some(c), None) => text.split(|found| found == c || lines && found == '\n').map(Rc::from).collect(),
            _ => self.regex_of(separator)?.split(text),
        })
    }

    fn regex_of(&mut self, text: &Rc<str>) -> Done<Rc<Regex>> {
        if let Some(regex) = self.regexes.get(text) {
            return Ok(regex.clone());
        }
        let regex = Rc::new(Regex::new(text, true, false).map_err(Flow::Wrong)?);
        self.regexes.insert(text.clone(), regex.clone());
        Ok(regex)
    }

    /// An expression as a pattern, whether it is written as one or holds one.
    pub fn regex(&mut self, expr: &Expr) -> Done<Rc<Regex>> {
        if let Expr::Regex(regex) = expr {
            return Ok(regex.clone());
        }
        let text = self.value(expr)?.string();
        self.regex_of(&text)
    }

    /// Runs the rules for the record that is there.
    pub fn rules(&mut self) -> Done<()> {
        for (pattern, body) in &self.program.rules {
            let applies = match pattern {
                Pattern::Always => true,
                Pattern::When(condition) => self.value(condition)?.is_true(),
                Pattern::Range(from, to, number) => {
                    let begun = self.inside[*number] || self.value(from)?.is_true();
                    self.inside[*number] = begun && !self.value(to)?.is_true();
                    begun
                }
            };
            if !applies {
                continue;
            }
            match body {
                Some(body) => self.statement(body)?,
                None => self.print(&[], false, &Target::Stdout)?,
            }
        }
        Ok(())
    }

    pub fn statement(&mut self, statement: &Statement) -> Done<()> {
        match statement {
            Statement::Expr(expr) => self.value(expr).map(drop),
            Statement::Print(parts, by_format, target) => self.print(parts, *by_format, target),
            Statement::Block(all) => all.iter().try_for_each(|one| self.statement(one)),
            Statement::If(condition, then, other) => match (self.value(condition)?.is_true(), other) {
                (true, _) => self.statement(then),
                (false, Some(other)) => self.statement(other),
                (false, None) => Ok(()),
            },
            Statement::While(condition, body) => {
                while self.value(condition)?.is_true() && self.turn(body)? {}
                Ok(())
            }
            Statement::Do(body, condition) => {
                while self.turn(body)? && self.value(condition)?.is_true() {}
                Ok(())
            }
            Statement::For(first, condition, step, body) => {
                if let Some(first) = first {
                    self.statement(first)?;
                }
                loop {
                    let goes_on = match condition {
                        Some(condition) => self.value(condition)?.is_true(),
                        None => true,
                    };
                    if !goes_on || !self.turn(body)? {
                        return Ok(());
                    }
                    if let Some(step) = step {
                        self.statement(step)?;
                    }
                }
            }
            Statement::Each(name, array, body) => {
                let keys: Vec<String> = self.array(array).borrow().keys().cloned().collect();
                for key in keys {
                    self.set(name, Value::input(key));
                    if !self.turn(body)? {
                        break;
                    }
                }
                Ok(())
            }
            Statement::Delete(array, subscript) => {
                let array = self.array(array);
                match subscript {
                    Some(parts) => drop(array.borrow_mut().remove(&self.subscript(parts)?)),
                    None => array.borrow_mut().clear(),
                }
                Ok(())
            }
            Statement::Next => Err(Flow::Next),
            Statement::Break => Err(Flow::Break),
            Statement::Continue => Err(Flow::Continue),
            Statement::Exit(code) => {
                if let Some(code) = code {
                    self.status = self.value(code)?.number() as i32;
                }
                Err(Flow::Exit)
            }
            Statement::Return(value) => {
                let value = value.as_ref().map_or(Ok(Value::Unset), |value| self.value(value))?;
                Err(Flow::Return(value))
            }
        }
    }

    /// One turn of a loop; whether it goes on.
    fn turn(&mut self, body: &Statement) -> Done<bool> {
        match self.statement(body) {
            Ok(()) | Err(Flow::Continue) => Ok(true),
            Err(Flow::Break) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn print(&mut self, parts: &[Expr], by_format: bool, target: &Target) -> Done<()> {
        let values = parts.iter().map(|part| self.value(part)).collect::<Done<Vec<_>>>()?;
        let bytes = if by_format {
            super::functions::format(&values)
        } else {
            let separator = self.get("OFS").string();
            let texts: Vec<Rc<str>> = values.iter().map(Value::string).collect();
            let line = if texts.is_empty() { self.record.to_string() } else { texts.join(&*separator) };
            (line + &self.get("ORS").string()).into_bytes()
        };
        match target {
            Target::Stdout => self.out.extend(bytes),
            Target::Pipe(command) => {
                let command = self.value(command)?.string();
                self.pipes.entry(command.to_string()).or_default().extend(bytes);
            }
            Target::File(name) => self.write(name, false, &bytes)?,
            Target::Append(name) => self.write(name, true, &bytes)?,
        }
        Ok(())
    }

    fn write(&mut self, name: &Expr, append: bool, bytes: &[u8]) -> Done<()> {
        let name = self.value(name)?.string().to_string();
        if name == "/dev/stdout" {
            self.out.extend(bytes);
            return Ok(());
        }
        if name == "/dev/stderr" {
            self.pipes.entry("cat >&2".to_owned()).or_default().extend(bytes);
            return Ok(());
        }
        let told = |error: std::io::Error| Flow::Wrong(crate::tools::about(&name, &error));
        if !self.written.contains_key(&name) {
            let mut options = OpenOptions::new();
            let options = options.create(true).write(true).append(append).truncate(!append);
            self.written.insert(name.clone(), options.open(self.call.path(&name)).map_err(told)?);
        }
        self.written.get_mut(&name).map_or(Ok(()), |file| file.write_all(bytes)).map_err(told)
    }

    /// Forgets a file that was read or written.
    pub fn close(&mut self, name: &str) -> bool {
        self.written.remove(name).is_some() | self.read.remove(name).is_some()
    }
}
