//! Label and field selectors, from query strings and from objects.

mod field_selector;
mod label_selector;
mod lex;

pub use field_selector::{FieldOperator, FieldRequirement, FieldSelector};
pub use label_selector::{LabelSelector, Operator, Requirement};

#[cfg(test)]
mod tests;
