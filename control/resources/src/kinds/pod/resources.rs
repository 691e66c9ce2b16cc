//! What is wrong with what containers ask for and may use.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PodResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::whole;
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items};
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

const STANDARD_RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Whose amounts they are.
pub(super) enum Whose<'a> {
    /// A container's, which may name its pod's claims.
    Container(&'a [PodResourceClaim]),
    /// The pod's as a whole.
    Pod,
}

/// What is asked for and may be used.
pub(super) fn validate(resources: &ResourceRequirements, whose: &Whose<'_>, path: &FieldPath, errors: &mut Errors) {
    let empty = BTreeMap::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    validate_amounts(limits, whose, || path.child("limits"), errors);
    validate_amounts(requests, whose, || path.child("requests"), errors);
    for (name, request) in requests {
        validate_request(name, request, limits.get(name), path, errors);
    }
    let huge = |name: &String| name.starts_with("hugepages-");
    let named = || limits.keys().chain(requests.keys());
    if named().any(huge) && !named().any(|name| matches!(name.as_str(), "cpu" | "memory")) {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
    let Whose::Container(claims) = whose else { return };
    for (index, claim) in items(&resources.claims).iter().enumerate() {
        let path = path.child("claims").index(index);
        if claim.name.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if !claims.iter().any(|known| known.name == claim.name) {
            let known: BTreeSet<&str> = claims.iter().map(|known| known.name.as_str()).collect();
            let known: Vec<&str> = known.into_iter().collect();
            let known = if known.is_empty() { " which is empty".to_owned() } else { format!(": {}", known.join(", ")) };
            let why = format!("must be one of the names in pod.spec.resourceClaims{known}");
            errors.push(FieldError::not_found_because(&path, claim.name.as_str(), &why));
        }
    }
}

/// What a run-time class adds to each of its pods.
pub(in crate::kinds) fn validate_limits(limits: &BTreeMap<String, Text>, path: &FieldPath, errors: &mut Errors) {
    let resources = ResourceRequirements { limits: Some(limits.clone()), ..ResourceRequirements::default() };
    validate(&resources, &Whose::Container(&[]), path, errors);
}

/// More than the limit is never asked for; of what cannot be given out twice, exactly the limit.
fn validate_request(name: &str, request: &Text, limit: Option<&Text>, path: &FieldPath, errors: &mut Errors) {
    let whole = name.starts_with("hugepages-") || name.contains('/') && !name.contains("kubernetes.io/");
    let Some(limit) = limit else {
        if whole {
            let why = "Limit must be set for non overcommitable resources";
            errors.push(FieldError::required(&path.child("limits"), why));
        }
        return;
    };
    let (Ok(requested), Ok(limited)) = (Quantity::try_from(request), Quantity::try_from(limit)) else { return };
    let rule = if whole && requested != limited {
        "equal to"
    } else if requested > limited {
        "less than or equal to"
    } else {
        return;
    };
    let why = format!("must be {rule} {name} limit of {}", limit.0);
    errors.push(FieldError::invalid(&path.child("requests"), request.0.as_str(), &why));
}

fn validate_amounts(
    amounts: &BTreeMap<String, Text>,
    whose: &Whose<'_>,
    path: impl Fn() -> FieldPath,
    errors: &mut Errors,
) {
    for (name, amount) in amounts {
        match whose {
            Whose::Container(_) => validate_name(name, || path().key(name), errors),
            Whose::Pod if !whole::is_shared(name) => {
                let shared = ["cpu", "hugepages-", "memory"];
                errors.push(FieldError::not_supported(&path().key(name), name.as_str(), &shared));
            }
            Whose::Pod => {}
        }
        let fault = match Quantity::try_from(amount) {
            Ok(quantity) if quantity.is_negative() => "must be greater than or equal to 0".into(),
            Ok(quantity) if name.contains('/') && !quantity.is_whole() => "must be an integer".to_owned(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        errors.push(FieldError::invalid(&path().key(name), amount.0.as_str(), &fault));
    }
}

/// What containers can be given: what each node has, and what some have under names of their own.
fn validate_name(name: &str, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    if STANDARD_RESOURCES.contains(&name) || name.starts_with("hugepages-") {
        return;
    }
    faults(names::qualified_name(name), name, &path, errors);
    if !name.contains('/') {
        for why in ["must be a standard resource type or fully qualified", "must be a standard resource for containers"]
        {
            errors.push(FieldError::invalid(&path(), name, why));
        }
    }
}
