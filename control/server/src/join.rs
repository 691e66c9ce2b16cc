//! Becoming a server of a cluster: from a token to the cluster's keys. The cluster is known by the hash of its root.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pal_store::{Member, ServerId};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::ClusterKeys;
use crate::api::SERVERS;
use crate::auth::TokenError;
use crate::tokens::TokenText;
use crate::trust::{Trust, provider};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The cluster must agree on the new member within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 1 << 20;

/// What a server says of itself when it wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    /// An id that nobody ever had.
    pub id: String,
    pub name: String,
    /// `host:port` under which the others reach it.
    pub address: String,
}

impl Application {
    /// The member that this asks for, checked.
    pub fn member(&self) -> Result<Member, String> {
        let id: ServerId = self.id.parse().map_err(|error| format!("id: {error}"))?;
        check_name(&self.name)?;
        host_and_port(&self.address)?;
        Ok(Member { id, name: self.name.clone(), address: self.address.clone() })
    }
}

/// A member, as it is told to one that joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRecord {
    pub id: String,
    pub name: String,
    pub address: String,
}

impl From<&Member> for MemberRecord {
    fn from(member: &Member) -> Self {
        Self { id: member.id.to_string(), name: member.name.clone(), address: member.address.clone() }
    }
}

/// What a server gets when it may join.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// The cluster's id.
    pub cluster: String,
    pub keys: ClusterKeys,
    /// All members, the new one too.
    pub members: Vec<MemberRecord>,
}

/// Why a server could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("--join {url}: {why}; a server is named as https://HOST:PORT")]
    Url { url: String, why: String },
    #[error("the token is malformed: it must be one that `pal token create --role server` printed, whole")]
    Malformed,
    #[error(
        "the token belongs to another cluster than {url}: its root certificate has the hash {shown}, the token names {expected}"
    )]
    OtherCluster { url: String, shown: String, expected: String },
    #[error(
        "{url} shows a certificate that is not for that name ({why}): name the server as it advertises itself, or start it with --advertise"
    )]
    Certificate { url: String, why: String },
    #[error("{url} refuses: {why}")]
    Refused { url: String, why: String },
    /// It may go better the next time.
    #[error("{url}: {why}")]
    Passing { url: String, why: String },
}

/// Asks the server at `url` to be added to its cluster.
pub async fn join(url: &str, token: &str, application: &Application) -> Result<Admission, JoinError> {
    let token_text: TokenText = token.parse().map_err(|_: TokenError| JoinError::Malformed)?;
    let target = Target::parse(url)?;
    let passing = |why: String| JoinError::Passing { url: url.to_owned(), why };
    let stream = target.connect(&token_text).await?;
    let body = serde_json::to_vec(application).map_err(|error| passing(error.to_string()))?;
    let request = target.request(token.trim(), body).map_err(|error| passing(error.to_string()))?;
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It is given up with this set, at the end of the exchange.
        let mut connections = JoinSet::new();
        connections.spawn(connection);
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        Ok::<_, hyper::Error>((parts.status, body.map(|body| body.to_bytes())))
    };
    let (status, body) = match tokio::time::timeout(ANSWER_LIMIT, exchange).await {
        Ok(answer) => answer.map_err(|error| passing(error.to_string()))?,
        Err(_) => return Err(passing(format!("no answer within {} s", ANSWER_LIMIT.as_secs()))),
    };
    let body = body.map_err(|error| passing(error.to_string()))?;
    if status == StatusCode::CREATED {
        return serde_json::from_slice(&body).map_err(|error| JoinError::Refused {
            url: url.to_owned(),
            why: format!("its answer cannot be read ({error}): do both run the same version?"),
        });
    }
    Err(told(url, status, &body))
}

/// What a refusal says, and whether to come again.
fn told(url: &str, status: StatusCode, body: &[u8]) -> JoinError {
    let message = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = message.and_then(|body| Some(body["message"].as_str()?.to_owned()));
    let why = message.unwrap_or_else(|| format!("it answered {status}"));
    let url = url.to_owned();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return JoinError::Passing { url, why };
    }
    let advice = if status == StatusCode::UNAUTHORIZED {
        ": `pal token create --role server`, run where the cluster is, prints a new line to run here"
    } else {
        ""
    };
    JoinError::Refused { url, why: format!("{why}{advice}") }
}

