//! The engine on real components: the examples, and the guests of `tests/guests`, good and bad.

mod commands;
mod harness;
mod node_memory;
mod outbound;
mod prepare;
mod services;
mod services_p3;
mod shell;
mod trouble;
