//! The API's objects as values: which resources there are, how their wire forms are read and written, what they default
//! to, what is refused, and the words in which a refusal is told.
//!
//! Pure: no clock, no randomness, no I/O. What depends on time takes it as an argument.

pub mod admission;
pub mod amounts;
pub mod channel;
pub mod codec;
pub mod cron;
pub mod discovery;
pub mod duration;
pub mod field;
pub mod forms;
pub mod go;
pub mod host_port;
pub mod kinds;
pub mod meta;
pub mod metrics;
pub mod openapi;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod volumes;

pub use field::{FieldError, FieldPath};
pub use meta::{NamespacedName, ResourceVersion, Uid};
pub use resource::{Resource, ResourceRef, Subresource};
pub use status::{Reason, Status};
