//! Runs the scheduler: feeds it what changes, binds what it places, tells of what it can not place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use pal_registry::{Binding, Object, Registry, WriteOptions};
use pal_resources::{Status, Uid};
use pal_scheduler::volumes::Hindrance;
use pal_scheduler::{Candidate, Cluster, Failure, Queue, QueueLengths, schedule};
use serde_json::json;

use super::cache::{Change, Place};
use super::claims::{prepare, take_in};
use super::known::{Known, Whole};
use super::preempt::{Budgets, drive_out, make_room};
use super::recorder::Recorder;
use crate::action::{Action, Note, Severity, Target, reference};
use crate::figures::{Attempt, Figures, Pending};
use crate::object::{as_seen, is_deleting, name, namespace, uid};
use crate::pods::{self, condition, is_finished, with_condition};

pub(super) const COMPONENT: &str = "default-scheduler";

/// The scheduler and the pods that it holds.
pub(super) struct Placer {
    cluster: Cluster,
    queue: Queue<Place>,
    /// Pods that fitted nowhere and care where other pods are: they may fit when one of those changes.
    minding: HashSet<Place>,
    /// Pods that wait and use claims: they may go on when one of those changes.
    claiming: HashSet<Place>,
    /// Those of them that have a node already, where their room is kept while their claims get volumes.
    held: HashSet<Place>,
    budgets: Budgets,
    /// When each pod that waits began to, and how often it was tried.
    waiting: HashMap<Place, Waiting>,
    figures: Arc<Figures>,
    registry: Registry,
    recorder: Recorder,
}

#[derive(Clone, Copy)]
struct Waiting {
    since: Instant,
    attempts: u32,
}

/// A pod whose binding is to be written.
#[derive(Clone)]
pub(super) struct ToBind {
    place: Place,
    pod: Arc<Pod>,
    node: String,
    /// When the attempt began.
    begun: Instant,
}

/// What became of a binding.
pub(super) struct Bound {
    place: Place,
    pod: Arc<Pod>,
    node: String,
    begun: Instant,
    pub(super) result: Result<Object, Status>,
}

/// The next thing to do for a pod that waits.
pub(super) enum Next {
    Bind(ToBind),
    /// It fits nowhere: what is to be written of that, and who is to go for it.
    Report(Vec<Action>),
}

impl Placer {
    pub(super) fn new(registry: Registry, recorder: Recorder, figures: Arc<Figures>) -> Self {
        Self {
            cluster: Cluster::new(),
            queue: Queue::new(),
            minding: HashSet::new(),
            claiming: HashSet::new(),
            held: HashSet::new(),
            budgets: Budgets::default(),
            waiting: HashMap::new(),
            figures,
            registry,
            recorder,
        }
    }

    /// Takes in a change of what the scheduler looks at.
    pub(super) fn changed(&mut self, change: &Change) {
        let room = match (&change.before, &change.after) {
            (_, Some(Known { whole: Whole::Node(node), .. })) => self.cluster.set_node(node),
            (Some(Known { whole: Whole::Node(_), .. }), None) => {
                self.cluster.remove_node(&change.address.1.1);
                false
            }
            (before, Some(Known { whole: Whole::Pod(pod), .. })) => {
                let room = self.pod(&change.address.1, pod);
                let before = before.as_ref().and_then(pod_of);
                room || !self.minding.is_empty() && looks_other(before, pod)
            }
            (_, Some(Known { whole: Whole::Namespace(namespace), .. })) => {
                self.cluster.set_namespace(namespace);
                !self.minding.is_empty()
            }
            (Some(Known { whole: Whole::Namespace(_), .. }), None) => {
                self.cluster.remove_namespace(&change.address.1.1);
                false
            }
            (_, Some(Known { whole: Whole::Budget(budget), .. })) => {
                self.budgets.insert(change.address.1.clone(), budget.clone());
                return;
            }
            (Some(Known { whole: Whole::Budget(_), .. }), None) => {
                self.budgets.remove(&change.address.1);
                return;
            }
            (_, Some(Known { whole: Whole::Claim(_) | Whole::Volume(_) | Whole::StorageClass(_), .. }))
            | (Some(Known { whole: Whole::Claim(_) | Whole::Volume(_) | Whole::StorageClass(_), .. }), None) => {
                take_in(self.cluster.storage_mut(), change) && !self.claiming.is_empty()
            }
            (Some(Known { whole: Whole::Pod(pod), .. }), None) => {
                self.forget(&change.address.1);
                self.cluster.remove_pod(uid(&pod.metadata))
            }
            _ => return,
        };
        if room {
            self.queue.cluster_changed();
        }
    }

