//! The pods' network, inside the process.
//!
//! A pod's port is a [`Backend`] attached at an address; a Service is a row in a table. A request between pods of one
//! node is a function call, between nodes a stream in the one mutually authenticated connection of that pair. Only
//! ports of the node (NodePorts, and hostPorts of pods) and the peers' connections touch real sockets.

#![forbid(unsafe_code)]

mod affinity;
mod dispatch;
mod network;
mod outbound;
mod peer;
mod peer_tls;
mod table;

pub use network::{Attachment, HostPort, Network, NetworkConfig, NetworkError, PortConflict};
pub use outbound::{PodOrigin, PodOutbound, SendError};
pub use pal_proxy::{Backend, Body, BoxError, SharedBackend, full, refusal};
pub use peer_tls::{PeerTls, TlsError};
pub use table::{Endpoint, PortRoute, ServiceRoute};
