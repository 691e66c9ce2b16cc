//! `proxy` of pods, services and nodes: a request is passed on as it is, and so is the answer.
//!
//! The words are kube-apiserver's (`registry/core/{pod,service,node}`, apimachinery `util/proxy`). What pods serve is HTTP.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::{Node as K8sNode, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pal_registry::{Cidr, ListOptions, Read};
use pal_resources::selector::LabelSelector;
use pal_resources::{Status, resource};
use serde_json::json;

use super::links::Place;
use super::{At, Call, reply, streams};
use crate::{Body, TunnelError};

/// How long a pod may take to begin its answer: some hold a request until there are news.
const ANSWER: Duration = Duration::from_secs(15 * 60);
/// Where a pod is reached that names no port.
const HTTP_PORT: &str = "80";
/// Kubelet's port, which is what a node is asked on.
const NODE_PORT: &str = "10250";
/// Set by a node on an answer that is its own: there is no such pod, or nothing listens there.
const REFUSED: HeaderName = HeaderName::from_static("pal-refused");
const OF_ONE_HOP: [HeaderName; 9] =
    [CONNECTION, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, REFUSED];

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    node: String,
    /// The node's path before the request's own.
    path: String,
    /// For the words of a failure.
    host: String,
}

/// Passes a request on.
pub(super) async fn proxy(call: &Call<'_>, at: &At, body: Incoming) -> Result<Response<Body>, Status> {
    let ticket = call.api.gate.stream(&call.client)?;
    if at.tail.is_empty() && matches!(call.parts.method, Method::GET | Method::HEAD) {
        return Ok(moved(call));
    }
    let kind = match &*at.resource.plural {
        "pods" => "PodProxyOptions",
        "services" => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    };
    call.admit_connection(at, &mut json!({"apiVersion": "v1", "kind": kind, "path": at.tail}))?;
    let id = Id::parse(at.name()?).ok_or_else(|| {
        let singular = at.resource.plural.trim_end_matches('s');
        Status::bad_request(format!("invalid {singular} request {:?}", at.name.as_deref().unwrap_or_default()))
    })?;
    let to = match &*at.resource.plural {
        "pods" => pod(call, at, &id).await?,
        "services" => service(call, at, &id).await?,
        _ => node(call, at, &id).await?,
    };
    if id.https {
        return Err(unreached("tls: first record does not look like a TLS handshake"));
    }
    let request = passed_on(call, at, &to, body)?;
    let answer = streams::way_to(call, &to.node).request(request, ANSWER).await;
    let mut answer = answer.map_err(|error| match error {
        TunnelError::Timeout(_) => unreached(&format!("dial tcp {}: i/o timeout", to.host)),
        other => unreached(&other.to_string()),
    })?;
    if answer.headers().contains_key(REFUSED) {
        return Err(unreached(&format!("dial tcp {}: connect: connection refused", to.host)));
    }
    let place = Place { prefix: prefix(call, at), host: to.host };
    let headers = answer.headers_mut();
    one_hop(headers);
    let location = headers.get(LOCATION).and_then(|value| place.link(value.to_str().ok()?));
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        headers.insert(LOCATION, location);
    }
    let page = is_page(headers);
    if page {
        headers.remove(CONTENT_LENGTH);
    }
    // The place is given back when the answer was taken.
    Ok(answer.map(|body| {
        let body = reply::boxed(body);
        reply::held(if page { place.rewritten(body) } else { body }, ticket)
    }))
}

/// Whether links have to be looked for: as kube-apiserver does it, not in what comes with a redirection.
fn is_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    kind == "text/html" && !headers.contains_key(LOCATION) && matches!(text(CONTENT_ENCODING), "" | "identity")
}

