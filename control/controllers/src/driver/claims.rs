//! What the scheduler is told of claims and volumes, and what is written to claims before their pod goes to a node.

use pal_resources::volumes::SELECTED_NODE;
use pal_scheduler::Placement;
use pal_scheduler::volumes::{Choice, Storage};
use serde_json::json;

use super::cache::Change;
use super::known::Whole;
use crate::action::Action;
use crate::volume::{change_claim, take};

/// Takes in a change of a claim, a volume or a class. True when pods that wait for it may go on.
pub(super) fn take_in(storage: &mut Storage, change: &Change) -> bool {
    let (namespace, name) = &change.address.1;
    match (change.before.as_ref().map(|known| &known.whole), change.after.as_ref().map(|known| &known.whole)) {
        (_, Some(Whole::Claim(claim))) => storage.set_claim(claim.clone()),
        (_, Some(Whole::Volume(volume))) => storage.set_volume(volume.clone()),
        (_, Some(Whole::StorageClass(class))) => {
            storage.set_class(class.clone());
            true
        }
        (Some(Whole::Claim(_)), None) => {
            storage.remove_claim(namespace, name);
            true
        }
        (Some(Whole::Volume(_)), None) => {
            storage.remove_volume(name);
            false
        }
        (Some(Whole::StorageClass(_)), None) => {
            storage.remove_class(name);
            false
        }
        _ => false,
    }
}

/// What is not written yet of what the claims of a placed pod are to become.
pub(super) fn prepare(placement: &Placement) -> Vec<Action> {
    let written = |choice: &Choice| match choice {
        Choice::Bind { claim, volume } => take(claim, volume),
        Choice::Provision { claim } if claim.selected_node.as_deref() == Some(&placement.node) => None,
        Choice::Provision { claim } => {
            Some(change_claim(claim, json!({ "metadata": { "annotations": { SELECTED_NODE: placement.node } } })))
        }
    };
    placement.claims.iter().filter_map(written).collect()
}
