//! The controllers: what makes the cluster become what its objects say.
//!
//! Each kind's module decides: a pure `reconcile(view, now) -> Plan`, told nothing of what changed, only to look again.
//! [`driver`] is the one place that watches, queues and writes.

pub mod ports;

pub use ports::{CertificateSigner, CsrSubject, NodeLiveness, Timing};

pub mod action;
pub mod csr;
pub mod deployment;
pub mod endpointslice;
pub mod event_ttl;
pub mod garbage;
pub mod namespace;
pub mod object;
pub mod pods;
pub mod replicaset;
pub mod service_account;

#[cfg(test)]
mod world;
