//! What a delete makes of an object: whether it goes, waits for its finalizers, or ends gracefully. Pure.

use jiff::{SignedDuration, Timestamp, TimestampRound, Unit};
use pal_resources::{Resource, Status, kinds};
use serde_json::Value;

use crate::options::{DeleteOptions, Propagation};
use crate::{custom, meta};

/// The finalizer that makes the garbage collector delete the dependents first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that makes the garbage collector set the dependents free first.
pub(crate) const ORPHAN: &str = "orphan";

/// What becomes of a stored object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It is stored like this.
    Keep(Value),
    /// It is removed. What the caller is shown of it.
    Remove(Value),
}

impl Outcome {
    /// What is stored, if it stays.
    pub(crate) fn kept(&self) -> Option<&Value> {
        match self {
            Self::Keep(object) => Some(object),
            Self::Remove(_) => None,
        }
    }
}

/// A time as `metadata` has it: whole seconds.
pub(crate) fn timestamp(time: Timestamp) -> String {
    let whole = time.round(TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc));
    whole.unwrap_or(time).to_string()
}

/// Whether the object is on its way out.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether the resource's objects hold others.
pub(crate) fn is_namespace(resource: &Resource) -> bool {
    resource.plural == "namespaces" && resource.group.is_empty()
}

/// What a delete makes of `object`.
pub(crate) fn delete(
    resource: &Resource,
    object: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Outcome, Status> {
    check_preconditions(resource, object, options)?;
    if is_namespace(resource) {
        return delete_namespace(object, options, now);
    }
    let default_grace = kinds::default_grace(resource, object);
    if is_deleting(object) && default_grace.is_some() {
        return again(object, options);
    }
    let mut object = object.clone();
    if custom::is_definition(resource) && !is_deleting(&object) {
        custom::terminating(&mut object, now)?;
    }
    let finalizers = finalizers_for(resource, &object, options);
    if let Some(finalizers) = &finalizers {
        meta::set_finalizers(&mut object, finalizers)?;
    }
    let grace = default_grace.map(|default| grace(default, options));
    let held = !meta::finalizers(&object).is_empty();
    match grace {
        Some(grace) if grace > 0 || held => mark(&mut object, grace, now)?,
        None if held => mark(&mut object, 0, now)?,
        Some(_) | None => return Ok(Outcome::Remove(object)),
    }
    Ok(Outcome::Keep(object))
}

/// The grace period in seconds. A default of zero says that there is nothing to wait for, whatever is asked.
fn grace(default: i64, options: &DeleteOptions) -> i64 {
    match options.grace_period_seconds {
        _ if default == 0 => 0,
        None => default,
        Some(asked) if asked < 0 => 1,
        Some(asked) => asked,
    }
}

/// A delete of what ends gracefully already can only shorten the grace period.
fn again(object: &Value, options: &DeleteOptions) -> Result<Outcome, Status> {
    let mut object = object.clone();
    let held = !meta::finalizers(&object).is_empty();
    let running = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if let Some(asked) = options.grace_period_seconds.map(|asked| if asked < 0 { 1 } else { asked })
        && asked < running
    {
        let metadata = meta::metadata_mut(&mut object)?;
        let deadline = metadata.get("deletionTimestamp").and_then(Value::as_str).and_then(|time| time.parse().ok());
        if let Some(deadline) = deadline {
            let shorter: Timestamp = shift(deadline, asked - running);
            metadata.insert("deletionTimestamp".to_owned(), timestamp(shorter).into());
        }
        metadata.insert("deletionGracePeriodSeconds".to_owned(), asked.into());
        if asked == 0 && !held {
            return Ok(Outcome::Remove(object));
        }
    } else if running == 0 && !held {
        return Ok(Outcome::Remove(object));
    }
    Ok(Outcome::Keep(object))
}

/// A namespace first turns to Terminating. It goes when what is in it has gone (`spec.finalizers`).
fn delete_namespace(object: &Value, options: &DeleteOptions, now: Timestamp) -> Result<Outcome, Status> {
    let mut object = object.clone();
    if !is_deleting(&object) {
        if let Some(finalizers) = finalizers_asked(&object, options, false) {
            meta::set_finalizers(&mut object, &finalizers)?;
        }
        let metadata = meta::metadata_mut(&mut object)?;
        metadata.insert("deletionTimestamp".to_owned(), timestamp(now).into());
        object["status"]["phase"] = "Terminating".into();
    }
    Ok(after_write(true, object))
}

/// What becomes of an object that was written while it is being deleted: it goes when nothing holds it any more.
pub(crate) fn after_write(is_namespace: bool, object: Value) -> Outcome {
    let held = !meta::finalizers(&object).is_empty()
        || (is_namespace && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()));
    let over = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0;
    if is_deleting(&object) && over && !held { Outcome::Remove(object) } else { Outcome::Keep(object) }
}

/// Marks an object as one that is being deleted, from now on if it was not marked before.
fn mark(object: &mut Value, grace: i64, now: Timestamp) -> Result<(), Status> {
    if is_deleting(object) {
        return Ok(());
    }
    let metadata = meta::metadata_mut(object)?;
    metadata.insert("deletionTimestamp".to_owned(), timestamp(shift(now, grace)).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|&generation| generation > 0) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
    Ok(())
}

fn shift(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The finalizers that the propagation policy leaves the object with, if they differ from those it has.
fn finalizers_for(resource: &Resource, object: &Value, options: &DeleteOptions) -> Option<Vec<String>> {
    // Nothing is owned by an Event, and there are too many of them to ask.
    if resource.plural == "events" { None } else { finalizers_asked(object, options, kinds::orphans(resource)) }
}

fn finalizers_asked(object: &Value, options: &DeleteOptions, orphans: bool) -> Option<Vec<String>> {
    let old = meta::finalizers(object);
    let wanted = match options.propagation {
        Some(Propagation::Background) => None,
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
        None => old
            .iter()
            .find_map(|&finalizer| [ORPHAN, FOREGROUND].into_iter().find(|&one| one == finalizer))
            .or(orphans.then_some(ORPHAN)),
    };
    let kept = old.iter().filter(|finalizer| !matches!(**finalizer, ORPHAN | FOREGROUND));
    let new: Vec<&str> = kept.copied().chain(wanted).collect();
    let same = new.len() == old.len() && new.iter().all(|finalizer| old.contains(finalizer));
    (!same).then(|| new.into_iter().map(str::to_owned).collect())
}

fn check_preconditions(resource: &Resource, object: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let name = meta::text(object, "name");
    let refused = |why: String| {
        // Told of the kind, not of the resource, as kube-apiserver does here.
        let kind = Resource { plural: resource.kind.clone(), ..resource.clone() };
        Err(Status::conflict(&kind, name, &why))
    };
    let (uid, version) = (meta::text(object, "uid"), meta::text(object, "resourceVersion"));
    if let Some(wanted) = &options.preconditions.uid
        && wanted.0 != uid
    {
        return refused(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). \
             The object might have been deleted and then recreated"
        ));
    }
    if let Some(wanted) = &options.preconditions.resource_version
        && *wanted != version
    {
        return refused(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
