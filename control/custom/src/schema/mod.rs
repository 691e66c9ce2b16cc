//! Structural schemas: what an object may hold.

pub(crate) mod check;
pub(crate) mod default;
pub(crate) mod format;
pub(crate) mod go_regex;
pub(crate) mod lists;
pub(crate) mod meta;
pub(crate) mod node;
pub(crate) mod path;
pub(crate) mod prune;

pub(crate) use node::Node;
pub(crate) use path::Path;
