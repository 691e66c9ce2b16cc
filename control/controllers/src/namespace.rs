//! Namespaces: one that is being deleted is emptied, and then let go.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;

use crate::action::{Action, Plan, ResourceId, Target};
use crate::object::{is_deleting, name};

/// How long to wait for what goes gracefully before looking again, though its going is told too.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many objects of one resource are in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub all: usize,
    /// Those that nobody has asked to go yet.
    pub staying: usize,
}

/// Everything that a namespace's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub namespace: &'a Namespace,
    /// What is in it, by resource.
    pub content: &'a BTreeMap<ResourceId, Content>,
}

/// Empties a deleted namespace; once nothing is left, lets it go.
pub fn reconcile(view: &View<'_>) -> Plan {
    let mut plan = Plan::idle();
    let meta = &view.namespace.metadata;
    if !is_deleting(meta) {
        return plan;
    }
    for (resource, content) in view.content {
        if content.staying > 0 {
            plan.push(Action::DeleteAll { resource: resource.clone(), namespace: name(meta).to_owned() });
        }
    }
    if view.content.values().all(|content| content.all == 0) {
        plan.push(Action::FinalizeNamespace { target: Target::of(view.namespace) });
    } else {
        plan.look_again(PATIENCE);
    }
    plan
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn check(deleting: bool, all: usize, staying: usize, expected: &[&str]) {
        let mut namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "a", "uid": "u"}})).unwrap();
        if deleting {
            namespace.metadata.deletion_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        }
        let content = [(ResourceId::of::<Pod>(), Content { all, staying })].into();
        let plan = reconcile(&View { namespace: &namespace, content: &content });
        let got: Vec<_> = plan
            .actions
            .iter()
            .map(|action| match action {
                Action::DeleteAll { .. } => "empty",
                Action::FinalizeNamespace { .. } => "finalize",
                _ => "?",
            })
            .collect();
        assert_eq!(got, expected, "{deleting} {all} {staying}");
    }

    #[test]
    fn a_deleted_namespace_is_emptied_before_it_goes() {
        check(false, 3, 3, &[]);
        check(true, 3, 3, &["empty"]);
        check(true, 3, 0, &[]);
        check(true, 0, 0, &["finalize"]);
    }
}
