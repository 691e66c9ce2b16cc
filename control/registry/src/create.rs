//! Creating objects.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use pal_resources::kinds::Created;
use pal_resources::status::{StatusCause, StatusDetails};
use pal_resources::{Reason, Resource, ResourceVersion, Status};
use pal_store::{Entry, Guard, Key, Op, Snapshot};
use serde_json::Value;

use crate::admission::Scene;
use crate::api_access::Access;
use crate::form::Served;
use crate::object::{Object, index_of, index_to_keep};
use crate::options::WriteOptions;
use crate::ownership::{self, Tracker};
use crate::quota::Use;
use crate::registry::{ATTEMPTS, Registry, Tried, contended};
use crate::service::{self, Claims};
use crate::stored::Managed;
use crate::update::Verb;
use crate::{custom, key, meta, names, quota, restrict, wire};

/// How many generated names are tried before the client is told that none was free.
const NAME_ATTEMPTS: usize = 8;

/// The guard of a create that is about the object itself.
const OBJECT_GUARD: usize = 0;

/// An object that is to be written.
struct New {
    object: Value,
    /// The same as its type, if it is to be handed on.
    typed: Option<Box<dyn Any + Send + Sync>>,
    managed: Managed,
    verb: Verb,
    /// What a pod gets beside.
    access: Option<Access>,
    /// Its name was made up.
    generated: bool,
}

/// What became of an attempt to write a new object.
enum Inserted {
    Done(Object),
    /// There is an object at that key.
    Taken(Key),
    /// The namespace changed, or an address or port went to someone else.
    Raced,
}

impl Registry {
    /// Creates an object. `generateName` gets its suffix here; Services get their addresses and ports.
    pub async fn create(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        if let Some(form) = Served::of(resource) {
            let (body, options) = (form.body(body)?, form.options(options));
            let created = Box::pin(self.create(&form.stored, namespace, body, &options));
            return form.object(&created.await?);
        }
        let seen = self.shared.store.applied().revision();
        let again = (!self.shared.store.is_sole()).then(|| body.clone());
        match (self.create_here(resource, namespace, body, None, options).await, again) {
            (Err(_), Some(body)) if self.was_behind(seen).await? => {
                self.create_here(resource, namespace, body, None, options).await
            }
            (outcome, _) => outcome,
        }
    }

    /// Creates an object by what this server has applied. `owners` are known where it is applied; else the writer owns
    /// what its body has.
    pub(crate) async fn create_here(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        mut body: Value,
        owners: Option<Managed>,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        meta::settle_kind(&body, resource)?;
        meta::settle_namespace(&mut body, namespace)?;
        let given = ownership::take_given(&mut body);
        ownership::check_given(resource, meta::called(&body), given.as_ref())?;
        meta::strip(&mut body)?;
        meta::dedup_owners(&mut body, options, meta::DUPLICATE_OWNERS);
        if !matches!(meta::text(&body, "resourceVersion"), "" | "0") {
            return Err(version_on_create());
        }
        self.check_namespace(&self.shared.store.applied(), resource, namespace, meta::called(&body))?;
        let absent = ownership::absent(resource, &body);
        admit(resource, &mut body, options)?;
        restrict::check(&options.actor, resource, None, &body)?;
        let snapshot = self.shared.store.applied();
        let scene = Scene { snapshot: &snapshot, resource, subresource: None, namespace, connects: None };
        scene.fill(&mut body)?;
        let asked = self.mutate(&scene, None, &mut body, options)?;
        if asked.is_some() {
            meta::settle_namespace(&mut body, namespace.filter(|_| resource.namespaced))?;
        }
        meta::dedup_owners(&mut body, options, meta::DUPLICATE_OWNERS_LATE);
        // What changes an object sees only the beginning of such a name, and who judges it sees all.
        let generated = generate_name(&mut body)?;
        let env = self.env();
        let Created { value: mut object, typed } = custom::create(resource, body, &env)?;
        self.check_types(resource, None, &mut object);
        options.admit(None, &object)?;
        scene.check(None, &object, options)?;
        self.judge(&scene, None, &object, options)?;
        // What nobody looks at any more, the store need not copy to change.
        drop(snapshot);
        let verb = if owners.is_some() { Verb::Apply } else { Verb::Replace };
        let managed = owners.unwrap_or_else(|| {
            Tracker::new(resource, None, options, env.now).created(
                asked.as_ref().unwrap_or(&object),
                given.as_ref(),
                &absent,
            )
        });
        // When everything else about it is settled, because none of it is its creator's.
        let access = Access::of(&self.shared.store.applied(), resource, namespace, &object);
        self.insert(resource, namespace, New { object, typed, managed, verb, access, generated }, options).await
    }

