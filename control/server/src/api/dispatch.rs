//! Which part of the server answers a request for what a path names, and in which form.

use http::Response;
use pal_resources::Status;

use super::accept::{self, Accepted, Offers};
use super::call::{At, Call, Streaming, Unread, taken};
use super::{
    components, deletion, log, method_not_allowed, metrics, proxy, read, reviews, streams, subresources, token, watch,
    write,
};
use crate::Body;
use crate::audit::Trail;

/// The form of an answer about objects.
pub(super) fn form(call: &Call<'_>, at: &At) -> Result<Accepted, Status> {
    let offers = match &at.resource.custom {
        Some(_) => Offers::Customs,
        None if reviews::reviewed(&at.resource) => Offers::Answers,
        None => Offers::Objects,
    };
    if offers != Offers::Customs && at.subresource() != Some("log") {
        let lists = matches!(at.verb, "list" | "watch");
        accept::routed(&call.parts.headers, if lists { accept::OF_LISTS } else { accept::OF_OBJECTS })?;
    }
    let mut accepted = accept::accept(&call.parts.headers, call.query.pretty(), offers)?;
    accepted.gzip &= !call.trail.is_some_and(Trail::tells_answers);
    Ok(accepted)
}

/// An answer that goes on.
pub(super) async fn stream_answer(
    call: &Call<'_>,
    at: &At,
    stream: Streaming,
    body: &mut Unread,
) -> Result<Response<Body>, Status> {
    match stream {
        Streaming::Watch => {
            accept::streamed(call.accepted)?;
            streams::messages(call, watch::watch(call, at).await?, streams::of_events)
        }
        Streaming::Log => streams::messages(call, log::log(call, at).await?, streams::of_log),
        Streaming::Exec => streams::program(call, at, "exec").await,
        Streaming::Attach => streams::program(call, at, "attach").await,
        Streaming::Forward => streams::forward(call, at).await,
        Streaming::Proxy => proxy::proxy(call, at, taken(body)?).await,
    }
}

/// What is seldom asked for has a box of its own: the state of every request is as large as the largest, and is moved some
/// times.
pub(super) async fn dispatch(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    match (at.verb, at.subresource()) {
        ("create", Some("binding")) => Box::pin(subresources::bind(call, at, body)).await,
        ("create", None) if subresources::binds(&at.resource) => Box::pin(subresources::bind(call, at, body)).await,
        ("create", Some("eviction")) => Box::pin(subresources::evict(call, at, body)).await,
        ("create", Some("token")) => Box::pin(token::request(call, at, body)).await,
        ("create", None) if reviews::reviewed(&at.resource) => Box::pin(reviews::answer(call, at, body)).await,
        ("create", None) => write::create(call, at, body).await,
        ("get" | "list", None) if components::are(&at.resource) => Box::pin(components::answer(call, at)).await,
        ("get" | "list", None) if metrics::are(&at.resource) => Box::pin(metrics::answer(call, at)).await,
        ("get", _) => read::get(call, at).await,
        ("list", None) => Box::pin(read::list(call, at)).await,
        ("update", _) => Box::pin(write::update(call, at, body)).await,
        ("patch", _) => Box::pin(write::patch(call, at, body)).await,
        ("delete", None) => Box::pin(deletion::delete(call, at, body)).await,
        ("deletecollection", None) => Box::pin(deletion::collection(call, at, body)).await,
        _ => Err(method_not_allowed()),
    }
}
