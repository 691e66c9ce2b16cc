//! What passes between servers, and between a server and a tool, over byte streams that somebody else has secured.
//!
//! The store opens its streams through [`Dial`] and takes those of others through [`crate::Store::accept`]. Who the other
//! side is was found out before, from its certificate.

mod accept;
mod answers;
mod client;
mod eager;
mod frames;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handing;
mod hello;
mod link;
mod outbox;
mod peers;
mod questions;
mod serve;
mod snapshots;
mod wire;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use accept::accept;
pub use client::{Client, Committed, Found};
pub(crate) use frames::LARGEST_TXN;
pub(crate) use peers::{Links, Peers, PeersConfig};

use crate::membership::{Member, ServerId};

/// A future that somebody else polls.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream whose type does not matter.
pub type BoxedStream = Box<dyn Stream>;

/// How this server reaches the others.
pub trait Dial: Send + Sync {
    /// Opens a stream to `to`, and makes sure that the other side is the server with its id. It is given up after 1.5 s.
    /// Small writes should not be held back (`TCP_NODELAY`).
    fn dial(&self, to: &Member) -> BoxFuture<'static, io::Result<BoxedStream>>;
}

impl fmt::Debug for dyn Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

/// Who opened a stream, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A server.
    Server(ServerId),
    /// An administrator, by name.
    Client(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Server(id) => write!(f, "server {id}"),
            Peer::Client(name) => write!(f, "client {name}"),
        }
    }
}

/// Why a stream between two sides ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The side that was dialled does not want to speak with the one that dialled.
    #[error("refused by the side that was dialled, which says of the other: {0}")]
    Refused(Refused),
    /// The side that dialled does not want to speak with the one that it found.
    #[error("the server that was dialled is not wanted: {0}")]
    Unwanted(Refused),
    /// Nothing came for too long.
    #[error("nothing came for {} ms", .0.as_millis())]
    Silent(Duration),
    /// What came makes no sense.
    #[error("at odds with the protocol: {0}")]
    Protocol(String),
    /// The other side ended the stream, and said why.
    #[error("the other side: {0}")]
    Told(String),
    /// The stream broke.
    #[error("{reason}")]
    Io {
        /// The kind of error.
        kind: io::ErrorKind,
        /// What the system said.
        reason: String,
    },
    /// The same server has opened another stream.
    #[error("the same server has opened another stream")]
    Superseded,
    /// This side's store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl From<io::Error> for PeerError {
    fn from(error: io::Error) -> PeerError {
        PeerError::Io { kind: error.kind(), reason: error.to_string() }
    }
}

/// Why one side does not want to speak with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The other side belongs to another cluster.
    #[error("it belongs to another cluster: check the address, or move the data directory away and join anew")]
    OtherCluster,
    /// The server was removed from the cluster.
    #[error("it was removed from the cluster: move its data directory away and join anew")]
    Removed,
    /// The server is none that the other side knows, or not the one that its certificate names.
    #[error("it is not known here as a member")]
    Unknown,
    /// The two sides have no version of the protocol in common.
    #[error("it speaks another version of the protocol: use the same version of the program on all servers")]
    Version,
    /// Too many streams of its kind are open.
    #[error("too many connections of this kind are open")]
    TooMany,
    /// A voter without its state: it does not know what it voted and acknowledged.
    #[error("it has lost its data: remove it from the cluster, move its data directory away and join anew")]
    Wiped,
    /// It asks for what its certificate does not allow.
    #[error("its certificate does not allow this")]
    Forbidden,
}
