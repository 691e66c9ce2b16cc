//! What a container leaves to say of its end: the file at `terminationMessagePath`, or else the end of its log.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Container;
use pal_engine::{Mount, open_beneath};
use pal_lifecycle::Exit;

use crate::logs::{ContainerLog, LogQuery, stream};

/// Most bytes of a message in a file, and of one from a log.
const MOST_OF_FILE: u64 = 4096;
const MOST_OF_LOG: usize = 2048;
/// Most lines of a log.
const LINES: u64 = 80;

/// Where a run's last words are found.
#[derive(Clone)]
pub(super) struct LastWords {
    /// The mount that has the file, and where in it.
    file: Option<(PathBuf, PathBuf)>,
    /// The log, where its end stands for a file that a failed run did not write.
    log: Option<Arc<ContainerLog>>,
}

impl LastWords {
    pub(super) fn of(container: &Container, mounts: &[Mount], log: Arc<ContainerLog>) -> Self {
        let path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        let falls_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        Self { file: place(Path::new(path), mounts), log: falls_back.then_some(log) }
    }

    /// The exit with the last words as its message, if there are any.
    pub(super) async fn add_to(self, mut exit: Exit) -> Exit {
        let file = self.file;
        let from_file = tokio::task::spawn_blocking(move || file.and_then(|(root, sub)| read(&root, &sub)));
        let mut words = from_file.await.ok().flatten();
        if let (None, Some(log), true) = (&words, self.log, exit.code != 0) {
            words = end_of(log).await;
        }
        if let Some(words) = words {
            exit.message = words;
        }
        exit
    }
}

/// The mount that a path is in, and where: of several the one that is mounted deepest.
fn place(path: &Path, mounts: &[Mount]) -> Option<(PathBuf, PathBuf)> {
    let within = mounts.iter().filter_map(|mount| Some((mount, path.strip_prefix(&mount.guest).ok()?)));
    let (mount, rest) = within.min_by_key(|(_, rest)| rest.components().count())?;
    Some((mount.host.clone(), mount.sub_path.join(rest)))
}

/// What is in the file; `None` when there is none or it is empty. Links that the guest put there lead nowhere.
fn read(root: &Path, sub: &Path) -> Option<String> {
    let found = open_beneath(root, sub, false).ok()?;
    // The descriptor stands for the place alone; this opens what it stands for.
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
    let mut bytes = Vec::new();
    file.take(MOST_OF_FILE).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a log.
async fn end_of(log: Arc<ContainerLog>) -> Option<String> {
    // The run is over: a line that was begun is written too.
    log.close();
    let query = LogQuery { tail: Some(LINES), ..LogQuery::default() };
    let mut pieces = Box::pin(stream(log.path().to_owned(), None, query));
    let mut end = Vec::new();
    while let Some(Ok(piece)) = pieces.next().await {
        end.extend_from_slice(&piece);
        end.drain(..end.len().saturating_sub(MOST_OF_LOG));
    }
    (!end.is_empty()).then(|| String::from_utf8_lossy(&end).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;
    use crate::logs::{LogLimits, LogStore, Stream};

    fn exit(code: i32) -> Exit {
        Exit { code, out_of_memory: false, message: "trapped".to_owned() }
    }

    #[tokio::test]
    async fn a_run_says_why_it_ended_in_its_file_or_else_in_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let (root, volume) = (dir.path().join("root"), dir.path().join("volume"));
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::create_dir_all(&volume).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(root.join("dev/said"), "DONE").unwrap();
        fs::write(root.join("dev/long"), "x".repeat(5000)).unwrap();
        fs::write(root.join("dev/empty"), "").unwrap();
        symlink(dir.path().join("secret"), root.join("dev/link")).unwrap();
        fs::write(volume.join("said"), "in a volume").unwrap();
        let logs = LogStore::new(dir.path().join("logs"), LogLimits::default());
        let log = logs.begin(&logs.pod_dir("ns", "pod", "uid"), "c", 0);
        log.sink(Stream::Stdout).write(b"first line\nlast line");
        let mount = |host: &Path, guest: &str| Mount {
            host: host.to_owned(),
            sub_path: PathBuf::new(),
            guest: guest.to_owned(),
            read_only: false,
        };
        let mounts = [mount(&root, "/"), mount(&volume, "/data")];
        let check = async |path: &str, policy: &str, code: i32, expected: &str| {
            let container = json!({
                "name": "c", "terminationMessagePath": path, "terminationMessagePolicy": policy,
            });
            let container: Container = serde_json::from_value(container).unwrap();
            let words = LastWords::of(&container, &mounts, log.clone());
            assert_eq!(words.add_to(exit(code)).await.message, expected, "{path} {policy} {code}");
        };
        check("/dev/said", "File", 0, "DONE").await;
        check("/dev/said", "FallbackToLogsOnError", 1, "DONE").await;
        check("/data/said", "File", 0, "in a volume").await;
        check("/dev/long", "File", 0, &"x".repeat(4096)).await;
        check("/dev/none", "File", 1, "trapped").await;
        check("/dev/empty", "File", 1, "trapped").await;
        check("/dev/link", "File", 1, "trapped").await;
        check("/dev/../../secret", "File", 1, "trapped").await;
        check("/dev/none", "FallbackToLogsOnError", 1, "first line\nlast line").await;
        check("/dev/none", "FallbackToLogsOnError", 0, "trapped").await;
        let log = logs.begin(&logs.pod_dir("ns", "pod", "uid"), "ended", 0);
        log.sink(Stream::Stdout).write(b"last line\n");
        assert_eq!(end_of(log).await.as_deref(), Some("last line\n"));
    }
}
