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
    for container in spec.containers.iter().chain(items(&spec.init_containers)) {
        let (requests, limits) = match &container.resources {
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
