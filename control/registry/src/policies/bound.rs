//! Which policies a write falls under, by which bindings and with which parameters.

use std::sync::Arc;

use pal_custom::policy::{Attributes, Policy, matches};
use pal_resources::selector::LabelSelector;
use pal_resources::{Resource, resource};
use pal_store::Entry;
use serde_json::Value;

use super::GROUP;
use super::seen::{Seen, namespace_labels, seen};
use crate::admission::{Scene, labels, value};
use crate::custom::{self, kind_of};
use crate::object::index_of;
use crate::options::WriteOptions;
use crate::registry::Registry;
use crate::{key, meta};

/// The kinds of policies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Mutating,
    Validating,
}

impl Sort {
    fn policies(self) -> &'static str {
        match self {
            Self::Mutating => "mutatingadmissionpolicies",
            Self::Validating => "validatingadmissionpolicies",
        }
    }

    fn bindings(self) -> &'static str {
        match self {
            Self::Mutating => "mutatingadmissionpolicybindings",
            Self::Validating => "validatingadmissionpolicybindings",
        }
    }
}

/// A policy that a write falls under, by one of its bindings.
pub(super) struct Invocation<'a> {
    pub(super) name: &'a str,
    pub(super) spec: &'a Value,
    pub(super) compiled: Arc<Policy>,
    pub(super) binding: &'a Value,
    pub(super) params: Value,
}

/// What could not be found out or evaluated, of a policy that says whether that refuses the write.
pub(super) struct Failure {
    pub(super) policy: String,
    pub(super) binding: Option<String>,
    pub(super) why: String,
    /// Of an evaluation; else the policy or binding itself cannot be used.
    pub(super) evaluated: bool,
}

impl Registry {
    /// The policies that a write falls under, in the order of their names and of their bindings'.
    pub(super) fn invocations<'a>(
        &self,
        scene: &Scene<'a>,
        sort: Sort,
        old: Option<&Value>,
        new: &Value,
        options: &WriteOptions,
        failures: &mut Vec<Failure>,
    ) -> Vec<Invocation<'a>> {
        let objects = [old, Some(new)].into_iter().flatten().filter(|object| !object.is_null());
        let own = objects.map(labels).collect::<Vec<_>>();
        let of_namespace = namespace_labels(scene, old, new);
        let alike = equivalents(scene.resource);
        let Seen { attributes, request, .. } = seen(scene, old, new, options);
        let attributes =
            Attributes { equivalents: &alike, labels: &own, namespace_labels: of_namespace.as_ref(), ..attributes };
        let mut found = Vec::new();
        let bindings = entries(scene, sort.bindings());
        for entry in entries(scene, sort.policies()) {
            let (Some(policy), index) = (value(entry), index_of(entry)) else { continue };
            let (name, spec) = (&*index.name, &policy["spec"]);
            let fail = |binding: Option<&Value>, why: String| {
                let what = if binding.is_some() { "binding" } else { "policy" };
                let binding = binding.map(|binding| meta::text(binding, "name").to_owned());
                let why = format!("failed to configure {what}: {why}");
                (spec["failurePolicy"] != "Ignore").then(|| Failure {
                    policy: name.to_owned(),
                    binding,
                    why,
                    evaluated: false,
                })
            };
            let bound = bindings.iter().filter_map(|entry| value(entry)).filter(|it| it["spec"]["policyName"] == *name);
            let mut bound = bound.peekable();
            if bound.peek().is_none() {
                continue;
            }
            match matches(&spec["matchConstraints"], &attributes) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(why) => {
                    failures.extend(fail(None, why));
                    continue;
                }
            }
            let kind = match self.param_kind(spec) {
                Ok(kind) => kind,
                Err(why) => {
                    failures.extend(fail(None, why));
                    continue;
                }
            };
            let compiled = index.policy(entry.value());
            if let Some(fault) = compiled.faults().first() {
                failures.extend(fail(None, fault.to_string()));
                continue;
            }
            for binding in bound {
                let params = matches(&binding["spec"]["matchResources"], &attributes).and_then(|about| {
                    if about {
                        params(scene, kind.as_deref(), binding, request["namespace"].as_str())
                    } else {
                        Ok(Vec::new())
                    }
                });
                match params {
                    Ok(all) => found.extend(all.into_iter().map(|params| Invocation {
                        name,
                        spec,
                        compiled: compiled.clone(),
                        binding,
                        params,
                    })),
                    Err(why) => failures.extend(fail(Some(binding), why)),
                }
            }
        }
        found
    }

    /// Of what kind a policy's parameters are, if it takes some.
    fn param_kind(&self, spec: &Value) -> Result<Option<Arc<Resource>>, String> {
        let wanted = &spec["paramKind"];
        if !wanted.is_object() {
            return Ok(None);
        }
        let (api_version, kind) = (text(&wanted["apiVersion"]), text(&wanted["kind"]));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let unknown = || format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind}'");
        self.find_kind(group, version, kind).ok_or_else(unknown).map(Some)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The parameters that a binding names: one that is null where none are wanted, none where that is fine. `home` is the
