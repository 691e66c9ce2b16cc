//! Expressions over values that have no schema, as configurations have them.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

use super::check::Names;
use super::eval::{Scope, Variables};
use super::expr::Expr;
use super::meter::{Fail, Meter};
use super::run::PER_CALL;
use super::ty::Ty;
use super::value::{Key, Text, V};
use super::{Compiled, compile};

/// An expression that speaks of one value. Clones are the same one, and two are equal that were written alike.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Ready>);

#[derive(Debug)]
struct Ready {
    source: String,
    program: Expr,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Expression {}

/// What an expression is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Bool,
    Text,
    /// A text, or a list of texts.
    Texts,
}

/// What an expression came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Null,
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    /// Something else: the name of its type.
    Other(&'static str),
}

impl Expression {
    /// Compiles an expression that speaks of a map called `variable`. Errors are those of the compiler, or that it comes to
    /// something else than is wanted.
    pub fn compile(source: &str, variable: &'static str, wanted: Wanted) -> Result<Self, String> {
        let map = Ty::Map(Rc::new(Ty::Text), Rc::new(Ty::Any));
        let names = Names { self_: map, variable, old_self: None, policy: None, stored: false };
        let Compiled { program, ty, .. } = compile(source, names)?;
        let text = |ty: &Ty<'_>| matches!(ty, Ty::Text | Ty::Any);
        let (fits, what) = match wanted {
            Wanted::Bool => (matches!(ty, Ty::Bool | Ty::Any), "bool"),
            Wanted::Text => (text(&ty), "string"),
            Wanted::Texts => (text(&ty) || matches!(&ty, Ty::List(item) if text(item)), "string or list(string)"),
        };
        match fits {
            true => Ok(Self(Arc::new(Ready { source: source.to_owned(), program }))),
            false => Err(format!("must evaluate to {what}")),
        }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What it comes to for that value.
    pub fn evaluate(&self, value: &Value) -> Result<Found, String> {
        let mut meter = Meter::new(PER_CALL);
        let mut scope = Scope {
            self_: loose(value),
            old_self: V::Null,
            locals: Vec::new(),
            variables: Variables::default(),
            meter: &mut meter,
        };
        match scope.eval(&self.0.program) {
            Ok(found) => Ok(told(&found)),
            Err(Fail::Error(why)) => Err(why),
            Err(Fail::TooCostly) => Err("operation cancelled: actual cost limit exceeded".to_owned()),
        }
    }
}

/// A value as JSON has it. The depth is that which JSON is read with.
pub(super) fn loose(value: &Value) -> V<'_> {
    match value {
        Value::Null => V::Null,
        Value::Bool(yes) => V::Bool(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => V::Int(whole),
            None => V::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => V::Text(Text::Borrowed(text)),
        Value::Array(list) => V::list(list.iter().map(loose).collect()),
        Value::Object(map) => {
            let entries =
                map.iter().filter_map(|(name, value)| Some((Key::of(&V::text(name.as_str()))?, loose(value))));
            V::Map(Rc::new(entries.collect()))
        }
    }
}

fn told(value: &V<'_>) -> Found {
    let text = |value: &V<'_>| match value {
        V::Text(text) => Some(text.to_string()),
        _ => None,
    };
    match value {
        V::Null => Found::Null,
        V::Bool(yes) => Found::Bool(*yes),
        V::Text(own) => Found::Text(own.to_string()),
        V::List(list) => match list.iter().map(text).collect() {
            Some(texts) => Found::Texts(texts),
            None => Found::Other("list"),
        },
        other => Found::Other(other.type_name()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_speak_of_one_value() {
        let claims = json!({"sub": "jane", "groups": ["a", "b"], "n": 3, "verified": true, "deep": {"x": "y"}});
        let check = |source: &str, wanted: Wanted, expected: Result<Found, &str>| {
            let found = Expression::compile(source, "claims", wanted).and_then(|compiled| compiled.evaluate(&claims));
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{source}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{source}: {why}"),
                _ => panic!("{source}: {found:?}"),
            }
        };
        let text = |text: &str| Ok(Found::Text(text.to_owned()));
        check("claims.sub", Wanted::Text, text("jane"));
        check("'x:' + claims.sub + claims.deep.x", Wanted::Text, text("x:janey"));
        check("claims.groups.filter(g, g != 'a')", Wanted::Texts, Ok(Found::Texts(vec!["b".to_owned()])));
        check("claims.groups", Wanted::Texts, Ok(Found::Texts(vec!["a".to_owned(), "b".to_owned()])));
        check("has(claims.n) && claims.n > 2 && claims.verified", Wanted::Bool, Ok(Found::Bool(true)));
        check("claims.?none.orValue('')", Wanted::Text, text(""));
        check("claims.n", Wanted::Text, Ok(Found::Other("int")));
        check("claims.none", Wanted::Text, Err("no such key"));
        check("1 + 1", Wanted::Text, Err("must evaluate to string"));
        check("'a'", Wanted::Bool, Err("must evaluate to bool"));
        check("[1]", Wanted::Texts, Err("must evaluate to string or list(string)"));
        check("self.x", Wanted::Text, Err("undeclared reference to 'self'"));
        check("claims.", Wanted::Text, Err("Syntax error"));
    }
}
