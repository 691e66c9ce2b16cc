//! The errors of this crate.

use std::io;
use std::path::PathBuf;

/// Why an agent could not be started or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A file or directory of the node cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file of the node is not what it should be.
    #[error("{}: {why}", path.display())]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another agent uses the directory.
    #[error("{} is in use by another pal", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// A certificate or key is unusable.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The server's address is none.
    #[error("server address {url:?}: {why}")]
    ServerUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The network of the node could not be started.
    #[error("network: {0}")]
    Network(String),
    /// The image store of the node could not be opened.
    #[error("images: {0}")]
    Images(String),
}

impl NodeError {
    /// For `map_err` on what was done to `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Why a machine could not become a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The token's text is wrong.
    #[error("the token is malformed: {0}; `pal token create --role node` prints a good one")]
    MalformedToken(&'static str),
    /// The server is not of the cluster that the token is for.
    #[error("the token is for another cluster: no certificate that {server} shows has the hash {expected}")]
    ForeignToken {
        /// The server.
        server: String,
        /// The hash in the token.
        expected: String,
    },
    /// The server does not know the token, or it is over.
    #[error(
        "{server} does not accept the token: it is unknown, revoked or expired; \
         `pal token create --role node` on a server makes a new one"
    )]
    TokenRefused {
        /// The server.
        server: String,
    },
    /// Somebody else has the name, or the cluster refuses this node.
    #[error("the cluster refuses node {name:?}: {why}")]
    Denied {
        /// The name.
        name: String,
        /// In the server's words.
        why: String,
    },
    /// The identity on disk is of another name.
    #[error("{} already holds the identity of node {found:?}; use that name or another --data-dir", dir.display())]
    OtherIdentity {
        /// The data directory.
        dir: PathBuf,
        /// The name in it.
        found: String,
    },
    /// The server answered something unexpected for good.
    #[error("{server}: {why}")]
    Server {
        /// The server.
        server: String,
        /// What it answered.
        why: String,
    },
    /// Asked to stop before it was done.
    #[error("stopped while joining; the last problem: {0}")]
    Stopped(String),
    /// A local matter.
    #[error(transparent)]
    Node(#[from] NodeError),
}
