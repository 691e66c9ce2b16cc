//! What an evaluation costs at most (cel-go's `checker/cost.go`, apiserver's `cel/library/cost.go`): known from the
//! expression and from how large values can be.

use std::rc::Rc;

use cel::common::ast::operators as ops;

use super::expr::{Expr, Fold, FoldKind, Literal};
use super::signatures::RANGE;
use super::ty::Meta;
use crate::schema::Node;
use crate::schema::node::Type;

/// The largest request, in bytes.
const REQUEST: u64 = 3 * 1024 * 1024;
/// What making a list and a map costs.
const MAKE_LIST: u64 = 10;
const MAKE_MAP: u64 = 30;
const MAKE_OBJECT: u64 = 40;
/// Bytes of UTF-8 that a sign may take.
const SIGN: u64 = 4;

/// What an evaluation for a value of that schema costs at most.
pub(super) fn most(expr: &Expr, node: &Node, meta: Meta) -> u64 {
    let mut estimate = Estimate { self_: Known::Schema(node, meta), locals: Vec::new() };
    estimate.of(expr).0
}

/// How many values of that schema an object can hold in a list or a map that does not say how long it is.
pub(crate) fn most_values(node: &Node) -> u64 {
    REQUEST / (least_bytes(node) + 1)
}

/// How long the JSON of a value is at least.
fn least_bytes(node: &Node) -> u64 {
    if node.int_or_string {
        return 1;
    }
    match node.ty {
        Some(Type::Integer | Type::Number) => 1,
        Some(Type::Boolean) => 4,
        Some(Type::String) => match format(node) {
            Some("duration") => 3,
            Some("date") => 12,
            Some("date-time") => 21,
            _ => 2,
        },
        Some(Type::Array) => 2,
        Some(Type::Object) => {
            let needed = node
                .properties
                .iter()
                .filter(|(name, inner)| node.checks.required.contains(name) && inner.default.is_none());
            2 + needed.map(|(name, inner)| name.len() as u64 + least_bytes(inner) + 4).sum::<u64>()
        }
        None => 1,
    }
}

fn format(node: &Node) -> Option<&str> {
    node.checks.format.as_ref().map(|format| format.name())
}

/// How large a value is at most: bytes of a text, items of a list, entries of a map; nothing for what is simple.
fn most_elements(node: &Node) -> u64 {
    if node.int_or_string {
        return REQUEST - 2;
    }
    let checks = &node.checks;
    match node.ty {
        Some(Type::String) => most_bytes(node),
        Some(Type::Array) => {
            let item = node.items.as_deref().map_or(1, least_bytes);
            checks.max_items.unwrap_or((REQUEST - 2) / (item + 1))
        }
        Some(Type::Object) => match node.entries() {
            Some(entry) => checks.max_properties.unwrap_or((REQUEST - 2) / (least_bytes(entry) + 6)),
            None => 0,
        },
        _ => 0,
    }
}

fn most_bytes(node: &Node) -> u64 {
    let checks = &node.checks;
    match format(node) {
        Some("duration" | "date-time") => return 32,
        Some("date") => return 12,
        _ => {}
    }
    let longest = checks.texts.iter().map(|text| text.len() as u64).max();
    longest.or(checks.max_length.map(|signs| signs.saturating_mul(SIGN))).unwrap_or(REQUEST - 2)
}

/// What is known of a value.
#[derive(Clone)]
enum Known<'n> {
    Schema(&'n Node, Meta),
    /// Bytes of a text; one for what is simple.
    Size(u64),
    Items {
        count: u64,
        item: Rc<Known<'n>>,
    },
}

impl<'n> Known<'n> {
    const SIMPLE: Self = Self::Size(1);

    fn size(&self) -> u64 {
        match self {
            Self::Schema(node, Meta::Plain) => most_elements(node),
            Self::Schema(..) => 1,
            Self::Size(size) | Self::Items { count: size, .. } => *size,
        }
    }

