//! Several stores in one process, joined by streams that the tests cut.

mod changes;
mod clients;
mod cluster;
mod failures;
mod following;
mod net;
mod strangers;
