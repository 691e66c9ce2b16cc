//! Objects whose owners are gone, go; owners that wait for what they own, wait; owners that leave it behind, let it go.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};

use crate::action::{Action, Note, OwnerId, Plan, Propagation, Severity, Target};

/// The finalizer of an owner that goes after what it owns.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that leaves behind what it owns.
pub const ORPHAN: &str = "orphan";

/// An object as the collector sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub target: Target,
    pub kind: Cow<'static, str>,
    pub resource_version: String,
    pub owners: Vec<Owner>,
    pub finalizers: Vec<String>,
    pub deleting: bool,
}

/// One owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub id: OwnerId,
    pub controller: bool,
    /// Whether an owner that goes in the foreground waits for this object.
    pub blocks: bool,
}

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Present,
    /// It is being deleted and waits for what it owns.
    Waiting,
    /// The registry has said that there is none of that uid.
    Absent,
    /// It lies in another namespace than what names it, where it owns nothing.
    Elsewhere,
    /// It was not seen; it may have been made a moment ago.
    Unknown,
}

/// Everything that is looked at for one object.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub item: &'a Item,
    pub presence: &'a dyn Fn(&OwnerId) -> Presence,
    /// The objects that name this one as their owner.
    pub dependents: &'a [&'a Item],
}

/// Decides on one object.
pub fn reconcile(view: &View<'_>) -> Plan {
    let item = view.item;
    let has = |finalizer: &str| item.finalizers.iter().any(|own| own == finalizer);
    match (item.deleting, has(ORPHAN), has(FOREGROUND)) {
        (true, true, _) => leave_behind(view),
        (true, false, true) => take_along(view),
        (true, false, false) => Plan::idle(),
        (false, ..) => judge(view),
    }
}

/// Removes the owner from what it owns, then the finalizer that asked for it.
fn leave_behind(view: &View<'_>) -> Plan {
    let mut plan = Plan::idle();
    let uid = &view.item.target.uid;
    for dependent in view.dependents {
        plan.push(without_owners(dependent, |owner| owner.id.uid == *uid));
    }
    plan.push(without_finalizer(view.item, ORPHAN));
    plan
}

/// Deletes what the owner waits for; when that is gone, removes the finalizer that made it wait.
fn take_along(view: &View<'_>) -> Plan {
    let mut plan = Plan::idle();
    let uid = &view.item.target.uid;
    let blocking = |item: &Item| item.owners.iter().any(|owner| owner.id.uid == *uid && owner.blocks);
    if !view.dependents.iter().any(|dependent| blocking(dependent)) {
        plan.push(without_finalizer(view.item, FOREGROUND));
    }
    // The dependents are looked at for themselves: they see an owner that waits.
    plan
}