    /// Writes an object that has passed everything that concerns it alone.
    async fn insert(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        mut new: New,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        let mut names_tried = 1;
        for _ in 0..ATTEMPTS {
            match self.try_insert(resource, namespace, &mut new, options).await? {
                Inserted::Done(created) => return Ok(created),
                Inserted::Raced => {}
                Inserted::Taken(key) => {
                    let name = meta::text(&new.object, "name");
                    if !new.generated {
                        return Err(self.already_exists(resource, &key, name));
                    }
                    if names_tried == NAME_ATTEMPTS {
                        return Err(no_free_name(resource, name));
                    }
                    new.typed = None;
                    self.shared.made.forget(meta::text(&new.object, "uid"));
                    names_tried += 1;
                    let next = names::generated(meta::text(&new.object, "generateName"));
                    meta::metadata_mut(&mut new.object)?.insert("name".to_owned(), next.into());
                }
            }
        }
        Err(contended(resource, meta::text(&new.object, "name")))
    }

    async fn try_insert(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        new: &mut New,
        options: &WriteOptions,
    ) -> Result<Inserted, Status> {
        let New { object, typed, managed, verb, access, .. } = new;
        let object = &*object;
        let name = meta::text(object, "name");
        let key = key::of(resource, namespace, name);
        let mut snapshot = self.shared.store.applied();
        let of = namespace.map(|namespace| Use { resource, namespace, old: None, new: object });
        let turn = match of {
            Some(of) => self.quota_turn(&snapshot, of).await?,
            None => None,
        };
        if turn.is_some() {
            snapshot = self.shared.store.applied();
        }
        let home = self.check_namespace(&snapshot, resource, namespace, name)?;
        let definition =
            custom::kind_of(resource).map(|kind| kind.check_definition(&snapshot, resource)).transpose()?;
        if snapshot.get(&key).is_some() {
            return Ok(Inserted::Taken(key));
        }
        let charge = of.map(|of| self.charge(&snapshot, of, self.env().now)).transpose()?.unwrap_or_default();
        let mut object = Cow::Borrowed(object);
        let claims = if service::is_service(resource) {
            service::claim(object.to_mut(), None, &snapshot, &self.shared.config, resource)?
        } else {
            Claims::default()
        };
        // What nobody looks at any more, the store need not copy to change.
        drop(snapshot);
        let limit = self.shared.config.object_limit_bytes;
        let encode = |managed: &_| wire::encode_with(resource, &object, managed, access.as_ref(), limit);
        let encoded = verb.encode(managed, encode)?;
        if options.dry_run {
            let version = ResourceVersion(0);
            let json = wire::present_with(
                &resource.kind,
                &resource.api_version(),
                &object,
                managed,
                access.as_ref(),
                version,
            )?;
            return Ok(Inserted::Done(Object::made(json, version)));
        }
        let mut guards = vec![Guard::Absent(key.clone())];
        guards.extend(home);
        guards.extend(definition);
        guards.extend(claims.guards.into_iter().chain(charge.guards));
        let put = Op::Put { key: key.clone(), value: encoded.bytes, revision_at: Some(encoded.revision_at) };
        let mut ops = vec![put];
        ops.extend(claims.ops.into_iter().chain(charge.ops));
        if let Some(namespace) = namespace.filter(|_| quota::is_quota(resource)) {
            ops.push(quota::changed(namespace));
        }
        if let Some(typed) = typed.take() {
            self.shared.made.put(meta::text(&object, "uid"), typed);
        }
        match self.commit_known(guards, ops, index_to_keep(resource, &object)).await? {
            Tried::Committed { entries, .. } => Ok(Inserted::Done(custom::shown(resource, first(entries)?))),
            Tried::Refused { guard: OBJECT_GUARD } => Ok(Inserted::Taken(key)),
            Tried::Refused { .. } => Ok(Inserted::Raced),
        }
    }

