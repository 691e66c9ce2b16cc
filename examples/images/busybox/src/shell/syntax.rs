//! What a script is, once it is read (POSIX, Shell Command Language).

use std::cell::RefCell;
use std::rc::Rc;

/// Commands one after the other.
pub type List = Rc<Vec<Item>>;

/// A command, and whether it runs in the background.
pub struct Item {
    pub command: Rc<Command>,
    pub background: bool,
}

pub enum Command {
    Simple(Simple),
    /// Connected by pipes; the first field inverts the status.
    Pipeline(bool, Vec<Rc<Command>>),
    And(Rc<Command>, Rc<Command>),
    Or(Rc<Command>, Rc<Command>),
    /// A compound command and its redirections.
    Compound(Compound, Vec<Redirect>),
    Function(String, Rc<Command>),
}

#[derive(Default)]
pub struct Simple {
    pub assigns: Vec<(String, Word)>,
    pub words: Vec<Word>,
    pub redirects: Vec<Redirect>,
}

pub enum Compound {
    Group(List),
    Subshell(List),
    /// Conditions with what follows from each, and what follows from none.
    If(Vec<(List, List)>, Option<List>),
    /// Over `"$@"` where no words are given.
    For(String, Option<Vec<Word>>, List),
    /// As long as the status is zero, or is not.
    Loop {
        until: bool,
        condition: List,
        body: List,
    },
    Case(Word, Vec<Branch>),
}

pub struct Branch {
    pub patterns: Vec<Word>,
    pub body: List,
}

pub struct Redirect {
    pub fd: u32,
    pub kind: RedirectKind,
    pub target: Word,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    Read,
    Write,
    Append,
    ReadWrite,
    /// Like another descriptor: `<&` and `>&`.
    Like,
    /// `&>`: both stdout and stderr.
    Both,
    /// A here-document or here-string.
    Here,
}

pub type Word = Vec<Part>;

pub enum Part {
    /// As it stands.
    Plain(String),
    /// As it stands, from between quotes or behind a backslash.
    Quoted(String),
    /// In double quotes.
    Double(Word),
    Parameter(Parameter),
    /// `$(…)`.
    Output(List),
    /// `$((…))`.
    Sum(Word),
    /// A here-document, whose text was behind the line that asks for it.
    Later(Rc<RefCell<Option<Word>>>),
}

pub struct Parameter {
    pub name: String,
    pub change: Change,
}

pub enum Change {
    None,
    Length,
    /// `-`, `=`, `?` or `+`; whether an empty value counts as none; the word.
    Default(char, bool, Word),
    /// `#` or `%`, whether it takes the longest match, the pattern.
    Cut(char, bool, Word),
    /// `/`: the pattern, what stands in its place, whether everywhere.
    Replace(Word, Word, bool),
    /// `:offset:length`.
    Slice(Word, Option<Word>),
}
