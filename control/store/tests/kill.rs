//! A writer is killed again and again on one directory: what it was told is durable must be there, and no revision may be
//! given twice.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pal_store::{Key, Op, Outcome, Store, StoreConfig, Txn};
use tokio::task::JoinSet;

const DIR: &str = "PAL_STORE_KILL_DIR";
const FIRST: &str = "PAL_STORE_KILL_FIRST";
/// Of batches like the first almost all count as large, of those like the second almost none.
const BATCHES: [usize; 2] = [64 << 10, 4 << 20];
const CLIENTS: usize = 8;
/// More than any life of a writer has.
const TURNS: usize = 1_000_000;
const LASTS: Duration = Duration::from_secs(5);
/// On a machine that is too busy to get anywhere in that time.
const AT_MOST: Duration = Duration::from_secs(60);

/// Small files and an eager persister, so that kills hit rotations and state writes too. The state is written in other ways from
/// one life to the next.
fn config(dir: &Path, life: usize) -> StoreConfig {
    StoreConfig {
        dir: dir.join("store"),
        segment_bytes: 256 << 10,
        persist_bytes: BATCHES[life / 4 % BATCHES.len()],
        persist_after: Duration::from_millis(20),
        ..StoreConfig::default()
    }
}

/// What the writer says when a write has been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Acknowledged {
    client: usize,
    turn: usize,
    revision: u64,
}

impl Acknowledged {
    fn parse(line: &str) -> Option<Acknowledged> {
        let mut numbers = line.strip_prefix("ack ")?.strip_suffix(" .")?.split(' ');
        Some(Acknowledged {
            client: numbers.next()?.parse().ok()?,
            turn: numbers.next()?.parse().ok()?,
            revision: numbers.next()?.parse().ok()?,
        })
    }
}

fn value(client: usize, turn: usize) -> Bytes {
    format!("{client}/{turn} {}", "x".repeat(turn * 37 % 3000)).into()
}

/// Not a test of its own: what the test below runs in a process that it kills.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let first: usize = std::env::var(FIRST).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Store::open(config(Path::new(&dir), first / TURNS)).await.unwrap();
        let mut writers = JoinSet::new();
        for client in 0..CLIENTS {
            writers.spawn(write_for_ever(store.clone(), client, first));
        }
        writers.join_all().await;
    });
}

/// Each write puts one key that stays and one that is always overwritten, together.
async fn write_for_ever(store: Store, client: usize, first: usize) {
    for turn in first.. {
        let put = |key: String| Op::Put { key: key.into(), value: value(client, turn), revision_at: None };
        let ops = vec![put(format!("kept/{client}/{turn}")), put(format!("last/{client}"))];
        let Ok(Outcome::Committed { revision, .. }) = store.commit(Txn::of(ops)).await else { panic!("not committed") };
        // One write call, so that a line is whole or, at the very end, cut.
        let line = format!("ack {client} {turn} {revision} .\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

struct Writer {
    child: Child,
    lines: Receiver<String>,
}

impl Writer {
    fn start(dir: &Path, first: usize) -> Writer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(DIR, dir)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Writer { child, lines }
    }

    /// Lets it go on for so long, kills it, and returns all that it said.
    fn kill_after(mut self, time: Duration) -> Vec<Acknowledged> {
        let until = Instant::now() + time;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => said.extend(Acknowledged::parse(&line)),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the writer ended by itself"),
            }
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        said.extend(self.lines.iter().filter_map(|line| Acknowledged::parse(&line)));
        said
    }
}

/// What was acknowledged so far.
#[derive(Default)]
struct History {
    by_revision: BTreeMap<u64, Acknowledged>,
    last: HashMap<usize, Acknowledged>,
}

impl History {
    fn add(&mut self, said: Vec<Acknowledged>) {
        for write in said {
            let other = self.by_revision.insert(write.revision, write);
            assert_eq!(other, None, "revision {} was given twice, now for {write:?}", write.revision);
            self.last.insert(write.client, write);
        }
    }

    fn check(&self, snapshot: &pal_store::Snapshot) {
        for write in self.by_revision.values() {
            let key = Key::from(format!("kept/{}/{}", write.client, write.turn));
            let entry = snapshot.get(&key).unwrap_or_else(|| panic!("{write:?} was lost"));
            assert_eq!((entry.modified().0, entry.value()), (write.revision, &value(write.client, write.turn)));
        }
        for write in self.last.values() {
            let entry = snapshot.get(format!("last/{}", write.client)).unwrap_or_else(|| panic!("{write:?} was lost"));
            assert!(entry.modified().0 >= write.revision, "{write:?} was undone");
        }
        // A transaction is there whole or not at all.
        for client in 0..CLIENTS {
            let kept = snapshot.range(&format!("kept/{client}/"), None).map(|entry| entry.modified()).max();
            let last = snapshot.get(format!("last/{client}")).map(|entry| entry.modified());
            assert_eq!(kept, last, "client {client}");
        }
        let newest = self.by_revision.last_key_value().map_or(0, |(revision, _)| *revision);
        assert!(snapshot.revision().0 >= newest, "revision {newest} would be given again");
    }
}

#[test]
fn kills_at_any_moment_lose_nothing_that_was_acknowledged() {
    if std::env::var_os(DIR).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut history = History::default();
    let started = Instant::now();
    let mut rounds = 0;
    let enough = |rounds: usize, history: &History| rounds >= 5 && history.by_revision.len() >= 100;
    while started.elapsed() < LASTS || !enough(rounds, &history) && started.elapsed() < AT_MOST {
        // Short lives die while the store opens, long ones while it writes.
        let random = RandomState::new().hash_one(rounds);
        let life = Duration::from_micros(random % if rounds % 3 == 0 { 40_000 } else { 400_000 });
        let said = Writer::start(dir.path(), rounds * TURNS).kill_after(life);
        history.add(said);
        rounds += 1;
        if rounds % 2 == 0 {
            runtime.block_on(async {
                let store = Store::open(config(dir.path(), rounds)).await.unwrap();
                history.check(&store.applied());
                store.close().await;
            });
        }
    }
    assert!(enough(rounds, &history), "{rounds} rounds, {} writes", history.by_revision.len());
    println!("{rounds} kills, {} acknowledged writes", history.by_revision.len());
}
