//! Quantities and versions (Kubernetes' `quantity` and `semver`).

use std::cmp::Ordering;
use std::rc::Rc;

use pal_resources::quantity::Quantity;

use super::super::meter::{Fail, Meter};
use super::super::value::{Semver, V};
use super::Outcome;

pub(super) fn call<'a>(name: &str, args: &[V<'a>], _: &mut Meter) -> Option<Outcome<'a>> {
    Some(match (name, args) {
        ("quantity", [V::Text(text)]) => {
            text.parse::<Quantity>().map(V::Quantity).map_err(|error| Fail::error(error.to_string()))
        }
        ("isQuantity", [V::Text(text)]) => Ok(V::Bool(text.parse::<Quantity>().is_ok())),
        ("sign", [V::Quantity(quantity)]) => Ok(V::Int(order_number(quantity.cmp(&Quantity::ZERO)))),
        ("isInteger", [V::Quantity(quantity)]) => Ok(V::Bool(quantity.is_whole())),
        ("asInteger", [V::Quantity(quantity)]) if quantity.is_whole() => Ok(V::Int(quantity.units())),
        ("asInteger", [V::Quantity(_)]) => Err(Fail::error("cannot convert value to integer")),
        ("asApproximateFloat", [V::Quantity(quantity)]) => Ok(V::Double(quantity.millis() as f64 / 1000.0)),
        ("add", [V::Quantity(a), V::Quantity(b)]) => Ok(V::Quantity(*a + *b)),
        ("add", [V::Quantity(a), V::Int(b)]) => Ok(V::Quantity(*a + Quantity::from_units(*b))),
        ("sub", [V::Quantity(a), V::Quantity(b)]) => Ok(V::Quantity(*a - *b)),
        ("sub", [V::Quantity(a), V::Int(b)]) => Ok(V::Quantity(*a - Quantity::from_units(*b))),
        ("semver", [V::Text(text), normal @ ..]) => semver(text, normal).map(|version| V::Semver(Rc::new(version))),
        ("isSemver", [V::Text(text), normal @ ..]) => Ok(V::Bool(semver(text, normal).is_ok())),
        ("major", [V::Semver(version)]) => whole(version.numbers[0]),
        ("minor", [V::Semver(version)]) => whole(version.numbers[1]),
        ("patch", [V::Semver(version)]) => whole(version.numbers[2]),
        ("compareTo" | "isLessThan" | "isGreaterThan", [a, b]) => {
            let order = match (a, b) {
                (V::Quantity(a), V::Quantity(b)) => a.cmp(b),
                (V::Semver(a), V::Semver(b)) => compare(a, b),
                _ => return None,
            };
            Ok(match name {
                "compareTo" => V::Int(order_number(order)),
                "isLessThan" => V::Bool(order.is_lt()),
                _ => V::Bool(order.is_gt()),
            })
        }
        _ => return None,
    })
}

fn order_number(order: Ordering) -> i64 {
    match order {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

fn whole<'a>(number: u64) -> Outcome<'a> {
    i64::try_from(number).map(V::Int).map_err(|_| Fail::error("integer overflow"))
}

/// A version; where it may be normalized, `v1.2` is one too.
fn semver(text: &str, normal: &[V<'_>]) -> Result<Semver, Fail> {
    let normal = matches!(normal, [V::Bool(true)]);
    let wrong = || Fail::error(format!("invalid semantic version {text:?}"));
    let plain = if normal { text.trim_start_matches('v') } else { text };
    let (plain, build) = plain.split_once('+').map_or((plain, None), |(plain, build)| (plain, Some(build)));
    let (plain, before) = plain.split_once('-').map_or((plain, None), |(plain, before)| (plain, Some(before)));
    let idents = |text: &str| -> Option<Vec<String>> {
        let fine = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        text.split('.').all(|part| fine(&part)).then(|| text.split('.').map(str::to_owned).collect())
    };
    let before = before.map_or(Some(Vec::new()), idents).ok_or_else(wrong)?;
    if build.is_some_and(|build| idents(build).is_none()) {
        return Err(wrong());
    }
    let mut parts: Vec<&str> = plain.split('.').collect();
    while normal && parts.len() < 3 {
        parts.push("0");
    }
    let number = |part: &&str| {
        let part = if normal && part.len() > 1 { part.trim_start_matches('0') } else { part };
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let leading = part.len() > 1 && part.starts_with('0');
        if digits && !leading { part.parse::<u64>().ok() } else { None }
    };
    match parts.iter().map(number).collect::<Option<Vec<u64>>>().as_deref() {
        Some([major, minor, patch]) => Ok(Semver { numbers: [*major, *minor, *patch], before }),
        _ => Err(wrong()),
    }
}

fn compare(a: &Semver, b: &Semver) -> Ordering {
    let part = |a: &String, b: &String| match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    };
    a.numbers.cmp(&b.numbers).then_with(|| match (a.before.is_empty(), b.before.is_empty()) {
        // A version comes after what went before it.
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let parts = a.before.iter().zip(&b.before).map(|(a, b)| part(a, b));
            parts.into_iter().find(|order| order.is_ne()).unwrap_or(a.before.len().cmp(&b.before.len()))
        }
    })
}
