//! What writes do to ownership: the rules of structured-merge-diff.

use serde_json::{Map, Value};

use super::compare::{Comparison, compare};
use super::conflict::Conflicts;
use super::element::same;
use super::managers::{Entry, Identity, Managers};
use super::merge::merge;
use super::owned::owned;
use super::remove::remove;
use super::set::FieldSet;
use super::shape::Shape;
use super::walk::Faults;

/// What a kind's version says about ownership in it.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The version in which the object is given: `apps/v1`.
    pub api_version: &'a str,
    pub shape: Shape<'a>,
    /// Other versions in which the same object has the same fields. What managers own in versions that are not known is
    /// forgotten.
    pub others: &'a [(&'a str, Shape<'a>)],
    /// What the write does not touch whatever it says, with all that is below: the status for the object itself, for
    /// instance. Nobody comes to own it by such a write.
    pub ignored: &'a FieldSet,
}

impl<'a> Rules<'a> {
    fn shape_in(&self, api_version: &str) -> Option<Shape<'a>> {
        if api_version == self.api_version {
            return Some(self.shape);
        }
        self.others.iter().find(|(other, _)| *other == api_version).map(|(_, shape)| *shape)
    }

    /// Makes sets of what they were before the schema changed.
    pub(crate) fn reconcile(&self, managers: &mut Managers) {
        for entry in &mut managers.0 {
            if let Some(shape) = self.shape_in(&entry.api_version) {
                entry.fields.collapse(shape);
            }
        }
    }
}

/// What an apply made.
pub(crate) struct Merged {
    /// `None`: the object is as it was.
    pub(crate) object: Option<Value>,
    pub(crate) managers: Managers,
}

/// Why nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Conflicts(Conflicts),
    Faults(Faults),
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        Self::Faults(faults)
    }
}

/// What the others lose when `old` becomes `new`; with `force` unset, they lose nothing that gets another value.
fn settle(
    rules: &Rules<'_>,
    old: &Value,
    new: &Value,
    managers: &mut Managers,
    writer: Option<&Identity>,
    force: bool,
) -> Result<Comparison, Conflicts> {
    let own = compare(old, new, rules.shape).without(rules.ignored);
    let mut others: Vec<(String, Comparison)> = Vec::new();
    let mut lost: Vec<(usize, FieldSet)> = Vec::new();
    let mut conflicts = Vec::new();
    managers
        .0
        .retain(|entry| writer.is_some_and(|writer| entry.is(writer)) || rules.shape_in(&entry.api_version).is_some());
    for (at, entry) in managers.0.iter().enumerate() {
        if writer.is_some_and(|writer| entry.is(writer)) {
            continue;
        }
        let changes = if entry.api_version == rules.api_version {
            &own
        } else {
            let known = others.iter().position(|(version, _)| *version == entry.api_version);
            let place = known.unwrap_or_else(|| {
                let shape = rules.shape_in(&entry.api_version).unwrap_or(rules.shape);
                others.push((entry.api_version.clone(), compare(old, new, shape).without(rules.ignored)));
                others.len() - 1
            });
            &others[place].1
        };
        if changes.is_same() {
            continue;
        }
        let mut taken = entry.fields.intersection(&changes.modified);
        taken.add(entry.fields.intersection(&changes.added));
        if !taken.is_empty() && !force {
            conflicts.push((entry.identity(), taken.clone()));
        }
        taken.add(changes.removed.clone());
        lost.push((at, taken));
    }
    if !conflicts.is_empty() {
        return Err(Conflicts::of(conflicts));
    }
    for (at, taken) in lost {
        managers.0[at].fields.subtract(&taken);
    }
    managers.0.retain(|entry| !entry.fields.is_empty());
    Ok(own)
}

/// What the writer of a whole object comes to own. The others lose what it changed.
pub(crate) fn update(rules: &Rules<'_>, old: &Value, new: &Value, managers: &mut Managers) -> FieldSet {
    // With force there are no conflicts.
    let changes = settle(rules, old, new, managers, None, true).unwrap_or_default();
    let mut taken = changes.modified;
    taken.add(changes.added);
    taken
}

/// Applies a configuration that has been validated, by the manager of that name.
pub(crate) fn apply(
    rules: &Rules<'_>,
    live: &Value,
    config: &Value,
    mut managers: Managers,
    applier: &Identity,
    force: bool,
) -> Result<Merged, Refusal> {
    rules.reconcile(&mut managers);
    let merged = merge(live, config, rules.shape)?;
    let fields = owned(config, rules.shape).without_branches(rules.ignored);
    let last = managers.remove(applier);
    let time = last.as_ref().and_then(|last| last.time.clone());
    managers.0.push(Entry {
        manager: applier.manager.clone(),
        operation: applier.operation,
        api_version: rules.api_version.to_owned(),
        time,
        fields,
        subresource: applier.subresource.clone(),
    });
    let object = prune(rules, merged, &managers, last.as_ref());
    settle(rules, live, &object, &mut managers, Some(applier), force).map_err(Refusal::Conflicts)?;
    let object = (!same(live, &object)).then_some(object);
    Ok(Merged { object, managers })
}

/// Takes out what the applier owned, does not apply any more, and nobody else applies. What someone only updated goes too,
/// unless something that is not the applier's hangs on it.
fn prune(rules: &Rules<'_>, merged: Value, managers: &Managers, last: Option<&Entry>) -> Value {
    let Some(last) = last.filter(|last| !last.fields.is_empty()) else { return merged };
    let Some(shape) = rules.shape_in(&last.api_version) else { return merged };
    let last_fields = last.fields.with_named_fields(shape);
    let mut pruned = removed(&merged, &last_fields, shape);
    let mut versions: Vec<(&str, Shape<'_>)> = vec![(&last.api_version, shape)];
    versions.extend(std::iter::once((rules.api_version, rules.shape)).chain(rules.others.iter().copied()));
    let mut done: Vec<&str> = Vec::new();
    let all = owned(&merged, shape).with_named_fields(shape);
    for (version, shape) in versions {
        if done.contains(&version) {
            continue;
        }
        done.push(version);
        let mut kept = FieldSet::default();
        for entry in &managers.0 {
            if entry.operation == super::managers::Operation::Apply && entry.api_version == version {
                kept.add(entry.fields.clone());
            }
        }
        if kept.is_empty() && version != last.api_version {
            continue;
        }
        let mut gone = owned(&merged, shape).with_named_fields(shape);
        gone.subtract(&owned(&pruned, shape).with_named_fields(shape));
        gone.subtract(&kept.with_named_fields(shape));
        pruned = removed(&merged, &gone, shape);
    }
    // Only what the applier owned may go: what hung on it stays.
    let gone = all.difference(&owned(&pruned, shape).with_named_fields(shape)).intersection(&last_fields);
    removed(&merged, &gone, shape)
}

fn removed(value: &Value, paths: &FieldSet, shape: Shape<'_>) -> Value {
    remove(value, paths, shape).unwrap_or_else(|| Value::Object(Map::new()))
}
