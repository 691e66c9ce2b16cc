//! The paths of printer columns: client-go's JSONPath as far as columns use it.

use serde_json::Value;

/// How many values one path may look at: `..` and `*` over large objects end there.
const MAX_LOOKS: usize = 100_000;

/// Longer paths show nothing, nor do those whose filters hold more than so many filters in one another.
const MAX_BYTES: usize = 4096;
const MAX_FILTERS: usize = 4;

/// A path, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Fields(Vec<String>),
    All,
    /// `..`
    Descend,
    /// `[1]`, `[-1]`
    Indices(Vec<i64>),
    /// `[1:3]`
    Slice {
        from: Option<i64>,
        to: Option<i64>,
    },
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// Without one, what is on the left must be there.
    test: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const COMPARISONS: &[(&str, Comparison)] = &[
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl JsonPath {
    /// Reads `.spec.a`, `.list[?(@.type=="Ready")].status` and the like; `None` where it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES { None } else { Self::parse_within(text, MAX_FILTERS) }
    }

    fn parse_within(text: &str, filters: usize) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while let Some(first) = rest.chars().next() {
            rest = match first {
                '.' if rest.starts_with("..") => {
                    steps.push(Step::Descend);
                    if rest[2..].starts_with('[') { &rest[2..] } else { field(&rest[2..], &mut steps)? }
                }
                '.' if rest.len() == 1 => "",
                '.' if rest[1..].starts_with('[') => &rest[1..],
                '.' => field(&rest[1..], &mut steps)?,
                '[' => {
                    let end = closing(rest)?;
                    steps.push(bracket(rest[1..end].trim(), filters)?);
                    &rest[end + 1..]
                }
                _ => return None,
            };
        }
        Some(Self(steps))
    }

    /// The first value that the path leads to.
    pub(crate) fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.all(value, &mut MAX_LOOKS.clone()).into_iter().next()
    }

    fn all<'a>(&self, value: &'a Value, looks: &mut usize) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                step.follow(value, &mut next, looks);
            }
            found = next;
        }
        found
    }
}

/// A field's name up to the next step; `\.` stands for a point.
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> Option<&'a str> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            c => name.push(c),
        }
    }
    match name.as_str() {
        "" => return None,
        "*" => steps.push(Step::All),
        _ => steps.push(Step::Fields(vec![name])),
    }
    Some(&text[end..])
}

/// Where the bracket that opens the text is closed.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', Some(_)) => drop(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('[' | '(', None) => depth += 1,
            (']' | ')', None) => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(text: &str, filters: usize) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return Some(Step::Filter(parse_filter(filter, filters.checked_sub(1)?)?));
    }
    if text.starts_with(['\'', '"']) {
        let names = text.split(',').map(|part| quoted(part.trim()));
        return Some(Step::Fields(names.collect::<Option<_>>()?));
    }
    let number = |text: &str| text.trim().parse::<i64>().ok();
    if let Some((from, to)) = text.split_once(':') {
        let bound = |text: &str| if text.trim().is_empty() { Some(None) } else { number(text).map(Some) };
        return Some(Step::Slice { from: bound(from)?, to: bound(to.split(':').next()?)? });
    }
    Some(Step::Indices(text.split(',').map(number).collect::<Option<_>>()?))
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next()? } else { c });
    }
    Some(out)
}

fn parse_filter(text: &str, filters: usize) -> Option<Filter> {
    let mut quote = None;
    let found = text.char_indices().find_map(|(at, c)| {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (_, None) => {
                let known = COMPARISONS.iter().find(|(sign, _)| text[at..].starts_with(sign));
                return known.map(|(sign, comparison)| (at, sign.len(), *comparison));
            }
            _ => {}
        }
        None
    });
    Some(match found {
        None => Filter { left: operand(text.trim(), filters)?, test: None },
        Some((at, length, comparison)) => Filter {
            left: operand(text[..at].trim(), filters)?,
            test: Some((comparison, operand(text[at + length..].trim(), filters)?)),
        },
    })
}

fn operand(text: &str, filters: usize) -> Option<Operand> {
    if let Some(path) = text.strip_prefix('@') {
        return JsonPath::parse_within(path, filters).map(Operand::Path);
    }
    if text.starts_with(['\'', '"']) {
        return Some(Operand::Literal(quoted(text)?.into()));
    }
    serde_json::from_str(text).ok().map(Operand::Literal)
}

