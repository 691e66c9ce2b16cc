//! Server-side apply of a configuration to an object or one of its subresources.

use pal_patch::apply::{self, Applied, Element, Entry, FieldSet, Managers, Rules, Shape, Writer};
use pal_resources::codec::{self, FieldValidation};
use pal_resources::{Resource, Status};
use serde_json::{Map, Value};

use crate::lifecycle::Outcome;
use crate::options::{Patched, WriteOptions};
use crate::ownership::{self, Tracker};
use crate::registry::{ATTEMPTS, Registry, contended};
use crate::scale::{scale_object, shown_scale};
use crate::stored::{self, Managed, Stored};
use crate::update::{Decision, Target, Verb, decide};
use crate::{custom, key, meta, restrict};

/// The kind that the subresource `scale` is of: group, version, kind.
pub(crate) const SCALE: (&str, &str, &str) = ("autoscaling", "v1", "Scale");
const SCALE_VERSION: &str = "autoscaling/v1";

impl Registry {
    /// Applies a configuration. An object that is not there is created; a subresource of one that is not there is not.
    pub(crate) async fn apply(
        &self,
        target: Target<'_>,
        config: &Value,
        force: bool,
        options: &WriteOptions,
    ) -> Result<Patched, Status> {
        let Target { resource, subresource, namespace, name } = target;
        check_kind(resource, subresource, config)?;
        for _ in 0..ATTEMPTS {
            let there = self.shared.store.applied().get(key::of(resource, namespace, name)).is_some();
            let seen = self.shared.store.applied().revision();
            if !there && subresource.is_none() {
                match self.apply_new(target, config, force, options).await {
                    Ok(object) => return Ok(Patched { object, created: true, warnings: Vec::new() }),
                    // Someone made it meanwhile: it is applied to that.
                    Err(status) if status.reason == Some(pal_resources::Reason::AlreadyExists) => continue,
                    Err(_) if self.was_behind(seen).await? => continue,
                    Err(status) => return Err(status),
                }
            }
            match self.apply_to_stored(target, config, force, options).await {
                // It went meanwhile.
                Err(status) if status.code == 404 && subresource.is_none() => continue,
                outcome => return outcome.map(|object| Patched { object, created: false, warnings: Vec::new() }),
            }
        }
        Err(contended(resource, name))
    }

    async fn apply_new(
        &self,
        target: Target<'_>,
        config: &Value,
        force: bool,
        options: &WriteOptions,
    ) -> Result<crate::Object, Status> {
        let Target { resource, namespace, name, .. } = target;
        let tracker = Tracker::new(resource, None, options, self.env().now);
        let nothing = Value::Object(Map::new());
        let Applied { object, managers } =
            apply::apply(&tracker.rules(), &nothing, config, &Managers::default(), &tracker.writer(), force)
                .map_err(|error| error.status())?;
        let uid = meta::text(&object, "uid");
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Status::conflict(resource, name, &why));
        }
        if meta::text(&object, "name").is_empty() {
            return Err(meta::nameless(name));
        }
        let mut object = custom::conform(object, resource, FieldValidation::Ignore)?.value;
        meta::settle_place(&mut object, name, namespace.filter(|_| resource.namespaced))?;
        meta::metadata_mut(&mut object)?.remove("resourceVersion");
        let managed = stored::managed(managers.to_json());
        self.create_here(resource, namespace, object, Some(managed), options).await
    }

    async fn apply_to_stored(
        &self,
        target: Target<'_>,
        config: &Value,
        force: bool,
        options: &WriteOptions,
    ) -> Result<crate::Object, Status> {
        let Target { resource, subresource, namespace, name } = target;
        let env = self.env();
        let tracker = Tracker::new(resource, subresource, options, env.now);
        if subresource == Some("scale") {
            let scaled = self.rewrite_owned(resource, namespace, name, options.dry_run, |old| {
                let (scale, managed) = apply_scale(resource, old, config, &tracker.writer(), force)?;
                Ok(Decision { outcome: self.rescale(target, old, scale, &env, options)?, managed, verb: Verb::Apply })
            });
            return scale_object(resource, &scaled.await?.object);
        }
        let written = self.rewrite_owned(resource, namespace, name, options.dry_run, |old| {
            let managers = ownership::read(&old.managed);
            let Applied { object, managers } =
                apply::apply(&tracker.rules(), &old.value, config, &managers, &tracker.writer(), force)
                    .map_err(|error| error.status())?;
            let mut new = custom::conform(object, resource, FieldValidation::Ignore)?.value;
            self.mutate_update(target, &old.value, &mut new, options)?;
            meta::dedup_owners(&mut new, options, meta::DUPLICATE_OWNERS_LATE);
            let mut outcome = decide(target, &old.value, new, &env, &|warning| options.warn(warning))?;
            if let Outcome::Keep(new) = &mut outcome {
                self.check_types(resource, Some(&old.value), new);
                restrict::check(&options.actor, resource, Some(&old.value), new)?;
                options.admit(Some(&old.value), new)?;
                self.check(target, &old.value, new, options)?;
            }
            Ok(Decision { outcome, managed: stored::managed(managers.to_json()), verb: Verb::Apply })
        });
        Ok(written.await?.object)
    }
}

