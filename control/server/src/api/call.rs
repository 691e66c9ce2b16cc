//! One request on its way: who asks, what for, and what that says of how it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT};
use http::request::Parts;
use hyper::body::Incoming;
use pal_registry::{Actor, Authority, Registry, Warnings, WriteOptions, custom};
use pal_resources::codec::Media;
use pal_resources::status::{Reason, Status};
use pal_resources::{ResourceRef, duration, resource};
use serde_json::Value;

use super::accept::Accepted;
use super::query::{Query, WriteQuery};
use super::route::{self, ResourcePath, Route};
use super::{Api, Together, admit, allow, gate, large, manager, method_not_allowed, unsupported_media};
use crate::audit::Trail;
use crate::auth::{Attributes, Target, User};
use crate::wire::{BodyError, read_body};

/// The largest body of a request, as kube-apiserver has it.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// One request on its way.
pub(super) struct Call<'a> {
    pub(super) api: &'a Api,
    /// Where it comes from.
    pub(super) from: SocketAddr,
    /// The watches of its connection.
    pub(super) together: &'a Together,
    pub(super) user: Arc<User>,
    /// Whose share of the server it uses.
    pub(super) client: gate::Client,
    pub(super) parts: &'a Parts,
    pub(super) query: &'a Query<'a>,
    pub(super) accepted: Accepted,
    /// What is told of the request.
    pub(super) trail: Option<&'a Trail>,
    /// What is said besides its answer.
    pub(super) aside: Warnings,
    /// Its place among those with large bodies.
    pub(super) place: large::Place<'a>,
}

/// The resource that a request is about.
pub(super) struct At {
    pub(super) resource: ResourceRef,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    /// What follows `proxy`, as it was sent.
    pub(super) tail: String,
    pub(super) verb: &'static str,
}

/// Answers that go on until the client or the server has enough.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Streaming {
    Watch,
    Log,
    Exec,
    Attach,
    Forward,
    Proxy,
}

impl At {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(super) fn subresource(&self) -> Option<&str> {
        self.subresource.as_deref()
    }

    /// The name in the path. Requests that need one are refused before without it.
    pub(super) fn name(&self) -> Result<&str, Status> {
        self.name.as_deref().ok_or_else(method_not_allowed)
    }
}

/// A request's body until somebody takes it. What nobody took is read before the answer is sent.
pub(super) type Unread = Option<Incoming>;

/// The body, which one place alone reads.
pub(super) fn taken(unread: &mut Unread) -> Result<Incoming, Status> {
    unread.take().ok_or_else(|| Status::internal("the body was read before"))
}

