//! What the end-to-end suites share: clusters of real `pal` processes, clients, and waiting.
//!
//! The suites are test targets of the binary's crate, whose files lie in `tests/e2e`, so that cargo hands them the built
//! binary. This crate knows nothing of `pal` but its command line and its API.

mod api;
mod http_client;
mod kubectl;
mod load;
mod process;
mod python;
mod relay;
mod seed;
mod servers;
mod wait;

pub use api::{Access, Api, Json, NoAnswer, NoEvent, Secured, Stream};
pub use http_client::{Answer, get, request};
pub use kubectl::{Kubectl, Ran};
pub use load::{Endpoints, Load, Much, Summary};
pub use process::{Cluster, Pal, Process, loopback};
pub use python::{Node, Python};
pub use relay::{Link, Network, Relay};
pub use seed::Seed;
pub use servers::{Forming, Server, Servers};
pub use wait::wait_until;

use std::path::PathBuf;

/// A file of the repository, by its path below the root.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
