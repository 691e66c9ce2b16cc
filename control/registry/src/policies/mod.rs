//! Policies of admission: which of them a write falls under, with which parameters, and what comes of it. What their
//! expressions say is in `pal_custom::policy`.

mod bound;
mod seen;
mod told;
mod types;

use std::collections::BTreeMap;

use pal_custom::policy::{Change, Denial, Policy, Told, webhook_faults};
use pal_patch::apply::{Shape, merge_configuration};
use pal_resources::codec::{self, FieldValidation};
use pal_resources::{Resource, Status, kinds};
use serde_json::{Value, json};

use self::bound::{Failure, Invocation, Sort, failed, falls_under};
use self::seen::{case, name_of, own_form, seen};
use self::told::{denied, refused};
use crate::admission::Scene;
use crate::custom::{self, kind_of};
use crate::meta;
use crate::options::WriteOptions;
use crate::registry::Registry;

const GROUP: &str = "admissionregistration.k8s.io";
/// What the audit log is told of what was not valid.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

impl Registry {
    /// Changes an object as policies want it, before it is looked at by anybody else. What it was, if they changed it.
    pub(crate) fn mutate(
        &self,
        scene: &Scene<'_>,
        old: Option<&Value>,
        new: &mut Value,
        options: &WriteOptions,
    ) -> Result<Option<Value>, Status> {
        if !falls_under(scene, Sort::Mutating) {
            return Ok(None);
        }
        *new = shown(scene, std::mem::take(new));
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
        refused(scene, new, failures)?;
        Ok((before != *new).then_some(before))
    }

    /// What policies refuse of an object as it is to be stored, or to be deleted where `new` is null.
    pub(crate) fn judge(
        &self,
        scene: &Scene<'_>,
        old: Option<&Value>,
        new: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        if &*scene.resource.group == GROUP && scene.subresource.is_none() && !new.is_null() {
            check_expressions(scene.resource, new, old)?;
        }
        if !falls_under(scene, Sort::Validating) {
            return Ok(());
        }
        let (mut failures, mut refused, mut annotations) = (Vec::new(), None, BTreeMap::<String, Vec<String>>::new());
        let seen = seen(scene, old, new, options);
        // As kube-apiserver calls what a request does not name.
        let name = if options.nameless { "Unknown" } else { name_of(scene, old, new) };
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
            for told in consideration.annotations() {
                match told {
                    Ok(Told { key, value }) => {
                        let values = annotations.entry(format!("{}/{key}", invocation.name)).or_default();
                        if !values.contains(&value) {
                            values.push(value);
                        }
                    }
                    Err(why) => failures.extend(failed(&invocation, why)),
                }
            }
            let ignored = invocation.spec["failurePolicy"] == "Ignore";
            for denial in denials.into_iter().filter(|denial| !(denial.failed && ignored)) {
                if denies(&invocation, &denial, options) {
                    let binding = Some(meta::text(invocation.binding, "name"));
                    let reason = denial.reason.as_deref();
                    let status = || denied(scene, name, invocation.name, binding, &denial.message, reason);
                    refused.get_or_insert_with(status);
                }
            }
        }
        for (key, values) in annotations {
            options.annotate(key, values.join(", "));
        }
        match (refused, failures.into_iter().next()) {
            (Some(status), _) => Err(status),
            (None, Some(Failure { policy, binding, why, .. })) => {
                Err(denied(scene, name, &policy, binding.as_deref(), &why, None))
            }
            (None, None) => Ok(()),
        }
    }

    /// What policies make of, and refuse of, a connection to an object by one of its subresources; `asked` is what is
    /// asked for, as an object (`PodExecOptions`, ...).
    pub fn admit_connection(
        &self,
        resource: &Resource,
        subresource: &str,
        place: (Option<&str>, &str),
        asked: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let (namespace, name) = place;
        let snapshot = self.store().applied();
        let scene =
            Scene { snapshot: &snapshot, resource, subresource: Some(subresource), namespace, connects: Some(name) };
        self.mutate(&scene, None, asked, options)?;
        self.judge(&scene, None, asked, options)
    }

    /// The same of what is posted and not stored: a Binding, an Eviction, a TokenRequest, which are named like what they
    /// are for.
    pub fn admit_posted(
        &self,
        resource: &Resource,
        subresource: Option<&str>,
        namespace: &str,
        posted: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let snapshot = self.store().applied();
        let scene = Scene { snapshot: &snapshot, resource, subresource, namespace: Some(namespace), connects: None };
        scene.fill_posted(posted);
        self.mutate(&scene, None, posted, options)?;
        self.judge(&scene, None, posted, options)
    }
}

