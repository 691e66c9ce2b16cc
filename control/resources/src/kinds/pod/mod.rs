//! Pods, and the pod templates of other kinds.

mod affinity;
mod container;
mod defaults;
mod env;
mod ephemeral;
mod gated;
mod mount;
mod probe;
mod qos;
mod resize;
mod resources;
mod restart;
mod security;
mod source;
mod spec;
mod template;
mod update;
mod volume;
mod whole;

use std::any::Any;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus, Toleration};

use super::Env;
use super::kind::{Errors, Kind, has_meta};
use super::optional::{fill, items, plain};
use crate::admission::pod::MIRROR;
use crate::{FieldError, FieldPath};

pub(super) use affinity::validate_node_selector;
pub(super) use container::validate_no_backsteps;
pub(super) use defaults::{canonical, fill_template};
pub(super) use probe::validate_port;
use qos::qos_class;
pub(super) use resources::validate_limits;
pub(super) use source::HOST_PATH_TYPES;
pub(super) use spec::validate_toleration;
pub(super) use template::{not_selected, validate_template, validate_template_of};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

impl Kind for Pod {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        defaults::fill_spec(spec);
        defaults::fill_pod(spec);
    }

    fn prepare_create(&mut self, env: &Env) {
        let spec = self.spec.get_or_insert_default();
        fill(&mut spec.service_account_name, "default");
        spec.service_account.clone_from(&spec.service_account_name);
        tolerate_lost_nodes(spec, env.toleration_seconds);
        fill_priority(spec);
        self.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(qos_class(spec).to_owned()),
            conditions: gated(spec).map(|condition| vec![condition]),
            ..PodStatus::default()
        });
    }

    fn prepare_update(&mut self, old: &Self, env: &Env) {
        self.status.clone_from(&old.status);
        let spec = self.spec.get_or_insert_default();
        if let Some(old) = &old.spec {
            spec.priority = spec.priority.or(old.priority);
            if spec.preemption_policy.is_none() {
                spec.preemption_policy.clone_from(&old.preemption_policy);
            }
        }
        tolerate_lost_nodes(spec, env.toleration_seconds);
    }

    fn prepare_subresource(&mut self, name: &str, old: &Self, _env: &Env) {
        let given = std::mem::replace(&mut self.spec, old.spec.clone());
        if name != "status" {
            self.metadata.labels.clone_from(&old.metadata.labels);
            self.metadata.annotations.clone_from(&old.metadata.annotations);
            self.metadata.finalizers.clone_from(&old.metadata.finalizers);
            let spec = self.spec.get_or_insert_default();
            match (name, given) {
                ("resize", Some(given)) => resize::take(spec, given),
                ("ephemeralcontainers", given) => {
                    spec.ephemeral_containers = given.and_then(|spec| spec.ephemeral_containers);
                }
                _ => {}
            }
            self.status.clone_from(&old.status);
            return;
        }
        let status = self.status.get_or_insert_default();
        if let Some(old) = &old.status {
            status.qos_class.clone_from(&old.qos_class);
            status.observed_generation = status.observed_generation.or(old.observed_generation);
        }
        fill(&mut status.phase, "Pending");
    }

    fn validate_subresource_update(&self, name: &str, old: &Self, errors: &mut Errors) {
        // What a node runs without the API is not changed through it.
        if old.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
            let why = match name {
                "ephemeralcontainers" => "static pods do not support ephemeral containers",
                "resize" => "static pods cannot be resized",
                _ => return,
            };
            return errors.push(FieldError::forbidden(&FieldPath::new("[]"), why));
        }
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        match name {
            "ephemeralcontainers" => ephemeral::validate_update(new, old, errors),
            "resize" => {
                self.validate(errors);
                resize::validate_update(new, old, errors);
            }
            _ => {}
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        let Some(spec) = &self.spec else {
            errors.push(FieldError::required(&path, ""));
            return;
        };
        spec::validate(spec, &path, errors);
        spec::validate_pod(spec, &path, errors);
    }

    fn validate_create(&self, errors: &mut Errors) {
        if self.spec.as_ref().is_some_and(|spec| !items(&spec.ephemeral_containers).is_empty()) {
            let path = FieldPath::new("spec").child("ephemeralContainers");
            errors.push(FieldError::forbidden(&path, "cannot be set on create"));
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update::validate(self, old, errors);
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn handed_on(self) -> Option<Box<dyn Any + Send + Sync>> {
        Some(Box::new(self))
    }
}

/// What holds a pod with gates back, told from the start.
fn gated(spec: &PodSpec) -> Option<PodCondition> {
    (!items(&spec.scheduling_gates).is_empty()).then(|| PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        observed_generation: Some(1),
        ..PodCondition::default()
    })
}

/// Gives the pod a while on a node that is lost, unless it says how long.
fn tolerate_lost_nodes(spec: &mut PodSpec, seconds: i64) {
    for taint in [NOT_READY, UNREACHABLE] {
        let tolerations = spec.tolerations.get_or_insert_default();
        let says = tolerations.iter().any(|t| {
            matches!(plain(&t.key), "" | NOT_READY | UNREACHABLE)
                && (plain(&t.key).is_empty() || plain(&t.key) == taint)
                && matches!(plain(&t.effect), "" | "NoExecute")
        });
        if !says {
            tolerations.push(Toleration {
                key: Some(taint.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(seconds),
                value: None,
            });
        }
    }
}

/// The number of a pod whose class says nothing of it, which is known before this where there is one.
fn fill_priority(spec: &mut PodSpec) {
    spec.priority.get_or_insert(0);
    fill(&mut spec.preemption_policy, "PreemptLowerPriority");
}
