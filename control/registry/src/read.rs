//! Reading one object, and which of its fields selectors look at.

use std::sync::Arc;

use pal_resources::selector::{FieldSelector, LabelSelector};
use pal_resources::status::{StatusCause, StatusDetails};
use pal_resources::{Reason, Resource, ResourceVersion, Status, kinds};
use pal_store::{Entry, Snapshot};
use serde_json::Value;

use crate::form::Served;
use crate::object::{Object, index_of};
use crate::options::Read;
use crate::registry::{Registry, store_failure};
use crate::{custom, key, wire};

impl Registry {
    /// One object.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        read: Read,
    ) -> Result<Object, Status> {
        if let Some(form) = Served::of(resource) {
            return form.object(&Box::pin(self.get(&form.stored, namespace, name, read)).await?);
        }
        let snapshot = self.snapshot(read).await?;
        let object = Object::stored(find(&snapshot, resource, namespace, name)?.clone());
        if !object.index().readable {
            // Says what is wrong with it.
            object.value()?;
        }
        Ok(custom::shown(resource, object))
    }

    /// One object as one of its subresources shows it: `scale` is of a kind of its own, the others show the object.
    pub async fn get_subresource(
        &self,
        resource: &Resource,
        subresource: &str,
        namespace: Option<&str>,
        name: &str,
        read: Read,
    ) -> Result<Object, Status> {
        let object = self.get(resource, namespace, name, read).await?;
        if subresource != "scale" {
            return Ok(object);
        }
        let scale = custom::scale_of(resource, &object.value()?)?;
        let version = object.version();
        Ok(Object::made(wire::present("Scale", "autoscaling/v1", &scale, &None, version)?, version))
    }

    /// One object as this server has it.
    pub fn peek(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> Option<Object> {
        self.shared.store.applied().get(key::of(resource, namespace, name)).cloned().map(Object::stored)
    }

    /// The Scale of an object as this server has it, if there is one; an error where its resource has none, or it says none.
    pub fn peek_scale(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Status> {
        let stored = self.peek(resource, namespace, name);
        stored.map(|object| custom::scale_of(resource, &custom::shown(resource, object).value()?)).transpose()
    }

    /// How many objects of the resource this server has; `None` where they are counted as another resource's.
    pub fn count(&self, resource: &Resource) -> Option<usize> {
        let own = Served::of(resource).is_none();
        own.then(|| self.shared.store.applied().range(&key::prefix(resource, None), None).count())
    }

    /// Everything, as fresh as asked.
    pub(crate) async fn snapshot(&self, read: Read) -> Result<Snapshot, Status> {
        let applied = self.shared.store.applied();
        match read {
            Read::Any => Ok(applied),
            Read::AtLeast(version) if applied.revision().0 >= version.0 => Ok(applied),
            Read::AtLeast(version) => {
                let snapshot = self.shared.store.consistent().await.map_err(|error| store_failure(&error))?;
                if snapshot.revision().0 >= version.0 {
                    return Ok(snapshot);
                }
                Err(version_too_large(version, ResourceVersion(snapshot.revision().0)))
            }
            Read::Consistent => self.shared.store.consistent().await.map_err(|error| store_failure(&error)),
        }
    }
}

/// The stored object of that name.
pub(crate) fn find<'a>(
    snapshot: &'a Snapshot,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
) -> Result<&'a Arc<Entry>, Status> {
    snapshot.get(key::of(resource, namespace, name)).ok_or_else(|| Status::not_found(resource, name))
}

/// The version asked for has not happened.
fn version_too_large(asked: ResourceVersion, current: ResourceVersion) -> Status {
    let cause = StatusCause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    };
    let mut status =
        Status::new(504, Reason::Timeout, format!("Timeout: Too large resource version: {asked}, current: {current}"));
    status.details =
        Some(StatusDetails { causes: vec![cause], retry_after_seconds: Some(1), ..StatusDetails::default() });
    status
}

