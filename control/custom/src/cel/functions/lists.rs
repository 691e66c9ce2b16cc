//! Lists and sets (Kubernetes' `lists`, cel-go's `ext.Sets`).

use super::super::meter::{Fail, Meter};
use super::super::operators::{apply, contains};
use super::super::value::{V, equal, order};
use super::{Outcome, int};

pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Option<Outcome<'a>> {
    let is_list = |value: &V<'_>| matches!(value, V::List(_) | V::JsonList(..));
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
        ("sets.contains", [a, b]) if is_list(b) => all_in(b, a, meter).map(V::Bool),
        ("sets.equivalent", [a, b]) if is_list(b) => {
            all_in(b, a, meter).and_then(|one| Ok(V::Bool(one && all_in(a, b, meter)?)))
        }
        ("sets.intersects", [a, b]) if is_list(b) => intersect(a, b, meter).map(V::Bool),
        _ => return None,
    })
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
