//! Where events go: a file, put aside when it is large, or the standard output. A thread of its own writes; what it cannot
//! take in time is counted and told, not waited for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::AuditConfig;

/// Events that wait to be written.
const QUEUE: usize = 10_000;
/// Their bytes.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// How long the end waits for what is still to be written.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;
const DEFAULT_SIZE_MIB: u64 = 100;
const DAY: Duration = Duration::from_secs(24 * 3600);

enum Message {
    Line(String),
    Flush(oneshot::Sender<()>),
}

/// The way to the thread that writes, which ends with this.
pub(super) struct Log {
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Events that found no place, or could not be written.
    lost: AtomicU64,
}

impl Log {
    pub(super) fn open(config: &AuditConfig) -> io::Result<Self> {
        let sink = Sink::open(config)?;
        let (queue, messages) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let log = Self { queue, counts: counts.clone() };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || write_all(sink, &messages, &counts))?;
        Ok(log)
    }

    /// Leaves a line to be written.
    pub(super) fn tell(&self, line: String) {
        let size = line.len();
        let full = self.counts.waiting.fetch_add(size, Ordering::Relaxed) + size > QUEUE_BYTES;
        let sent = if full {
            Err("too much waits to be written")
        } else {
            self.queue.try_send(Message::Line(line)).map_err(|error| match error {
                TrySendError::Full(_) => "too many wait to be written",
                TrySendError::Disconnected(_) => "what writes them has ended",
            })
        };
        if let Err(why) = sent {
            self.counts.waiting.fetch_sub(size, Ordering::Relaxed);
            lost(&self.counts, &why);
        }
    }

    /// Waits until everything told before is written, within a limit.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let queue = self.queue.clone();
        // The queue may be full: the thread makes room.
        let sent = tokio::task::spawn_blocking(move || queue.send(Message::Flush(done)));
        let all = async { sent.await.is_ok_and(|sent| sent.is_ok()) && written.await.is_ok() };
        if !tokio::time::timeout(FLUSH_LIMIT, all).await.unwrap_or(false) {
            tracing::error!("the audit log was not written to its end");
        }
    }
}

/// Counts an event that is not written, and tells of the first and of every thousandth.
fn lost(counts: &Counts, why: &dyn std::fmt::Display) {
    let lost = counts.lost.fetch_add(1, Ordering::Relaxed) + 1;
    if lost == 1 || lost.is_multiple_of(1000) {
        tracing::error!(lost, %why, "audit events were lost");
    }
}

fn write_all(mut sink: Sink, messages: &Receiver<Message>, counts: &Counts) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Line(line) => {
                counts.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                if let Err(error) = sink.write(&line) {
                    lost(counts, &error);
                }
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

enum Sink {
    Stdout,
    File(Rotated),
}

impl Sink {
    fn open(config: &AuditConfig) -> io::Result<Self> {
        if config.log_path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let limit = if config.max_size_mib == 0 { DEFAULT_SIZE_MIB } else { config.max_size_mib }.saturating_mul(MIB);
        let keep = Keep { most: config.max_backups, days: config.max_age_days };
        Ok(Self::File(Rotated::open(config.log_path.clone(), limit, keep)?))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Self::File(file) => file.write(line.as_bytes(), SystemTime::now()),
        }
    }
}

/// Which files are kept that were put aside.
#[derive(Clone, Copy)]
struct Keep {
    /// 0: all.
    most: usize,
    /// 0: for ever.
    days: u64,
}

/// A file that is put aside under a name with the time when it has grown to its limit.
struct Rotated {
    path: PathBuf,
    limit: u64,
    keep: Keep,
    file: File,
    size: u64,
}