/// namespace of the request.
fn params(
    scene: &Scene<'_>,
    kind: Option<&Resource>,
    binding: &Value,
    home: Option<&str>,
) -> Result<Vec<Value>, String> {
    let wanted = &binding["spec"]["paramRef"];
    let Some(described) = kind.filter(|_| wanted.is_object()) else { return Ok(vec![Value::Null]) };
    let namespace = text(&wanted["namespace"]);
    let place = match (described.namespaced, namespace, home) {
        (false, "", _) => None,
        (false, ..) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        (true, "", None) => {
            let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.to_owned());
        }
        (true, "", own) => own,
        (true, named, _) => Some(named),
    };
    let read = |entry: &Arc<Entry>| {
        let mut object = value(entry)?.clone();
        custom::adapt(described, &mut object);
        Some(object)
    };
    let name = text(&wanted["name"]);
    let found: Vec<Value> = if name.is_empty() {
        let selector = LabelSelector::from_value(&wanted["selector"])?;
        let prefix = key::prefix(described, place);
        let all = scene.snapshot.range(&prefix, None);
        let chosen = all.filter(|entry| selector.selects(&|key| index_of(entry).label(key)));
        chosen.filter_map(read).collect()
    } else {
        scene.snapshot.get(key::of(described, place, name)).and_then(read).into_iter().collect()
    };
    if found.is_empty() && wanted["parameterNotFoundAction"] == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}

/// In which other groups and versions the objects of a resource are served.
fn equivalents(resource: &Resource) -> Vec<(&str, &str)> {
    if let Some(kind) = kind_of(resource) {
        let others = kind.served_versions().filter(|version| *version != &*resource.version);
        return others.map(|version| (&*resource.group, version)).collect();
    }
    match (&*resource.group, &*resource.plural) {
        ("", "events") => vec![("events.k8s.io", "v1")],
        ("events.k8s.io", "events") => vec![("", "v1")],
        _ => Vec::new(),
    }
}

/// Whether there may be a policy for the write. Those for policies themselves could not be taken back.
pub(super) fn falls_under(scene: &Scene<'_>, sort: Sort) -> bool {
    let exempt = &*scene.resource.group == GROUP && scene.resource.plural.contains("admissionpolic");
    !exempt && !entries(scene, sort.bindings()).is_empty()
}

pub(super) fn entries<'a>(scene: &Scene<'a>, plural: &str) -> Vec<&'a Arc<Entry>> {
    let Some(described) = resource::find(GROUP, "v1", plural) else { return Vec::new() };
    let prefix = key::prefix(&described, None);
    let found: Vec<&'a Arc<Entry>> = scene.snapshot.range(&prefix, None).collect();
    found
}

pub(super) fn failed(invocation: &Invocation<'_>, why: String) -> Option<Failure> {
    let binding = meta::text(invocation.binding, "name").to_owned();
    let policy = invocation.name.to_owned();
    (invocation.spec["failurePolicy"] != "Ignore").then_some(Failure {
        policy,
        binding: Some(binding),
        why,
        evaluated: true,
    })
}