    fn pod(&mut self, place: &Place, pod: &Pod) -> bool {
        if is_waiting(pod) {
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            self.queue.add(place.clone(), priority);
            let begun = || Waiting { since: Instant::now(), attempts: 0 };
            self.waiting.entry(place.clone()).or_insert_with(begun);
        } else {
            self.forget(place);
        }
        self.cluster.set_pod(pod)
    }

    /// The pod wants no node any more.
    fn forget(&mut self, place: &Place) {
        self.queue.remove(place);
        self.minding.remove(place);
        self.claiming.remove(place);
        self.held.remove(place);
        self.waiting.remove(place);
    }

    /// Tells how many pods wait.
    pub(super) fn tell_pending(&self) {
        let QueueLengths { active, backoff, waiting } = self.queue.lengths();
        self.figures.wait(Pending { active, backoff, unschedulable: waiting });
    }

    /// The next pod that can be dealt with now. `pod_at` finds the pod as it now is.
    pub(super) fn next(&mut self, now: Instant, pod_at: impl Fn(&Place) -> Option<Arc<Pod>>) -> Option<Next> {
        loop {
            let place = self.queue.pop(now)?;
            let Some(pod) = pod_at(&place).filter(|pod| is_waiting(pod)) else {
                self.forget(&place);
                continue;
            };
            if let Some(waiting) = self.waiting.get_mut(&place) {
                waiting.attempts = waiting.attempts.saturating_add(1);
            }
            let begun = Instant::now();
            let candidate = Candidate::of(pod.clone());
            if self.held.remove(&place) {
                self.cluster.remove_pod(uid(&pod.metadata));
            }
            if candidate.has_claims() {
                self.claiming.insert(place.clone());
            }
            match schedule(&self.cluster, &candidate, rand::random()) {
                Ok(placement) if !placement.claims.is_empty() => {
                    self.cluster.assume(&candidate, &placement.node);
                    self.queue.failed(&place, Failure::Held, now);
                    self.held.insert(place);
                    let actions = prepare(&placement);
                    if !actions.is_empty() {
                        return Some(Next::Report(actions));
                    }
                }
                Ok(placement) => {
                    self.cluster.assume(&candidate, &placement.node);
                    return Some(Next::Bind(ToBind { place, pod, node: placement.node, begun }));
                }
                Err(mut why) => {
                    self.figures.attempted(Attempt::Unschedulable, begun.elapsed());
                    if candidate.minds_others() {
                        self.minding.insert(place.clone());
                    }
                    // That one comes in a moment; others may take for ever.
                    let is_made = matches!(why.hindrance, Some(Hindrance::NotMade(_)));
                    let failure = if is_made { Failure::Held } else { Failure::Unschedulable };
                    self.queue.failed(&place, failure, now);
                    let preemption = make_room(&mut self.cluster, &candidate, &self.budgets, &pod_at, &mut why);
                    let node = preemption.as_ref().map(|preemption| preemption.node.as_str());
                    let mut actions = preemption.as_ref().map_or(Vec::new(), |made| drive_out(made, &pod, &pod_at));
                    actions.extend(self.unschedulable(&pod, &why.to_string(), node));
                    if !actions.is_empty() {
                        return Some(Next::Report(actions));
                    }
                }
            }
        }
    }

