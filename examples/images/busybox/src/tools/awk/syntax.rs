//! What an awk program is made of.

use std::collections::HashMap;
use std::rc::Rc;

use crate::regex::Regex;

pub enum Expr {
    Number(f64),
    Text(Rc<str>),
    Regex(Rc<Regex>),
    Variable(Rc<str>),
    Field(Box<Expr>),
    Element(Rc<str>, Vec<Expr>),
    /// With an operator where it is one of `+=` and the like.
    Assign(Option<&'static str>, Box<Expr>, Box<Expr>),
    /// By how much, and whether the value is the one from before.
    Step(f64, bool, Box<Expr>),
    Either(Box<Expr>, Box<Expr>, Box<Expr>),
    /// Arithmetic, comparison, `&&`, `||`.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Join(Box<Expr>, Box<Expr>),
    Match(bool, Box<Expr>, Box<Expr>),
    Has(Vec<Expr>, Rc<str>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Call(Rc<str>, Vec<Expr>),
    /// Where to, and the file where it is not the input.
    Getline(Option<Box<Expr>>, Option<Box<Expr>>),
}

pub enum Target {
    Stdout,
    File(Expr),
    Append(Expr),
    Pipe(Expr),
}

pub enum Statement {
    Expr(Expr),
    /// What, whether by a format, and where to.
    Print(Vec<Expr>, bool, Target),
    If(Expr, Box<Statement>, Option<Box<Statement>>),
    While(Expr, Box<Statement>),
    Do(Box<Statement>, Expr),
    For(Option<Box<Statement>>, Option<Expr>, Option<Box<Statement>>, Box<Statement>),
    Each(Rc<str>, Rc<str>, Box<Statement>),
    Block(Vec<Statement>),
    Next,
    Exit(Option<Expr>),
    Return(Option<Expr>),
    Break,
    Continue,
    Delete(Rc<str>, Option<Vec<Expr>>),
}

pub enum Pattern {
    Always,
    When(Expr),
    /// From one to the other, by the number of the range.
    Range(Expr, Expr, usize),
}

pub struct Function {
    pub parameters: Vec<Rc<str>>,
    pub body: Statement,
}

#[derive(Default)]
pub struct Program {
    pub begin: Vec<Statement>,
    /// A rule without statements prints.
    pub rules: Vec<(Pattern, Option<Statement>)>,
    pub end: Vec<Statement>,
    pub functions: HashMap<Rc<str>, Rc<Function>>,
    pub ranges: usize,
    /// It asks for the next record by itself.
    pub reads: bool,
}
