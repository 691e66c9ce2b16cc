//! Custom resources: which there are, what their definitions make of their objects, and the definitions themselves.
//!
//! | module | what it holds |
//! |---|---|
//! | `definitions` | the custom resources that are served at a moment, and how that is kept up with the store |
//! | `kind` | one version of a custom resource: what writes run through, how stored objects are shown |
//! | `definition` | what a write of a CustomResourceDefinition runs through |
//! | `body` | request bodies and patched objects, read by the definition |

mod body;
mod definition;
mod definitions;
mod kind;

use pal_resources::kinds::{self, Created, Env};
use pal_resources::{Resource, ResourceRef, Status, resource};
use serde_json::Value;

use crate::object::Object;
use crate::options::Read;
use crate::registry::Registry;

pub use body::decode;
pub(crate) use body::{check_kind, conform, conform_patched};
pub(crate) use definition::{is_definition, terminating};
pub use definitions::Definitions;
pub(crate) use definitions::Keeper;
pub use kind::Kind;
pub(crate) use kind::Stamp;
pub use pal_custom::Column;

/// What the definition of a custom resource makes of its objects; `None` for what is built in.
pub fn kind_of(resource: &Resource) -> Option<&Kind> {
    resource.custom.as_ref()?.get()
}

impl Registry {
    /// The resource with that group (empty for core), version and plural, built in or custom.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<ResourceRef> {
        resource::find(group, version, plural).or_else(|| self.definitions().find(group, version, plural))
    }

    /// [`Registry::find`] by all that was answered by now: what another server was told of a moment ago is found too.
    pub async fn find_surely(&self, group: &str, version: &str, plural: &str) -> Result<Option<ResourceRef>, Status> {
        let found = self.find(group, version, plural);
        let known = |resource: &ResourceRef| resource.group == group && resource.version == version;
        if found.is_some() || self.shared.store.is_sole() || resource::builtin().iter().any(known) {
            return Ok(found);
        }
        self.snapshot(Read::Consistent).await?;
        Ok(self.definitions().find(group, version, plural))
    }

    /// The resource whose objects have that group (empty for core), version and kind, built in or custom.
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<ResourceRef> {
        resource::by_kind(group, version, kind).or_else(|| self.definitions().by_kind(group, version, kind))
    }
}

/// [`kinds::create`] for any resource.
pub(crate) fn create(resource: &Resource, object: Value, env: &Env) -> Result<Created, Status> {
    let value = match kind_of(resource) {
        Some(kind) => kind.create(resource, object, env)?,
        None if is_definition(resource) => definition::create(resource, object, env)?,
        None => return kinds::create_typed(resource, object, env),
    };
    Ok(Created { value, typed: None })
}

/// [`kinds::update`] for any resource. `warn` is told what is forgiven.
pub(crate) fn update(
    resource: &Resource,
    subresource: Option<&str>,
    old: &Value,
    new: Value,
    env: &Env,
    warn: &dyn Fn(String),
) -> Result<Value, Status> {
    match kind_of(resource) {
        Some(kind) => kind.update(resource, subresource, old, new, warn),
        None if is_definition(resource) => definition::update(resource, subresource, old, new, env),
        None => kinds::update(resource, subresource, old, new, env),
    }
}

/// [`kinds::scale_of`] for any resource.
pub(crate) fn scale_of(resource: &Resource, object: &Value) -> Result<Value, Status> {
    match kind_of(resource) {
        Some(kind) => kind.scale_of(object),
        None => kinds::scale_of(resource, object).ok_or_else(Status::unknown_path),
    }
}

/// The Scale that a write begins with. A custom resource may say nothing of replicas yet: the write has to.
pub(crate) fn scale_to_change(resource: &Resource, object: &Value) -> Result<Value, Status> {
    let Some(scale) = kind_of(resource).and_then(Kind::scale) else { return scale_of(resource, object) };
    let mut counted = object.clone();
    if !scale.says_replicas(object) {
        scale.set_replicas(&mut counted, i64::from(i32::MIN));
    }
    scale_of(resource, &counted)
}

/// [`kinds::apply_scale`] for any resource.
pub(crate) fn apply_scale(resource: &Resource, object: &Value, replicas: i32) -> Value {
    match kind_of(resource).and_then(Kind::scale) {
        Some(scale) => {
            let mut scaled = object.clone();
            scale.set_replicas(&mut scaled, i64::from(replicas));
            scaled
        }
        None => kinds::apply_scale(resource, object, replicas),
    }
}

/// Where the wanted number of replicas stands in an object.
pub(crate) fn replicas_path(resource: &Resource) -> Vec<&str> {
    match kind_of(resource).and_then(Kind::scale) {
        Some(scale) => scale.spec_replicas.split('.').collect(),
        None => vec!["spec", "replicas"],
    }
}

/// Whether field selectors of that resource can ask for `field`.
pub(crate) fn selectable(resource: &Resource, field: &str) -> bool {
    kinds::selectable(resource, field) || kind_of(resource).is_some_and(|kind| kind.selects(field))
}

/// A stored object as the resource's version shows it.
pub(crate) fn shown(resource: &Resource, object: Object) -> Object {
    match kind_of(resource) {
        Some(kind) => kind.shown(resource, object),
        None => object,
    }
}

/// Makes of a stored object one of the resource's version. Whether that changed anything: then a write is due even where
/// the client changes nothing.
pub(crate) fn adapt(resource: &Resource, object: &mut Value) -> bool {
    kind_of(resource).is_some_and(|kind| kind.adapt(resource, object))
}

/// The `apiVersion` in which objects of the resource are stored.
pub(crate) fn stored_version(resource: &Resource) -> String {
    kind_of(resource).map_or_else(|| resource.api_version(), |kind| kind.stored_as().to_owned())
}
