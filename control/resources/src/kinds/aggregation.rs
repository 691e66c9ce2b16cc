//! What the API is made of, as objects: APIServices (`apiregistration.k8s.io`), and the levels and flows by which
//! kube-apiserver shares itself out (`flowcontrol.apiserver.k8s.io`). Requests are not passed on to other servers, and are
//! shared out by rules of the server's own: these objects are kept and shown.

use serde_json::{Value, json};

use super::Env;
use super::kind::Errors;
use super::loose::{Rules, fill, items, text};
use super::names;
use crate::{FieldError, FieldPath};

/// `APIService`
pub(super) struct ApiService;
/// `FlowSchema`
pub(super) struct FlowSchema;
/// `PriorityLevelConfiguration`
pub(super) struct PriorityLevel;

impl Rules for ApiService {
    const GENERATION: bool = false;
    const STATUS: bool = true;

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn fill(object: &mut Value) {
        let service = object.get_mut("spec").and_then(|spec| spec.get_mut("service"));
        if let Some(service) = service.filter(|service| service.is_object()) {
            fill(service, "port", 443);
        }
    }

    fn status(object: &Value, env: &Env) -> Value {
        let (available, reason, message) = if object["spec"]["service"].is_object() {
            ("False", "NotServed", "requests are not passed on to other API servers")
        } else {
            ("True", "Local", "Local APIServices are always available")
        };
        let whole = env.now.round(jiff::Unit::Second).unwrap_or(env.now);
        json!({"conditions": [{
            "type": "Available", "status": available, "lastTransitionTime": whole.to_string(),
            "reason": reason, "message": message
        }]})
    }

    fn validate(name: &str, object: &Value, errors: &mut Errors) {
        let (spec, path) = (&object["spec"], FieldPath::new("spec"));
        let (group, version) = (text(spec, "group"), text(spec, "version"));
        let expected = format!("{version}.{group}");
        if !name.is_empty() && names::path_segment(name).is_empty() && name != expected {
            let why = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
            errors.push(FieldError::invalid(&FieldPath::new("metadata").child("name"), name, &why));
        }
        if group.is_empty() && version != "v1" {
            let why = "only v1 may have an empty group and it better be legacy kube";
            errors.push(FieldError::required(&path.child("group"), why));
        }
        if !group.is_empty() {
            let faults = names::dns1123_subdomain(group);
            errors.extend(faults.iter().map(|fault| FieldError::invalid(&path.child("group"), group, fault)));
        }
        let faults = names::dns1035_label(version);
        errors.extend(faults.iter().map(|fault| FieldError::invalid(&path.child("version"), version, fault)));
        let number = |field: &str| spec[field].as_i64().unwrap_or_default();
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
            if !(1..=most).contains(&number(field)) {
                let why = format!("must be positive and less than {most}");
                errors.push(FieldError::invalid(&path.child(field), number(field), &why));
            }
        }
        validate_service(spec, &path, errors);
    }
}

fn validate_service(spec: &Value, path: &FieldPath, errors: &mut Errors) {
    let insecure = spec["insecureSkipTLSVerify"] == true;
    let service = &spec["service"];
    if service.is_null() {
        if !text(spec, "caBundle").is_empty() {
            let why = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(&path.child("caBundle"), "...", why));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(&path.child("insecureSkipTLSVerify"), true, why));
        }
        return;
    }
    for field in ["namespace", "name"] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(&path.child("service").child(field), ""));
        }
    }
    if let Some(port) = service["port"].as_i64().filter(|port| !(1..=65535).contains(port)) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(&path.child("service").child("port"), port, why));
    }
    if insecure && !text(spec, "caBundle").is_empty() {
        let why = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(&path.child("insecureSkipTLSVerify"), true, why));
    }
}

impl Rules for FlowSchema {
    const STATUS: bool = true;

    fn fill(object: &mut Value) {
        if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
            fill(spec, "matchingPrecedence", 1000);
        }
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        let (spec, path) = (&object["spec"], FieldPath::new("spec"));
        let precedence = spec["matchingPrecedence"].as_i64().unwrap_or_default();
        if precedence <= 0 {
            let why = "must be a positive value";
            errors.push(FieldError::invalid(&path.child("matchingPrecedence"), precedence, why));
        } else if precedence > 10_000 {
            let why = "must not be greater than 10000";
            errors.push(FieldError::invalid(&path.child("matchingPrecedence"), precedence, why));
        }
        let level = path.child("priorityLevelConfiguration").child("name");
        if text(&spec["priorityLevelConfiguration"], "name").is_empty() {
            errors.push(FieldError::required(&level, "must reference a priority level"));
        }
        if spec["distinguisherMethod"].is_object() {
            let known = ["ByNamespace", "ByUser"];
            let given = text(&spec["distinguisherMethod"], "type");
            if !known.contains(&given) {
                let path = path.child("distinguisherMethod").child("type");
                errors.push(FieldError::not_supported(&path, given, &known));
            }
        }
        for (index, rule) in items(spec, "rules") {
            let path = path.child("rules").index(index);
            if items(rule, "subjects").count() == 0 {
                errors.push(FieldError::required(&path.child("subjects"), "subjects must contain at least one value"));
            }
            if items(rule, "resourceRules").count() + items(rule, "nonResourceRules").count() == 0 {
                let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
                errors.push(FieldError::required(&path, why));
            }
        }
    }
}

impl Rules for PriorityLevel {
    const STATUS: bool = true;

    fn fill(object: &mut Value) {
        let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
        if let Some(limited) = spec.get_mut("limited").filter(|limited| limited.is_object()) {
            fill(limited, "nominalConcurrencyShares", 30);
            fill(limited, "lendablePercent", 0);
            let queuing = limited.get_mut("limitResponse").and_then(|response| response.get_mut("queuing"));
            if let Some(queuing) = queuing.filter(|queuing| queuing.is_object()) {
                fill(queuing, "queues", 64);
                fill(queuing, "handSize", 8);
                fill(queuing, "queueLengthLimit", 50);
            }
        }
        if let Some(exempt) = spec.get_mut("exempt").filter(|exempt| exempt.is_object()) {
            fill(exempt, "nominalConcurrencyShares", 0);
            fill(exempt, "lendablePercent", 0);
        }
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        let (spec, path) = (&object["spec"], FieldPath::new("spec"));
        match text(spec, "type") {
            "Limited" => {
                if !spec["limited"].is_object() {
                    let why = "must not be empty when type is Limited";
                    errors.push(FieldError::required(&path.child("limited"), why));
                }
            }
            "Exempt" => {
                if spec["limited"].is_object() {
                    let why = "must be nil if the type is not Limited";
                    errors.push(FieldError::forbidden(&path.child("limited"), why));
                }
            }
            other => errors.push(FieldError::not_supported(&path.child("type"), other, &["Exempt", "Limited"])),
        }
        let response = &spec["limited"]["limitResponse"];
        if spec["limited"].is_object() && !matches!(text(response, "type"), "Queue" | "Reject") {
            let path = path.child("limited").child("limitResponse").child("type");
            errors.push(FieldError::not_supported(&path, text(response, "type"), &["Queue", "Reject"]));
        }
    }
}
