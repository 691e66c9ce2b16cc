//! The table's columns (`additionalPrinterColumns`) and their cells.

use jiff::Timestamp;
use serde_json::Value;

/// One column (`TableColumnDefinition`).
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    /// Above zero it is shown under `-o wide` only.
    pub priority: i32,
}

impl Column {
    pub(crate) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let _ = (object, now);
        Value::Null
    }
}
