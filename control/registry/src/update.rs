//! Changing objects: read, decide, write, and again when someone else wrote in between.

use std::sync::Arc;

use pal_resources::go::unsigned_fault;
use pal_resources::kinds::Env;
use pal_resources::{FieldError, FieldPath, Resource, ResourceVersion, Status};
use pal_store::{Entry, Guard, Op, Revision, Snapshot};
use serde_json::Value;

use crate::admission::Scene;
use crate::create::first;
use crate::form::Served;
use crate::lifecycle::{self, Outcome};
use crate::object::{Object, index_of, index_to_keep, unreadable};
use crate::options::{Deletion, WriteOptions};
use crate::ownership::{self, Tracker};
use crate::quota::Use;
use crate::read::find;
use crate::registry::{ATTEMPTS, Registry, Tried, contended};
use crate::scale::{named_scale, rescale, scale_object, scale_to_change};
use crate::stored::{Managed, Stored};
use crate::strategy::{creates_by_update, updates_unconditionally};
use crate::wire::{self, Encoded};
use crate::{custom, meta, quota, restrict, service};

/// What is written, and as what.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub resource: &'a Resource,
    pub subresource: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
}

/// What is stored, as it was read.
struct Found<'a> {
    entry: &'a Arc<Entry>,
    old: &'a Stored,
    /// Reading it changed it already: a custom resource that was stored by another version or definition.
    adapted: bool,
}

/// What is written in its place, and how.
struct New {
    object: Stored,
    verb: Verb,
}

/// What is to be written.
pub(crate) struct Decision {
    pub outcome: Outcome,
    /// Who owns the fields of what is kept.
    pub managed: Managed,
    pub verb: Verb,
}

/// How somebody writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Says how the object is to be. Where its owners alone are too much to be stored, it is stored without them.
    Replace,
    /// Says which of its fields it owns, and means that.
    Apply,
}

impl Verb {
    /// The object in its stored form: `encode` makes it with these owners.
    pub(crate) fn encode<E>(self, managed: &mut Managed, encode: E) -> Result<Encoded, Status>
    where
        E: Fn(&Managed) -> Result<Encoded, Status>,
    {
        match encode(managed) {
            Err(status) if status.code == 413 && self == Self::Replace && managed.is_some() => {
                *managed = None;
                encode(managed)
            }
            encoded => encoded,
        }
    }
}

impl Registry {
    /// Replaces an object, or what one of its subresources covers (`status`, `scale`, `finalize`, ...). A body with a
    /// resourceVersion replaces that version only. Nothing is written when nothing would change.
    pub async fn update(
        &self,
        resource: &Resource,
        subresource: Option<&str>,
        namespace: Option<&str>,
        name: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        if let Some(form) = Served::of(resource) {
            let (body, options) = (form.body(body)?, form.options(options));
            let updated = Box::pin(self.update(&form.stored, subresource, namespace, name, body, &options));
            return form.object(&updated.await?);
        }
        // Told before what is stored is looked at: a body for another object is wrong, whether there is this one or not.
        let mut settled = body.clone();
        if meta::text(&settled, "name").is_empty() {
            return Err(meta::nameless(name));
        }
        meta::settle_place(&mut settled, name, namespace.filter(|_| resource.namespaced))?;
        let mut body = body;
        meta::dedup_owners(&mut body, options, meta::DUPLICATE_OWNERS);
        let target = Target { resource, subresource, namespace, name };
        let wanted = meta::text(&settled, "uid");
        let replaced = |old: &Stored| match meta::text(&old.value, "uid") {
            uid if wanted.is_empty() || wanted == uid => Ok(body.clone()),
            uid => Err(Status::other_uid(resource, (meta::text(&old.value, "namespace"), name), wanted, uid)),
        };
        let updated = self.revise(target, replaced, options).await;
        match updated {
            // Who names a uid means an object that there was, and not one to be created.
            Err(status)
                if status.code == 404 && !wanted.is_empty() && subresource.is_none() && creates_by_update(resource) =>
            {
                Err(Status::other_uid(resource, (namespace.unwrap_or_default(), name), wanted, ""))
            }
            updated => updated,
        }
    }

