//! Why an instance failed: from wasmtime's errors to what the node and users are told.

use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use crate::budget::Share;

/// How an instance's run ended otherwise than by returning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It called exit.
    Exit(i32),
    /// It was denied memory and did not get over it.
    OutOfMemory,
    /// The same, and it was not its own limit: the node's instances have all that there is.
    NodeOutOfMemory,
    /// The engine's pool is full.
    NoRoom(String),
    /// It trapped.
    Trap(String),
}

impl Failure {
    /// Sorts the error of an instance that held `share`.
    pub(crate) fn of(error: &wasmtime::Error, share: &Share) -> Self {
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Self::Exit(*code);
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::NoRoom(error.to_string());
        }
        if share.denied() {
            return if share.node_was_full() { Self::NodeOutOfMemory } else { Self::OutOfMemory };
        }
        Self::Trap(message(error))
    }
}

/// One line: the trap if it is one, else the cause at the end of the chain.
fn message(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    }
}
