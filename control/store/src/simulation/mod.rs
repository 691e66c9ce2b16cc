//! A seeded simulation of a whole cluster: clock, network, disks, crashes, clients.
//!
//! It runs the real code, from the replica (everything that a server decides) to the log's bytes, in one thread. What
//! happens is drawn from the seed alone, so a seed that fails fails again. After every step the invariants of Raft and of
//! the store are checked (`truth`); at the end everything heals, the cluster must go on and agree, and the clients'
//! histories are judged by `pal-checker`.
//!
//! | module | stands for |
//! |---|---|
//! | `world` | time: one queue of what happens when |
//! | `machine`, `life`, `process`, `stable` | a machine: its process, its log's disk, its applied state's disk |
//! | `network`, `parcel`, `delivery` | the links between servers, and what passes over them |
//! | `client`, `watching`, `traffic`, `operator` | who uses the cluster |
//! | `faults` | what goes wrong |
//! | `truth` | what must hold all the time |
//!
//! What it does not do: sled is not in it (a map stands in), nor the peers' frames, nor threads. A bit that flips in the
//! last record of a log that was not closed looks like a torn write and is cut off: no log of this kind can tell the two
//! apart, so such flips are not among the faults.

mod client;
mod delivery;
mod faults;
mod life;
mod machine;
mod network;
mod operator;
mod parcel;
mod planted;
mod process;
mod random;
mod run;
mod stable;
mod trace;
mod traffic;
mod truth;
mod watching;
mod world;

pub use planted::Planted;
pub use run::{Failure, Options, Summary, run};

/// A millisecond, in the unit of simulated time.
pub(crate) const MS: u64 = 1_000_000;

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
