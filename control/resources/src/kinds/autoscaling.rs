//! HorizontalPodAutoscalers.

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
    HorizontalPodAutoscalerStatus, MetricSpec, MetricTarget, ResourceMetricSource,
};

use super::kind::{Errors, Kind, has_meta, has_status};
use super::names;
use super::optional::{fill, items, one_of};
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

/// The share of the requested CPU that is aimed at unless something is said.
const USUAL_CPU: i32 = 80;

impl Kind for HorizontalPodAutoscaler {
    has_meta!();

    fn fill(&mut self) {
        let spec = &mut self.spec;
        spec.min_replicas.get_or_insert(1);
        if items(&spec.metrics).is_empty() {
            spec.metrics = Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(USUAL_CPU),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]);
        }
        if let Some(behavior) = &mut spec.behavior {
            let policy =
                |kind: &str, value: i32| HPAScalingPolicy { period_seconds: 15, type_: kind.to_owned(), value };
            fill_rules(&mut behavior.scale_up, 0, &[policy("Pods", 4), policy("Percent", 100)], true);
            fill_rules(&mut behavior.scale_down, 300, &[policy("Percent", 100)], false);
        }
    }

    has_status!(HorizontalPodAutoscalerStatus::default());

    fn validate(&self, errors: &mut Errors) {
        validate_spec(&self.spec, &FieldPath::new("spec"), errors);
    }
}

fn fill_rules(rules: &mut Option<HPAScalingRules>, window: i32, policies: &[HPAScalingPolicy], up: bool) {
    let rules = rules.get_or_insert_default();
    if up {
        rules.stabilization_window_seconds.get_or_insert(window);
    }
    fill(&mut rules.select_policy, "Max");
    rules.policies.get_or_insert_with(|| policies.to_vec());
}

fn validate_spec(spec: &HorizontalPodAutoscalerSpec, path: &FieldPath, errors: &mut Errors) {
    let least = spec.min_replicas.unwrap_or(1);
    if least < 1 {
        errors.push(FieldError::invalid(&path.child("minReplicas"), least, "must be greater than or equal to 1"));
    }
    let most = path.child("maxReplicas");
    if spec.max_replicas < 1 {
        errors.push(FieldError::invalid(&most, spec.max_replicas, "must be greater than 0"));
    }
    if spec.max_replicas < least {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(&most, spec.max_replicas, why));
    }
    let target = path.child("scaleTargetRef");
    for (field, value) in [("kind", &spec.scale_target_ref.kind), ("name", &spec.scale_target_ref.name)] {
        if value.is_empty() {
            errors.push(FieldError::required(&target.child(field), ""));
        } else {
            for fault in names::path_segment(value) {
                errors.push(FieldError::invalid(&target.child(field), value.as_str(), &fault));
            }
        }
    }
    let scales_from_none = |metric: &MetricSpec| matches!(&*metric.type_, "Object" | "External");
    if spec.min_replicas == Some(0) && !items(&spec.metrics).iter().any(scales_from_none) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(&path.child("metrics"), why));
    }
    for (index, metric) in items(&spec.metrics).iter().enumerate() {
        validate_metric(metric, &path.child("metrics").index(index), errors);
    }
    if let Some(behavior) = &spec.behavior {
        let path = path.child("behavior");
        for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
            if let Some(rules) = rules {
                validate_rules(rules, &path.child(field), errors);
            }
        }
    }
}

