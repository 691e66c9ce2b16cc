//! From what was parsed to what can be evaluated: names and types are checked on the way (cel-go's checker, its words).
//! What is not known for certain is let pass, and fails when it is evaluated.

mod folds;
mod policy;

use std::collections::BTreeSet;
use std::rc::Rc;

use cel::common::ast::{CallExpr, Expr as Parsed, IdedExpr, LiteralValue, operators as ops};
use pal_resources::kinds::names::CEL_KEYWORDS;

pub(super) use policy::{AUTHORIZER, PATCH, PolicyNames, REQUEST_RESOURCE, given_type};

use super::described;
use super::expr::{Entry, Expr, Item, Literal};
use super::signatures;
use super::ty::{Ty, unescape};
use super::typing::{fits, inner, known_operator, operator_type, optional, result, sign_of};
use crate::schema::{format, go_regex};

/// What an expression may speak of.
#[derive(Clone)]
pub(super) struct Names<'n> {
    pub(super) self_: Ty<'n>,
    /// What `self_` is called: `self` in rules.
    pub(super) variable: &'static str,
    /// `None` where `oldSelf` means nothing.
    pub(super) old_self: Option<Ty<'n>>,
    /// What policies have instead of both.
    pub(super) policy: Option<PolicyNames<'n>>,
    /// It is stored, and was accepted before: of types that do not go together the evaluation tells.
    pub(super) stored: bool,
}

/// Reads expressions.
pub(super) struct Checker<'n, 's> {
    names: Names<'n>,
    source: &'s str,
    locals: Vec<(String, Ty<'n>)>,
    /// What is read are arguments of `format`: only there lists and maps may hold values of several types.
    mixed: bool,
    pub(super) errors: Vec<String>,
    pub(super) uses_old_self: bool,
    /// The named expressions of the policy that are asked for.
    pub(super) variables: BTreeSet<usize>,
}

type Typed<'n> = (Expr, Ty<'n>);

impl<'n, 's> Checker<'n, 's> {
    pub(super) fn new(names: Names<'n>, source: &'s str) -> Self {
        let given = names.policy.iter().flat_map(|policy| &policy.given);
        let locals = given.map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect();
        let (errors, variables) = (Vec::new(), BTreeSet::new());
        Self { names, source, locals, mixed: false, errors, uses_old_self: false, variables }
    }

