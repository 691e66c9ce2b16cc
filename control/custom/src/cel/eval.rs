//! Evaluation, step by step and each step counted.

use std::collections::BTreeMap;
use std::rc::Rc;

use cel::common::ast::operators as ops;

use super::expr::{Expr, Fold, FoldKind, Literal};
use super::functions::{self, prices};
use super::meter::{Fail, Meter};
use super::operators;
use super::value::{Key, Text, V};

/// What an expression speaks of.
pub(super) struct Scope<'a, 'm> {
    pub(super) self_: V<'a>,
    pub(super) old_self: V<'a>,
    pub(super) locals: Vec<V<'a>>,
    pub(super) variables: Variables<'a>,
    pub(super) meter: &'m mut Meter,
}

type Outcome<'a> = Result<V<'a>, Fail>;

/// Named expressions, and what those came to that were asked for.
#[derive(Default)]
pub(super) struct Variables<'a> {
    pub(super) programs: Vec<(&'a str, &'a Expr)>,
    pub(super) known: Vec<Option<Outcome<'a>>>,
    /// How many of the scope's `locals` they see: those that are there from the beginning.
    pub(super) given: usize,
    /// What one of them may cost, and all that are still to be evaluated.
    pub(super) limit: u64,
    pub(super) left: u64,
}

