//! CEL's operators.

use std::rc::Rc;

use cel::common::ast::operators as ops;
use jiff::{SignedDuration, Timestamp};

use super::meter::{Fail, Meter};
use super::value::{V, equal, order};
use crate::schema::lists::canonical;
use crate::schema::node::ListType;

type Outcome<'a> = Result<V<'a>, Fail>;

pub(super) fn apply<'a>(name: &str, values: &[V<'a>], meter: &mut Meter) -> Outcome<'a> {
    match (name, values) {
        (ops::LOGICAL_NOT, [V::Bool(yes)]) => Ok(V::Bool(!yes)),
        (ops::NEGATE, [V::Int(number)]) => number.checked_neg().map(V::Int).ok_or_else(overflow),
        (ops::NEGATE, [V::Double(number)]) => Ok(V::Double(-number)),
        (ops::EQUALS, [a, b]) => equal(a, b, meter).map(V::Bool),
        (ops::NOT_EQUALS, [a, b]) => equal(a, b, meter).map(|same| V::Bool(!same)),
        (ops::LESS | ops::LESS_EQUALS | ops::GREATER | ops::GREATER_EQUALS, [a, b]) => compare(name, a, b, meter),
        (ops::IN, [item, range]) => contains(item, range, meter).map(V::Bool),
        (ops::ADD, [a, b]) => add(a, b, meter),
        (_, [V::Int(a), V::Int(b)]) => INT.apply(name, *a, *b).map(V::Int),
        (_, [V::Uint(a), V::Uint(b)]) => UINT.apply(name, *a, *b).map(V::Uint),
        (_, [V::Double(a), V::Double(b)]) => match name {
            ops::SUBSTRACT => Ok(V::Double(a - b)),
            ops::MULTIPLY => Ok(V::Double(a * b)),
            ops::DIVIDE => Ok(V::Double(a / b)),
            _ => Err(Fail::no_overload()),
        },
        (ops::SUBSTRACT, [V::Time(a), V::Time(b)]) => nanoseconds(a.duration_since(*b)).map(V::Duration),
        (ops::SUBSTRACT, [V::Time(a), V::Duration(b)]) => shift(*a, b.checked_neg().ok_or_else(overflow)?),
        (ops::SUBSTRACT, [V::Duration(a), V::Duration(b)]) => a.checked_sub(*b).map(V::Duration).ok_or_else(overflow),
        _ => Err(Fail::no_overload()),
    }
}

const OVERFLOW: &str = "integer overflow";
const UNSIGNED_OVERFLOW: &str = "unsigned integer overflow";

fn overflow() -> Fail {
    Fail::error(OVERFLOW)
}

fn nanoseconds(span: SignedDuration) -> Result<i64, Fail> {
    i64::try_from(span.as_nanos()).map_err(|_| overflow())
}

fn shift<'a>(time: Timestamp, nanoseconds: i64) -> Outcome<'a> {
    time.checked_add(SignedDuration::from_nanos(nanoseconds))
        .map(V::Time)
        .map_err(|_| Fail::error("timestamp overflow"))
}

