//! The status of a definition: whether its names are its own, whether it is served, whether it goes away
//! (apiextensions-apiserver's naming, establishing and finalizing controllers).

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::approval::{self, Approval};

/// Names of the same group that other definitions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenNames {
    /// Plurals, singulars and short names: what a URL or a command line may say.
    pub resources: BTreeSet<String>,
    /// Kinds and list kinds.
    pub kinds: BTreeSet<String>,
}

impl TakenNames {
    /// What a definition holds: its `status.acceptedNames`.
    pub fn of(crd: &Value) -> Self {
        let names = &crd["status"]["acceptedNames"];
        let given = |field: &str| names[field].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        let mut resources: BTreeSet<String> = ["plural", "singular"].into_iter().filter_map(given).collect();
        resources.extend(strings(&names["shortNames"]));
        let kinds = ["kind", "listKind"].into_iter().filter_map(given).collect();
        Self { resources, kinds }
    }

    fn has_resource(taken: &[Self], name: &str) -> bool {
        taken.iter().any(|taken| taken.resources.contains(name))
    }

    fn has_kind(taken: &[Self], name: &str) -> bool {
        taken.iter().any(|taken| taken.kinds.contains(name))
    }
}

fn strings(list: &Value) -> impl Iterator<Item = String> + '_ {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

/// The whole new status: names that nobody else holds are accepted, the others stay as they were; the definition is
/// established once all were. `taken` are the names that the group's other definitions hold.
pub fn names_status(crd: &Value, taken: &[TakenNames], now: Timestamp) -> Value {
    let mut status = crd["status"].as_object().cloned().unwrap_or_default();
    let wanted = &crd["spec"]["names"];
    let (accepted, conflict) = accept(wanted, &status.get("acceptedNames").cloned().unwrap_or_default(), taken);
    let was = |status: &Map<String, Value>, kind: &str| condition(status, kind)["status"] == "True";
    let (accepted_status, reason, message) = match &conflict {
        Some((reason, message)) => ("False", *reason, message.as_str()),
        None => ("True", "NoConflicts", "no conflicts found"),
    };
    let established_before = was(&status, "Established");
    set_condition(&mut status, "NamesAccepted", accepted_status, reason, message, now);
    if conflict.is_none() {
        if !established_before {
            let message = "the initial names have been accepted";
            set_condition(&mut status, "Established", "True", "InitialNamesAccepted", message, now);
        }
    } else if condition(&status, "Established").is_null() {
        let message = "not all names are accepted";
        set_condition(&mut status, "Established", "False", "NotAccepted", message, now);
    }
    status.insert("acceptedNames".to_owned(), accepted);
    tell_approval(crd, &mut status, now);
    let mut whole = json!({"status": status});
    whole["spec"] = crd["spec"].clone();
    super::store_version(&mut whole);
    whole["status"].take()
}

/// Definitions of protected groups say whether their API was approved.
fn tell_approval(crd: &Value, status: &mut Map<String, Value>, now: Timestamp) {
    let (is, reason, message) = match approval::of(crd) {
        None => return,
        Some(Approval::Approved(message)) => ("True", "ApprovedAnnotation", message),
        Some(Approval::Bypassed(message)) => ("False", "UnapprovedAnnotation", message),
        Some(Approval::Missing(message)) => ("False", "MissingAnnotation", message),
        Some(Approval::Invalid(message)) => ("False", "InvalidAnnotation", message),
    };
    set_condition(status, "KubernetesAPIApprovalPolicyConformant", is, reason, &message, now);
}

type Conflict = (&'static str, String);

/// Which of the names are the definition's now, and what stands in the way of the others.
fn accept(wanted: &Value, had: &Value, taken: &[TakenNames]) -> (Value, Option<Conflict>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut accepted = had.as_object().cloned().unwrap_or_default();
    let mut conflicts: Vec<Conflict> = Vec::new();
    for (field, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
        let name = text(&wanted[field]);
        if !name.is_empty() && name != text(&had[field]) && TakenNames::has_resource(taken, &name) {
            conflicts.push((reason, format!("{name:?} is already in use")));
        } else {
            accepted.insert(field.to_owned(), name.into());
        }
    }
    let held: Vec<String> = strings(&had["shortNames"]).collect();
    let in_use = |name: &String| !held.contains(name) && TakenNames::has_resource(taken, name);
    let faults: Vec<String> =
        strings(&wanted["shortNames"]).filter(in_use).map(|name| format!("{name:?} is already in use")).collect();
    if faults.is_empty() {
        replace(&mut accepted, "shortNames", &wanted["shortNames"]);
    } else {
        conflicts.push(("ShortNamesConflict", aggregate(&faults)));
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        let name = text(&wanted[field]);
        if !name.is_empty() && name != text(&had[field]) && TakenNames::has_kind(taken, &name) {
            conflicts.push((reason, format!("{name:?} is already in use")));
        } else {
            accepted.insert(field.to_owned(), name.into());
        }
    }
    replace(&mut accepted, "categories", &wanted["categories"]);
    accepted.retain(|_, value| !value.as_str().is_some_and(str::is_empty));
    // The last conflict is the one that is told.
    (Value::Object(accepted), conflicts.pop())
}

/// Several faults in brackets, one as it is.
fn aggregate(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn replace(names: &mut Map<String, Value>, field: &str, value: &Value) {
    match value {
        Value::Array(list) if !list.is_empty() => drop(names.insert(field.to_owned(), value.clone())),
        _ => drop(names.remove(field)),
    }
}

/// How far the deletion of a definition's objects is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    InProgress,
    Completed,
    Failed(String),
}

/// The whole new status of a definition that is being deleted.
pub fn deletion_status(crd: &Value, deletion: &Deletion, now: Timestamp) -> Value {
    let mut status = crd["status"].as_object().cloned().unwrap_or_default();
    let (is, reason, message) = match deletion {
        Deletion::InProgress => {
            ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress".to_owned())
        }
        Deletion::Completed => ("False", "InstanceDeletionCompleted", "removed all instances".to_owned()),
        Deletion::Failed(why) => ("True", "InstanceDeletionFailed", format!("could not list instances: {why}")),
    };
    set_condition(&mut status, "Terminating", is, reason, &message, now);
    Value::Object(status)
}

/// Whether the definition's condition of that type holds.
pub(super) fn is_true(crd: &Value, kind: &str) -> bool {
    crd["status"].as_object().is_some_and(|status| condition(status, kind)["status"] == "True")
}

fn condition<'a>(status: &'a Map<String, Value>, kind: &str) -> &'a Value {
    let conditions = status.get("conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// The time of a condition moves only when its status does.
fn set_condition(status: &mut Map<String, Value>, kind: &str, is: &str, reason: &str, message: &str, now: Timestamp) {
    let before = condition(status, kind);
    let since = match before["lastTransitionTime"].as_str() {
        Some(since) if before["status"] == is => since.to_owned(),
        _ => now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    let new = json!({"lastTransitionTime": since, "message": message, "reason": reason, "status": is, "type": kind});
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Value::Array(conditions) = conditions else { return };
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(condition) => *condition = new,
        None => conditions.push(new),
    }
}
