//! `pods/NAME/log`: the node that runs the pod answers, through its tunnel to this server or to another.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use pal_registry::Read;
use pal_resources::{FieldError, FieldPath, Reason, Status};
use tokio_util::sync::CancellationToken;

use super::gate::Ticket;
use super::kinds::unserved;
use super::query::Query;
use super::{At, Call, nodes, reply};
use crate::{Body, BoxError, TunnelError};

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// What is read of a node's refusal.
const REFUSAL_LIMIT: usize = 16 * 1024;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The log of one container.
pub(super) async fn log(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let permit = call.api.gate.stream(&call.client)?;
    let (namespace, name) = (at.namespace().unwrap_or_default(), at.name()?);
    let forwarded = forwarded(call.query, name)?;
    let pod: Pod = call.registry().get(&at.resource, at.namespace(), name, Read::Consistent).await?.parse()?;
    let container = container(&pod, call.query.get("container"))?;
    let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty())
    else {
        // As kube-apiserver: a pod without a node has an empty log.
        return Ok(reply::text(StatusCode::OK, ""));
    };
    let path = format!("/containerLogs/{namespace}/{name}/{container}?{forwarded}");
    let answer = match nodes::ask(call.api, node, &path).await {
        Ok(answer) if answer.status() == StatusCode::OK => answer,
        Ok(answer) => {
            let refusal = refusal(answer).await;
            // A node that does not know the pod yet cannot say what it waits for.
            return Err(if refusal.code == 404 { waiting(call, &pod, &container).unwrap_or(refusal) } else { refusal });
        }
        // The pod's status may tell more than that its node is away.
        Err(error) => return Err(waiting(call, &pod, &container).unwrap_or_else(|| unreachable(&error))),
    };
    let stream = lines(answer.into_body(), call.api.stop.clone(), permit);
    Ok(reply::answer(
        StatusCode::OK,
        http::HeaderValue::from_static("text/plain"),
        reply::boxed(StreamBody::new(stream)),
    ))
}

/// The node's body, until it ends, the client goes or the server stops.
fn lines(
    body: Incoming,
    stop: CancellationToken,
    permit: Ticket,
) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
    futures::stream::unfold((body, stop, permit), |(mut body, stop, permit)| async move {
        let frame = tokio::select! {
            frame = body.frame() => frame?,
            () = stop.cancelled() => return None,
        };
        Some((frame.map_err(BoxError::from), (body, stop, permit)))
    })
}

/// What the node is told of the request, checked.
fn forwarded(query: &Query<'_>, pod: &str) -> Result<String, Status> {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    for flag in ["follow", "timestamps", "previous"] {
        if query.flag(flag) {
            out.append_pair(flag, "true");
        }
    }
    let mut errors = Vec::new();
    let since = query.get("sinceTime");
    for (name, least, words) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let Some(number) = query.int(name)? else { continue };
        if name == "sinceSeconds" && since.is_some() {
            let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(FieldError::forbidden(&FieldPath::new("[]"), why));
        } else if number < least {
            errors.push(FieldError::invalid(&FieldPath::new(name), number, words));
        }
        out.append_pair(name, &number.to_string());
    }
    // Choosing a stream is what kube-apiserver has behind a feature gate that is closed (KEP-3288).
    if query.get("stream").is_some() {
        errors.push(FieldError::forbidden(&FieldPath::new("stream"), "may not be specified"));
    }
    if let Some(time) = since {
        let parsed = time.parse::<jiff::Timestamp>();
        parsed.map_err(|error| Status::bad_request(format!("sinceTime: Invalid value: {time:?}: {error}")))?;
        out.append_pair("sinceTime", time);
    }
    match errors.as_slice() {
        [] => Ok(out.finish()),
        errors => Err(Status::invalid(&unserved("", "PodLogOptions"), pod, errors)),
    }
}

