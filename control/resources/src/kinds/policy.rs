//! What bounds and ranks workloads: disruption budgets, priorities, run-time classes, quotas and limits.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityObject;

use super::kind::{Errors, Kind, has_meta, has_status};
use super::names;
use super::optional::{fill, items, one_of, text};
use super::workload::validate_share;
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

/// Users' priority classes lie below.
const HIGHEST_USER_PRIORITY: i32 = 1_000_000_000;
/// The names that the system keeps for itself, with their values.
const SYSTEM_PRIORITIES: &[(&str, i32)] =
    &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

impl Kind for PodDisruptionBudget {
    const GENERATION: bool = true;

    has_meta!();

    has_status!(PodDisruptionBudgetStatus {
        current_healthy: Some(0),
        desired_healthy: Some(0),
        disruptions_allowed: Some(0),
        expected_pods: Some(0),
        ..PodDisruptionBudgetStatus::default()
    });

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            let shown = serde_json::to_value(spec).unwrap_or_default();
            errors.push(FieldError::invalid(&path, shown, "minAvailable and maxUnavailable cannot be both set"));
        }
        validate_share(spec.min_available.as_ref(), true, &path.child("minAvailable"), errors);
        validate_share(spec.max_unavailable.as_ref(), true, &path.child("maxUnavailable"), errors);
        if let Some(policy) = text(&spec.unhealthy_pod_eviction_policy) {
            let known = ["AlwaysAllow", "IfHealthyBudget"];
            one_of(policy, &known, || path.child("unhealthyPodEvictionPolicy"), errors);
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

impl Kind for PriorityClass {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        fill(&mut self.preemption_policy, "PreemptLowerPriority");
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let known = SYSTEM_PRIORITIES.iter().find(|(known, _)| *known == name);
        if name.starts_with("system-") {
            if known.is_none_or(|(_, value)| Some(*value) != self.value) {
                let why = "priority class names with 'system-' prefix are reserved for system use only. error: \
                           only two predefined system priority classes are allowed";
                errors.push(FieldError::forbidden(&FieldPath::new("metadata").child("name"), why));
            }
        } else if self.value > Some(HIGHEST_USER_PRIORITY) {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
            errors.push(FieldError::forbidden(&FieldPath::new("value"), &why));
        }
        if let Some(policy) = text(&self.preemption_policy) {
            let known = ["Never", "PreemptLowerPriority"];
            one_of(policy, &known, || FieldPath::new("preemptionPolicy"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.value != old.value {
            let path = FieldPath::new("value");
            errors.push(FieldError::forbidden(&path, "may not be changed in an update."));
        }
        if self.preemption_policy != old.preemption_policy {
            let shown = serde_json::to_value(&self.preemption_policy).unwrap_or_default();
            errors.push(FieldError::invalid(&FieldPath::new("preemptionPolicy"), shown, "field is immutable"));
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        (self.value, &self.description, self.global_default) != (old.value, &old.description, old.global_default)
    }
}

impl Kind for RuntimeClass {
    has_meta!();

    fn validate(&self, errors: &mut Errors) {
        for fault in names::dns1123_label(&self.handler) {
            errors.push(FieldError::invalid(&FieldPath::new("handler"), self.handler.as_str(), &fault));
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.handler != old.handler {
            let path = FieldPath::new("handler");
            errors.push(FieldError::invalid(&path, self.handler.as_str(), "field is immutable"));
        }
    }
}

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
            for fault in names::qualified_name(name) {
                errors.push(FieldError::invalid(&path, name.as_str(), &fault));
            }
            not_negative(&amount.0, &path, errors);
        }
        let scopes = [
            "BestEffort",
            "CrossNamespacePodAffinity",
            "NotBestEffort",
            "NotTerminating",
            "PriorityClass",
            "Terminating",
        ];
        for scope in items(&spec.scopes) {
            one_of(scope, &scopes, || path.child("scopes"), errors);
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

fn not_negative(amount: &str, path: &FieldPath, errors: &mut Errors) {
    if amount.parse::<Quantity>().is_ok_and(Quantity::is_negative) {
        errors.push(FieldError::invalid(path, amount, "must be greater than or equal to 0"));
    }
}

impl Kind for LimitRange {
    has_meta!();

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

fn validate_limit(limit: &LimitRangeItem, path: &FieldPath, errors: &mut Errors) {
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
    }
}