impl<'a> Scope<'a, '_> {
    pub(super) fn eval(&mut self, expr: &'a Expr) -> Outcome<'a> {
        self.meter.charge(1)?;
        self.meter.pay(price(expr))?;
        match expr {
            Expr::Literal(literal) => Ok(constant(literal)),
            Expr::Self_ => Ok(self.self_.clone()),
            Expr::OldSelf => Ok(self.old_self.clone()),
            // The checker counted the variables that there are here.
            Expr::Local(at) => self.locals.get(*at).cloned().ok_or_else(|| Fail::error("no such variable")),
            Expr::Variable(at) => self.variable(*at),
            Expr::Select { of, field } => {
                let of = self.eval(of)?;
                select(&of, field)
            }
            Expr::Has { of, field } => match self.eval(of)? {
                V::Optional(inner) => Ok(V::Bool(inner.is_some_and(|inner| inner.field(field).is_some()))),
                of => Ok(V::Bool(of.field(field).is_some())),
            },
            Expr::OptionalSelect { of, field } => {
                let of = self.eval(of)?;
                Ok(V::Optional(match &of {
                    V::Optional(inner) => inner.as_ref().and_then(|inner| inner.field(field)).map(Rc::new),
                    of => of.field(field).map(Rc::new),
                }))
            }
            Expr::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    match (item.optional, self.eval(&item.value)?) {
                        (true, V::Optional(inner)) => list.extend(inner.map(|inner| (*inner).clone())),
                        (_, value) => list.push(value),
                    }
                }
                self.meter.pay(prices::LIST)?;
                Ok(V::list(list))
            }
            Expr::Map(entries) => self.map(entries),
            Expr::Built { name, fields } => self.built(name, fields),
            Expr::And(a, b) => self.junction(a, b, false),
            Expr::Or(a, b) => self.junction(a, b, true),
            Expr::If { test, then, other } => match self.eval(test)? {
                V::Bool(true) => self.eval(then),
                V::Bool(false) => self.eval(other),
                _ => Err(Fail::no_overload()),
            },
            Expr::Fold(fold) => self.fold(fold),
            Expr::OptionalMap { of, body, flat } => match self.eval(of)? {
                V::Optional(None) => Ok(V::Optional(None)),
                V::Optional(Some(inner)) => {
                    self.locals.push((*inner).clone());
                    let value = self.eval(body);
                    self.locals.pop();
                    let value = value?;
                    Ok(if *flat { value } else { V::some(value) })
                }
                _ => Err(Fail::no_overload()),
            },
            Expr::Search { name, text, pattern, limit } => {
                let V::Text(text) = self.eval(text)? else { return Err(Fail::no_overload()) };
                let limit = limit.as_ref().map(|limit| self.eval(limit)).transpose()?;
                self.meter.pay(prices::pattern(text.chars().count(), pattern.as_str().len()))?;
                functions::text::search(name, &text, pattern, limit.as_slice(), self.meter)
            }
            Expr::Call { name, args } => self.call(name, args),
        }
    }

    fn map(&mut self, entries: &'a [super::expr::Entry]) -> Outcome<'a> {
        let mut map = BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let value = match (entry.optional, self.eval(&entry.value)?) {
                (true, V::Optional(None)) => continue,
                (true, V::Optional(Some(inner))) => (*inner).clone(),
                (_, value) => value,
            };
            let key = Key::of(&key).ok_or_else(|| Fail::error("unsupported key type"))?;
            if map.insert(key, value).is_some() {
                return Err(Fail::error("Failed with repeated key"));
            }
        }
        self.meter.pay(prices::MAP)?;
        Ok(V::Map(Rc::new(map)))
    }

    fn built(&mut self, name: &'a str, fields: &'a [super::expr::Field]) -> Outcome<'a> {
        let mut map = BTreeMap::new();
        for field in fields {
            let value = match (field.optional, self.eval(&field.value)?) {
                (true, V::Optional(None)) => continue,
                (true, V::Optional(Some(inner))) => (*inner).clone(),
                (_, value) => value,
            };
            map.insert(Key::Text(field.name.clone()), value);
        }
        self.meter.pay(prices::OBJECT)?;
        Ok(V::Built(name, Rc::new(map)))
    }

    /// What a named expression came to, or comes to now. Each has its own meter, as in Kubernetes.
    fn variable(&mut self, at: usize) -> Outcome<'a> {
        if let Some(Some(known)) = self.variables.known.get(at) {
            return known.clone();
        }
        let (Some((name, program)), limit) =
            (self.variables.programs.get(at).copied(), self.variables.limit.min(self.variables.left))
        else {
            return Err(Fail::error("no such variable"));
        };
        let inner = self.locals.split_off(self.variables.given.min(self.locals.len()));
        let outer = std::mem::replace(self.meter, Meter::new(limit));
        let outcome = self.eval(program).map_err(|fail| match fail {
            Fail::Error(why) => Fail::error(format!("composited variable {name:?} fails to evaluate: {why}")),
            fail => fail,
        });
        let spent = std::mem::replace(self.meter, outer).spent();
        self.variables.left = self.variables.left.saturating_sub(spent);
        self.locals.extend(inner);
        if let Some(known) = self.variables.known.get_mut(at) {
            *known = Some(outcome.clone());
        }
        outcome
    }

    /// `&&` and `||`: one side that decides forgives the other's error.
    fn junction(&mut self, a: &'a Expr, b: &'a Expr, decisive: bool) -> Outcome<'a> {
        let first = self.eval(a);
        if let Ok(V::Bool(yes)) = &first
            && *yes == decisive
        {
            return first;
        }
        if matches!(first, Err(Fail::TooCostly)) {
            return first;
        }
        let second = self.eval(b);
        match (first, second) {
            (_, Err(Fail::TooCostly)) => Err(Fail::TooCostly),
            (_, Ok(V::Bool(yes))) if yes == decisive => Ok(V::Bool(yes)),
            (Err(fail), _) | (Ok(V::Bool(_)), Err(fail)) => Err(fail),
            (Ok(V::Bool(_)), Ok(V::Bool(yes))) => Ok(V::Bool(yes)),
            _ => Err(Fail::no_overload()),
        }
    }

    fn call(&mut self, name: &'static str, args: &'a [Expr]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.eval(arg)?);
        }
        self.meter.pay(prices::call(name, &values))?;
        match name {
            ops::INDEX => operators::index(&values[0], &values[1]),
            ops::OPT_INDEX => operators::optional_index(&values[0], &values[1]),
            _ if name.starts_with('_') || matches!(name, "!_" | "-_" | "@in") => {
                operators::apply(name, &values, self.meter)
            }
            _ => functions::call(name, &values, self.meter),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let is_list = matches!(range, V::List(_) | V::JsonList(..));
        let keys = match &range {
            V::Map(_) | V::JsonMap(..) => range.keys(self.meter)?,
            _ if is_list => Vec::new(),
            _ => return Err(Fail::no_overload()),
        };
        let count = if is_list { range.count().unwrap_or(0) } else { keys.len() };
        let mut state = State::new(fold.kind);
        let prices = Round::of(fold.kind);
        self.meter.pay(prices.begins)?;
        let mut goes_on = true;
        for index in 0..count {
            self.meter.charge(1)?;
            self.meter.pay(prices.asks)?;
            if !goes_on {
                break;
            }
            self.meter.pay(prices::STEP)?;
            let depth = self.locals.len();
            let (first, second) = match keys.get(index) {
                Some(key) => (key.clone(), if fold.two { range.get(key) } else { None }),
                None => (V::Int(i64::try_from(index).unwrap_or(i64::MAX)), range.at(index)),
            };
            match (fold.two, is_list) {
                (true, _) => self.locals.extend([first.clone(), second.unwrap_or(V::Null)]),
                (false, true) => self.locals.push(second.unwrap_or(V::Null)),
                (false, false) => self.locals.push(first.clone()),
            }
            let on = self.step(fold, &first, &mut state);
            self.locals.truncate(depth);
            goes_on = on?;
        }
        self.meter.pay(prices.ends)?;
        state.result()
    }

    /// One round; whether there is to be another.
    fn step(&mut self, fold: &'a Fold, key: &V<'a>, state: &mut State<'a>) -> Result<bool, Fail> {
        let passed = match &fold.test {
            None => true,
            Some(test) => match (self.eval(test), fold.kind) {
                (Ok(V::Bool(yes)), _) => yes,
                (Err(Fail::TooCostly), _) => return Err(Fail::TooCostly),
                // A later item may decide.
                (Err(fail), FoldKind::All | FoldKind::Exists) => {
                    state.failed.get_or_insert(fail);
                    return Ok(true);
                }
                (Err(fail), _) => return Err(fail),
                (Ok(_), _) => return Err(Fail::no_overload()),
            },
        };
        match fold.kind {
            FoldKind::All | FoldKind::Exists => {
                let decisive = passed == (fold.kind == FoldKind::Exists);
                state.decided |= decisive;
                return Ok(!decisive);
            }
            FoldKind::ExistsOne => {
                self.meter.pay(usize::from(passed) * prices::STEP)?;
                state.passed += usize::from(passed);
            }
            FoldKind::List | FoldKind::Map | FoldKind::Entries if !passed => {}
            FoldKind::List | FoldKind::Map | FoldKind::Entries => {
                let value = match &fold.item {
                    Some(item) => self.eval(item)?,
                    None => V::Null,
                };
                self.meter.pay(if fold.kind == FoldKind::List {
                    prices::LIST + prices::STEP
                } else {
                    2 * prices::STEP
                })?;
                match fold.kind {
                    FoldKind::List => state.list.push(value),
                    FoldKind::Entries => state.add_entries(&value, self.meter)?,
                    _ => {
                        let key = Key::of(key).ok_or_else(|| Fail::error("unsupported key type"))?;
                        state.map.insert(key, value);
                    }
                }
            }
        }
        Ok(true)
    }
}

