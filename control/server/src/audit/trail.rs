//! What is told of one request, from its arrival to the end of its answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use pal_registry::random_uuid;
use pal_resources::resource;
use serde_json::Value;

use super::Auditor;
use super::event::{self, Told};
use super::policy::{Asked, Level, Stage, Verdict};
use crate::Body;
use crate::auth::User;
use crate::wire::Held;

/// Names a request in logs; clients may choose it.
pub(crate) const ID: HeaderName = HeaderName::from_static("audit-id");
const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";
/// A larger answer is told without its body.
const LARGEST: u64 = 16 * 1024 * 1024;
const LONG_RUNNING: &[&str] = &["attach", "exec", "log", "portforward", "proxy"];

/// The id that the client chose for the request, or a new one.
pub(crate) fn id_of(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(ID).filter(|id| !id.is_empty() && id.len() <= 128).cloned();
    given.unwrap_or_else(|| {
        let id = random_uuid();
        // An uuid is letters, digits and dashes.
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// One request's trail.
pub(crate) struct Trail {
    auditor: Arc<Auditor>,
    id: String,
    uri: String,
    asked: Asked,
    source_ips: Vec<String>,
    agent: String,
    content_type: String,
    received: Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    verdict: Verdict,
    user: Option<Arc<User>>,
    impersonated: Option<Arc<User>>,
    annotations: BTreeMap<String, String>,
    body: Bytes,
    code: u16,
    /// The answer's body as JSON, where it is told or is a `Status`.
    answer: Option<Value>,
}

impl Trail {
    /// A request has arrived.
    pub(crate) fn new(
        auditor: &Arc<Auditor>,
        id: &HeaderValue,
        parts: &Parts,
        asked: Asked,
        from: IpAddr,
    ) -> Arc<Self> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Arc::new(Self {
            auditor: auditor.clone(),
            id: text(id),
            uri: parts.uri.path_and_query().map_or_else(|| asked.path.clone(), ToString::to_string),
            asked,
            source_ips: event::source_ips(&parts.headers, from),
            agent: event::agent(&parts.headers),
            content_type: parts.headers.get(http::header::CONTENT_TYPE).map(text).unwrap_or_default(),
            received: Timestamp::now(),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is known who asks.
    pub(crate) fn authenticated(&self, user: &Arc<User>) {
        let mut state = self.state();
        state.verdict = self.auditor.policy.decide(Some(user), &self.asked);
        state.user = Some(user.clone());
        self.tell(&state, Stage::RequestReceived);
    }

    /// The proof of who asks was refused. That is told with the answer.
    pub(crate) fn stranger(&self) {
        self.state().verdict = self.auditor.policy.decide(None, &self.asked);
    }

    /// The user acts as another.
    pub(crate) fn impersonated(&self, user: &Arc<User>) {
        self.state().impersonated = Some(user.clone());
    }

    /// Whether the request was allowed, and why or why not. The first answer counts: others are about parts of it.
    pub(crate) fn authorized(&self, allowed: bool, reason: &str) {
        let mut state = self.state();
        if !state.annotations.contains_key(DECISION) {
            state.annotations.insert(DECISION.to_owned(), if allowed { "allow" } else { "forbid" }.to_owned());
            state.annotations.insert(REASON.to_owned(), reason.to_owned());
        }
    }

    /// What somebody has to say of it; what was said before under that key holds.
    pub(crate) fn annotate(&self, key: String, value: String) {
        self.state().annotations.entry(key).or_insert(value);
    }

    /// The request's body.
    pub(crate) fn body(&self, body: &Bytes) {
        let mut state = self.state();
        if state.verdict.level > Level::None {
            state.body = body.clone();
        }
    }

    /// Whether the answer is told too, so that it must not be compressed.
    pub(crate) fn tells_answers(&self) -> bool {
        self.state().verdict.level == Level::RequestResponse
    }

    /// The request met a fault in the server.
    pub(crate) fn panicked(&self) {
        let mut state = self.state();
        state.code = 500;
        let words = "APIServer panic'd: the request met a fault in the server";
        state.answer = Some(serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": words, "reason": "InternalError",
        }));
        self.tell(&state, Stage::Panic);
        state.verdict.level = Level::None;
    }

    /// The answer is there; it is told now, or when it has ended.
    pub(crate) async fn answered(self: Arc<Self>, response: Response<Body>) -> Response<Body> {
        let level = self.state().verdict.level;
        if level == Level::None {
            return response;
        }
        let code = response.status();
        self.state().code = code.as_u16();
        if self.is_long_running() && code.as_u16() < 400 {
            self.tell(&self.state(), Stage::ResponseStarted);
            return response.map(|body| Held::with(Completion(self), body));
        }
        let wanted = level == Level::RequestResponse || !code.is_success();
        let response = if wanted { self.read(response).await } else { response };
        let state = self.state();
        // Who could not prove who they are is told of once.
        let stage = if state.user.is_none() { Stage::ResponseStarted } else { Stage::ResponseComplete };
        self.tell(&state, stage);
        drop(state);
        response
    }

    fn is_long_running(&self) -> bool {
        let subresource = self.asked.object.as_ref().map_or("", |object| object.subresource.as_str());
        self.asked.verb == "watch" || LONG_RUNNING.contains(&subresource)
    }

    /// Takes the answer's body as JSON, where it is some and its size is known.
    async fn read(&self, response: Response<Body>) -> Response<Body> {
        let known = response.body().size_hint().exact().is_some_and(|size| size <= LARGEST);
        if !known || response.headers().contains_key(CONTENT_ENCODING) {
            return response;
        }
        let (parts, body) = response.into_parts();
        match body.collect().await {
            Ok(whole) => {
                let bytes = whole.to_bytes();
                self.state().answer = serde_json::from_slice(&bytes).ok();
                Response::from_parts(
                    parts,
                    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
                )
            }
            Err(error) => {
                tracing::warn!(%error, "an answer could not be read for the audit log");
                let empty = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
                let mut response = Response::from_parts(parts, empty);
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    fn tell(&self, state: &State, stage: Stage) {
        let Verdict { level, omit_stages, omit_managed_fields } = &state.verdict;
        if *level == Level::None || omit_stages.contains(&stage) {
            return;
        }
        let plain = |value: Value| if *omit_managed_fields { event::without_managers(value) } else { value };
        let body = self.request_body(state);
        // What a patch says of an object is not what the object is called.
        let names = self.asked.verb != "patch";
        let answer = state.answer.as_ref();
        let told = Told {
            level: *level,
            id: &self.id,
            uri: &self.uri,
            asked: &self.asked,
            user: state.user.as_deref(),
            impersonated: state.impersonated.as_deref(),
            source_ips: &self.source_ips,
            agent: &self.agent,
            named: body.as_ref().filter(|_| names),
            status: (state.code > 0).then(|| event::outcome(state.code, answer)),
            request: body.clone().filter(|_| *level >= Level::Request).map(plain),
            response: answer.filter(|_| *level >= Level::RequestResponse).cloned().map(plain),
            received: self.received,
            annotations: Some(&state.annotations),
        };
        self.auditor.log.tell(event::line(told, stage, Timestamp::now()));
    }

    fn request_body(&self, state: &State) -> Option<Value> {
        let object = self.asked.object.as_ref()?;
        let resource = resource::find(&object.group, &object.version, &object.resource);
        event::body(&self.content_type, &state.body, resource.as_deref())
    }
}

/// Tells at the end of an answer that goes on that it is complete.
struct Completion(Arc<Trail>);

impl Drop for Completion {
    fn drop(&mut self) {
        self.0.tell(&self.0.state(), Stage::ResponseComplete);
    }
}
