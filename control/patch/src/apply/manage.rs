//! What kube-apiserver adds to the rules of ownership: who writes, what nobody owns, times, the cap on managers, objects
//! from before the first apply, and kubectl's annotation.

use std::sync::LazyLock;

use pal_resources::Status;
use serde_json::Value;

use super::compare::compare;
use super::conflict::Conflicts;
use super::managers::{Entry, Identity, Managers, Operation};
use super::owned::owned;
use super::set::FieldSet;
use super::shape::Shape;
use super::update::{self, Merged, Refusal, Rules};
use super::validate::{Twice, validate};

/// So many entries of updates are kept apart.
const MOST_UPDATES: usize = 10;
/// Whose the older updates become.
const OLD_UPDATES: &str = "ancient-changes";
/// Whose the fields are that were there before anyone was noted.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager that takes over what the same tool applied on the client's side.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager of clients that do not say who they are.
const UNKNOWN: &str = "unknown";

/// What nobody owns: the server decides it, or it says which object this is.
pub(crate) static UNOWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The subresource that it writes; empty for the object itself.
    pub subresource: &'a str,
    /// The time: RFC 3339, UTC, whole seconds.
    pub now: &'a str,
}

impl Writer<'_> {
    /// The manager's name.
    pub(crate) fn name(&self) -> &str {
        if self.manager.is_empty() { UNKNOWN } else { self.manager }
    }

    fn identity(&self, operation: Operation, api_version: &str) -> Identity {
        Identity {
            manager: self.name().to_owned(),
            operation,
            api_version: if operation == Operation::Apply { String::new() } else { api_version.to_owned() },
            subresource: self.subresource.to_owned(),
        }
    }
}

/// Why nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The configuration is for something else.
    BadRequest(String),
    /// The configuration does not fit the schema.
    Unfit(String),
    /// Others own what it would change.
    Conflicts(Conflicts),
}

impl ApplyError {
    /// The failure as the API tells it.
    pub fn status(&self) -> Status {
        match self {
            Self::BadRequest(message) => Status::bad_request(message.clone()),
            // Kubernetes gives this one no reason.
            Self::Unfit(message) => Status { code: 500, reason: None, message: message.clone(), details: None },
            Self::Conflicts(conflicts) => conflicts.status(),
        }
    }
}

/// What an apply made: the object with the configuration merged in, not yet defaulted or validated, and its managers.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub object: Value,
    pub managers: Managers,
}

/// The managers after `old` became `new` by a create, update or patch. `old` is an empty object for a create.
///
/// An object that has no managers gets none by an update.
pub fn track(rules: &Rules<'_>, old: &Value, new: &Value, managers: Managers, writer: &Writer<'_>) -> Managers {
    let exists = old["metadata"]["uid"].as_str().is_some_and(|uid| !uid.is_empty());
    if managers.is_empty() && exists {
        return managers;
    }
    updated(rules, old, new, managers, writer)
}

fn updated(rules: &Rules<'_>, old: &Value, new: &Value, mut managers: Managers, writer: &Writer<'_>) -> Managers {
    rules.reconcile(&mut managers);
    let mut taken = update::update(rules, old, new, &mut managers);
    taken.subtract(&UNOWNED);
    if !taken.is_empty() {
        let identity = writer.identity(Operation::Update, rules.api_version);
        match managers.get_mut(&identity) {
            Some(entry) => {
                entry.fields.add(taken);
                entry.time = Some(writer.now.to_owned());
            }
            None => managers.0.push(Entry {
                manager: identity.manager,
                operation: Operation::Update,
                api_version: rules.api_version.to_owned(),
                time: Some(writer.now.to_owned()),
                fields: taken,
                subresource: identity.subresource,
            }),
        }
    }
    if managers.0.len() > MOST_UPDATES {
        managers.cap_updates(MOST_UPDATES, OLD_UPDATES);
    }
    managers
}

