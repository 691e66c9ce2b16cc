//! Bytes and connections: limits on slow peers, bodies, compression.

mod chunked;
mod compress;
mod corked;
mod held;
mod io;
mod reading;
mod splice;

pub(crate) use chunked::{Endless, write_in_chunks};
pub(crate) use compress::compressed;
pub(crate) use corked::Corked;
pub(crate) use held::Held;
pub(crate) use io::{Guarded, LastRead, Patience};
pub(crate) use reading::{BodyError, discard, read_body};
pub(crate) use splice::{MadeWhileRead, Size, Spliced};
