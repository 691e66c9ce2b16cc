//! One instance, from its store to its end, on the guests' threads.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use http::header::HOST;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView as _};

use crate::failure::Failure;
use crate::program::Pre;
use crate::reply::Broken;
use crate::ticker::Alive;
use crate::workload::{Guest, Workload};
use crate::{Body, Program};

/// Where the guest's response goes: its head, with a body that streams, or why there is none.
pub(crate) type Answer = oneshot::Sender<Result<http::Response<WasiBody>, String>>;

/// Marks a response as broken if it is dropped before the guest has returned. It must be dropped before the store,
/// whose end looks to the response's body like a proper one.
struct BrokenUnlessReturned(Option<Broken>);

impl Drop for BrokenUnlessReturned {
    fn drop(&mut self) {
        if let Some(broken) = self.0.take() {
            broken.set();
        }
    }
}

/// How an instance that handled a request ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The guest returned.
    Returned,
    /// The guest trapped, called exit or was out of memory.
    Failed(Failure),
    /// The service was stopped.
    Stopped,
    /// Nobody waits for it any more.
    Abandoned,
}

/// What a live instance takes up. It must be dropped after the store.
pub(crate) struct Live {
    _alive: Alive,
    _room: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Live {
    pub(crate) fn new(workload: &Workload, room: OwnedSemaphorePermit, turn: Option<OwnedSemaphorePermit>) -> Self {
        Self { _alive: workload.engine.alive(), _room: room, _turn: turn }
    }
}

/// Makes an instance, and nothing else.
pub(crate) async fn trial(program: &Program, workload: &std::sync::Arc<Workload>, live: Live) -> Result<(), Failure> {
    let _live = live;
    let mut store = workload.store();
    let made = match program.pre() {
        Pre::ServiceP2(pre) => pre.instantiate_async(&mut store).await.map(drop),
        Pre::ServiceP3(pre) => pre.instantiate_async(&mut store).await.map(drop),
        Pre::CommandP2(_) | Pre::CommandP3(_) => Err(not_a_service()),
    };
    program.set_initial_bytes(store.data().share.held());
    made.map_err(|error| Failure::of(&error, &store.data().share))
}

/// Handles one request in an instance of its own. The answer is sent as soon as the guest sets it; this goes on until
/// the guest has nothing left to do.
pub(crate) async fn handle(
    program: &Program,
    workload: &std::sync::Arc<Workload>,
    live: Live,
    request: Request<Body>,
    answer: Answer,
    broken: Broken,
) -> Ended {
    let _live = live;
    let mut store = workload.store();
    let mut broken = BrokenUnlessReturned(Some(broken));
    let request = acceptable(request);
    let done = match program.pre() {
        Pre::ServiceP2(pre) => match pre.instantiate_async(&mut store).await {
            Ok(proxy) => handle_p2(&mut store, &proxy, request, answer).await,
            Err(error) => Err(error),
        },
        Pre::ServiceP3(pre) => match pre.instantiate_async(&mut store).await {
            Ok(service) => handle_p3(&mut store, Proxy::P3(service), request, answer).await,
            Err(error) => Err(error),
        },
        Pre::CommandP2(_) | Pre::CommandP3(_) => Err(not_a_service()),
    };
    match done {
        Ok(()) => {
            broken.0 = None;
            Ended::Returned
        }
        Err(error) => Ended::Failed(Failure::of(&error, &store.data().share)),
    }
}

/// `Program::serve` has checked the kind.
fn not_a_service() -> wasmtime::Error {
    wasmtime::format_err!("a command is not a service")
}

/// The request in the form that the handlers take: 0.2 wants an authority, which HTTP/1.0 need not have, and 0.3 looks
/// for it in the URI.
fn acceptable(request: Request<Body>) -> Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    if parts.uri.authority().is_none() {
        let host = parts
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .filter(|host| !host.is_empty())
            .unwrap_or("localhost")
            .to_owned();
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        let path = uri.path_and_query.take();
        let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        let built =
            http::Uri::builder().scheme(http::uri::Scheme::HTTP).authority(host).path_and_query(path.clone()).build();
        // A host that is no authority is left out.
        parts.uri = built.unwrap_or_else(|_| {
            http::Uri::builder()
                .scheme(http::uri::Scheme::HTTP)
                .authority("localhost")
                .path_and_query(path)
                .build()
                .unwrap_or_default()
        });
    }
    let body = body.map_err(|_| Error::ConnectionTerminated).boxed_unsync();
    Request::from_parts(parts, body)
}

async fn handle_p2(
    store: &mut Store<Guest>,
    proxy: &wasmtime_wasi_http::p2::bindings::Proxy,
    request: Request<WasiBody>,
    answer: Answer,
) -> wasmtime::Result<()> {
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(Scheme::Http, request)?;
    let set = Arc::new(Mutex::new(None));
    let out = view.new_response_outparam_from_callback({
        let set = set.clone();
        move |response| *set.lock().unwrap_or_else(PoisonError::into_inner) = Some(response)
    })?;
    let mut call = pin!(proxy.wasi_http_incoming_handler().call_handle(store, request, out));
    let mut answer = Some(answer);
    poll_fn(|cx| {
        let done = call.as_mut().poll(cx);
        // The response goes out when the guest pauses, not when it is set: by then the beginning of its body, often all
        // of it, is there as well, and takes neither another wake-up nor another packet.
        let response = set.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(response) = response
            && let Some(answer) = answer.take()
        {
            // Nobody listens if the client has gone.
            let _ = answer.send(response.map_err(|code| format!("{code:?}")));
        }
        done
    })
    .await
}

async fn handle_p3(
    store: &mut Store<Guest>,
    proxy: Proxy,
    request: Request<WasiBody>,
    answer: Answer,
) -> wasmtime::Result<()> {
    let (sender, receiver) = futures::channel::oneshot::channel();
    let prepared = Prepared::new(store.as_context_mut(), &proxy, request, |guest: &mut Guest| guest.http(), sender)?;
    // The response has to be passed on from outside of the guest's event loop, which the guest may block.
    let pass_on = async {
        match receiver.await {
            Ok(Ok(response)) => drop(answer.send(Ok(response))),
            Ok(Err(error)) => {
                // A trap or an exit is told by the end of the event loop.
                if let Some(code) = error.downcast_ref::<ErrorCode>() {
                    let _ = answer.send(Err(format!("{code:?}")));
                }
            }
            Err(_) => {}
        }
    };
    let run = store.run_concurrent(async |accessor| {
        prepared.run(accessor, pending()).await?;
        // What is left are tasks of the guest that stream the body or end later.
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        wasmtime::error::Ok(())
    });
    // The sender is used or dropped when the event loop has ended, so that this waits for no more than that.
    let (done, ()) = tokio::join!(run, pass_on);
    done?
}
