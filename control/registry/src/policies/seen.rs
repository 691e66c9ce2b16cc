//! What policies see of a write.

use std::collections::BTreeMap;

use pal_custom::policy::{Attributes, Case};
use serde_json::{Value, json};

use crate::admission::{Scene, labels, value};
use crate::object::index_of;
use crate::options::WriteOptions;
use crate::{key, meta};

/// What all policies see of a write.
pub(super) struct Seen<'a> {
    pub(super) attributes: Attributes<'a>,
    pub(super) namespace: &'a Value,
    pub(super) request: Value,
}

static NULL: Value = Value::Null;

pub(super) fn case<'a>(seen: &'a Seen<'_>, old: Option<&'a Value>, new: &'a Value, params: &'a Value) -> Case<'a> {
    Case { object: new, old_object: old.unwrap_or(&NULL), request: &seen.request, namespace: seen.namespace, params }
}

pub(super) fn seen<'a>(scene: &Scene<'a>, old: Option<&'a Value>, new: &'a Value, options: &WriteOptions) -> Seen<'a> {
    let resource = scene.resource;
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    let is_namespace = resource.group.is_empty() && resource.plural == "namespaces";
    let home = scene.namespace.filter(|_| resource.namespaced && !is_namespace);
    let name = meta::text(old.unwrap_or(new), "name");
    let attributes = Attributes {
        group: &resource.group,
        version: &resource.version,
        resource: &resource.plural,
        subresource: scene.subresource.unwrap_or_default(),
        namespace: home,
        name,
        operation,
        namespace_labels: None,
        labels: &[],
    };
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let place = json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
    let actor = &options.actor;
    let options_kind = if old.is_some() { "UpdateOptions" } else { "CreateOptions" };
    let request = json!({
        "kind": kind, "resource": place, "subResource": attributes.subresource,
        "requestKind": kind, "requestResource": place, "requestSubResource": attributes.subresource,
        "name": name, "namespace": home.unwrap_or_default(), "operation": operation, "dryRun": options.dry_run,
        "userInfo": {"username": actor.user, "uid": actor.uid, "groups": actor.groups, "extra": actor.extra},
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": options_kind,
            "fieldManager": options.field_manager.as_deref().unwrap_or_default()},
    });
    let namespace = home.and_then(|name| value(scene.snapshot.get(key::namespace(name))?)).unwrap_or(&NULL);
    Seen { attributes, namespace, request }
}

/// The labels of the namespace in which the write falls; of a Namespace its own.
pub(super) fn namespace_labels(scene: &Scene<'_>, new: &Value) -> Option<BTreeMap<String, String>> {
    if scene.resource.group.is_empty() && scene.resource.plural == "namespaces" {
        return Some(labels(new));
    }
    let home = scene.namespace.filter(|_| scene.resource.namespaced)?;
    Some(index_of(scene.snapshot.get(key::namespace(home))?).sorted_labels())
}
