//! Endpoints: which pods stand behind a Service, in the one object that older clients read; and what people write there by
//! hand, mirrored into EndpointSlices, which is what the network follows.

mod mirror;
mod subsets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::action::{Action, Plan, ResourceId, Target};
use crate::endpointslice::{HEADLESS, Site};
use crate::object::{created, entries_patch, is_deleting, name, same_object};
use crate::pods::condition;

use subsets::Member;

/// The label that names who writes an Endpoints object.
pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// This controller, in that label.
pub const MANAGER: &str = "endpoint-controller";
/// The mirroring one, in the label of slices.
pub const MIRRORER: &str = "endpointslicemirroring-controller.k8s.io";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses in one object, and in what is mirrored of one subset, at most.
const MOST: usize = 1000;

/// Everything that the Endpoints of one name follow from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub service: Option<&'a Service>,
    /// The pods of its namespace that its selector chooses.
    pub pods: &'a [Arc<Pod>],
    pub endpoints: Option<&'a Endpoints>,
    /// The slices of that name that mirror Endpoints.
    pub mirrored: &'a [Arc<EndpointSlice>],
    /// The nodes of the pods, by their names.
    pub sites: &'a BTreeMap<String, Site>,
}

/// Writes the Endpoints of a Service that has a selector; mirrors those of one that has none.
pub fn reconcile(view: &View<'_>) -> Plan {
    let mut plan = Plan::idle();
    let Some(service) = view.service else {
        mirror::delete(view.mirrored, &mut plan);
        plan.actions.extend(view.endpoints.filter(|known| is_left(known, view)).map(delete));
        return plan;
    };
    if is_deleting(&service.metadata) {
        return plan;
    }
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.selector.as_ref()).is_none_or(BTreeMap::is_empty) {
        mirror::reconcile(view.endpoints, view.mirrored, &mut plan);
        return plan;
    }
    mirror::delete(view.mirrored, &mut plan);
    if spec.and_then(|spec| spec.type_.as_deref()) != Some("ExternalName") {
        write(service, view, &mut plan);
    }
    plan
}

/// Whether a Service is gone and left its Endpoints. What was mirrored had a Service; what never had one stays.
fn is_left(endpoints: &Endpoints, view: &View<'_>) -> bool {
    let managed = endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    !is_deleting(&endpoints.metadata) && (managed.is_some_and(|by| by == MANAGER) || !view.mirrored.is_empty())
}

fn write(service: &Service, view: &View<'_>, plan: &mut Plan) {
    let members: Vec<Member<'_>> = view.pods.iter().filter_map(|pod| Member::of(service, pod, view.sites)).collect();
    let mut wanted = subsets::pack(&members);
    let over = subsets::truncate(&mut wanted, MOST);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let trigger = trigger(service, &members, view.endpoints);
    let annotations = json!({ TRIGGER_TIME: trigger, OVER_CAPACITY: over.then_some("truncated") });
    let Some(known) = view.endpoints else {
        plan.push(create(service, &labels, annotations, &json!(wanted)));
        return;
    };
    let is_marked = known.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(OVER_CAPACITY));
    let same = known.subsets.as_deref().unwrap_or_default() == wanted
        && known.metadata.labels.as_ref() == Some(&labels)
        && is_marked == over;
    if same || is_deleting(&known.metadata) {
        return;
    }
    let target = Target::of(known);
    let mut metadata = same_object(&target);
    metadata["labels"] = entries_patch(known.metadata.labels.as_ref(), &labels);
    metadata["annotations"] = annotations;
    let patch = json!({ "metadata": metadata, "subsets": wanted });
    plan.push(Action::Patch { target, subresource: None, patch, announce: None });
}

fn create(service: &Service, labels: &BTreeMap<String, String>, mut annotations: Value, subsets: &Value) -> Action {
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|_, value| !value.is_null());
    }
    Action::Create {
        resource: ResourceId::of::<Endpoints>(),
        namespace: service.metadata.namespace.clone(),
        body: json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": name(&service.metadata),
                "namespace": service.metadata.namespace,
                "labels": labels,
                "annotations": annotations,
            },
            "subsets": subsets,
        }),
        announce: None,
    }
}

fn delete(endpoints: &Endpoints) -> Action {
    Action::Delete { target: Target::of(endpoints), grace_seconds: None, propagation: None, announce: None }
}

/// When the first of the changes happened that the object does not show yet: from that the delay is measured until it
/// does. `None` when no pod and no new Service tells a time.
fn trigger(service: &Service, members: &[Member<'_>], known: Option<&Endpoints>) -> Option<Timestamp> {
    let shown: Vec<(&str, bool)> = known
        .iter()
        .flat_map(|known| known.subsets.iter().flatten())
        .flat_map(|subset| {
            let ready = subset.addresses.iter().flatten().map(|address| (address, true));
            ready.chain(subset.not_ready_addresses.iter().flatten().map(|address| (address, false)))
        })
        .filter_map(|(address, ready)| Some((address.target_ref.as_ref()?.uid.as_deref()?, ready)))
        .collect();
    let shown: BTreeMap<&str, bool> = shown.into_iter().collect();
    let changed = members.iter().filter(|member| shown.get(member.uid) != Some(&member.ready));
    let times = changed.filter_map(|member| Some(condition(member.pod, "Ready")?.last_transition_time.as_ref()?.0));
    times.chain(known.is_none().then(|| created(&service.metadata))).min()
}
