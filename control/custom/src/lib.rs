//! What a CustomResourceDefinition (`apiextensions.k8s.io/v1`) says, compiled: which objects its versions take, what they
//! default to, what is left out of them, what is refused and in which words, how they are shown and published.
//!
//! Pure: values in, values out. The words are those of kube-apiserver (apiextensions-apiserver).

mod cel;
pub mod columns;
pub mod definition;
mod duration;
mod field_path;
mod jsonpath;
mod number;
mod openapi;
pub mod policy;
pub mod scale;
mod schema;
pub mod version;

pub use cel::{Expression, Found, Judged, Wanted};
pub use columns::Column;
pub use definition::{
    Definition, Deletion, Names, TakenNames, default_definition, deletion_status, names_status, store_version,
    unknown_formats, validate_definition, validate_definition_status,
};
pub use scale::ScalePaths;
pub use version::{Selectable, Version};
