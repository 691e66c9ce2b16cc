//! Programs' streams, forwarded connections and proxies, with a node that is one as far as its tunnel goes.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pal_resources::channel::{CLOSE, ERROR, Ending, Packet, Packets, STDERR, STDIN, STDOUT};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::cluster::{Client, Cluster, PATIENCE};

const POD: &str = "/api/v1/namespaces/default/pods/p";

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// A node's end of a tunnel.
async fn node(cluster: &Cluster) -> JoinHandle<()> {
    let identity = cluster.node_identity("n1");
    let io = TokioIo::new(cluster.connect(&identity, b"pal-node/1").await);
    let serving = tokio::spawn(async move {
        let service = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(answer(request).await));
        // The end is the test's doing.
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    });
    let tunnels = cluster.server.liveness();
    let mut changed = tunnels.changed();
    let connected = async {
        while !tunnels.connected("n1") {
            changed.changed().await.expect("the server lives");
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("a tunnel");
    serving
}

async fn answer(request: Request<Incoming>) -> Response<Body> {
    let refused = |code: u16, message: &str| {
        let mut response = Response::new(whole(json!({"message": message, "code": code}).to_string()));
        *response.status_mut() = code.try_into().expect("a code");
        response
    };
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["exec", "default", "p", "c"] if query.contains("missing") => refused(500, "container not found (\"c\")"),
        ["exec" | "attach", "default", "p", "c"] => streamed(request, program),
        ["portForward", "default", "p"] if query == "port=81" => refused(502, "connection refused"),
        ["portForward", "default", "p"] => streamed(request, echo),
        ["podProxy", _, "81", ..] => {
            let mut response = refused(502, "connection refused");
            response.headers_mut().insert("pal-refused", "1".parse().expect("a value"));
            response
        }
        _ => {
            let header = |name: &str| {
                request.headers().get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
            };
            let (uri, authorization) = (header("x-forwarded-uri"), header("authorization"));
            let (method, target) = (request.method().clone(), request.uri().path_and_query().cloned());
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let text = format!("{method} {} {uri} {authorization} ", target.expect("a path"));
            let mut response = Response::new(whole([text.as_bytes(), &body].concat()));
            response.headers_mut().insert("location", "/elsewhere".parse().expect("a value"));
            response
        }
    }
}

/// An answer that is made while the request's body is read.
fn streamed<W>(
    request: Request<Incoming>,
    work: impl FnOnce(Request<Incoming>, mpsc::Sender<Bytes>) -> W,
) -> Response<Body>
where
    W: Future<Output = ()> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
    tokio::spawn(work(request, sender));
    let pieces = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    Response::new(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync())
}

/// Who is told what `keep` was given.
static KEPT: Mutex<Option<oneshot::Sender<Vec<u8>>>> = Mutex::new(None);

