//! Runs Wasm components: the only user of wasmtime in Palinurus.
//!
//! [`Engine::prepare`] turns a file into a [`Program`]: a core wasip1 module is adapted to a component, the machine code
//! comes from the compile cache or from a bounded compiler process, and every import is checked. A [`Program`] that is a
//! command is [run](Program::run) from start to exit; one that is an HTTP service is [served](Program::serve) with a
//! fresh instance for each request, and holds no instance while it is idle. What an instance may see and use is in its
//! [`InstanceSpec`], and nothing else is granted.
//!
//! Deliberately absent: pods, images, restarts, addresses. Those are the node's and the network's business.

mod adapt;
mod beneath;
mod budget;
mod cache;
mod command;
mod compile;
mod config;
mod engine;
mod error;
mod failure;
mod hooks;
mod imports;
mod input;
mod inspect;
mod instance;
mod machine;
mod meter;
mod outbound;
mod output;
mod prepare;
mod program;
mod reply;
mod service;
mod settings;
mod spec;
mod ticker;
mod workload;

pub use beneath::open_beneath;
pub use command::Running;
pub use compile::compile_worker_main;
pub use config::{Compile, EngineConfig};
pub use engine::Engine;
pub use error::{EngineError, PrepareError, StartError};
pub use inspect::{HttpVersion, Inspection, Parts, ProgramKind, inspect};
pub use meter::Meter;
pub use outbound::{NoOutbound, Outbound, OutboundError, OutboundTimeouts};
pub use program::Program;
pub use service::Service;
pub use spec::{Closed, Discard, Exit, InstanceSpec, LogSink, Mount, Stdin};

/// An error of a body: whatever broke the stream.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming HTTP body, the same type in every crate of the data path.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;
