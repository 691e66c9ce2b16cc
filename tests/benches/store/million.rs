//! A million objects of 1 KB: how long a start takes, and how much memory they do.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pal_store::{Key, Op, Txn};
use pal_tests::Pal;
use tokio::task::JoinSet;

use crate::options::Options;
use crate::ours::Ours;
use crate::processes::{on_disk, resident};

const WRITERS: usize = 128;
const CONNECTIONS: usize = 8;
const SIZE: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(10);

/// Stores them, starts again, and prints what that took.
pub async fn print(pal: &Pal, options: &Options) {
    let mut ours = Ours::start(pal, 1).await;
    let begun = Instant::now();
    fill(&ours, options.objects).await;
    let rate = options.objects as f64 / begun.elapsed().as_secs_f64();
    let memory = |ours: &Ours| ours.servers.all()[0].process_id().map_or(0.0, resident) / options.objects as f64;
    let written = memory(&ours);
    println!("\n{} objects of {SIZE} B stored at {rate:.0}/s; {written:.0} B of memory each", options.objects);
    for how in ["an orderly stop", "kill -9"] {
        match how {
            "kill -9" => ours.servers.kill(0).await,
            _ => ours.servers.stop(0).await,
        }
        let begun = Instant::now();
        ours.servers.start(0);
        ours.servers.ready(0).await;
        let took = begun.elapsed();
        let last = format!("/api/v1/namespaces/default/configmaps/{}", name(options.objects - 1));
        ours.servers.all()[0].access().api().get(&last, LIMIT).await.expect("the last object is there");
        println!(
            "start after {how}: {:.1} s; {:.0} B of memory each; {:.2} times their size on disk",
            took.as_secs_f64(),
            memory(&ours),
            on_disk(&ours.servers.all()[0].dir.join("store")) / (options.objects * SIZE) as f64
        );
    }
}

async fn fill(ours: &Ours, objects: usize) {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(ours.client().await);
    }
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let client = clients[writer % CONNECTIONS].clone();
        tasks.spawn(async move {
            for number in (writer..objects).step_by(WRITERS) {
                client.commit(Txn::of(vec![object(number)])).await.expect("an object is stored");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer does not panic");
    }
}

fn name(number: usize) -> String {
    format!("object-{number:08}")
}

/// A ConfigMap as the API stores it.
fn object(number: usize) -> Op {
    let name = name(number);
    let head = format!(
        r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"default","uid":"00000000-0000-4000-8000-{number:012}","creationTimestamp":"2026-01-01T00:00:00Z","resourceVersion":""#
    );
    let (middle, tail) = (r#""},"data":{"value":""#, r#""}}"#);
    let filling = "x".repeat(SIZE.saturating_sub(head.len() + middle.len() + tail.len()));
    let revision_at = u32::try_from(head.len()).ok();
    let value = Bytes::from(format!("{head}{middle}{filling}{tail}"));
    Op::Put { key: Key::new(format!("configmaps/default/{name}")), value, revision_at }
}