/// `cat` gives stdin back until that ends; `keep` takes it to its end; `exit N` complains and exits; `die` is cut off.
async fn program(request: Request<Incoming>, out: mpsc::Sender<Bytes>) {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let arguments: Vec<String> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "command")
        .map(|(_, value)| value.into_owned())
        .collect();
    let say = async |packet: Packet| drop(out.send(packet.encode().into()).await);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["exit", code] => {
            say(Packet::new(STDERR, "oh")).await;
            say(Packet::new(ERROR, Ending::Exit(code.parse().expect("a code")).to_json())).await;
        }
        ["die"] => {}
        ["keep"] => {
            let (mut body, mut packets, mut given) = (request.into_body(), Packets::default(), Vec::new());
            while let Some(Ok(frame)) = body.frame().await {
                packets.push(&frame.into_data().expect("data"));
                while let Some(packet) = packets.take().expect("packets") {
                    given.extend(packet.data);
                }
            }
            let told = KEPT.lock().expect("a lock").take().expect("who is told");
            told.send(given).expect("a test that waits");
        }
        _ => {
            let (mut body, mut packets) = (request.into_body(), Packets::default());
            while let Some(Ok(frame)) = body.frame().await {
                packets.push(&frame.into_data().expect("data"));
                while let Some(packet) = packets.take().expect("packets") {
                    match packet.channel {
                        STDIN if packet.data == b"quit\n" => {
                            say(Packet::new(ERROR, Ending::Exit(0).to_json())).await;
                        }
                        STDIN => say(Packet::new(STDOUT, packet.data)).await,
                        CLOSE => say(Packet::new(ERROR, Ending::Exit(0).to_json())).await,
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Gives back what comes, in capitals, until that ends.
async fn echo(request: Request<Incoming>, out: mpsc::Sender<Bytes>) {
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().expect("data").to_ascii_uppercase();
        if out.send(data.into()).await.is_err() {
            return;
        }
    }
}

async fn cluster_with_pod() -> Cluster {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [
        {"name": "c", "image": "x", "ports": [{"containerPort": 8080}]}]}});
    admin.post("/api/v1/namespaces/default/pods", &pod).await.ok();
    let merge = admin.with("content-type", "application/merge-patch+json");
    let status = json!({"status": {"podIP": "100.64.0.1", "podIPs": [{"ip": "100.64.0.1"}]}});
    merge.send(Method::PATCH, &format!("{POD}/status"), status.to_string()).await.ok();
    cluster
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A WebSocket, and the protocol that was agreed on; or the code and body of the refusal.
async fn websocket(client: &Client, path: &str, protocols: &str) -> Result<(Socket, String), (u16, String)> {
    let mut request = Request::get(format!("wss://localhost{path}"))
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key());
    if !protocols.is_empty() {
        request = request.header("sec-websocket-protocol", protocols);
    }
    let request = request.body(()).expect("a request");
    match tokio::time::timeout(PATIENCE, client_async(request, client.dial().await)).await.expect("an answer in time") {
        Ok((socket, response)) => {
            let protocol = response.headers().get("sec-websocket-protocol");
            Ok((socket, protocol.map(|name| name.to_str().expect("text").to_owned()).unwrap_or_default()))
        }
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Every message until the server closes.
async fn all(socket: &mut Socket) -> Vec<String> {
    let mut found = Vec::new();
    let reading = async {
        while let Some(message) = socket.next().await {
            match message.expect("a message") {
                Message::Binary(bytes) => found.push(String::from_utf8_lossy(&bytes).into_owned()),
                Message::Text(text) => found.push(format!("text {text}")),
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an end in time");
    found
}

#[tokio::test]
async fn programs_are_streamed_by_every_protocol_that_clients_offer() {
    let cluster = cluster_with_pod().await;
    let node = node(&cluster).await;
    let admin = cluster.admin();
    let exit3 = concat!(
        "\u{3}{\"metadata\":{},\"status\":\"Failure\",",
        "\"message\":\"command terminated with non-zero exit code: command terminated with exit code 3\",",
        "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}"
    );
    let words = "\u{3}command terminated with non-zero exit code: command terminated with exit code 3";
    let success = "\u{3}{\"metadata\":{},\"status\":\"Success\"}";
    let check = async |protocols: &str, query: &str, sent: &[&str], agreed: &str, expected: &[&str]| {
        let path = format!("{POD}/exec?{query}");
        let (mut socket, protocol) = websocket(&admin, &path, protocols).await.expect("an upgrade");
        assert_eq!(protocol, agreed, "{protocols}");
        for message in sent {
            // The byte 255, which no text has.
            let bytes: Vec<u8> = message.chars().map(|c| if c == 'ÿ' { 255 } else { c as u8 }).collect();
            socket.send(Message::binary(bytes)).await.expect("a connection");
        }
        assert_eq!(all(&mut socket).await, expected, "{protocols} {query}");
    };
    let (v5, v4) = ("v5.channel.k8s.io", "v4.channel.k8s.io");
    let (exit, cat) = ("command=exit&command=3&stdout=true&stderr=true", "command=cat&stdin=true&stdout=true");
    check(v5, exit, &[], v5, &["\u{1}", "\u{2}oh", exit3]).await;
    check("v5.channel.k8s.io, v4.channel.k8s.io", exit, &[], v5, &["\u{1}", "\u{2}oh", exit3]).await;
    check(v4, exit, &[], v4, &["\u{1}", "\u{2}oh", exit3]).await;
    check("channel.k8s.io", exit, &[], "channel.k8s.io", &["\u{1}", "\u{2}oh", words]).await;
    check("", exit, &[], "", &["\u{1}", "\u{2}oh", words]).await;
    check(v5, cat, &["\0a", "\0b\n", "ÿ\0"], v5, &["\u{1}", "\u{1}a", "\u{1}b\n", success]).await;
    check(v4, cat, &["\0a", "\0quit\n"], v4, &["\u{1}", "\u{1}a", success]).await;
    let base64 = "base64.channel.k8s.io";
    check(base64, cat, &["0Yg==", "0cXVpdAo="], base64, &["text 1", "text 1Yg=="]).await;
    let lost = concat!(
        "\u{3}{\"metadata\":{},\"status\":\"Failure\",",
        "\"message\":\"Internal error occurred: the connection to the node was lost\",",
        "\"reason\":\"InternalError\",",
        "\"details\":{\"causes\":[{\"message\":\"the connection to the node was lost\"}]},\"code\":500}"
    );
    check(v5, "command=die&stdout=true", &[], v5, &["\u{1}", lost]).await;
    // What the node refuses is told on the channels by v5, and instead of them by others.
    let missing = concat!(
        "\u{3}{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: unable to upgrade ",
        "connection: container not found (\\\"c\\\")\",\"reason\":\"InternalError\",\"details\":{\"causes\":",
        "[{\"message\":\"unable to upgrade connection: container not found (\\\"c\\\")\"}]},\"code\":500}"
    );
    check(v5, "command=missing&stdout=true", &[], v5, &["\u{1}", missing]).await;
    let refused = websocket(&admin, &format!("{POD}/exec?command=missing&stdout=true"), v4).await.map(|_| ());
    assert_eq!(refused, Err((500, "container not found (\"c\")".to_owned())));
    let refused = websocket(&admin, &format!("{POD}/exec?{exit}"), "v9.channel.k8s.io").await.map(|_| ());
    assert_eq!(refused.map_err(|(code, _)| code), Err(403));
    node.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn logs_and_watches_are_messages_where_a_websocket_is_asked_for() {
    let cluster = cluster_with_pod().await;
    let node = node(&cluster).await;
    let admin = cluster.admin();
    let log = format!("{POD}/log");
    let check = async |protocols: &str, agreed: &str, expected: &str| {
        let (mut socket, protocol) = websocket(&admin, &log, protocols).await.expect("an upgrade");
        assert_eq!((protocol.as_str(), all(&mut socket).await.concat().as_str()), (agreed, expected), "{protocols}");
    };
    check("", "", "GET /containerLogs/default/p/c?   ").await;
    check("binary.k8s.io", "binary.k8s.io", "GET /containerLogs/default/p/c?   ").await;
    let encoded = "text R0VUIC9jb250YWluZXJMb2dzL2RlZmF1bHQvcC9jPyAgIA==";
    check("base64.binary.k8s.io", "base64.binary.k8s.io", encoded).await;
    let refused = websocket(&admin, &log, "v5.channel.k8s.io").await.map(|_| ());
    assert_eq!(refused.map_err(|(code, _)| code), Err(403));

    let watch = "/api/v1/namespaces/default/pods?watch=true&fieldSelector=metadata.name%3Dp";
    let (mut socket, protocol) = websocket(&admin, watch, "base64.binary.k8s.io").await.expect("an upgrade");
    assert_eq!(protocol, "base64.binary.k8s.io");
    let mut next = async || {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time").expect("one more");
        let text = message.expect("a connection").into_text().expect("text");
        let event: Value = serde_json::from_str(&text).expect("an event");
        format!("{} {}", event["type"], event["object"]["metadata"]["name"])
    };
    assert_eq!(next().await, r#""ADDED" "p""#);
    admin.send(Method::DELETE, &format!("{POD}?gracePeriodSeconds=0"), "").await.ok();
    assert_eq!(next().await, r#""DELETED" "p""#);
    node.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_in_kubernetes_words() {
    let cluster = cluster_with_pod().await;
    let admin = cluster.admin();
    let exec = format!("{POD}/exec?command=sh&stdout=true");
    admin.get(&exec).await.refused(400, "Upgrade request required");
    admin.post(&exec, &json!({})).await.refused(400, "Upgrade request required");
    admin.get(&format!("{exec}&container=x")).await.refused(400, "container x is not valid for pod p");
    admin.get("/api/v1/namespaces/default/pods/none/exec").await.refused(404, "pods \"none\" not found");
    let pending = json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    admin.post("/api/v1/namespaces/default/pods", &pending).await.ok();
    let words = "pod q does not have a host assigned";
    admin.get("/api/v1/namespaces/default/pods/q/exec?command=sh").await.refused(400, words);
    admin.get("/api/v1/namespaces/default/pods/q/portforward").await.refused(400, words);
    // Without the node.
    let (mut socket, _) = websocket(&admin, &exec, "v5.channel.k8s.io").await.expect("an upgrade");
    let told = all(&mut socket).await.concat();
    assert!(told.contains("error sending request: node n1 is not connected"), "{told}");
    let refused = websocket(&admin, &exec, "v4.channel.k8s.io").await.map(|_| ()).expect_err("no node");
    assert!(refused.0 == 500 && refused.1.contains("error dialing backend: node n1 is not connected"), "{refused:?}");
    // Who may only read may not stream.
    let rule = json!({"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get"]}]});
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    admin.post(&format!("{roles}/roles"), &rule).await.ok();
    let binding = json!({"metadata": {"name": "reader"}, "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "Role", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}});
    admin.post(&format!("{roles}/rolebindings"), &binding).await.ok();
    let jane = admin.clone().with("impersonate-user", "jane");
    assert_eq!(jane.get(POD).await.code, 200);
    jane.get(&exec).await.refused(403, "cannot create resource \"pods/exec\"");
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_program_along() {
    let cluster = cluster_with_pod().await;
    let node = node(&cluster).await;
    let path = format!("{POD}/exec?command=cat&stdin=true&stdout=true");
    let (mut socket, _) = websocket(&cluster.admin(), &path, "v5.channel.k8s.io").await.expect("an upgrade");
    socket.send(Message::binary(&b"\0a"[..])).await.expect("a connection");
    assert_eq!(socket.next().await.expect("a message").expect("a greeting").into_data(), "\u{1}");
    assert_eq!(socket.next().await.expect("a message").expect("an echo").into_data(), "\u{1}a");
    drop(socket);
    // The server stops at once: nothing is left for it to wait for.
    let began = std::time::Instant::now();
    cluster.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    node.abort();
}

#[tokio::test]
async fn what_a_client_has_sent_reaches_the_program_although_the_client_goes_at_once() {
    let cluster = cluster_with_pod().await;
    let node = node(&cluster).await;
    let (kept, told) = oneshot::channel();
    *KEPT.lock().expect("a lock") = Some(kept);
    let path = format!("{POD}/exec?command=keep&stdin=true&stdout=true");
    let (mut socket, _) = websocket(&cluster.admin(), &path, "v4.channel.k8s.io").await.expect("an upgrade");
    let piece = vec![0; 64 * 1024];
    for _ in 0..32 {
        socket.send(Message::binary(piece.clone())).await.expect("a connection");
    }
    socket.close(None).await.expect("a connection");
    drop(socket);
    let given = tokio::time::timeout(PATIENCE, told).await.expect("an end of the input in time").expect("a program");
    assert_eq!(given.len(), 32 * (piece.len() - 1));
    node.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn connections_are_forwarded_over_two_channels_for_each_port() {
    let cluster = cluster_with_pod().await;
    let node = node(&cluster).await;
    let admin = cluster.admin();
    let path = format!("{POD}/portforward?ports=8080,81");
    let (mut socket, protocol) = websocket(&admin, &path, "v4.channel.k8s.io").await.expect("an upgrade");
    assert_eq!(protocol, "v4.channel.k8s.io");
    socket.send(Message::binary(&b"\0hello"[..])).await.expect("a connection");
    let mut found = Vec::new();
    let reading = async {
        while found.len() < 6 {
            found.push(socket.next().await.expect("a message").expect("a connection").into_data());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("messages in time");
    found.sort();
    // 8080 is 1f90.
    let expected: [&[u8]; 5] = [b"\0HELLO", b"\0\x90\x1f", b"\x01\x90\x1f", b"\x02\x51\0", b"\x03\x51\0"];
    for message in expected {
        assert!(found.iter().any(|found| &found[..] == message), "{message:?} in {found:?}");
    }
    let error = String::from_utf8_lossy(&found[5]).into_owned();
    assert!(error.starts_with("\u{3}error forwarding port 81 to pod p, uid "), "{error}");
    assert!(error.ends_with(": connection refused"), "{error}");
    let refused = websocket(&admin, &format!("{POD}/portforward"), "v4.channel.k8s.io").await.map(|_| ());
    assert_eq!(refused.map_err(|(code, _)| code), Err(400));
    node.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn requests_are_passed_on_to_pods_services_and_nodes() {
    let cluster = cluster_with_pod().await;
    let node = node(&cluster).await;
    let admin = cluster.admin();
    let service =
        json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"a": "b"}}});
    admin.post("/api/v1/namespaces/default/services", &service).await.ok();
    admin.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.ok();
    let services = "/api/v1/namespaces/default/services";
    let words = "no endpoints available for service \"web\"";
    admin.get(&format!("{services}/web:80/proxy/")).await.refused(503, words);
    let slice = json!({"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["100.64.0.7"], "nodeName": "n1"}]});
    admin.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &slice).await.ok();
    let check = async |path: &str, expected: &str| {
        assert_eq!(admin.get(path).await.text(), expected, "{path}");
    };
    let own = |path: &str, tail: &str| format!("{path}{tail}");
    let pod = own(POD, "/proxy");
    check(&format!("{pod}/"), &format!("GET /podProxy/100.64.0.1/8080/ {pod}/  ")).await;
    let odd = "/a//b%2Fc/../?x=1&x=2";
    let (path, _) = odd.split_once('?').expect("a query");
    check(&format!("{pod}{odd}"), &format!("GET /podProxy/100.64.0.1/8080{odd} {pod}{path}  ")).await;
    let web = own(services, "/http:web:80/proxy");
    check(&format!("{web}/x"), &format!("GET /podProxy/100.64.0.7/8080/x {web}/x  ")).await;
    // Of endpoints that people wrote the node may be unsaid.
    let unnamed = json!({"metadata": {"name": "own"}, "spec": {"ports": [{"port": 80}]}});
    admin.post(services, &unnamed).await.ok();
    let own_slice = json!({"metadata": {"name": "own-1", "labels": {"kubernetes.io/service-name": "own"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": [{"addresses": ["100.64.0.8"]}]});
    admin.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &own_slice).await.ok();
    let behind = own(services, "/own/proxy");
    let nowhere = "error trying to reach service: dial tcp 100.64.0.8:8080: connect: no route to host";
    admin.get(&format!("{behind}/x")).await.refused(503, nowhere);
    let block = json!({"spec": {"podCIDR": "100.64.0.0/24", "podCIDRs": ["100.64.0.0/24"]}});
    let merge = admin.clone().with("content-type", "application/merge-patch+json");
    merge.send(Method::PATCH, "/api/v1/nodes/n1", block.to_string()).await.ok();
    check(&format!("{behind}/x"), &format!("GET /podProxy/100.64.0.8/8080/x {behind}/x  ")).await;
    let n1 = "/api/v1/nodes/n1/proxy";
    check(&format!("{n1}/healthz"), &format!("GET /healthz {n1}/healthz  ")).await;
    // Credentials stay with the server.
    let form = admin.clone().with("authorization", "Bearer x").with("accept", "text/html");
    let posted = form.send(Method::POST, &format!("{pod}/form"), "a=b").await;
    assert_eq!(posted.text(), format!("POST /podProxy/100.64.0.1/8080/form {pod}/form  a=b"));
    assert_eq!(posted.headers["location"], format!("{pod}/elsewhere"));
    let moved = admin.get(&format!("{pod}?a=b")).await;
    assert_eq!(
        (moved.code.as_u16(), moved.headers["location"].to_str().expect("text")),
        (301, &*format!("{pod}/?a=b"))
    );
    let refused = "error trying to reach service: dial tcp 100.64.0.1:81: connect: connection refused";
    admin.get(&format!("{POD}:81/proxy/")).await.refused(503, refused);
    admin.get(&format!("{services}/a:b:c:d/proxy/")).await.refused(400, "invalid service request \"a:b:c:d\"");
    admin.get(&format!("{services}/web:81/proxy/")).await.refused(503, "no service port 81 found for service \"web\"");
    admin.get(&format!("{services}/https:web:80/proxy/")).await.refused(503, "error trying to reach service: tls: ");
    admin.get(&format!("{services}/none/proxy/")).await.refused(404, "services \"none\" not found");
    admin.get("/api/v1/nodes/none/proxy/").await.refused(404, "nodes \"none\" not found");
    node.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn discovery_tells_of_what_can_be_streamed() {
    let cluster = Cluster::start().await;
    let listed = cluster.admin().get("/api/v1").await.ok();
    let verbs = |name: &str| -> Vec<Value> {
        let all = listed["resources"].as_array().expect("resources");
        let found = all.iter().find(|resource| resource["name"] == name).expect(name);
        found["verbs"].as_array().expect("verbs").clone()
    };
    let check = |name: &str, expected: &[&str]| assert_eq!(verbs(name), expected, "{name}");
    check("pods/exec", &["create", "get"]);
    check("pods/attach", &["create", "get"]);
    check("pods/portforward", &["create", "get"]);
    for name in ["pods/proxy", "services/proxy", "nodes/proxy"] {
        check(name, &["create", "delete", "get", "patch", "update"]);
    }
    cluster.stop().await;
}
