//! Deleting objects, one or many.

use futures::StreamExt;
use pal_resources::{Resource, Status};
use serde_json::Value;

use crate::admission::Scene;
use crate::form::Served;
use crate::options::{DeleteOptions, Deletion, List, ListOptions, WriteOptions};
use crate::read::find;
use crate::registry::{ATTEMPTS, Registry, contended};
use crate::{key, lifecycle};

/// The namespaces that a cluster cannot be without.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// The classes of pods that keep a cluster going.
const SYSTEM_CLASSES: &[&str] = &["system-cluster-critical", "system-node-critical"];

/// How many objects of a collection are deleted at the same time: they share the store's flushes.
const TOGETHER: usize = 32;

impl Registry {
    /// Deletes an object, or begins to: what has finalizers, or a grace period to wait out, is marked and goes later.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deletion, Status> {
        // Deletes of a collection do not ask this of kube-apiserver; the classes are there again when a server starts.
        if resource.plural == "priorityclasses" && SYSTEM_CLASSES.contains(&name) {
            let why = "this is a system priority class and cannot be deleted";
            return Err(Status::forbidden(resource, name, why));
        }
        self.delete_admitted(resource, namespace, name, options, Some(options.written())).await
    }

    /// Deletes an object; policies of admission are asked of the delete as it is said in `judged`, if it is.
    pub(crate) async fn delete_admitted(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
        judged: Option<WriteOptions>,
    ) -> Result<Deletion, Status> {
        if let Some(form) = Served::of(resource) {
            let deleted = Box::pin(self.delete_admitted(&form.stored, namespace, name, options, judged));
            return form.deletion(deleted.await?);
        }
        if lifecycle::is_namespace(resource) && IMMORTAL.contains(&name) {
            return Err(Status::forbidden(resource, name, "this namespace may not be deleted"));
        }
        let snapshot = self.shared.store.applied();
        // One that this server has not heard of yet is looked for below.
        let unreadable = snapshot
            .get(key::of(resource, namespace, name))
            .is_some_and(|entry| serde_json::from_slice::<Value>(entry.value()).is_err());
        if unreadable {
            return self.delete_unreadable(resource, namespace, name, options.dry_run).await;
        }
        let now = self.env().now;
        let decide = |old: &Value| {
            let outcome = lifecycle::delete(resource, old, options, now)?;
            judged.as_ref().map_or(Ok(()), |written| self.judge_deletion(resource, namespace, old, written))?;
            Ok(outcome)
        };
        self.rewrite(resource, namespace, name, options.dry_run, decide).await
    }

    /// What policies refuse of a delete.
    fn judge_deletion(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        old: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let snapshot = self.shared.store.applied();
        let scene = Scene { snapshot: &snapshot, resource, subresource: None, namespace, connects: None };
        self.judge(&scene, Some(old), &Value::Null, options)
    }

    /// What cannot be read has no finalizers to wait for, and must not stay for ever.
    async fn delete_unreadable(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        dry_run: bool,
    ) -> Result<Deletion, Status> {
        for _ in 0..ATTEMPTS {
            let snapshot = self.shared.store.applied();
            let entry = find(&snapshot, resource, namespace, name)?;
            if let Some(done) = self.remove(resource, entry, None, dry_run).await? {
                return Ok(done);
            }
        }
        Err(contended(resource, name))
    }

    /// Deletes what a list of the same options shows. The answer holds the objects as their deletes left them.
    pub async fn delete_collection(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        list: ListOptions,
        options: &DeleteOptions,
    ) -> Result<List, Status> {
        let mut list = self.list(resource, namespace, list).await?;
        let found = std::mem::take(&mut list.items);
        let judged = WriteOptions { nameless: true, ..options.written() };
        let mut deletions = futures::stream::iter(found)
            .map(|object| (object, judged.clone()))
            .map(|(object, judged)| async move {
                let (namespace, name) = (object.namespace(), object.name());
                match self.delete_admitted(resource, namespace, name, options, Some(judged)).await {
                    // Someone else was faster: it is gone, as asked.
                    Err(status) if status.code == 404 => Ok(object),
                    other => other.map(|deletion| deletion.object),
                }
            })
            .buffered(TOGETHER);
        while let Some(deleted) = deletions.next().await {
            list.items.push(deleted?);
        }
        drop(deletions);
        Ok(list)
    }
}
