//! What bounds a namespace and what is in it: quotas and limits.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus,
    ScopedResourceSelectorRequirement,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityObject;

use super::Env;
use super::kind::{Errors, Kind, has_meta, has_status};
use super::names;
use super::optional::{faults, items, text};
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

/// Amounts by the name of what they are of.
type Amounts = Option<BTreeMap<String, QuantityObject>>;

impl Kind for ResourceQuota {
    has_meta!();

    has_status!(ResourceQuotaStatus::default());

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        for (name, amount) in spec.hard.iter().flatten() {
            let path = path.child("hard").key(name);
            faults(names::qualified_name(name), name, || path.clone(), errors);
            if !name.contains('/') {
                if !is_standard(name) {
                    let why = "must be a standard resource type or fully qualified";
                    errors.push(FieldError::invalid(&path, name.as_str(), why));
                }
                if !is_of_quota(name) {
                    errors.push(FieldError::invalid(&path, name.as_str(), "must be a standard resource for quota"));
                }
            }
            not_negative(&amount.0, &path, errors);
            let counted = COUNTED.contains(&name.as_str()) || name.starts_with("count/");
            if counted && amount.0.parse::<Quantity>().is_ok_and(|amount| !amount.is_whole()) {
                errors.push(FieldError::invalid(&path, amount.0.as_str(), "must be an integer"));
            }
        }
        validate_scopes(spec, &path, errors);
        if let Some(selector) = &spec.scope_selector {
            let path = path.child("scopeSelector").child("matchExpressions");
            for requirement in items(&selector.match_expressions) {
                validate_scope_requirement(requirement, spec, &path, errors);
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let scopes = |quota: &Self| -> BTreeSet<String> {
            quota.spec.iter().flat_map(|spec| items(&spec.scopes)).cloned().collect()
        };
        if scopes(self) != scopes(old) {
            let shown: Vec<String> = scopes(self).into_iter().collect();
            errors.push(FieldError::invalid(&FieldPath::new("spec").child("scopes"), shown, "field is immutable"));
        }
    }
}

/// What is counted in whole objects.
const COUNTED: &[&str] = &[
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// What of a pod's resources is summed up.
const COMPUTED: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

const STORED: &[&str] =
    &["ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage", "requests.storage"];

/// A name without a domain that Kubernetes gives a meaning to.
fn is_standard(name: &str) -> bool {
    is_of_quota(name) || name == "storage"
}

/// A name without a domain that quotas can bound.
fn is_of_quota(name: &str) -> bool {
    let huge = ["hugepages-", "requests.hugepages-"].iter().any(|start| name.starts_with(start));
    huge || [COUNTED, COMPUTED, STORED].iter().any(|list| list.contains(&name))
}

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// Whether a quota with that scope can bound the resource.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => resource == "pods" || COMPUTED.contains(&resource),
    }
}

fn misfits(scope: &str, spec: &ResourceQuotaSpec) -> bool {
    spec.hard.iter().flatten().any(|(name, _)| is_of_quota(name) && !fits(scope, name))
}

fn validate_scopes(spec: &ResourceQuotaSpec, path: &FieldPath, errors: &mut Errors) {
    let scopes = items(&spec.scopes);
    let path = path.child("scopes");
    let mut wrong = |why: &str| errors.push(FieldError::invalid(&path, scopes.to_vec(), why));
    for scope in scopes {
        if !SCOPES.contains(&scope.as_str()) {
            wrong("unsupported scope");
        } else if misfits(scope, spec) {
            wrong("unsupported scope applied to resource");
        }
    }
    let has = |name: &str| scopes.iter().any(|scope| scope == name);
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            wrong("conflicting scopes");
        }
    }
}

