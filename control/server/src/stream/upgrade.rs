//! What a request asks its connection to become, and what it is answered.
//!
//! WebSocket is RFC 6455; the protocols' names are Kubernetes' (kubelet `cri/streaming`, apiserver `util/proxy`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Response, StatusCode};
use pal_resources::{Reason, Status};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::channels::Channels;
use crate::Body;
use crate::api::accept::Accepted;
use crate::api::whole;

/// How SPDY's clients and servers name their protocols.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
const SPDY: &str = "SPDY/3.1";
/// What browsers, which set no header on a WebSocket's request, put before a bearer token in base64 to name it as a protocol
/// (apiserver `authentication/request/websocket`).
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// What a client wants its connection to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    WebSocket { key: String, protocols: Vec<String> },
    Spdy { protocols: Vec<String> },
}

/// The protocols that one kind of stream is served by.
pub(crate) struct Protocols {
    /// Preferred wherever it is among those that are offered.
    first: &'static str,
    channels: &'static [&'static str],
    /// The best first.
    spdy: &'static [&'static str],
}

/// Of exec and attach.
pub(crate) const EXEC_PROTOCOLS: Protocols = Protocols {
    first: "v5.channel.k8s.io",
    channels: &[
        "",
        "channel.k8s.io",
        "base64.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "v3.channel.k8s.io",
        "v2.channel.k8s.io",
        "v1.channel.k8s.io",
    ],
    spdy: &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
};

/// Of port-forward.
pub(crate) const FORWARD_PROTOCOLS: Protocols = Protocols {
    first: "SPDY/3.1+portforward.k8s.io",
    channels: &["", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "portforward.k8s.io"],
    spdy: &["portforward.k8s.io"],
};

/// What a connection becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Messages on numbered channels.
    Channels {
        key: String,
        protocol: Channels,
    },
    /// SPDY in a WebSocket's binary messages.
    Tunnelled {
        key: String,
    },
    Spdy {
        protocol: &'static str,
    },
}

/// The upgrade that a request asks for, if it does.
pub(crate) fn asked(method: &Method, headers: &HeaderMap) -> Result<Option<Asked>, Status> {
    if !tokens(headers, &CONNECTION).iter().any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Ok(None);
    }
    let wanted = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if wanted.eq_ignore_ascii_case(SPDY) {
        return Ok(Some(Asked::Spdy { protocols: tokens(headers, &STREAM_PROTOCOL) }));
    }
    if !wanted.eq_ignore_ascii_case("websocket") {
        return Ok(None);
    }
    let bad = |what: &str| Status::bad_request(format!("unable to upgrade to WebSocket: {what}"));
    if method != Method::GET {
        return Err(bad("the method must be GET"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("Sec-WebSocket-Version must be 13"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| bad("Sec-WebSocket-Key is missing"))?.to_owned();
    let mut protocols = tokens(headers, &SEC_WEBSOCKET_PROTOCOL);
    protocols.retain(|protocol| !protocol.starts_with(TOKEN_PROTOCOL));
    Ok(Some(Asked::WebSocket { key, protocols }))
}

/// The bearer token among the protocols that a WebSocket's request offers.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    if !matches!(asked(&Method::GET, headers), Ok(Some(Asked::WebSocket { .. }))) {
        return None;
    }
    let protocols = tokens(headers, &SEC_WEBSOCKET_PROTOCOL);
    let encoded = protocols.iter().find_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok().filter(|token| !token.is_empty())
}

/// The members of a list that one or several headers hold.
fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

/// Agrees on a protocol.
pub(crate) fn choose(asked: &Asked, served: &Protocols) -> Result<Chosen, Response<Body>> {
    match asked {
        Asked::WebSocket { key, protocols } => {
            let key = key.clone();
            if protocols.iter().any(|protocol| protocol == served.first) {
                return Ok(match Channels::named(served.first) {
                    Some(protocol) => Chosen::Channels { key, protocol },
                    None => Chosen::Tunnelled { key },
                });
            }
            let none = [String::new()];
            let offered = if protocols.is_empty() { &none[..] } else { protocols };
            let found = offered.iter().find_map(|name| served.channels.iter().find(|known| *known == name));
            match found.and_then(|name| Channels::named(name)) {
                Some(protocol) => Ok(Chosen::Channels { key, protocol }),
                None => Err(refused(&format!(
                    "requested protocol(s) are not supported: [{}]; supports [{}]",
                    protocols.join(" "),
                    served.channels.join(" ").trim()
                ))),
            }
        }
        Asked::Spdy { protocols } => {
            if protocols.is_empty() {
                return Err(refused("unable to upgrade: X-Stream-Protocol-Version is required"));
            }
            match served.spdy.iter().find(|known| protocols.iter().any(|offered| offered == *known)) {
                Some(protocol) => Ok(Chosen::Spdy { protocol }),
                None => {
                    let mut response = refused(&format!(
                        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
                        protocols.join(" "),
                        served.spdy.join(" ")
                    ));
                    for protocol in served.spdy {
                        response.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol));
                    }
                    Err(response)
                }
            }
        }
    }
}

/// The answer to who offers no protocol that is served.
pub(crate) fn refused(message: &str) -> Response<Body> {
    crate::api::failure(&Status::new(403, Reason::Forbidden, message), Some(Accepted::default()))
}

