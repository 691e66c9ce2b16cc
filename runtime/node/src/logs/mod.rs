//! The containers' logs: files of lines with their times, rotated, bounded in size and in rate.
//!
//! `<data>/logs/<namespace>_<pod>_<uid>/<container>/<attempt>.log` is written to; when it is full it becomes
//! `<attempt>.log.<n>` with ascending n. A record is a line of the form `TIME STREAM F|P TEXT`, where P marks a piece of a
//! line that goes on in the next record of the stream.

mod read;
mod record;
mod write;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub(crate) use read::{LogQuery, stream};
pub(crate) use record::Stream;
pub(crate) use write::ContainerLog;

use crate::disk;

/// What a log may grow to, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    /// Bytes of one file.
    pub(crate) file_bytes: u64,
    /// Files of one run, the one that is written to included.
    pub(crate) files: usize,
    /// Bytes a second that a container may write for long.
    pub(crate) bytes_per_second: u64,
    /// Bytes that it may write at once.
    pub(crate) burst_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { file_bytes: 10 << 20, files: 5, bytes_per_second: 1 << 20, burst_bytes: 8 << 20 }
    }
}

/// A log's file, and its writer if there is one still.
pub(crate) type LogFile = (PathBuf, Option<Arc<ContainerLog>>);

/// All logs of a node.
pub(crate) struct LogStore {
    root: PathBuf,
    limits: LogLimits,
    /// Those that are written to.
    open: Mutex<HashMap<PathBuf, Weak<ContainerLog>>>,
}

impl LogStore {
    pub(crate) fn new(root: PathBuf, limits: LogLimits) -> Arc<Self> {
        Arc::new(Self { root, limits, open: Mutex::default() })
    }

    /// Where a pod's logs are.
    pub(crate) fn pod_dir(&self, namespace: &str, pod: &str, uid: &str) -> PathBuf {
        self.root.join(format!("{namespace}_{pod}_{uid}"))
    }

    /// Where the log of what is no pod is. No pod's directory is called so: theirs have two `_`.
    pub(crate) fn host_dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The last run that has a log.
    pub(crate) fn last(&self, pod_dir: &Path, container: &str) -> Option<u32> {
        let entries = std::fs::read_dir(pod_dir.join(container)).into_iter().flatten().flatten();
        entries.filter_map(|entry| attempt(&entry)).max()
    }

    /// The log of a run that begins. Logs of runs before the previous one are removed.
    pub(crate) fn begin(&self, pod_dir: &Path, container: &str, attempt: u32) -> Arc<ContainerLog> {
        let dir = pod_dir.join(container);
        remove_older(&dir, attempt.saturating_sub(1));
        let path = dir.join(format!("{attempt}.log"));
        let log = Arc::new(ContainerLog::new(path.clone(), self.limits));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() > 64 && open.len().is_power_of_two() {
            open.retain(|_, log| log.strong_count() > 0);
        }
        open.insert(path, Arc::downgrade(&log));
        log
    }

    /// The log of a run: where it is, and the writer if there is one still.
    pub(crate) fn find(&self, pod_dir: &Path, container: &str, attempt: u32) -> LogFile {
        let path = pod_dir.join(container).join(format!("{attempt}.log"));
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let log = open.get(&path).and_then(Weak::upgrade);
        (path, log)
    }

    /// Forgets a pod's logs.
    pub(crate) fn remove(&self, pod_dir: &Path) -> io::Result<()> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| !path.starts_with(pod_dir));
        disk::remove_tree(pod_dir)
    }

    /// Removes what belongs to none of the pods that `keep` knows by their uid.
    pub(crate) fn sweep(&self, keep: impl Fn(&str) -> bool) -> io::Result<()> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let uid = name.to_str().and_then(|n| n.rsplit_once('_')).map(|(_, uid)| uid);
            if uid.is_some_and(|uid| !keep(uid)) {
                disk::remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes the files of runs before `oldest`; what cannot be removed now is tried again at the next run.
fn remove_older(dir: &Path, oldest: u32) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if attempt(&entry).is_some_and(|a| a < oldest) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The run of which a file is the log, or a piece of it.
fn attempt(entry: &std::fs::DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
