//! Why the server does not start.

use std::net::SocketAddr;

use crate::pki::PkiError;

/// What stops the server from starting.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("cannot read the service-account key: {0}")]
    TokenKey(String),
}