/// The answer after which the connection is no longer HTTP.
pub(crate) fn switching(chosen: &Chosen) -> Response<Body> {
    match chosen {
        Chosen::Channels { key, protocol } => to_websocket(key, protocol.name()),
        Chosen::Tunnelled { key } => to_websocket(key, FORWARD_PROTOCOLS.first),
        Chosen::Spdy { protocol } => {
            let mut response = upgraded(SPDY);
            response.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            response
        }
    }
}

fn upgraded(to: &'static str) -> Response<Body> {
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(to));
    response
}

/// The same for a WebSocket with that protocol; the empty one is that of clients which name none.
pub(crate) fn to_websocket(key: &str, protocol: &str) -> Response<Body> {
    let mut response = upgraded("websocket");
    let headers = response.headers_mut();
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Ok(protocol) = HeaderValue::try_from(protocol)
        && !protocol.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn upgrades_are_told_from_other_requests() {
        let check = |method: Method, lines: &[(&'static str, &'static str)], expected: Result<Option<Asked>, u16>| {
            assert_eq!(asked(&method, &headers(lines)).map_err(|status| status.code), expected, "{lines:?}");
        };
        let websocket = |protocols: &[&str]| {
            let protocols = protocols.iter().map(|name| name.to_string()).collect();
            Ok(Some(Asked::WebSocket { key: "k".to_owned(), protocols }))
        };
        let version = ("sec-websocket-version", "13");
        let (key, upgrade) = (("sec-websocket-key", "k"), ("upgrade", "WebSocket"));
        let connection = ("connection", "keep-alive, Upgrade");
        check(Method::GET, &[], Ok(None));
        check(Method::GET, &[upgrade], Ok(None));
        check(Method::GET, &[connection, ("upgrade", "h2c")], Ok(None));
        check(Method::GET, &[connection, upgrade, version, key], websocket(&[]));
        let (both, third) = (("sec-websocket-protocol", "a, b"), ("sec-websocket-protocol", "c"));
        check(Method::GET, &[connection, upgrade, version, key, both, third], websocket(&["a", "b", "c"]));
        let bearer = ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dG9rZW4");
        check(Method::GET, &[connection, upgrade, version, key, bearer, third], websocket(&["c"]));
        assert_eq!(token(&headers(&[connection, upgrade, version, key, third, bearer])).as_deref(), Some("token"));
        assert_eq!(token(&headers(&[connection, upgrade, version, key, third])), None);
        assert_eq!(token(&headers(&[bearer])), None, "no WebSocket");
        check(Method::POST, &[connection, upgrade, version, key], Err(400));
        check(Method::GET, &[connection, upgrade, key], Err(400));
        check(Method::GET, &[connection, upgrade, version], Err(400));
        let spdy = Asked::Spdy { protocols: vec!["v4.channel.k8s.io".to_owned()] };
        let lines = [connection, ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")];
        check(Method::POST, &lines, Ok(Some(spdy)));
    }

    #[test]
    fn clients_get_the_best_protocol_that_they_offer() {
        let check = |served: &Protocols, spdy: bool, offered: &str, expected: &str| {
            let protocols: Vec<String> = offered.split_whitespace().map(str::to_owned).collect();
            let asked =
                if spdy { Asked::Spdy { protocols } } else { Asked::WebSocket { key: String::new(), protocols } };
            let found = match choose(&asked, served) {
                Ok(Chosen::Channels { protocol, .. }) => format!("channels {}", protocol.name()),
                Ok(Chosen::Tunnelled { .. }) => "tunnelled".to_owned(),
                Ok(Chosen::Spdy { protocol }) => format!("spdy {protocol}"),
                Err(response) => response.status().as_u16().to_string(),
            };
            assert_eq!(found, expected, "{offered}");
        };
        check(&EXEC_PROTOCOLS, false, "", "channels ");
        check(&EXEC_PROTOCOLS, false, "v5.channel.k8s.io", "channels v5.channel.k8s.io");
        check(&EXEC_PROTOCOLS, false, "v4.channel.k8s.io v5.channel.k8s.io", "channels v5.channel.k8s.io");
        check(&EXEC_PROTOCOLS, false, "v4.channel.k8s.io v3.channel.k8s.io", "channels v4.channel.k8s.io");
        check(&EXEC_PROTOCOLS, false, "x base64.channel.k8s.io", "channels base64.channel.k8s.io");
        check(&EXEC_PROTOCOLS, false, "x", "403");
        check(&EXEC_PROTOCOLS, true, "v4.channel.k8s.io channel.k8s.io", "spdy v4.channel.k8s.io");
        check(&EXEC_PROTOCOLS, true, "", "403");
        check(&EXEC_PROTOCOLS, true, "x", "403");
        check(&FORWARD_PROTOCOLS, false, "SPDY/3.1+portforward.k8s.io", "tunnelled");
        check(&FORWARD_PROTOCOLS, false, "v5.channel.k8s.io v4.channel.k8s.io", "channels v4.channel.k8s.io");
        check(&FORWARD_PROTOCOLS, true, "portforward.k8s.io", "spdy portforward.k8s.io");
    }
}
