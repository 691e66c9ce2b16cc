//! Which requests a policy or a binding is about.

use std::collections::BTreeMap;

use pal_resources::selector::LabelSelector;
use serde_json::Value;

/// What is known of a request without its object's contents.
#[derive(Clone, Debug, Default)]
pub struct Attributes<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    /// In which other groups and versions the same objects are served.
    pub equivalents: &'a [(&'a str, &'a str)],
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// `None` for what lies in no namespace.
    pub namespace: Option<&'a str>,
    pub name: &'a str,
    /// `CREATE`, `UPDATE`, `DELETE`
    pub operation: &'a str,
    /// Those of the namespace; of a Namespace its own.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// Those of the object and of the one before.
    pub labels: &'a [BTreeMap<String, String>],
}

/// Whether `matchConstraints` or `matchResources` are about the request: nothing is about everything. With the `matchPolicy`
/// `Equivalent` they are also by the other groups and versions of what is asked for; the request is seen as it came.
pub fn matches(resources: &Value, request: &Attributes<'_>) -> Result<bool, String> {
    if let Some(labels) = request.namespace_labels
        && !LabelSelector::from_value(&resources["namespaceSelector"])?.matches(labels)
    {
        return Ok(false);
    }
    let selector = LabelSelector::from_value(&resources["objectSelector"])?;
    if !selector.is_empty() && !request.labels.iter().any(|labels| selector.matches(labels)) {
        return Ok(false);
    }
    let alike = if resources["matchPolicy"] == "Equivalent" { request.equivalents } else { &[] };
    let forms: Vec<Attributes<'_>> = std::iter::once((request.group, request.version))
        .chain(alike.iter().copied())
        .map(|(group, version)| Attributes { group, version, ..request.clone() })
        .collect();
    let about = |rule: &Value| forms.iter().any(|form| is_about(rule, form));
    let excluded = rules(resources, "excludeResourceRules").any(about);
    let mut included = rules(resources, "resourceRules").peekable();
    Ok(!excluded && (included.peek().is_none() || included.any(about)))
}

fn rules<'a>(resources: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    resources[list].as_array().into_iter().flatten()
}

fn is_about(rule: &Value, request: &Attributes<'_>) -> bool {
    let names = |field: &str, wanted: &str| texts(rule, field).any(|given| given == "*" || given == wanted);
    let resource = texts(rule, "resources").any(|given| {
        let (resource, sub) = given.split_once('/').unwrap_or((given, ""));
        (resource == "*" || resource == request.resource) && (sub == "*" || sub == request.subresource)
    });
    let only = || texts(rule, "resourceNames");
    in_scope(rule, request)
        && names("operations", request.operation)
        && names("apiGroups", request.group)
        && names("apiVersions", request.version)
        && resource
        && (only().next().is_none() || only().any(|name| name == request.name))
}

fn in_scope(rule: &Value, request: &Attributes<'_>) -> bool {
    let is_namespace = request.group.is_empty() && request.resource == "namespaces";
    let in_namespace = request.namespace.is_some() && !is_namespace;
    match rule["scope"].as_str() {
        Some("Namespaced") => in_namespace,
        Some("Cluster") => !in_namespace,
        _ => true,
    }
}

fn texts<'a>(rule: &'a Value, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    rule[field].as_array().into_iter().flatten().filter_map(Value::as_str)
}