fn judge(view: &View<'_>) -> Plan {
    let mut plan = Plan::idle();
    let item = view.item;
    let (mut solid, mut waiting, mut absent) = (0, 0, 0);
    for owner in &item.owners {
        match (view.presence)(&owner.id) {
            Presence::Present => solid += 1,
            Presence::Waiting => waiting += 1,
            Presence::Absent => absent += 1,
            Presence::Elsewhere => {
                absent += 1;
                plan.push(Action::Tell(misplaced(item, &owner.id)));
            }
            Presence::Unknown => {
                solid += 1;
                plan.push(Action::VerifyOwner { owner: owner.id.clone() });
            }
        }
    }
    if waiting + absent == 0 {
        return plan;
    }
    if solid > 0 {
        plan.push(without_owners(item, |owner| {
            matches!((view.presence)(&owner.id), Presence::Waiting | Presence::Absent | Presence::Elsewhere)
        }));
        return plan;
    }
    let goes_too = |item: &&Item| item.deleting && item.finalizers.iter().any(|own| own == FOREGROUND);
    if waiting > 0 && view.dependents.iter().copied().any(|dependent| goes_too(&dependent)) {
        // Perhaps they own each other in a circle, and would wait for each other for ever.
        plan.push(unblocked(item));
    }
    let propagation = if waiting > 0 && !view.dependents.is_empty() {
        Propagation::Foreground
    } else if item.finalizers.iter().any(|own| own == ORPHAN) {
        Propagation::Orphan
    } else if item.finalizers.iter().any(|own| own == FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    plan.push(Action::Delete {
        target: item.target.clone(),
        grace_seconds: None,
        propagation: Some(propagation),
        announce: None,
    });
    plan
}

/// What is told of an object that names an owner of another namespace.
fn misplaced(item: &Item, owner: &OwnerId) -> Note {
    let Target { resource, namespace, name, uid } = &item.target;
    let home = namespace.as_deref().unwrap_or_default();
    let api_version = match resource.group.as_str() {
        "" => resource.version.clone(),
        group => format!("{group}/{}", resource.version),
    };
    let about = ObjectReference {
        api_version: Some(api_version),
        kind: Some(item.kind.to_string()),
        namespace: namespace.clone(),
        name: Some(name.clone()),
        uid: Some(uid.clone()),
        ..ObjectReference::default()
    };
    let OwnerId { api_version, kind, name, uid, .. } = owner;
    Note {
        about,
        component: "garbage-collector-controller",
        severity: Severity::Warning,
        reason: "OwnerRefInvalidNamespace",
        message: format!(
            "ownerRef [{api_version}/{kind}, namespace: {home}, name: {name}, uid: {uid}] does not exist in namespace {home:?}"
        ),
    }
}

/// No owner waits for the object any more.
fn unblocked(item: &Item) -> Action {
    let owners: Vec<Value> =
        item.owners.iter().map(|owner| owner_json(&Owner { blocks: false, ..owner.clone() })).collect();
    patch(item, json!({ "ownerReferences": owners }))
}

fn without_owners(item: &Item, gone: impl Fn(&Owner) -> bool) -> Action {
    let left: Vec<Value> = item.owners.iter().filter(|owner| !gone(owner)).map(owner_json).collect();
    let owners = if left.is_empty() { Value::Null } else { json!(left) };
    patch(item, json!({ "ownerReferences": owners }))
}

/// One finalizer more.
pub(crate) fn with_finalizer(item: &Item, finalizer: &str) -> Action {
    let all: Vec<&str> = item.finalizers.iter().map(String::as_str).chain([finalizer]).collect();
    patch(item, json!({ "finalizers": all }))
}

/// The object without that finalizer.
pub(crate) fn without_finalizer(item: &Item, finalizer: &str) -> Action {
    let left: Vec<&String> = item.finalizers.iter().filter(|own| *own != finalizer).collect();
    let finalizers = if left.is_empty() { Value::Null } else { json!(left) };
    patch(item, json!({ "finalizers": finalizers }))
}

/// A change of lists is for the object as it was seen.
fn patch(item: &Item, mut metadata: Value) -> Action {
    metadata["uid"] = json!(item.target.uid);
    metadata["resourceVersion"] = json!(item.resource_version);
    Action::Patch {
        target: item.target.clone(),
        subresource: None,
        patch: json!({ "metadata": metadata }),
        announce: None,
    }
}

fn owner_json(owner: &Owner) -> Value {
    let mut json = json!({
        "apiVersion": owner.id.api_version,
        "kind": owner.id.kind,
        "name": owner.id.name,
        "uid": owner.id.uid,
    });
    if owner.controller {
        json["controller"] = json!(true);
    }
    if owner.blocks {
        json["blockOwnerDeletion"] = json!(true);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::ResourceId;

    fn owner(uid: &str) -> Owner {
        Owner {
            id: OwnerId {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                namespace: Some("default".into()),
                name: uid.into(),
                uid: uid.into(),
            },
            controller: true,
            blocks: true,
        }
    }

    fn item(uid: &str, owners: &[&str]) -> Item {
        Item {
            target: Target {
                resource: ResourceId::of::<k8s_openapi::api::core::v1::Pod>(),
                namespace: Some("default".into()),
                name: uid.into(),
                uid: uid.into(),
            },
            kind: "Pod".into(),
            resource_version: "5".into(),
            owners: owners.iter().map(|uid| owner(uid)).collect(),
            finalizers: Vec::new(),
            deleting: false,
        }
    }

    /// What is done to an object, in short. Owners are named for what is known of them.
    fn check(item: &Item, dependents: &[&Item], expected: &[&str]) {
        let presence = |owner: &OwnerId| match owner.uid.as_str() {
            "waiting" => Presence::Waiting,
            "absent" => Presence::Absent,
            "unknown" => Presence::Unknown,
            "elsewhere" => Presence::Elsewhere,
            _ => Presence::Present,
        };
        let plan = reconcile(&View { item, presence: &presence, dependents });
        let got: Vec<String> = plan
            .actions
            .iter()
            .map(|action| match action {
                Action::Delete { target, propagation, .. } => {
                    format!("delete {} {:?}", target.name, propagation.unwrap())
                }
                Action::Patch { target, patch, .. } => {
                    let metadata = &patch["metadata"];
                    let owners = metadata.get("ownerReferences").map(|owners| {
                        let uids = owners.as_array().into_iter().flatten();
                        let text = |owner: &Value| {
                            let free = if owner["blockOwnerDeletion"] == true { "" } else { "!" };
                            format!("{}{free}", owner["uid"].as_str().unwrap())
                        };
                        uids.map(text).collect::<Vec<_>>().join(",")
                    });
                    match owners {
                        Some(owners) => format!("{} owned by [{owners}]", target.name),
                        None => format!("{} finalizers {}", target.name, metadata["finalizers"]),
                    }
                }
                Action::VerifyOwner { owner } => format!("verify {}", owner.uid),
                Action::Tell(Note { reason, message, .. }) => format!("{reason}: {message}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(got, expected, "{item:?}");
    }

    #[test]
    fn an_object_goes_when_all_its_owners_are_gone() {
        check(&item("p", &[]), &[], &[]);
        check(&item("p", &["solid"]), &[], &[]);
        check(&item("p", &["absent"]), &[], &["delete p Background"]);
        check(&item("p", &["absent", "absent"]), &[], &["delete p Background"]);
        check(&item("p", &["absent", "solid"]), &[], &["p owned by [solid]"]);
        check(&item("p", &["unknown"]), &[], &["verify unknown"]);
        check(&item("p", &["unknown", "absent"]), &[], &["verify unknown", "p owned by [unknown]"]);
    }

    #[test]
    fn an_owner_in_another_namespace_is_none_and_told_of() {
        let words = "OwnerRefInvalidNamespace: ownerRef [apps/v1/ReplicaSet, namespace: default, name: elsewhere, uid: elsewhere] \
                     does not exist in namespace \"default\"";
        check(&item("p", &["elsewhere"]), &[], &[words, "delete p Background"]);
        check(&item("p", &["elsewhere", "solid"]), &[], &[words, "p owned by [solid]"]);
    }

    #[test]
    fn an_owner_in_the_foreground_goes_after_what_it_owns() {
        let child = item("child", &["p"]);
        check(&item("p", &["waiting"]), &[], &["delete p Background"]);
        check(&item("p", &["waiting"]), &[&child], &["delete p Foreground"]);
        let mut owner = item("p", &[]);
        owner.deleting = true;
        owner.finalizers = vec![FOREGROUND.into(), "other".into()];
        check(&owner, &[&child], &[]);
        check(&owner, &[], &["p finalizers [\"other\"]"]);
        let mut free = child.clone();
        free.owners[0].blocks = false;
        check(&owner, &[&free], &["p finalizers [\"other\"]"]);
    }

    #[test]
    fn objects_that_own_each_other_do_not_wait_for_each_other() {
        let mut first = item("first", &["p"]);
        check(&item("p", &["waiting"]), &[&first], &["delete p Foreground"]);
        first.deleting = true;
        first.finalizers = vec![FOREGROUND.into()];
        check(&item("p", &["waiting"]), &[&first], &["p owned by [waiting!]", "delete p Foreground"]);
        check(&item("p", &["absent"]), &[&first], &["delete p Background"]);
    }

    #[test]
    fn an_owner_that_leaves_behind_is_removed_from_what_it_owns() {
        let mut owner = item("p", &[]);
        owner.deleting = true;
        owner.finalizers = vec![ORPHAN.into()];
        let (one, two) = (item("one", &["p"]), item("two", &["p", "solid"]));
        check(&owner, &[&one, &two], &["one owned by []", "two owned by [solid]", "p finalizers null"]);
    }

    #[test]
    fn what_is_going_already_is_left_alone() {
        let mut going = item("p", &["absent"]);
        going.deleting = true;
        check(&going, &[], &[]);
    }
}
