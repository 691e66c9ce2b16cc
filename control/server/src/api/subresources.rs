//! Subresources that do something: binding, eviction.

use http::{Response, StatusCode};
use pal_registry::Binding;
use pal_resources::codec::{self, FieldValidation};
use pal_resources::{Resource, Status, Uid};
use serde_json::{Value, json};

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
    let value = codec::decode_as(media, &body, Some(("", "v1", "Binding")), query.validation)?.value;
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
    let annotations = value["metadata"]["annotations"].as_object().into_iter().flatten();
    let binding = Binding {
        node: target["name"].as_str().unwrap_or_default().to_owned(),
        uid: value["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty()).map(|uid| Uid(uid.to_owned())),
        annotations: annotations
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    };
    let namespace = at.namespace().unwrap_or_default();
    call.registry().bind(namespace, name, &binding, &call.write_options(at, &query)).await?;
    done(call)
}

/// `POST pods/NAME/eviction`: a delete that asks the disruption budgets first.
pub(super) async fn evict(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let body = call.body(body).await?;
    let media = call.media()?;
    let expect = Some(("policy", "v1", "Eviction"));
    let value = codec::decode_as(media, &body, expect, FieldValidation::Ignore)?.value;
    same_name(at, &value)?;
    let mut options = deletion::parse(&value["deleteOptions"])?;
    options.dry_run |= call.query.dry_run("CreateOptions")?;
    options.actor = call.actor();
    call.registry().evict(at.namespace().unwrap_or_default(), at.name()?, &options).await?;
    done(call)
}

fn same_name(at: &At, value: &Value) -> Result<(), Status> {
    let (wanted, given) = (at.name()?, value["metadata"]["name"].as_str().unwrap_or_default());
    if given.is_empty() || given == wanted {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "name in URL does not match name in {} object",
        value["kind"].as_str().unwrap_or("the")
    )))
}

fn done(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    reply::value(StatusCode::CREATED, &status, call.accepted)
}
