//! An object as the registry hands it out: its wire form, and what was once read from it.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use pal_custom::policy::Policy;
use pal_resources::admission::quota::{self, Measure};
use pal_resources::{Resource, ResourceRef, ResourceVersion, Status, Uid, kinds, resource};
use pal_store::Entry;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::custom::Stamp;
use crate::stored::{self, Stored};

/// An object. Cheap to clone: all clones share the bytes and what was read from them.
#[derive(Clone)]
pub struct Object(Form);

#[derive(Clone)]
enum Form {
    Stored(Arc<Entry>),
    Made(Arc<Made>),
}

/// An object that is not stored as it is: the result of a dry run, a subresource, the last state of a deleted object.
struct Made {
    json: Bytes,
    version: ResourceVersion,
    index: OnceLock<Index>,
}

impl Object {
    pub(crate) fn stored(entry: Arc<Entry>) -> Self {
        Self(Form::Stored(entry))
    }

    /// An object that is not stored: `json` is the whole of it.
    pub fn made(json: Bytes, version: ResourceVersion) -> Self {
        Self(Form::Made(Arc::new(Made { json, version, index: OnceLock::new() })))
    }

    /// The whole object, with its resourceVersion.
    pub fn json(&self) -> &Bytes {
        match &self.0 {
            Form::Stored(entry) => entry.value(),
            Form::Made(made) => &made.json,
        }
    }

    /// The object as a value. Parses it anew.
    pub fn value(&self) -> Result<Value, Status> {
        serde_json::from_slice(self.json()).map_err(|error| self.unreadable(&error))
    }

    /// The object as its type, without `managedFields`: whoever writes it back leaves them as they are. Parses it anew.
    pub fn parse<K: DeserializeOwned>(&self) -> Result<K, Status> {
        serde_json::from_slice(&stored::without_managed(self.json())).map_err(|error| self.unreadable(&error))
    }

    /// Its resourceVersion; zero for an object that was never stored.
    pub fn version(&self) -> ResourceVersion {
        match &self.0 {
            Form::Stored(entry) => ResourceVersion(entry.modified().0),
            Form::Made(made) => made.version,
        }
    }

    /// Whether it was stored like this when it was created.
    pub(crate) fn is_first_version(&self) -> bool {
        matches!(&self.0, Form::Stored(entry) if entry.created() == entry.modified())
    }

    /// What selectors and controllers ask of it. Read once and kept with the stored object.
    pub fn index(&self) -> &Index {
        match &self.0 {
            Form::Stored(entry) => index_of(entry),
            Form::Made(made) => made.index.get_or_init(|| Index::read(&made.json)),
        }
    }

    /// What a server shows of it, made at most once and kept with the object as long as that is stored. There is one such
    /// type: for a second one `None` is returned.
    pub fn shown<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.index().seldom.get().shown.get_or_init(|| Arc::new(make())).downcast_ref()
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        &self.index().name
    }

    /// `metadata.namespace`
    pub fn namespace(&self) -> Option<&str> {
        self.index().namespace.as_deref()
    }

    fn unreadable(&self, error: &serde_json::Error) -> Status {
        match &self.0 {
            Form::Stored(entry) => unreadable(entry, error),
            Form::Made(_) => Status::internal(error),
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.json()))
    }
}

/// What is said of a stored object that cannot be read; the others are not affected by it.
pub(crate) fn unreadable(entry: &Entry, error: &serde_json::Error) -> Status {
    Status::internal(format_args!("unable to decode the stored object {:?}: {error}", entry.key().as_str()))
}

/// The index of a stored object, read at most once.
pub(crate) fn index_of(entry: &Entry) -> &Index {
    entry.memo(|bytes| {
        let mut index = Index::read(bytes);
        if !index.readable {
            // Selectors by name, and deletes, still find it.
            let key = entry.key().as_str();
            let path = key.split_once('/').map_or("", |(_, path)| path);
            match path.rsplit_once('/') {
                Some((namespace, name)) => {
                    index.namespace = Some(namespace.into());
                    index.name = name.into();
                }
                None => index.name = path.into(),
            }
        }
        index
    })
}

/// The index of an object that is about to be written, to be kept with it. Events are left out: they are many, and their
/// index is seldom asked for.
pub(crate) fn index_to_keep(resource: &Resource, written: &Value) -> Option<Index> {
    let is_asked_for = resource.custom.is_none() && resource.kind != "Event";
    is_asked_for.then(|| Index::of(Some(resource), written))
}

/// One of an object's owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Uid,
    /// The one that manages it.
    pub controller: bool,
    /// A foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