/// What an expression costs beside its parts. What is computed of them is paid for where that is done.
fn price(expr: &Expr) -> usize {
    match expr {
        Expr::Self_
        | Expr::OldSelf
        | Expr::Local(_)
        | Expr::Select { .. }
        | Expr::OptionalSelect { .. }
        | Expr::OptionalMap { .. } => prices::STEP,
        Expr::Variable(_) => 2 * prices::STEP,
        _ => 0,
    }
}

/// What a macro costs beside its parts: it stands for a loop that keeps what it has found in a variable.
struct Round {
    begins: usize,
    /// Before each round: whether it is needed.
    asks: usize,
    ends: usize,
}

impl Round {
    fn of(kind: FoldKind) -> Self {
        let (begins, asks, ends) = match kind {
            FoldKind::All => (0, 2, 1),
            FoldKind::Exists => (0, 3, 1),
            FoldKind::ExistsOne => (0, 0, 2),
            FoldKind::List => (prices::LIST, 0, 1),
            FoldKind::Map | FoldKind::Entries => (prices::MAP, 0, 1),
        };
        Self { begins, asks: asks * prices::STEP, ends: ends * prices::STEP }
    }
}

/// What a macro has seen.
struct State<'a> {
    kind: FoldKind,
    decided: bool,
    failed: Option<Fail>,
    passed: usize,
    list: Vec<V<'a>>,
    map: BTreeMap<Key, V<'a>>,
}

impl<'a> State<'a> {
    fn new(kind: FoldKind) -> Self {
        Self { kind, decided: false, failed: None, passed: 0, list: Vec::new(), map: BTreeMap::new() }
    }

    /// Adds what a round made of its item: no key may be there twice.
    fn add_entries(&mut self, made: &V<'a>, meter: &mut Meter) -> Result<(), Fail> {
        if !matches!(made, V::Map(_) | V::JsonMap(..)) {
            return Err(Fail::no_overload());
        }
        for key in made.keys(meter)? {
            let value = made.get(&key).unwrap_or(V::Null);
            let known = Key::of(&key).ok_or_else(|| Fail::error("unsupported key type"))?;
            if self.map.insert(known, value).is_some() {
                return Err(Fail::error("insert failed: a key already exists"));
            }
        }
        Ok(())
    }

    fn result(self) -> Outcome<'a> {
        match (self.kind, self.failed) {
            (FoldKind::All, _) if self.decided => Ok(V::Bool(false)),
            (FoldKind::Exists, _) if self.decided => Ok(V::Bool(true)),
            (_, Some(fail)) => Err(fail),
            (FoldKind::All, None) => Ok(V::Bool(true)),
            (FoldKind::Exists, None) => Ok(V::Bool(false)),
            (FoldKind::ExistsOne, None) => Ok(V::Bool(self.passed == 1)),
            (FoldKind::List, None) => Ok(V::list(self.list)),
            (FoldKind::Map | FoldKind::Entries, None) => Ok(V::Map(Rc::new(self.map))),
        }
    }
}

fn constant(literal: &Literal) -> V<'_> {
    match literal {
        Literal::Null => V::Null,
        Literal::Bool(yes) => V::Bool(*yes),
        Literal::Int(number) => V::Int(*number),
        Literal::Uint(number) => V::Uint(*number),
        Literal::Double(number) => V::Double(*number),
        Literal::Text(text) => V::Text(Text::Borrowed(text)),
        Literal::Bytes(bytes) => V::Bytes((**bytes).into()),
        Literal::Type(name) => V::Type(name),
    }
}

fn select<'a>(of: &V<'a>, field: &str) -> Outcome<'a> {
    match of {
        V::Optional(inner) => Ok(V::Optional(inner.as_ref().and_then(|inner| inner.field(field)).map(Rc::new))),
        // Null and whatever else has no fields too, as in cel-go.
        of => of.field(field).ok_or_else(|| Fail::error(format!("no such key: {field}"))),
    }
}
