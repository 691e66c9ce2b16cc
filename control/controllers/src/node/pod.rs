//! Pods and the nodes they are bound to: marked when the node is lost, evicted by its taints, removed when nobody else
//! can.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pal_scheduler::tolerates;
use serde_json::{Value, json};

use super::disruption::Evictions;
use super::taints::Noticed;
use super::{COMPONENT, NOT_READY, UNREACHABLE, condition};
use crate::action::{Action, Announce, Plan, Severity, Target, Words, reference};
use crate::object::{as_seen, created, is_deleting, name, namespace, remaining, since};
use crate::pods::{self, is_finished, is_ready};
use crate::ports::Timing;

/// The taint by which somebody says that a node is shut down.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The node that a pod is bound to.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// The pod is not bound.
    None,
    Known(&'a Node),
    /// There is no such node, for that long as far as is known.
    Missing(Duration),
}

/// Everything that is looked at for one pod.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub pod: &'a Pod,
    pub host: Host<'a>,
    /// When the controllers started to look: nothing that happened before is held against a pod.
    pub started: Timestamp,
    /// Whether pods are driven from nodes that are gone.
    pub evictions: Evictions,
    /// Since when nodes have taints that do not say it.
    pub noticed: &'a Noticed,
    pub timing: &'a Timing,
}

/// Decides on one pod.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let pod = view.pod;
    match view.host {
        // The node was never told of it, so that no word of the node is to be waited for.
        Host::None if is_deleting(&pod.metadata) => plan.push(remove(pod)),
        Host::None => {}
        // A new pod of a node that was long gone gets as much time as any: the node may be on its way.
        Host::Missing(gone) => match missed(view, gone.min(since(now, created(&pod.metadata)))) {
            Some(rest) => plan.look_again(rest),
            None => {
                if !is_finished(pod) {
                    plan.push(orphaned(pod, now));
                }
                plan.push(remove(pod));
            }
        },
        Host::Known(node) => on_node(view, node, now, &mut plan),
    }
    plan
}

/// For how much longer a node that is missed for so long is waited for.
fn missed(view: &View<'_>, missing: Duration) -> Option<Duration> {
    view.timing.orphan_pod_removal.checked_sub(missing).filter(|rest| !rest.is_zero())
}

fn on_node(view: &View<'_>, node: &Node, now: Timestamp, plan: &mut Plan) {
    let pod = view.pod;
    let lost = condition(node, "Ready").is_some_and(|ready| ready.status == "Unknown");
    if is_deleting(&pod.metadata) {
        if is_out_of_service(node) {
            if !is_finished(pod) {
                plan.push(write_status(pod, json!({ "phase": "Failed" })));
            }
            plan.push(remove(pod));
        } else if lost {
            force(view, node, now, plan);
        }
        return;
    }
    if is_finished(pod) {
        return;
    }
    match eviction(view, node, now) {
        Eviction::None => {}
        Eviction::After(rest) => plan.look_again(rest),
        Eviction::Now => {
            let why = "Taint manager: deleting due to NoExecute taint".to_owned();
            let conditions = pods::disrupted(pod, "DeletionByTaintManager", why, now);
            plan.push(write_status(pod, json!({ "conditions": conditions })));
            let text = format!("Marking for deletion Pod {}/{}", namespace(&pod.metadata), name(&pod.metadata));
            let done = Words { severity: Severity::Normal, reason: "TaintManagerEviction", text, with_detail: false };
            plan.push(Action::Delete {
                target: Target::of(pod),
                grace_seconds: None,
                propagation: None,
                announce: Some(announce(pod, "taint-eviction-controller", done)),
            });
            return;
        }
    }
    if lost && is_ready(pod) {
        plan.push(mark_not_ready(pod, now));
    }
}

