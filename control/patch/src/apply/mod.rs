//! Server-side apply: who owns which fields of an object, and what writes do to that.
//!
//! | module | what it holds |
//! |---|---|
//! | `element`, `set`, `fields_v1` | paths, sets of them, their form in `managedFields` |
//! | `shape`, `custom` | what is owned item by item and what as a whole, by the schema |
//! | `walk`, `validate`, `owned`, `compare`, `merge`, `remove` | walks over values by their shape |
//! | `managers`, `conflict` | the managers of an object, and what they are told of each other |
//! | `update` | the rules of ownership (structured-merge-diff) |
//! | `manage`, `created` | what the API server adds to them |

mod compare;
mod conflict;
mod created;
mod custom;
mod element;
mod fields_v1;
mod manage;
mod managers;
mod merge;
mod owned;
mod remove;
mod set;
mod shape;
mod update;
mod validate;
mod walk;

pub use compare::Comparison;
pub use conflict::Conflicts;
pub use created::created;
pub use custom::Schema;
pub use element::{BadElement, Element};
pub use manage::{Applied, ApplyError, Writer, apply, track};
pub use managers::{BadManagers, Entry, Managers, Operation};
pub use merge::merge_configuration;
pub use set::FieldSet;
pub use shape::{Scalar, Shape};
pub use update::Rules;
pub use walk::{Fault, Faults};
