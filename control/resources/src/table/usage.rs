//! The rows of what nodes and pods use, as metrics-server makes them.

use serde_json::Value;

use super::Column;
use super::access::{items, name, text};
use super::duration::Clock;
use crate::quantity::Quantity;

const fn column(name: &'static str, format: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format, description, priority: 0 }
}

pub(super) const USAGE: &[Column] = &[
    column("Name", "name", "Name of the resource"),
    column("cpu", "quantity", ""),
    column("memory", "quantity", ""),
    column("Window", "duration", ""),
];

/// What it uses itself, or its containers together.
pub(super) fn usage(object: &Value, _now: Clock) -> Vec<Value> {
    let used = |resource: &str| {
        let parts = items(&object["containers"]).iter().chain([object]);
        let amounts = parts.filter_map(|part| part["usage"][resource].as_str()?.parse::<Quantity>().ok());
        amounts.reduce(|sum, more| sum + more).map_or_else(|| "0".to_owned(), |sum| sum.to_string())
    };
    vec![name(object), used("cpu").into(), used("memory").into(), text(&object["window"]).into()]
}
