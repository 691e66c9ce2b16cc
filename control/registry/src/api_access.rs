//! What of the API every pod has by itself: a volume with a token of its service account, the cluster's root certificate and
//! its namespace, where client libraries look for these. The part of the ServiceAccount admission plugin that mounts it. It is
//! added when everything else about a new pod is settled, because none of it is its creator's.

use pal_resources::{Resource, resource};
use pal_store::Snapshot;
use serde_json::{Value, json};

use crate::object::index_of;
use crate::{key, names};

/// Where client libraries look.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access-";
/// An hour, and what tells that it is this volume's.
const TOKEN_SECONDS: i64 = 3607;
/// What a node makes of its own configuration has no account.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Gives a new pod its volume, unless it or its service account says otherwise; anything else stays as it is.
pub(crate) fn mount(snapshot: &Snapshot, resource: &Resource, namespace: Option<&str>, pod: &mut Value) {
    if resource.plural != "pods" || !resource.group.is_empty() || pod["metadata"]["annotations"].get(MIRROR).is_some() {
        return;
    }
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let wanted = match pod["spec"]["automountServiceAccountToken"].as_bool() {
        Some(wanted) => wanted,
        None => automounts(snapshot, namespace.unwrap_or_default(), account),
    };
    if wanted {
        add(pod, || names::generated(VOLUME));
    }
}

/// What the account says for all its pods. One that does not exist yet says nothing.
fn automounts(snapshot: &Snapshot, namespace: &str, account: &str) -> bool {
    let accounts = resource::find("", "v1", "serviceaccounts");
    let entry = accounts.and_then(|accounts| snapshot.get(key::of(&accounts, Some(namespace), account)).cloned());
    let Some(entry) = entry else { return true };
    index_of(&entry).value(entry.value())["automountServiceAccountToken"].as_bool().unwrap_or(true)
}

/// Adds the volume and its mounts where there are none. A volume of that name that is there already is the one to mount.
fn add(pod: &mut Value, name: impl FnOnce() -> String) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let there = volumes.into_iter().flatten().find_map(|volume| {
        let own = volume["name"].as_str()?.starts_with(VOLUME) && volume["projected"].is_object();
        own.then(|| volume["name"].as_str().unwrap_or_default().to_owned())
    });
    let is_new = there.is_none();
    let name = there.unwrap_or_else(name);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().all(|mount| mount["mountPath"] != MOUNT_PATH) {
                mounts.push(json!({"mountPath": MOUNT_PATH, "name": name, "readOnly": true}));
                mounted = true;
            }
        }
    }
    if !is_new || !mounted {
        return;
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {"downwardAPI": {"items": [
            {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
    ]}});
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(volume);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(spec: Value) -> Value {
        let mut pod = json!({"spec": spec});
        add(&mut pod, || "kube-api-access-x".to_owned());
        pod["spec"].take()
    }

    #[test]
    fn every_container_finds_the_api_where_clients_look() {
        let spec = added(json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}, {"name": "b"}],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }));
        let mount = json!({"mountPath": MOUNT_PATH, "name": "kube-api-access-x", "readOnly": true});
        assert_eq!(spec["initContainers"][0]["volumeMounts"], json!([mount]));
        assert_eq!(spec["containers"][0]["volumeMounts"][1], mount);
        assert_eq!(spec["containers"][1]["volumeMounts"], json!([mount]));
        let volume = &spec["volumes"][1];
        assert_eq!((&volume["name"], &volume["projected"]["defaultMode"]), (&json!("kube-api-access-x"), &json!(420)));
        let token = json!({"expirationSeconds": 3607, "path": "token"});
        assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"], token);
    }

    #[test]
    fn what_is_mounted_there_already_stays() {
        let other = json!({"name": "a", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]});
        let spec = added(json!({"containers": [other]}));
        assert_eq!(spec, json!({"containers": [other]}));
        // As a copy of another pod has it.
        let volume = json!({"name": "kube-api-access-old", "projected": {"sources": []}});
        let spec = added(json!({"containers": [{"name": "a"}], "volumes": [volume]}));
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-old");
        assert_eq!(spec["volumes"], json!([volume]));
    }
}
