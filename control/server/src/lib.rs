//! The API on the wire: TLS, who a client is and what it may do, routes, and the forms in which objects go in and out.
//!
//! Nothing here decides what an object may be: that is the registry's. Nothing here keeps state beside connections.

pub mod auth;
pub mod backup;
pub mod join;
pub mod peers;
pub mod pki;
pub mod tokens;
pub mod tunnel;

mod access;
mod again;
mod api;
mod audit;
mod config;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod kubeconfig;
mod leases;
mod peer_http;
mod rarely;
mod server;
mod stream;
mod trust;
mod wire;

pub use access::Access;
pub use api::{Directories, PodUsed, Usage};
pub use audit::AuditConfig;
pub use auth::OidcFlags;
pub use config::{Figures, Mount, Mounted, ServerConfig, VERSION};
pub use error::ServerError;
pub use kubeconfig::kubeconfig;
pub use peer_http::{PeerError, Peers};
pub use peers::PeerLinks;
pub use pki::{ClusterCa, ClusterKeys, CsrSubject, Identity, PkiError};
pub use server::Server;
pub use tunnel::{TunnelError, Tunnels};

/// Whatever ends a body early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every answer, and of requests that go to nodes.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;
