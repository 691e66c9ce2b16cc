//! What is wrong with a definition, in kube-apiserver's words (apiextensions `validation/validation.go`).

use std::collections::BTreeSet;

use pal_resources::kinds::names;
use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use super::places::{Part, versions};
use super::{approval, conversion, openapi_rules, parts, rule_costs};

type Errors = Vec<FieldError>;

const IMMUTABLE: &str = "field is immutable";

/// What is wrong with a definition that was defaulted and is created, or, with the stored one beside it, updated.
/// Labels, annotations and what else metadata of every kind has to obey are not looked at.
pub fn validate_definition(crd: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Vec::new();
    let spec = &crd["spec"];
    if old.is_none() {
        validate_name(crd, &mut errors);
    }
    validate_spec(spec, old.map(|old| &old["spec"]), &mut errors);
    if let Some(old) = old {
        validate_unchanged(spec, old, &mut errors);
    }
    validate_names(&crd["status"]["acceptedNames"], &FieldPath::new("status").child("acceptedNames"), &mut errors);
    validate_stored(crd, &mut errors);
    approval::validate(crd, old, &mut errors);
    let preserved = |crd: &Value| crd["spec"]["preserveUnknownFields"] == true;
    if preserved(crd) && !old.is_some_and(preserved) {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(&FieldPath::new("spec").child("preserveUnknownFields"), true, why));
    }
    errors
}

/// What is wrong with a write of the status subresource.
pub fn validate_definition_status(crd: &Value) -> Errors {
    let mut errors = Vec::new();
    validate_names(&crd["status"]["acceptedNames"], &FieldPath::new("status").child("acceptedNames"), &mut errors);
    validate_stored(crd, &mut errors);
    errors
}

fn validate_name(crd: &Value, errors: &mut Errors) {
    let path = FieldPath::new("metadata").child("name");
    let name = text(&crd["metadata"]["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(&path, "name or generateName is required"));
        return;
    }
    let mut faults = names::dns1123_subdomain(name);
    if name != format!("{}.{}", text(&crd["spec"]["names"]["plural"]), text(&crd["spec"]["group"])) {
        faults.push("must be spec.names.plural+\".\"+spec.group".to_owned());
    }
    errors.extend(faults.iter().map(|fault| FieldError::invalid(&path, name, fault)));
}

fn validate_spec(spec: &Value, old: Option<&Value>, errors: &mut Errors) {
    let path = FieldPath::new("spec");
    validate_group(text(&spec["group"]), &path.child("group"), errors);
    match text(&spec["scope"]) {
        "" => errors.push(FieldError::required(&path.child("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(FieldError::not_supported(&path.child("scope"), other, &["Cluster", "Namespaced"])),
    }
    for (index, version) in versions(spec).iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            let at = path.child("versions").index(index).child("schema").child("openAPIV3Schema");
            errors.push(FieldError::required(&at, ""));
        }
    }
    validate_versions(spec, &path.child("versions"), errors);
    let names_path = path.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(&spec["names"][field]).is_empty() {
            errors.push(FieldError::required(&names_path.child(field), ""));
        }
    }
    validate_names(&spec["names"], &names_path, errors);
    for (index, place) in Part::Schema.places(spec).iter().enumerate() {
        let schema = &place.value["openAPIV3Schema"];
        if schema.is_object() {
            let has_status = match Part::Schema.shared(spec) {
                true => versions(spec).iter().any(|version| version["subresources"]["status"].is_object()),
                false => versions(spec)[index]["subresources"]["status"].is_object(),
            };
            let at = place.path.child("openAPIV3Schema");
            // What was accepted before stays so.
            let stored = old.map(|old| Part::Schema.places(old)).unwrap_or_default();
            let known = stored.iter().any(|place| place.value["openAPIV3Schema"] == *schema);
            if let Some(node) = openapi_rules::validate(schema, has_status, &at, errors).filter(|_| !known) {
                rule_costs::validate(&node, &at, errors);
            }
        }
    }
    for place in Part::Subresources.places(spec) {
        parts::validate_subresources(place.value, &place.path, errors);
    }
    for place in Part::Columns.places(spec) {
        for (index, column) in place.value.as_array().into_iter().flatten().enumerate() {
            parts::validate_column(column, &place.path.index(index), errors);
        }
    }
    for (index, place) in Part::Selectable.places(spec).iter().enumerate() {
        let schema = &versions(spec)[index]["schema"]["openAPIV3Schema"];
        parts::validate_selectable(place.value, schema, &place.path, errors);
    }
    conversion::validate(&spec["conversion"], &path.child("conversion"), errors);
}

fn validate_group(group: &str, path: &FieldPath, errors: &mut Errors) {
    if group.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let faults = names::dns1123_subdomain(group);
    if !faults.is_empty() {
        errors.push(FieldError::invalid(path, group, &faults.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(path, group, "should be a domain with at least one dot"));
    }
}

fn validate_versions(spec: &Value, path: &FieldPath, errors: &mut Errors) {
    let all = versions(spec);
    for (index, version) in all.iter().enumerate() {
        let at = path.index(index);
        let name = text(&version["name"]);
        let faults = names::dns1035_label(name);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&at.child("name"), name, &faults.join(",")));
        }
        parts::validate_deprecation(version, &at, errors);
    }
    let distinct: BTreeSet<&str> = all.iter().map(|version| text(&version["name"])).collect();
    if distinct.len() < all.len() {
        errors.push(FieldError::invalid(path, spec["versions"].clone(), "must contain unique version names"));
    }
    if all.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(path, Value::from(all.to_vec()), why));
    }
}