    /// Changes whatever is stored, and again if it is no longer that when it is written. `change` may be called several
    /// times. It is shown the object, or for `scale` the Scale.
    pub async fn modify<F>(
        &self,
        resource: &Resource,
        subresource: Option<&str>,
        namespace: Option<&str>,
        name: &str,
        mut change: F,
        options: &WriteOptions,
    ) -> Result<Object, Status>
    where
        F: FnMut(Value) -> Result<Value, Status> + Send,
    {
        let target = Target { resource, subresource, namespace, name };
        self.revise(target, |old| change(old.value.clone()), options).await
    }

    /// `modify` for changes that make a new value.
    pub(crate) async fn revise<F>(
        &self,
        target: Target<'_>,
        mut change: F,
        options: &WriteOptions,
    ) -> Result<Object, Status>
    where
        F: FnMut(&Stored) -> Result<Value, Status> + Send,
    {
        let Target { resource, subresource, namespace, name } = target;
        let env = self.env();
        let tracker = Tracker::new(resource, subresource, options, env.now);
        if subresource == Some("scale") {
            let scaled = self.rewrite_owned(resource, namespace, name, options.dry_run, |old| {
                let before = scale_to_change(resource, &old.value)?;
                let after = change(&Stored::unowned(before.clone()))?;
                let outcome = self.rescale(target, old, after, &env, options)?;
                let managed = outcome.kept().map(|new| tracker.updated(old, new, None));
                Ok(Decision { outcome, managed: managed.unwrap_or_default(), verb: Verb::Replace })
            });
            return scale_object(resource, &scaled.await?.object);
        }
        let written = self.rewrite_owned(resource, namespace, name, options.dry_run, |old| {
            let mut new = change(old)?;
            let given = ownership::take_given(&mut new);
            ownership::check_given(resource, name, given.as_ref())?;
            let asked = self.mutate_update(target, &old.value, &mut new, options)?;
            meta::dedup_owners(&mut new, options, meta::DUPLICATE_OWNERS_LATE);
            let mut outcome = decide(target, &old.value, new, &env, &|warning| options.warn(warning))?;
            let mut managed = old.managed.clone();
            if let Outcome::Keep(new) = &mut outcome {
                self.check_types(resource, Some(&old.value), new);
                restrict::check(&options.actor, resource, Some(&old.value), new)?;
                options.admit(Some(&old.value), new)?;
                self.check(target, &old.value, new, options)?;
                // What policies change is nobody's.
                managed = tracker.updated(old, asked.as_ref().unwrap_or(new), given.as_ref());
            }
            Ok(Decision { outcome, managed, verb: Verb::Replace })
        });
        Ok(written.await?.object)
    }

    /// What comes of a new Scale of an object, after policies had their say of it.
    pub(crate) fn rescale(
        &self,
        target: Target<'_>,
        old: &Stored,
        scale: Value,
        env: &Env,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        let Target { resource, name, .. } = target;
        let (before, mut after) = (named_scale(scale_to_change(resource, &old.value)?), named_scale(scale));
        self.mutate_update(target, &before, &mut after, options)?;
        let outcome = rescale(resource, name, &old.value, &after, env, &|warning| options.warn(warning))?;
        self.check(target, &before, &after, options)?;
        Ok(outcome)
    }

    /// What else in the cluster has to say of an update.
    pub(crate) fn check(
        &self,
        target: Target<'_>,
        old: &Value,
        new: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let Target { resource, subresource, namespace, .. } = target;
        let snapshot = self.shared.store.applied();
        let scene = Scene { snapshot: &snapshot, resource, subresource, namespace, connects: None };
        scene.check(Some(old), new, options)?;
        self.judge(&scene, Some(old), new, options)
    }

    /// What policies change in an update, before it is looked at; and what it was, if they did.
    pub(crate) fn mutate_update(
        &self,
        target: Target<'_>,
        old: &Value,
        new: &mut Value,
        options: &WriteOptions,
    ) -> Result<Option<Value>, Status> {
        let Target { resource, subresource, namespace, .. } = target;
        let snapshot = self.shared.store.applied();
        let scene = Scene { snapshot: &snapshot, resource, subresource, namespace, connects: None };
        self.mutate(&scene, Some(old), new, options)
    }

