//! Policies of admission: which of them a write falls under, with which parameters, and what comes of it. What their
//! expressions say is in `pal_custom::policy`.

mod bound;
mod seen;
mod told;

use pal_custom::policy::{Change, Policy};
use pal_patch::apply::{Shape, merge_configuration};
use pal_resources::codec::FieldValidation;
use pal_resources::{Resource, Status, kinds};
use serde_json::Value;

use self::bound::{Failure, Invocation, Sort, failed, falls_under};
use self::seen::{case, seen};
use self::told::{denied, refused};
use crate::admission::Scene;
use crate::custom::{self, kind_of};
use crate::meta;
use crate::options::WriteOptions;
use crate::registry::Registry;

const GROUP: &str = "admissionregistration.k8s.io";

impl Registry {
    /// Changes an object as policies want it, before it is looked at by anybody else.
    pub(crate) fn mutate(
        &self,
        scene: &Scene<'_>,
        old: Option<&Value>,
        new: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        if !falls_under(scene, Sort::Mutating) {
            return Ok(());
        }
        *new = kinds_fill(scene.resource, std::mem::take(new));
        let before = new.clone();
        let mut failures = Vec::new();
        let mut again = Vec::new();
        let invocations = self.invocations(scene, Sort::Mutating, old, new, options, &mut failures);
        for (at, invocation) in invocations.iter().enumerate() {
            let unchanged = new.clone();
            invoke(scene, invocation, old, new, options, &mut failures)?;
            if unchanged != *new {
                // Who was asked before sees what changed since.
                again = (0..at).filter(|at| is_asked_again(&invocations[*at])).collect();
            }
        }
        if before != *new && old.is_none() && scene.subresource.is_none() {
            scene.fill(new)?;
        }
        for at in again {
            invoke(scene, &invocations[at], old, new, options, &mut failures)?;
        }
        refused(scene, new, failures)
    }

    /// What policies refuse of an object as it is to be stored.
    pub(crate) fn judge(
        &self,
        scene: &Scene<'_>,
        old: Option<&Value>,
        new: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        if &*scene.resource.group == GROUP && scene.subresource.is_none() {
            check_expressions(scene.resource, new, old)?;
        }
        if !falls_under(scene, Sort::Validating) {
            return Ok(());
        }
        let mut failures = Vec::new();
        let seen = seen(scene, old, new, options);
        for invocation in self.invocations(scene, Sort::Validating, old, new, options, &mut failures) {
            let case = case(&seen, old, new, &invocation.params);
            let mut consideration = invocation.compiled.consider(&case);
            let denials = match consideration.applies() {
                Ok(true) => consideration.denials(),
                Ok(false) => continue,
                Err(why) => {
                    failures.extend(failed(&invocation, why));
                    continue;
                }
            };
            let ignored = invocation.spec["failurePolicy"] == "Ignore";
            for denial in denials.into_iter().filter(|denial| !(denial.failed && ignored)) {
                let binding = meta::text(invocation.binding, "name");
                for action in invocation.binding["spec"]["validationActions"].as_array().into_iter().flatten() {
                    match action.as_str() {
                        Some("Deny") => {
                            return Err(denied(
                                scene,
                                new,
                                invocation.name,
                                Some(binding),
                                &denial.message,
                                denial.reason.as_deref(),
                            ));
                        }
                        Some("Warn") => options.warn(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{binding}': {}",
                            invocation.name, denial.message
                        )),
                        _ => {}
                    }
                }
            }
        }
        match failures.into_iter().next() {
            None => Ok(()),
            Some(Failure { policy, binding, why, .. }) => {
                Err(denied(scene, new, &policy, binding.as_deref(), &why, None))
            }
        }
    }
}

fn is_asked_again(invocation: &Invocation<'_>) -> bool {
    invocation.spec["reinvocationPolicy"] == "IfNeeded"
}

/// Makes the mutations of one policy, in their order.
fn invoke(
    scene: &Scene<'_>,
    invocation: &Invocation<'_>,
    old: Option<&Value>,
    new: &mut Value,
    options: &WriteOptions,
    failures: &mut Vec<Failure>,
) -> Result<(), Status> {
    for index in 0..invocation.compiled.mutations() {
        let changed = {
            let seen = seen(scene, old, new, options);
            let case = case(&seen, old, new, &invocation.params);
            let mut consideration = invocation.compiled.consider(&case);
            // Conditions are looked at once, before the first mutation.
            match if index == 0 { consideration.applies() } else { Ok(true) } {
                Ok(true) => consideration.change(index).and_then(|change| match change {
                    Some(change) => apply(scene.resource, new, change).map(Some),
                    None => Ok(None),
                }),
                Ok(false) => return Ok(()),
                Err(why) => {
                    failures.extend(failed(invocation, why));
                    return Ok(());
                }
            }
        };
        match changed {
            Ok(Some(changed)) => *new = kinds_fill(scene.resource, changed),
            Ok(None) => {}
            Err(why) => failures.extend(failed(invocation, why)),
        }
    }
    Ok(())
}

/// The object with a change made to it.
fn apply(resource: &Resource, object: &Value, change: Change) -> Result<Value, String> {
    match change {
        Change::Apply(mut config) => {
            config["apiVersion"] = resource.api_version().into();
            config["kind"] = (*resource.kind).into();
            let shape = match kind_of(resource) {
                Some(kind) => Some(kind.shape()),
                None => Shape::of_kind(&resource.group, &resource.version, &resource.kind),
            };
            let merged = merge_configuration(object, &config, shape.unwrap_or(Shape::Deduced))
                .map_err(|why| format!("error applying patch: {why}"))?;
            let read = custom::conform(merged, resource, FieldValidation::Strict);
            read.map(|read| read.value).map_err(|status| status.message)
        }
        Change::Patch(patch) => match pal_patch::json_patch(object, &patch) {
            // A test that does not hold keeps the patch from being made.
            Err(pal_patch::PatchError::TestFailed(_)) => Ok(object.clone()),
            Err(error) => Err(format!("JSON Patch: {}", error.status().message)),
            Ok(patched) => {
                let read = custom::conform(patched, resource, FieldValidation::Strict);
                read.map(|read| read.value).map_err(|status| status.message)
            }
        },
    }
}

/// The object with its defaults, as policies see it.
fn kinds_fill(resource: &Resource, object: Value) -> Value {
    if kind_of(resource).is_some() {
        return object;
    }
    let mut filled = kinds::fill(resource, object);
    filled["apiVersion"] = resource.api_version().into();
    filled["kind"] = (*resource.kind).into();
    filled
}

/// The expressions of a policy must compile when it is written, unless they stood there before.
fn check_expressions(resource: &Resource, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if !resource.plural.ends_with("admissionpolicies") || old.is_some_and(|old| old["spec"] == new["spec"]) {
        return Ok(());
    }
    let policy = Policy::compile(new);
    match policy.faults() {
        [] => Ok(()),
        faults => Err(Status::invalid(resource, meta::text(new, "name"), faults)),
    }
}
