//! What the steps of an evaluation cost, as Kubernetes counts them (cel-go's `runtimecost.go`, and the apiserver's
//! `cel/library/cost.go`).

use std::net::IpAddr;

use super::super::signatures::RANGE;
use super::super::value::V;
use super::formats;

/// A part of a name that was resolved: a variable, a field, an index.
pub(in super::super) const STEP: usize = 1;
/// What is made.
pub(in super::super) const LIST: usize = 10;
pub(in super::super) const MAP: usize = 30;
pub(in super::super) const OBJECT: usize = 40;
/// So few checks may one expression make.
const CHECK: usize = 350_000;
/// What a selector of a check costs at least, and for every second letter.
const SELECTOR: usize = 10;
const REQUIREMENT: usize = 50;

/// As many items, entries or letters as there are.
fn size(value: &V<'_>) -> usize {
    match value {
        V::Text(text) => text.chars().count(),
        V::Bytes(bytes) => bytes.len(),
        V::Ip(IpAddr::V4(_)) => 4,
        V::Ip(IpAddr::V6(_)) => 16,
        V::Cidr(_, length) => usize::from(*length).div_ceil(8),
        other => other.count().unwrap_or(1),
    }
}

/// Walking over a value with all that is in it.
fn walked(value: &V<'_>) -> usize {
    match value {
        V::Text(text) => text.len() / 10,
        V::Bytes(bytes) => bytes.len() / 10,
        V::List(_) | V::JsonList(..) => {
            (0..value.count().unwrap_or(0)).filter_map(|at| value.at(at)).map(|item| walked(&item)).sum()
        }
        _ => 1,
    }
}

/// What a call costs beside its arguments.
pub(in super::super) fn call(name: &str, args: &[V<'_>]) -> usize {
    let of = |at: usize| args.get(at).map_or(0, size);
    let text = |at: usize| matches!(args.get(at), Some(V::Text(_)));
    let tenth = |count: usize| count.div_ceil(10);
    let sized = |at: usize| matches!(args.get(at), Some(V::Text(_) | V::Bytes(_)));
    match (name, args) {
        ("check", [V::Asking(_), _]) => CHECK,
        ("fieldSelector" | "labelSelector", _) => SELECTOR + of(1).div_ceil(2) * REQUIREMENT + tenth(of(1)),
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", [list, ..]) => walked(list),
        ("slice", [_, V::Int(start), V::Int(end)]) => {
            usize::try_from(end.saturating_sub(*start)).unwrap_or(0).min(of(0)) + 1 + LIST
        }
        (RANGE, [V::Int(count)]) => usize::try_from(*count).unwrap_or(0).saturating_add(1 + LIST),
        ("reverse", [V::List(_) | V::JsonList(..)]) => of(0) + 1 + LIST,
        ("flatten", [_, depth @ ..]) => {
            let depth = if let [V::Int(depth)] = depth { usize::try_from(*depth).unwrap_or(1) } else { 1 };
            depth.saturating_mul(of(0)).saturating_add(1 + LIST)
        }
        // Each with each, twice.
        ("distinct" | "sort", [list]) => {
            let letters = matches!(list.at(0), Some(V::Text(_) | V::Bytes(_)));
            let pairs = of(0).saturating_mul(of(0));
            pairs.saturating_mul(2).saturating_add(if letters { pairs / 10 } else { 0 }).saturating_add(1 + LIST)
        }
        ("ip", [V::Cidr(..)]) => 1,
        (
            "url"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "ip"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver"
            | "startsWith"
            | "endsWith"
            | "strings.quote"
            | "format"
            | "jsonpatch.escapeKey",
            _,
        ) => tenth(of(0)),
        ("replace" | "split" | "ip.isCanonical", _) => tenth(2 * of(0)),
        ("join", [list, by @ ..]) => {
            let items = list.count().unwrap_or(0);
            let letters: usize = (0..items).filter_map(|at| list.at(at)).map(|item| size(&item)).sum();
            tenth(2 * (letters + by.first().map_or(0, size) * items.saturating_sub(1)))
        }
        ("find" | "findAll" | "matches", _) => pattern(of(0), of(1)),
        ("validate", [V::Format(format), _]) => pattern(of(1), formats::pattern_len(format)),
        ("contains", _) => tenth(of(0)) * tenth(of(1)),
        ("containsIP", _) => tenth(2 * of(0)) + if text(1) { tenth(of(1)) } else { 0 },
        ("containsCIDR", _) => tenth(2 * of(0)) + tenth(of(0)) + 1 + if text(1) { tenth(of(1)) } else { 0 },
        ("sets.contains" | "sets.intersects", _) => 1 + of(0) * of(1),
        ("sets.equivalent", _) => 1 + 2 * of(0) * of(1),
        ("bytes" | "string", [V::Text(_) | V::Bytes(_)]) if name == "bytes" || !text(0) => tenth(of(0)),
        ("@in", [_, V::List(_) | V::JsonList(..)]) => of(1),
        ("_==_" | "_!=_", _) => tenth(of(0).min(of(1))),
        ("_<_" | "_<=_" | "_>_" | "_>=_", _) if sized(0) => tenth(of(0).min(of(1))),
        ("_+_", _) if sized(0) => tenth(of(0) + of(1)),
        _ => 1,
    }
}

/// Looking for a pattern of a length in a text.
pub(in super::super) fn pattern(text: usize, pattern: usize) -> usize {
    (text + 1).div_ceil(10) * pattern.div_ceil(4)
}
