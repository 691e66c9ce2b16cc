//! Requests into answers: who asks, what for, whether they may, and then the work.

pub(crate) mod accept;
mod admit;
mod allow;
mod call;
mod cluster;
mod components;
mod debugging;
mod deletion;
mod directories;
mod discovery;
mod dispatch;
mod documents;
mod fair;
mod figures;
mod gate;
mod health;
mod impersonate;
mod issuer;
mod kinds;
mod large;
mod links;
mod log;
mod manager;
mod metrics;
mod nodes;
mod pace;
mod parameters;
mod proxy;
pub(crate) mod query;
mod question;
mod read;
mod refusals;
mod render;
mod reply;
mod reviews;
pub(crate) mod route;
mod schemas;
mod streams;
mod subresources;
mod token;
mod told;
mod watch;
mod wish;
mod write;

use std::net::SocketAddr;
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use http::header::{CACHE_CONTROL, EXPECT, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use pal_registry::{Registry, Warnings};
use pal_resources::resource;
use pal_resources::status::Status;
use pal_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::cluster::SERVERS;
pub use self::directories::Directories;
pub use self::metrics::{PodUsed, Usage};
pub(crate) use self::nodes::NODES;
pub(crate) use self::pace::Together;
pub(crate) use self::reply::{failure, whole};

use self::accept::Accepted;
use self::call::{At, Call, Unread, taken};
use self::dispatch::{dispatch, form, stream_answer};
use self::query::Query;
use self::refusals::{method_not_allowed, timed_out, unsupported_media};
use self::route::Route;
use crate::audit::{self, Auditor, Trail};
use crate::auth::rbac::Rbac;
use crate::auth::{Attributes, Authenticator, Known, TokenKey, User};
use crate::wire::{Held, MadeWhileRead, discard};
use crate::{Body, ClusterCa, ServerConfig, Tunnels};

/// What a connection says about its client.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Who the client certificate names.
    pub user: Option<Arc<User>>,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Its watches.
    pub together: Together,
}

/// What proves the cluster's word.
pub(crate) struct Keys {
    pub ca: Arc<ClusterCa>,
    pub key: Arc<TokenKey>,
    pub known: Known,
    pub auditor: Option<Arc<Auditor>>,
}

/// Everything that answering needs.
pub(crate) struct Api {
    config: ServerConfig,
    local: SocketAddr,
    registry: Registry,
    ca: Arc<ClusterCa>,
    key: Arc<TokenKey>,
    tunnels: Arc<Tunnels>,
    stop: CancellationToken,
    /// The connections that are no longer HTTP.
    tasks: TaskTracker,
    authenticator: Authenticator,
    rbac: Rbac,
    gate: gate::Gate,
    pace: Arc<pace::Pace>,
    told: Arc<told::Told>,
    large: large::Places,
    documents: Arc<documents::Documents>,
    figures: figures::Figures,
    summaries: metrics::Summaries,
    started: Timestamp,
    /// Tells of requests, where there is a policy for that.
    auditor: Option<Arc<Auditor>>,
}

