//! Objects as rows of a table: what `kubectl get` prints.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::Resource;

/// One column (`TableColumnDefinition`). A priority above zero shows it under `-o wide` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub format: &'static str,
    pub description: &'static str,
    pub priority: i32,
}

/// The columns of a resource's table.
pub fn columns(_resource: &Resource) -> &'static [Column] {
    &[]
}

/// The object's row: one cell for each column.
pub fn cells(_resource: &Resource, _object: &Value, _now: Timestamp) -> Vec<Value> {
    Vec::new()
}
