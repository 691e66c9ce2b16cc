//! The commits in the order of their revisions.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Call, Found, Guard, History, Operation, Outcome, Step, Value, Watch, Write};
use crate::report::{Kind, Report};
use crate::shrink::describe;

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its new value; `None` when it was removed.
    pub value: Option<Value>,
}

/// What was committed, revision by revision.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    commits: BTreeMap<u64, BTreeMap<String, Option<Value>>>,
    /// Of each key, its values and since when.
    versions: BTreeMap<String, BTreeMap<u64, Option<Value>>>,
    /// Up to which revision each prefix is known without a gap; `None`: everything is known.
    covered: Option<BTreeMap<String, u64>>,
}

impl Sequence {
    /// Everything that was committed behind the history's `base`, none left out.
    pub fn complete(history: &History, commits: impl IntoIterator<Item = (u64, Vec<Change>)>) -> Sequence {
        let mut sequence = Sequence::beginning(history);
        for (revision, changes) in commits {
            for change in changes {
                sequence.put(revision, change);
            }
        }
        sequence
    }

    /// What the history's watchers, readers and writers saw, put together. It has gaps where nobody looked.
    pub(crate) fn gather(history: &History, report: &mut Report) -> Sequence {
        let mut sequence = Sequence::beginning(history);
        let mut note = |revision: u64, key: &str, value: Option<Value>, who: &dyn Fn() -> String| {
            if revision <= history.base {
                return;
            }
            let known = sequence.commits.get(&revision).and_then(|changes| changes.get(key)).copied();
            match known {
                None => sequence.put(revision, Change { key: key.to_owned(), value }),
                Some(known) if known == value => {}
                Some(known) => {
                    let text = format!("revision {revision} made {key} {known:?}, but then {value:?}: {}", who());
                    report.add(Kind::RevisionReused, text);
                }
            }
        };
        for watch in &history.watches {
            for step in &watch.steps {
                if let Step::Event { revision, key, value } = step {
                    note(*revision, key, *value, &|| format!("watcher {}", watch.watcher));
                }
            }
        }
        for operation in &history.operations {
            for (revision, key, value) in witnessed(operation) {
                note(revision, key, value, &|| describe(operation));
            }
        }
        sequence.covered = Some(coverage(history));
        sequence
    }

    fn beginning(history: &History) -> Sequence {
        let initial = history.initial.iter();
        let versions = initial.map(|(key, value)| (key.clone(), BTreeMap::from([(history.base, Some(*value))])));
        Sequence { versions: versions.collect(), ..Sequence::default() }
    }

    fn put(&mut self, revision: u64, change: Change) {
        self.versions.entry(change.key.clone()).or_default().insert(revision, change.value);
        self.commits.entry(revision).or_default().insert(change.key, change.value);
    }

    /// The last revision.
    pub fn last(&self) -> Option<u64> {
        self.commits.last_key_value().map(|(revision, _)| *revision)
    }

    /// What a key held at a revision, and since when.
    pub(crate) fn at(&self, key: &str, revision: u64) -> Option<(u64, Value)> {
        let (since, value) = self.versions.get(key)?.range(..=revision).next_back()?;
        Some((*since, (*value)?))
    }

    /// Whether everything that happened to the key up to the revision is known.
    pub(crate) fn knows(&self, key: &str, revision: u64) -> bool {
        let Some(covered) = &self.covered else { return true };
        covered.iter().any(|(prefix, upto)| key.starts_with(prefix.as_str()) && revision <= *upto)
    }

    /// The changes of keys with a prefix in (`after`, `before`), in order.
    pub(crate) fn between(
        &self,
        prefix: &str,
        after: u64,
        before: u64,
    ) -> impl Iterator<Item = (u64, &str, Option<Value>)> {
        let range = (after + 1 < before).then(|| self.commits.range(after + 1..before));
        let changes = range
            .into_iter()
            .flatten()
            .flat_map(|(revision, changes)| changes.iter().map(|(key, value)| (*revision, key.as_str(), *value)));
        changes.filter(move |(_, key, _)| key.starts_with(prefix))
    }

