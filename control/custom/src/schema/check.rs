//! What is wrong with a value, in the words of kube-openapi's validator as kube-apiserver passes them on.

use pal_resources::field::{FieldError, FieldErrorKind};
use serde_json::Value;

use super::node::{Additional, Checks, Type};
use super::{Node, Path};
use crate::number;

/// How many faults are told; a list of a million bad entries has a million.
pub(crate) const MAX_ERRORS: usize = 200;
/// How long they may be together: each may show every value that would have been right.
const MAX_ERROR_BYTES: usize = 1 << 20;

/// What was found so far.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<FieldError>,
    /// How many checks were made: alternatives are compared by it.
    made: u64,
    /// What may be a number or a text may be anything: so it is with defaults.
    loose: bool,
}

impl Findings {
    /// Of a default, which only alternatives that are written out keep from being of another type than a number or a text.
    pub(crate) fn of_default() -> Self {
        Self { loose: true, ..Self::default() }
    }

    fn full(&self) -> bool {
        let bytes = || self.errors.iter().map(|error| error.message.len()).sum::<usize>();
        self.errors.len() >= MAX_ERRORS || bytes() >= MAX_ERROR_BYTES
    }

    fn invalid(&mut self, path: &Path, value: impl Into<Value>, what: &str) {
        let detail = format!("{} in body {what}", path.as_str());
        self.errors.push(FieldError::invalid(&path.field(), value, &detail));
    }

    fn of_type(&mut self, path: &Path, name: &str, value: &str) {
        let detail = format!("{} in body must be of type {name}: {value:?}", path.as_str());
        let mut error = FieldError::invalid(&path.field(), value, &detail);
        error.kind = FieldErrorKind::TypeInvalid;
        self.errors.push(error);
    }

    /// Faults of alternatives have no path of their own.
    fn whole(&mut self, path: &Path, what: &str) {
        let detail = format!("{:?} {what}", path.as_str());
        self.errors.push(FieldError::invalid(&Path::default().field(), "", &detail));
    }
}

/// Checks a value. With what stood there before, faults of a value that is the same are forgiven (KEP-4008).
pub(crate) fn check(node: &Node, value: &Value, old: Option<&Value>, path: &mut Path, found: &mut Findings) {
    let before = found.errors.len();
    check_type(node, value, path, found);
    if !value.is_null() {
        alternatives(&node.checks, value, path, found);
    }
    match value {
        Value::String(text) => check_text(&node.checks, text, path, found),
        Value::Number(_) => check_number(node, value, path, found),
        Value::Array(list) => check_list(node, list, old, path, found),
        _ => {}
    }
    check_values(node, value, path, found);
    if let Value::Object(map) = value {
        check_object(node, map, old, path, found);
    }
    if found.errors.len() > before && old.is_some_and(|old| alike(node, value, old)) {
        found.errors.truncate(before);
    }
}

/// Whether a value is still what stood there before: the items of a list with keys may have changed places.
pub(crate) fn alike(node: &Node, value: &Value, old: &Value) -> bool {
    match (value, old) {
        (Value::Object(map), Value::Object(old)) => {
            let inner = |(name, value): (&String, &Value)| match (old.get(name), node.under(name)) {
                (Some(old), Some(node)) => alike(node, value, old),
                (old, _) => old == Some(value),
            };
            map.len() == old.len() && map.iter().all(inner)
        }
        (Value::Array(list), Value::Array(old)) => match (node.list_keys(), &node.items) {
            (Some(keys), Some(item)) if list.len() == old.len() => {
                let before = Keyed::new(old, keys);
                list.iter().all(|value| before.get(value).is_some_and(|old| alike(item, value, old)))
            }
            _ => list == old,
        },
        _ => value == old,
    }
}

fn check_type(node: &Node, value: &Value, path: &Path, found: &mut Findings) {
    found.made += 1;
    let given = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    if node.int_or_string {
        if !(found.loose
            || given == "integer"
            || given == "string"
            || (given == "number" && whole)
            || (node.nullable && given == "null"))
        {
            found.of_type(path, "integer,string", given);
        }
        return;
    }
    let Some(ty) = node.ty else { return };
    let fits = match (given, ty) {
        ("null", _) => node.nullable,
        ("integer", Type::Number) => true,
        ("number", Type::Integer) => whole,
        (given, ty) => given == ty.name(),
    };
    if !fits {
        found.of_type(path, ty.name(), given);
    }
}

fn check_text(checks: &Checks, text: &str, path: &Path, found: &mut Findings) {
    found.made += 1;
    let length = || text.chars().count() as u64;
    if let Some(max) = checks.max_length.filter(|max| text.len() as u64 > *max && length() > *max) {
        found.errors.push(FieldError::too_long(&path.field(), max as usize));
    } else if let Some(min) = checks.min_length.filter(|min| length() < *min) {
        found.invalid(path, text, &format!("should be at least {min} chars long"));
    } else if checks.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
        found.invalid(path, text, &format!("should match '{}'", checks.pattern_text));
    }
    if let Some(format) = checks.format.as_ref().filter(|format| !format.fits(text)) {
        found.of_type(path, format.name(), text);
    }
}

