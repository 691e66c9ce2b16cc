//! A registry made of a map, for tests of what reconciles do over many looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ListableResource, Metadata, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::action::{Action, Plan, ResourceId};

/// Objects by resource, namespace and name.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) objects: BTreeMap<(ResourceId, String, String), Value>,
    pub(crate) now: Timestamp,
    next: u64,
    /// Messages of the events told so far.
    pub(crate) told: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Self { objects: BTreeMap::new(), now, next: 1, told: Vec::new() }
    }

    pub(crate) fn pass(&mut self, milliseconds: i64) {
        self.now += SignedDuration::from_millis(milliseconds);
    }

    /// Stores an object as a create would.
    pub(crate) fn create(&mut self, resource: ResourceId, mut body: Value) -> String {
        let number = self.next;
        self.next += 1;
        let metadata = &mut body["metadata"];
        if let (Some(prefix), None) = (metadata["generateName"].as_str(), metadata["name"].as_str()) {
            metadata["name"] = json!(format!("{prefix}{number:05}"));
        }
        metadata["uid"] = json!(format!("uid-{number}"));
        metadata["resourceVersion"] = json!(number.to_string());
        metadata["creationTimestamp"] = json!(self.now);
        metadata["generation"] = json!(1);
        let name = metadata["name"].as_str().unwrap().to_owned();
        let namespace = metadata["namespace"].as_str().unwrap_or_default().to_owned();
        let key = (resource, namespace, name.clone());
        assert!(!self.objects.contains_key(&key), "{key:?} exists");
        self.objects.insert(key, body);
        name
    }

    /// Changes an object as an update of its spec or status would.
    pub(crate) fn edit<K: Resource + ListableResource>(&mut self, namespace: &str, name: &str, patch: Value) {
        let key = (ResourceId::of::<K>(), namespace.to_owned(), name.to_owned());
        self.merge(&key, patch);
    }

    /// Changes an object as one who runs it would: what that changes of its spec is no new generation.
    pub(crate) fn edit_status<K: Resource + ListableResource>(&mut self, namespace: &str, name: &str, patch: Value) {
        let key = (ResourceId::of::<K>(), namespace.to_owned(), name.to_owned());
        merge(self.objects.get_mut(&key).unwrap_or_else(|| panic!("{key:?} is gone")), patch);
    }

    fn merge(&mut self, key: &(ResourceId, String, String), patch: Value) {
        let number = self.next;
        self.next += 1;
        let object = self.objects.get_mut(key).unwrap_or_else(|| panic!("{key:?} is gone"));
        let before = object["spec"].clone();
        merge(object, patch);
        if object["spec"] != before {
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        object["metadata"]["resourceVersion"] = json!(number.to_string());
    }

    pub(crate) fn remove<K: Resource + ListableResource>(&mut self, namespace: &str, name: &str) {
        self.objects.remove(&(ResourceId::of::<K>(), namespace.to_owned(), name.to_owned()));
    }

    pub(crate) fn list<K>(&self) -> Vec<Arc<K>>
    where
        K: Resource + ListableResource + Metadata<Ty = ObjectMeta> + DeserializeOwned,
    {
        let resource = ResourceId::of::<K>();
        self.objects
            .iter()
            .filter(|((of, _, _), _)| *of == resource)
            .map(|(_, value)| Arc::new(serde_json::from_value(value.clone()).unwrap()))
            .collect()
    }

    /// Does what a plan says. Pods are deleted gracefully when they are bound, all else at once.
    pub(crate) fn apply(&mut self, plan: Plan) {
        for action in plan.actions {
            let announce = match action {
                Action::Create { resource, body, announce, .. } => {
                    self.create(resource, body);
                    announce
                }
                Action::Patch { target, patch, announce, .. } => {
                    let key = (target.resource, target.namespace.unwrap_or_default(), target.name);
                    self.merge(&key, patch);
                    announce
                }
                Action::Delete { target, announce, .. } => {
                    let key = (target.resource.clone(), target.namespace.unwrap_or_default(), target.name);
                    let object = self.objects.get_mut(&key).expect("deletes only what exists");
                    if target.resource.plural == "pods" && object["spec"]["nodeName"].is_string() {
                        object["metadata"]["deletionTimestamp"] = json!(self.now);
                    } else {
                        self.objects.remove(&key);
                    }
                    announce
                }
                Action::Tell(note) => {
                    self.told.push(note.message);
                    None
                }
                other => panic!("{other:?} is not for this world"),
            };
            if let Some(done) = announce.and_then(|announce| announce.done) {
                self.told.push(done.text);
            }
        }
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let object = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            object.remove(&key);
        } else {
            merge(object.entry(key).or_insert(Value::Null), value);
        }
    }
}
