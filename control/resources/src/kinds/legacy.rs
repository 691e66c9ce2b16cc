//! Kinds that newer ones have taken the place of, and that clients still write: ReplicationControllers and PodTemplates.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodTemplate, ReplicationController, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;

use super::kind::{Errors, Kind, has_meta, has_status};
use super::optional::non_negative;
use super::pod::{fill_template, not_selected, validate_template, validate_template_of};
use super::status_rules::validate_replicas;
use crate::{FieldError, FieldPath};

impl Kind for ReplicationController {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        let Some(template) = &mut spec.template else { return };
        fill_template(template);
        let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
            if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
                spec.selector = Some(labels.clone());
            }
            if self.metadata.labels.as_ref().is_none_or(|own| own.is_empty()) {
                self.metadata.labels = Some(labels);
            }
        }
    }

    has_status!(ReplicationControllerStatus::default());

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        validate_replicas(&self.status, errors);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        non_negative(i64::from(spec.min_ready_seconds.unwrap_or(0)), || path.child("minReadySeconds"), errors);
        non_negative(i64::from(spec.replicas.unwrap_or(0)), || path.child("replicas"), errors);
        let selector = spec.selector.clone().unwrap_or_default();
        if selector.is_empty() {
            errors.push(FieldError::required(&path.child("selector"), ""));
        }
        match &spec.template {
            None => errors.push(FieldError::required(&path.child("template"), "")),
            Some(template) => {
                let path = path.child("template");
                let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
                // Nothing else is asked of the selector: it may name labels that no pod can have, and then finds none.
                let finds = |(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value));
                if !selector.iter().all(finds) {
                    errors.push(not_selected(labels, &path));
                }
                let any = SelectorObject { match_labels: Some(BTreeMap::new()), ..SelectorObject::default() };
                validate_template("ReplicationController", template, &any, &path, errors);
            }
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

impl Kind for PodTemplate {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        if let Some(template) = &mut self.template {
            fill_template(template);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let template = self.template.clone().unwrap_or_default();
        let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        let any = SelectorObject { match_labels: Some(labels.unwrap_or_default()), ..SelectorObject::default() };
        validate_template_of(&template, &any, &FieldPath::new("template"), errors);
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.template != old.template
    }
}
