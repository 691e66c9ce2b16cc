//! SPDY/3.1 as far as Kubernetes' Go clients speak it (the SPDY Protocol, draft 3.1): streams that the client opens, data in
//! both directions, pings, and headers compressed with the protocol's dictionary. Windows are not kept, as by those
//! clients: what is not read stops the whole connection.

mod dictionary;
mod frame;
mod headers;
mod session;

#[cfg(feature = "fuzzing")]
pub use frame::fuzz;
pub(crate) use headers::Headers;
pub(crate) use session::{OPENING, Outgoing, Session, Stream, start};