    /// Notes an error; the word at fault is looked for in the source, as parts do not know where they stood.
    fn fail(&mut self, at: &str, message: String) -> Typed<'n> {
        if self.errors.len() < 20 {
            let offset = self.source.find(at).map_or(0, |found| found + at.len() - at.trim_start().len());
            self.errors.push(show_error(self.source, offset, &message));
        }
        (Expr::Literal(Literal::Null), Ty::Any)
    }

    pub(super) fn read(&mut self, parsed: &IdedExpr) -> Typed<'n> {
        match &parsed.expr {
            Parsed::Literal(literal) => read_literal(literal),
            Parsed::Ident(name) => self.ident(name),
            Parsed::Select(select) => self.select(&select.operand, &select.field, select.test),
            Parsed::List(list) => self.list(&list.elements, &list.optional_indices),
            Parsed::Map(map) => self.map(&map.entries),
            Parsed::Call(call) => self.call(call),
            Parsed::Comprehension(fold) => self.comprehension(fold),
            Parsed::Struct(built) => self.built(built),
            Parsed::Unspecified => self.fail("", "Syntax error: nothing is said".to_owned()),
        }
    }

    /// Notes an error in a call, which is told of where its arguments begin, and those that far behind it.
    fn fail_call(&mut self, name: &str, behind: usize, message: String) -> Typed<'n> {
        if self.errors.len() < 20 {
            let begins = |at: &usize| self.source[at + name.len()..].starts_with('(');
            let found = self.source.match_indices(name).map(|(at, _)| at).find(begins);
            let offset = found.map_or(0, |at| at + name.len() + behind);
            self.errors.push(show_error(self.source, offset, &message));
        }
        (Expr::Literal(Literal::Null), Ty::Any)
    }

    fn ident(&mut self, name: &str) -> Typed<'n> {
        if let Some(at) = self.locals.iter().rposition(|(local, _)| local == name) {
            return (Expr::Local(at), self.locals[at].1.clone());
        }
        match (name, &self.names.old_self) {
            (name, _) if name == self.names.variable => return (Expr::Self_, self.names.self_.clone()),
            ("oldSelf", Some(ty)) => {
                self.uses_old_self = true;
                return (Expr::OldSelf, ty.clone());
            }
            _ => {}
        }
        match type_name(name) {
            Some(known) => (Expr::Literal(Literal::Type(known)), Ty::Type),
            None => self.fail(name, format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    fn select(&mut self, operand: &IdedExpr, field: &str, test: bool) -> Typed<'n> {
        if let Some(name) = dotted(operand, field).and_then(|name| type_name(&name)) {
            return (Expr::Literal(Literal::Type(name)), Ty::Type);
        }
        if let Some(done) = self.variable(operand, field, test).or_else(|| self.request_resource(operand, field)) {
            return done;
        }
        let (of, ty) = self.read(operand);
        let (field, found) = match self.field_of(&ty, field) {
            Some(found) => found,
            None => match ty {
                ty if ty.is_object() => {
                    return self.fail(&format!(".{field}"), format!("undefined field '{field}'"));
                }
                other => {
                    let why = format!("type '{}' does not support field selection", other.name());
                    return self.fail(&format!(".{field}"), why);
                }
            },
        };
        let (of, field) = (Box::new(of), field.into());
        if test { (Expr::Has { of, field }, Ty::Bool) } else { (Expr::Select { of, field }, found) }
    }

    /// The field's own name and type. Fields of what an optional holds are optional.
    fn field_of(&self, ty: &Ty<'n>, field: &str) -> Option<(String, Ty<'n>)> {
        match ty {
            Ty::Any => Some((field.to_owned(), Ty::Any)),
            Ty::Built(_) => Some((unescape(field), Ty::Any)),
            Ty::Map(_, value) => Some((field.to_owned(), value.taken())),
            // A property that is called like a keyword is written `__keyword__`, never plain.
            Ty::Object(..) | Ty::Message(_) if CEL_KEYWORDS.contains(&field) => None,
            Ty::Object(node, meta) => {
                let name = unescape(field);
                Ty::field(node, *meta, &name).map(|ty| (name, ty))
            }
            Ty::Message(message) => {
                let name = unescape(field);
                described::field(message, &name).map(|ty| (name, ty))
            }
            Ty::Record(record) => record.field(field).map(|ty| (field.to_owned(), ty)),
            Ty::Optional(inner) => {
                let (name, ty) = self.field_of(inner, field)?;
                Some((name, optional(ty)))
            }
            _ => None,
        }
    }

    fn list(&mut self, elements: &[IdedExpr], optional_at: &[usize]) -> Typed<'n> {
        let mut item = None;
        let mut items = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let (value, ty) = self.read(element);
            let optional = optional_at.contains(&index);
            let ty = if optional { self.held(&value, &ty) } else { ty };
            if let Some(first) = &item {
                self.alike(first, &value, &ty);
            }
            item = Some(match item {
                None => ty,
                Some(other) => ty.join(other),
            });
            items.push(Item { value, optional });
        }
        (Expr::List(items), Ty::List(Rc::new(item.unwrap_or(Ty::Open))))
    }

    /// Refuses what is of another type than what stands before it in a list or map.
    fn alike(&mut self, first: &Ty<'n>, value: &Expr, ty: &Ty<'n>) {
        if !self.mixed && !self.names.stored && !first.may_be(ty) {
            self.fail(&written(value), format!("expected type '{}' but found '{}'", first.name(), ty.name()));
        }
    }

    /// What an optional item or entry adds, which must be an optional.
    fn held(&mut self, value: &Expr, ty: &Ty<'n>) -> Ty<'n> {
        if !self.names.stored && !matches!(ty, Ty::Optional(_) | Ty::Any) {
            let why = format!("expected type 'optional_type({0})' but found '{0}'", ty.name());
            self.fail(&written(value), why);
        }
        inner(ty)
    }

    fn map(&mut self, entries: &[cel::common::ast::IdedEntryExpr]) -> Typed<'n> {
        use cel::common::ast::EntryExpr;
        let (mut out, mut types) = (Vec::with_capacity(entries.len()), None);
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let (key, key_type) = self.read(&entry.key);
            let (value, value_type) = self.read(&entry.value);
            let value_type = if entry.optional { self.held(&value, &value_type) } else { value_type };
            if let Some((first_key, first_value)) = &types {
                self.alike(first_key, &key, &key_type);
                self.alike(first_value, &value, &value_type);
            }
            types = Some(match types {
                None => (key_type, value_type),
                Some((k, v)) => (key_type.join(k), value_type.join(v)),
            });
            out.push(Entry { key, value, optional: entry.optional });
        }
        let (key, value) = types.unwrap_or((Ty::Open, Ty::Open));
        (Expr::Map(out), Ty::Map(Rc::new(key), Rc::new(value)))
    }

    fn call(&mut self, call: &CallExpr) -> Typed<'n> {
        if let Some(done) = self.operator(call) {
            return done;
        }
        if let Some(done) = self.own_macro(call) {
            return done;
        }
        let mut name = call.func_name.clone();
        let mut target = call.target.as_deref();
        // `optional.of(x)`: a function whose name has a point.
        if let Some(IdedExpr { expr: Parsed::Ident(space), .. }) = target
            && self.locals.iter().all(|(local, _)| local != space)
        {
            let whole = format!("{space}.{name}");
            if signatures::named(&whole, false).next().is_some() {
                (name, target) = (whole, None);
            }
        }
        let is_method = target.is_some();
        let mixed = self.mixed;
        self.mixed |= name == "format";
        let read: Vec<Typed<'n>> = target.into_iter().chain(&call.args).map(|arg| self.read(arg)).collect();
        self.mixed = mixed;
        let (args, types): (Vec<Expr>, Vec<Ty<'n>>) = read.into_iter().unzip();
        let known = self.names.policy.as_ref().is_some_and(|policy| policy.builds) || name != signatures::ESCAPE_KEY;
        if !known || signatures::named(&name, is_method).next().is_none() {
            let why = format!("undeclared reference to '{name}' (in container '')");
            return self.fail_call(&call.func_name, 0, why);
        }
        let mut fitting = signatures::named(&name, is_method).filter(|signature| {
            let fits_in = |(kind, ty): (&_, &_)| fits(*kind, ty, types.first().unwrap_or(&Ty::Any));
            signature.args.len() == types.len() && signature.args.iter().zip(&types).all(fits_in)
        });
        let Some(signature) = fitting.next() else {
            let called = signatures::named(&name, is_method).find(|signature| signature.args.len() == types.len());
            if let Some(signature) = called.filter(|_| self.names.stored) {
                return (Expr::Call { name: signature.name, args }, Ty::Any);
            }
            let why = no_overload(&name, is_method, &types);
            return self.fail_call(&call.func_name, 0, why);
        };
        // Where several fit, because arguments are of any type, what comes of it is sure only if they agree.
        let sure = fitting.all(|other| other.result == signature.result);
        let ty = if sure { result(signature.result, &types) } else { Ty::Any };
        if matches!(signature.name, "matches" | "find" | "findAll")
            && let Some(Expr::Literal(Literal::Text(pattern))) = args.get(1)
        {
            return match go_regex::compile(pattern) {
                Err(_) => self.fail_call(&name, 1, format!("invalid {} argument", signature.name)),
                Ok(pattern) => (search(signature.name, pattern, args), ty),
            };
        }
        if let [Expr::Literal(Literal::Text(given))] = args.as_slice()
            && !literal_fits(signature.name, given)
        {
            return self.fail_call(&name, 1, format!("invalid {} argument", signature.name));
        }
        (Expr::Call { name: signature.name, args }, ty)
    }

    /// Operators are calls with odd names.
    fn operator(&mut self, call: &CallExpr) -> Option<Typed<'n>> {
        let name = known_operator(&call.func_name)?;
        if name == ops::OPT_SELECT {
            let (of, ty) = self.read(&call.args[0]);
            let Parsed::Literal(LiteralValue::String(field)) = &call.args[1].expr else { return None };
            let found = self.field_of(&ty, field.inner());
            return Some(match found {
                Some((field, ty)) => (Expr::OptionalSelect { of: Box::new(of), field: field.into() }, optional(ty)),
                None => self.fail(field.inner(), format!("undefined field '{}'", field.inner())),
            });
        }
        let read: Vec<Typed<'n>> = call.args.iter().map(|arg| self.read(arg)).collect();
        let (args, types): (Vec<Expr>, Vec<Ty<'n>>) = read.into_iter().unzip();
        let Some(ty) = operator_type(name, &types).or(self.names.stored.then_some(Ty::Any)) else {
            return Some(self.fail(sign_of(name), no_overload(name, false, &types)));
        };
        let mut args = args.into_iter();
        let mut next = || Box::new(args.next().unwrap_or(Expr::Literal(Literal::Null)));
        let expr = match name {
            ops::LOGICAL_AND => Expr::And(next(), next()),
            ops::LOGICAL_OR => Expr::Or(next(), next()),
            ops::CONDITIONAL => Expr::If { test: next(), then: next(), other: next() },
            _ => Expr::Call { name, args: args.collect() },
        };
        Some((expr, ty))
    }
}

