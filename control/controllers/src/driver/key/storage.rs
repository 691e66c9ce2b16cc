//! Which looks a change of a claim, a volume or a class calls for.

use std::time::Duration;

use pal_scheduler::volumes::Claim;

use super::{Key, Wanted, now};
use crate::driver::cache::{Cache, Change};
use crate::driver::known::{Known, Whole};
use crate::driver::positions::Positions;

/// How long claims wait for a volume or class together with what happens at the same time.
const TOGETHER: Duration = Duration::from_millis(5);

fn claim_of(known: &Known) -> Option<&Claim> {
    match &known.whole {
        Whole::Claim(claim) => Some(claim),
        _ => None,
    }
}

/// The claim, the volume that it has or had, and the pod that it was made for, which may want another.
pub(super) fn claim(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let place = &change.address.1;
    if change.after.is_some() {
        wanted.push(now(Key::Claim(place.clone())));
    }
    for claim in [&change.before, &change.after].into_iter().flatten().filter_map(claim_of) {
        if !claim.volume.is_empty() {
            wanted.push(now(Key::Volume(claim.volume.clone())));
        }
    }
    let gone = change.before.as_ref().filter(|_| change.after.is_none()).and_then(claim_of);
    let Some(gone) = gone else { return };
    if gone.volume.is_empty() {
        let named = |known: &&Known| match &known.whole {
            Whole::Volume(volume) => volume.claim.as_ref().is_some_and(|claim| claim.uid == gone.uid),
            _ => false,
        };
        wanted.extend(cache.all(at.volumes, None).filter(named).map(|known| now(Key::Volume(known.name().to_owned()))));
    }
    let owner = gone.owner.as_deref().and_then(|uid| cache.by_uid(uid));
    if let Some((_, known)) = owner.filter(|(_, known)| matches!(known.whole, Whole::Pod(_))) {
        wanted.push(now(Key::Ephemeral(known.place())));
    }
}

/// The volume, the claim that it names, and those that could have it.
pub(super) fn volume(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let name = &change.address.1.1;
    if change.after.is_some() {
        wanted.push(now(Key::Volume(name.clone())));
    }
    for known in [&change.before, &change.after].into_iter().flatten() {
        let Whole::Volume(volume) = &known.whole else { continue };
        match &volume.claim {
            Some(claim) => wanted.push(now(Key::Claim((claim.namespace.clone(), claim.name.clone())))),
            None if change.after.is_some() => {
                let suits = |claim: &Claim| !claim.is_bound && claim.class_name() == volume.class;
                unbound(cache, at, |claim| claim.volume == *name || suits(claim), wanted);
            }
            None => {}
        }
    }
}

/// The claims that wait for a volume.
pub(super) fn class(cache: &Cache, at: &Positions, wanted: &mut Vec<Wanted>) {
    unbound(cache, at, |claim| claim.volume.is_empty(), wanted);
}

fn unbound(cache: &Cache, at: &Positions, holds: impl Fn(&Claim) -> bool, wanted: &mut Vec<Wanted>) {
    let claims = cache.all(at.claims, None);
    let chosen = claims.filter(|known| claim_of(known).is_some_and(|claim| !claim.is_bound && holds(claim)));
    wanted.extend(chosen.map(|known| Wanted { key: Key::Claim(known.place()), within: TOGETHER }));
}
