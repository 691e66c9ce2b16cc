//! Which looks a change of a pod calls for.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use pal_registry::budget_chooses;

use super::{Key, Wanted, now, window};
use crate::driver::cache::{Cache, Change, Place};
use crate::driver::known::{Known, Whole};
use crate::driver::positions::Positions;
use crate::job::is_orphan;
use crate::node::pod::is_worth_a_look;
use crate::object::controller;
use crate::pods::is_finished;
use crate::storage_protection::claims;
use crate::volume::ephemeral;

pub(super) fn pod(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let place = &change.address.1;
    let pod_of = |known: &Known| match &known.whole {
        Whole::Pod(pod) => Some(pod.clone()),
        _ => None,
    };
    let before = change.before.as_ref().and_then(pod_of);
    let after = change.after.as_ref().and_then(pod_of);
    for pod in [&before, &after].into_iter().flatten() {
        match controller(&pod.metadata) {
            Some(owner) => {
                let siblings = cache.dependents_count(&owner.uid);
                let key = owner_key(owner, &place.0);
                wanted.extend(key.map(|key| Wanted { key, within: window(siblings) }));
            }
            None => wanted.extend(owners_of_pods(cache, at, &place.0)),
        }
    }
    services(cache, at, place, [before.as_ref(), after.as_ref()], wanted);
    budgets(cache, at, place, [before.as_deref(), after.as_deref()], wanted);
    if let Some(before) = before.as_ref().filter(|_| after.as_ref().is_none_or(|after| is_finished(after))) {
        let key = |claim: String| now(Key::Claim((place.0.clone(), claim)));
        wanted.extend(claims(before).map(key));
    }
    if let Some(pod) = &after {
        if before.is_none() && ephemeral::volumes(pod).next().is_some() {
            wanted.push(now(Key::Ephemeral(place.clone())));
        }
        let node = crate::pods::node(pod)
            .and_then(|node| cache.get(&(at.nodes, (String::new(), node.to_owned()))))
            .and_then(|known| match &known.whole {
                Whole::Node(node) => Some(node.clone()),
                _ => None,
            });
        if is_worth_a_look(pod, node.as_deref()) || is_orphan(pod) {
            wanted.push(now(Key::Pod(place.clone())));
        }
    }
}

/// The look at a controller of pods, revisions or jobs.
pub(super) fn owner_key(owner: &OwnerReference, namespace: &str) -> Option<Key> {
    let key = match owner.kind.as_str() {
        "ReplicaSet" => Key::ReplicaSet,
        "ReplicationController" => Key::Controller,
        "DaemonSet" => Key::DaemonSet,
        "StatefulSet" => Key::StatefulSet,
        "Job" => Key::Job,
        "CronJob" => Key::CronJob,
        _ => return None,
    };
    Some(key((namespace.to_owned(), owner.name.clone())))
}

/// All that may want a pod of that namespace which nobody controls.
fn owners_of_pods(cache: &Cache, at: &Positions, namespace: &str) -> impl Iterator<Item = Wanted> {
    type MakeKey = fn(Place) -> Key;
    let kinds: [(usize, MakeKey); 5] = [
        (at.replica_sets, Key::ReplicaSet),
        (at.controllers, Key::Controller),
        (at.daemon_sets, Key::DaemonSet),
        (at.stateful_sets, Key::StatefulSet),
        (at.jobs, Key::Job),
    ];
    kinds
        .into_iter()
        .flat_map(move |(position, key)| cache.all(position, Some(namespace)).map(move |known| now(key(known.place()))))
}

/// The Services whose selectors choose pods on the node.
pub(super) fn services_on(cache: &Cache, at: &Positions, node: &str, wanted: &mut Vec<Wanted>) {
    for place in cache.pods_on(node) {
        if let Some(Whole::Pod(pod)) = cache.get(&(at.pods, place.clone())).map(|known| &known.whole) {
            services(cache, at, place, [None, Some(pod)], wanted);
        }
    }
}

/// The Services whose selectors choose the pod, or chose it.
fn services(cache: &Cache, at: &Positions, place: &Place, pods: [Option<&Arc<Pod>>; 2], wanted: &mut Vec<Wanted>) {
    if let [Some(before), Some(after)] = pods
        && endpoint_facts(before) == endpoint_facts(after)
    {
        return;
    }
    for known in cache.all(at.services, Some(&place.0)) {
        let Whole::Service(service) = &known.whole else { continue };
        if pods.iter().flatten().any(|pod| selects(service, pod)) {
            let slices = cache.owned(at.endpoint_slices, known.uid());
            let endpoints: usize = slices
                .filter_map(|known| match &known.whole {
                    Whole::EndpointSlice(slice) => slice.endpoints.as_ref().map(Vec::len),
                    _ => None,
                })
                .sum();
            let within = Duration::from_millis(10) + window(endpoints);
            wanted.push(Wanted { key: Key::Service(known.place()), within });
            // All addresses are in one object, and the network does not wait for it.
            wanted.push(Wanted { key: Key::Endpoints(known.place()), within: within * 2 });
        }
    }
}

/// The budgets that choose the pod, or chose it.
fn budgets(cache: &Cache, at: &Positions, place: &Place, pods: [Option<&Pod>; 2], wanted: &mut Vec<Wanted>) {
    let facts = |pod: &Pod| {
        let meta = &pod.metadata;
        let owner = controller(meta).map(|owner| owner.uid.clone());
        (meta.labels.clone(), meta.deletion_timestamp.is_some(), crate::pods::is_ready(pod), owner)
    };
    let all = cache.all(at.budgets, Some(&place.0));
    let chosen = all.filter(|known| match &known.whole {
        Whole::Budget(budget) => pods.into_iter().flatten().any(|pod| budget_chooses(budget, pod)),
        _ => false,
    });
    let mut chosen = chosen.peekable();
    if chosen.peek().is_none() || pods[0].map(facts) == pods[1].map(facts) {
        return;
    }
    // Others of its pods often change at the same time.
    wanted.extend(chosen.map(|known| Wanted { key: Key::Budget(known.place()), within: Duration::from_millis(10) }));
}

/// Whether a Service chooses a pod.
pub(in crate::driver) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let Some(selector) = selector.filter(|labels| !labels.is_empty()) else { return false };
    let Some(labels) = &pod.metadata.labels else { return false };
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// What of a pod shows in its endpoint.
fn endpoint_facts(pod: &Pod) -> impl PartialEq + use<'_> {
    let status = pod.status.as_ref();
    (
        pod.metadata.labels.as_ref(),
        pod.metadata.deletion_timestamp.is_some(),
        crate::pods::node(pod),
        status.and_then(|status| status.pod_ip.as_deref()),
        crate::pods::is_ready(pod),
        crate::pods::is_finished(pod),
    )
}