/// Does what the binding says of what is not valid; whether it is to be refused.
fn denies(invocation: &Invocation<'_>, denial: &Denial, options: &WriteOptions) -> bool {
    let (policy, binding) = (invocation.name, meta::text(invocation.binding, "name"));
    let actions = &invocation.binding["spec"]["validationActions"];
    let mut denies = false;
    for action in actions.as_array().into_iter().flatten() {
        match action.as_str() {
            Some("Deny") => denies = true,
            Some("Warn") => options.warn(format!(
                "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {}",
                denial.message
            )),
            Some("Audit") => {
                let failure = json!([{"message": denial.message, "policy": policy, "binding": binding,
                    "expressionIndex": denial.index, "validationActions": actions}]);
                options.annotate(FAILURE.to_owned(), failure.to_string());
            }
            _ => {}
        }
    }
    denies
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
                Ok(true) => match consideration.change(index) {
                    Ok(change) => change.map(|change| apply(scene, new, change)).transpose()?,
                    Err(why) => Some(Err(why)),
                },
                Ok(false) => return Ok(()),
                Err(why) => {
                    failures.extend(failed(invocation, why));
                    return Ok(());
                }
            }
        };
        match changed {
            Some(Ok(changed)) => *new = shown(scene, changed),
            None => {}
            Some(Err(why)) => failures.extend(failed(invocation, why)),
        }
    }
    Ok(())
}

/// The object with a change made to it, or why the policy fails. What a JSON patch makes unreadable is not the policy's failure but
/// the server's.
fn apply(scene: &Scene<'_>, object: &Value, change: Change) -> Result<Result<Value, String>, Status> {
    let (resource, form) = (scene.resource, own_form(scene, object));
    let read = |changed: Value| match form {
        Some(form) => codec::conform(changed, form, FieldValidation::Strict),
        None => custom::conform(changed, resource, FieldValidation::Strict),
    };
    let changed = match change {
        Change::Apply(mut config) => {
            config["apiVersion"] = object["apiVersion"].clone();
            config["kind"] = object["kind"].clone();
            let shape = match (form, kind_of(resource)) {
                (Some((group, version, kind)), _) => Shape::of_kind(group, version, kind),
                (None, Some(kind)) => Some(kind.shape()),
                (None, None) => Shape::of_kind(&resource.group, &resource.version, &resource.kind),
            };
            let merged = merge_configuration(object, &config, shape.unwrap_or(Shape::Deduced));
            let merged = merged.map_err(|why| format!("error applying patch: {why}"));
            return Ok(merged.and_then(|merged| read(merged).map(|read| read.value).map_err(|unfit| unfit.to_string())));
        }
        Change::Patch(patch) => match pal_patch::json_patch(object, &patch) {
            // A test that does not hold keeps the patch from being made.
            Err(pal_patch::PatchError::TestFailed(_)) => return Ok(Ok(object.clone())),
            Err(error) => return Ok(Err(format!("JSON Patch: {error}"))),
            Ok(patched) => patched,
        },
    };
    Ok(Ok(read(changed).map_err(|unfit| Status::internal(unfit.words))?.value))
}

/// The object with its defaults, as policies see it.
fn shown(scene: &Scene<'_>, mut object: Value) -> Value {
    let resource = scene.resource;
    if scene.connects.is_some() {
        return object;
    }
    if let Some((group, version, kind)) = own_form(scene, &object) {
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        (object["apiVersion"], object["kind"]) = (api_version.into(), kind.into());
        return object;
    }
    if kind_of(resource).is_some() {
        return object;
    }
    let mut filled = kinds::fill(resource, object);
    filled["apiVersion"] = resource.api_version().into();
    filled["kind"] = (*resource.kind).into();
    filled
}

/// The expressions of a policy, and of webhooks' conditions, must compile when they are written, unless they stood there before.
fn check_expressions(resource: &Resource, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let faults = if resource.plural.ends_with("admissionpolicies") {
        if old.is_some_and(|old| old["spec"] == new["spec"]) {
            return Ok(());
        }
        Policy::compile(new).faults().to_vec()
    } else if old.is_some_and(|old| conditions(old).eq(conditions(new))) {
        return Ok(());
    } else {
        webhook_faults(new)
    };
    if faults.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(resource, meta::text(new, "name"), &faults))
}

/// The conditions of each webhook of a configuration.
fn conditions(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration["webhooks"].as_array().into_iter().flatten().map(|webhook| &webhook["matchConditions"])
}
