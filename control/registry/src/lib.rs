//! The one typed way to read and write the cluster's objects. Whoever writes, a client over HTTP or a controller in this
//! process, goes through [`Registry`], so that admission, defaulting, validation and optimistic concurrency hold for all.
//!
//! | module | what it holds |
//! |---|---|
//! | `registry` | the handle, and how a transaction is tried |
//! | `read`, `list`, `pages`, `watch`, `held` | reading: one object, a page of a snapshot, changes, whole resources |
//! | `create`, `update`, `patch`, `delete`, `lifecycle` | writing; `lifecycle` decides what a delete does |
//! | `strategy` | how resources differ in what an update may do |
//! | `custom` | custom resources, by their definitions |
//! | `pod`, `service`, `events` | what one kind has beside that |
//! | `admission`, `policies`, `quota` | what else in the cluster has a say in a write |
//! | `ownership`, `applying` | who owns the fields, server-side apply |
//! | `restrict` | what nodes may not write of themselves |
//! | `bootstrap` | the objects that every cluster begins with |
//! | `typed`, `made` | all of it for a k8s-openapi type; new objects that need not be parsed |
//! | `object`, `wire`, `stored`, `key`, `meta`, `names` | objects as bytes, keys and values |

mod admission;
mod api_access;
mod applying;
mod bootstrap;
mod config;
mod create;
pub mod custom;
mod delete;
mod events;
mod eviction;
mod form;
mod held;
mod key;
mod lifecycle;
mod list;
mod made;
mod meta;
mod names;
mod object;
mod options;
mod ownership;
mod pages;
mod patch;
pub mod pod;
mod policies;
mod quota;
mod read;
mod registry;
mod restrict;
mod scale;
mod service;
mod service_blocks;
mod stored;
mod strategy;
mod typed;
mod update;
mod watch;
mod wire;

pub use bootstrap::Bootstrap;
pub use config::{Cidr, Config};
pub use eviction::budget_chooses;
pub use held::Held;
pub use made::Made;
pub use names::random_uuid;
pub use object::{Index, Object, Owner};
pub use options::{
    Actor, Admission, Authority, Binding, DeleteOptions, Deletion, List, ListOptions, Patch, PatchKind, Patched,
    Preconditions, Propagation, Read, VersionMatch, Warnings, WatchOptions, WriteOptions,
};
#[cfg(feature = "fuzzing")]
pub use pages::fuzz as fuzz_continue_token;
pub use registry::{Registry, store_failure};
pub use strategy::creates_by_update;
pub use typed::{Kind, Typed};
pub use watch::{Watch, WatchEvent, bookmark};