fn compare<'a>(name: &str, a: &V<'a>, b: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    let Some(order) = order(a, b, meter)? else {
        return match (a, b) {
            // Nothing is less or greater than what is no number.
            (V::Double(_), _) | (_, V::Double(_)) => Ok(V::Bool(false)),
            _ => Err(Fail::no_overload()),
        };
    };
    Ok(V::Bool(match name {
        ops::LESS => order.is_lt(),
        ops::LESS_EQUALS => order.is_le(),
        ops::GREATER => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// `in`: an item of a list or a key of a map.
pub(super) fn contains<'a>(item: &V<'a>, range: &V<'a>, meter: &mut Meter) -> Result<bool, Fail> {
    match range {
        V::Map(_) | V::JsonMap(..) => Ok(range.get(item).is_some()),
        V::List(_) | V::JsonList(..) => {
            for index in 0..range.count().unwrap_or(0) {
                if let Some(other) = range.at(index)
                    && equal(item, &other, meter)?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Err(Fail::no_overload()),
    }
}

fn add<'a>(a: &V<'a>, b: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    match (a, b) {
        (V::Int(a), V::Int(b)) => a.checked_add(*b).map(V::Int).ok_or_else(overflow),
        (V::Uint(a), V::Uint(b)) => a.checked_add(*b).map(V::Uint).ok_or_else(|| Fail::error(UNSIGNED_OVERFLOW)),
        (V::Double(a), V::Double(b)) => Ok(V::Double(a + b)),
        (V::Text(a), V::Text(b)) => {
            meter.charge_text(a.len() + b.len())?;
            Ok(V::text(format!("{}{}", &**a, &**b)))
        }
        (V::Bytes(a), V::Bytes(b)) => {
            meter.charge_text(a.len() + b.len())?;
            Ok(V::Bytes([&**a, &**b].concat().into()))
        }
        (V::Time(time), V::Duration(span)) | (V::Duration(span), V::Time(time)) => shift(*time, *span),
        (V::Duration(a), V::Duration(b)) => a.checked_add(*b).map(V::Duration).ok_or_else(overflow),
        (V::List(_) | V::JsonList(..), V::List(_) | V::JsonList(..)) => concatenate(a, b, meter),
        _ => Err(Fail::no_overload()),
    }
}

/// Sets unite; of maps' items with the same keys the later one stays, in the place of the first.
fn concatenate<'a>(a: &V<'a>, b: &V<'a>, meter: &mut Meter) -> Outcome<'a> {
    let mut items = a.items(meter)?;
    let more = b.items(meter)?;
    let (V::JsonList(first, node), V::JsonList(second, _)) = (a, b) else {
        items.extend(more);
        return Ok(V::List(Rc::new(items)));
    };
    let key: Box<dyn Fn(&serde_json::Value) -> String> = match &node.list {
        Some(ListType::Set) => Box::new(canonical),
        Some(ListType::Map(keys)) => {
            let keys = keys.clone();
            Box::new(move |item| keys.iter().map(|key| item.get(key).map_or(String::new(), canonical) + "\n").collect())
        }
        _ => {
            items.extend(more);
            return Ok(V::List(Rc::new(items)));
        }
    };
    let mut places = std::collections::HashMap::new();
    for (at, item) in first.iter().enumerate() {
        places.insert(key(item), at);
    }
    for (item, value) in second.iter().zip(more) {
        match places.entry(key(item)) {
            std::collections::hash_map::Entry::Occupied(place) => items[*place.get()] = value,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(items.len());
                items.push(value);
            }
        }
    }
    Ok(V::List(Rc::new(items)))
}

/// What the operators do that are not defined for every two numbers of a kind: none where the result has no such number.
struct Checked<T> {
    subtract: fn(T, T) -> Option<T>,
    multiply: fn(T, T) -> Option<T>,
    divide: fn(T, T) -> Option<T>,
    remainder: fn(T, T) -> Option<T>,
    overflow: &'static str,
}

const INT: Checked<i64> = Checked {
    subtract: i64::checked_sub,
    multiply: i64::checked_mul,
    divide: i64::checked_div,
    remainder: i64::checked_rem,
    overflow: OVERFLOW,
};

const UINT: Checked<u64> = Checked {
    subtract: u64::checked_sub,
    multiply: u64::checked_mul,
    divide: u64::checked_div,
    remainder: u64::checked_rem,
    overflow: UNSIGNED_OVERFLOW,
};

impl<T: Default + PartialEq> Checked<T> {
    fn apply(&self, name: &str, a: T, b: T) -> Result<T, Fail> {
        let zero = b == T::default();
        let result = match name {
            ops::DIVIDE if zero => return Err(Fail::error("division by zero")),
            ops::MODULO if zero => return Err(Fail::error("modulus by zero")),
            ops::SUBSTRACT => (self.subtract)(a, b),
            ops::MULTIPLY => (self.multiply)(a, b),
            ops::DIVIDE => (self.divide)(a, b),
            ops::MODULO => (self.remainder)(a, b),
            _ => return Err(Fail::no_overload()),
        };
        result.ok_or_else(|| Fail::error(self.overflow))
    }
}

/// `list[0]`, `map['key']`.
pub(super) fn index<'a>(of: &V<'a>, at: &V<'a>) -> Outcome<'a> {
    match of {
        V::Optional(_) => optional_index(of, at),
        V::List(_) | V::JsonList(..) => {
            let place = place(at)?;
            let found = usize::try_from(place).ok().and_then(|place| of.at(place));
            found.ok_or_else(|| Fail::error(format!("index out of bounds: {place}")))
        }
        V::Map(_) | V::JsonMap(..) => of.get(at).ok_or_else(|| Fail::error(format!("no such key: {}", shown(at)))),
        _ => Err(Fail::no_overload()),
    }
}

fn place(at: &V<'_>) -> Result<i64, Fail> {
    match at {
        V::Int(number) => Ok(*number),
        V::Uint(number) => i64::try_from(*number).map_err(|_| Fail::error("index out of bounds")),
        V::Double(number) if number.fract() == 0.0 => Ok(*number as i64),
        _ => Err(Fail::no_overload()),
    }
}

fn shown(key: &V<'_>) -> String {
    match key {
        V::Text(text) => (**text).to_owned(),
        V::Int(number) => number.to_string(),
        V::Uint(number) => number.to_string(),
        V::Bool(yes) => yes.to_string(),
        other => other.type_name().to_owned(),
    }
}

/// `list[?0]`: nothing where there is nothing.
pub(super) fn optional_index<'a>(of: &V<'a>, at: &V<'a>) -> Outcome<'a> {
    let found = match of {
        V::Optional(None) => None,
        V::Optional(Some(inner)) => match optional_index(inner, at)? {
            V::Optional(found) => return Ok(V::Optional(found)),
            other => Some(other),
        },
        V::List(_) | V::JsonList(..) => usize::try_from(place(at)?).ok().and_then(|place| of.at(place)),
        V::Map(_) | V::JsonMap(..) => of.get(at),
        _ => return Err(Fail::no_overload()),
    };
    Ok(V::Optional(found.map(Rc::new)))
}