impl Rotated {
    fn open(path: PathBuf, limit: u64, keep: Keep) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent)?;
        }
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, limit, keep, file, size })
    }

    fn write(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.limit {
            self.rotate(now)?;
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let stamp = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        // Several within a millisecond have names in their order.
        let mut aside = self.aside(&stamp);
        while aside.exists() {
            aside = self.aside(&(stamp + Duration::from_millis(1)));
            if aside.exists() {
                break;
            }
        }
        fs::rename(&self.path, aside)?;
        self.file = append(&self.path)?;
        self.size = 0;
        let old = old(&self.aside_files()?, self.keep, now);
        for path in old {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an old audit log was not removed");
            }
        }
        Ok(())
    }

    /// `audit.log` is put aside as `audit-2026-01-02T03-04-05.678.log`.
    fn aside(&self, stamp: &Timestamp) -> PathBuf {
        let (stem, extension) = self.name();
        self.path.with_file_name(format!("{stem}-{}{extension}", stamp.strftime("%Y-%m-%dT%H-%M-%S%.3f")))
    }

    fn name(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let extension = text(self.path.extension()).map(|extension| format!(".{extension}")).unwrap_or_default();
        (text(self.path.file_stem()).unwrap_or_default(), extension)
    }

    /// The files that were put aside, with when that was.
    fn aside_files(&self) -> io::Result<Vec<(PathBuf, SystemTime)>> {
        let (stem, extension) = self.name();
        let dir = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stamp = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension));
            if stamp.is_some_and(|stamp| stamp.len() == "2026-01-02T03-04-05.678".len()) {
                files.push((entry.path(), entry.metadata()?.modified()?));
            }
        }
        Ok(files)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Which of the files are not kept any more.
fn old(files: &[(PathBuf, SystemTime)], keep: Keep, now: SystemTime) -> Vec<PathBuf> {
    let mut files: Vec<&(PathBuf, SystemTime)> = files.iter().collect();
    // Their names are in the order of their times.
    files.sort_by(|a, b| b.0.cmp(&a.0));
    let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
    let longest = DAY.saturating_mul(u32::try_from(keep.days).unwrap_or(u32::MAX));
    let beyond =
        |index: usize, at: SystemTime| keep.most > 0 && index >= keep.most || keep.days > 0 && age(at) > longest;
    files.iter().enumerate().filter(|(index, (_, at))| beyond(*index, *at)).map(|(_, (path, _))| path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_large_file_is_put_aside_and_the_oldest_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let keep = Keep { most: 2, days: 0 };
        let mut log = Rotated::open(path.clone(), 10, keep).expect("a log");
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (seconds, line) in [(1, "12345678\n"), (2, "abc\n"), (3, "defgh\n"), (4, "i\n"), (5, "0123456789\n")] {
            log.write(line.as_bytes(), at(seconds)).expect("written");
        }
        let expected = ["audit-1970-01-01T00-00-04.000.log", "audit-1970-01-01T00-00-05.000.log", "audit.log"];
        assert_eq!(names(dir.path()), expected);
        assert_eq!(fs::read_to_string(&path).expect("the log"), "0123456789\n");
        assert_eq!(fs::read_to_string(dir.path().join(expected[0])).expect("the log"), "abc\ndefgh\n");
        drop(log);
        // What is there is gone on with.
        let mut log = Rotated::open(path, 10, keep).expect("a log");
        log.write(b"x\n", at(6)).expect("written");
        assert_eq!(names(dir.path())[1], "audit-1970-01-01T00-00-06.000.log");
    }

    #[test]
    fn files_are_kept_by_number_and_age() {
        let now = SystemTime::UNIX_EPOCH + 100 * DAY;
        let files: Vec<(PathBuf, SystemTime)> =
            (1..=4).map(|n| (PathBuf::from(n.to_string()), SystemTime::UNIX_EPOCH + n * 25 * DAY)).collect();
        let check = |most: usize, days: u64, expected: &[&str]| {
            let found = old(&files, Keep { most, days }, now);
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{most} {days}");
        };
        check(0, 0, &[]);
        check(3, 0, &["1"]);
        check(0, 30, &["2", "1"]);
        check(1, 60, &["3", "2", "1"]);
    }

    #[tokio::test]
    async fn lines_are_written_in_their_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = AuditConfig {
            policy_file: PathBuf::new(),
            log_path: dir.path().join("below/audit.log"),
            max_size_mib: 0,
            max_backups: 0,
            max_age_days: 0,
        };
        let log = Log::open(&config).expect("a log");
        (0..100).for_each(|number| log.tell(format!("{number}\n")));
        // More than may wait at once is not taken.
        log.tell("x".repeat(QUEUE_BYTES + 1));
        log.flush().await;
        assert_eq!(log.counts.lost.load(Ordering::Relaxed), 1);
        assert_eq!(log.counts.waiting.load(Ordering::Relaxed), 0);
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(fs::read_to_string(config.log_path).expect("the log"), expected);
    }
}
