//! CustomResourceDefinitions: whether their names are their own, whether they are served, and that a deleted one goes with
//! all its objects.

use std::time::Duration;

use jiff::Timestamp;
use pal_custom::{Deletion, TakenNames};
use serde_json::{Map, Value, json};

use crate::action::{Action, Plan, ResourceId, Target};
use crate::namespace::Content;

/// Keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How long to wait for objects that others keep before looking again, though their going is told too.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything that a definition's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub target: &'a Target,
    pub definition: &'a Value,
    /// The names that other definitions of the group hold.
    pub taken: &'a [TakenNames],
    /// The resource that it defines and how many objects there are of it; `None` while that is not known.
    pub instances: Option<(&'a ResourceId, Content)>,
}

/// Accepts names and establishes, or empties and lets go.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    if view.definition["metadata"]["deletionTimestamp"].is_string() {
        let finalizers = view.definition["metadata"]["finalizers"].as_array();
        if finalizers.into_iter().flatten().any(|finalizer| finalizer == CLEANUP) {
            empty(view, now, &mut plan);
        }
        return plan;
    }
    let status = pal_custom::names_status(view.definition, view.taken, now);
    let difference = difference(&view.definition["status"], &status);
    if difference != json!({}) {
        let patch = json!({ "metadata": as_seen(view.definition), "status": difference });
        plan.push(Action::Patch { target: view.target.clone(), subresource: Some("status"), patch, announce: None });
    }
    plan
}

/// Deletes the objects; once there are none, lets the definition go.
fn empty(view: &View<'_>, now: Timestamp, plan: &mut Plan) {
    let conditions = view.definition["status"]["conditions"].as_array().into_iter().flatten();
    let established = conditions.filter(|one| one["type"] == "Established").any(|one| one["status"] == "True");
    let instances = match view.instances {
        // As kube-apiserver has it: what is not served now has nothing that could be deleted.
        _ if !established => None,
        // It is looked at again when they have been listed.
        None => return plan.look_again(PATIENCE),
        Some((resource, content)) if content.all > 0 => {
            if content.staying > 0 {
                plan.push(Action::DeleteAll { resource: resource.clone(), namespace: None });
            }
            return plan.look_again(PATIENCE);
        }
        Some((resource, _)) => Some(resource.clone()),
    };
    let patch = released(view, now);
    plan.push(Action::FinalizeDefinition { target: view.target.clone(), instances, patch });
}

/// The write of the status that says that nothing is left, and takes away the finalizer that waited for that.
fn released(view: &View<'_>, now: Timestamp) -> Value {
    let status = pal_custom::deletion_status(view.definition, &Deletion::Completed, now);
    let finalizers = view.definition["metadata"]["finalizers"].as_array().into_iter().flatten();
    let left: Vec<&Value> = finalizers.filter(|finalizer| *finalizer != CLEANUP).collect();
    let mut metadata = as_seen(view.definition);
    metadata["finalizers"] = if left.is_empty() { Value::Null } else { json!(left) };
    json!({ "metadata": metadata, "status": difference(&view.definition["status"], &status) })
}

fn as_seen(definition: &Value) -> Value {
    let metadata = &definition["metadata"];
    json!({ "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] })
}

/// The merge patch (RFC 7386) that makes `new` of `old`.
fn difference(old: &Value, new: &Value) -> Value {
    let nothing = Map::new();
    let old = old.as_object().unwrap_or(&nothing);
    let Some(new) = new.as_object() else { return new.clone() };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match old.get(name) {
            Some(known) if known == value => {}
            Some(known) if known.is_object() && value.is_object() => {
                patch.insert(name.clone(), difference(known, value));
            }
            _ => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            resource: resource("customresourcedefinitions"),
            namespace: None,
            name: "as.x.io".into(),
            uid: "u".into(),
        }
    }

    fn resource(plural: &str) -> ResourceId {
        ResourceId { group: "x.io".into(), version: "v1".into(), plural: plural.into() }
    }

    fn definition(deleting: bool, established: bool) -> Value {
        let mut value = json!({
            "metadata": {"name": "as.x.io", "uid": "u", "resourceVersion": "7", "finalizers": [CLEANUP]},
            "spec": {"group": "x.io", "names": {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"},
                     "versions": [{"name": "v1", "served": true, "storage": true}]},
            "status": {"storedVersions": ["v1"]},
        });
        if deleting {
            value["metadata"]["deletionTimestamp"] = json!("2027-01-01T00:00:00Z");
        }
        if established {
            value["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        }
        value
    }

    fn look(definition: &Value, taken: &[TakenNames], content: Option<(usize, usize)>) -> Plan {
        let (target, own) = (target(), resource("as"));
        let instances = content.map(|(all, staying)| (&own, Content { all, staying }));
        let view = View { target: &target, definition, taken, instances };
        reconcile(&view, Timestamp::from_second(1_800_000_000).expect("a time"))
    }

    #[test]
    fn names_are_accepted_once() {
        let mut value = definition(false, false);
        let plan = look(&value, &[], None);
        let [Action::Patch { patch, subresource: Some("status"), .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        let conditions = patch["status"]["conditions"].as_array().expect("conditions");
        let told: Vec<String> = conditions.iter().map(|c| format!("{}={}", c["type"], c["status"])).collect();
        assert_eq!(told, ["\"NamesAccepted\"=\"True\"", "\"Established\"=\"True\""]);
        assert_eq!(patch["status"]["acceptedNames"]["plural"], "as");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        value["status"]["conditions"] = patch["status"]["conditions"].clone();
        value["status"]["acceptedNames"] = patch["status"]["acceptedNames"].clone();
        assert_eq!(look(&value, &[], None), Plan::idle());
    }

    #[test]
    fn a_deleted_definition_goes_after_its_objects() {
        let check = |established: bool, content: Option<(usize, usize)>, expected: &[&str], waits: bool| {
            let plan = look(&definition(true, established), &[], content);
            let told: Vec<&str> = plan
                .actions
                .iter()
                .map(|action| match action {
                    Action::DeleteAll { namespace: None, .. } => "empty",
                    Action::FinalizeDefinition { instances: Some(_), .. } => "finalize",
                    Action::FinalizeDefinition { instances: None, .. } => "let go",
                    _ => "?",
                })
                .collect();
            assert_eq!((told.as_slice(), plan.again.is_some()), (expected, waits), "{established} {content:?}");
        };
        check(true, None, &[], true);
        check(true, Some((3, 2)), &["empty"], true);
        check(true, Some((3, 0)), &[], true);
        check(true, Some((0, 0)), &["finalize"], false);
        check(false, None, &["let go"], false);
        check(false, Some((2, 2)), &["let go"], false);
    }

    #[test]
    fn a_difference_is_what_a_merge_needs() {
        let check =
            |old: Value, new: Value, expected: Value| assert_eq!(difference(&old, &new), expected, "{old} {new}");
        check(
            json!({"a": 1, "b": {"c": 1, "d": 2}}),
            json!({"a": 1, "b": {"d": 3}}),
            json!({"b": {"c": null, "d": 3}}),
        );
        check(json!(null), json!({"a": [1]}), json!({"a": [1]}));
        check(json!({"a": 1}), json!({"a": 1}), json!({}));
    }
}
