//! What a StatefulSet tells of its pods and claims, in Kubernetes' words.

use crate::action::{Action, Announce, Note, Severity, Words};
use crate::members::Owner;
use crate::object::{name, namespace};

/// What is done to a pod or a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Create,
    Update,
    Delete,
}

impl Deed {
    fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// The reasons of a success and of a failure.
    fn reasons(self) -> [&'static str; 2] {
        match self {
            Self::Create => ["SuccessfulCreate", "FailedCreate"],
            Self::Update => ["SuccessfulUpdate", "FailedUpdate"],
            Self::Delete => ["SuccessfulDelete", "FailedDelete"],
        }
    }
}

/// Tells of a deed to a pod.
pub(super) fn pod(owner: &Owner<'_>, deed: Deed, pod: &str) -> Announce {
    let (verb, set) = (deed.verb(), name(owner.meta));
    let done = format!("{verb} Pod {pod} in StatefulSet {set} successful");
    announce(owner, deed, done, format!("{verb} Pod {pod} in StatefulSet {set} failed error"))
}

/// Tells of the claim that is made for a pod.
pub(super) fn claim(owner: &Owner<'_>, claim: &str, pod: &str) -> Announce {
    let set = name(owner.meta);
    let done = format!("create Claim {claim} Pod {pod} in StatefulSet {set} success");
    announce(owner, Deed::Create, done, format!("create Claim {claim} for Pod {pod} in StatefulSet {set} failed error"))
}

/// Tells of a pod that ended and is to come again.
pub(super) fn again(owner: &Owner<'_>, pod: &str, has_failed: bool) -> Action {
    let (space, set) = (namespace(owner.meta), name(owner.meta));
    let ended = if has_failed { "failed" } else { "terminated" };
    Action::Tell(Note {
        about: owner.about.clone(),
        component: owner.component,
        severity: if has_failed { Severity::Warning } else { Severity::Normal },
        reason: if has_failed { "RecreatingFailedPod" } else { "RecreatingTerminatedPod" },
        message: format!("StatefulSet {space}/{set} is recreating {ended} Pod {pod}"),
    })
}

fn announce(owner: &Owner<'_>, deed: Deed, done: String, failed: String) -> Announce {
    let [success, failure] = deed.reasons();
    let words = |severity, reason, text, with_detail| Some(Words { severity, reason, text, with_detail });
    Announce {
        about: owner.about.clone(),
        component: owner.component,
        done: words(Severity::Normal, success, done, false),
        failed: words(Severity::Warning, failure, failed, true),
    }
}
