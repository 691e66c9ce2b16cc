//! `pods/NAME/exec`, `attach` and `portforward`: what is checked before a connection becomes streams.

use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use pal_registry::Read;
use pal_resources::Status;
use pal_resources::status::{StatusCause, StatusDetails};
use serde_json::{Value, json};

use super::gate::Ticket;
use super::query::Query;
use super::{At, Call, allow, log, reply};
use crate::stream::{
    self, Asked, Chosen, EXEC_PROTOCOLS, FORWARD_PROTOCOLS, Forwarding, Framing, Node, NodeError, Programs,
};
use crate::wire::Patience;
use crate::{Body, TunnelError};

/// The channels that WebSocket's messages can name, two for each port.
const PORTS: usize = 127;

/// Runs a program in a container, or joins the one that runs there.
pub(super) async fn program(call: &Call<'_>, at: &At, what: &str) -> Result<Response<Body>, Status> {
    let (ticket, pod, asked_for) = begin(call, at).await?;
    let name = at.name()?;
    let container = log::container(&pod, asked_for["container"].as_str())?;
    let node = node(call, &pod)?;
    let wanted = programs(&asked_for);
    let (asked, upgrade) = upgrade(call)?;
    let chosen = match stream::choose(&asked, &EXEC_PROTOCOLS) {
        Ok(chosen) => chosen,
        Err(refusal) => return Ok(refusal),
    };
    let namespace = at.namespace().unwrap_or_default();
    let path = format!("/{what}/{namespace}/{name}/{container}?{}", forwarded(&asked_for, wanted));
    let program = match node.converse(&path).await {
        Ok(conversation) => Ok(conversation),
        Err(error) if told_later(&chosen) => Err(failed(&error)),
        Err(error) => return refused(error),
    };
    let response = stream::switching(&chosen);
    become_streams(call, upgrade, ticket, move |io| stream::run_program(io, chosen, wanted, program));
    Ok(response)
}

/// Forwards connections to a pod's ports.
pub(super) async fn forward(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let (ticket, pod, asked_for) = begin(call, at).await?;
    let node = node(call, &pod)?;
    let (asked, upgrade) = upgrade(call)?;
    let chosen = match stream::choose(&asked, &FORWARD_PROTOCOLS) {
        Ok(chosen) => chosen,
        Err(refusal) => return Ok(refusal),
    };
    let ports = match &chosen {
        Chosen::Channels { .. } => ports(&asked_for)?,
        Chosen::Tunnelled { .. } | Chosen::Spdy { .. } => Vec::new(),
    };
    let forwarding = Forwarding {
        node,
        namespace: at.namespace().unwrap_or_default().to_owned(),
        pod: at.name()?.to_owned(),
        uid: pod.metadata.uid.unwrap_or_default(),
        ports,
    };
    // A client that is told so at once ends, where it would wait for a first connection else.
    if let Err(error) = forwarding.ready().await {
        return refused(error);
    }
    let response = stream::switching(&chosen);
    become_streams(call, upgrade, ticket, move |io| stream::run_forward(io, chosen, forwarding));
    Ok(response)
}

/// The same answer as a WebSocket's messages, where that is asked for.
pub(super) fn messages(
    call: &Call<'_>,
    answer: Response<Body>,
    framing: fn(&[String]) -> Option<(&str, Framing)>,
) -> Result<Response<Body>, Status> {
    let Some(Asked::WebSocket { key, protocols }) = stream::asked(&call.parts.method, &call.parts.headers)? else {
        return Ok(answer);
    };
    // There is none where the connection is one of HTTP/2.
    let Some(upgrade) = call.parts.extensions.get::<OnUpgrade>().cloned() else { return Ok(answer) };
    let Some((protocol, framing)) = framing(&protocols) else {
        let offered = protocols.join(" ");
        return Ok(stream::refused(&format!("requested protocol(s) are not supported: [{offered}]")));
    };
    let response = stream::to_websocket(&key, protocol);
    let body = answer.into_body();
    become_streams(call, upgrade, (), move |io| stream::run_messages(io, body, framing));
    Ok(response)
}

/// Events are lines, whatever protocol the client names.
pub(super) fn of_events(offered: &[String]) -> Option<(&str, Framing)> {
    Some((offered.first().map_or("", String::as_str), Framing::Lines))
}