    fn already_exists(&self, resource: &Resource, key: &Key, name: &str) -> Status {
        let mut status = Status::already_exists(resource, name);
        if self.shared.store.applied().get(key).is_some_and(|entry| index_of(entry).deleting) {
            status.message.insert_str(0, "object is being deleted: ");
        }
        status
    }

    /// The guard that keeps the namespace as it is while something is created in it: it must be there, and it must not
    /// go, or what is created would be left behind by its deletion.
    pub(crate) fn check_namespace(
        &self,
        snapshot: &Snapshot,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Guard>, Status> {
        let Some(namespace) = namespace.filter(|_| resource.namespaced) else { return Ok(None) };
        let key = key::namespace(namespace);
        let Some(entry) = snapshot.get(&key) else { return Err(namespace_not_found(namespace)) };
        if index_of(entry).deleting {
            return Err(namespace_terminating(resource, namespace, name));
        }
        Ok(Some(Guard::Unchanged(key, entry.modified())))
    }
}

/// The entry of a transaction's first put.
pub(crate) fn first(entries: Vec<Option<Arc<Entry>>>) -> Result<Object, Status> {
    let entry = entries.into_iter().next().flatten();
    entry.map(Object::stored).ok_or_else(|| Status::internal("the store returned no entry for a write"))
}

/// Gives the object a name if it only has the beginning of one. Whether it did.
fn generate_name(object: &mut Value) -> Result<bool, Status> {
    let base = meta::text(object, "generateName");
    if base.is_empty() || !meta::text(object, "name").is_empty() {
        return Ok(false);
    }
    let name = names::generated(base);
    meta::metadata_mut(object)?.insert("name".to_owned(), name.into());
    Ok(true)
}

/// What is decided for a kind beside its defaults.
fn admit(resource: &Resource, object: &mut Value, options: &WriteOptions) -> Result<(), Status> {
    match (&*resource.group, &*resource.plural) {
        ("certificates.k8s.io", "certificatesigningrequests") => {
            sign_request(object, options);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A signing request says who made it, whatever its body claims.
fn sign_request(object: &mut Value, options: &WriteOptions) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("uid");
        spec.remove("extra");
        let actor = &options.actor;
        spec.insert("username".to_owned(), actor.user.as_str().into());
        if !actor.uid.is_empty() {
            spec.insert("uid".to_owned(), actor.uid.as_str().into());
        }
        spec.insert("groups".to_owned(), actor.groups.clone().into());
        if !actor.extra.is_empty() {
            let extra = actor.extra.iter().map(|(key, values)| (key.clone(), values.clone().into()));
            spec.insert("extra".to_owned(), extra.collect::<serde_json::Map<_, _>>().into());
        }
    }
}

/// kube-apiserver's words, but not its code: there it is a 500, which tells clients that the server is at fault and to try again.
fn version_on_create() -> Status {
    Status::bad_request("resourceVersion should not be set on objects to be created")
}

fn no_free_name(resource: &Resource, name: &str) -> Status {
    let mut status = Status::already_exists(resource, name);
    status.message.push_str(", the server was not able to generate a unique name for the object");
    if let Some(details) = &mut status.details {
        details.retry_after_seconds = Some(1);
    }
    status
}

/// `namespaces "x" not found`
pub(crate) fn namespace_not_found(namespace: &str) -> Status {
    Status {
        code: 404,
        reason: Some(Reason::NotFound),
        message: format!("namespaces {namespace:?} not found"),
        details: Some(StatusDetails {
            name: namespace.to_owned(),
            kind: "namespaces".to_owned(),
            ..StatusDetails::default()
        }),
    }
}

fn namespace_terminating(resource: &Resource, namespace: &str, name: &str) -> Status {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(resource, name, &why);
    if let Some(details) = &mut status.details {
        details.causes.push(StatusCause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        });
    }
    status
}
