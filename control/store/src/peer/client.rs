//! A tool's side of a connection to a server.

use bytes::Bytes;

use super::{PeerError, Stream};
use crate::error::StoreError;
use crate::key::{Key, Revision};
use crate::txn::Txn;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It was applied and is durable.
    At(Revision),
    /// The guard at this position did not hold; nothing was changed.
    Refused {
        /// Its position in [`Txn::guards`].
        guard: usize,
    },
}

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: Bytes,
    /// The revision of the write that made it.
    pub modified: Revision,
}

/// A connection to a server of a cluster. It is cheap to clone; many tasks can use one connection at once, and their
/// requests do not wait for each other.
#[derive(Clone, Debug)]
pub struct Client(());

impl Client {
    /// Greets the server at the other end of `stream`, and makes sure that it belongs to `cluster` if one is named.
    pub async fn connect(stream: impl Stream + 'static, cluster: Option<&str>) -> Result<Client, PeerError> {
        let _ = (stream, cluster);
        Err(PeerError::Closed)
    }

    /// The cluster that the server belongs to.
    pub fn cluster(&self) -> &str {
        ""
    }

    /// Carries out a transaction through the connected server, whether it leads or not.
    pub async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        let _ = txn;
        Err(StoreError::Closed)
    }

    /// Reads a key; the answer holds every write that was acknowledged, by any server, before the call.
    pub async fn get(&self, key: Key) -> Result<Option<Found>, StoreError> {
        let _ = key;
        Err(StoreError::Closed)
    }
}
