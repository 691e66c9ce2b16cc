//! Kinds that are served in two forms and stored in one: Events of `events.k8s.io` are stored as the core group's, and
//! HorizontalPodAutoscalers of `autoscaling/v1` as those of `v2`.

use serde_json::{Map, Value, json};

use crate::resource::{self, Resource, ResourceRef};
use crate::{FieldError, FieldPath};

/// A form that is served beside the stored one.
#[derive(Debug)]
pub struct Form {
    /// Group, version and plural of what is served and of what is stored.
    served: (&'static str, &'static str, &'static str),
    stored: (&'static str, &'static str, &'static str),
    to_stored: fn(&mut Map<String, Value>),
    to_served: fn(&mut Map<String, Value>),
    /// Names of fields that selectors use: served, stored.
    fields: &'static [(&'static str, &'static str)],
    check: fn(Option<&Value>, &Value) -> Vec<FieldError>,
}

const FORMS: &[Form] = &[
    Form {
        served: ("events.k8s.io", "v1", "events"),
        stored: ("", "v1", "events"),
        to_stored: |event| rename(event, EVENT.iter().map(|(served, stored)| (*served, *stored))),
        to_served: |event| rename(event, EVENT.iter().map(|(served, stored)| (*stored, *served))),
        fields: &[("regarding", "involvedObject"), ("reportingController", "reportingComponent")],
        check: check_event,
    },
    Form {
        served: ("autoscaling", "v1", "horizontalpodautoscalers"),
        stored: ("autoscaling", "v2", "horizontalpodautoscalers"),
        to_stored: autoscaler_to_stored,
        to_served: autoscaler_to_served,
        fields: &[],
        check: |_, _| Vec::new(),
    },
];

/// The names of an Event's fields in `events.k8s.io` and in the core group.
const EVENT: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// The form in which the resource's objects are served, if they are stored in another.
pub fn of(resource: &Resource) -> Option<&'static Form> {
    let is = |form: &&Form| (&*resource.group, &*resource.version, &*resource.plural) == form.served;
    FORMS.iter().find(is)
}

impl Form {
    /// The resource whose objects are stored.
    pub fn resource(&self) -> Option<ResourceRef> {
        let (group, version, plural) = self.stored;
        resource::find(group, version, plural)
    }

    /// An object of this form as it is stored.
    pub fn stored(&self, mut object: Value) -> Value {
        self.convert(&mut object, self.to_stored, self.stored);
        object
    }

    /// A stored object in this form.
    pub fn served(&self, mut object: Value) -> Value {
        self.convert(&mut object, self.to_served, self.served);
        object
    }

    fn convert(&self, object: &mut Value, convert: fn(&mut Map<String, Value>), to: (&str, &str, &str)) {
        let Some(fields) = object.as_object_mut() else { return };
        convert(fields);
        if let Some(version) = fields.get_mut("apiVersion") {
            *version = if to.0.is_empty() { to.1.into() } else { format!("{}/{}", to.0, to.1).into() };
        }
    }

    /// The stored name of a field that a selector names.
    pub fn field(&self, served: &str) -> String {
        let (first, rest) = served.split_once('.').map_or((served, None), |(first, rest)| (first, Some(rest)));
        let stored = self.fields.iter().find(|(name, _)| *name == first).map_or(first, |(_, stored)| stored);
        rest.map_or_else(|| stored.to_owned(), |rest| format!("{stored}.{rest}"))
    }

