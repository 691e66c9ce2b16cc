//! What else in the cluster has a say in what is written: kube-apiserver's admission plugins, over a snapshot. What they
//! decide is in `pal_resources::admission`; quotas, which count, are in `quota`.

use std::collections::BTreeMap;
use std::sync::Arc;

use pal_resources::admission::pod_security::{self, Level, Policy};
use pal_resources::admission::{limits, node, pod, priority, storage, topology};
use pal_resources::{Resource, Status, kinds, resource};
use pal_store::{Entry, Snapshot};
use serde_json::Value;

use crate::custom;
use crate::object::index_of;
use crate::options::WriteOptions;
use crate::{key, meta};

/// The account that every namespace has soon.
const DEFAULT_ACCOUNT: &str = "default";
/// How many pods of a namespace are looked at when its standard is raised.
const PODS_CHECKED: usize = 3000;

/// A write, and the cluster that it falls into.
pub(crate) struct Scene<'a> {
    pub snapshot: &'a Snapshot,
    pub resource: &'a Resource,
    pub subresource: Option<&'a str>,
    pub namespace: Option<&'a str>,
    /// The name of what somebody wants to connect to; nothing is written then.
    pub connects: Option<&'a str>,
}

impl Scene<'_> {
    /// Gives a new object what the cluster gives it; before its defaults.
    pub(crate) fn fill(&self, object: &mut Value) -> Result<(), Status> {
        match (&*self.resource.group, &*self.resource.plural) {
            ("", "pods") => self.fill_pod(object),
            ("", "nodes") => {
                node::taint(object);
                Ok(())
            }
            ("", "persistentvolumeclaims") => {
                let unnamed = object["spec"].get("storageClassName").is_none_or(Value::is_null);
                if unnamed {
                    storage::fill_claim(&self.all("storage.k8s.io", "storageclasses", None), object);
                }
                storage::protect(object, storage::CLAIM_PROTECTION);
                Ok(())
            }
            ("", "persistentvolumes") => {
                storage::protect(object, storage::VOLUME_PROTECTION);
                Ok(())
            }
            ("networking.k8s.io", "ingresses") => {
                let unnamed = object["spec"].get("ingressClassName").is_none_or(Value::is_null);
                if unnamed {
                    storage::fill_ingress(&self.all("networking.k8s.io", "ingressclasses", None), object);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fill_pod(&self, object: &mut Value) -> Result<(), Status> {
        let ranges = self.all("", "limitranges", self.namespace);
        if !ranges.is_empty() {
            limits::fill_pod(&ranges, object);
        }
        if !pod::is_mirror(object) {
            self.fill_account(object)?;
        }
        let refused = |object: &Value, why: String| Err(self.forbidden(object, &why));
        if let Err(why) = priority::fill_pod(&self.all("scheduling.k8s.io", "priorityclasses", None), object) {
            return refused(object, why);
        }
        let class = pod::runtime_class(object).and_then(|name| self.one("node.k8s.io", "runtimeclasses", None, name));
        if let Err(why) = pod::fill_runtime(class, object) {
            return refused(object, why);
        }
        self.fill_topology(topology::node_of_pod, object);
        Ok(())
    }

    /// Gives what is posted and not stored what the cluster gives it.
    pub(crate) fn fill_posted(&self, posted: &mut Value) {
        if let ("", "pods", Some("binding")) = (&*self.resource.group, &*self.resource.plural, self.subresource) {
            self.fill_topology(topology::node_of_binding, posted);
        }
    }

    fn fill_topology(&self, node: fn(&Value) -> Option<&str>, object: &mut Value) {
        let Some(name) = node(object) else { return };
        let Some(nodes) = resource::find("", "v1", "nodes") else { return };
        if let Some(entry) = self.snapshot.get(key::of(&nodes, None, name)) {
            topology::label(index_of(entry).labels.iter().map(|(key, value)| (&**key, &**value)), object);
        }
    }

    /// The account that a pod names must be there, but for `default`: in a new namespace that is made a moment after.
    fn fill_account(&self, object: &mut Value) -> Result<(), Status> {
        let name = pod::account(object).to_owned();
        let account = self.one("", "serviceaccounts", self.namespace, &name);
        if account.is_none() && name != DEFAULT_ACCOUNT {
            let namespace = self.namespace.unwrap_or_default();
            let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
            return Err(self.forbidden(object, &why));
        }
        pod::fill_account(&name, account, object);
        Ok(())
    }

    /// What is refused of an object as it is to be stored, and what its writer is warned of.
    pub(crate) fn check(&self, old: Option<&Value>, new: &Value, options: &WriteOptions) -> Result<(), Status> {
        if options.warnings.is_some() && self.subresource.is_none() {
            kinds::warnings::of(self.resource, old, new).into_iter().for_each(|warning| options.warn(warning));
            if custom::is_definition(self.resource) {
                let known = old.map(pal_custom::unknown_formats).unwrap_or_default();
                let strange = pal_custom::unknown_formats(new).into_iter().filter(|format| !known.contains(format));
                strange.for_each(|format| options.warn(format!("unrecognized format {format:?}")));
            }
        }
        match (&*self.resource.group, &*self.resource.plural, self.subresource) {
            ("", "pods", None) if old.is_none() => {
                for range in self.all("", "limitranges", self.namespace) {
                    limits::check_pod(range, new).map_err(|why| self.forbidden(new, &why))?;
                }
                self.check_security(new, new, true, options)
            }
            ("", "pods", None | Some("ephemeralcontainers" | "resize")) => match old {
                Some(old) if pod_security::is_significant(old, new) => self.check_security(new, new, true, options),
                _ => Ok(()),
            },
            ("", "persistentvolumeclaims", None) => self.check_claim(old, new),
            ("scheduling.k8s.io", "priorityclasses", None) if new["globalDefault"] == true => {
                let classes = self.all("scheduling.k8s.io", "priorityclasses", None);
                priority::check_class(&classes, new).map_err(|why| self.forbidden(new, &why))
            }
            ("", "namespaces", None) => self.check_namespace(old, new, options),
            (_, _, None) => match template(self.resource, new) {
                Some(template) => self.check_security(new, template, false, options),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_claim(&self, old: Option<&Value>, new: &Value) -> Result<(), Status> {
        for range in self.all("", "limitranges", self.namespace) {
            limits::check_claim(range, new).map_err(|why| self.forbidden(new, &why))?;
        }
        let Some(old) = old else { return Ok(()) };
        let class = storage::class_of(old).and_then(|name| self.one("storage.k8s.io", "storageclasses", None, name));
        storage::check_growth(class, old, new).map_err(|why| self.forbidden(new, &why))
    }

    /// Judges a pod, or a template of pods, by its namespace's standard.
    fn check_security(
        &self,
        object: &Value,
        subject: &Value,
        enforce: bool,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let Some(home) = self.namespace.and_then(|name| self.snapshot.get(key::namespace(name))) else { return Ok(()) };
        let home = index_of(home);
        // So it is with most namespaces, and this is asked at each creation of a pod.
        if !pod_security::is_asked(home.labels.iter().map(|(key, _)| &**key)) {
            return Ok(());
        }
        let (policy, _) = Policy::of_labels(&home.sorted_labels());
        if [policy.enforce, policy.warn].iter().all(|standard| standard.level == Level::Privileged) {
            return Ok(());
        }
        let verdict = |standard| pod_security::verdict(standard, &subject["metadata"], &subject["spec"]);
        if enforce && let Some(why) = verdict(policy.enforce) {
            let why = format!("violates PodSecurity \"{}\": {why}", policy.enforce);
            return Err(self.forbidden(object, &why));
        }
        if let Some(why) = verdict(policy.warn) {
            options.warn(format!("would violate PodSecurity \"{}\": {why}", policy.warn));
        }
        Ok(())
    }

    /// A namespace's own labels, and what a stricter one means to the pods that are there.
    fn check_namespace(&self, old: Option<&Value>, new: &Value, options: &WriteOptions) -> Result<(), Status> {
        let read = |object: &Value| Policy::of_labels(&labels(object));
        let (policy, errors) = read(new);
        let Some(old) = old else {
            return if errors.is_empty() { Ok(()) } else { Err(self.invalid(new, &errors)) };
        };
        let (before, old_errors) = read(old);
        if !errors.is_empty() && errors != old_errors {
            return Err(self.invalid(new, &errors));
        }
        let (was, is) = (before.enforce, policy.enforce);
        if was == is || is.level == Level::Privileged || is.minor == was.minor && is.level <= was.level {
            return Ok(());
        }
        let name = meta::text(new, "name");
        let pods = self.pods(name);
        let named = pods.iter().map(|pod| (meta::text(pod, "name"), pod));
        for warning in pod_security::existing(name, is, named) {
            options.warn(warning);
        }
        Ok(())
    }

    /// Pods of a namespace, not kept as values: there are many.
    fn pods(&self, namespace: &str) -> Vec<Value> {
        let Some(pods) = resource::find("", "v1", "pods") else { return Vec::new() };
        let prefix = key::prefix(&pods, Some(namespace));
        let entries = self.snapshot.range(&prefix, None).take(PODS_CHECKED);
        entries.filter_map(|entry| serde_json::from_slice(entry.value()).ok()).collect()
    }

    pub(crate) fn forbidden(&self, object: &Value, why: &str) -> Status {
        Status::forbidden(self.resource, self.connects.unwrap_or_else(|| meta::called(object)), why)
    }

    fn invalid(&self, object: &Value, errors: &[pal_resources::FieldError]) -> Status {
        Status::invalid(self.resource, meta::text(object, "name"), errors)
    }

    /// One object of another resource, parsed once for all who look at it.
    pub(crate) fn one(&self, group: &str, plural: &str, namespace: Option<&str>, name: &str) -> Option<&Value> {
        let resource = resource::find(group, "v1", plural)?;
        value(self.snapshot.get(key::of(&resource, namespace, name))?)
    }

    /// All objects of another resource.
    fn all(&self, group: &str, plural: &str, namespace: Option<&str>) -> Vec<&Value> {
        let Some(resource) = resource::find(group, "v1", plural) else { return Vec::new() };
        self.snapshot.range(&key::prefix(&resource, namespace), None).filter_map(value).collect()
    }
}

/// A stored object, if it can be read.
pub(crate) fn value(entry: &Arc<Entry>) -> Option<&Value> {
    Some(index_of(entry).value(entry.value())).filter(|value| !value.is_null())
}

pub(crate) fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Where a kind that makes pods says what they are like.
fn template<'a>(resource: &Resource, object: &'a Value) -> Option<&'a Value> {
    match (&*resource.group, &*resource.plural) {
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs")
        | ("", "replicationcontrollers") => object["spec"].get("template"),
        ("batch", "cronjobs") => object["spec"]["jobTemplate"]["spec"].get("template"),
        ("", "podtemplates") => object.get("template"),
        _ => None,
    }
}
