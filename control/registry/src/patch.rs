//! Patches: a change to whatever is stored, checked against the schema as a whole object is.

use std::borrow::Cow;

use pal_resources::codec::{self, ShownPatch};
use pal_resources::{Resource, Status, schema};
use serde_json::Value;

use crate::applying::SCALE;
use crate::custom;
use crate::form::Served;
use crate::meta;
use crate::options::{Patch, PatchKind, Patched, WriteOptions};
use crate::registry::Registry;
use crate::stored::{MANAGED_FIELDS, Stored};
use crate::update::Target;

impl Registry {
    /// Applies a patch to an object or to one of its subresources, again if someone wrote in between: a patch conflicts
    /// with another write only if it names a resourceVersion.
    pub async fn patch(
        &self,
        resource: &Resource,
        subresource: Option<&str>,
        namespace: Option<&str>,
        name: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Patched, Status> {
        let form = Served::of(resource);
        let stored = form.as_ref().map_or(resource, |form| &*form.stored);
        let options = &form.as_ref().map_or_else(|| Cow::Borrowed(options), |form| Cow::Owned(form.options(options)));
        let target = Target { resource: stored, subresource, namespace, name };
        if let PatchKind::Apply { force } = patch.kind {
            let Some(form) = &form else { return self.apply(target, &patch.body, force, options).await };
            let config = form.body(patch.body.clone())?;
            let applied = self.apply(target, &config, force, options).await?;
            return Ok(Patched { object: form.object(&applied.object)?, ..applied });
        }
        let kind =
            if subresource == Some("scale") { SCALE } else { (&*resource.group, &*resource.version, &*resource.kind) };
        let about_managers = mentions_managers(patch);
        let mut warnings = Vec::new();
        let change = |old: &Stored| {
            let mut patched = match &form {
                Some(form) => apply(patch, &form.shown_value(old.whole()), kind)?,
                None if about_managers => apply(patch, &old.whole(), kind)?,
                None => apply(patch, &old.value, kind)?,
            };
            // What a refusal shows, as kube-apiserver does: a strategic patch itself, else the object that came of it.
            let (strategic, object);
            let shown = if matches!(patch.kind, PatchKind::Strategic) {
                strategic = pal_patch::go_text(&patch.body);
                ShownPatch::Strategic(&strategic)
            } else {
                object = patched.to_string();
                ShownPatch::Object(&object)
            };
            if form.is_none() && subresource != Some("scale") {
                custom::check_kind(&patched, resource, name)?;
            }
            if form.is_none() {
                codec::settle_patched_kind(&mut patched, shown, kind)?;
            }
            let decoded = if subresource == Some("scale") {
                codec::conform_patched(patched, shown, patch.found.clone(), kind, patch.validation)?
            } else {
                custom::conform_patched(patched, shown, patch.found.clone(), resource, patch.validation)?
            };
            warnings = decoded.warnings;
            // Who gives another name is told where that is compared.
            if meta::text(&decoded.value, "name").is_empty() {
                return Err(meta::nameless(name));
            }
            match &form {
                Some(form) => form.body(decoded.value),
                None => Ok(decoded.value),
            }
        };
        let mut object = match self.revise(target, change, options).await {
            Ok(object) => object,
            Err(status) => {
                // Who is refused is warned too.
                warnings.into_iter().for_each(|warning| options.warn(warning));
                return Err(status);
            }
        };
        if let Some(form) = &form {
            object = form.object(&object)?;
        }
        Ok(Patched { object, created: false, warnings })
    }
}

/// Whether a patch may look at the managers: they are read only then.
fn mentions_managers(patch: &Patch) -> bool {
    match patch.kind {
        PatchKind::Json => {
            let paths = patch.body.as_array().into_iter().flatten().flat_map(|step| [&step["path"], &step["from"]]);
            paths
                .filter_map(Value::as_str)
                .any(|path| matches!(path, "" | "/metadata") || path.starts_with("/metadata/managedFields"))
        }
        _ => patch.body["metadata"].get(MANAGED_FIELDS).is_some() || patch.body["metadata"].get("$patch").is_some(),
    }
}

fn apply(patch: &Patch, old: &Value, kind: (&str, &str, &str)) -> Result<Value, Status> {
    let patched = match patch.kind {
        PatchKind::Json => pal_patch::json_patch(old, &patch.body),
        PatchKind::Merge => pal_patch::merge_patch(old, &patch.body),
        // A configuration is applied with what its managers own, not merged like this.
        PatchKind::Strategic | PatchKind::Apply { .. } => {
            let (group, version, name) = kind;
            let Some(message) = schema::message_for(group, version, name) else {
                return Err(Status::new(
                    415,
                    pal_resources::Reason::UnsupportedMediaType,
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                ));
            };
            pal_patch::strategic_merge(old, &patch.body, message)
        }
    };
    patched.map_err(|error| error.status())
}
