//! Lists and sets (Kubernetes' `lists`, cel-go's `ext.Sets` and `ext.Lists`).

use std::rc::Rc;

use super::super::meter::{Fail, Meter};
use super::super::operators::{apply, contains};
use super::super::signatures::RANGE;
use super::super::value::{V, equal, order};
use super::{Outcome, int};

/// As far as `lists.range` counts.
const FARTHEST: i64 = 1_000_000;

pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Option<Outcome<'a>> {
    if let (RANGE, [V::Int(count)]) = (name, args) {
        return Some(range(*count, meter));
    }
    if !args.first().is_some_and(is_list) {
        return None;
    }
    Some(match (name, args) {
        ("isSorted", [list]) => sorted(list, meter).map(V::Bool),
        ("sum", [list]) => sum(list, meter),
        ("min", [list]) => extreme(list, name, meter),
        ("max", [list]) => extreme(list, name, meter),
        ("indexOf", [list, item]) => place(list, item, false, meter),
        ("lastIndexOf", [list, item]) => place(list, item, true, meter),
        ("slice", [list, V::Int(start), V::Int(end)]) => slice(list, *start, *end, meter),
        ("flatten", [list]) => flat(list, 1, meter),
        ("flatten", [list, V::Int(depth)]) => flat(list, *depth, meter),
        ("distinct", [list]) => distinct(list, meter),
        ("reverse", [list]) => list.items(meter).map(|items| made(items.into_iter().rev().collect())),
        ("sort", [list]) => in_order(list, meter),
        ("first", [list]) => Ok(V::Optional(list.at(0).map(Rc::new))),
        ("last", [list]) => Ok(V::Optional(list.count().and_then(|count| list.at(count.checked_sub(1)?)).map(Rc::new))),
        ("sets.contains", [a, b]) if is_list(b) => all_in(b, a, meter).map(V::Bool),
        ("sets.equivalent", [a, b]) if is_list(b) => {
            all_in(b, a, meter).and_then(|one| Ok(V::Bool(one && all_in(a, b, meter)?)))
        }
        ("sets.intersects", [a, b]) if is_list(b) => intersect(a, b, meter).map(V::Bool),
        _ => return None,
    })
}

fn is_list(value: &V<'_>) -> bool {
    matches!(value, V::List(_) | V::JsonList(..))
}

fn made(items: Vec<V<'_>>) -> V<'_> {
    V::List(Rc::new(items))
}

/// The numbers below one.
fn range<'a>(count: i64, meter: &mut Meter) -> Outcome<'a> {
    if count < 0 {
        return Err(Fail::error(format!("lists.range: size must be non-negative, got {count}")));
    }
    if count > FARTHEST {
        return Err(Fail::error(format!("lists.range: size {count} exceeds maximum allowed ({FARTHEST})")));
    }
    meter.charge(usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok(made((0..count).map(V::Int).collect()))
}

fn slice<'a>(list: &V<'a>, start: i64, end: i64, meter: &mut Meter) -> Outcome<'a> {
    let items = list.items(meter)?;
    let refused = |why: &str| Err(Fail::error(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return refused("negative indexes not supported");
    };
    if from > to {
        return refused("start index must be less than or equal to end index");
    }
    match items.get(from..to) {
        Some(part) => Ok(made(part.to_vec())),
        None => refused(&format!("list is length {}", items.len())),
    }
}

/// The items of the lists in it instead of these, so many times over.
fn flat<'a>(list: &V<'a>, depth: i64, meter: &mut Meter) -> Outcome<'a> {
    if depth < 0 {
        return Err(Fail::error("level must be non-negative"));
    }
    let mut items = list.items(meter)?;
    for _ in 0..depth {
        if !items.iter().any(is_list) {
            break;
        }
        let mut flatter = Vec::with_capacity(items.len());
        for item in items {
            if is_list(&item) {
                flatter.extend(item.items(meter)?);
            } else {
                flatter.push(item);
            }
        }
        items = flatter;
    }
    Ok(made(items))
}

fn distinct<'a>(list: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    let mut kept: Vec<V<'a>> = Vec::new();
    for item in list.items(meter)? {
        let mut is_new = true;
        for other in &kept {
            if equal(&item, other, meter)? {
                is_new = false;
                break;
            }
        }
        if is_new {
            kept.push(item);
        }
    }
    Ok(made(kept))
}

fn in_order<'a>(list: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    let mut items = list.items(meter)?;
    let Some(first) = items.first().cloned() else { return Ok(made(items)) };
    for item in &items {
        if std::mem::discriminant(item) != std::mem::discriminant(&first) {
            return Err(Fail::error("list elements must have the same type"));
        }
    }
    order(&first, &first, meter)?.ok_or_else(|| Fail::error("list elements must be comparable"))?;
    let mut failed = None;
    items.sort_by(|a, b| match order(a, b, meter) {
        Ok(order) => order.unwrap_or(std::cmp::Ordering::Equal),
        Err(fail) => {
            failed = Some(fail);
            std::cmp::Ordering::Equal
        }
    });
    failed.map_or(Ok(made(items)), Err)
}

fn sorted(list: &V<'_>, meter: &mut Meter) -> Result<bool, Fail> {
    let items = list.items(meter)?;
    for pair in items.windows(2) {
        match order(&pair[0], &pair[1], meter)? {
            Some(order) if order.is_gt() => return Ok(false),
            Some(_) => {}
            None => return Err(Fail::no_overload()),
        }
    }
    Ok(true)
}

fn sum<'a>(list: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    let mut items = list.items(meter)?.into_iter();
    let Some(mut total) = items.next() else { return Ok(V::Int(0)) };
    for item in items {
        total = apply(cel::common::ast::operators::ADD, &[total, item], meter)?;
    }
    Ok(total)
}

fn extreme<'a>(list: &V<'a>, name: &str, meter: &mut Meter) -> Outcome<'a> {
    let mut items = list.items(meter)?.into_iter();
    let mut best = items.next().ok_or_else(|| Fail::error(format!("{name} called on empty list")))?;
    for item in items {
        let order = order(&item, &best, meter)?.ok_or_else(Fail::no_overload)?;
        if (name == "min" && order.is_lt()) || (name == "max" && order.is_gt()) {
            best = item;
        }
    }
    Ok(best)
}

fn place<'a>(list: &V<'a>, item: &V<'a>, last: bool, meter: &mut Meter) -> Outcome<'a> {
    let items = list.items(meter)?;
    let mut found = None;
    for (index, other) in items.iter().enumerate() {
        if equal(item, other, meter)? {
            found = Some(index);
            if !last {
                break;
            }
        }
    }
    Ok(found.map_or(V::Int(-1), int))
}

/// Whether each of the one list is in the other.
fn all_in<'a>(some: &V<'a>, all: &V<'a>, meter: &mut Meter) -> Result<bool, Fail> {
    for item in some.items(meter)? {
        if !contains(&item, all, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersect<'a>(a: &V<'a>, b: &V<'a>, meter: &mut Meter) -> Result<bool, Fail> {
    for item in a.items(meter)? {
        if contains(&item, b, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}
