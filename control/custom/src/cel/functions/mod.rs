//! What rules may call. Each function takes its target first.

mod authorizer;
mod convert;
mod formats;
mod lists;
mod net;
mod numbers;
pub(super) mod prices;
pub(super) mod text;
mod time;
mod urls;

use super::meter::{Fail, Meter};
use super::value::V;

type Outcome<'a> = Result<V<'a>, Fail>;

/// Calls a function by the name that the checker found.
pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Outcome<'a> {
    let rooms = [
        convert::call,
        text::call,
        lists::call,
        time::call,
        net::call,
        urls::call,
        numbers::call,
        formats::call,
        authorizer::call,
    ];
    for room in rooms {
        if let Some(outcome) = room(name, args, meter) {
            return outcome;
        }
    }
    Err(Fail::no_overload())
}

/// A place in a text, from what an expression counts with.
fn unsigned(number: i64) -> Result<usize, Fail> {
    usize::try_from(number).map_err(|_| Fail::error(format!("index out of range: {number}")))
}

/// A length as expressions count it.
fn int<'a>(number: usize) -> V<'a> {
    V::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
