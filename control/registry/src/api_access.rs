//! What of the API every pod has by itself: a volume with a token of its service account, the cluster's root certificate and
//! its namespace, where client libraries look for these. The part of the ServiceAccount admission plugin that mounts it. It is
//! added when everything else about a new pod is settled, because none of it is its creator's.

use pal_resources::admission::pod::is_mirror;
use pal_resources::{Resource, Status, resource};
use pal_store::Snapshot;
use serde_json::{Map, Value};

use crate::object::index_of;
use crate::wire::field;
use crate::{key, names};

/// Where client libraries look.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access-";
/// What the volume shows, behind its name. The token lasts an hour, and what tells that it is this volume's.
const PROJECTED: &str = r#""projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],"name":"kube-root-ca.crt"}},{"downwardAPI":{"items":[{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"},"path":"namespace"}]}}]}"#;
const CONTAINERS: [&str; 2] = ["initContainers", "containers"];

/// The volume of a new pod, and where it is missing. It is put into the pod's text when that is written: as values it would
/// be a third of a small pod, for nobody to look at.
pub(crate) struct Access {
    volume: String,
    /// There is no such volume in the pod yet.
    is_new: bool,
}

impl Access {
    /// What a new pod gets, unless it or its service account says otherwise; `None` for anything else.
    pub(crate) fn of(snapshot: &Snapshot, resource: &Resource, namespace: Option<&str>, pod: &Value) -> Option<Self> {
        let is_pod = resource.plural == "pods" && resource.group.is_empty();
        // What a node runs without the API has no account.
        if !is_pod || is_mirror(pod) {
            return None;
        }
        let spec = pod["spec"].as_object()?;
        let account = spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        let wanted = match spec.get("automountServiceAccountToken").and_then(Value::as_bool) {
            Some(wanted) => wanted,
            None => automounts(snapshot, namespace.unwrap_or_default(), account),
        };
        if wanted { Self::missing(spec, || names::generated(VOLUME)) } else { None }
    }

    /// What is missing in a pod, some of whose containers lack the mount. A volume of that name that is there already is the
    /// one to mount.
    fn missing(spec: &Map<String, Value>, name: impl FnOnce() -> String) -> Option<Self> {
        let mut containers = CONTAINERS.iter().filter_map(|list| spec.get(*list)?.as_array()).flatten();
        if !containers.any(lacks_mount) {
            return None;
        }
        let volumes = spec.get("volumes").and_then(Value::as_array);
        let there = volumes.into_iter().flatten().find_map(|volume| {
            let own = volume["name"].as_str()?.starts_with(VOLUME) && volume["projected"].is_object();
            own.then(|| volume["name"].as_str().unwrap_or_default().to_owned())
        });
        let is_new = there.is_none();
        Some(Self { volume: there.unwrap_or_else(name), is_new })
    }

    /// The pod's spec as JSON, the volume and its mounts in it.
    pub(crate) fn write_spec(&self, bytes: &mut Vec<u8>, spec: &Map<String, Value>) -> Result<(), Status> {
        bytes.push(b'{');
        for (position, (name, value)) in spec.iter().enumerate() {
            match (name.as_str(), value) {
                ("volumes", Value::Array(volumes)) if self.is_new => {
                    self.write_list(bytes, "volumes", volumes, position > 0, Self::write_volume)?;
                }
                (list, Value::Array(containers)) if CONTAINERS.contains(&list) => {
                    begin(bytes, list, position > 0);
                    for (position, container) in containers.iter().enumerate() {
                        separate(bytes, position > 0);
                        self.write_container(bytes, container)?;
                    }
                    bytes.push(b']');
                }
                _ => field(bytes, name, value, position > 0)?,
            }
        }
        if self.is_new && !spec.contains_key("volumes") {
            self.write_list(bytes, "volumes", &[], !spec.is_empty(), Self::write_volume)?;
        }
        bytes.push(b'}');
        Ok(())
    }

    fn write_container(&self, bytes: &mut Vec<u8>, container: &Value) -> Result<(), Status> {
        let Some(fields) = container.as_object().filter(|_| lacks_mount(container)) else {
            return serde_json::to_writer(bytes, container).map_err(Status::internal);
        };
        bytes.push(b'{');
        for (position, (name, value)) in fields.iter().enumerate() {
            match (name.as_str(), value) {
                ("volumeMounts", Value::Array(mounts)) => {
                    self.write_list(bytes, name, mounts, position > 0, Self::write_mount)?;
                }
                _ => field(bytes, name, value, position > 0)?,
            }
        }
        if !fields.contains_key("volumeMounts") {
            self.write_list(bytes, "volumeMounts", &[], !fields.is_empty(), Self::write_mount)?;
        }
        bytes.push(b'}');
        Ok(())
    }

    /// A field with a list that gets one more item.
    fn write_list(
        &self,
        bytes: &mut Vec<u8>,
        name: &str,
        items: &[Value],
        follows: bool,
        last: fn(&Self, &mut Vec<u8>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        begin(bytes, name, follows);
        for item in items {
            serde_json::to_writer(&mut *bytes, item).map_err(Status::internal)?;
            bytes.push(b',');
        }
        last(self, bytes)?;
        bytes.push(b']');
        Ok(())
    }

    fn write_volume(&self, bytes: &mut Vec<u8>) -> Result<(), Status> {
        bytes.extend_from_slice(b"{\"name\":");
        serde_json::to_writer(&mut *bytes, &self.volume).map_err(Status::internal)?;
        bytes.push(b',');
        bytes.extend_from_slice(PROJECTED.as_bytes());
        bytes.push(b'}');
        Ok(())
    }

    fn write_mount(&self, bytes: &mut Vec<u8>) -> Result<(), Status> {
        bytes.extend_from_slice(b"{\"mountPath\":\"");
        bytes.extend_from_slice(MOUNT_PATH.as_bytes());
        bytes.extend_from_slice(b"\",\"name\":");
        serde_json::to_writer(&mut *bytes, &self.volume).map_err(Status::internal)?;
        bytes.extend_from_slice(b",\"readOnly\":true}");
        Ok(())
    }
}

/// Begins a field with a list.
fn begin(bytes: &mut Vec<u8>, name: &str, follows: bool) {
    separate(bytes, follows);
    bytes.push(b'"');
    // The names are those above.
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\":[");
}

fn separate(bytes: &mut Vec<u8>, follows: bool) {
    if follows {
        bytes.push(b',');
    }
}

/// Whether a container would not find the API where client libraries look.
fn lacks_mount(container: &Value) -> bool {
    match container.get("volumeMounts") {
        None => container.is_object(),
        Some(mounts) => {
            mounts.as_array().is_some_and(|mounts| mounts.iter().all(|mount| mount["mountPath"] != MOUNT_PATH))
        }
    }
}

/// What the account says for all its pods. One that does not exist yet says nothing.
fn automounts(snapshot: &Snapshot, namespace: &str, account: &str) -> bool {
    let accounts = resource::find("", "v1", "serviceaccounts");
    let entry = accounts.and_then(|accounts| snapshot.get(key::of(&accounts, Some(namespace), account)));
    let Some(entry) = entry else { return true };
    index_of(entry).value(entry.value())["automountServiceAccountToken"].as_bool().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn added(spec: Value) -> Value {
        let fields = spec.as_object().expect("an object");
        let Some(access) = Access::missing(fields, || "kube-api-access-x".to_owned()) else { return spec };
        let mut bytes = Vec::new();
        access.write_spec(&mut bytes, fields).expect("JSON");
        serde_json::from_slice(&bytes).expect("JSON")
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
