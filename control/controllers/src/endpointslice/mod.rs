//! EndpointSlices: which pods stand behind a Service, in pieces small enough that a change of one pod is a small write.

pub(crate) mod endpoint;
mod pack;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use serde_json::json;

use crate::action::{Action, Plan, ResourceId, Target};
use crate::object::{controlled_by, entries_patch, is_deleting, name, same_object};

pub use endpoint::Site;
use pack::{Edit, Existing};

/// The label that names a slice's Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that names who writes a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// This controller, in that label.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Endpoints in one slice unless another number is configured; a thousand is the API's limit.
pub const DEFAULT_PER_SLICE: usize = 100;

/// Everything that a Service's endpoints follow from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub service: &'a Service,
    /// The pods of its namespace that its selector chooses.
    pub pods: &'a [Arc<Pod>],
    /// The slices of the Service that this controller manages.
    pub slices: &'a [Arc<EndpointSlice>],
    pub per_slice: usize,
    /// The nodes of the pods, by their names.
    pub sites: &'a BTreeMap<String, Site>,
}

/// Pods that resolve the Service's ports to the same numbers, and the slices that have those ports.
#[derive(Default)]
struct Group<'a> {
    ports: Vec<EndpointPort>,
    endpoints: BTreeMap<String, Endpoint>,
    slices: Vec<&'a EndpointSlice>,
}

/// Writes the slices whose content changes, makes those that lack, deletes those that are empty.
pub fn reconcile(view: &View<'_>) -> Plan {
    let mut plan = Plan::idle();
    let service = view.service;
    if is_deleting(&service.metadata) {
        return plan;
    }
    let spec = service.spec.as_ref();
    let external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    let selects = spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|labels| !labels.is_empty());
    if external {
        view.slices.iter().for_each(|slice| delete(slice, &mut plan));
        return plan;
    }
    if !selects {
        // Somebody else writes the endpoints of such a Service.
        return plan;
    }
    let groups = groups(view, &mut plan);
    let per_slice = view.per_slice.clamp(1, 1000);
    if groups.is_empty() {
        keep_one(service, view, &mut plan);
    }
    for group in groups.into_values() {
        write_group(service, group, per_slice, &mut plan);
    }
    // What replaces a slice is there before the slice goes: a Service that only changes is never without endpoints.
    plan.actions.sort_by_key(|action| match action {
        Action::Create { .. } => 0,
        Action::Delete { .. } => 2,
        _ => 1,
    });
    plan
}

/// Sorts pods and slices by their ports; slices that can not be used any more are deleted.
fn groups<'a>(view: &View<'a>, plan: &mut Plan) -> BTreeMap<String, Group<'a>> {
    let mut by_numbers: HashMap<Vec<Option<i32>>, BTreeMap<String, Endpoint>> = HashMap::new();
    for pod in view.pods {
        let Some(endpoint) = endpoint::of(view.service, pod, view.sites) else { continue };
        let numbers = endpoint::numbers(view.service, pod);
        by_numbers.entry(numbers).or_default().insert(identity(&endpoint), endpoint);
    }
    let mut groups: BTreeMap<String, Group<'a>> = BTreeMap::new();
    for (numbers, endpoints) in by_numbers {
        let ports = endpoint::ports(view.service, &numbers);
        let group = groups.entry(key(&ports)).or_default();
        group.ports = ports;
        group.endpoints.extend(endpoints);
    }
    for slice in view.slices.iter().filter(|slice| !is_deleting(&slice.metadata)) {
        let ports = slice.ports.clone().unwrap_or_default();
        let none = groups.is_empty();
        match groups.get_mut(&key(&ports)) {
            Some(group) if slice.address_type == "IPv4" => group.slices.push(slice),
            // The last slice stays, empty, so that clients see that the Service has no endpoints.
            _ if none && slice.address_type == "IPv4" => {}
            _ => delete(slice, plan),
        }
    }
    groups
}

fn write_group(service: &Service, group: Group<'_>, per_slice: usize, plan: &mut Plan) {
    let existing: Vec<Existing<'_>> = group
        .slices
        .iter()
        .map(|slice| Existing {
            endpoints: slice.endpoints.as_deref().unwrap_or_default(),
            stale_labels: labels_differ(service, slice),
        })
        .collect();
    for edit in pack::pack(&existing, group.endpoints, per_slice) {
        match edit {
            Edit::Write { slice, endpoints } => {
                let slice = group.slices[slice];
                let target = Target::of(slice);
                let mut metadata = same_object(&target);
                metadata["labels"] = entries_patch(slice.metadata.labels.as_ref(), &labels(service));
                plan.push(Action::Patch {
                    target,
                    subresource: None,
                    patch: json!({ "metadata": metadata, "endpoints": endpoints }),
                    announce: None,
                });
            }
            Edit::Create { endpoints } => plan.push(create(service, &group.ports, &endpoints)),
            Edit::Delete { slice } => delete(group.slices[slice], plan),
        }
    }
}

/// A Service without endpoints has one empty slice.
fn keep_one(service: &Service, view: &View<'_>, plan: &mut Plan) {
    let mut usable = view.slices.iter().filter(|slice| !is_deleting(&slice.metadata) && slice.address_type == "IPv4");
    let Some(kept) = usable.next() else {
        plan.push(create(service, &[], &[]));
        return;
    };
    if kept.endpoints.as_ref().is_some_and(|endpoints| !endpoints.is_empty()) {
        let target = Target::of(&**kept);
        plan.push(Action::Patch {
            patch: json!({ "metadata": same_object(&target), "endpoints": [] }),
            target,
            subresource: None,
            announce: None,
        });
    }
    usable.for_each(|slice| delete(slice, plan));
}

fn create(service: &Service, ports: &[EndpointPort], endpoints: &[Endpoint]) -> Action {
    Action::Create {
        resource: ResourceId::of::<EndpointSlice>(),
        namespace: service.metadata.namespace.clone(),
        body: json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{}-", name(&service.metadata)),
                "namespace": service.metadata.namespace,
                "labels": labels(service),
                "ownerReferences": [controlled_by::<Service>(&service.metadata)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        }),
        announce: None,
    }
}

pub(crate) fn delete(slice: &EndpointSlice, plan: &mut Plan) {
    plan.push(Action::Delete { target: Target::of(slice), grace_seconds: None, propagation: None, announce: None });
}

/// The Service's own labels, and those by which its slices are found.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let headless = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
    if headless {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

fn labels_differ(service: &Service, slice: &EndpointSlice) -> bool {
    slice.metadata.labels.as_ref() != Some(&labels(service))
}

/// What tells two sets of ports apart; order and absent defaults do not.
pub(crate) fn key(ports: &[EndpointPort]) -> String {
    let mut parts: Vec<String> = ports
        .iter()
        .map(|port| {
            format!(
                "{}/{}/{}/{}",
                port.name.as_deref().unwrap_or_default(),
                port.protocol.as_deref().unwrap_or("TCP"),
                port.port.unwrap_or(0),
                port.app_protocol.as_deref().unwrap_or_default()
            )
        })
        .collect();
    parts.sort();
    parts.join(",")
}

/// What tells two endpoints apart.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    uid.unwrap_or_else(|| endpoint.addresses.join(","))
}
