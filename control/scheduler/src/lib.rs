//! Where a pod goes: nodes and what runs on them as a value, a pod, a random number; a placement, or node by node why
//! not. Pure; the controllers' driver feeds it and binds.
//!
//! A pod is kept from nodes by what it and they say (cordons, taints, selectors, room), and by where other pods are
//! (`company`). What is preferred and not required counts when nodes are compared (`score`, `liking`); pods of one controller
//! are spread over nodes and zones if nothing else is said.
//!
//! A pod's claims restrict it to where their volumes are or can be (`volumes`); what is to become of those that wait for it
//! is part of its placement.
//!
//! A pod that fits nowhere may drive out pods of lower priority ([`preempt`]).
//!
//! [`Cluster`] is kept up to date object by object and never rebuilt for a pod. [`schedule`] filters its nodes, scores
//! the rest and picks. What fitted nowhere is tried again when a change may help it ([`may_fit`], [`Neighbour`]). [`Queue`] says which pod is next and which waits, and takes the time as an argument.

mod affinity;
mod amount;
mod candidate;
mod cluster;
mod company;
mod filter;
mod hint;
mod liking;
mod preempt;
mod queue;
mod schedule;
mod score;
mod surroundings;
pub mod volumes;

pub use affinity::{node_matches, tolerates};
pub use amount::Amounts;
pub use candidate::Candidate;
pub use cluster::{Cluster, NodeChange, NodeState};
pub use filter::Refusal;
pub use hint::{Neighbour, may_fit};
pub use preempt::{Guards, Preemption, Victim, preempt, preemptible};
pub use queue::{Failure, Queue, QueueLengths};
pub use schedule::{Placement, Remedy, Unschedulable, schedule};
