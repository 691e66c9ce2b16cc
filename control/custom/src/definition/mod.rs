//! The definition itself: defaults, refusals, status, and what is compiled from it.

mod approval;
mod compile;
mod conversion;
mod default_rules;
mod defaults;
mod list_rules;
mod openapi_rules;
mod parts;
mod places;
mod rule_costs;
pub(crate) mod rule_rules;
mod status;
mod structural;
mod validate;

#[cfg(test)]
mod tests;

pub use compile::{Definition, Names};
pub use defaults::{default_definition, store_version};
pub use openapi_rules::unknown_formats;
pub use status::{Deletion, TakenNames, deletion_status, names_status};
pub use validate::{validate_definition, validate_definition_status};
