//! Claims, volumes and classes of them: what is looked at of each, which volume a claim may have, and what a pod's claims
//! mean for where it goes (Kubernetes' VolumeBinding and VolumeRestrictions plugins).
//!
//! The same values serve the controller that binds claims, so that both judge alike.

mod facts;
mod matching;
mod needs;

pub use facts::{Claim, ClaimRef, Class, SINGLE_POD, Volume};
pub use matching::{Mismatch, best, mismatch};
pub use needs::{Choice, Hindrance, Storage};
pub(crate) use needs::{Needs, Used};

#[cfg(test)]
mod tests;
