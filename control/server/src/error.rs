//! Why the server does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// What was said of who may come in is wrong.
    #[error("{0}")]
    Access(String),
    /// A file that says who may come in, or what is to be written of what they do.
    #[error("{path}: {why}")]
    File { path: PathBuf, why: String },
}
