//! Looks at Services: their endpoints and their addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::cache::{Cache, Place};
use super::key::selects;
use super::known::{Known, Whole};
use super::look::{Looker, Moment, whole};
use crate::action::Plan;
use crate::node::cidr;
use crate::object::annotation;
use crate::{endpoints, endpointslice, pods, service_address, service_block};

/// The annotation by which a Service asks for other slices than of [`endpointslice::DEFAULT_PER_SLICE`] endpoints.
const PER_SLICE: &str = "palinurus.dev/max-endpoints-per-slice";

/// The label of a node that names its zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The zone that a node is in.
pub(super) fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(ZONE)
}

/// The pods that a Service chooses, and their nodes.
#[derive(Default)]
struct Chosen {
    pods: Vec<Arc<Pod>>,
    sites: BTreeMap<String, endpointslice::Site>,
}

impl Looker {
    pub(super) fn service(&self, cache: &Cache, place: &Place) -> Plan {
        let known = cache.get(&(self.at.services, place.clone()));
        let Some(service) = whole!(known, Service) else { return Plan::idle() };
        let Chosen { pods, sites } = self.chosen(cache, &place.0, &service);
        let slices = self.slices(cache, place, endpointslice::MANAGER);
        let per_slice = annotation(&service.metadata, PER_SLICE).and_then(|text| text.parse().ok());
        endpointslice::reconcile(&endpointslice::View {
            service: &service,
            pods: &pods,
            slices: &slices,
            per_slice: per_slice.unwrap_or(endpointslice::DEFAULT_PER_SLICE),
            sites: &sites,
        })
    }

    pub(super) fn endpoints(&self, cache: &Cache, place: &Place) -> Plan {
        let service = whole!(cache.get(&(self.at.services, place.clone())), Service);
        let known = whole!(cache.get(&(self.at.endpoints, place.clone())), Endpoints);
        let chosen = service.as_ref().map(|service| self.chosen(cache, &place.0, service)).unwrap_or_default();
        endpoints::reconcile(&endpoints::View {
            service: service.as_deref(),
            pods: &chosen.pods,
            endpoints: known.as_deref(),
            mirrored: &self.slices(cache, place, endpoints::MIRRORER),
            sites: &chosen.sites,
        })
    }

    pub(super) fn addresses(&self, cache: &Cache, place: &Place) -> Plan {
        let Some(service) = whole!(cache.get(&(self.at.services, place.clone())), Service) else { return Plan::idle() };
        service_address::provide(&service, |name| match &self.find_address(cache, name)?.whole {
            Whole::Address(address) => Some(address),
            _ => None,
        })
    }

    pub(super) fn address(&self, cache: &Cache, name: &str) -> Plan {
        let Some(address) = whole!(self.find_address(cache, name), Address) else { return Plan::idle() };
        service_address::withdraw(&address, |namespace, name| {
            match &cache.get(&(self.at.services, (namespace.to_owned(), name.to_owned())))?.whole {
                Whole::Service(service) => Some(service),
                _ => None,
            }
        })
    }

    pub(super) fn block(&self, cache: &Cache, name: &str, now: Moment) -> Plan {
        let known = cache.get(&(self.at.blocks, (String::new(), name.to_owned())));
        let (Some(known), Some(block)) = (known, whole!(known, Block)) else { return Plan::idle() };
        let others = cache.all(self.at.blocks, None).filter(|other| other.name() != name && !other.is_deleting());
        let others = others.filter_map(|other| whole!(Some(other), Block));
        let others: Vec<String> =
            others.flat_map(|other| service_block::cidrs(&other).map(str::to_owned).collect::<Vec<_>>()).collect();
        let addresses: Vec<IpAddr> = match known.is_deleting() {
            true => cache.all(self.at.addresses, None).filter_map(|address| address.name().parse().ok()).collect(),
            false => Vec::new(),
        };
        let item = cache.item(self.at.blocks, known);
        let view = service_block::View { item: &item, block: &block, others: &others, addresses: &addresses };
        service_block::reconcile(&view, now.wall)
    }

    fn find_address<'a>(&self, cache: &'a Cache, name: &str) -> Option<&'a Known> {
        cache.get(&(self.at.addresses, (String::new(), name.to_owned())))
    }

    /// The pods that a Service chooses.
    fn chosen(&self, cache: &Cache, namespace: &str, service: &Service) -> Chosen {
        let pods: Vec<Arc<Pod>> = cache
            .all(self.at.pods, Some(namespace))
            .filter_map(|known| whole!(Some(known), Pod))
            .filter(|pod| selects(service, pod))
            .collect();
        let mut sites = BTreeMap::new();
        for name in pods.iter().filter_map(|pod| pods::node(pod)) {
            if !sites.contains_key(name)
                && let Some(node) = self.find_node(cache, name)
            {
                let zone = zone(&node).cloned();
                let site = endpointslice::Site { block: cidr::cidr(&node).map(str::to_owned), zone };
                sites.insert(name.to_owned(), site);
            }
        }
        Chosen { pods, sites }
    }

    /// The slices of a Service that `manager` writes.
    fn slices(&self, cache: &Cache, service: &Place, manager: &str) -> Vec<Arc<EndpointSlice>> {
        let all = cache.all(self.at.endpoint_slices, Some(&service.0));
        all.filter_map(|known| whole!(Some(known), EndpointSlice))
            .filter(|slice| {
                let label = |key| slice.metadata.labels.as_ref().and_then(|labels| labels.get(key));
                label(endpointslice::SERVICE_NAME) == Some(&service.1)
                    && label(endpointslice::MANAGED_BY).map(String::as_str) == Some(manager)
            })
            .collect()
    }
}
