//! Endpoints that people write, as EndpointSlices: one for each subset's ports and family of addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use serde_json::{Value, json};

use super::{MIRRORER, MOST, TRIGGER_TIME};
use crate::action::{Action, Note, Plan, ResourceId, Severity, Target, reference};
use crate::endpointslice::{self, SERVICE_NAME};
use crate::object::{controlled_by, entries_patch, is_deleting, name, same_object};

/// By this label somebody says that no slices are wanted.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that are no Service's, but a lock of old clients.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The family of the addresses, and what tells sets of ports apart.
type Key = (&'static str, String);

#[derive(Default)]
struct Wanted {
    ports: Vec<EndpointPort>,
    endpoints: BTreeMap<String, Endpoint>,
}

/// Deletes all that is mirrored.
pub(super) fn delete(slices: &[Arc<EndpointSlice>], plan: &mut Plan) {
    slices.iter().filter(|slice| !is_deleting(&slice.metadata)).for_each(|slice| endpointslice::delete(slice, plan));
}

/// Brings the slices to what the Endpoints say.
pub(super) fn reconcile(endpoints: Option<&Endpoints>, slices: &[Arc<EndpointSlice>], plan: &mut Plan) {
    let says = |entries: &Option<BTreeMap<String, String>>, key: &str| entries.as_ref()?.get(key).cloned();
    let mirrored = endpoints.filter(|endpoints| {
        let meta = &endpoints.metadata;
        let skipped = says(&meta.labels, SKIP).as_deref() == Some("true");
        !is_deleting(meta) && !skipped && says(&meta.annotations, LEADER).is_none()
    });
    let Some(endpoints) = mirrored else { return delete(slices, plan) };
    let mut wanted = wanted(endpoints, plan);
    for slice in slices.iter().filter(|slice| !is_deleting(&slice.metadata)) {
        let family = if slice.address_type == "IPv6" { "IPv6" } else { "IPv4" };
        // Of slices that say the same the first stays.
        match wanted.remove(&(family, endpointslice::key(slice.ports.as_deref().unwrap_or_default()))) {
            Some(wanted) => write(endpoints, slice, wanted, plan),
            None => endpointslice::delete(slice, plan),
        }
    }
    plan.actions.extend(wanted.into_iter().map(|((family, _), wanted)| create(endpoints, family, wanted)));
    plan.actions.sort_by_key(|action| matches!(action, Action::Delete { .. }));
}

fn wanted(endpoints: &Endpoints, plan: &mut Plan) -> BTreeMap<Key, Wanted> {
    let mut all: BTreeMap<Key, Wanted> = BTreeMap::new();
    let mut left_out = 0;
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let key = endpointslice::key(&ports);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let waiting = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let mut addresses = ready.chain(waiting);
        for (address, ready) in addresses.by_ref().take(MOST) {
            // Only what is an address is stored.
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let family = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
            let group = all.entry((family, key.clone())).or_default();
            group.ports.clone_from(&ports);
            group.endpoints.insert(ip.to_string(), endpoint(address, ip, ready));
        }
        left_out += addresses.count();
    }
    if left_out > 0 {
        let message = format!(
            "A max of {MOST} addresses can be mirrored to EndpointSlices per Endpoints subset. {left_out} addresses were \
             skipped"
        );
        plan.push(Action::Tell(Note {
            about: reference(endpoints),
            component: "endpoint-slice-mirroring-controller",
            severity: Severity::Warning,
            reason: "TooManyAddressesToMirror",
            message,
        }));
    }
    all
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten();
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    };
    ports.map(port).collect()
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn labels(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name(&endpoints.metadata).to_owned());
    labels.insert(endpointslice::MANAGED_BY.to_owned(), MIRRORER.to_owned());
    labels
}

fn annotations(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| key != TRIGGER_TIME && key != LAST_APPLIED);
    annotations
}

fn write(endpoints: &Endpoints, slice: &EndpointSlice, wanted: Wanted, plan: &mut Plan) {
    let (labels, annotations) = (labels(endpoints), annotations(endpoints));
    let list: Vec<Endpoint> = wanted.endpoints.into_values().collect();
    let same = slice.endpoints.as_deref().unwrap_or_default() == list
        && slice.metadata.labels.as_ref() == Some(&labels)
        && slice.metadata.annotations.clone().unwrap_or_default() == annotations;
    if same {
        return;
    }
    let target = Target::of(slice);
    let mut metadata = same_object(&target);
    metadata["labels"] = entries_patch(slice.metadata.labels.as_ref(), &labels);
    metadata["annotations"] = entries_patch(slice.metadata.annotations.as_ref(), &annotations);
    let patch: Value = json!({ "metadata": metadata, "endpoints": list });
    plan.push(Action::Patch { target, subresource: None, patch, announce: None });
}

fn create(endpoints: &Endpoints, family: &str, wanted: Wanted) -> Action {
    let list: Vec<Endpoint> = wanted.endpoints.into_values().collect();
    Action::Create {
        resource: ResourceId::of::<EndpointSlice>(),
        namespace: endpoints.metadata.namespace.clone(),
        body: json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{}-", name(&endpoints.metadata)),
                "namespace": endpoints.metadata.namespace,
                "labels": labels(endpoints),
                "annotations": annotations(endpoints),
                "ownerReferences": [controlled_by::<Endpoints>(&endpoints.metadata)],
            },
            "addressType": family,
            "endpoints": list,
            "ports": wanted.ports,
        }),
        announce: None,
    }
}