    /// Reads, decides and writes until nobody wrote in between.
    pub(crate) async fn rewrite<F>(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        dry_run: bool,
        mut decide: F,
    ) -> Result<Deletion, Status>
    where
        F: FnMut(&Value) -> Result<Outcome, Status> + Send,
    {
        let decide = |old: &Stored| {
            let outcome = decide(&old.value)?;
            Ok(Decision { outcome, managed: old.managed.clone(), verb: Verb::Replace })
        };
        self.rewrite_owned(resource, namespace, name, dry_run, decide).await
    }

    /// `rewrite` where who owns the fields changes too.
    pub(crate) async fn rewrite_owned<F>(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        dry_run: bool,
        mut decide: F,
    ) -> Result<Deletion, Status>
    where
        F: FnMut(&Stored) -> Result<Decision, Status> + Send,
    {
        for _ in 0..ATTEMPTS {
            let snapshot = self.shared.store.applied();
            let looked = find(&snapshot, resource, namespace, name).cloned().and_then(|entry| {
                let mut old = Stored::read(entry.value()).map_err(|error| unreadable(&entry, &error))?;
                let adapted = custom::adapt(resource, &mut old.value);
                let decision = decide(&old)?;
                Ok((entry, old, adapted, decision))
            });
            let (entry, old, adapted, decision) = match looked {
                Ok(looked) => looked,
                // What is refused must be refused by what the cluster holds, not by what this server still has.
                Err(_) if self.was_behind(snapshot.revision()).await? => continue,
                Err(status) => return Err(status),
            };
            let done = match decision.outcome {
                Outcome::Keep(new) => {
                    let new = New { object: Stored { value: new, managed: decision.managed }, verb: decision.verb };
                    self.replace(resource, snapshot, Found { entry: &entry, old: &old, adapted }, new, dry_run).await?
                }
                Outcome::Remove(last) => self.remove(resource, &entry, Some((&old, last)), dry_run).await?,
            };
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(contended(resource, name))
    }

    /// Tries to write `new` in the place of `old`; `None` when someone was faster.
    async fn replace(
        &self,
        resource: &Resource,
        snapshot: Snapshot,
        found: Found<'_>,
        new: New,
        dry_run: bool,
    ) -> Result<Option<Deletion>, Status> {
        let Found { entry, old, adapted } = found;
        let New { object: Stored { value: mut new, mut managed }, verb } = new;
        let home = meta::text(&old.value, "namespace");
        let charge = if resource.namespaced {
            let of = Use { resource, namespace: home, old: Some(&old.value), new: &new };
            self.charge(&snapshot, of, self.env().now)?
        } else {
            service::Claims::default()
        };
        let claims = if service::is_service(resource) {
            service::claim(&mut new, Some(&old.value), &snapshot, &self.shared.config, resource)?
        } else {
            service::Claims::default()
        };
        // What nobody looks at any more, the store need not copy to change.
        drop(snapshot);
        let version = ResourceVersion(entry.modified().0);
        meta::metadata_mut(&mut new)?.insert("resourceVersion".to_owned(), version.to_string().into());
        if !adapted && new == old.value && ownership::is_unchanged(&old.managed, &managed) {
            let object = custom::shown(resource, Object::stored(entry.clone()));
            return Ok(Some(Deletion { object, gone: false }));
        }
        let limit = self.shared.config.object_limit_bytes;
        let encoded = verb.encode(&mut managed, |managed| wire::encode(resource, &new, managed, limit))?;
        if dry_run {
            let json = wire::present(&resource.kind, &resource.api_version(), &new, &managed, version)?;
            return Ok(Some(Deletion { object: Object::made(json, version), gone: false }));
        }
        let mut guards = vec![Guard::Unchanged(entry.key().clone(), entry.modified())];
        guards.extend(claims.guards.into_iter().chain(charge.guards));
        let put = Op::Put { key: entry.key().clone(), value: encoded.bytes, revision_at: Some(encoded.revision_at) };
        let mut ops = vec![put];
        ops.extend(claims.ops.into_iter().chain(charge.ops));
        if quota::is_quota(resource) && new["spec"] != old.value["spec"] {
            ops.push(quota::changed(home));
        }
        match self.commit_known(guards, ops, index_to_keep(resource, &new)).await? {
            Tried::Committed { entries, .. } => {
                Ok(Some(Deletion { object: custom::shown(resource, first(entries)?), gone: false }))
            }
            Tried::Refused { .. } => Ok(None),
        }
    }

    /// Tries to remove the object; `None` when someone was faster. `last` is what is shown of it, beside what was
    /// stored, if that could be read.
    pub(crate) async fn remove(
        &self,
        resource: &Resource,
        entry: &Arc<Entry>,
        last: Option<(&Stored, Value)>,
        dry_run: bool,
    ) -> Result<Option<Deletion>, Status> {
        let shown = |revision: Revision, stored: Option<Arc<Entry>>| {
            let version = ResourceVersion(revision.0);
            match (&last, stored) {
                (Some((old, last)), stored) if stored.is_none() || old.value != *last => {
                    let json = wire::present(&resource.kind, &resource.api_version(), last, &old.managed, version)?;
                    Ok::<_, Status>(Object::made(json, version))
                }
                (_, Some(stored)) => Ok(custom::shown(resource, Object::stored(stored))),
                (_, None) => Ok(custom::shown(resource, Object::stored(entry.clone()))),
            }
        };
        if dry_run {
            return Ok(Some(Deletion { object: shown(entry.modified(), None)?, gone: true }));
        }
        let guards = vec![Guard::Unchanged(entry.key().clone(), entry.modified())];
        let mut ops = vec![Op::Delete { key: entry.key().clone() }];
        if let Some((old, _)) = &last
            && service::is_service(resource)
        {
            ops.extend(service::release(&old.value));
        }
        let index = index_of(entry);
        if quota::is_quota(resource) {
            ops.push(quota::changed(index.namespace.as_deref().unwrap_or_default()));
        }
        if lifecycle::is_namespace(resource) {
            ops.extend(quota::forget(&index.name));
        }
        match self.commit(guards, ops).await? {
            Tried::Committed { revision, entries } => {
                let tombstone = entries.into_iter().next().flatten();
                Ok(Some(Deletion { object: shown(revision, tombstone)?, gone: true }))
            }
            Tried::Refused { .. } => Ok(None),
        }
    }
}

/// What becomes of `old` when a client wants `new` in its place.
pub(crate) fn decide(
    target: Target<'_>,
    old: &Value,
    mut new: Value,
    env: &Env,
    warn: &dyn Fn(String),
) -> Result<Outcome, Status> {
    let Target { resource, subresource, namespace, name } = target;
    meta::settle_kind(&new, resource)?;
    meta::settle_place(&mut new, name, namespace.filter(|_| resource.namespaced))?;
    meta::strip(&mut new)?;
    settle_version(resource, name, old, &mut new)?;
    let updated = custom::update(resource, subresource, old, new, env, warn)?;
    if !lifecycle::is_deleting(old) {
        return Ok(Outcome::Keep(updated));
    }
    Ok(lifecycle::after_write(lifecycle::is_namespace(resource), updated))
}

/// The object that the body means must be the one that is stored. A body that replaces it was asked for its uid before, as
/// a precondition; a change may not be one of the uid.
pub(crate) fn settle_version(resource: &Resource, name: &str, old: &Value, new: &mut Value) -> Result<(), Status> {
    match meta::text(new, "resourceVersion") {
        "" | "0" if !updates_unconditionally(resource) => {
            let path = FieldPath::new("metadata").child("resourceVersion");
            let error = FieldError::invalid(&path, 0, "must be specified for an update");
            // Kubernetes tells of the resource where else it tells of the kind.
            let named = Resource { kind: resource.plural.clone(), ..resource.clone() };
            return Err(Status::invalid(&named, name, &[error]));
        }
        "" | "0" => {}
        version if version != meta::text(old, "resourceVersion") => {
            // What is no version is nobody's: kube-apiserver fails over it.
            let stale = Status::stale(resource, name);
            return Err(unsigned_fault(version).map_or(stale, Status::unexplained));
        }
        _ => {}
    }
    let wanted = meta::text(new, "uid");
    if !wanted.is_empty() && wanted != meta::text(old, "uid") {
        let path = FieldPath::new("metadata").child("uid");
        let error = FieldError::invalid(&path, wanted, "field is immutable");
        return Err(Status::invalid(resource, name, &[error]));
    }
    let version = old["metadata"]["resourceVersion"].clone();
    meta::metadata_mut(new)?.insert("resourceVersion".to_owned(), version);
    Ok(())
}