/// A service's page has its links relative to a path that ends with a slash.
fn moved(call: &Call<'_>) -> Response<Body> {
    let query = call.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = reply::text(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(location) = HeaderValue::try_from(format!("{}/{query}", call.parts.uri.path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn unreached(why: &str) -> Status {
    Status::unavailable(format!("error trying to reach service: {why}"))
}

/// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id<'a> {
    https: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Id<'a> {
    fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Self { https: scheme == "https", name, port })
    }
}

fn in_pod(node: &str, ip: Ipv4Addr, port: u16) -> Destination {
    Destination { node: node.to_owned(), path: format!("/podProxy/{ip}/{port}"), host: format!("{ip}:{port}") }
}

async fn pod(call: &Call<'_>, at: &At, id: &Id<'_>) -> Result<Destination, Status> {
    let pod: Pod = call.registry().get(&at.resource, at.namespace(), id.name, Read::Consistent).await?.parse()?;
    pod_destination(&pod, id.port)
}

fn pod_destination(pod: &Pod, port: &str) -> Result<Destination, Status> {
    let ports =
        pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|container| container.ports.iter().flatten());
    let first = ports.map(|port| port.container_port.to_string()).next();
    let port = if port.is_empty() { first.as_deref().unwrap_or(HTTP_PORT) } else { port };
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
    let ip: Ipv4Addr = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let port = port.parse().map_err(|_| unreached(&format!("dial tcp: lookup tcp/{port}: unknown port")))?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    Ok(in_pod(node, ip, port))
}

async fn service(call: &Call<'_>, at: &At, id: &Id<'_>) -> Result<Destination, Status> {
    let registry = call.registry();
    let service: Service = registry.get(&at.resource, at.namespace(), id.name, Read::Consistent).await?.parse()?;
    let port = service_port(&service, id)?;
    let slices = resource::find("discovery.k8s.io", "v1", "endpointslices").ok_or_else(Status::unknown_path)?;
    let label = Some(LabelSelector::parse(&format!("kubernetes.io/service-name={}", id.name))?);
    let listed = registry.list(&slices, at.namespace(), ListOptions { label, ..ListOptions::default() }).await?;
    let slices: Vec<EndpointSlice> = listed.items.iter().map(pal_registry::Object::parse).collect::<Result<_, _>>()?;
    let mut found = endpoints(&slices, &port);
    if found.is_empty() {
        let what = if slices.iter().any(|slice| slice.endpoints.iter().flatten().next().is_some()) {
            at.name()?
        } else {
            id.name
        };
        return Err(Status::unavailable(format!("no endpoints available for service {what:?}")));
    }
    let Endpoint { ip, port, node } = found.swap_remove(rand::random_range(0..found.len()));
    let node = match node {
        Some(node) => Some(node),
        None => node_of(call, ip).await?,
    };
    // Only pods are reached: what else people wrote into Endpoints is nowhere in this cluster.
    let nowhere = || unreached(&format!("dial tcp {ip}:{port}: connect: no route to host"));
    Ok(in_pod(&node.ok_or_else(nowhere)?, ip, port))
}

/// The node in whose block of addresses it is.
async fn node_of(call: &Call<'_>, ip: Ipv4Addr) -> Result<Option<String>, Status> {
    let resource = resource::find("", "v1", "nodes").ok_or_else(Status::unknown_path)?;
    let listed = call.registry().list(&resource, None, ListOptions::default()).await?;
    for object in &listed.items {
        let node: K8sNode = object.parse()?;
        if holds(&node, ip) {
            return Ok(node.metadata.name);
        }
    }
    Ok(None)
}

fn holds(node: &K8sNode, ip: Ipv4Addr) -> bool {
    let spec = node.spec.as_ref();
    let blocks = spec.into_iter().flat_map(|spec| spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr));
    blocks.filter_map(|block| Cidr::parse(block).ok()).any(|block| block.contains(ip))
}

/// A pod's port behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    ip: Ipv4Addr,
    port: u16,
    /// Unsaid where people wrote it.
    node: Option<String>,
}