impl Call<'_> {
    pub(super) fn registry(&self) -> &Registry {
        &self.api.registry
    }

    /// The body, as it came.
    pub(super) async fn body(&self, body: &mut Unread) -> Result<Bytes, Status> {
        let body = taken(body)?;
        let waits = self.parts.headers.contains_key(EXPECT);
        let body = read_body(body, BODY_LIMIT, BODY_TIMEOUT, waits).await.map_err(|error| match error {
            BodyError::TooLarge(limit) => {
                Status::new(413, Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {limit}"))
            }
            BodyError::TooSlow => Status::new(408, Reason::Timeout, error.to_string()),
            BodyError::Broken(_) => Status::bad_request(error.to_string()),
        })?;
        if let Some(trail) = self.trail {
            trail.body(&body);
        }
        self.place.take(&self.api.large, body.len()).await;
        Ok(body)
    }

    /// The type that the body is said to have; empty when nothing is said.
    pub(super) fn content_type(&self) -> &str {
        const NOT_TEXT: &str = "?";
        self.parts.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or(NOT_TEXT))
    }

    /// How the body is encoded; 415 when that is nothing known.
    pub(super) fn media(&self) -> Result<Media, Status> {
        Media::from_content_type(self.content_type())
            .ok_or_else(|| unsupported_media("application/json, application/yaml, application/vnd.kubernetes.protobuf"))
    }

    pub(super) fn actor(&self) -> Actor {
        let User { name, uid, groups, extra } = (*self.user).clone();
        Actor { user: name, uid, groups, extra }
    }

    pub(super) fn write_options(&self, at: &At, query: &WriteQuery) -> WriteOptions {
        WriteOptions {
            dry_run: query.dry_run,
            field_manager: Some(manager::of(self, query)),
            actor: self.actor(),
            admission: admit::admission(self, at),
            warnings: Some(self.aside.clone()),
            authority: self.authority(),
            ..WriteOptions::default()
        }
    }

    /// Tells the audit log what was left for it.
    pub(super) fn tell(&self) {
        if let Some(trail) = self.trail {
            self.aside.take_annotations().into_iter().for_each(|(key, value)| trail.annotate(key, value));
        }
    }

    /// What else the user may do.
    pub(super) fn authority(&self) -> Authority {
        let (user, roles) = (self.user.clone(), self.api.rbac.policy());
        Authority::new(move |question| allow::answer(&user, &roles, question))
    }

    /// Asks policies of admission whether the user may connect to what the path names; `asked` is what for, which they may
    /// change.
    pub(super) fn admit_connection(&self, at: &At, asked: &mut Value) -> Result<(), Status> {
        let options = WriteOptions {
            actor: self.actor(),
            warnings: Some(self.aside.clone()),
            authority: self.authority(),
            ..WriteOptions::default()
        };
        let place = (at.namespace(), at.name()?);
        self.registry().admit_connection(&at.resource, at.subresource().unwrap_or_default(), place, asked, &options)
    }

    /// The resource that the path names.
    pub(super) async fn resource(&self, path: &ResourcePath) -> Result<ResourceRef, Status> {
        let found = self.registry().find_surely(&path.group, &path.version, &path.plural).await?;
        found.ok_or_else(Status::unknown_path)
    }

    /// What clients of the resource are warned of, whatever they do.
    pub(super) fn warnings(&self, at: &At) -> Vec<String> {
        let old = at.resource.group.is_empty() && at.resource.plural == "endpoints";
        let old = old.then_some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
        let custom = custom::kind_of(&at.resource).and_then(custom::Kind::deprecation);
        custom.or(old).map(str::to_owned).into_iter().collect()
    }

    /// What the path names, if that is served and takes the method.
    pub(super) fn at(&self, resource: ResourceRef, path: ResourcePath, verb: &'static str) -> Result<At, Status> {
        if path.namespace.is_some() && !resource.namespaced {
            return Err(Status::unknown_path());
        }
        let verbs: &[&str] = match &path.subresource {
            // Discovery tells fewer of a definition that is being deleted; what exists can be changed to the end.
            None if resource.custom.is_some() => resource::ALL_VERBS,
            None => &resource.verbs,
            Some(name) => match resource.subresource(name) {
                Some(subresource) if !path.rest => &subresource.verbs,
                None if resource.custom.is_some() => {
                    return Err(Status::not_found(&resource, path.name.as_deref().unwrap_or_default()));
                }
                _ => return Err(Status::unknown_path()),
            },
        };
        let creates = verb == "create";
        // One object, its subresource, and everything but reading need to know the namespace.
        let nowhere = resource.namespaced && path.namespace.as_deref().is_none_or(str::is_empty);
        let homeless = nowhere && !matches!(verb, "list" | "watch");
        // kube-apiserver's routes of custom resources are wider: what is created says its name itself, whatever the path does.
        let custom = resource.custom.is_some() && path.subresource.is_none() && !path.watch;
        if custom && homeless {
            return Err(Status::unknown_path());
        }
        if custom && path.name.is_none() && matches!(verb, "update" | "patch") {
            return Err(Status::bad_request("name must be provided"));
        }
        let misplaced = creates && !custom && path.name.is_some() != path.subresource.is_some()
            || path.name.is_none() && matches!(verb, "update" | "patch");
        // The older form is for watches alone, and of one object only where that lies.
        let astray = path.watch && (path.subresource.is_some() || nowhere);
        if homeless && path.name.is_some() || astray && path.name.is_some() {
            return Err(Status::unknown_path());
        }
        // Nothing is below what is only answered.
        let has_names = verbs.iter().any(|verb| matches!(*verb, "get" | "update" | "patch" | "delete"));
        if path.name.is_some() && path.subresource.is_none() && !has_names {
            return Err(Status::unknown_path());
        }
        if path.watch && verb != "watch" {
            return Err(method_not_allowed());
        }
        // Whether there is such a method, whoever is behind a proxy knows.
        let passed_on = path.is_proxy() && !verbs.is_empty();
        if !verbs.contains(&verb) && !passed_on || homeless || misplaced {
            return Err(method_not_allowed());
        }
        let ResourcePath { namespace, name, subresource, tail, .. } = path;
        name.as_deref().map_or(Ok(()), route::check_name)?;
        let name = name.filter(|_| !(custom && creates));
        let namespace = namespace.filter(|_| !nowhere);
        Ok(At { resource, namespace, name, subresource, tail, verb })
    }

    pub(super) async fn allowed(&self, path: &ResourcePath, verb: &str) -> Result<(), Status> {
        let selector = self.query.get("fieldSelector").unwrap_or_default();
        // A namespace lies in itself, as kube-apiserver has it.
        let own = path.plural == "namespaces" && path.group.is_empty();
        let namespace = if own { &path.name } else { &path.namespace };
        let target = Target {
            group: &path.group,
            resource: &path.plural,
            subresource: path.subresource.as_deref().unwrap_or_default(),
            namespace: namespace.as_deref().unwrap_or_default(),
            name: path.name.as_deref().or_else(|| allow::selected_name(selector)).unwrap_or_default(),
            field_selector: selector,
        };
        allow::check(self, &Attributes::Resource(verb, target)).await
    }

    pub(super) fn streaming(&self, at: &At) -> Option<Streaming> {
        match (at.verb, at.subresource()) {
            ("watch", None) => Some(Streaming::Watch),
            ("get", Some("log")) => Some(Streaming::Log),
            (_, Some("exec")) => Some(Streaming::Exec),
            (_, Some("attach")) => Some(Streaming::Attach),
            (_, Some("portforward")) => Some(Streaming::Forward),
            (_, Some("proxy")) => Some(Streaming::Proxy),
            _ => None,
        }
    }

    /// The server's time limit, or the client's if that is shorter.
    pub(super) fn time_limit(&self) -> Duration {
        let longest = self.api.config.request_timeout;
        let wished = self.query.get("timeout").and_then(duration::parse).and_then(|wished| u64::try_from(wished).ok());
        wished.filter(|wished| *wished > 0).map_or(longest, |wished| Duration::from_nanos(wished).min(longest))
    }
}