    fn item(&self) -> Self {
        match self {
            Self::Schema(node, _) => {
                let inner = node.items.as_deref().or(node.entries());
                inner.map_or(Self::SIMPLE, |inner| Self::Schema(inner, Meta::of(inner)))
            }
            Self::Items { item, .. } => (**item).clone(),
            Self::Size(_) => Self::SIMPLE,
        }
    }

    /// How many bytes of text it is at most; nothing for anything else.
    fn text(&self) -> u64 {
        match self {
            Self::Schema(node, Meta::Plain) if node.ty != Some(Type::String) => 0,
            Self::Items { .. } => 0,
            other => other.size(),
        }
    }

    fn is_list(&self) -> bool {
        match self {
            Self::Schema(node, _) => node.items.is_some(),
            Self::Items { .. } => true,
            Self::Size(_) => false,
        }
    }

    fn field(&self, name: &str) -> Self {
        match self {
            Self::Schema(_, Meta::Metadata) => Self::Size(REQUEST - 2),
            Self::Schema(node, Meta::Resource) if name == "metadata" => Self::Schema(node, Meta::Metadata),
            // Of what a field selects in a map Kubernetes' estimate knows no more than that it is there.
            Self::Schema(node, _) if node.entries().is_some_and(|entry| most_elements(entry) == 0) => Self::SIMPLE,
            Self::Schema(node, meta) => match node.under(name) {
                Some(inner) => Self::Schema(inner, Meta::of(inner)),
                None if *meta == Meta::Resource => Self::Size(REQUEST - 2),
                None => Self::SIMPLE,
            },
            other => other.item(),
        }
    }

    /// The larger one of two.
    fn or(self, other: Self) -> Self {
        if self.size() >= other.size() { self } else { other }
    }
}

/// A tenth: what walking along a text costs.
fn along(size: u64) -> u64 {
    size.div_ceil(10)
}

type Costs<'n> = (u64, Known<'n>);

struct Estimate<'n> {
    self_: Known<'n>,
    locals: Vec<Known<'n>>,
}