fn validate_names(given: &Value, path: &FieldPath, errors: &mut Errors) {
    let label = |name: &str| names::dns1035_label(name).join(",");
    for field in ["plural", "singular"] {
        let name = text(&given[field]);
        if !name.is_empty() && !label(name).is_empty() {
            errors.push(FieldError::invalid(&path.child(field), name, &label(name)));
        }
    }
    for field in ["kind", "listKind"] {
        let name = text(&given[field]);
        let faults = label(&name.to_lowercase());
        if !name.is_empty() && !faults.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {faults}");
            errors.push(FieldError::invalid(&path.child(field), name, &why));
        }
    }
    each_label(given, "shortNames", path, errors);
    let kind = text(&given["kind"]);
    if !kind.is_empty() && kind == text(&given["listKind"]) {
        errors.push(FieldError::invalid(&path.child("listKind"), kind, "kind and listKind may not be the same"));
    }
    each_label(given, "categories", path, errors);
}

fn each_label(given: &Value, field: &str, path: &FieldPath, errors: &mut Errors) {
    for (index, name) in given[field].as_array().into_iter().flatten().enumerate() {
        let name = text(name);
        let faults = names::dns1035_label(name);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&path.child(field).index(index), name, &faults.join(",")));
        }
    }
}

/// What has objects behind it stays as it is.
fn validate_unchanged(spec: &Value, old: &Value, errors: &mut Errors) {
    let before = &old["spec"];
    let path = FieldPath::new("spec");
    let mut same = |at: FieldPath, new: &Value, old: &Value| {
        if new != old {
            errors.push(FieldError::invalid(&at, new.clone(), IMMUTABLE));
        }
    };
    if super::status::is_true(old, "Established") {
        same(path.child("scope"), &spec["scope"], &before["scope"]);
        same(path.child("names").child("kind"), &spec["names"]["kind"], &before["names"]["kind"]);
    }
    same(path.child("group"), &spec["group"], &before["group"]);
    same(path.child("names").child("plural"), &spec["names"]["plural"], &before["names"]["plural"]);
}

/// Objects may be stored in every version that ever was the storage version.
fn validate_stored(crd: &Value, errors: &mut Errors) {
    let path = FieldPath::new("status").child("storedVersions");
    let mut whole = crd.clone();
    super::store_version(&mut whole);
    let stored = &whole["status"]["storedVersions"];
    let Some(list) = stored.as_array().filter(|list| !list.is_empty()) else {
        errors.push(FieldError::invalid(&path, Value::Null, "must have at least one stored version"));
        return;
    };
    let served: BTreeSet<&str> = versions(&crd["spec"]).iter().map(|version| text(&version["name"])).collect();
    for (index, name) in list.iter().enumerate().filter(|(_, name)| !served.contains(text(name))) {
        let name = text(name);
        let why = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        errors.push(FieldError::invalid(&path.index(index), name, &why));
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
