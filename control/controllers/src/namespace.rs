//! Namespaces: one that is being deleted is emptied, says what it waits for, and is then let go.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::action::{Action, Plan, ResourceId, Target};
use crate::object::{as_seen, is_deleting, name};

/// How long to wait for what goes gracefully before looking again, though its going is told too.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the namespace says what it waits for, at most: what is left changes with every object that goes.
const SAY_EVERY: Duration = Duration::from_secs(1);

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
    /// What is in it and has its turn (see [`in_turn`]), by resource.
    pub content: &'a BTreeMap<ResourceId, Content>,
    /// How many objects in it have each finalizer; of pods alone as long as there are some.
    pub finalizers: &'a BTreeMap<String, usize>,
    /// How long ago it was last written what it waits for, as far as is known.
    pub said: Option<Duration>,
}

/// What holds a namespace until it is empty. Others may hold it longer.
const EMPTIED: &str = "kubernetes";

/// Takes away what held a namespace until it was empty.
pub fn finalized(namespace: &mut Value) {
    if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != EMPTIED);
    }
}

/// What is to go, and waited for, now: pods before all others, so that nothing they rely on, such as what protects them, is
/// taken from them while they run.
pub(crate) fn in_turn(content: BTreeMap<ResourceId, Content>) -> BTreeMap<ResourceId, Content> {
    let pods = ResourceId::of::<Pod>();
    match content.get(&pods).copied().filter(|content| content.all > 0) {
        Some(left) => [(pods, left)].into(),
        None => content,
    }
}

/// Empties a deleted namespace; once nothing is left, lets it go.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let meta = &view.namespace.metadata;
    if !is_deleting(meta) {
        return plan;
    }
    for (resource, content) in view.content {
        if content.staying > 0 {
            plan.push(Action::DeleteAll { resource: resource.clone(), namespace: Some(name(meta).to_owned()) });
        }
    }
    if view.content.values().all(|content| content.all == 0) {
        // Who sees it stay learns that it is empty; one that goes at once needs no such write.
        if is_held_by_others(view.namespace) {
            plan.actions.extend(say(view, now));
        }
        if finalizers(view.namespace).any(|finalizer| finalizer == EMPTIED) {
            plan.push(Action::FinalizeNamespace { target: Target::of(view.namespace) });
        }
        return plan;
    }
    plan.look_again(PATIENCE);
    // What was only now asked to go is not yet waited for.
    if plan.actions.is_empty() {
        match view.said.and_then(|said| SAY_EVERY.checked_sub(said)) {
            Some(rest) if !rest.is_zero() => plan.look_again(rest),
            _ => plan.actions.extend(say(view, now)),
        }
    }
    plan
}

/// What holds the namespace itself.
fn finalizers(namespace: &Namespace) -> impl Iterator<Item = &String> {
    namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten())
}

/// Whether it stays when it is empty, because others have not let it go.
fn is_held_by_others(namespace: &Namespace) -> bool {
    let general = namespace.metadata.finalizers.iter().flatten();
    general.chain(finalizers(namespace)).any(|finalizer| finalizer != EMPTIED)
}

