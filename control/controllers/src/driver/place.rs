//! Runs the scheduler: feeds it what changes, binds what it places, tells of what it can not place.

mod changed;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use pal_registry::{Binding, Object, Registry, WriteOptions};
use pal_resources::{Status, Uid};
use pal_scheduler::volumes::Hindrance;
use pal_scheduler::{Candidate, Cluster, Failure, Queue, QueueLengths, Refusal, Remedy, Unschedulable, schedule};
use serde_json::json;

use super::cache::Place;
use super::claims::prepare;
use super::preempt::{Budgets, drive_out, make_room};
use super::recorder::Recorder;
use crate::action::{Action, Note, Severity, Target, reference};
use crate::figures::{Attempt, Figures, Pending};
use crate::object::{as_seen, is_deleting, name, namespace, uid};
use crate::pods::{self, condition, is_finished, with_condition};

pub(super) const COMPONENT: &str = "default-scheduler";
/// How long what a pod's claims lack is not told.
const PATIENCE: Duration = Duration::from_secs(1);

/// The scheduler and the pods that it holds.
pub(super) struct Placer {
    cluster: Cluster,
    queue: Queue<Place>,
    /// Pods that fitted nowhere, by which is seen whether a change may help them.
    refused: HashMap<Place, Refused>,
    /// Pods that wait and use claims, with the names of these: they may go on when one of those changes.
    claiming: HashMap<Place, Vec<String>>,
    /// Those of them that have a node already, where their room is kept while their claims get volumes.
    held: HashSet<Place>,
    budgets: Budgets,
    /// When each pod that waits began to, and how often it was tried.
    waiting: HashMap<Place, Waiting>,
    figures: Arc<Figures>,
    registry: Registry,
    recorder: Recorder,
}

/// A pod that fitted nowhere when it was tried last.
struct Refused {
    candidate: Candidate,
    /// Its claims kept it from all nodes, and no change of nodes or pods helps.
    is_hindered: bool,
    /// Some node might have taken it with fewer pods.
    lacked_room: bool,
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

/// Where room is made for a pod that fits nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room<'a> {
    On(&'a str),
    /// Where it was made before: others are on their way out there.
    AsBefore,
    Nowhere,
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
            refused: HashMap::new(),
            claiming: HashMap::new(),
            held: HashSet::new(),
            budgets: Budgets::default(),
            waiting: HashMap::new(),
            figures,
            registry,
            recorder,
        }
    }

    /// The pod wants no node any more.
    fn forget(&mut self, place: &Place) {
        self.queue.remove(place);
        self.refused.remove(place);
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
            let claims: Vec<String> = candidate.claims().map(str::to_owned).collect();
            if !claims.is_empty() {
                self.claiming.insert(place.clone(), claims);
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
                Err(why) => {
                    self.figures.attempted(Attempt::Unschedulable, begun.elapsed());
                    let actions = self.refuse(&place, candidate, why, now, &pod_at);
                    if !actions.is_empty() {
                        return Some(Next::Report(actions));
                    }
                }
            }
        }
    }

    /// A pod fits nowhere: what is to be written of that, and who is to go for it.
    fn refuse(
        &mut self,
        place: &Place,
        candidate: Candidate,
        mut why: Unschedulable,
        now: Instant,
        pod_at: impl Fn(&Place) -> Option<Arc<Pod>>,
    ) -> Vec<Action> {
        let is_hindered = why.hindrance.is_some();
        let lacked_room = why.reasons.keys().any(Refusal::is_about_room);
        let waited = self.waiting.get(place).map_or(Duration::MAX, |waiting| waiting.since.elapsed());
        // Claims are told apart from pods, and may be on their way here, or be made in a moment.
        let is_early = is_hindered && waited < PATIENCE;
        let is_made = matches!(why.hindrance, Some(Hindrance::NotMade(_)));
        let failure = if is_early || is_made { Failure::Held } else { Failure::Unschedulable };
        self.queue.failed(place, failure, now);
        let preemption = make_room(&mut self.cluster, &candidate, &self.budgets, &pod_at, &mut why);
        let pod = candidate.pod().clone();
        if let Some(preemption) = &preemption {
            self.disappoint(&preemption.node, candidate.priority());
        }
        self.refused.insert(place.clone(), Refused { candidate, is_hindered, lacked_room });
        if is_early {
            return Vec::new();
        }
        let room = match (&preemption, why.remedy) {
            (Some(preemption), _) => Room::On(&preemption.node),
            (None, Remedy::Awaited) => Room::AsBefore,
            (None, _) => Room::Nowhere,
        };
        if room == Room::Nowhere {
            self.cluster.forget_nomination(uid(&pod.metadata));
        }
        let mut actions = preemption.as_ref().map_or(Vec::new(), |made| drive_out(made, &pod, &pod_at));
        actions.extend(self.unschedulable(&pod, &why.to_string(), room));
        actions
    }

    /// Tells why a pod fits nowhere, and says what to write to its status, if that does not say it already; with where
    /// room is made for it.
    fn unschedulable(&self, pod: &Pod, why: &str, room: Room<'_>) -> Vec<Action> {
        self.recorder.tell(Note {
            about: reference(pod),
            component: COMPONENT,
            severity: Severity::Warning,
            reason: "FailedScheduling",
            message: why.to_owned(),
        });
        let known = condition(pod, "PodScheduled");
        let says = |known: &PodCondition| known.status == "False" && known.message.as_deref() == Some(why);
        let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        let nominated = nominated.filter(|node| !node.is_empty());
        let room = match room {
            Room::On(node) => Some(json!(node)),
            Room::Nowhere if nominated.is_some() => Some(json!(null)),
            Room::Nowhere | Room::AsBefore => None,
        };
        if room.is_none() && known.is_some_and(says) {
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
        if let Some(room) = room {
            status["nominatedNodeName"] = room;
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

/// Whether a pod wants a node from this scheduler.
fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|scheduler| scheduler.is_empty() || scheduler == COMPONENT);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && pods::node(pod).is_none() && !is_deleting(&pod.metadata) && !is_finished(pod)
}