/// The configuration must be of the kind that it is applied to.
fn check_kind(resource: &Resource, subresource: Option<&str>, config: &Value) -> Result<(), Status> {
    let (group, version, kind) =
        if subresource == Some("scale") { SCALE } else { (&*resource.group, &*resource.version, &*resource.kind) };
    let given = config["apiVersion"].as_str().unwrap_or_default();
    let (given_group, given_version) = given.split_once('/').unwrap_or(("", given));
    let given_kind = config["kind"].as_str().unwrap_or_default();
    if (given_group, given_version, given_kind) == (group, version, kind) {
        return Ok(());
    }
    Err(Status::bad_request(format!("invalid object type: {given_group}/{given_version}, Kind={given_kind}")))
}

/// Where the number of replicas stands in every Scale.
const IN_SCALE: &[&str] = &["spec", "replicas"];

fn owns(entry: &Entry, path: &[&str]) -> bool {
    entry.fields.has(&path.iter().map(|name| Element::field(*name)).collect::<Vec<_>>())
}

/// Applies to the Scale of an object: the Scale that comes of it, and the object's managers.
fn apply_scale(
    resource: &Resource,
    old: &Stored,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<(Value, Managed), Status> {
    let (group, version, kind) = SCALE;
    let shape = Shape::of_kind(group, version, kind).ok_or_else(Status::unknown_path)?;
    let ignored = FieldSet::of_fields(&[&["status"]]);
    let rules = Rules { api_version: SCALE_VERSION, shape, others: &[], ignored: &ignored };
    let owners = ownership::read(&old.managed);
    let live = shown_scale(resource, &old.value)?;
    // Who owns the object's number of replicas owns the Scale's.
    let path = custom::replicas_path(resource);
    let of_scale = owners.entries().iter().filter(|entry| owns(entry, &path)).map(|entry| Entry {
        api_version: SCALE_VERSION.to_owned(),
        fields: FieldSet::of_fields(&[IN_SCALE]),
        ..entry.clone()
    });
    let applied = apply::apply(&rules, &live, config, &Managers::of(of_scale.collect()), writer, force)
        .map_err(|error| error.status())?;
    let scale = codec::conform(applied.object, SCALE, FieldValidation::Ignore)?.value;
    let managers = of_object(owners.entries(), applied.managers.entries(), &resource.api_version(), &path);
    Ok((scale, stored::managed(managers.to_json())))
}

/// An object's managers after those of its Scale changed.
fn of_object(owners: &[Entry], of_scale: &[Entry], api_version: &str, path: &[&str]) -> Managers {
    let replicas = FieldSet::of_fields(&[path]);
    let same =
        |a: &Entry, b: &Entry| (&a.manager, a.operation, &a.subresource) == (&b.manager, b.operation, &b.subresource);
    let mut all = Vec::new();
    for owner in owners {
        let mut owner = owner.clone();
        match of_scale.iter().find(|entry| owns(entry, IN_SCALE) && same(entry, &owner)) {
            Some(entry) if owner.subresource == "scale" => owner.time.clone_from(&entry.time),
            Some(_) => {}
            None => owner.fields.subtract(&replicas),
        }
        if !owner.fields.is_empty() {
            all.push(owner);
        }
    }
    for entry in of_scale.iter().filter(|entry| owns(entry, IN_SCALE)) {
        if !owners.iter().any(|owner| owns(owner, path) && same(owner, entry)) {
            all.push(Entry { api_version: api_version.to_owned(), fields: replicas.clone(), ..entry.clone() });
        }
    }
    Managers::of(all)
}