/// What is read from an object once.
#[derive(Clone, Debug)]
pub struct Index {
    pub name: Box<str>,
    pub namespace: Option<Box<str>>,
    pub uid: Uid,
    /// In no order, see [`Index::label`].
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// What field selectors can ask for beside name and namespace, see [`Index::field`].
    pub fields: Box<[(&'static str, Box<str>)]>,
    pub owners: Box<[Owner]>,
    pub finalizers: Box<[Box<str>]>,
    /// It has a deletion timestamp.
    pub deleting: bool,
    pub generation: i64,
    pub created: Option<Timestamp>,
    /// The latest time that an Event names; `None` for other kinds.
    pub last_seen: Option<Timestamp>,
    /// Whether the stored bytes could be read at all.
    pub readable: bool,
    seldom: Seldom,
}

/// What is made of few objects, and kept with them.
#[derive(Clone, Default)]
struct Seldom(OnceLock<Arc<Derived>>);

#[derive(Default)]
struct Derived {
    /// See [`Object::shown`].
    shown: OnceLock<Arc<dyn Any + Send + Sync>>,
    measure: OnceLock<Measure>,
    /// How a custom resource's object looks in the version in which it was shown last, if that differs from how it is
    /// stored.
    presented: Mutex<LastShown>,
    /// The object without its managers.
    value: OnceLock<Value>,
    /// A policy of admission.
    policy: OnceLock<Arc<Policy>>,
}

impl Seldom {
    fn get(&self) -> &Derived {
        self.0.get_or_init(Arc::default)
    }
}

/// By which definition it was shown last, and how; nothing where its bytes are those that are stored.
type LastShown = Option<(Stamp, Option<Bytes>)>;

impl fmt::Debug for Seldom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "made" } else { "not made" })
    }
}

impl Index {
    /// The object's bytes as the definition of that stamp shows them, made once as long as nobody asks for others.
    pub(crate) fn presented(&self, stamp: Stamp, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let mut kept = self.seldom.get().presented.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((known, bytes)) if *known == stamp => bytes.clone(),
            _ => {
                let bytes = make();
                *kept = Some((stamp, bytes.clone()));
                bytes
            }
        }
    }

    /// The value of a selectable field.
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "metadata.name" => return Some(&self.name),
            "metadata.namespace" => return self.namespace.as_deref(),
            _ => {}
        }
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| &**value)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(own, _)| **own == *key).map(|(_, value)| &**value)
    }

    /// The labels in the order of their keys.
    pub fn sorted_labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    /// The owner that manages the object.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// What quotas count of the object, whose bytes are `json`; measured once.
    pub(crate) fn measure(&self, resource: &Resource, json: &[u8]) -> &Measure {
        self.seldom.get().measure.get_or_init(|| {
            let object = Stored::read(json).map(|stored| stored.value).unwrap_or_default();
            quota::measure(resource, &object)
        })
    }

    /// The object, whose bytes are `json`, without its managers; null if it cannot be read. It is parsed once and kept: for
    /// the few objects that are looked at whenever others are written.
    pub(crate) fn value(&self, json: &[u8]) -> &Value {
        let read = || Stored::read(json).map(|stored| stored.value).unwrap_or_default();
        self.seldom.get().value.get_or_init(read)
    }

    /// The policy of admission that the object is, compiled once.
    pub(crate) fn policy(&self, json: &[u8]) -> Arc<Policy> {
        self.seldom.get().policy.get_or_init(|| Arc::new(Policy::compile(self.value(json)))).clone()
    }

    fn read(json: &[u8]) -> Self {
        match Stored::read(json) {
            Ok(stored) => Self::of(resource_of(&stored.value).as_deref(), &stored.value),
            Err(_) => Self { readable: false, ..Self::of(None, &Value::Null) },
        }
    }

    /// What is asked of an object of that resource.
    fn of(resource: Option<&Resource>, object: &Value) -> Self {
        let metadata = &object["metadata"];
        let text = |value: &Value| Box::<str>::from(value.as_str().unwrap_or_default());
        let labels = metadata["labels"].as_object().into_iter().flatten();
        let finalizers = metadata["finalizers"].as_array().into_iter().flatten();
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        Self {
            name: text(&metadata["name"]),
            namespace: metadata["namespace"].as_str().map(Into::into),
            uid: Uid(metadata["uid"].as_str().unwrap_or_default().to_owned()),
            labels: labels.map(|(key, value)| (key.as_str().into(), text(value))).collect(),
            fields: resource.map(|resource| fields(resource, object)).unwrap_or_default(),
            owners: owners
                .map(|owner| Owner {
                    api_version: text(&owner["apiVersion"]),
                    kind: text(&owner["kind"]),
                    name: text(&owner["name"]),
                    uid: Uid(owner["uid"].as_str().unwrap_or_default().to_owned()),
                    controller: owner["controller"] == true,
                    block_owner_deletion: owner["blockOwnerDeletion"] == true,
                })
                .collect(),
            finalizers: finalizers.map(text).collect(),
            deleting: metadata["deletionTimestamp"].is_string(),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            created: metadata["creationTimestamp"].as_str().and_then(|time| time.parse().ok()),
            last_seen: resource.filter(|resource| resource.kind == "Event").and_then(|_| last_seen(object)),
            readable: true,
            seldom: Seldom::default(),
        }
    }
}

/// The built-in resource of the kind that an object says it is of.
fn resource_of(object: &Value) -> Option<ResourceRef> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    resource::by_kind(group, version, object["kind"].as_str().unwrap_or_default())
}

fn fields(resource: &Resource, object: &Value) -> Box<[(&'static str, Box<str>)]> {
    kinds::field_labels(resource, object)
        .into_iter()
        .filter(|(field, value)| !field.starts_with("metadata.") && !value.is_empty())
        .map(|(field, value)| (field, value.into_boxed_str()))
        .collect()
}

/// When an Event was last told, by its own account: clients write these times.
fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = [&event["lastTimestamp"], &event["eventTime"], &event["series"]["lastObservedTime"]];
    times.into_iter().filter_map(|time| time.as_str()?.parse().ok()).max()
}
