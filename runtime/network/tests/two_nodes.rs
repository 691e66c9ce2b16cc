//! Two networks in one process, each a node, with certificates of one CA.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use pal_network::{
    Body, Endpoint, Network, NetworkConfig, PeerTls, PodOrigin, PortRoute, SendError, ServiceRoute, full,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(
        &self,
        name: &str,
        organization: &str,
        common_name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, organization);
        subject.push(DnType::CommonName, common_name);
        params.distinguished_name = subject;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn node(&self, name: &str) -> PeerTls {
        self.tls(name, "system:nodes", &format!("system:node:{name}"))
    }

    fn tls(&self, name: &str, organization: &str, common_name: &str) -> PeerTls {
        let (client_chain, client_key) =
            self.issue(name, organization, common_name, ExtendedKeyUsagePurpose::ClientAuth);
        let (server_chain, server_key) =
            self.issue(name, organization, common_name, ExtendedKeyUsagePurpose::ServerAuth);
        PeerTls { client_chain, client_key, server_chain, server_key, ca: self.0.pem() }
    }
}

async fn network(name: &str, tls: PeerTls) -> Network {
    let loopback = Ipv4Addr::LOCALHOST.into();
    Network::start(NetworkConfig {
        node_name: name.to_owned(),
        node_ip: loopback,
        peer_listen: SocketAddr::new(loopback, 0),
        tls,
        cluster_domain: "cluster.local".to_owned(),
    })
    .await
    .unwrap()
}

/// Answers with its name, the host that was asked for and the request's body.
fn echo(name: &'static str) -> Arc<dyn pal_network::Backend> {
    Arc::new(move |request: Request<Body>| -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let host = request.uri().authority().map(ToString::to_string);
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{name} {} {}", host.unwrap_or_default(), String::from_utf8_lossy(&body));
            Response::new(full(text))
        })
    })
}

fn route(endpoints: &[(&str, [u8; 4])], node_port: Option<u16>) -> Vec<ServiceRoute> {
    let endpoints = endpoints
        .iter()
        .map(|(node, ip)| Endpoint { ip: Ipv4Addr::from(*ip), port: 8080, node: (*node).to_owned() })
        .collect();
    vec![ServiceRoute {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        cluster_ip: Some(Ipv4Addr::new(10, 96, 0, 9)),
        external_name: None,
        affinity: None,
        ports: vec![PortRoute { port: 80, node_port, endpoints, ..PortRoute::default() }],
        pods: Vec::new(),
    }]
}

async fn ask(network: &Network, url: &str, body: &str) -> Result<(StatusCode, String), SendError> {
    let origin = PodOrigin { namespace: "default".to_owned(), name: "asker".to_owned(), ip: None };
    let request = Request::post(url).body(full(body.to_owned())).unwrap();
    let response =
        tokio::time::timeout(Duration::from_secs(10), network.outbound(origin).send(request)).await.unwrap()?;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn nodes(of: &[(&str, SocketAddr)]) -> HashMap<String, SocketAddr> {
    of.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect()
}

#[tokio::test]
async fn the_api_is_asked_by_its_service_and_by_https() {
    let a = network("a", Ca::new().node("a")).await;
    let [mut service] = route(&[], None).try_into().unwrap();
    service.name = "kubernetes".to_owned();
    service.ports[0].port = 443;
    a.set_services(&[service]);
    let refused = ask(&a, "https://kubernetes/api", "").await.unwrap_err();
    assert!(matches!(refused, SendError::Refused(_)), "{refused}");
    a.set_api(echo("api"));
    for host in ["kubernetes", "kubernetes.default.svc.cluster.local", "10.96.0.9", "10.96.0.9:443"] {
        let (_, text) = ask(&a, &format!("https://{host}/api"), "1").await.unwrap();
        assert_eq!(text, format!("api {host} 1"));
    }
    let denied = ask(&a, "http://kubernetes:443/api", "").await.unwrap_err();
    assert!(matches!(denied, SendError::Denied(_)), "{denied}");
}

#[tokio::test]
async fn a_request_to_a_service_reaches_a_pod_here_and_on_another_node() {
    let ca = Ca::new();
    let (a, b) = (network("a", ca.node("a")).await, network("b", ca.node("b")).await);
    let (here, there) = ([100, 64, 0, 2], [100, 64, 1, 2]);
    let _here = a.attach(here.into(), 8080, echo("here"));
    let _there = b.attach(there.into(), 8080, echo("there"));
    a.set_nodes(nodes(&[("b", b.peer_addr())]), HashMap::from([([100, 64, 1], "b".to_owned())]));

    a.set_services(&route(&[("a", here)], None));
    let answer = ask(&a, "http://web/x", "1").await.unwrap();
    assert_eq!(answer, (StatusCode::OK, "here web 1".to_owned()));

    a.set_services(&route(&[("b", there)], None));
    let answer = ask(&a, "http://web.default.svc.cluster.local/x", "2").await.unwrap();
    assert_eq!(answer, (StatusCode::OK, "there web.default.svc.cluster.local 2".to_owned()));
    let answer = ask(&a, "http://100.64.1.2:8080/", "3").await.unwrap();
    assert_eq!(answer.1, "there 100.64.1.2:8080 3");

    a.set_services(&route(&[("a", here), ("b", there)], None));
    let mut seen = [0, 0];
    for _ in 0..64 {
        let (_, text) = ask(&a, "http://10.96.0.9/", "").await.unwrap();
        seen[usize::from(text.starts_with("there"))] += 1;
    }
    assert!(seen[0] > 8 && seen[1] > 8, "both endpoints take their share: {seen:?}");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_passed_over_and_a_service_without_any_refuses() {
    let ca = Ca::new();
    let a = network("a", ca.node("a")).await;
    let gone = a.attach([100, 64, 0, 2].into(), 8080, echo("gone"));
    let _left = a.attach([100, 64, 0, 3].into(), 8080, echo("left"));
    a.set_services(&route(&[("a", [100, 64, 0, 2]), ("a", [100, 64, 0, 3]), ("dead", [100, 64, 9, 9])], None));
    drop(gone);
    for _ in 0..32 {
        assert!(ask(&a, "http://web/", "").await.unwrap().1.starts_with("left"));
    }
    a.set_services(&route(&[], None));
    assert!(matches!(ask(&a, "http://web/", "").await, Err(SendError::Refused(_))));
    assert!(matches!(ask(&a, "http://nobody/", "").await, Err(SendError::NoSuchHost(_))));
    assert!(matches!(ask(&a, "http://127.0.0.1:1/", "").await, Err(SendError::Denied(_))));
    assert!(matches!(ask(&a, "http://example.com/", "").await, Err(SendError::Denied(_))));
    assert!(matches!(ask(&a, "https://web:80/", "").await, Err(SendError::Denied(_))));
}

#[tokio::test]
async fn a_pod_reaches_itself_by_loopback_and_node_ports_by_the_nodes_addresses() {
    let ca = Ca::new();
    let a = network("a", ca.node("a")).await;
    // What pods ask for opens no socket: the port may be somebody else's.
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let _web = a.attach([100, 64, 0, 2].into(), 8080, echo("web"));
    let own = a.attach([100, 64, 0, 3].into(), port, echo("own"));
    a.set_node_addresses([IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 7])].into());
    assert_eq!(a.set_services(&route(&[("a", [100, 64, 0, 2])], Some(port))).len(), 1);
    let ip = Some(Ipv4Addr::new(100, 64, 0, 3));
    let out = a.outbound(PodOrigin { namespace: "default".to_owned(), name: "own".to_owned(), ip });
    let check = async |host: &str, expected: &str| {
        let request = Request::get(format!("http://{host}:{port}/")).body(full("")).unwrap();
        let answer = out.send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(String::from_utf8_lossy(&answer), format!("{expected} {host}:{port} "));
    };
    check("127.0.0.1", "own").await;
    check("localhost", "own").await;
    check("192.0.2.7", "web").await;
    drop(own);
    check("127.0.0.1", "web").await;
}

