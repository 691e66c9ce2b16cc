//! What pods have beside other objects: the binding to a node, and conditions that others go by.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pal_resources::{Resource, ResourceRef, Status, Uid, resource};
use serde_json::{Map, Value, json};

use crate::object::Object;
use crate::options::{Binding, WriteOptions};
use crate::registry::Registry;
use crate::{lifecycle, meta};

pub(crate) fn pods() -> Result<ResourceRef, Status> {
    resource::find("", "v1", "pods").ok_or_else(Status::unknown_path)
}

/// One condition of the pod's status.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// The pod's conditions with this one in the place of the one of its kind.
pub fn with_condition(pod: &Pod, condition: PodCondition) -> Vec<PodCondition> {
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.retain(|other| other.type_ != condition.type_);
    conditions.push(condition);
    conditions
}

/// The pod's conditions with the one that tells who takes the pod away and why (KEP-3329): policies of Jobs ask for it.
pub fn disrupted(pod: &Pod, reason: &str, message: String, now: Timestamp) -> Vec<PodCondition> {
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    with_condition(pod, condition)
}

/// Whether its `Ready` condition holds.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

impl Registry {
    /// What policies of admission make of a binding, and refuse of it.
    pub fn admit_binding(
        &self,
        namespace: &str,
        name: &str,
        binding: &mut Binding,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let mut posted = binding.posted(namespace, name);
        self.admit_posted(&*pods()?, Some("binding"), namespace, &mut posted, options)?;
        *binding = Binding::read(&posted);
        Ok(())
    }

    /// Sends a pod to a node, in one write: its `spec.nodeName`, the binding's labels and annotations, and the
    /// PodScheduled condition. A pod that has a node, or that is being deleted, keeps what it has.
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
}

fn assign(pods: &Resource, pod: &mut Value, name: &str, binding: &Binding, now: jiff::Timestamp) -> Result<(), Status> {
    const WRITTEN: &str = "pods/binding";
    let refused = |why: String| Err(Status::conflict(&Resource { plural: WRITTEN.into(), ..pods.clone() }, name, &why));
    if let Some(mut status) = unmet(pods, pod, name, binding) {
        status.message = status.message.replacen("pods ", "pods/binding ", 1);
        if let Some(details) = &mut status.details {
            details.kind = WRITTEN.to_owned();
        }
        return Err(status);
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
    for (field, pairs) in [("labels", &binding.labels), ("annotations", &binding.annotations)] {
        if !pairs.is_empty() {
            let all = object_at(meta::metadata_mut(pod)?, field)?;
            all.extend(pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
        }
    }
    let generation = pod["metadata"]["generation"].clone();
    let Some(fields) = pod.as_object_mut() else { return Ok(()) };
    let status = object_at(fields, "status")?;
    // Where room was to be made no longer matters.
    status.remove("nominatedNodeName");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        let time = lifecycle::timestamp(now);
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastTransitionTime": time, "observedGeneration": generation
        }));
    }
    Ok(())
}

/// Says that another pod is meant, or another version of it.
fn unmet(pods: &Resource, pod: &Value, name: &str, binding: &Binding) -> Option<Status> {
    let (place, uid, version) =
        ((meta::text(pod, "namespace"), name), meta::text(pod, "uid"), meta::text(pod, "resourceVersion"));
    if let Some(Uid(wanted)) = binding.uid.as_ref().filter(|Uid(wanted)| wanted != uid) {
        return Some(Status::other_uid(pods, place, wanted, uid));
    }
    let wanted = binding.version.as_ref().filter(|wanted| *wanted != version)?;
    Some(Status::other_version(pods, place, wanted, version))
}

fn object_at<'a>(fields: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Map<String, Value>, Status> {
    let value = fields.entry(name).or_insert_with(|| json!({}));
    value.as_object_mut().ok_or_else(|| Status::internal(format_args!("{name} is not an object")))
}