fn no_overload(name: &str, is_method: bool, types: &[Ty<'_>]) -> String {
    let names: Vec<String> = types.iter().map(Ty::name).collect();
    let applied = match names.split_first() {
        Some((target, rest)) if is_method => format!("{target}.({})", rest.join(", ")),
        _ => format!("({})", names.join(", ")),
    };
    format!("found no matching overload for '{name}' applied to '{applied}'")
}

/// How a literal may stand in the source; nothing for what is no literal.
fn written(expr: &Expr) -> String {
    match expr {
        Expr::Literal(Literal::Text(text)) => text.to_string(),
        Expr::Literal(Literal::Int(number)) => number.to_string(),
        Expr::Literal(Literal::Bool(yes)) => yes.to_string(),
        _ => String::new(),
    }
}

/// Whether what an expression makes a time or a duration of is one: Kubernetes tells before it is evaluated.
fn literal_fits(function: &str, given: &str) -> bool {
    match function {
        "duration" => pal_resources::duration::parse(given).is_some(),
        "timestamp" => format::is_date_time(given),
        _ => true,
    }
}

/// `ERROR: <input>:1:6: ...`, the line, and a mark below the place.
pub(super) fn show_error(source: &str, offset: usize, message: &str) -> String {
    let before = &source[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let (line, column) = (before.matches('\n').count() + 1, source[line_start..offset].chars().count());
    let text = source[line_start..].lines().next().unwrap_or_default();
    format!("ERROR: <input>:{line}:{}: {message}\n | {text}\n | {}^", column + 1, ".".repeat(column))
}

fn search(name: &'static str, pattern: regex::Regex, args: Vec<Expr>) -> Expr {
    let mut args = args.into_iter();
    let text = Box::new(args.next().unwrap_or(Expr::Literal(Literal::Null)));
    let limit = args.nth(1).map(Box::new);
    Expr::Search { name, text, pattern: Box::new(pattern), limit }
}

fn read_literal<'n>(literal: &LiteralValue) -> Typed<'n> {
    let (literal, ty) = match literal {
        LiteralValue::Boolean(yes) => (Literal::Bool(*yes.inner()), Ty::Bool),
        LiteralValue::Bytes(bytes) => (Literal::Bytes(bytes.inner().into()), Ty::Bytes),
        LiteralValue::Double(number) => (Literal::Double(*number.inner()), Ty::Double),
        LiteralValue::Int(number) => (Literal::Int(*number.inner()), Ty::Int),
        LiteralValue::Null => (Literal::Null, Ty::Null),
        LiteralValue::String(text) => (Literal::Text(text.inner().into()), Ty::Text),
        LiteralValue::UInt(number) => (Literal::Uint(*number.inner()), Ty::Uint),
    };
    (Expr::Literal(literal), ty)
}

fn dotted(operand: &IdedExpr, field: &str) -> Option<String> {
    match &operand.expr {
        Parsed::Ident(name) => Some(format!("{name}.{field}")),
        Parsed::Select(select) if !select.test => Some(format!("{}.{field}", dotted(&select.operand, &select.field)?)),
        _ => None,
    }
}

fn type_name(name: &str) -> Option<&'static str> {
    const KNOWN: &[&str] = &[
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
        "optional_type",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "net.IP",
        "net.CIDR",
    ];
    KNOWN.iter().find(|known| **known == name).copied()
}
