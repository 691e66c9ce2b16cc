//! Short texts with a grammar of their own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pal_resources::channel::Packets;
use pal_resources::cron::{self, Schedule};
use pal_resources::duration;
use pal_resources::quantity::Quantity;
use pal_resources::selector::{FieldSelector, LabelSelector};

use crate::parts;

/// A selector: of labels, and of fields.
pub(crate) fn selectors(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        let nothing = selector.matches(&BTreeMap::new());
        assert!(!selector.is_empty() || nothing, "a selector without requirements matches all");
        let labels: BTreeMap<String, String> = selector
            .requirements()
            .iter()
            .map(|requirement| (requirement.key.clone(), requirement.values.first().cloned().unwrap_or_default()))
            .collect();
        let _ = selector.matches(&labels);
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        assert_eq!(selector.requirements().is_empty(), selector.is_empty());
        let _ = selector.matches(|_| Some("x"));
    }
}

/// A quantity, whose canonical form is one and is worth the same.
pub(crate) fn quantities(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(canonical) = Quantity::canonical(text) else { return };
    assert_eq!(Quantity::canonical(&canonical).as_ref(), Ok(&canonical), "of {text:?}");
    if let (Ok(one), Ok(other)) = (text.parse::<Quantity>(), canonical.parse::<Quantity>()) {
        assert_eq!(
            (one.millis(), one.is_negative()),
            (other.millis(), other.is_negative()),
            "{text:?} as {canonical:?}"
        );
    }
}

/// A span of time, which is the same when it is shown and read again.
pub(crate) fn durations(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(nanoseconds) = duration::parse(text) {
        let shown = duration::show(nanoseconds);
        assert_eq!(duration::parse(&shown), Some(nanoseconds), "{text:?} as {shown:?}");
    }
}

/// A schedule of a CronJob, and a zone: what is due next comes later, and is the last that was due by then.
pub(crate) fn schedules(input: &[u8]) {
    let [text, zone] = parts(input).map(|part| std::str::from_utf8(part).unwrap_or_default());
    let zone = cron::zone(zone).unwrap_or(TimeZone::UTC);
    let Ok(schedule) = Schedule::parse(text) else { return };
    let after = Timestamp::UNIX_EPOCH;
    if let Some(next) = schedule.next(after, &zone) {
        assert!(next > after, "{text:?}: {next}");
        assert_eq!(schedule.last(after, next, &zone), Some(next), "{text:?}");
    }
}

/// Packets between server and node.
pub(crate) fn packets(input: &[u8]) {
    let read = |piece: usize| {
        let (mut packets, mut found) = (Packets::default(), Vec::new());
        for bytes in input.chunks(piece.max(1)) {
            packets.push(bytes);
            while let Some(packet) = packets.take().transpose() {
                match packet {
                    Ok(packet) => found.push(packet),
                    Err(why) => return (found, Some(why)),
                }
            }
        }
        (found, None)
    };
    assert_eq!(read(1), read(input.len()), "cut otherwise, it is something else");
}
