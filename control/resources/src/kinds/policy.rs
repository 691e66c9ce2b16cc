//! What protects and ranks workloads: disruption budgets, priorities, run-time classes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::kind::{Errors, Kind, has_meta, has_status};
use super::optional::{fill, items, one_of, text};
use super::pod::{validate_limits, validate_toleration};
use super::status_rules::validate_counts;
use super::workload::{validate_selector_parts, validate_share};
use super::{meta, names};
use crate::{FieldError, FieldPath};

/// Users' priority classes lie below.
const HIGHEST_USER_PRIORITY: i32 = 1_000_000_000;
/// The names that the system keeps for itself, with their values.
const SYSTEM_PRIORITIES: &[(&str, i32)] =
    &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

impl Kind for PodDisruptionBudget {
    const GENERATION: bool = true;

    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    has_status!(PodDisruptionBudgetStatus {
        current_healthy: Some(0),
        desired_healthy: Some(0),
        disruptions_allowed: Some(0),
        expected_pods: Some(0),
        ..PodDisruptionBudgetStatus::default()
    });

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        validate_counts(
            &self.status,
            &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"],
            &[],
            errors,
        );
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            let shown = serde_json::to_value(spec).unwrap_or_default();
            errors.push(FieldError::invalid(&path, shown, "minAvailable and maxUnavailable cannot be both set"));
        }
        validate_share(spec.min_available.as_ref(), true, &path.child("minAvailable"), errors);
        validate_share(spec.max_unavailable.as_ref(), true, &path.child("maxUnavailable"), errors);
        if let Some(selector) = &spec.selector {
            validate_selector_parts(selector, &path.child("selector"), errors);
        }
        if let Some(policy) = text(&spec.unhealthy_pod_eviction_policy) {
            let known = ["AlwaysAllow", "IfHealthyBudget"];
            one_of(policy, &known, || path.child("unhealthyPodEvictionPolicy"), errors);
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

/// Why no class of the system is like that.
fn system_fault(name: &str, value: i32, default: bool) -> Option<String> {
    match SYSTEM_PRIORITIES.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, known)) if *known != value => Some(format!("value of {name} PriorityClass must be {known}")),
        Some(_) if default => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
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
        if name.starts_with("system-") {
            if let Some(fault) = system_fault(name, self.value.unwrap_or(0), self.global_default.unwrap_or(false)) {
                let why = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {fault}"
                );
                errors.push(FieldError::forbidden(&FieldPath::new("metadata").child("name"), &why));
            }
        } else if self.value > Some(HIGHEST_USER_PRIORITY) {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
            errors.push(FieldError::forbidden(&FieldPath::new("value"), &why));
        }
        let path = || FieldPath::new("preemptionPolicy");
        match self.preemption_policy.as_deref() {
            Some("") => errors.push(FieldError::required(&path(), "")),
            Some(policy) => one_of(policy, &["Never", "PreemptLowerPriority"], path, errors),
            None => {}
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
        if let Some(fixed) = self.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.as_ref()) {
            validate_limits(fixed, &FieldPath::new("overhead"), errors);
        }
        let Some(scheduling) = &self.scheduling else { return };
        let path = FieldPath::new("scheduling");
        if let Some(labels) = &scheduling.node_selector {
            meta::validate_labels(labels, &path.child("nodeSelector"), errors);
        }
        let (list, tolerations) = (path.child("tolerations"), items(&scheduling.tolerations));
        let mut seen = BTreeSet::new();
        for (index, toleration) in tolerations.iter().enumerate() {
            // kube-apiserver says the field twice here.
            validate_toleration(toleration, || list.child("tolerations").index(index), errors);
            let key = Toleration { toleration_seconds: None, ..toleration.clone() };
            if !seen.insert(serde_json::to_string(&key).unwrap_or_default()) {
                let shown = serde_json::to_value(toleration).unwrap_or_default();
                errors.push(FieldError::duplicate(&list.index(index), shown));
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.handler != old.handler {
            let path = FieldPath::new("handler");
            errors.push(FieldError::invalid(&path, self.handler.as_str(), "field is immutable"));
        }
    }
}
