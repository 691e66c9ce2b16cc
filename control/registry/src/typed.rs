//! The registry for one kind, as its k8s-openapi type: what controllers read and write with.

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pal_resources::codec::FieldValidation;
use pal_resources::{Resource, ResourceRef, ResourceVersion, Status, resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::options::{
    Actor, DeleteOptions, Deletion, List, ListOptions, Patch, PatchKind, Read, WatchOptions, WriteOptions,
};
use crate::registry::Registry;
use crate::watch::Watch;

/// A k8s-openapi type that objects of the API are of.
pub trait Kind:
    k8s_openapi::Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Send + Sync
{
}

impl<K> Kind for K where
    K: k8s_openapi::Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Send + Sync
{
}

/// Reads and writes objects of one kind. Cheap to clone.
pub struct Typed<K> {
    registry: Registry,
    resource: Option<ResourceRef>,
    options: WriteOptions,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Typed<K> {
    fn clone(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            resource: self.resource.clone(),
            options: self.options.clone(),
            kind: PhantomData,
        }
    }
}

impl Registry {
    /// The client for objects of the type `K`. Writes are made in the name of `system:palinurus`, see [`Typed::by`].
    pub fn client<K: Kind>(&self) -> Typed<K> {
        Typed {
            registry: self.clone(),
            resource: resource::by_kind(K::GROUP, K::VERSION, K::KIND),
            options: WriteOptions::system("palinurus"),
            kind: PhantomData,
        }
    }
}

impl<K: Kind> Typed<K> {
    /// The same client, writing in the name of that part of the control plane.
    pub fn by(mut self, component: &str) -> Self {
        self.options = WriteOptions::system(component);
        self
    }

    /// The resource of the kind; 404 if it is none that is served.
    pub fn resource(&self) -> Result<&Resource, Status> {
        self.resource.as_deref().ok_or_else(Status::unknown_path)
    }

    /// The registry behind.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// One object as this server last saw it.
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Result<K, Status> {
        self.registry.get(self.resource()?, namespace, name, Read::Any).await?.parse()
    }

    /// One object, `None` where there is none.
    pub async fn find(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, Status> {
        match self.get(namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(status) if status.code == 404 => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// The objects, parsed, and the version of the list.
    pub async fn list(
        &self,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<(ResourceVersion, Vec<K>), Status> {
        let list = self.objects(namespace, options).await?;
        let objects: Result<Vec<K>, Status> = list.items.iter().map(crate::Object::parse).collect();
        Ok((list.version, objects?))
    }

    /// The objects, not parsed: their `index()` answers most questions.
    pub async fn objects(&self, namespace: Option<&str>, options: ListOptions) -> Result<List, Status> {
        self.registry.list(self.resource()?, namespace, options).await
    }

    /// The changes.
    pub async fn watch(&self, namespace: Option<&str>, options: WatchOptions) -> Result<Watch, Status> {
        self.registry.watch(self.resource()?, namespace, options).await
    }

    /// Creates the object in the namespace that it names.
    pub async fn create(&self, object: &K) -> Result<K, Status> {
        let namespace = object.metadata().namespace.as_deref();
        self.registry.create(self.resource()?, namespace, value(object)?, &self.options).await?.parse()
    }

    /// Replaces the object; with a resourceVersion, that version only.
    pub async fn update(&self, object: &K) -> Result<K, Status> {
        self.put(None, object).await
    }

    /// Replaces the object's status.
    pub async fn update_status(&self, object: &K) -> Result<K, Status> {
        self.put(Some("status"), object).await
    }

    async fn put(&self, subresource: Option<&str>, object: &K) -> Result<K, Status> {
        let metadata = object.metadata();
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref().unwrap_or_default());
        let body = value(object)?;
        self.registry.update(self.resource()?, subresource, namespace, name, body, &self.options).await?.parse()
    }

    /// Merges into the object, or with a subresource into what that covers.
    pub async fn patch_merge(
        &self,
        subresource: Option<&str>,
        namespace: Option<&str>,
        name: &str,
        body: Value,
    ) -> Result<K, Status> {
        let patch = Patch { kind: PatchKind::Merge, body, validation: FieldValidation::Ignore, found: Vec::new() };
        let resource = self.resource()?;
        let patched = self.registry.patch(resource, subresource, namespace, name, &patch, &self.options).await?;
        patched.object.parse()
    }

    /// Changes whatever is stored, again if someone wrote in between. Nothing is written if nothing changes.
    pub async fn modify<F>(
        &self,
        subresource: Option<&str>,
        namespace: Option<&str>,
        name: &str,
        mut change: F,
    ) -> Result<K, Status>
    where
        F: FnMut(&mut K) -> Result<(), Status> + Send,
    {
        let change = |old: Value| {
            let mut object: K = serde_json::from_value(old).map_err(Status::internal)?;
            change(&mut object)?;
            value(&object)
        };
        let resource = self.resource()?;
        self.registry.modify(resource, subresource, namespace, name, change, &self.options).await?.parse()
    }

    /// Deletes the object, or begins to.
    pub async fn delete(
        &self,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deletion, Status> {
        self.registry.delete(self.resource()?, namespace, name, options).await
    }

    /// In whose name this client writes.
    pub fn actor(&self) -> &Actor {
        &self.options.actor
    }
}

fn value<K: Serialize>(object: &K) -> Result<Value, Status> {
    serde_json::to_value(object).map_err(Status::internal)
}
