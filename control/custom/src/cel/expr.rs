//! Expressions, ready to be evaluated: names resolved, macros told apart, patterns compiled.

use regex::Regex;

/// A part of an expression. `Local` says where in the stack of macros' variables its value lies.
#[derive(Debug)]
pub(super) enum Expr {
    Literal(Literal),
    Self_,
    OldSelf,
    /// A named expression of the policy, which is evaluated when it is first asked for.
    Variable(usize),
    Local(usize),
    Select {
        of: Box<Expr>,
        field: Box<str>,
    },
    Has {
        of: Box<Expr>,
        field: Box<str>,
    },
    OptionalSelect {
        of: Box<Expr>,
        field: Box<str>,
    },
    List(Vec<Item>),
    Map(Vec<Entry>),
    /// `Object.spec{replicas: 3}`
    Built {
        name: Box<str>,
        fields: Vec<Field>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    If {
        test: Box<Expr>,
        then: Box<Expr>,
        other: Box<Expr>,
    },
    Fold(Box<Fold>),
    /// `optMap`, `optFlatMap`: evaluates `body` with what the optional holds.
    OptionalMap {
        of: Box<Expr>,
        body: Box<Expr>,
        flat: bool,
    },
    /// `matches`, `find`, `findAll` with a pattern that stands in the expression.
    Search {
        name: &'static str,
        text: Box<Expr>,
        pattern: Box<Regex>,
        limit: Option<Box<Expr>>,
    },
    /// The target of a method is the first of the arguments.
    Call {
        name: &'static str,
        args: Vec<Expr>,
    },
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) value: Expr,
    pub(super) optional: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Expr,
    pub(super) value: Expr,
    pub(super) optional: bool,
}

/// A field of an object that is made.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) value: Expr,
    pub(super) optional: bool,
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Type(&'static str),
}

/// A macro over a list or a map.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) kind: FoldKind,
    pub(super) range: Expr,
    /// With two variables the first is the index or the key.
    pub(super) two: bool,
    pub(super) test: Option<Expr>,
    pub(super) item: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    /// `map` and `filter`: a list of `item`, where `test` holds.
    List,
    /// `transformMap`: the same keys, other values.
    Map,
    /// `transformMapEntry`: other keys too.
    Entries,
}