/// Refuses a time limit that is none. What goes on until somebody has enough is not asked.
pub(super) fn check_time_limit(route: &Route, query: &Query<'_>) -> Result<(), Status> {
    let goes_on = |path: &ResourcePath| {
        path.watch
            || path.name.is_none() && query.flag("watch")
            || path.connects()
            || path.subresource.as_deref() == Some("log")
    };
    let is_asked = !matches!(route, Route::Resource(path) if goes_on(path));
    let Some(text) = query.get("timeout").filter(|text| is_asked && !text.is_empty()) else { return Ok(()) };
    duration::check(text)
        .map_err(|why| Status::bad_request(format!("invalid timeout specified in the request URL - {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_spans_of_time_where_there_is_a_limit() {
        let check = |path: &str, query: &str, expected: Option<&str>| {
            let found =
                check_time_limit(&Route::parse(path), &Query::parse(Some(query))).map_err(|status| status.message);
            let words = "invalid timeout specified in the request URL - time: ";
            assert_eq!(found.err(), expected.map(|why| format!("{words}{why}")), "{path}?{query}");
        };
        let pods = "/api/v1/namespaces/a/pods";
        check(pods, "timeout=1m30s", None);
        check(pods, "timeout=", None);
        check(pods, "timeout=x", Some("invalid duration \"x\""));
        check(pods, "timeout=1", Some("missing unit in duration \"1\""));
        check(pods, "timeout=1y", Some("unknown unit \"y\" in duration \"1y\""));
        check("/version", "timeout=x", Some("invalid duration \"x\""));
        check(pods, "watch=1&timeout=x", None);
        check(&format!("{pods}/p/log"), "timeout=x", None);
    }
}