    /// The changes of one commit to keys with a prefix.
    pub(crate) fn of(&self, prefix: &str, revision: u64) -> impl Iterator<Item = (&str, Option<Value>)> {
        let changes = self.commits.get(&revision).into_iter().flatten();
        changes.map(|(key, value)| (key.as_str(), *value)).filter(move |(key, _)| key.starts_with(prefix))
    }

    /// All keys that begin with a prefix, as they were at a revision.
    pub(crate) fn state(&self, prefix: &str, revision: u64) -> BTreeMap<&str, Value> {
        let keys = self.versions.keys().filter(|key| key.starts_with(prefix));
        keys.filter_map(|key| Some((key.as_str(), self.at(key, revision)?.1))).collect()
    }

    /// Holds what clients were answered against the sequence.
    pub(crate) fn check(&self, history: &History, report: &mut Report) {
        let mut asked = BTreeSet::new();
        for operation in &history.operations {
            if let Call::Txn { writes, .. } = &operation.call {
                asked.extend(writes.iter().filter_map(|write| Some((write.key.as_str(), write.value?))));
            }
            if let Some(text) = self.wrong_read(operation) {
                report.add(Kind::ReadDiffers, format!("{text}\n  {}", describe(operation)));
            }
            if let Some((kind, text)) = self.wrong_txn(operation) {
                report.add(kind, format!("{text}\n  {}", describe(operation)));
            }
        }
        self.check_changes(history, &asked, report);
    }

    fn check_changes(&self, history: &History, asked: &BTreeSet<(&str, Value)>, report: &mut Report) {
        for (key, versions) in &self.versions {
            let mut seen: BTreeMap<Value, u64> = BTreeMap::new();
            for (revision, value) in versions {
                let Some(value) = *value else { continue };
                if let Some(before) = seen.insert(value, *revision) {
                    let text = format!("{key} = {value} at revision {before} and again at {revision}");
                    report.add(Kind::AppliedTwice, text);
                }
                let is_asked = *revision <= history.base || asked.contains(&(key.as_str(), value));
                if self.covered.is_none() && !is_asked {
                    report
                        .add(Kind::Unasked, format!("revision {revision} set {key} = {value}, which nobody asked for"));
                }
            }
        }
    }

    fn wrong_read(&self, operation: &Operation) -> Option<String> {
        let (Call::Read { keys } | Call::Stale { keys }) = &operation.call else { return None };
        let Outcome::Read { found, revision: Some(revision) } = &operation.returned.as_ref()?.outcome else {
            return None;
        };
        if keys.len() != found.len() {
            return Some(format!("{} keys were asked for and {} answered", keys.len(), found.len()));
        }
        for (key, found) in keys.iter().zip(found).filter(|(key, _)| self.knows(key, *revision)) {
            let expected = self.at(key, *revision);
            let is_same = match (expected, found) {
                (None, None) => true,
                (Some((since, value)), Some(Found { value: found, modified })) => {
                    value == *found && modified.is_none_or(|modified| modified == since)
                }
                _ => false,
            };
            if !is_same {
                let expected =
                    expected.map_or("nothing".to_owned(), |(since, value)| format!("{value}, since revision {since}"));
                return Some(format!("at revision {revision} {key} held {expected}"));
            }
        }
        None
    }

    fn wrong_txn(&self, operation: &Operation) -> Option<(Kind, String)> {
        let Call::Txn { guards, writes } = &operation.call else { return None };
        match &operation.returned.as_ref()?.outcome {
            Outcome::Committed { revision: Some(revision) } => self.wrong_commit(guards, writes, *revision),
            Outcome::Committed { revision: None } => {
                let lost = writes.iter().find(|write| write.value.is_some() && self.revision_of(write).is_none())?;
                let text = format!("no commit wrote {} = {:?}", lost.key, lost.value);
                self.covered.is_none().then_some((Kind::Lost, text))
            }
            Outcome::Refused { .. } | Outcome::Failed => {
                let (write, revision) = writes.iter().find_map(|write| Some((write, self.revision_of(write)?)))?;
                Some((Kind::Unasked, format!("revision {revision} set {} all the same", write.key)))
            }
            _ => None,
        }
    }

