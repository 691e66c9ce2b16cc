//! The life of one pod as a function: what happened and when goes in, what to do comes out.
//!
//! [`PodState::step`] takes an [`Event`] and an instant, and returns the [`Effect`]s that the node then carries out. The
//! outcome of each effect comes back as an event. [`PodState::deadline`] says when to come back with [`Event::Tick`] if
//! nothing else happens, and [`PodState::status`] is what the API is told.
//!
//! Pure: no clock, no randomness, no I/O, no tasks.

#![forbid(unsafe_code)]

mod advance;
mod apply;
mod backoff;
mod conditions;
mod container;
mod event;
mod hook;
mod plan;
mod probe;
mod resize;
mod restart;
mod restore;
mod state;
mod status;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use conditions::{Urgency, urgency};
pub use event::{Cause, Effect, Event, Exit, Image, ImageFailure, Note, Run, StartFailure};
pub use hook::{Hook, HookKind};
pub use plan::{
    ContainerKind, ContainerPlan, PodPlan, ProbeAction, ProbeKind, ProbePlan, PullPolicy, RestartPolicy, as_container,
};
pub use resize::ResizeFailure;
pub use state::PodState;
pub use status::Report;

use std::time::Duration;

use jiff::Timestamp;

/// An instant: the wall's for what is shown, a monotonic one for what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What a clock on the wall shows.
    pub wall: Timestamp,
    /// Time since some fixed moment; it never goes back.
    pub mono: Duration,
}