fn check_number(node: &Node, value: &Value, path: &Path, found: &mut Findings) {
    found.made += 1;
    let checks = &node.checks;
    let Some(number) = value.as_f64() else { return };
    check_range(node, value, path, found);
    // Kubernetes compares whole numbers with whole bounds.
    let bound = |bound: f64| if value.is_f64() { bound } else { bound.trunc() };
    if let Some(factor) = checks.multiple_of.filter(|factor| *factor > 0.0 && !is_multiple(value, *factor)) {
        found.invalid(path, value.clone(), &format!("should be a multiple of {}", number::show(factor)));
    }
    if let Some(max) = checks.maximum.map(bound) {
        if checks.exclusive_maximum && number >= max {
            found.invalid(path, value.clone(), &format!("should be less than {}", number::show(max)));
        } else if number > max {
            found.invalid(path, value.clone(), &format!("should be less than or equal to {}", number::show(max)));
        }
    }
    if let Some(min) = checks.minimum.map(bound) {
        if checks.exclusive_minimum && number <= min {
            found.invalid(path, value.clone(), &format!("should be greater than {}", number::show(min)));
        } else if number < min {
            found.invalid(path, value.clone(), &format!("should be greater than or equal to {}", number::show(min)));
        }
    }
}

/// Whether a number fits what its type and format can hold.
fn check_range(node: &Node, value: &Value, path: &Path, found: &mut Findings) {
    let format = node.checks.number_format.as_str();
    let whole = |from: f64, to: f64| {
        value.as_f64().is_some_and(|number| number.fract() == 0.0 && number >= from && number <= to)
    };
    let (ty, fits) = match (node.ty, format) {
        (Some(Type::Integer), "int32") => ("integer", whole(f64::from(i32::MIN), f64::from(i32::MAX))),
        (Some(Type::Integer), "uint32") => ("integer", whole(0.0, f64::from(u32::MAX))),
        (Some(Type::Integer), "uint64") => ("integer", value.is_u64() || value.is_f64() && whole(0.0, 1.8e19)),
        (Some(Type::Integer), _) => ("integer", value.is_i64() || value.is_f64() && whole(-9.2e18, 9.2e18)),
        (Some(Type::Number), "float" | "float32") => {
            ("number", value.as_f64().is_none_or(|number| number.abs() <= f64::from(f32::MAX)))
        }
        _ => return,
    };
    if !fits {
        let format = if format.is_empty() { "(default format)".to_owned() } else { format!("with format {format}") };
        let detail = format!("Checked value must be of type {ty} {format} in {}", path.as_str());
        found.errors.push(FieldError::invalid(&Path::default().field(), "", &detail));
    }
}

fn is_multiple(value: &Value, factor: f64) -> bool {
    match value.as_i64() {
        // Whole numbers of any size are exact.
        Some(number) if factor.fract() == 0.0 && factor < 9e18 => number % (factor as i64) == 0,
        _ => value.as_f64().is_some_and(|number| {
            let times = number / factor;
            (times - times.round()).abs() < 1e-9
        }),
    }
}

fn check_list(node: &Node, list: &[Value], old: Option<&Value>, path: &mut Path, found: &mut Findings) {
    found.made += 1;
    let checks = &node.checks;
    if let Some(items) = &node.items {
        let before = old.and_then(Value::as_array).zip(node.list_keys()).map(|(old, keys)| Keyed::new(old, keys));
        for (index, value) in list.iter().enumerate() {
            if found.full() {
                return;
            }
            let old = before.as_ref().and_then(|keyed| keyed.get(value));
            path.index(index, |path| check(items, value, old, path, found));
        }
    }
    let count = list.len() as u64;
    if let Some(min) = checks.min_items.filter(|min| count < *min) {
        found.invalid(path, count, &format!("should have at least {min} items"));
    }
    if let Some(max) = checks.max_items.filter(|max| count > *max) {
        found.errors.push(too_many(path, count, max));
    }
}

pub(crate) fn too_many(path: &Path, count: u64, max: u64) -> FieldError {
    let limit = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    FieldError::too_many(&path.field(), limit(count), limit(max))
}

/// The items of a list by their keys.
pub(crate) struct Keyed<'a> {
    keys: &'a [String],
    items: std::collections::HashMap<String, &'a Value>,
}

impl<'a> Keyed<'a> {
    pub(crate) fn new(list: &'a [Value], keys: &'a [String]) -> Self {
        Self { keys, items: list.iter().map(|item| (Self::key(item, keys), item)).collect() }
    }

