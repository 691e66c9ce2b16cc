//! What goes into the machine and what comes out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::hook::HookKind;
use crate::plan::{PodPlan, ProbeKind};
use crate::resize::ResizeFailure;

/// One run of one container. Answers that carry an older attempt are of a run that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Index in [`PodPlan::containers`].
    pub container: usize,
    /// How often the container had been restarted when this run began.
    pub attempt: u32,
}

/// An artifact that is on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `imageID` of the status: repository and digest.
    pub id: Arc<str>,
    /// In bytes.
    pub size: u64,
}

/// Why an artifact is not on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFailure {
    /// What kind of failure it is.
    pub cause: Cause,
    /// For people.
    pub message: String,
}

/// `reason` of a container that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The image could not be had; it is tried again.
    ErrImagePull,
    /// The policy is Never and the image is not there.
    ErrImageNeverPull,
    /// `image` is no reference.
    InvalidImageName,
    /// What the manifest refers to is not there, or asks for what cannot be given.
    CreateContainerConfigError,
    /// The artifact cannot be run: not Wasm, a missing import.
    CreateContainerError,
}

impl Cause {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrImagePull => "ErrImagePull",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::InvalidImageName => "InvalidImageName",
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::CreateContainerError => "CreateContainerError",
        }
    }
}

/// Why a container did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// It never ran: shown as waiting, tried again later.
    NotCreated {
        /// `CreateContainerConfigError` or `CreateContainerError`.
        cause: Cause,
        /// For people.
        message: String,
    },
    /// It ran on trial and ended: a crash like any other.
    Crashed(Exit),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 137 when killed, 134 for a trap, 143 when cancelled.
    pub code: i32,
    /// Whether the memory limit was the reason.
    pub out_of_memory: bool,
    /// For people: what broke it off, or what it left to say of its end.
    pub message: String,
}

impl Exit {
    /// Whether it did not end by itself: it trapped, or was killed.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.out_of_memory || matches!(self.code, 134 | 137)
    }
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time went by.
    Tick,
    /// Address and volumes are there.
    Prepared {
        /// The pod's address.
        ip: IpAddr,
    },
    /// They are not.
    PrepareFailed {
        /// Of the event, as in `FailedMount`.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Another pod has a port of the node that this one asks for: it is not taken.
    PortsTaken,
    /// The pod uses more of the node's disk than it may, as this says: it is ended for good.
    Exceeded(String),
    /// The image was on the node already.
    ImageFound {
        /// For which container.
        container: usize,
        /// The image.
        image: Image,
    },
    /// It was not.
    ImageAbsent {
        /// For which container.
        container: usize,
    },
    /// It was pulled.
    ImagePulled {
        /// For which container.
        container: usize,
        /// The image.
        image: Image,
        /// How long that took.
        took: Duration,
    },
    /// It could not be pulled.
    ImageFailed {
        /// For which container.
        container: usize,
        /// Why.
        failure: ImageFailure,
    },
    /// The run began.
    Started(Run),
    /// The run did not begin.
    StartFailed(Run, StartFailure),
    /// The run ended, by itself or because it was to stop.
    Exited(Run, Exit),
    /// A probe came back.
    Probed {
        /// Of which run.
        run: Run,
        /// Which probe.
        probe: ProbeKind,
        /// What failed, if it failed; else what is odd about it, if anything is.
        outcome: Result<Option<&'static str>, String>,
    },
    /// A hook is through.
    Hooked {
        /// Of which run.
        run: Run,
        /// Which hook.
        hook: HookKind,
        /// What failed, if it failed.
        outcome: Result<(), String>,
    },
    /// What a run may use was changed, or why not.
    Resized {
        /// Of which run.
        run: Run,
        /// Why not.
        outcome: Result<(), ResizeFailure>,
    },
    /// The manifest changed (of a running pod, images and resources may).
    Updated(Arc<PodPlan>),
    /// The conditions that the readiness gates name, in their order.
    Gates(Vec<bool>),
    /// The API asks for the pod to end.
    Delete {
        /// How long it may take.
        grace: Duration,
    },
    /// The object is gone from the API: end at once and report nothing.
    Gone,
    /// Address and volumes have been given back.
    CleanedUp,
}

/// Something to do. Each is answered by an event unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Give the pod its address and volumes: `Prepared` or `PrepareFailed`.
    Prepare,
    /// Look for the image on the node: `ImageFound` or `ImageAbsent` (or `ImageFailed` for a bad name).
    FindImage {
        /// For which container.
        container: usize,
    },
    /// Pull the image: `ImagePulled` or `ImageFailed`.
    PullImage {
        /// For which container.
        container: usize,
    },
    /// Create and start: `Started` or `StartFailed`, and some time after `Started`, `Exited`.
    Start(Run),
    /// Carry out the hook after the start: `Hooked`.
    PostStart(Run),
    /// End the run within the grace, of which the hook before the end, if there is one, takes its part (`Hooked`):
    /// `Exited` (or `StartFailed` when it was not up yet).
    Stop {
        /// Which.
        run: Run,
        /// How long it may take.
        grace: Duration,
    },
    /// Give the run what the manifest says now that it may use: `Resized`.
    Resize(Run),
    /// Probe once: `Probed`.
    Probe {
        /// Which run.
        run: Run,
        /// Which probe.
        probe: ProbeKind,
    },
    /// Record an event in the API. No answer.
    Note(Note),
    /// All runs are over: give back address and volumes: `CleanedUp`.
    CleanUp,
    /// Report the last status and delete the object with grace 0. No answer; `Gone` follows.
    Remove,
}

/// An Event object to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Warning or Normal.
    pub warning: bool,
    /// `Pulled`, `Started`, ...
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The container that it is about.
    pub container: Option<usize>,
}
