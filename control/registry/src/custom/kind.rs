//! One served version of a custom resource.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use pal_custom::{Column, Definition, Judged, ScalePaths, Version};
use pal_patch::apply::{Schema, Shape};
use pal_resources::kinds::Env;
use pal_resources::kinds::untyped::{self, Part};
use pal_resources::status::StatusDetails;
use pal_resources::{Reason, Resource, Status};
use pal_store::{Guard, Key, Revision, Snapshot};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::object::{Object, index_of};
use crate::stored::Stored;
use crate::wire;

/// A definition with what is made of it once for all its versions.
#[derive(Debug)]
pub(super) struct Compiled {
    pub definition: Definition,
    /// Who owns which parts, by `apiVersion`, in the order of the versions.
    pub shapes: Vec<(String, Schema)>,
    /// The `apiVersion` of stored objects.
    pub stored_as: String,
}

/// Which definition, at which revision, made something of an object, and for which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub revision: Revision,
    pub version: usize,
}

/// One served version of a custom resource: what its definition makes of objects.
#[derive(Debug)]
pub struct Kind {
    pub(super) compiled: Arc<Compiled>,
    /// The place of the version in the definition.
    pub(super) at: usize,
    /// Where the definition is stored, and how it was when this was made of it.
    pub(super) key: Key,
    pub(super) revision: Revision,
    /// The definition is being deleted.
    pub(super) terminating: bool,
    /// Cancelled when the version is no longer served.
    pub(super) retired: CancellationToken,
    /// Cancelled when the definition says something else.
    pub(super) replaced: CancellationToken,
}

impl Kind {
    /// What the definition says of this version.
    pub(crate) fn version(&self) -> &Version {
        // The place was found among these versions.
        &self.compiled.definition.versions()[self.at]
    }

    /// The versions in which the objects are served.
    pub(crate) fn served_versions(&self) -> impl Iterator<Item = &str> {
        self.compiled.definition.versions().iter().filter(|version| version.served).map(|version| &*version.name)
    }

    /// The definition's name of lists.
    pub fn list_kind(&self) -> &str {
        &self.compiled.definition.names().list_kind
    }

    /// What clients of a deprecated version are warned of.
    pub fn deprecation(&self) -> Option<&str> {
        self.version().deprecation.as_deref()
    }

    /// The columns of tables.
    pub fn columns(&self) -> &[Column] {
        self.version().columns()
    }

