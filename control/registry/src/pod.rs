//! What pods have beside other objects: admission, the binding to a node, eviction.

use pal_resources::{Resource, ResourceRef, Status, Uid, resource};
use pal_store::Snapshot;
use serde_json::{Map, Value, json};

use crate::object::Object;
use crate::options::{Binding, DeleteOptions, Deletion, WriteOptions};
use crate::registry::Registry;
use crate::{key, lifecycle, meta};

/// The priorities that exist without a PriorityClass object.
const SYSTEM_PRIORITIES: &[(&str, i64)] =
    &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// The account that every pod has that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// Service account and priority, as the admission plugins of those names give them.
pub(crate) fn admit(resource: &Resource, pod: &mut Value) -> Result<(), Status> {
    let name = meta::text(pod, "name").to_owned();
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    let given = |field: &str| spec.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let account = given("serviceAccountName").or_else(|| given("serviceAccount")).unwrap_or(DEFAULT_ACCOUNT).to_owned();
    let class = given("priorityClassName").map(str::to_owned);
    let priority = match &class {
        None => 0,
        Some(class) => {
            SYSTEM_PRIORITIES.iter().find(|(known, _)| known == class).map(|(_, priority)| *priority).ok_or_else(
                || Status::forbidden(resource, &name, &format!("no PriorityClass with name {class} was found")),
            )?
        }
    };
    if let Some(asked) = spec.get("priority").and_then(Value::as_i64)
        && asked != priority
    {
        let why = format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; \
             priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(Status::forbidden(resource, &name, &why));
    }
    spec.insert("serviceAccountName".to_owned(), account.as_str().into());
    spec.insert("serviceAccount".to_owned(), account.into());
    spec.insert("priority".to_owned(), priority.into());
    spec.entry("preemptionPolicy").or_insert_with(|| "PreemptLowerPriority".into());
    Ok(())
}

/// The account that a pod names must be there, but for `default`: in a new namespace that is made a moment after.
pub(crate) fn check_account(
    snapshot: &Snapshot,
    resource: &Resource,
    namespace: &str,
    pod: &Value,
) -> Result<(), Status> {
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or(DEFAULT_ACCOUNT);
    let accounts = resource::find("", "v1", "serviceaccounts").ok_or_else(Status::unknown_path)?;
    if account == DEFAULT_ACCOUNT || snapshot.get(key::of(&accounts, Some(namespace), account)).is_some() {
        return Ok(());
    }
    let why = format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
    Err(Status::forbidden(resource, meta::text(pod, "name"), &why))
}

pub(crate) fn pods() -> Result<ResourceRef, Status> {
    resource::find("", "v1", "pods").ok_or_else(Status::unknown_path)
}

impl Registry {
    /// Sends a pod to a node, in one write: its `spec.nodeName`, the binding's annotations and the PodScheduled
    /// condition. A pod that has a node, or that is being deleted, keeps what it has.
    pub async fn bind(
        &self,
        namespace: &str,
        name: &str,
        binding: &Binding,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        let pods = pods()?;
        if binding.node.is_empty() {
            return Err(Status::bad_request("target.name: Required value"));
        }
        let now = self.env().now;
        let bound = self.rewrite(&pods, Some(namespace), name, options.dry_run, |old| {
            let mut pod = old.clone();
            assign(&pods, &mut pod, name, binding, now)?;
            Ok(lifecycle::Outcome::Keep(pod))
        });
        Ok(bound.await?.object)
    }

    /// Takes a pod off its node as a delete does.
    pub async fn evict(&self, namespace: &str, name: &str, options: &DeleteOptions) -> Result<Deletion, Status> {
        let pods = pods()?;
        self.delete(&pods, Some(namespace), name, options).await
    }
}

fn assign(pods: &Resource, pod: &mut Value, name: &str, binding: &Binding, now: jiff::Timestamp) -> Result<(), Status> {
    let refused = |why: String| {
        let mut status = Status::conflict(pods, name, &why);
        status.message = status.message.replacen("pods ", "pods/binding ", 1);
        Err(status)
    };
    let uid = meta::text(pod, "uid");
    if let Some(Uid(wanted)) = &binding.uid
        && wanted != uid
    {
        return refused(format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"));
    }
    if lifecycle::is_deleting(pod) {
        return refused(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return refused(format!("pod {name} is already assigned to node {node:?}"));
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return refused(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return Err(Status::internal(format_args!("pod {name} has no spec")));
    };
    spec.insert("nodeName".to_owned(), binding.node.as_str().into());
    if !binding.annotations.is_empty() {
        let annotations = object_at(meta::metadata_mut(pod)?, "annotations")?;
        for (key, value) in &binding.annotations {
            annotations.insert(key.clone(), value.as_str().into());
        }
    }
    let Some(fields) = pod.as_object_mut() else { return Ok(()) };
    let status = object_at(fields, "status")?;
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        let time = lifecycle::timestamp(now);
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastTransitionTime": time
        }));
    }
    Ok(())
}

fn object_at<'a>(fields: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Map<String, Value>, Status> {
    let value = fields.entry(name).or_insert_with(|| json!({}));
    value.as_object_mut().ok_or_else(|| Status::internal(format_args!("{name} is not an object")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_service_account_and_priority() {
        fn check(spec: Value, expected: Result<Value, &str>) {
            let mut pod = json!({"metadata": {"name": "a"}, "spec": spec});
            let pods = pods().expect("pods are built in");
            let admitted = admit(&pods, &mut pod).map(|()| pod["spec"].clone()).map_err(|status| status.message);
            assert_eq!(admitted, expected.map_err(str::to_owned));
        }
        let spec = |account: &str, priority: i64| {
            json!({"serviceAccountName": account, "serviceAccount": account, "priority": priority,
                "preemptionPolicy": "PreemptLowerPriority"})
        };
        check(json!({}), Ok(spec("default", 0)));
        check(json!({"serviceAccountName": ""}), Ok(spec("default", 0)));
        check(json!({"serviceAccount": "x"}), Ok(spec("x", 0)));
        let mut critical = spec("default", 2_000_001_000);
        critical["priorityClassName"] = "system-node-critical".into();
        check(json!({"priorityClassName": "system-node-critical"}), Ok(critical));
        check(
            json!({"priorityClassName": "gold"}),
            Err("pods \"a\" is forbidden: no PriorityClass with name gold was found"),
        );
    }
}