/// The server to ask.
struct Target<'a> {
    url: &'a str,
    host: String,
    port: u16,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Result<Self, JoinError> {
        let wrong = |why: String| JoinError::Url { url: url.to_owned(), why };
        let parsed = url::Url::parse(url).map_err(|_| wrong("this is no URL".to_owned()))?;
        if parsed.scheme() != "https" {
            return Err(wrong("it does not begin with https://".to_owned()));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("it names no host".to_owned()))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        // The URL's own default, 443, is no server's.
        Ok(Self { url, host, port: parsed.port().unwrap_or(6443) })
    }

    async fn connect(&self, token: &TokenText) -> Result<tokio_rustls::client::TlsStream<TcpStream>, JoinError> {
        let url = || self.url.to_owned();
        let passing = |why: String| JoinError::Passing { url: url(), why };
        let trust = Trust::hash(&token.ca);
        let connected = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
            let config = client_config(trust.clone()).map_err(std::io::Error::other)?;
            TlsConnector::from(Arc::new(config)).connect(name, tcp).await
        };
        let outcome = tokio::time::timeout(CONNECT_LIMIT, connected).await;
        let outcome = outcome.map_err(|_| passing(format!("no connection within {} s", CONNECT_LIMIT.as_secs())))?;
        outcome.map_err(|error| {
            if let Some(shown) = trust.shown() {
                return JoinError::OtherCluster { url: url(), shown, expected: token.ca.clone() };
            }
            let certificate = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match certificate {
                Some(rustls::Error::InvalidCertificate(why)) => {
                    JoinError::Certificate { url: url(), why: format!("{why:?}") }
                }
                _ => passing(error.to_string()),
            }
        })
    }

    fn request(&self, token: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
        bearer.set_sensitive(true);
        Request::post(SERVERS)
            .header(HOST, join_host(&self.host, self.port))
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
    }
}

fn client_config(trust: Arc<Trust>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(trust).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// `host:port`, with brackets around an address that has colons itself.
pub fn join_host(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Takes `host:port` apart. The port is not 0, and the host is one that others can connect to.
pub fn host_and_port(address: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{address:?} is not of the form HOST:PORT");
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() || bare.contains(':') != host.starts_with('[') || bare.len() > 253 {
        return Err(wrong());
    }
    match bare.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_unspecified() => {
            Err(format!("{address} is no address that others can connect to: say which with --advertise HOST:PORT"))
        }
        Ok(_) => Ok((bare.to_owned(), port)),
        Err(_) if ServerName::try_from(bare.to_owned()).is_ok() => Ok((bare.to_owned(), port)),
        Err(_) => Err(wrong()),
    }
}

/// What a server may be called: an RFC 1123 label.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| plain(*byte));
    let bytes = name.as_bytes();
    let holds = (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
        && edge(bytes.first())
        && edge(bytes.last());
    if holds {
        return Ok(());
    }
    Err(format!(
        "the name {name:?} is none that a server may have: up to 63 small letters, digits and dashes, with a letter or digit at both ends"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_others_can_connect_to() {
        let check = |address: &str, expected: Option<(&str, u16)>| {
            let found = host_and_port(address).ok();
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{address}");
        };
        check("10.0.0.1:6443", Some(("10.0.0.1", 6443)));
        check("a.example:6443", Some(("a.example", 6443)));
        check("[fd00::1]:6443", Some(("fd00::1", 6443)));
        check("fd00::1:6443", None);
        check("a.example", None);
        check("a.example:0", None);
        check(":6443", None);
        check("a b:6443", None);
        check("0.0.0.0:6443", None);
        check("[::]:6443", None);
        let refused = host_and_port("0.0.0.0:6443").expect_err("a refusal");
        assert!(refused.contains("--advertise"), "{refused}");
    }

    #[test]
    fn a_name_is_a_label() {
        let check = |name: &str, expected: bool| assert_eq!(check_name(name).is_ok(), expected, "{name:?}");
        check("laptop-3f2a", true);
        check("1", true);
        check("", false);
        check("A", false);
        check("a.b", false);
        check("-a", false);
        check("a-", false);
        check(&"a".repeat(64), false);
    }

    #[test]
    fn refusals_say_what_to_do_and_what_may_pass_is_tried_again() {
        let body = |message: &str| serde_json::json!({ "message": message }).to_string().into_bytes();
        let check = |code: u16, message: &str, passing: bool, part: &str| {
            let status = StatusCode::from_u16(code).expect("a code");
            let error = told("https://a:1", status, &body(message));
            assert_eq!(matches!(error, JoinError::Passing { .. }), passing, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        check(401, "Unauthorized: the token has expired", false, "pal token create --role server");
        check(403, "this token lets a node join", false, "lets a node join");
        check(409, "taken", false, "taken");
        check(503, "there is no leader", true, "no leader");
        check(429, "wait", true, "wait");
        let error = told("https://a:1", StatusCode::BAD_GATEWAY, b"<html>");
        assert!(error.to_string().contains("502"), "{error}");
    }
}
