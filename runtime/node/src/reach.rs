//! Requests of the node's own: those of probes and hooks.

use std::net::Ipv4Addr;

use http::header::{HOST, LOCATION, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use pal_engine::Body;
use pal_lifecycle::ProbeAction;
use pal_network::{Network, PodOrigin};

/// Redirects to the same host that are followed.
const REDIRECTS: usize = 10;

/// Reaches a pod as a probe or hook says: the status of the answer, where there is one, or why there is none.
pub(crate) async fn reach(network: &Network, ip: Ipv4Addr, action: &ProbeAction) -> Result<Option<StatusCode>, String> {
    match action {
        ProbeAction::Exec { .. } => Err("a command reaches nothing".to_owned()),
        ProbeAction::TcpSocket { host, port } => {
            if let Some(host) = other_host(host.as_deref(), ip) {
                return Err(format!("tcpSocket probes of another host ({host}) are not supported"));
            }
            let refused = || format!("dial tcp {ip}:{port}: connect: connection refused");
            network.listens(ip, *port).then_some(None).ok_or_else(refused)
        }
        ProbeAction::HttpGet { host, port, path, headers } => {
            let (mut port, mut path) = (*port, path.clone());
            let host = other_host(host.as_deref(), ip);
            for _ in 0..REDIRECTS {
                let answer = match host {
                    None => ask_pod(network, ip, port, &path, headers).await?,
                    Some(host) => ask_other(network, host, port, &path, headers).await?,
                };
                match answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()) {
                    Some(location) if answer.status().is_redirection() => {
                        let own = host.map_or_else(|| ip.to_string(), str::to_owned);
                        match followed(location, &own, port) {
                            Some(next) => (port, path) = next,
                            // What another host says of itself says nothing of this one.
                            None => return Ok(Some(answer.status())),
                        }
                    }
                    _ => return Ok(Some(answer.status())),
                }
            }
            Err(format!("stopped after {REDIRECTS} redirects"))
        }
    }
}

/// Whom else than the pod itself it names.
fn other_host(host: Option<&str>, ip: Ipv4Addr) -> Option<&str> {
    host.filter(|host| *host != ip.to_string() && *host != "localhost" && *host != "127.0.0.1")
}

/// Port and path that a redirect leads to on the same host.
fn followed(location: &str, host: &str, port: u16) -> Option<(u16, String)> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some((port, location.to_owned()));
    }
    let uri: Uri = location.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let same = uri.scheme_str() == Some("http") && uri.host() == Some(host);
    same.then(|| (uri.port_u16().unwrap_or(80), path.to_owned()))
}

fn request(url: &str, authority: &str, headers: &[(String, String)]) -> Result<Request<Body>, String> {
    let mut request = Request::get(url).header(USER_AGENT, "kube-probe/1.36");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(HOST, authority);
    }
    request.body(pal_network::full("")).map_err(|e| e.to_string())
}

async fn ask_pod(
    network: &Network,
    ip: Ipv4Addr,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<Response<Body>, String> {
    let url = format!("http://{ip}:{port}{path}");
    let refused = || format!("Get {url:?}: dial tcp {ip}:{port}: connect: connection refused");
    let backend = network.backend(ip, port).ok_or_else(refused)?;
    Ok(backend.call(request(&url, &format!("{ip}:{port}"), headers)?).await)
}

/// Another pod, wherever it runs, or a Service: what pods reach themselves.
async fn ask_other(
    network: &Network,
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<Response<Body>, String> {
    let authority = format!("{host}:{port}");
    let url = format!("http://{authority}{path}");
    let origin = PodOrigin { namespace: String::new(), name: String::new(), ip: None };
    let sent = network.outbound(origin).send(request(&url, &authority, headers)?).await;
    sent.map_err(|error| format!("Get {url:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_on_the_same_host() {
        let check = |location: &str, expected: Option<(u16, &str)>| {
            let expected = expected.map(|(port, path)| (port, path.to_owned()));
            assert_eq!(followed(location, "100.64.0.7", 8080), expected, "{location}");
        };
        check("/healthz?x=1", Some((8080, "/healthz?x=1")));
        check("http://100.64.0.7:81/a", Some((81, "/a")));
        check("http://100.64.0.7", Some((80, "/")));
        check("http://0.0.0.0/", None);
        check("https://100.64.0.7/", None);
        check("//elsewhere/", None);
        check("healthz", None);
    }

    #[test]
    fn the_pods_own_names_are_the_pod() {
        let check = |host: Option<&str>, expected: Option<&str>| {
            assert_eq!(other_host(host, Ipv4Addr::new(100, 64, 0, 7)), expected);
        };
        check(None, None);
        check(Some("100.64.0.7"), None);
        check(Some("localhost"), None);
        check(Some("100.64.0.8"), Some("100.64.0.8"));
    }
}
