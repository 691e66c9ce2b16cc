//! What policies see of a write.

use std::collections::BTreeMap;

use pal_custom::policy::{Attributes, Case};
use serde_json::{Value, json};

use crate::admission::{Scene, labels, value};
use crate::applying::SCALE;
use crate::object::index_of;
use crate::options::{Authority, WriteOptions};
use crate::{key, meta};

/// What all policies see of a write.
pub(super) struct Seen<'a> {
    pub(super) attributes: Attributes<'a>,
    pub(super) namespace: &'a Value,
    /// What expressions read of it. What is empty is not there.
    pub(super) request: Value,
    authority: &'a Authority,
}

static NULL: Value = Value::Null;

pub(super) fn case<'a>(seen: &'a Seen<'_>, old: Option<&'a Value>, new: &'a Value, params: &'a Value) -> Case<'a> {
    Case {
        object: new,
        old_object: old.unwrap_or(&NULL),
        request: &seen.request,
        namespace: seen.namespace,
        params,
        authorizer: seen.authority,
    }
}

/// What is done, and the kind of the options that say how. What is deleted becomes nothing.
fn operation(scene: &Scene<'_>, old: Option<&Value>, new: &Value) -> (&'static str, Option<&'static str>) {
    match old {
        _ if scene.connects.is_some() => ("CONNECT", None),
        None => ("CREATE", Some("CreateOptions")),
        Some(_) if new.is_null() => ("DELETE", Some("DeleteOptions")),
        Some(_) => ("UPDATE", Some("UpdateOptions")),
    }
}

/// Group, version and kind.
pub(super) type Form<'a> = (&'a str, &'a str, &'a str);

/// The form of what policies see, where a subresource has one of its own.
pub(super) fn own_form<'a>(scene: &Scene<'_>, object: &'a Value) -> Option<Form<'a>> {
    if scene.connects.is_some() {
        let api_version = object["apiVersion"].as_str()?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        return Some((group, version, object["kind"].as_str()?));
    }
    match scene.subresource? {
        "scale" => Some(SCALE),
        "binding" => Some(("", "v1", "Binding")),
        "eviction" => Some(("policy", "v1", "Eviction")),
        "token" => Some(("authentication.k8s.io", "v1", "TokenRequest")),
        _ => None,
    }
}

/// The name of what a request is about.
pub(super) fn name_of<'a>(scene: &Scene<'a>, old: Option<&'a Value>, new: &'a Value) -> &'a str {
    scene.connects.unwrap_or_else(|| meta::text(old.unwrap_or(new), "name"))
}

pub(super) fn seen<'a>(
    scene: &Scene<'a>,
    old: Option<&'a Value>,
    new: &'a Value,
    options: &'a WriteOptions,
) -> Seen<'a> {
    let resource = scene.resource;
    let (operation, options_kind) = operation(scene, old, new);
    let is_namespace = resource.group.is_empty() && resource.plural == "namespaces";
    let home = scene.namespace.filter(|_| resource.namespaced && !is_namespace);
    let name = if options.nameless { "" } else { name_of(scene, old, new) };
    let attributes = Attributes {
        group: &resource.group,
        version: &resource.version,
        resource: &resource.plural,
        equivalents: &[],
        subresource: scene.subresource.unwrap_or_default(),
        namespace: home,
        name,
        operation,
        namespace_labels: None,
        labels: &[],
    };
    let form = own_form(scene, new).unwrap_or((&resource.group, &resource.version, &resource.kind));
    let kind = json!({"group": form.0, "version": form.1, "kind": form.2});
    let place = json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
    let actor = &options.actor;
    let mut request = json!({
        "kind": kind, "resource": place, "subResource": attributes.subresource,
        "requestKind": kind, "requestResource": place, "requestSubResource": attributes.subresource,
        "name": name, "namespace": if is_namespace { name } else { home.unwrap_or_default() },
        "operation": operation, "dryRun": options.dry_run,
    });
    drop_empty(&mut request);
    let mut user = json!({"username": actor.user, "uid": actor.uid, "groups": actor.groups, "extra": actor.extra});
    drop_empty(&mut user);
    request["userInfo"] = user;
    if let Some(kind) = options_kind {
        request["options"] = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind});
        if options.dry_run {
            request["options"]["dryRun"] = json!(["All"]);
        }
        if let Some(manager) = &options.field_manager {
            request["options"]["fieldManager"] = manager.as_str().into();
        }
    }
    let namespace = home.and_then(|name| value(scene.snapshot.get(key::namespace(name))?)).unwrap_or(&NULL);
    Seen { attributes, namespace, request, authority: &options.authority }
}

fn drop_empty(object: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if let Value::Object(fields) = object {
        fields.retain(|_, value| !is_empty(value));
    }
}

/// The labels of the namespace in which the write falls; of a Namespace its own.
pub(super) fn namespace_labels(
    scene: &Scene<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Option<BTreeMap<String, String>> {
    if scene.resource.group.is_empty() && scene.resource.plural == "namespaces" {
        return Some(labels(old.filter(|_| new.is_null()).unwrap_or(new)));
    }
    let home = scene.namespace.filter(|_| scene.resource.namespaced)?;
    Some(index_of(scene.snapshot.get(key::namespace(home))?).sorted_labels())
}
