//! Events.

use k8s_openapi::api::core::v1::Event;

use super::kind::{Errors, Kind, has_meta};
use super::names;
use super::optional::{faults, plain, text};
use crate::{FieldError, FieldPath};

/// The longest message of an event that tells its time exactly.
const MAX_NOTE: usize = 1024;
/// The longest of its other texts.
const MAX_NAME: usize = 128;

impl Kind for Event {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn fill(&mut self) {
        self.source.get_or_insert_default();
        self.reporting_component.get_or_insert_default();
        self.reporting_instance.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        let involved = plain(&self.involved_object.namespace);
        let own = plain(&self.metadata.namespace);
        // Events about objects of the cluster lie in `default`, by long custom.
        let fits = match (&self.event_time, involved) {
            (Some(_), "") => matches!(own, "default" | "kube-system"),
            (Some(_), _) => true,
            (None, "") => matches!(own, "" | "default"),
            (None, involved) => involved == own,
        };
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
        ("reportingController", &event.reporting_component),
        ("reportingInstance", &event.reporting_instance),
        ("action", &event.action),
        ("reason", &event.reason),
    ];
    for (field, value) in required {
        if text(value).is_none() {
            errors.push(FieldError::required(&FieldPath::new(field), ""));
        }
    }
    let reporter = plain(&event.reporting_component);
    faults(names::qualified_name(reporter), reporter, || FieldPath::new("reportingController"), errors);
    let bounded = [
        ("reportingInstance", &event.reporting_instance, MAX_NAME),
        ("action", &event.action, MAX_NAME),
        ("reason", &event.reason, MAX_NAME),
        ("message", &event.message, MAX_NOTE),
    ];
    for (field, value, most) in bounded {
        if plain(value).len() > most {
            let why = format!("can have at most {most} characters");
            errors.push(FieldError::invalid(&FieldPath::new(field), "", &why));
        }
    }
}