/// Applies a configuration to an object; `live` is an empty object where there is none.
pub fn apply(
    rules: &Rules<'_>,
    live: &Value,
    config: &Value,
    managers: &Managers,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Applied, ApplyError> {
    if config["metadata"]["managedFields"].is_array() {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    validate(config, rules.shape, Twice::Refused).map_err(|faults| {
        ApplyError::Unfit(format!("failed to create typed patch object ({}): {faults}", told(config)))
    })?;
    // Built-in kinds' objects fit; a custom resource's definition may have changed under it.
    if matches!(rules.shape, Shape::Custom(_)) {
        validate(live, rules.shape, Twice::Allowed).map_err(|faults| {
            ApplyError::Unfit(format!("failed to create typed live object ({}): {faults}", told(live)))
        })?;
    }
    let mut managers = managers.clone();
    if managers.is_empty() {
        let before = Writer { manager: BEFORE_FIRST_APPLY, ..*writer };
        managers = updated(rules, &Value::Object(serde_json::Map::new()), live, managers, &before);
    }
    let applied = match applied(rules, live, config, managers.clone(), writer, force) {
        Err(Refusal::Conflicts(conflicts)) if writer.manager == KUBECTL => match from_client_side(rules, live) {
            None => Err(Refusal::Conflicts(conflicts)),
            Some(own) if conflicts.fields().difference(&own).is_empty() => {
                applied(rules, live, config, managers, writer, true)
            }
            Some(own) => Err(Refusal::Conflicts(conflicts.beside(&own))),
        },
        other => other,
    };
    let mut applied = applied.map_err(|refusal| match refusal {
        Refusal::Conflicts(conflicts) => ApplyError::Conflicts(conflicts),
        Refusal::Faults(faults) => ApplyError::Unfit(format!("failed to merge config: {faults}")),
    })?;
    if writer.manager == KUBECTL {
        update_annotation(&mut applied.object, config);
    }
    Ok(applied)
}

fn applied(
    rules: &Rules<'_>,
    live: &Value,
    config: &Value,
    managers: Managers,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Applied, Refusal> {
    let identity = writer.identity(Operation::Apply, rules.api_version);
    let Merged { object, mut managers } = update::apply(rules, live, config, managers, &identity, force)?;
    if let Some(entry) = managers.get_mut(&identity) {
        entry.fields.subtract(&UNOWNED);
        if entry.fields.is_empty() {
            managers.remove(&identity);
        }
    }
    // As in Kubernetes, who owns more of what stays as it is has no new time.
    if object.is_some()
        && let Some(entry) = managers.get_mut(&identity)
    {
        entry.time = Some(writer.now.to_owned());
    }
    Ok(Applied { object: object.unwrap_or_else(|| live.clone()), managers })
}

/// What the object still has as kubectl last applied it from the client's side: those fields are kubectl's own.
fn from_client_side(rules: &Rules<'_>, live: &Value) -> Option<FieldSet> {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().filter(|text| !text.is_empty())?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last["apiVersion"] != rules.api_version || validate(&last, rules.shape, Twice::Refused).is_err() {
        return None;
    }
    let changes = compare(&last, live, rules.shape);
    let mut fields = owned(&last, rules.shape);
    for changed in [&changes.modified, &changes.added, &changes.removed] {
        fields.subtract(changed);
    }
    Some(fields)
}

/// Keeps the annotation of an object that once was applied from the client's side in step.
fn update_annotation(object: &mut Value, config: &Value) {
    let has = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
    let Some(annotation) = object
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(|annotations| annotations.get_mut(LAST_APPLIED))
        .filter(|text| has(text))
    else {
        return;
    };
    let mut config = config.clone();
    if let Some(annotations) =
        config.get_mut("metadata").and_then(|m| m.get_mut("annotations")).and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    // Both write objects in the order of their names. Go escapes these in texts, and nothing but texts can have them.
    let text = config.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    *annotation = Value::String(text + "\n");
}

/// An object as messages name it: `default/web; apps/v1, Kind=Deployment`.
fn told(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let api_version = text(&object["apiVersion"]);
    let version = if api_version.contains('/') { api_version } else { format!("/{api_version}") };
    format!("{}/{}; {version}, Kind={}", text(&metadata["namespace"]), text(&metadata["name"]), text(&object["kind"]))
}