impl Step {
    fn follow<'a>(&self, value: &'a Value, out: &mut Vec<&'a Value>, looks: &mut usize) {
        let Some(left) = looks.checked_sub(1) else { return };
        *looks = left;
        match (self, value) {
            (Self::Fields(names), Value::Object(map)) => out.extend(names.iter().filter_map(|name| map.get(name))),
            (Self::All, Value::Object(map)) => out.extend(map.values().take(*looks)),
            (Self::All, Value::Array(list)) => out.extend(list.iter().take(*looks)),
            (Self::Descend, value) => descend(value, out, looks),
            (Self::Indices(indices), Value::Array(list)) => {
                out.extend(indices.iter().filter_map(|index| list.get(place(*index, list.len())?)));
            }
            (Self::Slice { from, to }, Value::Array(list)) => {
                let from = from.map_or(Some(0), |from| place(from, list.len())).unwrap_or(0);
                let to = to.map_or(list.len(), |to| place(to, list.len()).unwrap_or(0).min(list.len()));
                out.extend(list.iter().take(to).skip(from).take(*looks));
            }
            (Self::Filter(filter), Value::Array(list)) => {
                for item in list {
                    if *looks == 0 {
                        return;
                    }
                    if filter.passes(item, looks) {
                        out.push(item);
                    }
                }
            }
            _ => {}
        }
    }
}

/// An index from the end is negative.
fn place(index: i64, length: usize) -> Option<usize> {
    usize::try_from(if index < 0 { index + i64::try_from(length).ok()? } else { index }).ok()
}

fn descend<'a>(value: &'a Value, out: &mut Vec<&'a Value>, looks: &mut usize) {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        let Some(left) = looks.checked_sub(1) else { return };
        *looks = left;
        out.push(value);
        match value {
            Value::Object(map) => pending.extend(map.values().rev().filter(|value| !value.is_null()).take(left)),
            Value::Array(list) => pending.extend(list.iter().rev().take(left)),
            _ => {}
        }
    }
}

impl Filter {
    fn passes(&self, item: &Value, looks: &mut usize) -> bool {
        *looks = looks.saturating_sub(1);
        let Some(left) = self.left.value(item, looks) else { return false };
        let Some((comparison, right)) = &self.test else { return true };
        let Some(right) = right.value(item, looks) else { return false };
        let order = match (&left, &right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) if a == b => Some(std::cmp::Ordering::Equal),
            _ => None,
        };
        match comparison {
            Comparison::Equal => order.is_some_and(|order| order.is_eq()),
            Comparison::NotEqual => order.is_none_or(|order| order.is_ne()),
            Comparison::Less => order.is_some_and(|order| order.is_lt()),
            Comparison::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Comparison::Greater => order.is_some_and(|order| order.is_gt()),
            Comparison::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        }
    }
}

impl Operand {
    fn value(&self, item: &Value, looks: &mut usize) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Path(path) => {
                // What is compared is a scalar; larger values would only be copied in vain.
                path.all(item, looks).first().map(|value| match value {
                    Value::Array(_) | Value::Object(_) => Value::Null,
                    scalar => (*scalar).clone(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({
            "spec": {"a": 1, "b.c": "dot", "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "deep": {"n": "z"}},
            "status": {"conditions": [{"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        let rows = [
            (".spec.a", json!(1)),
            (".spec['a']", json!(1)),
            (".spec.b\\.c", json!("dot")),
            (".spec['b.c']", json!("dot")),
            (".spec.list[1].n", json!("y")),
            (".spec.list[-1].n", json!("y")),
            (".spec.list[*].n", json!("x")),
            (".spec.list[1:].n", json!("y")),
            (".status.conditions[?(@.type==\"Ready\")].status", json!("True")),
            (".status.conditions[?(@.type=='Ready')].status", json!("True")),
            (".spec.list[?(@.v>1)].n", json!("y")),
            (".spec.list[?(@.n != 'x')].v", json!(2)),
            (".spec.list[?(@.missing)].v", Value::Null),
            ("..n", json!("z")),
            (".spec.missing.x", Value::Null),
            (".spec.a.b", Value::Null),
            (".spec.list[9]", Value::Null),
        ];
        for (path, expected) in rows {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path} is a path"));
            assert_eq!(parsed.first(&object).cloned().unwrap_or_default(), expected, "{path}");
        }
        for bad in ["spec", ".a[", ".a[x]", ".a[?(@.b==)]", ".[?(b)]"] {
            assert_eq!(JsonPath::parse(bad), None, "{bad}");
        }
    }
}
