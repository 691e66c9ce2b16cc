//! Server-side apply.
mod compare;
mod custom;
mod element;
mod fields_v1;
mod merge;
mod owned;
mod remove;
mod set;
mod shape;
mod validate;
mod walk;
pub use compare::Comparison;
pub use custom::Schema;
pub use element::Element;
pub use set::FieldSet;
pub use shape::Shape;
pub use walk::Faults;
