//! Subresources that do something: binding, eviction.

use http::{Response, StatusCode};
use pal_registry::Binding;
use pal_resources::codec::{self, FieldValidation};
use pal_resources::{Resource, Status};
use serde_json::Value;

use super::{At, Call, Unread, deletion, reply};
use crate::Body;

/// Whether the resource is the other way to bind pods, `bindings`.
pub(super) fn binds(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "bindings"
}

/// `POST pods/NAME/binding` or `bindings`: what a scheduler decides.
pub(super) async fn bind(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let query = call.query.write("CreateOptions")?;
    let body = call.body(body).await?;
    let media = call.media()?;
    let mut value = codec::decode_as(media, &body, Some(("", "v1", "Binding")), query.validation)?.value;
    let name = match at.subresource() {
        Some(_) => {
            same_name(at, &value)?;
            at.name()?
        }
        None => value["metadata"]["name"].as_str().unwrap_or_default(),
    };
    if name.is_empty() {
        return Err(Status::bad_request("resource name may not be empty"));
    }
    let target = &value["target"];
    if let Some(kind) = target["kind"].as_str().filter(|kind| !matches!(*kind, "" | "Node")) {
        return Err(Status::bad_request(format!(
            "target.kind: Unsupported value: {kind:?}: supported values: \"Node\""
        )));
    }
    let (namespace, name, options) =
        (at.namespace().unwrap_or_default(), name.to_owned(), call.write_options(at, &query));
    place(&mut value, namespace, &name);
    call.registry().admit_posted(&at.resource, at.subresource(), namespace, &mut value, &options)?;
    call.registry().bind(namespace, &name, &Binding::read(&value), &options).await?;
    done(call)
}

/// `POST pods/NAME/eviction`: a delete that asks the disruption budgets first.
pub(super) async fn evict(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let body = call.body(body).await?;
    let media = call.media()?;
    let expect = Some(("policy", "v1", "Eviction"));
    let mut value = codec::decode_as(media, &body, expect, FieldValidation::Ignore)?.value;
    same_name(at, &value)?;
    let (namespace, name, query) = (at.namespace().unwrap_or_default(), at.name()?, call.query.write("CreateOptions")?);
    let mut asked = call.write_options(at, &query);
    asked.dry_run |= deletion::parse(&value["deleteOptions"])?.dry_run;
    place(&mut value, namespace, name);
    call.registry().admit_posted(&at.resource, at.subresource(), namespace, &mut value, &asked)?;
    let mut options = deletion::parse(&value["deleteOptions"])?;
    options.dry_run |= asked.dry_run;
    options.actor = asked.actor;
    call.registry().evict(namespace, name, &options).await?;
    done(call)
}

/// Names what is posted like what it is for.
pub(super) fn place(value: &mut Value, namespace: &str, name: &str) {
    value["metadata"]["namespace"] = namespace.into();
    value["metadata"]["name"] = name.into();
}

fn same_name(at: &At, value: &Value) -> Result<(), Status> {
    if value["metadata"]["name"].as_str().unwrap_or_default() == at.name()? {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "name in URL does not match name in {} object",
        value["kind"].as_str().unwrap_or("the")
    )))
}

fn done(call: &Call<'_>) -> Result<Response<Body>, Status> {
    reply::json(StatusCode::CREATED, &Status::success(None, Some(201)), call.accepted)
}