/// The name of the port that is meant: a number is one of the service's.
fn service_port(service: &Service, id: &Id<'_>) -> Result<String, Status> {
    let Ok(number) = id.port.parse::<i64>() else { return Ok(id.port.to_owned()) };
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let found = ports.into_iter().find(|port| i64::from(port.port) == number);
    let missing = || Status::unavailable(format!("no service port {number} found for service {:?}", id.name));
    Ok(found.ok_or_else(missing)?.name.clone().unwrap_or_default())
}

/// Those that are ready behind the port of that name.
fn endpoints(slices: &[EndpointSlice], port: &str) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten();
        let number = ports.filter(|of| of.name.as_deref().unwrap_or_default() == port).find_map(|port| port.port);
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
            let ip = endpoint.addresses.first().and_then(|address| address.parse().ok());
            if let (true, Some(ip)) = (ready, ip) {
                found.push(Endpoint { ip, port: number, node: endpoint.node_name.clone() });
            }
        }
    }
    found
}

async fn node(call: &Call<'_>, at: &At, id: &Id<'_>) -> Result<Destination, Status> {
    call.registry().get(&at.resource, None, id.name, Read::Consistent).await?;
    if !matches!(id.port, "" | NODE_PORT) {
        return Err(unreached(&format!("dial tcp {}:{}: connect: connection refused", id.name, id.port)));
    }
    let host = format!("{}:{NODE_PORT}", id.name);
    Ok(Destination { node: id.name.to_owned(), path: String::new(), host })
}

/// The request as the node gets it.
fn passed_on(call: &Call<'_>, at: &At, to: &Destination, body: Incoming) -> Result<Request<Body>, Status> {
    let tail = if at.tail.is_empty() { "/" } else { &at.tail };
    let query = call.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let request = Request::builder().method(call.parts.method.clone()).uri(format!("{}{tail}{query}", to.path));
    let mut request = request.body(reply::boxed(body)).map_err(Status::internal)?;
    let headers = request.headers_mut();
    *headers = call.parts.headers.clone();
    let host = headers.remove(HOST).or_else(|| HeaderValue::try_from(call.parts.uri.authority()?.as_str()).ok());
    one_hop(headers);
    headers.remove(AUTHORIZATION);
    let own = headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect::<Vec<_>>();
    for name in own {
        headers.remove(name);
    }
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
    }
    if let Ok(uri) = HeaderValue::try_from(format!("{}{tail}", prefix(call, at))) {
        headers.insert("x-forwarded-uri", uri);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    Ok(request)
}

/// The path under which the client sees what is behind the proxy.
fn prefix(call: &Call<'_>, at: &At) -> String {
    let path = call.parts.uri.path();
    path.strip_suffix(&at.tail).unwrap_or(path).to_owned()
}

