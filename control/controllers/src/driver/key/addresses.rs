//! Which looks a change of a Service or of an IPAddress calls for, as far as addresses are concerned.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Key, Wanted, now};
use crate::driver::cache::{Cache, Change};
use crate::driver::known::{Known, Whole};
use crate::driver::positions::Positions;
use crate::service_address::{addresses, parent};

/// The Service, when it has other addresses than before, and those that it had.
pub(super) fn service(change: &Change, wanted: &mut Vec<Wanted>) {
    let of = |known: &Option<Known>| -> BTreeSet<IpAddr> {
        match known.as_ref().map(|known| &known.whole) {
            Some(Whole::Service(service)) => addresses(service).collect(),
            _ => BTreeSet::new(),
        }
    };
    let (before, after) = (of(&change.before), of(&change.after));
    wanted.extend(before.difference(&after).map(|address| now(Key::Address(address.to_string()))));
    if !after.is_subset(&before) {
        wanted.push(now(Key::Addresses(change.address.1.clone())));
    }
}

/// The IPAddress, or the Service that has lost it.
pub(super) fn address(change: &Change, wanted: &mut Vec<Wanted>) {
    if change.after.is_some() {
        wanted.push(now(Key::Address(change.address.1.1.clone())));
        return;
    }
    let Some(Whole::Address(gone)) = change.before.as_ref().map(|known| &known.whole) else { return };
    let place = parent(gone).map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    wanted.extend(place.map(|place| now(Key::Addresses(place))));
}

/// The ServiceCIDRs that wait for their addresses to go.
pub(super) fn ending(cache: &Cache, at: &Positions, wanted: &mut Vec<Wanted>) {
    let ending = cache.all(at.blocks, None).filter(|known| known.is_deleting());
    wanted.extend(ending.map(|known| now(Key::Block(known.name().to_owned()))));
}
