//! Who owns the fields of what is written: `metadata.managedFields` kept by every write.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use pal_patch::apply::{self, FieldSet, Managers, Rules, Shape, Writer};
use pal_resources::{FieldError, FieldPath, Resource, Status};
use serde_json::{Map, Value};

use crate::custom::{Kind, kind_of};
use crate::lifecycle;
use crate::options::WriteOptions;
use crate::stored::{self, MANAGED_FIELDS, Managed, Stored};

/// A write, as far as ownership is concerned.
pub(crate) struct Tracker<'a> {
    api_version: String,
    shape: Shape<'a>,
    /// The other versions of a custom resource.
    others: Vec<(&'a str, Shape<'a>)>,
    ignored: &'static FieldSet,
    manager: &'a str,
    subresource: &'a str,
    now: String,
}

impl<'a> Tracker<'a> {
    pub(crate) fn new(
        resource: &'a Resource,
        subresource: Option<&'a str>,
        options: &'a WriteOptions,
        now: Timestamp,
    ) -> Self {
        let custom = kind_of(resource);
        let shape = match custom {
            Some(kind) => Some(kind.shape()),
            None => Shape::of_kind(&resource.group, &resource.version, &resource.kind),
        };
        Self {
            api_version: resource.api_version(),
            shape: shape.unwrap_or(Shape::Deduced),
            others: custom.map(Kind::other_shapes).unwrap_or_default(),
            ignored: reset_fields(resource, subresource),
            manager: options.field_manager.as_deref().unwrap_or_default(),
            subresource: subresource.unwrap_or_default(),
            now: lifecycle::timestamp(now),
        }
    }

    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules { api_version: &self.api_version, shape: self.shape, others: &self.others, ignored: self.ignored }
    }

    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer { manager: self.manager, subresource: self.subresource, now: &self.now }
    }

    /// The managers of a new object. `given` is what its body says of them; `absent` are the fields that the server adds
    /// and the body did not have, which nobody owns.
    pub(crate) fn created(&self, object: &Value, given: Option<&Value>, absent: &FieldSet) -> Managed {
        let given = given.filter(|given| !Managers::is_reset(given)).and_then(|given| Managers::from_value(given).ok());
        let Some(given) = given.filter(|given| !given.is_empty()) else {
            return stored::managed(apply::created(&self.rules(), object, absent, &self.writer()));
        };
        let ignored = if absent.is_empty() { self.ignored.clone() } else { self.ignored.union(absent) };
        let rules = Rules { ignored: &ignored, ..self.rules() };
        let nothing = Value::Object(Map::new());
        let managers = apply::track(&rules, &nothing, object, given, &self.writer());
        stored::managed(managers.to_json())
    }

    /// The managers after `old` became `new`. `given` is what the request says of them.
    pub(crate) fn updated(&self, old: &Stored, new: &Value, given: Option<&Value>) -> Managed {
        // What a subresource's body says of managers does not count.
        let given = given.filter(|_| self.subresource.is_empty());
        if given.is_none() && old.value == *new {
            return old.managed.clone();
        }
        let managers = match given {
            Some(given) if Managers::is_reset(given) => Managers::default(),
            Some(given) => match Managers::from_value(given) {
                // Clients that know nothing of managers must not remove them.
                Ok(managers) if !managers.is_empty() => managers,
                _ => read(&old.managed),
            },
            None => read(&old.managed),
        };
        let managers = apply::track(&self.rules(), &old.value, new, managers, &self.writer());
        stored::managed(managers.to_json())
    }
}

/// The managers that are stored; none where they cannot be read.
pub(crate) fn read(managed: &Managed) -> Managers {
    managed.as_ref().and_then(|text| Managers::from_json(text).ok()).unwrap_or_default()
}

/// Whether both say the same but for times: a write that would change times alone changes nothing.
pub(crate) fn is_unchanged(old: &Managed, new: &Managed) -> bool {
    old == new || old.is_some() == new.is_some() && read(old).owns_same(&read(new))
}

/// Takes from a body what it says of managers.
pub(crate) fn take_given(body: &mut Value) -> Option<Value> {
    let metadata = body.get_mut("metadata")?.as_object_mut()?;
    metadata.remove(MANAGED_FIELDS).filter(|given| !given.is_null())
}

/// How long the name of a manager may be.
const MAX_MANAGER_BYTES: usize = 128;

/// Refuses names of managers that are too long. What else is wrong makes nobody own anything.
pub(crate) fn check_given(resource: &Resource, name: &str, given: Option<&Value>) -> Result<(), Status> {
    let Some(given) = given else { return Ok(()) };
    let path = FieldPath::new("metadata").child("managedFields");
    let long = |entry: &Value| entry["manager"].as_str().is_some_and(|manager| manager.len() > MAX_MANAGER_BYTES);
    let entries = Some(given).filter(|given| Managers::from_value(given).is_ok()).and_then(Value::as_array);
    let entries = entries.into_iter().flatten().enumerate().filter(|(_, entry)| long(entry));
    let error = |(index, _)| FieldError::too_long(&path.index(index).child("manager"), MAX_MANAGER_BYTES);
    match entries.map(error).collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        errors => Err(Status::invalid(resource, name, errors)),
    }
}

