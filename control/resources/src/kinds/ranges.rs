//! Addresses of Services and the blocks they come from, and the classes of volumes' attributes: objects that are kept and
//! shown. The block that Services get their addresses from is the server's own; others widen nothing, and so never become
//! ready.

use serde_json::Value;

use super::kind::Errors;
use super::loose::{Rules, text};
use super::names;
use super::optional::faults;
use super::volume_rules::{validate_driver, validate_pairs};
use crate::{FieldError, FieldPath};

const IMMUTABLE: &str = "field is immutable";

/// `IPAddress`
pub(super) struct IpAddress;
/// `ServiceCIDR`
pub(super) struct ServiceCidr;
/// `VolumeAttributesClass`
pub(super) struct AttributesClass;

impl Rules for IpAddress {
    const GENERATION: bool = false;

    fn name_faults(name: &str) -> Vec<String> {
        names::canonical_ip(name)
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        let path = FieldPath::new("spec").child("parentRef");
        let parent = &object["spec"]["parentRef"];
        if !parent.is_object() {
            errors.push(FieldError::required(&path, ""));
            return;
        }
        let group = text(parent, "group");
        if !group.is_empty() {
            faults(names::dns1123_subdomain(group), group, || path.child("group"), errors);
        }
        for field in ["resource", "name", "namespace"] {
            match text(parent, field) {
                "" if field == "namespace" => {}
                "" => errors.push(FieldError::required(&path.child(field), "")),
                value => faults(names::path_segment(value), value, || path.child(field), errors),
            }
        }
    }

    fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
        let parent = |object: &Value| object["spec"]["parentRef"].clone();
        if parent(new) != parent(old) {
            errors.push(FieldError::invalid(&FieldPath::new("spec").child("parentRef"), parent(new), IMMUTABLE));
        }
    }
}

impl Rules for ServiceCidr {
    const GENERATION: bool = false;
    const STATUS: bool = true;

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        let path = FieldPath::new("spec").child("cidrs");
        let blocks = blocks(object);
        let mut refuse = |why: &str| errors.push(FieldError::invalid(&path, object["spec"].clone(), why));
        match blocks.as_slice() {
            [] => errors.push(FieldError::required(&path, "at least one CIDR required")),
            [_, _, _, ..] => refuse("may only hold up to 2 values"),
            [one, other] if one.contains(':') == other.contains(':') => {
                refuse("may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64")
            }
            _ => {
                for (index, block) in blocks.iter().enumerate() {
                    faults(names::canonical_cidr(block), block, || path.index(index), errors);
                }
            }
        }
    }

    /// One family may be joined by the other; nothing else changes.
    fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
        let path = FieldPath::new("spec").child("cidrs");
        let (given, held) = (blocks(new), blocks(old));
        if held.len() != given.len() && (held.len(), given.len()) != (1, 2) {
            errors.push(FieldError::invalid(&path, new["spec"]["cidrs"].clone(), IMMUTABLE));
            return;
        }
        for (index, (given, held)) in given.iter().zip(&held).enumerate() {
            if given != held {
                errors.push(FieldError::invalid(&path.index(index), *given, IMMUTABLE));
            }
        }
    }
}

impl Rules for AttributesClass {
    const GENERATION: bool = false;

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        validate_driver(text(object, "driverName"), &FieldPath::new("driverName"), errors);
        let pairs = object["parameters"].as_object().into_iter().flatten();
        let pairs = pairs.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
        if pairs.clone().next().is_none() {
            let why = "must contain at least one key/value pair";
            errors.push(FieldError::required(&FieldPath::new("parameters"), why));
        }
        validate_pairs(pairs, errors);
    }

    fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
        for field in ["driverName", "parameters"] {
            if new[field] != old[field] {
                let why = format!("updates to {field} are forbidden.");
                errors.push(FieldError::forbidden(&FieldPath::new(field), &why));
            }
        }
    }
}

fn blocks(object: &Value) -> Vec<&str> {
    object["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