    /// The object's row: one cell for each column.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.version().cells(object, now)
    }

    /// The kind's schema as OpenAPI v3 publishes it.
    pub fn openapi(&self) -> &Value {
        self.version().openapi()
    }

    /// The kind's schema and its list's as OpenAPI v2 publishes them, each with its name.
    pub fn openapi_v2(&self) -> Vec<(String, &Value)> {
        let version = self.version();
        let name = version.openapi_name();
        vec![(name.to_owned(), version.openapi_v2()), (format!("{name}List"), version.openapi_v2_list())]
    }

    /// Whether the definition is being deleted: nothing is created any more.
    pub fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// Cancelled when the version is no longer served: watches of it end.
    pub fn retired(&self) -> &CancellationToken {
        &self.retired
    }

    /// Cancelled when the definition says something else: what this makes of objects is not told any more. Whoever must know it as of now asks for the [definitions](crate::Registry::definitions) before.
    pub fn replaced(&self) -> &CancellationToken {
        &self.replaced
    }

    pub(super) fn scale(&self) -> Option<&ScalePaths> {
        self.version().scale()
    }

    pub(super) fn stored_as(&self) -> &str {
        &self.compiled.stored_as
    }

    pub(super) fn selects(&self, field: &str) -> bool {
        self.version().selectable().iter().any(|selectable| selectable.name == field)
    }

    /// The values of the fields that this version selects by.
    pub(crate) fn selected(&self, json: &[u8]) -> Vec<(String, String)> {
        let stored = Stored::read(json).map(|stored| stored.value).unwrap_or_default();
        self.version().selected(&stored)
    }

    /// Who owns which parts of objects of this version.
    pub(crate) fn shape(&self) -> Shape<'_> {
        Shape::Custom(&self.compiled.shapes[self.at].1)
    }

    /// The same for the other versions, with their `apiVersion`.
    pub(crate) fn other_shapes(&self) -> Vec<(&str, Shape<'_>)> {
        let others = self.compiled.shapes.iter().enumerate().filter(|(at, _)| *at != self.at);
        others.map(|(_, (api_version, schema))| (api_version.as_str(), Shape::Custom(schema))).collect()
    }

    /// Leaves out what the schema does not know, and fills in its defaults. The paths of what was left out.
    pub(super) fn settle(&self, object: &mut Value) -> Vec<String> {
        let unknown = self.version().prune(object);
        self.version().default(object);
        unknown
    }

    pub(super) fn create(&self, resource: &Resource, mut object: Value, env: &Env) -> Result<Value, Status> {
        self.settle(&mut object);
        if self.version().has_status()
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        untyped::create(resource, object, env, &|new, old| self.version().validate(new, old))
    }

    pub(super) fn update(
        &self,
        resource: &Resource,
        subresource: Option<&str>,
        old: &Value,
        mut new: Value,
        warn: &dyn Fn(String),
    ) -> Result<Value, Status> {
        self.settle(&mut new);
        let part = match (subresource == Some("status"), self.version().has_status()) {
            (true, _) => Part::Status,
            (false, true) => Part::AllButStatus,
            (false, false) => Part::Whole,
        };
        let judge = |new: &Value, old: Option<&Value>| {
            let Judged { refused, forgiven } = self.version().judge(new, old);
            forgiven.iter().for_each(|fault| warn(fault.to_string()));
            refused
        };
        untyped::update(resource, part, old, new, &judge)
    }

    pub(super) fn scale_of(&self, object: &Value) -> Result<Value, Status> {
        let scale = self.scale().ok_or_else(Status::unknown_path)?;
        scale.scale_of(object).map_err(Status::internal)
    }

    /// See [`super::adapt`].
    pub(super) fn adapt(&self, resource: &Resource, object: &mut Value) -> bool {
        let stored_otherwise = object["apiVersion"] != self.stored_as();
        // Reading fills in the defaults of the version in which the object is stored, and no other's.
        let definition = &self.compiled.definition;
        let from = object["apiVersion"].as_str().and_then(|from| from.rsplit('/').next());
        let defaults = from.and_then(|from| definition.version(from)).unwrap_or(self.version());
        let mut before = object.clone();
        definition.convert(&mut before, &resource.version);
        defaults.default(object);
        definition.convert(object, &resource.version);
        self.version().prune(object);
        // Objects from before generations were counted.
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata
            && metadata.get("generation").is_none_or(Value::is_null)
        {
            metadata.insert("generation".to_owned(), 1.into());
        }
        stored_otherwise || *object != before
    }

    /// See [`super::shown`].
    pub(super) fn shown(&self, resource: &Resource, object: Object) -> Object {
        let stamp = Stamp { revision: self.revision, version: self.at };
        match object.index().presented(stamp, || self.presented(resource, &object)) {
            Some(json) => Object::made(json, object.version()),
            None => object,
        }
    }

    /// The object's bytes in this version; `None` where they are those that are stored, or cannot be read.
    fn presented(&self, resource: &Resource, object: &Object) -> Option<Bytes> {
        let Stored { mut value, managed } = Stored::read(object.json()).ok()?;
        let same = value["apiVersion"] == resource.api_version();
        let before = same.then(|| value.clone());
        self.adapt(resource, &mut value);
        if before.is_some_and(|before| before == value) {
            return None;
        }
        wire::present(&resource.kind, &resource.api_version(), &value, &managed, object.version()).ok()
    }

    /// The guard that keeps the definition as it is while an object is created: it must be there, and it must not go, or
    /// what is created would be left behind by its deletion.
    pub(crate) fn check_definition(&self, snapshot: &Snapshot, resource: &Resource) -> Result<Guard, Status> {
        let Some(entry) = snapshot.get(&self.key) else { return Err(Status::unknown_path()) };
        if self.terminating || index_of(entry).deleting {
            return Err(not_while_terminating(resource));
        }
        Ok(Guard::Unchanged(self.key.clone(), entry.modified()))
    }
}

fn not_while_terminating(resource: &Resource) -> Status {
    let message = "create not allowed while custom resource definition is terminating";
    let mut status = Status::new(405, Reason::MethodNotAllowed, message);
    status.details = Some(StatusDetails {
        group: resource.group.to_string(),
        kind: resource.plural.to_string(),
        ..StatusDetails::default()
    });
    status
}