    /// What is wrong with an object that is written in this form beside what is wrong with it in the stored one; both are
    /// given as stored.
    pub fn check(&self, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
        (self.check)(old, new)
    }
}

fn rename<'a>(fields: &mut Map<String, Value>, names: impl Iterator<Item = (&'a str, &'a str)>) {
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

/// What `events.k8s.io` asks of an Event (`pkg/apis/core/validation/events.go`), which names the fields as they are stored.
fn check_event(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.is_none_or(|old| old["series"] != new["series"]) && new["series"].is_object() {
        let series = &new["series"];
        if series["count"].as_i64().unwrap_or_default() < 2 {
            errors.push(FieldError::invalid(&FieldPath::new("series.count"), "", "should be at least 2"));
        }
        if series["lastObservedTime"].is_null() {
            errors.push(FieldError::required(&FieldPath::new("series.lastObservedTime"), ""));
        }
    }
    match old {
        None => check_new_event(new, &mut errors),
        Some(old) => {
            for field in KEPT {
                let empty = |value: &Value| {
                    value.is_null() || value.as_str() == Some("") || value.as_object().is_some_and(Map::is_empty)
                };
                let (was, is) = (&old[*field], &new[*field]);
                if was != is && !(empty(was) && empty(is)) {
                    errors.push(FieldError::invalid(&FieldPath::new(field), is.clone(), "field is immutable"));
                }
            }
        }
    }
    errors
}

/// What of an Event does not change.
const KEPT: &[&str] = &[
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

fn check_new_event(event: &Value, errors: &mut Vec<FieldError>) {
    if event["eventTime"].is_null() {
        errors.push(FieldError::required(&FieldPath::new("eventTime"), ""));
    }
    let kind = event["type"].as_str().unwrap_or_default();
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid(&FieldPath::new("type"), "", &format!("has invalid value: {kind}")));
    }
    let source = &event["source"];
    let set = [
        ("firstTimestamp", !event["firstTimestamp"].is_null()),
        ("lastTimestamp", !event["lastTimestamp"].is_null()),
        ("count", event["count"].as_i64().unwrap_or_default() != 0),
        (
            "source",
            ["component", "host"].iter().any(|field| source[*field].as_str().is_some_and(|text| !text.is_empty())),
        ),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set) {
        errors.push(FieldError::invalid(&FieldPath::new(field), "", "needs to be unset"));
    }
}

/// The share of CPU is one metric among others in `v2`; `v1` has annotations for those.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

fn is_cpu_share(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["averageUtilization"].is_number()
}

fn annotate(fields: &mut Map<String, Value>, name: &str, value: &Value) {
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_object() {
        if !metadata["annotations"].is_object() {
            metadata["annotations"] = json!({});
        }
        metadata["annotations"][name] = value.to_string().into();
    }
}

/// Takes an annotation with JSON in it. Whoever wrote it may have written anything.
fn annotated(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let annotations = fields.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
    serde_json::from_str(annotations.remove(name)?.as_str()?).ok()
}

fn autoscaler_to_served(fields: &mut Map<String, Value>) {
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = spec.remove("metrics").and_then(|metrics| metrics.as_array().cloned()).unwrap_or_default();
        let behavior = spec.remove("behavior");
        let (mut share, mut others) = (None, Vec::new());
        for metric in metrics {
            if share.is_none() && is_cpu_share(&metric) {
                share = Some(metric["resource"]["target"]["averageUtilization"].clone());
            } else {
                others.push(metric);
            }
        }
        if let Some(share) = share {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), share);
        }
        if !others.is_empty() {
            annotate(fields, METRICS, &others.into());
        }
        if let Some(behavior) = behavior {
            annotate(fields, BEHAVIOR, &behavior);
        }
    }
    let Some(status) = fields.get_mut("status").and_then(Value::as_object_mut) else { return };
    let current = status.remove("currentMetrics").filter(Value::is_array);
    let conditions = status.remove("conditions").filter(|list| list.as_array().is_some_and(|list| !list.is_empty()));
    let share = current.iter().flat_map(|list| list.as_array().into_iter().flatten()).find_map(|metric| {
        let cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
        cpu.then(|| metric["resource"]["current"]["averageUtilization"].as_i64()).flatten()
    });
    if let Some(share) = share {
        status.insert("currentCPUUtilizationPercentage".to_owned(), share.into());
    }
    for number in ["currentReplicas", "desiredReplicas"] {
        status.entry(number).or_insert_with(|| 0.into());
    }
    if let Some(current) = current.filter(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
        annotate(fields, CURRENT, &current);
    }
    if let Some(conditions) = conditions {
        annotate(fields, CONDITIONS, &conditions);
    }
}