/// The write that says what is waited for, if the namespace does not say so already.
fn say(view: &View<'_>, now: Timestamp) -> Option<Action> {
    let status = view.namespace.status.as_ref();
    let before = status.and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut conditions = before.clone();
    for fact in facts(view) {
        let known = conditions.iter().position(|condition| condition.type_ == fact.kind);
        let since = known.filter(|at| conditions[*at].status == fact.status());
        let since = since.and_then(|at| conditions[at].last_transition_time.clone()).unwrap_or(Time(now));
        let condition = NamespaceCondition {
            type_: fact.kind.to_owned(),
            status: fact.status().to_owned(),
            reason: Some(fact.reason.to_owned()),
            message: Some(fact.message),
            last_transition_time: Some(since),
        };
        match known {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    (conditions != before).then(|| Action::Patch {
        target: Target::of(view.namespace),
        subresource: Some("status"),
        patch: json!({ "metadata": as_seen(&view.namespace.metadata), "status": { "conditions": conditions } }),
        announce: None,
    })
}

/// One condition, in Kubernetes' words.
struct Fact {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Fact {
    fn status(&self) -> &'static str {
        if self.holds { "True" } else { "False" }
    }
}

fn facts(view: &View<'_>) -> [Fact; 5] {
    let fine = |kind, reason, message: &str| Fact { kind, holds: false, reason, message: message.to_owned() };
    let left = |(resource, content): (&ResourceId, &Content)| {
        format!("{}.{} has {} resource instances", resource.plural, resource.group, content.all)
    };
    let content: Vec<String> = view.content.iter().filter(|(_, content)| content.all > 0).map(left).collect();
    let held = |(finalizer, count): (&String, &usize)| format!("{finalizer} in {count} resource instances");
    let finalizers: Vec<String> = view.finalizers.iter().map(held).collect();
    let listed = |mut texts: Vec<String>| {
        texts.sort();
        texts.join(", ")
    };
    let remaining = match content.is_empty() {
        true => fine("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
        false => Fact {
            kind: "NamespaceContentRemaining",
            holds: true,
            reason: "SomeResourcesRemain",
            message: format!("Some resources are remaining: {}", listed(content)),
        },
    };
    let finalizing = match finalizers.is_empty() {
        true => {
            fine("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished")
        }
        false => Fact {
            kind: "NamespaceFinalizersRemaining",
            holds: true,
            reason: "SomeFinalizersRemain",
            message: format!("Some content in the namespace has finalizers remaining: {}", listed(finalizers)),
        },
    };
    // All resources are known here, and what a delete refuses is asked again: these never fail.
    [
        fine("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        remaining,
        finalizing,
    ]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn namespace(deleting: bool) -> Namespace {
        let made = json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"finalizers": ["kubernetes"]}});
        let mut namespace: Namespace = serde_json::from_value(made).unwrap();
        namespace.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
        namespace
    }

    fn look(namespace: &Namespace, content: Content, finalizers: &[(&str, usize)], said: Option<u64>) -> Plan {
        let content = [(ResourceId::of::<Pod>(), content)].into();
        let finalizers = finalizers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let said = said.map(Duration::from_millis);
        let view = View { namespace, content: &content, finalizers: &finalizers, said };
        reconcile(&view, Timestamp::from_second(1_800_000_000).unwrap())
    }

    fn kinds(plan: &Plan) -> Vec<&'static str> {
        let kind = |action: &Action| match action {
            Action::DeleteAll { .. } => "empty",
            Action::FinalizeNamespace { .. } => "finalize",
            Action::Patch { .. } => "say",
            _ => "?",
        };
        plan.actions.iter().map(kind).collect()
    }

    fn check(deleting: bool, all: usize, staying: usize, expected: &[&str]) {
        let plan = look(&namespace(deleting), Content { all, staying }, &[], None);
        assert_eq!(kinds(&plan), expected, "{deleting} {all} {staying}");
    }

    #[test]
    fn a_deleted_namespace_is_emptied_before_it_goes() {
        check(false, 3, 3, &[]);
        check(true, 3, 3, &["empty"]);
        check(true, 3, 0, &["say"]);
        check(true, 0, 0, &["finalize"]);
    }

    #[test]
    fn others_may_hold_a_namespace_that_is_empty_and_that_is_said() {
        fn check(general: &[&str], own: &[&str], expected: &[&str]) {
            let mut held = namespace(true);
            held.metadata.finalizers = Some(general.iter().map(|&name| name.to_owned()).collect());
            held.spec = serde_json::from_value(json!({ "finalizers": own })).unwrap();
            let plan = look(&held, Content { all: 0, staying: 0 }, &[], None);
            assert_eq!(kinds(&plan), expected, "{general:?} {own:?}");
            if let Some(Action::Patch { patch, .. }) = plan.actions.first() {
                held.status = Some(serde_json::from_value(patch["status"].clone()).unwrap());
                let conditions = held.status.iter().flat_map(|status| status.conditions.iter().flatten());
                let shown: Vec<_> = conditions.map(|one| (one.reason.as_deref().unwrap(), &*one.status)).collect();
                let reasons = [
                    "ResourcesDiscovered",
                    "ParsedGroupVersions",
                    "ContentDeleted",
                    "ContentRemoved",
                    "ContentHasNoFinalizers",
                ];
                assert_eq!(shown, reasons.map(|reason| (reason, "False")));
                let again = look(&held, Content { all: 0, staying: 0 }, &[], None);
                assert_eq!(kinds(&again), expected[1..], "what is said is said once");
            }
            let mut shown = serde_json::to_value(&held).unwrap();
            finalized(&mut shown);
            let left: Vec<_> = own.iter().filter(|name| **name != EMPTIED).collect();
            assert_eq!(shown["spec"]["finalizers"], json!(left));
        }
        check(&[], &["kubernetes"], &["finalize"]);
        check(&[], &["example.com/x", "kubernetes"], &["say", "finalize"]);
        check(&["example.com/x"], &["kubernetes"], &["say", "finalize"]);
        check(&["example.com/x"], &[], &["say"]);
        check(&[], &["example.com/x"], &["say"]);
    }

    #[test]
    fn pods_go_before_all_others() {
        let check = |pods: Option<usize>, expected: &[&str]| {
            let of = |all| Content { all, staying: all };
            let mut content = BTreeMap::from([(ResourceId::of::<ConfigMap>(), of(1))]);
            content.extend(pods.map(|pods| (ResourceId::of::<Pod>(), of(pods))));
            let turn: Vec<_> = in_turn(content).into_keys().map(|resource| resource.plural).collect();
            assert_eq!(turn, expected, "{pods:?}");
        };
        check(Some(2), &["pods"]);
        check(Some(0), &["configmaps", "pods"]);
        check(None, &["configmaps"]);
    }

    #[test]
    fn a_namespace_that_waits_says_for_what_once_and_not_too_often() {
        let mut waiting = namespace(true);
        let two = Content { all: 2, staying: 0 };
        let held = [("example.com/keep", 2)];
        let plan = look(&waiting, two, &held, None);
        let [Action::Patch { patch, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        let texts: Vec<_> = patch["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| format!("{}={} {}", c["type"].as_str().unwrap(), c["status"].as_str().unwrap(), c["message"]))
            .collect();
        assert_eq!(
            texts,
            [
                "NamespaceDeletionDiscoveryFailure=False \"All resources successfully discovered\"",
                "NamespaceDeletionGroupVersionParsingFailure=False \"All legacy kube types successfully parsed\"",
                "NamespaceDeletionContentFailure=False \"All content successfully deleted, may be waiting on finalization\"",
                "NamespaceContentRemaining=True \"Some resources are remaining: pods. has 2 resource instances\"",
                "NamespaceFinalizersRemaining=True \"Some content in the namespace has finalizers remaining: \
             example.com/keep in 2 resource instances\"",
            ]
        );
        waiting.status = Some(serde_json::from_value(patch["status"].clone()).unwrap());
        let again = |plan: Plan| (plan.actions.len(), plan.again.map(|again| again.as_millis()));
        assert_eq!(again(look(&waiting, two, &held, None)), (0, Some(2000)));
        let one = Content { all: 1, staying: 0 };
        assert_eq!(again(look(&waiting, one, &[], Some(400))), (0, Some(600)));
        assert_eq!(again(look(&waiting, one, &[], Some(1000))), (1, Some(2000)));
    }
}