/// Which container is meant.
pub(super) fn container(pod: &Pod, asked: Option<&str>) -> Result<String, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Some(spec) = &pod.spec else { return Err(Status::bad_request(format!("pod {name} has no spec"))) };
    let main: Vec<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    let init: Vec<&str> = spec.init_containers.iter().flatten().map(|container| container.name.as_str()).collect();
    let default = pod.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CONTAINER)).map(String::as_str);
    if let Some(asked) = asked {
        let later = spec.ephemeral_containers.iter().flatten();
        let mut all = later.map(|container| container.name.as_str()).chain(main).chain(init);
        if all.any(|name| name == asked) {
            return Ok(asked.to_owned());
        }
        return Err(Status::bad_request(format!("container {asked} is not valid for pod {name}")));
    }
    match (main.as_slice(), default) {
        ([only], _) if init.is_empty() => Ok((*only).to_owned()),
        (_, Some(default)) if main.contains(&default) => Ok(default.to_owned()),
        ([only], _) => Ok((*only).to_owned()),
        _ => {
            let mut message =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "));
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(message))
        }
    }
}

/// Refuses the log of a container that never ran.
fn started(pod: &Pod, container: &str, previous: bool) -> Result<(), Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref().and_then(|status| {
        let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        lists.into_iter().flatten().flatten().find(|of| of.name == container)
    });
    let ended = |status: &ContainerStatus| status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    if previous {
        return match status {
            Some(status) if ended(status) => Ok(()),
            _ => Err(Status::bad_request(format!(
                "previous terminated container {container:?} in pod {name:?} not found"
            ))),
        };
    }
    let state = status.and_then(|status| status.state.as_ref());
    let waiting = match (status, state) {
        (Some(status), _) if ended(status) => None,
        (Some(_), Some(state)) if state.running.is_some() || state.terminated.is_some() => None,
        (_, state) => {
            Some(state.and_then(|state| state.waiting.as_ref()?.reason.as_deref()).unwrap_or("ContainerCreating"))
        }
    };
    match waiting {
        None => Ok(()),
        Some(reason) => {
            Err(Status::bad_request(format!("container {container:?} in pod {name:?} is waiting to start: {reason}")))
        }
    }
}

fn unreachable(error: &TunnelError) -> Status {
    match error {
        TunnelError::Timeout(_) => Status::new(504, Reason::Timeout, format!("Timeout: {error}")),
        TunnelError::NotConnected(_) | TunnelError::Broken { .. } => Status::unavailable(error.to_string()),
    }
}

/// Why the container has no log, by the status of its pod.
fn waiting(call: &Call<'_>, pod: &Pod, container: &str) -> Option<Status> {
    started(pod, container, call.query.flag("previous")).err()
}

/// What the node says instead of a log.
async fn refusal(answer: Response<Incoming>) -> Status {
    let code = answer.status();
    let body = Limited::new(answer.into_body(), REFUSAL_LIMIT).collect();
    let text = match tokio::time::timeout(REFUSAL_TIMEOUT, body).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    };
    refused(code, &text)
}