impl<'n> Estimate<'n> {
    fn of(&mut self, expr: &Expr) -> Costs<'n> {
        match expr {
            Expr::Literal(Literal::Text(text)) => (0, Known::Size(text.len() as u64)),
            Expr::Literal(Literal::Bytes(bytes)) => (0, Known::Size(bytes.len() as u64)),
            Expr::Literal(_) => (0, Known::SIMPLE),
            Expr::Self_ | Expr::OldSelf => (1, self.self_.clone()),
            Expr::Local(at) => (1, self.locals.get(*at).cloned().unwrap_or(Known::SIMPLE)),
            Expr::Select { of, field } | Expr::OptionalSelect { of, field } => {
                let (cost, known) = self.of(of);
                (cost.saturating_add(1), known.field(field))
            }
            // Only policies have these; what they cost is seen when they are evaluated.
            Expr::Variable(_) => (1, Known::SIMPLE),
            Expr::Built { fields, .. } => {
                let cost = fields.iter().fold(0, |sum: u64, field| sum.saturating_add(self.of(&field.value).0));
                (cost.saturating_add(MAKE_OBJECT), Known::Size(fields.len() as u64))
            }
            Expr::Has { of, .. } => (self.of(of).0, Known::SIMPLE),
            Expr::List(items) => {
                let mut all = (MAKE_LIST, Known::Size(0));
                for item in items {
                    let (cost, known) = self.of(&item.value);
                    all = (all.0.saturating_add(cost), all.1.or(known));
                }
                (all.0, Known::Items { count: items.len() as u64, item: Rc::new(all.1) })
            }
            Expr::Map(entries) => {
                let mut all = (MAKE_MAP, Known::Size(0));
                for entry in entries {
                    let (key, (cost, known)) = (self.of(&entry.key).0, self.of(&entry.value));
                    all = (all.0.saturating_add(key).saturating_add(cost), all.1.or(known));
                }
                (all.0, Known::Items { count: entries.len() as u64, item: Rc::new(all.1) })
            }
            Expr::And(left, right) | Expr::Or(left, right) => {
                (self.of(left).0.saturating_add(self.of(right).0), Known::SIMPLE)
            }
            Expr::If { test, then, other } => {
                let (test, then, other) = (self.of(test).0, self.of(then), self.of(other));
                (test.saturating_add(then.0.max(other.0)), then.1.or(other.1))
            }
            Expr::Fold(fold) => self.fold(fold),
            Expr::OptionalMap { of, body, .. } => {
                let (cost, known) = self.of(of);
                self.locals.push(known);
                let (inner, known) = self.of(body);
                self.locals.pop();
                (cost.saturating_add(inner).saturating_add(1), known)
            }
            Expr::Search { name, text, pattern, limit } => {
                let limit = limit.as_ref().map_or(0, |limit| self.of(limit).0);
                let (cost, known) = self.of(text);
                let pattern = Known::Size(pattern.as_str().len() as u64);
                let (own, known) = call(name, &[known, pattern]);
                (cost.saturating_add(limit).saturating_add(own), known)
            }
            Expr::Call { name, args } if *name == RANGE => {
                let count = match args.as_slice() {
                    [Expr::Literal(Literal::Int(count))] => u64::try_from(*count).unwrap_or(0),
                    _ => u64::MAX,
                };
                let before = args.iter().fold(0_u64, |sum, arg| sum.saturating_add(self.of(arg).0));
                let item = Rc::new(Known::SIMPLE);
                (before.saturating_add(count).saturating_add(1 + MAKE_LIST), Known::Items { count, item })
            }
            Expr::Call { name, args } => {
                let (mut sum, mut known) = (0_u64, Vec::with_capacity(args.len()));
                for arg in args {
                    let (cost, of) = self.of(arg);
                    sum = sum.saturating_add(cost);
                    known.push(of);
                }
                let (own, result) = call(name, &known);
                (sum.saturating_add(own), result)
            }
        }
    }

    /// A macro: for each item of its range what it does there, and what holds the outcome together.
    fn fold(&mut self, fold: &Fold) -> Costs<'n> {
        let (range, known) = self.of(&fold.range);
        let (count, before) = (known.size(), self.locals.len());
        // What a map's keys are like no schema says; Kubernetes takes them for short.
        let first = if known.is_list() { Known::SIMPLE } else { Known::Size(0) };
        match (fold.two, known.is_list()) {
            (true, _) => self.locals.extend([first, known.item()]),
            (false, true) => self.locals.push(known.item()),
            (false, false) => self.locals.push(first),
        }
        let test = fold.test.as_ref().map_or(0, |test| self.of(test).0);
        let (item, kept) = fold.item.as_ref().map_or((0, Known::SIMPLE), |item| self.of(item));
        self.locals.truncate(before);
        // Looking at what came of it so far, and adding to that.
        let (begin, each) = match fold.kind {
            FoldKind::All => (1, 3),
            FoldKind::Exists => (1, 4),
            FoldKind::ExistsOne => (2, 2),
            FoldKind::List => (MAKE_LIST + 1, MAKE_LIST + 2),
            FoldKind::Map | FoldKind::Entries => (MAKE_MAP + 1, MAKE_MAP + 2),
        };
        let each = test.saturating_add(item).saturating_add(each);
        let cost = range.saturating_add(begin).saturating_add(count.saturating_mul(each));
        let result = match fold.kind {
            FoldKind::List | FoldKind::Map | FoldKind::Entries => Known::Items { count, item: Rc::new(kept) },
            _ => Known::SIMPLE,
        };
        (cost, result)
    }
}