static NOTHING: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["status"]]));
static SPEC: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["spec"]]));
static METADATA_AND_SPEC: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["metadata"], &["spec"]]));
static SPEC_AND_LABELS: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of_fields(&[&["spec"], &["metadata", "labels"]]));
static OF_POD_STATUS: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
});
static OF_REQUEST: LazyLock<FieldSet> = LazyLock::new(|| {
    let spec = ["extra", "groups", "uid", "username"];
    let paths: Vec<Vec<&str>> = spec.iter().map(|name| vec!["spec", *name]).chain([vec!["status"]]).collect();
    FieldSet::of_fields(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
});
static OF_REQUEST_STATUS: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of_fields(&[&["spec"], &["status", "conditions"]]));
static OF_REQUEST_APPROVAL: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of_fields(&[&["spec"], &["status", "certificate"]]));

/// What a write does not touch, whatever its body says: `GetResetFields` of kube-apiserver's strategies.
pub(crate) fn reset_fields(resource: &Resource, subresource: Option<&str>) -> &'static FieldSet {
    match (&*resource.group, &*resource.plural, subresource) {
        ("certificates.k8s.io", "certificatesigningrequests", None) => &OF_REQUEST,
        ("certificates.k8s.io", "certificatesigningrequests", Some("status")) => &OF_REQUEST_STATUS,
        ("certificates.k8s.io", "certificatesigningrequests", Some("approval")) => &OF_REQUEST_APPROVAL,
        ("", "pods", Some("status")) => &OF_POD_STATUS,
        ("apps", "deployments", Some("status")) => &SPEC_AND_LABELS,
        ("apiextensions.k8s.io", _, Some("status")) => &METADATA_AND_SPEC,
        (_, _, Some("status")) => &SPEC,
        (_, _, Some(_)) => &STATUS,
        _ if resource.subresource("status").is_some() => &STATUS,
        _ => &NOTHING,
    }
}

const POD_FIELDS: &[&[&str]] = &[
    &["spec", "priority"],
    &["spec", "preemptionPolicy"],
    &["spec", "serviceAccount"],
    &["spec", "serviceAccountName"],
    &["spec", "tolerations"],
];
static OF_PODS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(POD_FIELDS));

/// By these a job knows its pods. What its template has of labels the job gets as its own, as a default: who names the ones
/// owns the others.
const JOB_FIELDS: &[&[&str]] = &[
    JOB_LABELS,
    &["metadata", "labels", "batch.kubernetes.io/controller-uid"],
    &["metadata", "labels", "batch.kubernetes.io/job-name"],
    &["metadata", "labels", "controller-uid"],
    &["metadata", "labels", "job-name"],
    &["spec", "selector"],
    &["spec", "template", "metadata"],
    TEMPLATE_LABELS,
    &["spec", "template", "metadata", "labels", "batch.kubernetes.io/controller-uid"],
    &["spec", "template", "metadata", "labels", "batch.kubernetes.io/job-name"],
    &["spec", "template", "metadata", "labels", "controller-uid"],
    &["spec", "template", "metadata", "labels", "job-name"],
];
const JOB_LABELS: &[&str] = &["metadata", "labels"];
const TEMPLATE_LABELS: &[&str] = &["spec", "template", "metadata", "labels"];

/// Fields that the server gives to new objects of a kind: admission's and allocated ones. Their owner is whoever names
/// them in the body; else they have none.
fn given_by_server(resource: &Resource) -> &'static [&'static [&'static str]] {
    match (&*resource.group, &*resource.plural) {
        ("", "pods") => POD_FIELDS,
        ("", "services") => &[
            &["spec", "clusterIP"],
            &["spec", "clusterIPs"],
            &["spec", "healthCheckNodePort"],
            &["spec", "ipFamilies"],
            &["spec", "ipFamilyPolicy"],
        ],
        ("", "namespaces") => &[&["spec"]],
        ("batch", "jobs") => JOB_FIELDS,
        _ => &[],
    }
}

/// Those of them that the body does not have.
pub(crate) fn absent(resource: &Resource, body: &Value) -> Cow<'static, FieldSet> {
    let find = |path: &[&str]| path.iter().try_fold(body, |value, name| value.get(name));
    let has = |path: &[&str]| {
        let found = find(path).or_else(|| find(TEMPLATE_LABELS).filter(|_| path == JOB_LABELS));
        // A pod may name its account by either field.
        let other = path.last() == Some(&"serviceAccount") && body["spec"].get("serviceAccountName").is_some()
            || path.last() == Some(&"serviceAccountName") && body["spec"].get("serviceAccount").is_some();
        other || found.is_some_and(|value| !value.is_null())
    };
    let given = given_by_server(resource);
    let paths: Vec<&[&str]> = given.iter().copied().filter(|path| !has(path)).collect();
    if paths.is_empty() {
        return Cow::Borrowed(&NOTHING);
    }
    // Most pods name none of it.
    if paths.len() == given.len() && resource.kind == "Pod" {
        return Cow::Borrowed(&OF_PODS);
    }
    Cow::Owned(FieldSet::of_fields(&paths))
}
