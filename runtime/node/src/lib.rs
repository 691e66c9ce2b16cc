//! The node agent: joins a cluster, runs the pods that are bound to its node as Wasm components, and reports on them.
//!
//! What happens to a pod is decided in `pal_lifecycle`; this crate carries the decisions out. It is a client of the API
//! like any other: over TLS, with the node's own certificate. The one connection of another kind is the tunnel, which the
//! agent opens to each server and on which the server then asks (for logs, for instance).
//!
//! Deliberately absent: scheduling, routing decisions, the wire formats of images, wasmtime.

mod addresses;
mod agent;
mod api;
mod choice;
mod clock;
mod config;
mod connect;
mod disk;
mod error;
mod events;
mod exec;
mod host;
mod identity;
mod in_cluster;
mod join;
mod kubelet;
mod local_volumes;
mod logs;
mod node_events;
mod pods;
mod reach;
mod register;
mod retry;
mod routes;
mod runtime;
mod servers;
mod stats;
mod streaming;
mod tls;
mod token;
mod tunnel;
mod tunnels;
mod wasm;
mod watch;

pub use agent::NodeAgent;
pub use config::{HostPod, JoinConfig, NodeConfig, NodeResources};
pub use error::{JoinError, NodeError};
pub use identity::{Credential, NodeIdentity};
pub use join::join;
