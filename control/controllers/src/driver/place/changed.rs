//! What a change means for the pods that wait: those are tried again that it may help, and no others.

use std::time::Instant;

use k8s_openapi::api::core::v1::{Node, Pod};
use pal_scheduler::{Cluster, Neighbour, NodeChange, may_fit};

use super::{Placer, Refused, Waiting, is_waiting};
use crate::driver::cache::{Change, Place};
use crate::driver::claims::take_in;
use crate::driver::known::{Known, Whole};
use crate::object::{is_deleting, uid};
use crate::pods;

impl Placer {
    /// Takes in a change of what the scheduler looks at, and has those tried again that it may help.
    pub(in crate::driver) fn changed(&mut self, change: &Change) {
        let place = &change.address.1;
        match (&change.before, &change.after) {
            (_, Some(Known { whole: Whole::Node(node), .. })) => self.node_changed(&place.1, node),
            (Some(Known { whole: Whole::Node(_), .. }), None) => {
                self.cluster.remove_node(&place.1);
                self.disappoint(&place.1, i32::MAX);
                self.retry(|_, refused| refused.candidate.minds_others());
            }
            (before, Some(Known { whole: Whole::Pod(pod), .. })) => {
                self.pod_changed(place, before.as_ref().and_then(pod_of), pod);
            }
            (Some(Known { whole: Whole::Pod(pod), .. }), None) => self.pod_gone(place, pod),
            (_, Some(Known { whole: Whole::Namespace(namespace), .. })) => {
                self.cluster.set_namespace(namespace);
                self.retry(|_, refused| refused.candidate.minds_others());
            }
            (Some(Known { whole: Whole::Namespace(_), .. }), None) => self.cluster.remove_namespace(&place.1),
            (_, Some(Known { whole: Whole::Budget(budget), .. })) => {
                self.budgets.insert(place.clone(), budget.clone());
            }
            (Some(Known { whole: Whole::Budget(_), .. }), None) => {
                self.budgets.remove(place);
            }
            (_, Some(Known { whole: Whole::Claim(_) | Whole::Volume(_) | Whole::StorageClass(_), .. }))
            | (Some(Known { whole: Whole::Claim(_) | Whole::Volume(_) | Whole::StorageClass(_), .. }), None) => {
                self.claims_changed(change);
            }
            _ => {}
        }
    }

    fn node_changed(&mut self, name: &str, node: &Node) {
        let change = self.cluster.set_node(node);
        if change != NodeChange::None {
            self.retry(|cluster, refused| may_fit(cluster, &refused.candidate, name));
        }
        if change == NodeChange::Place {
            self.retry(|_, refused| refused.candidate.minds_others());
        }
    }

    fn claims_changed(&mut self, change: &Change) {
        if take_in(self.cluster.storage_mut(), change) {
            let Self { queue, claiming, .. } = self;
            let mut known = [&change.before, &change.after].into_iter().flatten();
            let is_claim = known.any(|known| matches!(known.whole, Whole::Claim(_)));
            let (namespace, name) = &change.address.1;
            queue.retry(|place| {
                let claims = claiming.get(place);
                claims.is_some_and(|claims| !is_claim || place.0 == *namespace && claims.contains(name))
            });
        }
    }

    fn pod_changed(&mut self, place: &Place, before: Option<&Pod>, pod: &Pod) {
        if is_waiting(pod) {
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            self.queue.add(place.clone(), priority);
            let begun = || Waiting { since: Instant::now(), attempts: 0 };
            self.waiting.entry(place.clone()).or_insert_with(begun);
            let wants = |pod: &Pod| (pod.metadata.labels.clone(), pod.spec.clone());
            if self.refused.get(place).is_some_and(|refused| wants(refused.candidate.pod()) != wants(pod)) {
                self.queue.retry(|other| other == place);
            }
        } else {
            self.forget(place);
        }
        let room = self.cluster.set_pod(pod);
        if room && let Some(node) = pods::node(pod) {
            self.retry_on(node);
        }
        if looks_other(before, pod) {
            self.retry_near([before, Some(pod)].into_iter().flatten());
        }
    }

    fn pod_gone(&mut self, place: &Place, pod: &Pod) {
        let kept = self.cluster.nominated_node(uid(&pod.metadata)).map(str::to_owned);
        self.forget(place);
        let room = self.cluster.remove_pod(uid(&pod.metadata));
        if let Some(node) = kept.as_deref().or_else(|| pods::node(pod).filter(|_| room)) {
            self.retry_on(node);
        }
        if pods::node(pod).is_some() {
            self.retry_near(std::iter::once(pod));
        }
    }

    /// Has those tried again for whom room was kept on a node, if their priority is lower than that: it no longer is.
    pub(super) fn disappoint(&mut self, node: &str, priority: i32) {
        let gone = self.cluster.forget_nominations(node, priority);
        if !gone.is_empty() {
            self.retry(|_, refused| gone.iter().any(|other| other == uid(&refused.candidate.pod().metadata)));
        }
    }

    /// Has those tried again for whom a node that something left may have room now.
    fn retry_on(&mut self, node: &str) {
        self.retry(|cluster, refused| refused.lacked_room && may_fit(cluster, &refused.candidate, node));
    }

    /// Has those tried again to whom it matters where one of these pods is.
    fn retry_near<'a>(&mut self, pods: impl Iterator<Item = &'a Pod>) {
        if self.refused.is_empty() {
            return;
        }
        let near: Vec<Neighbour> = pods.map(Neighbour::of).collect();
        self.retry(|cluster, refused| near.iter().any(|pod| pod.concerns(cluster, &refused.candidate)));
    }

    fn retry(&mut self, helps: impl Fn(&Cluster, &Refused) -> bool) {
        let Self { queue, refused, cluster, .. } = self;
        queue.retry(|place| {
            let refused = refused.get(place).filter(|refused| !refused.is_hindered);
            refused.is_some_and(|refused| helps(cluster, refused))
        });
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