/// What a call costs beside its arguments, and what comes of it.
fn call<'n>(name: &str, args: &[Known<'n>]) -> Costs<'n> {
    let size = |at: usize| args.get(at).map_or(1, Known::size);
    let first = || args.first().cloned().unwrap_or(Known::SIMPLE);
    let text = |size: u64| Known::Size(size);
    match name {
        "matches" => (matching(size(0), size(1)), Known::SIMPLE),
        "find" => (matching(size(0), size(1)), text(size(0))),
        "findAll" => (matching(size(0), size(1)), Known::Items { count: size(0), item: Rc::new(text(size(0))) }),
        "contains" => (along(size(0)).saturating_mul(along(size(1))), Known::SIMPLE),
        ops::EQUALS | ops::NOT_EQUALS | ops::LESS | ops::LESS_EQUALS | ops::GREATER | ops::GREATER_EQUALS => {
            (along(size(0).min(size(1))), Known::SIMPLE)
        }
        "startsWith" | "endsWith" => (along(size(1)), Known::SIMPLE),
        ops::IN => (if args.get(1).is_some_and(Known::is_list) { size(1) } else { 1 }, Known::SIMPLE),
        ops::ADD => {
            let sum = size(0).saturating_add(size(1));
            match first().is_list() {
                true => (1, Known::Items { count: sum, item: Rc::new(args[0].item().or(args[1].item())) }),
                false => (along(sum), text(sum)),
            }
        }
        ops::INDEX | ops::OPT_INDEX => (1, first().item()),
        "isSorted" | "sum" | "min" | "max" => {
            let item = first().item();
            (size(0).saturating_mul(along(item.text()).saturating_add(1)), item)
        }
        "indexOf" | "lastIndexOf" if first().is_list() => {
            (size(0).saturating_mul(along(first().item().text()).saturating_add(1)), Known::SIMPLE)
        }
        "indexOf" | "lastIndexOf" => (along(size(0)), Known::SIMPLE),
        "slice" => (size(0).saturating_add(1 + MAKE_LIST), first()),
        "reverse" if first().is_list() => (size(0).saturating_add(1 + MAKE_LIST), first()),
        "flatten" => {
            let (items, inner) = (first(), first().item());
            let count = items.size().saturating_mul(if inner.is_list() { inner.size() } else { 1 });
            let item = Rc::new(if inner.is_list() { inner.item() } else { inner });
            let depth = if args.len() > 1 { u64::MAX } else { 1 };
            (items.size().saturating_mul(depth).saturating_add(1 + MAKE_LIST), Known::Items { count, item })
        }
        "distinct" | "sort" => {
            let pairs = size(0).saturating_mul(size(0));
            (pairs.saturating_mul(2).saturating_add(pairs / 10).saturating_add(1 + MAKE_LIST), first())
        }
        "first" | "last" => (1, first().item()),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => (size(0).saturating_mul(size(1)), Known::SIMPLE),
        "lowerAscii" | "upperAscii" | "trim" | "substring" | "reverse" | "string" | "bytes" => {
            (along(size(0)), text(size(0)))
        }
        "replace" => (along(size(0)).saturating_mul(2), text(size(0).saturating_add(size(2)))),
        "split" => (along(size(0)).saturating_mul(2), Known::Items { count: size(0), item: Rc::new(text(size(0))) }),
        "join" => {
            let separator = if args.len() > 1 { size(1) } else { 0 };
            let whole = joined(&first(), separator);
            (along(whole), text(whole))
        }
        "url" | "isURL" | "ip" | "isIP" | "ip.isCanonical" | "cidr" | "isCIDR" | "quantity" | "isQuantity"
        | "semver" | "isSemver" => (along(size(0)), Known::SIMPLE),
        "validate" => (along(size(1)), Known::SIMPLE),
        "optional.of" | "optional.ofNonZeroValue" | "value" | "dyn" => (1, first()),
        "or" | "orValue" => (1, args.iter().cloned().fold(Known::Size(0), Known::or)),
        _ => (1, Known::SIMPLE),
    }
}

/// A pattern has an expression for every four of its signs, about.
fn matching(text: u64, pattern: u64) -> u64 {
    along(text.saturating_add(1)).saturating_mul(pattern.div_ceil(4))
}

/// How long what is joined becomes.
fn joined(list: &Known<'_>, separator: u64) -> u64 {
    let count = list.size();
    count.saturating_mul(list.item().size()).saturating_add(count.saturating_sub(1).saturating_mul(separator))
}
