//! The registry over a real store in a temporary directory.

mod apply;
mod bootstrap;
mod cluster;
mod collections;
mod contention;
mod deletes;
mod lists;
mod model;
mod patches;
mod pods;
mod policies;
mod quotas;
mod services;
mod typed;
mod watches;
mod writes;