    fn wrong_commit(&self, guards: &[Guard], writes: &[Write], revision: u64) -> Option<(Kind, String)> {
        for write in writes.iter().filter(|write| self.knows(&write.key, revision)) {
            let known = self.commits.get(&revision).and_then(|changes| changes.get(&write.key)).copied();
            match (known, write.value) {
                (Some(known), asked) if known == asked => {}
                (Some(known), _) => {
                    return Some((Kind::RevisionReused, format!("revision {revision} made {} {known:?}", write.key)));
                }
                // Nothing to remove.
                (None, None) if self.at(&write.key, revision - 1).is_none() => {}
                (None, _) => return Some((Kind::Lost, format!("revision {revision} did not change {}", write.key))),
            }
        }
        if self.covered.is_none()
            && let Some((key, _)) = self.of("", revision).find(|(key, _)| !writes.iter().any(|write| write.key == *key))
        {
            return Some((Kind::RevisionReused, format!("revision {revision} changed {key} too")));
        }
        for guard in guards.iter().filter(|guard| self.knows(guard.key(), revision)) {
            let before = self.at(guard.key(), revision - 1).map(|(_, value)| value);
            let held = match guard {
                Guard::Absent(_) => before.is_none(),
                Guard::Present(_) => before.is_some(),
                Guard::Is(_, value) => before == Some(*value),
            };
            if !held {
                let text = format!("before revision {revision} {} held {before:?}", guard.key());
                return Some((Kind::GuardIgnored, text));
            }
        }
        None
    }

    fn revision_of(&self, write: &Write) -> Option<u64> {
        write.value?;
        let mut versions = self.versions.get(&write.key)?.iter();
        versions.find(|(_, value)| **value == write.value).map(|(revision, _)| *revision)
    }
}

/// What an operation's answer says of the commits.
fn witnessed(operation: &Operation) -> Vec<(u64, &str, Option<Value>)> {
    let Some(returned) = &operation.returned else { return Vec::new() };
    match (&operation.call, &returned.outcome) {
        (Call::Read { keys } | Call::Stale { keys }, Outcome::Read { found, .. }) => {
            let found = keys.iter().zip(found).filter_map(|(key, found)| Some((key, (*found)?)));
            found.filter_map(|(key, found)| Some((found.modified?, key.as_str(), Some(found.value)))).collect()
        }
        (Call::Txn { writes, .. }, Outcome::Committed { revision: Some(revision) }) => {
            // Of several changes, a delete may have found nothing to remove.
            let sure = writes.iter().filter(|write| write.value.is_some() || writes.len() == 1);
            sure.map(|write| (*revision, write.key.as_str(), write.value)).collect()
        }
        _ => Vec::new(),
    }
}

/// Up to which revision the watchers of each prefix saw everything, together.
fn coverage(history: &History) -> BTreeMap<String, u64> {
    let mut parts: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for watch in &history.watches {
        parts.entry(&watch.prefix).or_default().extend(seen_without_gap(watch));
    }
    let whole = |mut parts: Vec<(u64, u64)>| {
        parts.sort_unstable();
        parts.iter().fold(history.base, |upto, (from, to)| if *from <= upto { upto.max(*to) } else { upto })
    };
    parts.into_iter().map(|(prefix, parts)| (prefix.to_owned(), whole(parts))).collect()
}

/// The stretches of revisions in which the watcher says it saw everything.
fn seen_without_gap(watch: &Watch) -> Vec<(u64, u64)> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let mut newest = 0;
    for step in &watch.steps {
        match step {
            Step::Started { after, .. } => {
                // Who goes on behind a revision has all of it.
                if let Some(last) = parts.last_mut().filter(|_| *after <= newest) {
                    last.1 = last.1.max(*after);
                }
                parts.push((*after, *after));
                newest = *after;
            }
            Step::Event { revision, .. } => {
                newest = *revision;
                // More of the same revision may follow.
                if let Some(last) = parts.last_mut() {
                    last.1 = last.1.max(revision - 1);
                }
            }
            Step::Complete { revision } => {
                if let Some(last) = parts.last_mut() {
                    last.1 = last.1.max(*revision);
                }
            }
            Step::Broken | Step::Listed { .. } | Step::Ended => {}
        }
    }
    parts
}