    /// Tells why a pod fits nowhere, and says what to write to its status, if that does not say it already; with the node
    /// on which room is made for it, if that is so.
    fn unschedulable(&self, pod: &Pod, why: &str, node: Option<&str>) -> Vec<Action> {
        self.recorder.tell(Note {
            about: reference(pod),
            component: COMPONENT,
            severity: Severity::Warning,
            reason: "FailedScheduling",
            message: why.to_owned(),
        });
        let known = condition(pod, "PodScheduled");
        let says = |known: &PodCondition| known.status == "False" && known.message.as_deref() == Some(why);
        if node.is_none() && known.is_some_and(says) {
            return Vec::new();
        }
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now());
        let since = known
            .filter(|known| known.status == "False")
            .and_then(|known| known.last_transition_time.clone())
            .unwrap_or(now);
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("Unschedulable".to_owned()),
            message: Some(why.to_owned()),
            last_transition_time: Some(since),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        };
        let mut status = json!({ "conditions": with_condition(pod, condition) });
        if let Some(node) = node {
            status["nominatedNodeName"] = json!(node);
        }
        let patch = json!({ "metadata": as_seen(&pod.metadata), "status": status });
        vec![Action::Patch { target: Target::of(pod), subresource: Some("status"), patch, announce: None }]
    }

    /// What a binding's result means for the pod.
    pub(super) fn bound(&mut self, bound: &Bound, now: Instant) {
        let Bound { place, pod, node, begun, result } = bound;
        match result {
            Ok(_) => {
                self.figures.attempted(Attempt::Scheduled, begun.elapsed());
                if let Some(Waiting { since, attempts }) = self.waiting.get(place) {
                    self.figures.placed(*attempts, since.elapsed());
                }
                self.forget(place);
                let (space, pod_name) = (namespace(&pod.metadata), name(&pod.metadata));
                self.recorder.tell(Note {
                    about: reference(&**pod),
                    component: COMPONENT,
                    severity: Severity::Normal,
                    reason: "Scheduled",
                    message: format!("Successfully assigned {space}/{pod_name} to {node}"),
                });
            }
            Err(status) => {
                self.figures.attempted(Attempt::Error, begun.elapsed());
                tracing::debug!(pod = %pod.metadata.name.as_deref().unwrap_or_default(), %status, "not bound");
                if self.cluster.remove_pod(uid(&pod.metadata)) {
                    self.queue.cluster_changed();
                }
                if status.code == 404 {
                    self.forget(place);
                } else {
                    self.queue.failed(place, Failure::Error, now);
                }
            }
        }
    }

    /// The work of writing a binding.
    pub(super) fn bind(&self, to_bind: ToBind) -> impl Future<Output = Bound> + Send + 'static + use<> {
        let registry = self.registry.clone();
        async move {
            let ToBind { place, pod, node, begun } = to_bind;
            let mut binding = Binding::to(node.clone());
            binding.uid = pod.metadata.uid.clone().map(Uid);
            let options = WriteOptions::system("scheduler");
            let result = match registry.admit_binding(&place.0, &place.1, &mut binding, &options) {
                Ok(()) => registry.bind(&place.0, &place.1, &binding, &options).await,
                Err(refused) => Err(refused),
            };
            Bound { place, pod, node, begun, result }
        }
    }

    /// A binding's writer failed, and nobody knows what became of it.
    pub(super) fn lost(&mut self, to_bind: ToBind, now: Instant) {
        let ToBind { place, pod, node, begun } = to_bind;
        let result = Err(Status::internal("the binding was not finished"));
        self.bound(&Bound { place, pod, node, begun, result }, now);
    }

    /// What was to be written of a pod was not: those that wait are tried again.
    pub(super) fn not_written(&mut self) {
        self.queue.cluster_changed();
    }

    /// When a pod that waits can be tried again.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.queue.next_wake()
    }
}

fn pod_of(known: &Known) -> Option<&Pod> {
    match &known.whole {
        Whole::Pod(pod) => Some(pod),
        _ => None,
    }
}

/// Whether a pod on a node is another one to those that care where it is.
fn looks_other(before: Option<&Pod>, after: &Pod) -> bool {
    let look =
        |pod: &Pod| (pods::node(pod).map(str::to_owned), pod.metadata.labels.clone(), is_deleting(&pod.metadata));
    pods::node(after).is_some() && before.map(look) != Some(look(after))
}

/// Whether a pod wants a node from this scheduler.
fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|scheduler| scheduler.is_empty() || scheduler == COMPONENT);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && pods::node(pod).is_none() && !is_deleting(&pod.metadata) && !is_finished(pod)
}
