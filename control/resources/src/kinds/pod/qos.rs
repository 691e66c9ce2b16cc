//! The class of service that a pod's requests and limits amount to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::kinds::optional::items;
use crate::quantity::Quantity;

type Amounts = Option<BTreeMap<String, Text>>;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(in crate::kinds) fn qos_class(spec: &PodSpec) -> &'static str {
    let mut any = false;
    let mut all_equal = true;
    let containers = spec.containers.iter().chain(items(&spec.init_containers)).map(|container| &container.resources);
    // What the pod as a whole asks for comes before what its containers do (KEP-2837).
    let whole = spec.resources.is_some().then_some(&spec.resources);
    for resources in whole.into_iter().chain(containers.filter(|_| whole.is_none())) {
        let (requests, limits) = match resources {
            Some(resources) => (&resources.requests, &resources.limits),
            None => (&None, &None),
        };
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(requests, name), amount(limits, name));
            any |= request.is_some() || limit.is_some();
            all_equal &= limit.is_some() && request.unwrap_or_default() == limit.unwrap_or_default();
        }
    }
    match (any, all_equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// An amount that is there and more than nothing.
fn amount(amounts: &Amounts, name: &str) -> Option<Quantity> {
    let text = amounts.as_ref()?.get(name)?;
    Quantity::try_from(text).ok().filter(|quantity| !quantity.is_zero())
}
