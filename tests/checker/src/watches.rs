//! Watchers against the sequence of commits.

use std::collections::BTreeSet;

use crate::history::{History, Step, Value, Watch};
use crate::report::{Kind, Report};
use crate::sequence::Sequence;

pub(crate) fn check(history: &History, sequence: &Sequence, report: &mut Report) {
    for watch in &history.watches {
        let mut position = None;
        for (at, step) in watch.steps.iter().enumerate() {
            if let Err((kind, text)) = take(watch, sequence, &mut position, step) {
                report.add(kind, format!("watcher {} of {:?}: {text}{}", watch.watcher, watch.prefix, tail(watch, at)));
                // What follows would only repeat it.
                break;
            }
        }
    }
}

/// Where a watcher stands.
struct Position<'a> {
    /// Everything up to here was delivered, or was not wanted.
    after: u64,
    /// A revision of which something was delivered, and the keys.
    part: Option<(u64, BTreeSet<&'a str>)>,
}

type Wrong = (Kind, String);

fn take<'a>(
    watch: &'a Watch,
    sequence: &Sequence,
    position: &mut Option<Position<'a>>,
    step: &'a Step,
) -> Result<(), Wrong> {
    match step {
        Step::Started { after, .. } => *position = Some(Position { after: *after, part: None }),
        Step::Event { revision, key, value } => {
            let Some(position) = position else {
                return Err((Kind::Malformed, "an event, but nothing was started".to_owned()));
            };
            take_event(watch, sequence, position, (*revision, key, *value))?;
        }
        Step::Complete { revision } => {
            if let Some(position) = position {
                finish_part(watch, sequence, position, revision + 1)?;
                no_gap(watch, sequence, position.after, revision + 1)?;
                position.after = position.after.max(*revision);
            }
        }
        Step::Listed { revision, found } => {
            let is_known = sequence.knows(&watch.prefix, *revision);
            let expected = sequence.state(&watch.prefix, *revision);
            if is_known
                && !expected
                    .iter()
                    .map(|(key, value)| (*key, value))
                    .eq(found.iter().map(|(key, value)| (key.as_str(), value)))
            {
                return Err((Kind::ReadDiffers, format!("at revision {revision} there was {expected:?}")));
            }
            *position = None;
        }
        Step::Broken | Step::Ended => *position = None,
    }
    Ok(())
}

fn take_event<'a>(
    watch: &Watch,
    sequence: &Sequence,
    position: &mut Position<'a>,
    (revision, key, value): (u64, &'a str, Option<Value>),
) -> Result<(), Wrong> {
    if !key.starts_with(&watch.prefix) {
        return Err((Kind::WatchForeign, format!("{key} is not under its prefix")));
    }
    let newest = position.part.as_ref().map_or(position.after, |(revision, _)| *revision);
    let again = position.part.as_ref().is_some_and(|(part, keys)| *part == revision && keys.contains(key));
    if again || revision < newest || revision == position.after {
        return Err((Kind::WatchRepeat, format!("{key} at revision {revision} came after revision {newest}")));
    }
    if !sequence.of(&watch.prefix, revision).any(|change| change == (key, value)) {
        let there: Vec<_> = sequence.of(&watch.prefix, revision).collect();
        let text = format!("revision {revision} did not make {key} {value:?}; it made {there:?}");
        return Err((Kind::WatchForeign, text));
    }
    finish_part(watch, sequence, position, revision)?;
    no_gap(watch, sequence, position.after, revision)?;
    position.part.get_or_insert_with(|| (revision, BTreeSet::new())).1.insert(key);
    Ok(())
}

/// All changes of the revision that was delivered in part must be there before something at or behind `next` comes.
fn finish_part(watch: &Watch, sequence: &Sequence, position: &mut Position<'_>, next: u64) -> Result<(), Wrong> {
    let Some((revision, keys)) = position.part.take_if(|(revision, _)| *revision < next) else { return Ok(()) };
    position.after = revision;
    match sequence.of(&watch.prefix, revision).find(|(key, _)| !keys.contains(key)) {
        Some((key, _)) => Err((Kind::WatchGap, format!("{key} at revision {revision} was left out"))),
        None => Ok(()),
    }
}

fn no_gap(watch: &Watch, sequence: &Sequence, after: u64, next: u64) -> Result<(), Wrong> {
    match sequence.between(&watch.prefix, after, next).next() {
        Some((missed, key, _)) => Err((Kind::WatchGap, format!("{key} at revision {missed} was left out"))),
        None => Ok(()),
    }
}

/// The watcher's last steps up to this one.
fn tail(watch: &Watch, at: usize) -> String {
    let from = at.saturating_sub(6);
    watch.steps[from..=at].iter().map(|step| format!("\n  {step:?}")).collect()
}