#[tokio::test]
async fn a_certificate_of_a_user_or_of_another_cluster_opens_no_connection_between_nodes() {
    let ca = Ca::new();
    let b = network("b", ca.node("b")).await;
    let _there = b.attach([100, 64, 1, 2].into(), 8080, echo("there"));
    let user = network("a", ca.tls("a", "system:masters", "admin")).await;
    let foreign = network("a", Ca::new().node("a")).await;
    for network in [user, foreign] {
        network.set_nodes(nodes(&[("b", b.peer_addr())]), HashMap::new());
        network.set_services(&route(&[("b", [100, 64, 1, 2])], None));
        let answer = ask(&network, "http://web/", "").await;
        assert!(matches!(answer, Err(SendError::Unreachable(_) | SendError::Reset(_))), "{answer:?}");
    }
}

/// What the port answers, if anything listens there.
async fn get(port: u16) -> Option<(StatusCode, String)> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/").header("host", "x").body(full("")).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    connection.abort();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn closed(port: u16) {
    let closed = async {
        while get(port).await.is_some() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the port is still open");
}

#[tokio::test]
async fn a_node_port_answers_on_the_nodes_address_and_closes_with_its_service() {
    let ca = Ca::new();
    let a = network("a", ca.node("a")).await;
    // A port that was free a moment ago; another process may take it, which shows as a conflict.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _pod = a.attach([100, 64, 0, 2].into(), 8080, echo("pod"));
    let conflicts = a.set_services(&route(&[("a", [100, 64, 0, 2])], Some(port)));
    assert!(conflicts.is_empty(), "{conflicts:?}");
    assert_eq!(get(port).await, Some((StatusCode::OK, "pod  ".to_owned())));
    a.set_services(&route(&[], Some(port)));
    let (status, text) = get(port).await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text, "no endpoint of default/web:80 is ready\n");
    a.set_services(&[]);
    closed(port).await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let conflicts = a.set_services(&route(&[], Some(taken.local_addr().unwrap().port())));
    assert_eq!(conflicts.len(), 1, "a port in use is told");
}

#[tokio::test]
async fn a_pods_own_port_of_the_node_is_open_as_long_as_it_is_held() {
    let ca = Ca::new();
    let a = network("a", ca.node("a")).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let conflict = a.open_host_port(None, port, echo("pod")).err().expect("the port is in use");
    assert!(conflict.to_string().starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{conflict}");
    drop(taken);
    let held = a.open_host_port(Some(Ipv4Addr::LOCALHOST.into()), port, echo("pod")).unwrap();
    assert_eq!(get(port).await, Some((StatusCode::OK, "pod  ".to_owned())));
    drop(held);
    closed(port).await;
}
