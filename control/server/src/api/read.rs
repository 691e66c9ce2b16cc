//! Reading one object, or a list.

use std::sync::Arc;

use http::{Response, StatusCode};
use pal_resources::Status;

use super::accept::Form;
use super::kinds::unserved;
use super::query::Include;
use super::render::Shown;
use super::{At, Call, reply};
use crate::Body;

impl Call<'_> {
    /// How the objects of this request are shown.
    pub(super) fn shown(&self, at: &At) -> Result<Shown, Status> {
        let resource = match at.subresource() {
            Some("scale") => Arc::new(unserved("autoscaling", "Scale")),
            _ => at.resource.clone(),
        };
        // Other forms have nothing beside to include.
        let include = match self.accepted.form {
            Form::Table(_) => self.query.include()?,
            _ => Include::Metadata,
        };
        Ok(Shown::new(resource, self.accepted.form, include))
    }
}

/// One object, or its subresource.
pub(super) async fn get(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let (name, read) = (at.name()?, call.query.read()?);
    let object = match at.subresource() {
        None => call.registry().get(&at.resource, at.namespace(), name, read).await?,
        Some(sub) => call.registry().get_subresource(&at.resource, sub, at.namespace(), name, read).await?,
    };
    one(call, at, StatusCode::OK, &object)
}

/// An object as the answer.
pub(super) fn one(
    call: &Call<'_>,
    at: &At,
    code: StatusCode,
    object: &pal_registry::Object,
) -> Result<Response<Body>, Status> {
    let json = call.shown(at)?.object(object)?;
    reply::json(code, &json, call.accepted)
}

/// A list, or a page of one.
pub(super) async fn list(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let shown = call.shown(at)?;
    let list = call.registry().list(&at.resource, at.namespace(), call.query.list()?).await?;
    shown.list(list, call.accepted)
}