/// A log's protocols (apimachinery `wsstream`).
pub(super) fn of_log(offered: &[String]) -> Option<(&str, Framing)> {
    if offered.is_empty() {
        return Some(("", Framing::Pieces));
    }
    offered.iter().find_map(|protocol| match protocol.as_str() {
        "binary.k8s.io" => Some(("binary.k8s.io", Framing::Pieces)),
        "base64.binary.k8s.io" => Some(("base64.binary.k8s.io", Framing::Base64)),
        _ => None,
    })
}

/// What all have in common: that the user may, and that the pod is there. Whoever may only read may not stream, though
/// WebSocket asks with GET (KEP-4006). What is asked for is as policies of admission leave it.
async fn begin(call: &Call<'_>, at: &At) -> Result<(Ticket, Pod, Value), Status> {
    allow::create(call, at).await?;
    let ticket = call.api.gate.stream(&call.client)?;
    let pod = call.registry().get(&at.resource, at.namespace(), at.name()?, Read::Consistent).await?.parse()?;
    let mut asked = asked_for(at.subresource().unwrap_or_default(), call.query)?;
    call.admit_connection(at, &mut asked)?;
    Ok((ticket, pod, asked))
}

/// What a client asks for, as policies of admission see it.
fn asked_for(subresource: &str, query: &Query<'_>) -> Result<Value, Status> {
    let kind = match subresource {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    let mut asked = json!({"apiVersion": "v1", "kind": kind});
    if subresource == "portforward" {
        // SPDY's clients name them later, stream by stream.
        let ports = named_ports(query)?;
        if !ports.is_empty() {
            asked["ports"] = ports.into();
        }
        return Ok(asked);
    }
    for name in ["stdin", "stdout", "stderr", "tty"] {
        if query.flag(name) {
            asked[name] = true.into();
        }
    }
    if let Some(container) = query.get("container") {
        asked["container"] = container.into();
    }
    let command: Vec<&str> = query.all("command").collect();
    if subresource == "exec" && !command.is_empty() {
        asked["command"] = command.into();
    }
    Ok(asked)
}

fn node(call: &Call<'_>, pod: &Pod) -> Result<Node, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty());
    let node = node.ok_or_else(|| Status::bad_request(format!("pod {name} does not have a host assigned")))?;
    Ok(way_to(call, node))
}

/// The way to a node.
pub(super) fn way_to(call: &Call<'_>, node: &str) -> Node {
    Node { name: node.to_owned(), tunnels: call.api.tunnels.clone(), peers: call.api.config.peers.clone() }
}

fn upgrade(call: &Call<'_>) -> Result<(Asked, OnUpgrade), Status> {
    let required = || Status::bad_request("Upgrade request required");
    let asked = stream::asked(&call.parts.method, &call.parts.headers)?.ok_or_else(required)?;
    // There is none where the connection is one of HTTP/2.
    let upgrade = call.parts.extensions.get::<OnUpgrade>().cloned().ok_or_else(required)?;
    Ok((asked, upgrade))
}

/// Runs `work` on the connection once the answer is sent, for as long as the server runs. `kept` is dropped when it is over.
fn become_streams<F, W, K>(call: &Call<'_>, upgrade: OnUpgrade, kept: K, work: F)
where
    K: Send + 'static,
    F: FnOnce(TokioIo<Upgraded>) -> W + Send + 'static,
    W: Future<Output = ()> + Send,
{
    let stop = call.api.stop.clone();
    let patience = call.parts.extensions.get::<Patience>().cloned();
    call.api.tasks.spawn(async move {
        let _kept = kept;
        let streamed = async {
            match tokio::time::timeout(stream::SWITCH, upgrade).await {
                Ok(Ok(upgraded)) => {
                    if let Some(patience) = patience {
                        patience.set(stream::IDLE);
                    }
                    work(TokioIo::new(upgraded)).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a connection did not become streams"),
                Err(_) => tracing::debug!("a connection did not become streams in time"),
            }
        };
        tokio::select! {
            () = streamed => {}
            () = stop.cancelled() => {}
        }
    });
}

fn programs(asked: &Value) -> Programs {
    let flag = |name: &str| asked[name] == true;
    Programs { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr"), tty: flag("tty") }
}

/// What the node is told.
fn forwarded(asked: &Value, wanted: Programs) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    for argument in asked["command"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.append_pair("command", argument);
    }
    let Programs { stdin, stdout, stderr, tty } = wanted;
    for (name, wanted) in [("stdin", stdin), ("stdout", stdout), ("stderr", stderr), ("tty", tty)] {
        if wanted {
            out.append_pair(name, "true");
        }
    }
    out.finish()
}

/// The ports that clients of numbered channels name beforehand.
fn named_ports(query: &Query<'_>) -> Result<Vec<u16>, Status> {
    let named = query.all("ports").flat_map(|ports| ports.split(','));
    let parsed = named.map(|text| match text.parse::<u16>() {
        Ok(0) => Err(Status::bad_request(format!("port {text:?} must be > 0"))),
        Ok(port) => Ok(port),
        Err(_) => Err(Status::bad_request(format!("unable to parse {text:?} as a port"))),
    });
    parsed.collect()
}

/// The ports that are forwarded, as policies of admission left them.
fn ports(asked_for: &Value) -> Result<Vec<u16>, Status> {
    let left = asked_for["ports"].as_array().into_iter().flatten();
    let ports: Vec<u16> = left.filter_map(|port| port.as_u64().and_then(|port| u16::try_from(port).ok())).collect();
    match ports.len() {
        0 => Err(Status::bad_request("query parameter \"port\" is required")),
        1..=PORTS => Ok(ports),
        many => Err(Status::bad_request(format!("{many} ports, where {PORTS} are the most"))),
    }
}

/// Whether the client is told of a failure on its channels: kube-apiserver answers it before it asks the node.
fn told_later(chosen: &Chosen) -> bool {
    matches!(chosen, Chosen::Channels { protocol, .. } if protocol.closes())
}

/// Why there is no program, to a client whose connection has become streams.
fn failed(error: &NodeError) -> Status {
    let why = match error {
        NodeError::Away(error) => format!("error sending request: {error}"),
        NodeError::Refused { message, .. } => format!("unable to upgrade connection: {message}"),
    };
    let cause = StatusCause { message: why.clone(), ..StatusCause::default() };
    let details = StatusDetails { causes: vec![cause], ..StatusDetails::default() };
    Status { details: Some(details), ..Status::internal(why) }
}

/// The same to one whose connection has not: the node's own words.
fn refused(error: NodeError) -> Result<Response<Body>, Status> {
    match error {
        NodeError::Away(error) => Err(away(&error)),
        NodeError::Refused { code, message } => {
            let code = if code.is_client_error() || code.is_server_error() { code } else { StatusCode::BAD_GATEWAY };
            let mut response = reply::text(code, message);
            response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
            Ok(response)
        }
    }
}

fn away(error: &TunnelError) -> Status {
    Status::internal(format!("error dialing backend: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_is_told_of_a_request() {
        let check = |query: &'static str, expected: &str| {
            let asked = asked_for("exec", &Query::parse(Some(query))).expect("options");
            assert_eq!(forwarded(&asked, programs(&asked)), expected);
        };
        check(
            "command=sh&command=-c&command=a+b%26c&container=x&stdout=1&stderr=true",
            "command=sh&command=-c&command=a+b%26c&stdout=true&stderr=true",
        );
        check("stdin=true&stdout=false&tty", "stdin=true&tty=true");
    }

    #[test]
    fn a_logs_messages_are_as_the_client_offers_to_take_them() {
        let check = |offered: &[&str], expected: Option<(&str, Framing)>| {
            let offered: Vec<String> = offered.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(of_log(&offered), expected, "{offered:?}");
        };
        check(&[], Some(("", Framing::Pieces)));
        check(&["x", "binary.k8s.io"], Some(("binary.k8s.io", Framing::Pieces)));
        check(&["base64.binary.k8s.io"], Some(("base64.binary.k8s.io", Framing::Base64)));
        check(&["x"], None);
    }

    #[test]
    fn ports_are_read_or_refused() {
        let check = |query: &'static str, expected: Result<&[u16], &str>| {
            let named = asked_for("portforward", &Query::parse(Some(query)));
            let found = named.and_then(|asked| ports(&asked)).map_err(|status| status.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{query}");
        };
        check("ports=80", Ok(&[80]));
        check("ports=80,443&ports=1", Ok(&[80, 443, 1]));
        check("", Err("query parameter \"port\" is required"));
        check("ports=0", Err("port \"0\" must be > 0"));
        check("ports=x", Err("unable to parse \"x\" as a port"));
    }
}
