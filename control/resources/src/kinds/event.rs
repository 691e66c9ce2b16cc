//! Events.

use k8s_openapi::api::core::v1::Event;

use super::kind::{Errors, Kind, has_meta};
use super::optional::{plain, text};
use crate::{FieldError, FieldPath};

/// The longest message of an event that tells its time exactly.
const MAX_NOTE: usize = 1024;

impl Kind for Event {
    has_meta!();

    fn fill(&mut self) {
        self.source.get_or_insert_default();
        self.reporting_component.get_or_insert_default();
        self.reporting_instance.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        let involved = plain(&self.involved_object.namespace);
        let own = plain(&self.metadata.namespace);
        // Events about objects of the cluster lie in `default`, by long custom.
        let fits = if involved.is_empty() { matches!(own, "" | "default" | "kube-system") } else { involved == own };
        if !fits {
            let path = FieldPath::new("involvedObject").child("namespace");
            let why = "does not match event.namespace";
            errors.push(FieldError::invalid(&path, involved, why));
        }
        if self.event_time.is_some() {
            validate_new_form(self, errors);
        }
    }
}

/// An event that tells its time exactly must also say who reports it.
fn validate_new_form(event: &Event, errors: &mut Errors) {
    let required = [
        ("reportingComponent", &event.reporting_component),
        ("reportingInstance", &event.reporting_instance),
        ("action", &event.action),
        ("reason", &event.reason),
    ];
    for (field, value) in required {
        if text(value).is_none() {
            errors.push(FieldError::required(&FieldPath::new(field), ""));
        }
    }
    if plain(&event.message).len() > MAX_NOTE {
        let why = format!("can have at most {MAX_NOTE} characters");
        errors.push(FieldError::invalid(&FieldPath::new("message"), "", &why));
    }
}