/// Removes what is meant for one connection alone.
fn one_hop(headers: &mut HeaderMap) {
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_names_a_scheme_a_name_and_a_port() {
        let check = |id: &str, expected: Option<(bool, &str, &str)>| {
            let found = Id::parse(id).map(|id| (id.https, id.name, id.port));
            assert_eq!(found, expected, "{id}");
        };
        check("web", Some((false, "web", "")));
        check("web:80", Some((false, "web", "80")));
        check("http:web:", Some((false, "web", "")));
        check("https:web:http", Some((true, "web", "http")));
        check("ftp:web:80", None);
        check(":80", None);
        check("a:b:c:d", None);
    }

    #[test]
    fn a_pod_is_reached_at_its_first_port_or_the_one_that_is_named() {
        let check = |pod: serde_json::Value, port: &str, expected: Result<&str, &str>| {
            let pod: Pod = serde_json::from_value(pod).expect("a pod");
            let found = pod_destination(&pod, port);
            let found = found.map(|to| format!("{} {}", to.node, to.path)).map_err(|status| status.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        };
        let pod = |ports: serde_json::Value, ip: serde_json::Value| {
            json!({"spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b", "ports": ports}]},
                   "status": {"podIP": ip}})
        };
        let ports = json!([{"containerPort": 8080}, {"containerPort": 9090}]);
        check(pod(ports.clone(), json!("100.64.0.1")), "", Ok("n /podProxy/100.64.0.1/8080"));
        check(pod(ports.clone(), json!("100.64.0.1")), "9090", Ok("n /podProxy/100.64.0.1/9090"));
        check(pod(json!([]), json!("100.64.0.1")), "", Ok("n /podProxy/100.64.0.1/80"));
        check(pod(ports.clone(), json!(null)), "", Err("address not allowed"));
        let unknown = "error trying to reach service: dial tcp: lookup tcp/web: unknown port";
        check(pod(ports, json!("100.64.0.1")), "web", Err(unknown));
    }

    #[test]
    fn a_service_is_reached_at_a_ready_endpoint_of_its_port() {
        let service: Service = serde_json::from_value(json!({"spec": {"ports": [
            {"name": "http", "port": 80}, {"name": "admin", "port": 90}]}}))
        .expect("a service");
        let slices: Vec<EndpointSlice> = serde_json::from_value(json!([{
            "metadata": {}, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["100.64.0.1"], "nodeName": "n1"},
                {"addresses": ["100.64.0.2"], "nodeName": "n1", "conditions": {"ready": false}},
                {"addresses": ["10.0.0.1"]}],
        }]))
        .expect("slices");
        let check = |id: &str, expected: Result<&[&str], &str>| {
            let id = Id::parse(id).expect("an id");
            let found = service_port(&service, &id).map(|port| endpoints(&slices, &port));
            let found = found.map_err(|status| status.message);
            let told = |at: &Endpoint| format!("{}:{}@{}", at.ip, at.port, at.node.as_deref().unwrap_or("?"));
            let hosts = found.map(|all| all.iter().map(told).collect::<Vec<_>>());
            let expected = expected.map(|all| all.iter().map(|at| (*at).to_owned()).collect());
            assert_eq!(hosts.as_ref().map_err(String::as_str), expected.as_ref().map_err(|why| *why), "{id:?}");
        };
        check("web:http", Ok(&["100.64.0.1:8080@n1", "10.0.0.1:8080@?"]));
        check("web:80", Ok(&["100.64.0.1:8080@n1", "10.0.0.1:8080@?"]));
        check("web:90", Ok(&[]));
        check("web", Ok(&[]));
        check("web:81", Err("no service port 81 found for service \"web\""));
    }

    #[test]
    fn an_address_is_the_nodes_in_whose_block_it_is() {
        let node: K8sNode = serde_json::from_value(json!({"spec": {"podCIDR": "100.64.16.0/20"}})).expect("a node");
        let check = |ip: [u8; 4], expected: bool| assert_eq!(holds(&node, ip.into()), expected, "{ip:?}");
        check([100, 64, 17, 1], true);
        check([100, 64, 32, 1], false);
        check([10, 0, 0, 1], false);
        assert!(!holds(&K8sNode::default(), [100, 64, 17, 1].into()));
    }

    #[test]
    fn redirections_stay_behind_the_proxy() {
        let place = Place { prefix: "/p/proxy".to_owned(), host: "1.2.3.4:80".to_owned() };
        let check = |location: &str, expected: Option<&str>| {
            assert_eq!(place.link(location).as_deref(), expected, "{location}");
        };
        check("/a?b", Some("/p/proxy/a?b"));
        check("http://1.2.3.4:80/a", Some("/p/proxy/a"));
        check("/p/proxy/a", None);
        check("a/b", None);
        check("//other/a", None);
        check("https://other/a", None);
    }

    #[test]
    fn pages_are_told_by_their_type() {
        let check = |given: &[(HeaderName, &str)], expected: bool| {
            let headers = given.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect();
            assert_eq!(is_page(&headers), expected, "{given:?}");
        };
        check(&[(CONTENT_TYPE, "text/html; charset=utf-8")], true);
        check(&[(CONTENT_TYPE, "text/html"), (CONTENT_ENCODING, "gzip")], false);
        check(&[(CONTENT_TYPE, "text/html"), (LOCATION, "/a")], false);
        check(&[(CONTENT_TYPE, "application/json")], false);
        check(&[], false);
    }
}