/// A node tells its refusals as Status, and others in plain words.
fn refused(code: StatusCode, text: &str) -> Status {
    #[derive(serde::Deserialize)]
    struct Told {
        message: String,
        reason: Option<Reason>,
        code: u16,
    }
    if let Ok(Told { message, reason, code }) = serde_json::from_str(text) {
        return Status { code: code.clamp(400, 599), reason, message, details: None };
    }
    let text = if text.is_empty() { format!("the node answered {code}") } else { text.to_owned() };
    match code {
        StatusCode::BAD_REQUEST => Status::bad_request(text),
        StatusCode::NOT_FOUND => Status::new(404, Reason::NotFound, text),
        StatusCode::SERVICE_UNAVAILABLE => Status::unavailable(text),
        _ => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(extra: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        for (key, value) in extra.as_object().into_iter().flatten() {
            pod[key] = value.clone();
        }
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn a_container_is_named_where_there_are_several() {
        let check = |extra: Value, asked: Option<&str>, expected: Result<&str, &str>| {
            let found = container(&pod(extra), asked).map_err(|status| status.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        };
        let one = || json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}});
        let default = || json!({"metadata": {"name": "p", "annotations": {DEFAULT_CONTAINER: "b"}}});
        check(json!({}), Some("b"), Ok("b"));
        check(json!({}), None, Err("a container name must be specified for pod p, choose one of: [a b]"));
        check(json!({}), Some("x"), Err("container x is not valid for pod p"));
        check(one(), None, Ok("a"));
        check(one(), Some("i"), Ok("i"));
        let later = json!({"spec": {"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "e"}]}});
        check(later, Some("e"), Ok("e"));
        check(default(), None, Ok("b"));
    }

    #[test]
    fn a_container_that_never_ran_has_no_log() {
        let check = |statuses: Value, previous: bool, expected: Result<(), &str>| {
            let pod = pod(json!({"status": {"containerStatuses": statuses}}));
            let found = started(&pod, "a", previous).map_err(|status| status.message);
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        let status = |state: Value, last: Value| {
            json!([{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": state, "lastState": last}])
        };
        let ended = || json!({"terminated": {"exitCode": 1}});
        let creating = Err("container \"a\" in pod \"p\" is waiting to start: ContainerCreating");
        check(json!([]), false, creating);
        check(status(json!({"waiting": {"reason": "ContainerCreating"}}), json!({})), false, creating);
        check(
            status(json!({"waiting": {"reason": "ImagePullBackOff"}}), json!({})),
            false,
            Err("container \"a\" in pod \"p\" is waiting to start: ImagePullBackOff"),
        );
        check(status(json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended()), false, Ok(()));
        check(status(json!({"running": {}}), json!({})), false, Ok(()));
        check(status(ended(), json!({})), false, Ok(()));
        check(status(json!({"running": {}}), ended()), true, Ok(()));
        check(
            status(json!({"running": {}}), json!({})),
            true,
            Err("previous terminated container \"a\" in pod \"p\" not found"),
        );
    }

    #[test]
    fn a_nodes_refusal_is_passed_on() {
        let check = |code: u16, text: &str, expected: (u16, &str)| {
            let found = refused(StatusCode::from_u16(code).expect("a code"), text);
            assert_eq!((found.code, found.message.as_str()), expected);
        };
        check(400, r#"{"kind":"Status","message":"not yet","reason":"BadRequest","code":400}"#, (400, "not yet"));
        check(400, r#"{"message":"odd","code":7}"#, (400, "odd"));
        check(404, "no such pod", (404, "no such pod"));
        check(500, "", (500, "Internal error occurred: the node answered 500 Internal Server Error"));
    }

    #[test]
    fn options_are_checked_and_passed_on() {
        let check = |query: &'static str, expected: Result<&str, &str>| {
            let found = forwarded(&Query::parse(Some(query)), "p").map_err(|status| status.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{query}");
        };
        check("container=a", Ok(""));
        check("follow=true&tailLines=0&previous=false", Ok("follow=true&tailLines=0"));
        check("timestamps=true&sinceSeconds=5&limitBytes=9", Ok("timestamps=true&limitBytes=9&sinceSeconds=5"));
        check(
            "tailLines=-1",
            Err("PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"),
        );
        check(
            "limitBytes=0&sinceSeconds=0",
            Err(
                "PodLogOptions \"p\" is invalid: [limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: \
                 Invalid value: 0: must be greater than 0]",
            ),
        );
        check(
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            Err(
                "PodLogOptions \"p\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
        );
        check("stream=Stdout", Err("PodLogOptions \"p\" is invalid: stream: Forbidden: may not be specified"));
        check("limitBytes=x", Err("strconv.ParseInt: parsing \"x\": invalid syntax"));
    }
}
