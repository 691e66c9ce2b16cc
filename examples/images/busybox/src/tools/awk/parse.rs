//! From words to rules.

use std::rc::Rc;

use super::lex::{KEYWORDS, Token, tokens};
use super::syntax::{Expr, Function, Pattern, Program, Statement, Target};

/// How deep a program may be nested.
const MAX_DEPTH: usize = 60;

pub type Parsed<T> = Result<T, String>;

pub struct Parser {
    tokens: Vec<Token>,
    pub(super) at: usize,
    depth: usize,
    /// `>` redirects and does not compare.
    pub(super) printing: bool,
    pub(super) reads: bool,
}

/// Reads a program.
pub fn parse(text: &str) -> Parsed<Program> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, printing: false, reads: false };
    let mut program = Program::default();
    loop {
        parser.separators();
        match parser.peek().clone() {
            Token::End => break,
            Token::Name(name) if name == "BEGIN" || name == "END" => {
                parser.at += 1;
                let block = parser.block()?;
                if name == "BEGIN" { program.begin.push(block) } else { program.end.push(block) }
            }
            Token::Name(name) if name == "function" || name == "func" => parser.function(&mut program)?,
            _ => parser.rule(&mut program)?,
        }
    }
    program.reads = parser.reads;
    Ok(program)
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    pub(super) fn take(&mut self, op: &str) -> bool {
        let found = matches!(self.peek(), Token::Op(o) if *o == op);
        self.at += usize::from(found);
        found
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(name) if name == word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, op: &str) -> Parsed<()> {
        if self.take(op) { Ok(()) } else { Err(format!("syntax error: {op:?} expected, not {:?}", self.peek())) }
    }

    pub(super) fn newlines(&mut self) {
        while *self.peek() == Token::Newline {
            self.at += 1;
        }
    }

    fn separators(&mut self) {
        while matches!(self.peek(), Token::Newline | Token::Op(";")) {
            self.at += 1;
        }
    }

    pub(super) fn name(&mut self) -> Parsed<Rc<str>> {
        match self.peek().clone() {
            Token::Name(name) | Token::Called(name) if !KEYWORDS.contains(&name.as_str()) => {
                self.at += 1;
                Ok(name.into())
            }
            other => Err(format!("syntax error: a name expected, not {other:?}")),
        }
    }

    fn function(&mut self, program: &mut Program) -> Parsed<()> {
        self.at += 1;
        let name = self.name()?;
        self.expect("(")?;
        let mut parameters = Vec::new();
        while !self.take(")") {
            parameters.push(self.name()?);
            self.take(",");
        }
        self.newlines();
        let body = self.block()?;
        program.functions.insert(name, Rc::new(Function { parameters, body }));
        Ok(())
    }

    fn rule(&mut self, program: &mut Program) -> Parsed<()> {
        let pattern = if matches!(self.peek(), Token::Op("{")) {
            Pattern::Always
        } else {
            let from = self.expr()?;
            if self.take(",") {
                self.newlines();
                program.ranges += 1;
                Pattern::Range(from, self.expr()?, program.ranges - 1)
            } else {
                Pattern::When(from)
            }
        };
        let body = if matches!(self.peek(), Token::Op("{")) { Some(self.block()?) } else { None };
        program.rules.push((pattern, body));
        Ok(())
    }

    fn block(&mut self) -> Parsed<Statement> {
        self.expect("{")?;
        let mut all = Vec::new();
        self.separators();
        while !self.take("}") {
            all.push(self.statement()?);
            self.separators();
        }
        Ok(Statement::Block(all))
    }

    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("nested too deep".to_owned());
        }
        let found = inner(self);
        self.depth -= 1;
        found
    }

    fn statement(&mut self) -> Parsed<Statement> {
        self.deeper(Self::any_statement)
    }

    /// What an `if` or a loop holds.
    fn body(&mut self) -> Parsed<Box<Statement>> {
        self.newlines();
        if self.take(";") {
            return Ok(Box::new(Statement::Block(Vec::new())));
        }
        Ok(Box::new(self.statement()?))
    }

    fn any_statement(&mut self) -> Parsed<Statement> {
        if matches!(self.peek(), Token::Op("{")) {
            return self.block();
        }
        let Token::Name(name) = self.peek().clone() else { return self.simple() };
        let compound = ["if", "while", "do", "for"].contains(&name.as_str());
        if !compound {
            let simple = self.simple()?;
            return match self.peek() {
                Token::Op(";" | "}") | Token::Newline | Token::End => Ok(simple),
                other => Err(format!("syntax error at {other:?}")),
            };
        }
        self.at += 1;
        match name.as_str() {
            "if" => {
                let condition = self.bracketed()?;
                let then = self.body()?;
                let before = self.at;
                self.separators();
                if !self.word("else") {
                    self.at = before;
                    return Ok(Statement::If(condition, then, None));
                }
                Ok(Statement::If(condition, then, Some(self.body()?)))
            }
            "while" => Ok(Statement::While(self.bracketed()?, self.body()?)),
            "do" => {
                let body = self.body()?;
                self.separators();
                if !self.word("while") {
                    return Err("syntax error: while expected".to_owned());
                }
                Ok(Statement::Do(body, self.bracketed()?))
            }
            _ => self.for_loop(),
        }
    }

    fn bracketed(&mut self) -> Parsed<Expr> {
        self.expect("(")?;
        let inner = self.whole()?;
        self.expect(")")?;
        Ok(inner)
    }

    fn for_loop(&mut self) -> Parsed<Statement> {
        self.expect("(")?;
        let before = self.at;
        if let (Ok(variable), true) = (self.name(), self.word("in")) {
            let array = self.name()?;
            if self.take(")") {
                return Ok(Statement::Each(variable, array, self.body()?));
            }
        }
        self.at = before;
        let part = |parser: &mut Self, end: &str| -> Parsed<Option<Box<Statement>>> {
            if parser.take(end) {
                return Ok(None);
            }
            let simple = parser.simple()?;
            parser.expect(end)?;
            Ok(Some(Box::new(simple)))
        };
        let first = part(self, ";")?;
        self.newlines();
        let condition = if self.take(";") {
            None
        } else {
            let condition = self.expr()?;
            self.expect(";")?;
            Some(condition)
        };
        self.newlines();
        let step = part(self, ")")?;
        Ok(Statement::For(first, condition, step, self.body()?))
    }

    fn ends(&self) -> bool {
        matches!(self.peek(), Token::Op(";" | "}" | ")") | Token::Newline | Token::End)
    }

    /// A statement that holds no others.
    fn simple(&mut self) -> Parsed<Statement> {
        let Token::Name(name) = self.peek().clone() else { return Ok(Statement::Expr(self.expr()?)) };
        let optional = |parser: &mut Self| -> Parsed<Option<Expr>> {
            if parser.ends() { Ok(None) } else { parser.expr().map(Some) }
        };
        if KEYWORDS.contains(&name.as_str()) {
            self.at += 1;
        }
        Ok(match name.as_str() {
            "next" | "nextfile" => Statement::Next,
            "break" => Statement::Break,
            "continue" => Statement::Continue,
            "exit" => Statement::Exit(optional(self)?),
            "return" => Statement::Return(optional(self)?),
            "delete" => {
                let array = self.name()?;
                let subscript = if self.take("[") { Some(self.list("]")?) } else { None };
                Statement::Delete(array, subscript)
            }
            "print" | "printf" => self.print(name == "printf")?,
            "getline" => {
                self.at -= 1;
                Statement::Expr(self.expr()?)
            }
            other if KEYWORDS.contains(&other) => return Err(format!("syntax error at {other}")),
            _ => Statement::Expr(self.expr()?),
        })
    }

    fn print(&mut self, by_format: bool) -> Parsed<Statement> {
        let before = std::mem::replace(&mut self.printing, true);
        let found = self.print_parts(by_format);
        self.printing = before;
        found
    }

    fn print_parts(&mut self, by_format: bool) -> Parsed<Statement> {
        let mut all = Vec::new();
        let start = self.at;
        let closed =
            |token: &Token| matches!(token, Token::Op(";" | "}" | ">" | ">>" | "|") | Token::Newline | Token::End);
        if self.take("(") {
            self.printing = false;
            let list = self.list(")");
            self.printing = true;
            match list {
                Ok(list) if closed(self.peek()) => all = list,
                // The brackets were only those of the first expression.
                _ => self.at = start,
            }
        }
        if self.at == start && !closed(self.peek()) {
            loop {
                all.push(self.expr()?);
                if !self.take(",") {
                    break;
                }
                self.newlines();
            }
        }
        let target = if self.take(">") {
            Target::File(self.joined()?)
        } else if self.take(">>") {
            Target::Append(self.joined()?)
        } else if self.take("|") {
            Target::Pipe(self.joined()?)
        } else {
            Target::Stdout
        };
        if by_format && all.is_empty() {
            return Err("printf: no format".to_owned());
        }
        Ok(Statement::Print(all, by_format, target))
    }
}