fn autoscaler_to_stored(fields: &mut Map<String, Value>) {
    let others = annotated(fields, METRICS);
    let behavior = annotated(fields, BEHAVIOR);
    let (conditions, current) = (annotated(fields, CONDITIONS), annotated(fields, CURRENT));
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        let share = spec.remove("targetCPUUtilizationPercentage").filter(Value::is_number);
        let share = share.map(|share| {
            let target = json!({"type": "Utilization", "averageUtilization": share});
            json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
        });
        let others = others.and_then(|others| others.as_array().cloned()).unwrap_or_default();
        let metrics: Vec<Value> = share.into_iter().chain(others).collect();
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), metrics.into());
        }
        spec.extend(behavior.filter(Value::is_object).map(|behavior| ("behavior".to_owned(), behavior)));
    }
    let Some(status) = fields.get_mut("status").and_then(Value::as_object_mut) else { return };
    status.remove("currentCPUUtilizationPercentage");
    let lists = [("conditions", conditions), ("currentMetrics", current)];
    for (field, list) in lists {
        status.extend(list.filter(Value::is_array).map(|list| (field.to_owned(), list)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(group: &str, version: &str, plural: &str) -> &'static Form {
        of(&resource::find(group, version, plural).expect("built in")).expect("another form")
    }

    #[test]
    fn what_is_served_comes_back_as_it_was_stored() {
        fn check(form: &Form, stored: Value, served: Value) {
            assert_eq!(form.served(stored.clone()), served);
            assert_eq!(form.stored(served), stored);
        }
        check(
            form("events.k8s.io", "v1", "events"),
            json!({"apiVersion": "v1", "kind": "Event", "reason": "r", "involvedObject": {"name": "p"}, "message": "m",
                   "reportingComponent": "c", "source": {}, "firstTimestamp": null, "lastTimestamp": null, "count": 2}),
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "reason": "r", "regarding": {"name": "p"},
                   "note": "m", "reportingController": "c", "deprecatedSource": {}, "deprecatedFirstTimestamp": null,
                   "deprecatedLastTimestamp": null, "deprecatedCount": 2}),
        );
        let cpu = json!({"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}});
        let pods = json!({"type": "Pods"});
        check(
            form("autoscaling", "v1", "horizontalpodautoscalers"),
            json!({"apiVersion": "autoscaling/v2", "metadata": {"annotations": {}},
                   "spec": {"maxReplicas": 3, "metrics": [cpu, pods]}}),
            json!({"apiVersion": "autoscaling/v1", "metadata": {"annotations": {METRICS: json!([pods]).to_string()}},
                   "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}}),
        );
    }

    #[test]
    fn new_events_say_when_and_keep_what_they_said() {
        fn check(old: Option<Value>, new: Value, expected: &[&str]) {
            let errors = form("events.k8s.io", "v1", "events").check(old.as_ref(), &new);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{new}");
        }
        let whole = json!({"eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "source": {}});
        check(None, whole.clone(), &[]);
        check(
            None,
            json!({"count": 1, "source": {"host": "h"}, "series": {"count": 1}}),
            &[
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
                "eventTime: Required value",
                "type: Invalid value: \"\": has invalid value: ",
                "count: Invalid value: \"\": needs to be unset",
                "source: Invalid value: \"\": needs to be unset",
            ],
        );
        let mut counted = whole.clone();
        counted["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"});
        check(Some(whole.clone()), counted, &[]);
        let mut other = whole.clone();
        other["message"] = "m".into();
        check(Some(whole), other, &["message: Invalid value: \"m\": field is immutable"]);
    }

    #[test]
    fn selectors_name_fields_as_they_are_served() {
        let events = form("events.k8s.io", "v1", "events");
        assert_eq!(events.field("regarding.name"), "involvedObject.name");
        assert_eq!(events.field("reportingController"), "reportingComponent");
        assert_eq!(events.field("metadata.name"), "metadata.name");
    }
}