impl Api {
    pub(crate) fn new(
        config: ServerConfig,
        local: SocketAddr,
        registry: Registry,
        keys: Keys,
        tunnels: Arc<Tunnels>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let Keys { ca, key, known, auditor } = keys;
        let authenticator = Authenticator::new(registry.clone(), ca.fingerprint().to_owned(), key.clone(), known);
        let gate = gate::Gate::new(config.max_requests, config.max_streams, config.max_answers_mib);
        let processors = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let pace = Arc::new(pace::Pace::new(processors));
        let (documents, figures) = (Arc::default(), figures::Figures::default());
        let rbac = Rbac::new(&registry);
        let summaries = metrics::Summaries::default();
        Self {
            config,
            local,
            registry,
            ca,
            key,
            tunnels,
            stop,
            tasks,
            authenticator,
            rbac,
            gate,
            pace,
            told: Arc::default(),
            large: large::Places::default(),
            documents,
            figures,
            summaries,
            started: Timestamp::now(),
            auditor,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        self.registry.store()
    }

    /// Answers one request. Every failure is an answer too.
    pub(crate) async fn handle(&self, peer: &Caller, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let mut unread = Some(body);
        let query = Query::parse(parts.uri.query());
        let id = audit::id_of(&parts.headers);
        let trail = self.auditor.as_ref().map(|auditor| {
            let asked = route::asked(&parts, &query);
            Trail::new(auditor, &id, &parts, asked, peer.from.ip())
        });
        // A fault in one request is that request's alone.
        let mut kind = figures::Kind::path(&parts.method, parts.uri.path());
        let working = self.figures.begin(&parts.method);
        let answering = AssertUnwindSafe(self.answer(peer, &parts, &query, trail.as_deref(), &mut unread, &mut kind))
            .catch_unwind();
        let outcome = answering.await.unwrap_or_else(|_| {
            tracing::error!(method = %parts.method, path = parts.uri.path(), "a request failed by a fault in the server");
            if let Some(trail) = &trail {
                trail.panicked();
            }
            Err(Status::internal("the request met a fault in the server"))
        });
        // Who waits to be told to go on sends nothing now.
        if let Some(body) = unread.take_if(|_| !parts.headers.contains_key(EXPECT)) {
            discard(body).await;
        }
        let mut response = outcome.unwrap_or_else(|status| {
            let served = |group: &str| {
                resource::builtin().iter().chain(resource::measured()).any(|resource| resource.group == group)
            };
            if status == Status::unknown_path() && !route::tells_objects(parts.uri.path(), served) {
                return reply::no_page();
            }
            let mut response = reply::failure(&status, accept::of_failure(&parts.headers, query.pretty()));
            if status.code == 401 {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        });
        if let Some(trail) = trail {
            response = trail.answered(response).await;
        }
        if parts.method == Method::HEAD {
            response = reply::headless(response);
        }
        // Objects are of the moment; documents that may be kept say so themselves.
        let headers = response.headers_mut();
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
        headers.insert(audit::ID, id);
        let code = response.status().as_u16();
        drop(working);
        self.figures.count(kind, code, started.elapsed());
        tracing::debug!(method = %parts.method, path = parts.uri.path(), code, took = ?started.elapsed(), "request");
        response
    }

    /// Who asks, after all impersonation, and whose share of the server that takes.
    async fn asks(
        &self,
        peer: &Caller,
        parts: &Parts,
        trail: Option<&Trail>,
    ) -> Result<(Arc<User>, gate::Client), Status> {
        let proved = self.authenticator.user(peer.user.as_ref(), &parts.headers, parts.uri.path()).await;
        if let Some(trail) = trail {
            match &proved {
                Ok(user) => trail.authenticated(user),
                Err(_) => trail.stranger(),
            }
        }
        let user = proved?;
        cluster::still_a_member(self.store(), &user)?;
        let client = gate::Client::of(&user, peer.from.ip(), parts.uri.path());
        let Some(other) = impersonate::user(self, &user, &parts.headers).await? else { return Ok((user, client)) };
        let other = Arc::new(other);
        if let Some(trail) = trail {
            trail.impersonated(&other);
        }
        Ok((other, client))
    }

    /// An answer that counts against its client's share until it is read, if it is large.
    async fn held(&self, client: &gate::Client, answer: Response<Body>) -> Result<Response<Body>, Status> {
        let lazy = answer.extensions().get::<MadeWhileRead>().is_some();
        let size = answer.body().size_hint().exact().filter(|_| !lazy);
        let tickets = self.gate.answer(client, size).await?;
        Ok(if tickets.is_empty() { answer } else { answer.map(|body| Held::with(tickets, body)) })
    }

    async fn answer(
        &self,
        peer: &Caller,
        parts: &Parts,
        query: &Query<'_>,
        trail: Option<&Trail>,
        unread: &mut Unread,
        kind: &mut figures::Kind,
    ) -> Result<Response<Body>, Status> {
        let route = Route::parse(parts.uri.path());
        call::check_time_limit(&route, query)?;
        let (user, client) = self.asks(peer, parts, trail).await?;
        let ticket = self.gate.request(&client).await?;
        let (accepted, place) = (Accepted::default(), large::Place::default());
        let aside = Warnings::default();
        let mut call = Call {
            api: self,
            from: peer.from,
            together: &peer.together,
            user,
            client,
            parts,
            query,
            accepted,
            trail,
            aside,
            place,
        };
        match route {
            Route::Other(path) => Box::pin(page(call, &path, unread)).await,
            Route::Resource(path) => {
                let watch = path.watch || query.flag("watch");
                let verb = route::verb(&parts.method, path.name.is_some() && !path.watch, watch);
                *kind = figures::Kind::of(&path, verb, parts, query);
                // First, so that those who may not are not told what there is.
                call.allowed(&path, verb).await?;
                let connects = path.connects();
                let at = call.at(call.resource(&path).await?, path, verb)?;
                if parts.method == Method::HEAD && !connects {
                    return Err(method_not_allowed());
                }
                // What a pod answers is between it and the client.
                if !connects {
                    call.accepted = form(&call, &at)?;
                }
                let warnings = call.warnings(&at);
                if let Some(stream) = call.streaming(&at) {
                    // A stream has limits of its own.
                    drop(ticket);
                    let answer = Box::pin(stream_answer(&call, &at, stream, unread)).await;
                    call.tell();
                    return Ok(reply::warn(answer?, &warnings));
                }
                // A proxied request goes to a pod.
                let _announced = (!parts.method.is_safe() && !connects).then(|| self.registry.store().announce());
                let work = call.place.beside(dispatch(&call, &at, unread));
                let done = tokio::time::timeout(call.time_limit(), work).await.unwrap_or_else(|_| Err(timed_out()));
                call.tell();
                let done = done.or_else(|status| match call.aside.take() {
                    left if left.is_empty() && warnings.is_empty() => Err(status),
                    left => {
                        let form = accept::of_failure(&parts.headers, query.pretty());
                        Ok(reply::warn(reply::failure(&status, form), &left))
                    }
                });
                // What was written is written: only who reads is told to come again.
                let done = if parts.method == Method::GET { self.held(&call.client, done?).await? } else { done? };
                Ok(reply::warn(done, &warnings))
            }
        }
    }
}

/// What is no resource: documents, what servers ask each other, and what others serve beside the API.
async fn page(mut call: Call<'_>, path: &str, body: &mut Unread) -> Result<Response<Body>, Status> {
    let verb = call.parts.method.as_str().to_ascii_lowercase();
    allow::check(&call, &Attributes::Path(&verb, path)).await?;
    if let Some(mount) = call.api.config.mounts.iter().find(|mount| path.starts_with(&mount.prefix)) {
        let mut request = Request::from_parts(call.parts.clone(), taken(body)?);
        request.extensions_mut().insert(call.user.clone());
        return Ok(mount.handler.call(request).await);
    }
    if path.starts_with("//") {
        return Err(Status::unknown_path());
    }
    if cluster::answers(path) {
        return cluster::answer(&call, path, body).await;
    }
    call.accepted = discovery::form(path, &call.parts.headers, call.query.pretty())?;
    discovery::answer(&call, path).await
}