fn validate_metric(metric: &MetricSpec, path: &FieldPath, errors: &mut Errors) {
    let known = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    if metric.type_.is_empty() {
        errors.push(FieldError::required(&path.child("type"), "must specify a metric source type"));
        return;
    }
    one_of(&metric.type_, &known, || path.child("type"), errors);
    let given = [
        ("containerResource", "ContainerResource", metric.container_resource.is_some()),
        ("external", "External", metric.external.is_some()),
        ("object", "Object", metric.object.is_some()),
        ("pods", "Pods", metric.pods.is_some()),
        ("resource", "Resource", metric.resource.is_some()),
    ];
    for (field, kind, present) in given {
        if kind == metric.type_ && !present {
            let why = format!("must populate information for the given metric source type {kind}");
            errors.push(FieldError::required(&path.child(field), &why));
        } else if kind != metric.type_ && present {
            let why = "must populate the given metric source only";
            errors.push(FieldError::forbidden(&path.child(field), why));
        }
    }
    let targets = [
        ("resource", metric.resource.as_ref().map(|source| &source.target)),
        ("containerResource", metric.container_resource.as_ref().map(|source| &source.target)),
        ("pods", metric.pods.as_ref().map(|source| &source.target)),
        ("object", metric.object.as_ref().map(|source| &source.target)),
        ("external", metric.external.as_ref().map(|source| &source.target)),
    ];
    let resources = [
        ("resource", metric.resource.as_ref().map(|source| &source.name)),
        ("containerResource", metric.container_resource.as_ref().map(|source| &source.name)),
    ];
    for (field, _) in resources.iter().filter(|(_, name)| name.is_some_and(String::is_empty)) {
        errors.push(FieldError::required(&path.child(field).child("name"), "must specify a resource name"));
    }
    if metric.container_resource.as_ref().is_some_and(|source| source.container.is_empty()) {
        let path = path.child("containerResource").child("container");
        errors.push(FieldError::required(&path, "must specify a container name"));
    }
    let metrics = [
        ("pods", metric.pods.as_ref().map(|source| &source.metric.name)),
        ("object", metric.object.as_ref().map(|source| &source.metric.name)),
        ("external", metric.external.as_ref().map(|source| &source.metric.name)),
    ];
    for (field, name) in metrics {
        let Some(name) = name else { continue };
        let path = path.child(field).child("metric").child("name");
        if name.is_empty() {
            errors.push(FieldError::required(&path, "must specify a metric name"));
        }
        for fault in names::path_segment(name) {
            errors.push(FieldError::invalid(&path, name.as_str(), &fault));
        }
    }
    for (field, target) in targets {
        if let Some(target) = target {
            validate_target(target, &path.child(field).child("target"), errors);
        }
    }
}

fn validate_target(target: &MetricTarget, path: &FieldPath, errors: &mut Errors) {
    if target.type_.is_empty() {
        errors.push(FieldError::required(&path.child("type"), "must specify a metric target type"));
    } else {
        one_of(&target.type_, &["AverageValue", "Utilization", "Value"], || path.child("type"), errors);
    }
    if let Some(share) = target.average_utilization.filter(|share| *share < 1) {
        errors.push(FieldError::invalid(&path.child("averageUtilization"), share, "must be greater than 0"));
    }
    if target.average_utilization.is_some() && target.average_value.is_some() {
        let why = "may not set both a target raw value and a target utilization";
        errors.push(FieldError::forbidden(&path.child("averageValue"), why));
    }
    if target.average_utilization.is_none() && target.average_value.is_none() && target.value.is_none() {
        let why = "must set either a target raw value or a target utilization";
        errors.push(FieldError::required(&path.child("averageUtilization"), why));
    }
}

fn validate_rules(rules: &HPAScalingRules, path: &FieldPath, errors: &mut Errors) {
    const HOUR: i32 = 3600;
    const LONGEST_PERIOD: i32 = 1800;
    let window = rules.stabilization_window_seconds.unwrap_or(0);
    let at = || path.child("stabilizationWindowSeconds");
    if window < 0 {
        errors.push(FieldError::invalid(&at(), window, "must be greater than or equal to zero"));
    }
    if window > HOUR {
        errors.push(FieldError::invalid(&at(), window, "must be less than or equal to 3600"));
    }
    if let Some(policy) = rules.select_policy.as_deref() {
        one_of(policy, &["Disabled", "Max", "Min"], || path.child("selectPolicy"), errors);
    }
    if let Some(tolerance) = &rules.tolerance
        && Quantity::try_from(tolerance).is_ok_and(|tolerance| tolerance.is_negative())
    {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&path.child("tolerance"), tolerance.0.as_str(), why));
    }
    let policies = path.child("policies");
    if items(&rules.policies).is_empty() {
        errors.push(FieldError::required(&policies, "must specify at least one Policy"));
    }
    for (index, policy) in items(&rules.policies).iter().enumerate() {
        let path = policies.index(index);
        one_of(&policy.type_, &["Percent", "Pods"], || path.child("type"), errors);
        if policy.value < 1 {
            errors.push(FieldError::invalid(&path.child("value"), policy.value, "must be greater than zero"));
        }
        let period = || path.child("periodSeconds");
        if policy.period_seconds < 1 {
            errors.push(FieldError::invalid(&period(), policy.period_seconds, "must be greater than zero"));
        }
        if policy.period_seconds > LONGEST_PERIOD {
            let why = "must be less than or equal to 1800";
            errors.push(FieldError::invalid(&period(), policy.period_seconds, why));
        }
    }
}