/// Which objects a list or a watch shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    label: Option<LabelSelector>,
    field: Option<FieldSelector>,
    /// The custom resource that is selected from: its version is what is shown.
    custom: Option<Resource>,
}

impl Selection {
    /// Refuses fields that objects of the resource cannot be selected by.
    pub(crate) fn new(
        resource: &Resource,
        label: Option<LabelSelector>,
        field: Option<FieldSelector>,
    ) -> Result<Self, Status> {
        let label = label.filter(|label| !label.is_empty());
        let field = field.filter(|field| !field.is_empty());
        for requirement in field.iter().flat_map(FieldSelector::requirements) {
            if !custom::selectable(resource, &requirement.field) {
                return Err(kinds::unselectable(resource, &requirement.field));
            }
        }
        let custom = resource.custom.is_some().then(|| resource.clone());
        Ok(Self { label, field, custom })
    }

    /// Whether every object is shown.
    pub(crate) fn is_all(&self) -> bool {
        self.label.is_none() && self.field.is_none()
    }

    /// Whether every object is shown, and as it is stored.
    pub(crate) fn is_stored(&self) -> bool {
        self.is_all() && self.custom.is_none()
    }

    /// Lets others run now and then: matching may parse what was never selected from before.
    pub(crate) async fn breathe(&self, seen: usize) {
        const TOGETHER: usize = 256;
        if !self.is_all() && seen % TOGETHER == TOGETHER - 1 {
            tokio::task::yield_now().await;
        }
    }

    /// What the keys of all selected objects begin with: `metadata.name=x` in a namespace leads to one key.
    pub(crate) fn prefix(&self, resource: &Resource, namespace: Option<&str>) -> String {
        let exact = |field| self.field.as_ref().and_then(|selector| selector.exact(field));
        let namespace = if resource.namespaced { namespace.or_else(|| exact("metadata.namespace")) } else { None };
        let mut prefix = key::prefix(resource, namespace);
        if (namespace.is_some() || !resource.namespaced)
            && let Some(name) = exact("metadata.name")
        {
            prefix.push_str(name);
        }
        prefix
    }

    /// A stored object as it is shown.
    pub(crate) fn shown(&self, entry: Arc<Entry>) -> Object {
        self.adapted(Object::stored(entry))
    }

    pub(crate) fn adapted(&self, object: Object) -> Object {
        match &self.custom {
            Some(resource) => custom::shown(resource, object),
            None => object,
        }
    }

    /// The values of the fields that a definition makes selectable, if any of them is asked for.
    fn of_definition(&self, selector: &FieldSelector, entry: &Entry) -> Vec<(String, String)> {
        let kind = self.custom.as_ref().and_then(custom::kind_of);
        let asked = || selector.requirements().iter().any(|one| !one.field.starts_with("metadata."));
        kind.filter(|_| asked()).map(|kind| kind.selected(entry.value())).unwrap_or_default()
    }

    /// Whether the object is shown. Names are read off the key; anything else costs a parse once per stored object.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let fields_match = self.field.as_ref().is_none_or(|selector| {
            let (namespace, name) = place(entry);
            let own = self.of_definition(selector, entry);
            selector.matches(|field| match field {
                "metadata.name" => Some(name),
                "metadata.namespace" => Some(namespace),
                other => match own.iter().find(|(field, _)| field == other) {
                    Some((_, value)) => Some(value),
                    None => index_of(entry).field(other),
                },
            })
        });
        fields_match
            && self.label.as_ref().is_none_or(|selector| {
                let index = index_of(entry);
                index.readable && selector.selects(&|key| index.label(key))
            })
    }
}

/// Namespace (empty for the cluster's objects) and name, off the key.
fn place(entry: &Entry) -> (&str, &str) {
    let key = entry.key().as_str();
    let path = key.split_once('/').map_or(key, |(_, path)| path);
    path.split_once('/').unwrap_or(("", path))
}
