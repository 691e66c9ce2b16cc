//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

use crate::key::Revision;
use crate::membership::{Member, ServerId};

/// Why the store could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the directory open.
    #[error("{}: the data directory is in use by another process", .dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The directory cannot be written.
    #[error("{}: cannot be written: {reason}", .path.display())]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The directory was written by a later version.
    #[error("{}: format {found} is newer than this program's ({known}); use the version that wrote it, or a later one", .file.display())]
    TooNew {
        /// The file that says so.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that is understood.
        known: u32,
    },
    /// A file does not hold what was written to it.
    #[error("{}: {why}", .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A backup is restored into a new directory only.
    #[error("{}: is not empty: a backup is restored into a directory that is empty or does not exist yet", .dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// A backup is none, or not whole.
    #[error("the backup cannot be used: {why}")]
    BadBackup {
        /// What is wrong.
        why: String,
    },
    /// The disk is full: writes are refused until there is room, reads go on.
    #[error("{}: the disk is full", .path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
    },
    /// Too many writes wait already.
    #[error("too many writes are waiting")]
    QueueFull,
    /// The transaction is larger than the store accepts.
    #[error("a transaction of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its encoded size.
        size: usize,
        /// The configured limit.
        limit: usize,
    },
    /// The transaction makes no sense.
    #[error("invalid transaction: {0}")]
    Invalid(String),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// There is no leader now; nothing was written.
    #[error("there is no leader")]
    NoLeader,
    /// Leadership changed while the write was under way.
    #[error("leadership changed: whether the write happened is not known")]
    Unknown,
    /// This server was removed from its cluster.
    #[error("this server was removed from the cluster: move its data directory away and join anew")]
    Removed,
    /// The other servers know that this one had data, which is gone.
    #[error("this server has lost its data: remove it from the cluster, move its data directory away and join anew")]
    Wiped,
    /// No member has this id.
    #[error("server {0} is not a member of the cluster")]
    NotMember(ServerId),
    /// A member has this id, name or address already.
    #[error("{what} is taken by server {}: choose another, or remove that server first", .member.id)]
    MemberExists {
        /// What is taken: the id, the name or the address, with its value.
        what: String,
        /// Whose it is.
        member: Member,
    },
    /// The cluster has as many members as it may have.
    #[error("the cluster has {limit} members, and may not have more: remove one first")]
    TooManyMembers {
        /// How many it may have.
        limit: usize,
    },
    /// The last voter cannot go.
    #[error("server {0} is the cluster's last voter and cannot be removed")]
    LastVoter(ServerId),
    /// The server cannot lead now.
    #[error("server {id} cannot lead now: {why}")]
    CannotLead {
        /// Which.
        id: ServerId,
        /// Why.
        why: String,
    },
    /// The server cannot be reached; nothing was written.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The store stopped after an error that it cannot write on behind.
    #[error("the store takes no more writes since: {0}")]
    Failed(String),
    /// The system refused.
    #[error("{}: {reason}", .path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// The kind of error.
        kind: io::ErrorKind,
        /// What the system said.
        reason: String,
    },
}

impl StoreError {
    /// Sorts an I/O error on `path` into the kinds that a caller can act on.
    pub(crate) fn io(path: &Path, error: &io::Error) -> StoreError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::Full { path }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::NotWritable { path, reason: error.to_string() }
            }
            kind => StoreError::Io { path, kind, reason: error.to_string() },
        }
    }
}

/// Why a watch cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The history no longer reaches back to the revision that was asked for.
    #[error("the history begins after revision {oldest}")]
    Compacted {
        /// The oldest revision from which the bucket can still be watched.
        oldest: Revision,
    },
    /// The watcher was too slow: events that it had not read were dropped from the history.
    #[error("the watcher fell behind the history")]
    Lagged,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
