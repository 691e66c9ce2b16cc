//! Clusters of several servers under load and faults. What clients and watchers did and saw is judged afterwards: no
//! acknowledged write lost, no stale consistent read, no gap or repeat in a watch, no revision given twice.
//!
//! Each test prints its seed; `PAL_TEST_SEED` makes the same choices again (the processes' timing stays their own).
//! `PAL_TORTURE=30m cargo test -p palinurus --test e2e torture -- --nocapture` goes on with all faults in turn for that long.

mod agents;
mod alone;
mod clocks;
mod disks;
mod faults;
mod kills;
mod partitions;
mod pauses;
mod rolling;
mod torture;

use pal_tests::{Forming, Load, Much, Seed, Servers};

use crate::pal;

/// So many writes and reads show that the cluster goes on.
const SOME: u64 = 25;

/// A cluster with a load on it.
async fn loaded(what: &str, count: usize, forming: Forming) -> (Servers, Load, Seed) {
    let mut seed = Seed::of_this_run(what);
    let servers = Servers::form(&pal(), count, forming).await;
    let load = Load::start(servers.endpoints(), &mut seed, Much::default()).await;
    load.goes_on(SOME).await;
    (servers, load, seed)
}

fn relayed() -> Forming {
    Forming { relayed: true, ..Forming::default() }
}