/// Whether somebody has said of a node that is not ready that nothing runs there any more (KEP-2268).
fn is_out_of_service(node: &Node) -> bool {
    let ready = condition(node, "Ready").is_some_and(|ready| ready.status == "True");
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    !ready && taints.any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Removes a deleted pod whose node can not say that it has stopped. While nodes are gone in numbers it may well run:
/// then its node's word is waited for.
fn force(view: &View<'_>, node: &Node, now: Timestamp, plan: &mut Plan) {
    let Evictions::Since(counted) = view.evictions else { return };
    let meta = &view.pod.metadata;
    let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
    let asked = meta.deletion_timestamp.as_ref().map_or(now, |time| time.0 - grace);
    let lost = condition(node, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    let lost = lost.map_or(asked, |time| time.0);
    let start = asked.max(lost).max(counted);
    match remaining(start, view.timing.dead_pod_removal, now) {
        Some(rest) => plan.look_again(rest),
        None => plan.push(remove(view.pod)),
    }
}

fn remove(pod: &Pod) -> Action {
    Action::Delete { target: Target::of(pod), grace_seconds: Some(0), propagation: None, announce: None }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eviction {
    None,
    After(Duration),
    Now,
}

/// When the node's `NoExecute` taints drive the pod away: at once if it does not bear one of them, else when the
/// shortest of the times for which it bears them has passed.
fn eviction(view: &View<'_>, node: &Node, now: Timestamp) -> Eviction {
    let spec = view.pod.spec.as_ref();
    let tolerations = spec.and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let mut eviction = Eviction::None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let added = match &taint.time_added {
            Some(time) => time.0,
            None => view.noticed.since(name(&node.metadata), taint).unwrap_or(now),
        };
        let Some(start) = counted_from(taint, added.min(now), view) else { continue };
        let mut borne = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        let span = if borne.peek().is_none() {
            Duration::ZERO
        } else {
            match borne.filter_map(|toleration| toleration.toleration_seconds).min() {
                Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
                None => continue,
            }
        };
        let rest = since(start, now).saturating_add(span).saturating_sub(since(now, start));
        eviction = match eviction {
            _ if rest.is_zero() => return Eviction::Now,
            Eviction::After(earlier) => Eviction::After(rest.min(earlier)),
            _ => Eviction::After(rest),
        };
    }
    eviction
}

/// From when on a taint of that time counts against the pod; `None` while it does not. Somebody's own taint always does.
fn counted_from(taint: &Taint, added: Timestamp, view: &View<'_>) -> Option<Timestamp> {
    let added = added.max(view.started).max(created(&view.pod.metadata));
    if !matches!(taint.key.as_str(), NOT_READY | UNREACHABLE) {
        return Some(added);
    }
    match view.evictions {
        Evictions::Stopped => None,
        Evictions::Since(counted) => Some(added.max(counted)),
    }
}

fn mark_not_ready(pod: &Pod, now: Timestamp) -> Action {
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    for ready in conditions.iter_mut().filter(|condition| condition.type_ == "Ready") {
        ready.status = "False".to_owned();
        ready.last_transition_time = Some(Time(now));
    }
    let text = "Node is not ready".to_owned();
    let done = Words { severity: Severity::Warning, reason: "NodeNotReady", text, with_detail: false };
    write_and_tell(pod, json!({ "conditions": conditions }), Some(announce(pod, COMPONENT, done)))
}

/// What is told when it is done: the pod may look other than it was seen, and then it is not.
fn announce(pod: &Pod, component: &'static str, done: Words) -> Announce {
    Announce { about: reference(pod), component, done: Some(done), failed: None }
}

/// Of a pod whose node is no more nobody else will say how it ended.
fn orphaned(pod: &Pod, now: Timestamp) -> Action {
    let conditions = pods::disrupted(pod, "DeletionByPodGC", "PodGC: node no longer exists".to_owned(), now);
    write_status(pod, json!({ "phase": "Failed", "conditions": conditions }))
}

fn write_status(pod: &Pod, status: Value) -> Action {
    write_and_tell(pod, status, None)
}

fn write_and_tell(pod: &Pod, status: Value, announce: Option<Announce>) -> Action {
    let patch = json!({ "metadata": as_seen(&pod.metadata), "status": status });
    Action::Patch { target: Target::of(pod), subresource: Some("status"), patch, announce }
}

/// Whether a change of the node may concern the pods on it.
pub fn concerns_pods(before: Option<&Node>, after: &Node) -> bool {
    let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let ready = |node: &Node| condition(node, "Ready").map(|ready| ready.status.clone());
    before.is_none_or(|before| taints(before) != taints(after) || ready(before) != ready(after))
}

/// Whether a look at the pod can lead to anything, so that most pods need none.
pub fn is_worth_a_look(pod: &Pod, node: Option<&Node>) -> bool {
    match (pods::node(pod), node) {
        (None, _) => is_deleting(&pod.metadata),
        (Some(_), None) => true,
        (Some(_), Some(node)) => {
            let ready = condition(node, "Ready").is_some_and(|ready| ready.status == "True");
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
            !ready || taints.iter().any(|taint| taint.effect == "NoExecute")
        }
    }
}