    /// The item that has the same keys.
    pub(crate) fn get(&self, item: &Value) -> Option<&'a Value> {
        self.items.get(&Self::key(item, self.keys)).copied()
    }

    fn key(item: &Value, keys: &[String]) -> String {
        keys.iter().map(|key| item.get(key).map_or(String::new(), super::lists::canonical) + "\n").collect()
    }
}

fn check_values(node: &Node, value: &Value, path: &Path, found: &mut Findings) {
    found.made += 1;
    let values = &node.checks.values;
    let known = match value {
        Value::String(text) => node.checks.texts.contains(text),
        Value::Null if node.nullable => true,
        value => values.iter().any(|known| same(known, value)),
    };
    if values.is_empty() || known {
        return;
    }
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let supported: Vec<String> = values.iter().map(shown).collect();
    let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
    found.errors.push(FieldError::not_supported(&path.field(), value.clone(), &supported));
}

/// Whether two values are worth the same, however their numbers are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (a, b) => a == b,
    }
}

fn check_object(
    node: &Node,
    map: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    path: &mut Path,
    found: &mut Findings,
) {
    found.made += 1;
    let checks = &node.checks;
    let count = map.len() as u64;
    if let Some(min) = checks.min_properties.filter(|min| count < *min) {
        found.invalid(path, count, &format!("should have at least {min} properties"));
    }
    if let Some(max) = checks.max_properties.filter(|max| count > *max) {
        return found.errors.push(too_many(path, count, max));
    }
    let was = |name: &str| old.and_then(|old| old.get(name));
    for (name, value) in map.iter().filter(|(name, _)| !node.properties.contains_key(name.as_str())) {
        match &node.additional {
            _ if found.full() => return,
            Some(Additional::Schema(node)) => {
                path.child(name, |path| check(node, value, was(name), path, found));
            }
            Some(Additional::None) => {
                let detail = format!("{0}.{name} in body is a forbidden property", path.as_str());
                found.errors.push(FieldError::invalid(&path.field(), name.as_str(), &detail));
            }
            Some(Additional::Any) | None => {}
        }
    }
    for (name, node) in &node.properties {
        let Some(value) = map.get(name) else { continue };
        if found.full() {
            return;
        }
        // Both sides were brought to one version: these two never differ.
        let hidden = path.as_str().is_empty() && (name == "apiVersion" || name == "kind");
        path.child(name, |path| check(node, value, was(name).filter(|_| !hidden), path, found));
    }
    for name in checks.required.iter().filter(|name| !map.contains_key(name.as_str())) {
        path.child(name, |path| found.errors.push(FieldError::required(&path.field(), "")));
    }
}

fn alternatives(checks: &Checks, value: &Value, path: &mut Path, found: &mut Findings) {
    found.made += 1;
    if !checks.any_of.is_empty() {
        let tried = Tried::all(&checks.any_of, value, path, true);
        found.made += tried.made;
        if tried.passed == 0 {
            found.whole(path, "must validate at least one schema (anyOf)");
            found.errors.extend(tried.best);
        }
    }
    if !checks.one_of.is_empty() {
        let tried = Tried::all(&checks.one_of, value, path, false);
        found.made += tried.made;
        if tried.passed != 1 {
            let why = match tried.passed {
                0 => "Found none valid".to_owned(),
                some => format!("Found {some} valid alternatives"),
            };
            found.whole(path, &format!("must validate one and only one schema (oneOf). {why}"));
            if tried.passed == 0 {
                found.errors.extend(tried.best);
            }
        }
    }
    let mut passed = 0;
    for node in &checks.all_of {
        let mut own = Findings::default();
        check(node, value, None, path, &mut own);
        passed += usize::from(own.errors.is_empty());
        found.made += own.made;
        found.errors.extend(own.errors);
    }
    if passed < checks.all_of.len() {
        let none = if passed == 0 { ". None validated" } else { "" };
        found.whole(path, &format!("must validate all the schemas (allOf){none}"));
    }
    if let Some(node) = &checks.not {
        let mut own = Findings::default();
        check(node, value, None, path, &mut own);
        if own.errors.is_empty() {
            found.whole(path, "must not validate the schema (not)");
        }
    }
}

/// What became of alternatives.
struct Tried {
    passed: usize,
    made: u64,
    /// The faults of the one of which most was checked.
    best: Vec<FieldError>,
}

impl Tried {
    fn all(nodes: &[Node], value: &Value, path: &mut Path, one_is_enough: bool) -> Self {
        let mut tried = Self { passed: 0, made: 0, best: Vec::new() };
        let mut most = None;
        for node in nodes {
            let mut own = Findings::default();
            check(node, value, None, path, &mut own);
            if own.errors.is_empty() {
                tried.passed += 1;
                tried.made += own.made;
                if one_is_enough {
                    break;
                }
            } else if most.is_none_or(|most| own.made > most) {
                most = Some(own.made);
                tried.best = own.errors;
            }
        }
        tried
    }
}
