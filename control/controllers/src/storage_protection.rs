//! Claims and volumes that are in use: they go when nobody uses them any more.

use k8s_openapi::api::core::v1::Pod;
use pal_resources::admission::storage::{CLAIM_PROTECTION, VOLUME_PROTECTION};
use pal_resources::volumes::claims_of;

use crate::action::Plan;
use crate::garbage::{Item, with_finalizer, without_finalizer};
use crate::pods::{is_finished, node};

/// What protects an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Claim,
    Volume,
}

/// Everything that is looked at for one claim or volume.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub kind: Kind,
    pub item: &'a Item,
    /// Whether a pod uses the claim, or the volume is bound to one.
    pub used: bool,
}

/// Lets go what is deleted and not in use, and protects what nobody has asked to go.
pub fn reconcile(view: &View<'_>) -> Plan {
    let View { kind, item, used } = *view;
    let finalizer = match kind {
        Kind::Claim => CLAIM_PROTECTION,
        Kind::Volume => VOLUME_PROTECTION,
    };
    let protected = item.finalizers.iter().any(|own| own == finalizer);
    match (item.deleting, protected) {
        (true, true) if !used => Plan::of(without_finalizer(item, finalizer)),
        (false, false) => Plan::of(with_finalizer(item, finalizer)),
        _ => Plan::idle(),
    }
}

/// The claims that a pod uses while it is on a node and has not run to its end.
pub fn claims(pod: &Pod) -> impl Iterator<Item = String> {
    let in_use = node(pod).is_some() && !is_finished(pod);
    claims_of(pod).filter(move |_| in_use)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::action::{Action, ResourceId, Target};

    #[test]
    fn what_is_in_use_stays_until_it_is_not() {
        let check = |kind: Kind, deleting: bool, own: &[&str], used: bool, expected: Option<serde_json::Value>| {
            let resource = ResourceId { group: String::new(), version: "v1".into(), plural: "things".into() };
            let item = Item {
                target: Target { resource, namespace: None, name: "a".into(), uid: "u".into() },
                kind: "Any".into(),
                resource_version: "7".into(),
                owners: Vec::new(),
                finalizers: own.iter().map(|own| (*own).to_owned()).collect(),
                deleting,
            };
            let plan = reconcile(&View { kind, item: &item, used });
            let written = plan.actions.first().map(|action| match action {
                Action::Patch { patch, .. } => patch["metadata"]["finalizers"].clone(),
                other => panic!("{other:?}"),
            });
            assert_eq!(written, expected, "{kind:?} {deleting} {own:?} {used}");
        };
        let (claim, volume) = (CLAIM_PROTECTION, VOLUME_PROTECTION);
        check(Kind::Claim, false, &[claim], true, None);
        check(Kind::Claim, false, &["x"], false, Some(json!(["x", claim])));
        check(Kind::Claim, true, &[claim], true, None);
        check(Kind::Claim, true, &["x", claim], false, Some(json!(["x"])));
        check(Kind::Claim, true, &["x"], false, None);
        check(Kind::Volume, true, &[volume], false, Some(json!(null)));
        check(Kind::Volume, true, &[volume], true, None);
    }

    #[test]
    fn pods_that_run_use_claims() {
        let check = |node: Option<&str>, phase: &str, expected: &[&str]| {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "p"},
                "spec": {"nodeName": node, "containers": [], "volumes": [
                    {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "b", "emptyDir": {}}, {"name": "c", "ephemeral": {}}]},
                "status": {"phase": phase},
            }))
            .unwrap();
            assert_eq!(claims(&pod).collect::<Vec<_>>(), expected);
        };
        check(Some("n"), "Running", &["data", "p-c"]);
        check(Some("n"), "Succeeded", &[]);
        check(None, "Pending", &[]);
    }
}
