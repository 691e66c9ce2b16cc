//! Objects that are served in another form than they are stored in, see `pal_resources::forms`: every way in and out of
//! the registry passes by here for them.

use pal_resources::forms::{self, Form};
use pal_resources::selector::FieldSelector;
use pal_resources::{Resource, ResourceRef, Status, kinds};
use serde_json::Value;

use crate::meta;
use crate::object::Object;
use crate::options::Admission;
use crate::options::{Deletion, List, WriteOptions};
use crate::stored::Stored;
use crate::watch::WatchEvent;
use crate::wire;

/// A resource that is served in a form of its own, and where its objects are.
#[derive(Clone)]
pub(crate) struct Served {
    form: &'static Form,
    served: Resource,
    pub stored: ResourceRef,
}

impl Served {
    /// `None`: the resource's objects are served as they are stored.
    pub(crate) fn of(resource: &Resource) -> Option<Self> {
        let form = forms::of(resource)?;
        Some(Self { form, served: resource.clone(), stored: form.resource()? })
    }

    /// A body as it is stored.
    pub(crate) fn body(&self, body: Value) -> Result<Value, Status> {
        meta::settle_kind(&body, &self.served)?;
        Ok(self.form.stored(body))
    }

    /// What a patch is applied to.
    pub(crate) fn shown_value(&self, stored: Value) -> Value {
        self.form.served(stored)
    }

    /// The same options, with what this form asks of objects.
    pub(crate) fn options(&self, options: &WriteOptions) -> WriteOptions {
        let (form, resource, then) = (self.form, self.stored.clone(), options.admission.clone());
        let check = move |old: Option<&Value>, new: &Value| {
            let errors = form.check(old, new);
            if !errors.is_empty() {
                return Err(Status::invalid(&resource, meta::text(new, "name"), &errors));
            }
            then.as_ref().map_or(Ok(()), |then| then.ask(old, new))
        };
        WriteOptions { admission: Some(Admission::new(check)), ..options.clone() }
    }

    /// A field selector by the stored names.
    pub(crate) fn selector(&self, selector: Option<FieldSelector>) -> Result<Option<FieldSelector>, Status> {
        let asked = selector.iter().flat_map(FieldSelector::requirements);
        if let Some(other) = asked.map(|one| &one.field).find(|field| !kinds::selectable(&self.served, field)) {
            return Err(kinds::unselectable(&self.served, other));
        }
        Ok(selector.map(|selector| selector.renamed(|field| self.form.field(field))))
    }

    /// A stored object in the form that is served.
    pub(crate) fn object(&self, object: &Object) -> Result<Object, Status> {
        let stored = Stored::read(object.json()).map_err(Status::internal)?;
        let value = self.form.served(stored.value);
        let (kind, version) = (&self.served.kind, object.version());
        let json = wire::present(kind, &self.served.api_version(), &value, &stored.managed, version)?;
        Ok(Object::made(json, version))
    }

    pub(crate) fn list(&self, list: List) -> Result<List, Status> {
        let items: Result<Vec<Object>, Status> = list.items.iter().map(|item| self.object(item)).collect();
        Ok(List { items: items?, ..list })
    }

    pub(crate) fn deletion(&self, deletion: Deletion) -> Result<Deletion, Status> {
        Ok(Deletion { object: self.object(&deletion.object)?, ..deletion })
    }

    /// An event of a watch.
    pub(crate) fn event(&self, event: WatchEvent) -> WatchEvent {
        let shown =
            |object: &Object, make: fn(Object) -> WatchEvent| self.object(object).map_or_else(WatchEvent::Error, make);
        match &event {
            WatchEvent::Added(object) => shown(object, WatchEvent::Added),
            WatchEvent::Modified(object) => shown(object, WatchEvent::Modified),
            WatchEvent::Deleted(object) => shown(object, WatchEvent::Deleted),
            WatchEvent::Bookmark { .. } | WatchEvent::Error(_) => event,
        }
    }
}
