//! The pods on disk: what a node goes on with when no server can be reached.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::disk;

/// `<data>/pods/<uid>.json`: the object with the last status that the node made.
#[derive(Clone)]
pub(crate) struct Records {
    dir: PathBuf,
}

/// Whether a pod is kept on disk at all: what was forgotten is not written again by a write that was under way.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    forgotten: Arc<Mutex<bool>>,
}

impl Records {
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        disk::private_dir(&dir)?;
        Ok(Self { dir })
    }

    /// All pods. A file that cannot be read is left out, with a word in the log: the server knows the pod too.
    pub(crate) fn load(&self) -> io::Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let read = fs::read(&path).and_then(|text| serde_json::from_slice::<Pod>(&text).map_err(io::Error::other));
            match read {
                Ok(pod) if pod.metadata.uid.is_some() => pods.push(pod),
                Ok(_) => tracing::warn!(path = %path.display(), "not a pod"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "pod not read"),
            }
        }
        Ok(pods)
    }

    /// Keeps a pod, unless it was forgotten.
    pub(crate) fn save(&self, kept: &Kept, pod: &Pod, status: Option<&Arc<PodStatus>>) -> io::Result<()> {
        let Some(uid) = &pod.metadata.uid else { return Ok(()) };
        let forgotten = kept.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        if *forgotten {
            return Ok(());
        }
        let mut value = serde_json::to_value(pod).map_err(io::Error::other)?;
        if let Some(status) = status {
            value["status"] = serde_json::to_value(&**status).map_err(io::Error::other)?;
        }
        let text = serde_json::to_vec(&value).map_err(io::Error::other)?;
        disk::replace(&self.path(uid), &text, 0o600)
    }

    /// Forgets a pod.
    pub(crate) fn remove(&self, kept: &Kept, uid: &str) -> io::Result<()> {
        let mut forgotten = kept.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten = true;
        match fs::remove_file(self.path(uid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, uid: &str) -> PathBuf {
        // A uid is made by a server; one that is none must not lead out of the directory.
        self.dir.join(format!("{}.json", uid.replace(['/', '\0'], "_")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().join("pods")).unwrap();
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u".to_owned());
        let kept = Kept::default();
        records.save(&kept, &pod, None).unwrap();
        assert_eq!(records.load().unwrap().len(), 1);
        records.remove(&kept, "u").unwrap();
        records.save(&kept, &pod, None).unwrap();
        assert_eq!(records.load().unwrap().len(), 0);
        // Another worker of the same pod keeps it anew.
        records.save(&Kept::default(), &pod, None).unwrap();
        assert_eq!(records.load().unwrap().len(), 1);
    }
}
