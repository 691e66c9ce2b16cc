//! Wasm modules and components as OCI artifacts: stored, served, pulled and pushed.
//!
//! The layout is the CNCF's "Wasm OCI Artifact": one manifest, a config of type
//! `application/vnd.wasm.config.v0+json`, one layer of type `application/wasm`. One code path brings every artifact to a
//! node, whether it lies in the cluster's own registry (`pal.local`) or in another one.

#![forbid(unsafe_code)]

mod arrival;
mod artifact;
mod blobs;
mod client;
mod digest;
mod lead;
mod part;
mod pull;
mod push;
mod reference;
mod refusal;
mod registry;
mod share;
mod siblings;
mod site;
mod standin;
mod uploads;

pub use artifact::{Defaults, Descriptor, Manifest, WasmConfig};
pub use blobs::{BlobError, Blobs};
pub use client::RegistryClient;
pub use digest::Digest;
pub use pull::{Artifact, PullError, PullPolicy, Puller, PullerConfig};
pub use push::{PushError, Pushed, push};
pub use reference::{CLUSTER_HOST, Reference, ReferenceError};
pub use registry::{Origin, RegistryV2};
pub use siblings::Siblings;
pub use site::{ClientError, ClusterRegistry, Urls};

/// What goes wrong while a body streams.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A streamed HTTP body; the same type in every crate that handles HTTP.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;

/// A component may be this large, in bytes: more than any that a language's toolchain makes today.
pub const MAX_BLOB_BYTES: u64 = 256 * 1024 * 1024;
