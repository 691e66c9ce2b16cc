use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;

use super::*;

const LIMITS: LogLimits = LogLimits { file_bytes: 2_000, files: 3, bytes_per_second: 1, burst_bytes: 1 << 20 };

struct Bench {
    _dir: tempfile::TempDir,
    store: Arc<LogStore>,
    pod: PathBuf,
}

impl Bench {
    fn new(limits: LogLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::new(dir.path().to_owned(), limits);
        let pod = store.pod_dir("ns", "p", "u");
        Self { _dir: dir, store, pod }
    }

    async fn read(&self, query: LogQuery) -> String {
        let (path, writer) = self.store.find(&self.pod, "c", 0);
        let chunks: Vec<_> = stream(path, writer, query).collect().await;
        chunks.into_iter().map(|c| String::from_utf8(c.unwrap().to_vec()).unwrap()).collect()
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn lines_are_what_was_written_however_it_was_cut() {
    let bench = Bench::new(LogLimits::default());
    let log = bench.store.begin(&bench.pod, "c", 0);
    let (out, err) = (log.sink(Stream::Stdout), log.sink(Stream::Stderr));
    out.write(b"one\ntw");
    err.write(b"oops\n");
    out.write(b"o\n\nlast");
    assert_eq!(bench.read(LogQuery::default()).await, "one\noops\ntwo\n\n");
    log.close();
    assert_eq!(bench.read(LogQuery::default()).await, "one\noops\ntwo\n\nlast");
    out.write(b"after the end\n");
    let tail = |n| LogQuery { tail: Some(n), ..LogQuery::default() };
    assert_eq!(bench.read(tail(2)).await, "\nlast");
    assert_eq!(bench.read(tail(1)).await, "last");
    assert_eq!(bench.read(tail(0)).await, "");
    assert_eq!(bench.read(tail(99)).await, "one\noops\ntwo\n\nlast");
    assert_eq!(bench.read(LogQuery { limit: Some(5), ..LogQuery::default() }).await, "one\no");
    let stamped = bench.read(LogQuery { timestamps: true, tail: Some(1), ..LogQuery::default() }).await;
    let (time, text) = stamped.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && text == "last", "{stamped}");
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    assert_eq!(bench.read(LogQuery { since: Some(later), ..LogQuery::default() }).await, "");
}

#[tokio::test]
async fn a_line_without_end_is_kept_in_pieces_and_read_as_one() {
    let bench = Bench::new(LogLimits::default());
    let log = bench.store.begin(&bench.pod, "c", 0);
    let long = "x".repeat(100_000);
    log.sink(Stream::Stdout).write(format!("first\n{long}\nlast\n").as_bytes());
    log.close();
    assert_eq!(bench.read(LogQuery { tail: Some(2), ..LogQuery::default() }).await, format!("{long}\nlast\n"));
}

#[tokio::test]
async fn files_are_rotated_and_read_as_one_log() {
    let bench = Bench::new(LIMITS);
    let log = bench.store.begin(&bench.pod, "c", 0);
    let out = log.sink(Stream::Stdout);
    for n in 0..200 {
        out.write(format!("line {n}\n").as_bytes());
    }
    let names = files(&bench.pod.join("c"));
    assert_eq!(names.len(), 3, "{names:?}");
    let all = bench.read(LogQuery::default()).await;
    let first: usize = all.lines().next().unwrap().strip_prefix("line ").unwrap().parse().unwrap();
    let expected: String = (first..200).map(|n| format!("line {n}\n")).collect();
    assert!(first > 50 && all == expected, "{all}");
    let tail = bench.read(LogQuery { tail: Some(60), ..LogQuery::default() }).await;
    assert_eq!(tail, (140..200).map(|n| format!("line {n}\n")).collect::<String>());
}

#[tokio::test]
async fn what_is_not_followed_ends_where_it_ended_at_the_beginning() {
    let bench = Bench::new(LogLimits::default());
    let out = bench.store.begin(&bench.pod, "c", 0).sink(Stream::Stdout);
    let line = "x".repeat(1_000) + "\n";
    for _ in 0..200 {
        out.write(line.as_bytes());
    }
    let (path, writer) = bench.store.find(&bench.pod, "c", 0);
    let mut reading = Box::pin(stream(path, writer, LogQuery { tail: Some(150), ..LogQuery::default() }));
    let mut seen = 0;
    while let Some(chunk) = reading.next().await {
        seen += chunk.unwrap().len();
        out.write(line.as_bytes());
    }
    assert_eq!(seen, 150 * line.len());
}

#[tokio::test]
async fn a_follower_sees_what_comes_over_rotations_until_the_end() {
    let bench = Bench::new(LIMITS);
    let log = bench.store.begin(&bench.pod, "c", 0);
    let out = log.sink(Stream::Stdout);
    out.write(b"line 0\n");
    let (path, writer) = bench.store.find(&bench.pod, "c", 0);
    let mut follower = Box::pin(stream(path, writer, LogQuery { follow: true, ..LogQuery::default() }));
    let mut seen = String::new();
    for n in 1..100 {
        while !seen.ends_with(&format!("line {}\n", n - 1)) {
            seen.push_str(std::str::from_utf8(&follower.next().await.unwrap().unwrap()).unwrap());
        }
        out.write(format!("line {n}\n").as_bytes());
    }
    log.close();
    while let Some(chunk) = follower.next().await {
        seen.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert_eq!(seen, (0..100).map(|n| format!("line {n}\n")).collect::<String>());
}

#[tokio::test]
async fn a_guest_that_prints_without_end_is_cut_and_told_on() {
    let bench = Bench::new(LogLimits { burst_bytes: 10_000, ..LIMITS });
    let log = bench.store.begin(&bench.pod, "c", 0);
    let out = log.sink(Stream::Stdout);
    for _ in 0..10_000 {
        out.write(b"spam spam spam spam\n");
    }
    log.close();
    let all = bench.read(LogQuery::default()).await;
    assert!(all.len() < 10_000, "{}", all.len());
    assert!(all.ends_with("bytes of output were dropped: the container writes too fast]\n"), "{all}");
}

#[test]
fn only_the_previous_run_is_kept_beside_the_present_one() {
    let bench = Bench::new(LogLimits::default());
    for attempt in 0..4 {
        let log = bench.store.begin(&bench.pod, "c", attempt);
        log.sink(Stream::Stdout).write(b"x\n");
        log.close();
    }
    assert_eq!(files(&bench.pod.join("c")), ["2.log", "3.log"]);
    bench.store.sweep(|uid| uid == "u").unwrap();
    assert!(bench.pod.exists());
    bench.store.sweep(|_| false).unwrap();
    assert!(!bench.pod.exists());
}
