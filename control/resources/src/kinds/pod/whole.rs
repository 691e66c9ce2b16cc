//! What a pod as a whole asks for and may use, beside what its containers do (KEP-2837).

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::resources::{self, Whose};
use crate::amounts::{Side, of_containers};
use crate::kinds::kind::Errors;
use crate::kinds::optional::items;
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

/// Whether a pod as a whole can have it.
pub(super) fn is_shared(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge(name)
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// A pod that is limited asks for what its containers ask for, and of what none of them asks for all that it may use.
pub(super) fn fill(spec: &mut PodSpec) {
    let limits = spec.resources.as_ref().and_then(|resources| resources.limits.clone());
    let Some(limits) = limits.filter(|limits| !limits.is_empty()) else { return };
    let asked = of_containers(spec, Side::Requests);
    let Some(resources) = &mut spec.resources else { return };
    let mut requests = resources.requests.clone().unwrap_or_default();
    for (name, amount) in asked.iter().filter(|(name, _)| is_shared(name) && !is_huge(name)) {
        requests.entry(name.clone()).or_insert_with(|| Text(amount.to_string()));
    }
    for (name, limit) in limits.iter().filter(|(name, _)| is_shared(name)) {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    resources.requests = Some(requests).filter(|requests| !requests.is_empty());
}

/// The pod's own amounts, and that they hold what its containers have.
pub(super) fn validate(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let Some(whole) = &spec.resources else { return };
    let path = path.child("resources");
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.push(FieldError::forbidden(&path, "may not be set for a windows pod"));
    }
    if !items(&whole.claims).is_empty() {
        let why = "claims may not be set for Resources at pod-level";
        errors.push(FieldError::forbidden(&path.child("claims"), why));
    }
    let without_claims = ResourceRequirements { claims: None, ..whole.clone() };
    resources::validate(&without_claims, &Whose::Pod, &path, errors);
    let beneath = |side: Side, only: fn(&str) -> bool, errors: &mut Errors| {
        let given = side.of(Some(whole));
        for (name, sum) in of_containers(spec, side).into_iter().filter(|(name, _)| only(name)) {
            let Some(text) = given.get(&name) else { continue };
            if Quantity::try_from(text).is_ok_and(|amount| amount < sum) {
                let field = side.field();
                let why = format!("must be greater than or equal to aggregate container {field} of {sum}");
                errors.push(FieldError::invalid(&path.child(field).key(&name), text.0.as_str(), &why));
            }
        }
    };
    beneath(Side::Requests, is_shared, errors);
    beneath(Side::Limits, is_huge, errors);
    let limits = Side::Limits.of(Some(whole));
    for (index, container) in spec.containers.iter().enumerate() {
        for (name, limit) in Side::Limits.of(container.resources.as_ref()) {
            let Some(most) = limits.get(name) else { continue };
            let (Ok(amount), Ok(limited)) = (Quantity::try_from(limit), Quantity::try_from(most)) else { continue };
            if amount > limited {
                // Below the pod's resources, as kube-apiserver names it.
                let path = path.child("containers").index(index).key(name).child("limits");
                let why = format!("must be less than or equal to pod limits of {}", most.0);
                errors.push(FieldError::invalid(&path, limit.0.as_str(), &why));
            }
        }
    }
}
