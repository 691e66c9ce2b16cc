//! The definition itself: defaults, refusals, status, and what is compiled from it.

mod compile;
mod defaults;
mod status;
mod validate;

pub use compile::{Definition, Names};
pub use defaults::{default_definition, store_version};
pub use status::{Deletion, TakenNames, deletion_status, names_status};
pub use validate::{validate_definition, validate_definition_status};