fn validate_scope_requirement(
    requirement: &ScopedResourceSelectorRequirement,
    spec: &ResourceQuotaSpec,
    path: &FieldPath,
    errors: &mut Errors,
) {
    let (scope, operator) = (requirement.scope_name.as_str(), requirement.operator.as_str());
    let values = items(&requirement.values);
    if !SCOPES.contains(&scope) {
        errors.push(FieldError::invalid(&path.child("scopeName"), scope, "unsupported scope"));
    } else if misfits(scope, spec) {
        let shown = serde_json::to_value(&spec.scope_selector).unwrap_or_default();
        errors.push(FieldError::invalid(path, shown, "unsupported scope applied to resource"));
    }
    let named = matches!(scope, "PriorityClass" | "VolumeAttributesClass") || !SCOPES.contains(&scope);
    if !named && operator != "Exists" {
        let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                   ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                   ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(FieldError::invalid(&path.child("operator"), operator, why));
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(FieldError::required(&path.child("values"), why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(FieldError::invalid(&path.child("values"), values.to_vec(), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(&path.child("operator"), other, why));
        }
    }
}

fn not_negative(amount: &str, path: &FieldPath, errors: &mut Errors) {
    if amount.parse::<Quantity>().is_ok_and(Quantity::is_negative) {
        errors.push(FieldError::invalid(path, amount, "must be greater than or equal to 0"));
    }
}

impl Kind for LimitRange {
    has_meta!();

    /// One without a name gets one.
    fn prepare_create(&mut self, env: &Env) {
        if text(&self.metadata.name).is_none() {
            self.metadata.name = Some(env.uid.0.clone());
        }
    }

    fn fill(&mut self) {
        let limits = self.spec.as_mut().map(|spec| spec.limits.as_mut_slice()).unwrap_or_default();
        for limit in limits.iter_mut().filter(|limit| limit.type_ == "Container") {
            // What is left out of the defaults follows from what bounds them.
            for (name, most) in limit.max.clone().into_iter().flatten() {
                limit.default.get_or_insert_default().entry(name).or_insert(most);
            }
            for (name, usual) in limit.default.clone().into_iter().flatten() {
                limit.default_request.get_or_insert_default().entry(name).or_insert(usual);
            }
            for (name, least) in limit.min.clone().into_iter().flatten() {
                limit.default_request.get_or_insert_default().entry(name).or_insert(least);
            }
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec").child("limits");
        let mut seen = BTreeSet::new();
        for (index, limit) in self.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
            let path = path.index(index);
            if !seen.insert(&limit.type_) {
                errors.push(FieldError::duplicate(&path.child("type"), limit.type_.as_str()));
            }
            validate_limit(limit, &path, errors);
        }
    }
}

/// What a limit is on, and the names of what it limits.
fn validate_names(limit: &LimitRangeItem, path: &FieldPath, errors: &mut Errors) {
    let kind = limit.type_.as_str();
    faults(names::qualified_name(kind), kind, || path.child("type"), errors);
    if !kind.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind) {
        let why = "must be a standard limit type or fully qualified";
        errors.push(FieldError::invalid(&path.child("type"), kind, why));
    }
    for (field, amounts) in [
        ("max", &limit.max),
        ("min", &limit.min),
        ("default", &limit.default),
        ("defaultRequest", &limit.default_request),
        ("maxLimitRequestRatio", &limit.max_limit_request_ratio),
    ] {
        for (name, _) in amounts.iter().flatten() {
            let path = path.child(field).key(name);
            faults(names::qualified_name(name), name, || path.clone(), errors);
            let plain = !name.contains('/');
            if plain && !is_standard(name) {
                let why = "must be a standard resource type or fully qualified";
                errors.push(FieldError::invalid(&path, name.as_str(), why));
            }
            let of_container = ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str());
            if plain && matches!(kind, "Pod" | "Container") && !of_container && !name.starts_with("hugepages-") {
                let why = "must be a standard resource for containers";
                errors.push(FieldError::invalid(&path, name.as_str(), why));
            }
        }
    }
    let stored = |amounts: &Amounts| amounts.as_ref().is_some_and(|amounts| amounts.contains_key("storage"));
    if kind == "PersistentVolumeClaim" && !stored(&limit.min) && !stored(&limit.max) {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(&path.child("limits"), why));
    }
}

fn validate_limit(limit: &LimitRangeItem, path: &FieldPath, errors: &mut Errors) {
    validate_names(limit, path, errors);
    if limit.type_ == "Pod" {
        for (field, given) in [("default", &limit.default), ("defaultRequest", &limit.default_request)] {
            if given.as_ref().is_some_and(|given| !given.is_empty()) {
                let why = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(&path.child(field), why));
            }
        }
    }
    let get = |amounts: &Amounts, name: &str| amounts.as_ref()?.get(name)?.0.parse::<Quantity>().ok();
    let all = [&limit.min, &limit.max, &limit.default, &limit.default_request, &limit.max_limit_request_ratio];
    let names: BTreeSet<&String> = all.into_iter().flatten().flat_map(BTreeMap::keys).collect();
    for name in names {
        let [min, max, default, request, ratio] = all.map(|amounts| get(amounts, name));
        let shown = |amounts: &Amounts| {
            amounts.as_ref().and_then(|amounts| amounts.get(name)).map(|amount| amount.0.clone()).unwrap_or_default()
        };
        let mut order =
            |field: &str, low: (Option<Quantity>, &str, &Amounts), high: (Option<Quantity>, &str, &Amounts)| {
                if let (Some(least), Some(most)) = (low.0, high.0)
                    && least > most
                {
                    let (value, bound) = (shown(low.2), shown(high.2));
                    let why = format!("{} value {value} is greater than {} value {bound}", low.1, high.1);
                    errors.push(FieldError::invalid(&path.child(field).key(name), value, &why));
                }
            };
        order("min", (min, "min", &limit.min), (max, "max", &limit.max));
        order("defaultRequest", (min, "min", &limit.min), (request, "default request", &limit.default_request));
        order("defaultRequest", (request, "default request", &limit.default_request), (max, "max", &limit.max));
        order(
            "defaultRequest",
            (request, "default request", &limit.default_request),
            (default, "default", &limit.default),
        );
        order("default", (min, "min", &limit.min), (default, "default", &limit.default));
        order("default", (default, "default", &limit.default), (max, "max", &limit.max));
        if ratio.is_some_and(|ratio| ratio < Quantity::from_units(1)) {
            let path = path.child("maxLimitRequestRatio").key(name);
            let value = shown(&limit.max_limit_request_ratio);
            let why = format!("ratio {value} is less than 1");
            errors.push(FieldError::invalid(&path, value, &why));
        }
        if let (Some(min), Some(max), Some(ratio)) = (min, max, ratio) {
            let most = share(max, min);
            if share(ratio, Quantity::from_units(1)) > most {
                let path = path.child("maxLimitRequestRatio").key(name);
                let value = shown(&limit.max_limit_request_ratio);
                let why = format!("ratio {value} is greater than max/min = {most:.6}");
                errors.push(FieldError::invalid(&path, value, &why));
            }
        }
    }
}

/// How many times as much as the other: a fraction, as clients are told.
#[expect(clippy::cast_precision_loss, reason = "amounts are told to six places")]
fn share(amount: Quantity, of: Quantity) -> f64 {
    amount.millis() as f64 / of.millis() as f64
}
