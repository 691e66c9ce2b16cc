//! What is asked of the registry itself before something goes for good: caches may be behind.

use pal_registry::{DeleteOptions, ListOptions, WriteOptions};
use pal_resources::{Reason, ResourceRef, Status, resource};

use super::{COMPONENT, Executor, Failed, Outcome, Wrote};
use crate::action::{OwnerId, ResourceId, Target};
use crate::namespace;

impl Executor {
    /// Looks once more whether any object is left of what a definition defines, before that goes.
    pub(super) async fn check_empty(&self, resource: &ResourceId) -> Result<(), Failed> {
        let found = self.find(resource)?;
        let list = ListOptions { limit: Some(1), ..ListOptions::default() };
        if self.registry.list(&found, None, list).await?.items.is_empty() {
            return Ok(());
        }
        self.delete_all(&found, None).await?;
        Err(Failed::NotEmpty)
    }

    /// Looks once more whether anything is left, of whatever resource, before the namespace goes.
    pub(super) async fn finalize(&self, target: Target, outcome: &mut Outcome) -> Result<(), Failed> {
        let mut left = false;
        let definitions = self.registry.definitions();
        let all = resource::builtin().iter().chain(definitions.each());
        for found in all.filter(|resource| is_content(resource)) {
            let list = ListOptions { limit: Some(1), ..ListOptions::default() };
            if !self.registry.list(found, Some(&target.name), list).await?.items.is_empty() {
                left = true;
                self.delete_all(found, Some(&target.name)).await?;
            }
        }
        if left {
            return Err(Failed::NotEmpty);
        }
        let found = self.find(&target.resource)?;
        let uid = target.uid.clone();
        let finalized = self
            .registry
            .modify(
                &found,
                Some("finalize"),
                None,
                &target.name,
                move |mut namespace| {
                    if namespace["metadata"]["uid"] != uid.as_str() {
                        return Err(Status::new(409, Reason::Conflict, "the namespace is another one now"));
                    }
                    namespace::finalized(&mut namespace);
                    Ok(namespace)
                },
                &WriteOptions::system(COMPONENT),
            )
            .await;
        match finalized {
            Ok(object) => {
                outcome.wrote.push(Wrote { resource: target.resource, object, gone: false });
                Ok(())
            }
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => Err(status.into()),
        }
    }

    pub(super) async fn delete_all(&self, found: &ResourceRef, namespace: Option<&str>) -> Result<(), Failed> {
        let options = DeleteOptions {
            propagation: Some(pal_registry::Propagation::Background),
            ..DeleteOptions::system(COMPONENT)
        };
        let list = ListOptions::default();
        match self.registry.delete_collection(found, namespace, list, &options).await {
            Ok(_) => Ok(()),
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => Err(status.into()),
        }
    }

    /// Asks the registry for an owner that the caches do not know.
    pub(super) async fn verify(&self, owner: OwnerId, outcome: &mut Outcome) -> Result<(), Failed> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let Some(found) = self.registry.find_kind(group, version, &owner.kind) else { return Ok(()) };
        let read = pal_registry::Read::Consistent;
        match self.registry.get(&found, owner.namespace.as_deref(), &owner.name, read).await {
            Ok(object) if object.index().uid.0 == owner.uid => Ok(()),
            Ok(_) => {
                outcome.absent.push(owner.uid);
                Ok(())
            }
            Err(status) if status.code == 404 => {
                outcome.absent.push(owner.uid);
                Ok(())
            }
            Err(status) => Err(status.into()),
        }
    }
}

/// Whether a namespace may hold objects of that resource.
fn is_content(resource: &ResourceRef) -> bool {
    resource.namespaced && resource.verbs.contains(&"list") && resource.verbs.contains(&"delete")
}
