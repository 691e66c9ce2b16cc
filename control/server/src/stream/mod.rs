//! Streams between a client and a node that last: programs' streams (exec, attach) and forwarded connections.
//!
//! A client speaks WebSocket, with one of Kubernetes' protocols of numbered channels, or SPDY/3.1, which is also what goes
//! inside a WebSocket for port-forward. To the node goes one HTTP/2 request: packets in both directions for a program
//! (`pal_resources::channel`), plain bytes for each forwarded connection. All queues are short, so that a side that does
//! not read stops the side that writes.

mod channels;
mod client;
mod exec;
mod forward;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod limits;
mod messages;
mod node;
mod spdy;
mod tunnelled;
mod upgrade;
mod websocket;

pub(crate) use exec::{Programs, run as run_program};
pub(crate) use forward::{Forwarding, run as run_forward};
pub(crate) use limits::{IDLE, SWITCH};
pub(crate) use messages::{Framing, run as run_messages};
pub(crate) use node::{Conversation, Node, NodeError};
pub(crate) use upgrade::{
    Asked, Chosen, EXEC_PROTOCOLS, FORWARD_PROTOCOLS, asked, choose, refused, switching, to_websocket, token,
};
