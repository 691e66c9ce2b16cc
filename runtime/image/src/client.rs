//! The OCI distribution protocol, from the client's side.
//!
//! The crate `oci-client` is not used because it cannot present a client certificate, which is how a node shows itself
//! to the cluster's registry; this is the small part of the protocol that pulling and pushing one artifact need.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::artifact::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST};
use crate::lead;
use crate::reference::Reference;
use crate::site::{ANSWER_LIMIT, ClientError, ClusterRegistry};

/// How long a server of the cluster may take to accept a connection: there may be another.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Speaks to registries: the cluster's and others.
#[derive(Clone)]
pub struct RegistryClient {
    cluster: Option<(ClusterRegistry, Https)>,
    public: Https,
    plain_http: Arc<[String]>,
    /// The server of the cluster that answered last.
    answered: Arc<std::sync::Mutex<Option<String>>>,
    /// Anonymous tokens by host and repository.
    tokens: Arc<Mutex<HashMap<String, String>>>,
}

/// Where a registry is and how to speak to it.
struct Site<'a> {
    base: String,
    client: &'a Https,
    bearer: Option<&'a str>,
}

impl RegistryClient {
    /// A client. `plain_http` names hosts (with ports) that are spoken to without TLS, beside those of the loopback.
    /// Fails where the system's root certificates cannot be read.
    pub fn new(cluster: Option<ClusterRegistry>, plain_http: Vec<String>) -> Result<Self, ClientError> {
        let cluster = cluster.map(|cluster| {
            let mut tls = (*cluster.tls).clone();
            // The connector offers the protocols that it speaks, whatever the configuration was made for.
            tls.alpn_protocols.clear();
            let mut http = HttpConnector::new();
            http.enforce_http(false);
            http.set_connect_timeout(Some(CONNECT_LIMIT));
            let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
            let connector = connector.wrap_connector(http);
            (cluster, pooled(connector))
        });
        let provider = rustls::crypto::ring::default_provider();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_secs(10)));
        let public = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| ClientError::Unreachable {
                url: "any registry".to_owned(),
                why: format!("the system's root certificates cannot be read: {error}"),
            })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let (answered, tokens) = (Arc::default(), Arc::default());
        Ok(Self { cluster, public: pooled(public), plain_http: plain_http.into(), answered, tokens })
    }

    /// Whether `pal.local` means something.
    pub(crate) fn has_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// Fetches a manifest or index by the reference's digest or tag.
    pub(crate) async fn manifest(&self, reference: &Reference, selector: &str) -> Result<Bytes, ClientError> {
        let path = format!("manifests/{selector}");
        let mut headers = HeaderMap::new();
        let accept = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
        if let Ok(value) = HeaderValue::from_str(&accept) {
            headers.insert(header::ACCEPT, value);
        }
        let (url, response) = self.call(reference, Method::GET, &path, headers, Bytes::new()).await?;
        let body = Limited::new(response.into_body(), DOCUMENT_BYTES).collect();
        match timeout(ANSWER_LIMIT, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(ClientError::Unreachable { url, why: error.to_string() }),
            Err(_) => Err(ClientError::Timeout { url }),
        }
    }

    /// Asks for something below `/v2/<repository>/`, of the cluster's servers the first that answers.
    pub(crate) async fn call(
        &self,
        reference: &Reference,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(String, Response<Incoming>), ClientError> {
        let mut last = None;
        for base in self.bases(reference)? {
            let site = self.site(reference, base)?;
            match self.call_at(&site, reference, &method, path, &headers, body.clone()).await {
                Err(error) if reference.in_cluster() && error.is_the_servers() => last = Some(error),
                outcome => {
                    if reference.in_cluster() {
                        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(site.base);
                    }
                    return outcome;
                }
            }
        }
        Err(last.unwrap_or_else(|| ClientError::NoCluster(reference.to_string())))
    }

    /// Asks one registry, with a token where it wants one, following redirects.
    async fn call_at(
        &self,
        site: &Site<'_>,
        reference: &Reference,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(String, Response<Incoming>), ClientError> {
        let url = format!("{}/v2/{}/{path}", site.base, reference.repository());
        let scope = format!("{}/{}", reference.host(), reference.repository());
        let mut token = match site.bearer {
            Some(token) => Some(token.to_owned()),
            None => self.tokens.lock().await.get(&scope).cloned(),
        };
        let mut target = url.clone();
        for _ in 0..5 {
            let response = send(site.client, method, &target, headers, token.as_deref(), body.clone()).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && site.bearer.is_none() && !reference.in_cluster() {
                let challenge = response.headers().get(header::WWW_AUTHENTICATE).and_then(|v| v.to_str().ok());
                let Some(challenge) = challenge.map(str::to_owned) else {
                    return Err(ClientError::Denied { url, status });
                };
                let fresh = self.anonymous_token(site, &challenge).await?;
                if token.replace(fresh.clone()) == Some(fresh.clone()) {
                    return Err(ClientError::Denied { url, status });
                }
                self.tokens.lock().await.insert(scope.clone(), fresh);
                continue;
            }
            if status.is_redirection()
                && let Some(next) = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok())
            {
                target = absolute(&site.base, next);
                led(site, &target).await?;
                // The storage behind a registry is another host, which must not see the token.
                token = token.filter(|_| lead::same_authority(&target, &site.base));
                continue;
            }
            return checked(url, response, lead::same_authority(&target, &site.base)).await;
        }
        Err(ClientError::Unreachable { url, why: "too many redirects".to_owned() })
    }

    /// Where a reference's registry may be, in the order in which to ask.
    fn bases(&self, reference: &Reference) -> Result<Vec<String>, ClientError> {
        if reference.in_cluster() {
            let (cluster, _) = self.cluster.as_ref().ok_or_else(|| ClientError::NoCluster(reference.to_string()))?;
            let mut bases: Vec<String> =
                cluster.urls.now().iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
            let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(at) = bases.iter().position(|base| Some(base) == answered.as_ref()) {
                bases.rotate_left(at);
            }
            return Ok(bases);
        }
        let host = match reference.host() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let plain = name == "localhost" || name.starts_with("127.") || self.plain_http.iter().any(|h| h == host);
        let scheme = if plain { "http" } else { "https" };
        Ok(vec![format!("{scheme}://{host}")])
    }

    fn site(&self, reference: &Reference, base: String) -> Result<Site<'_>, ClientError> {
        if !reference.in_cluster() {
            return Ok(Site { base, client: &self.public, bearer: None });
        }
        let (cluster, client) = self.cluster.as_ref().ok_or_else(|| ClientError::NoCluster(reference.to_string()))?;
        Ok(Site { base, client, bearer: cluster.bearer.as_deref() })
    }

    /// Answers a `Bearer realm=…,service=…,scope=…` challenge without credentials (distribution spec, token auth).
    async fn anonymous_token(&self, site: &Site<'_>, challenge: &str) -> Result<String, ClientError> {
        let url = token_url(challenge)
            .ok_or_else(|| ClientError::Denied { url: challenge.to_owned(), status: StatusCode::UNAUTHORIZED })?;
        led(site, &url).await?;
        let response = send(&self.public, &Method::GET, &url, &HeaderMap::new(), None, Bytes::new()).await?;
        let shown = lead::same_authority(&url, &site.base);
        let (url, response) = checked(url, response, shown).await?;
        let unreachable = |why: String| ClientError::Unreachable { url: url.clone(), why };
        let body = timeout(ANSWER_LIMIT, Limited::new(response.into_body(), DOCUMENT_BYTES).collect())
            .await
            .map_err(|_| ClientError::Timeout { url: url.clone() })?
            .map_err(|error| unreachable(error.to_string()))?
            .to_bytes();
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| unreachable(error.to_string()))?;
        answer.token.or(answer.access_token).ok_or_else(|| unreachable("the answer holds no token".to_owned()))
    }
}

fn pooled(connector: HttpsConnector<HttpConnector>) -> Https {
    Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector)
}

async fn send(
    client: &Https,
    method: &Method,
    url: &str,
    headers: &HeaderMap,
    token: Option<&str>,
    body: Bytes,
) -> Result<Response<Incoming>, ClientError> {
    let unreachable = |why: String| ClientError::Unreachable { url: url.to_owned(), why };
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .header(header::USER_AGENT, "palinurus")
        .body(Full::new(body))
        .map_err(|error| unreachable(error.to_string()))?;
    match timeout(ANSWER_LIMIT, client.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(unreachable(root_cause(&error))),
        Err(_) => Err(ClientError::Timeout { url: url.to_owned() }),
    }
}

async fn led(site: &Site<'_>, target: &str) -> Result<(), ClientError> {
    lead::check(&site.base, target).await.map_err(|why| ClientError::Unreachable { url: target.to_owned(), why })
}

/// The answer, if it is a good one. `shown` says whether an error may hold its text: what a host says to which the registry
/// led is shown to nobody.
async fn checked(
    url: String,
    response: Response<Incoming>,
    shown: bool,
) -> Result<(String, Response<Incoming>), ClientError> {
    match response.status() {
        status if status.is_success() => Ok((url, response)),
        StatusCode::NOT_FOUND => Err(ClientError::NotFound { url }),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(ClientError::Denied { url, status }),
        status if !shown => Err(ClientError::Unexpected { url, status, body: String::new() }),
        status => {
            let body = timeout(ANSWER_LIMIT, Limited::new(response.into_body(), 4096).collect()).await;
            let body = body.ok().and_then(Result::ok).map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned());
            Err(ClientError::Unexpected { url, status, body: body.unwrap_or_default() })
        }
    }
}

/// The innermost cause: hyper's own text says only that connecting failed. Where it points to a library's manual, it goes
/// without.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    text.split_once(": https://docs.rs/").map_or(text.as_str(), |(words, _)| words).to_owned()
}

fn absolute(base: &str, location: &str) -> String {
    if location.starts_with('/') { format!("{base}{location}") } else { location.to_owned() }
}

/// The URL at which the challenge's token is to be had.
fn token_url(challenge: &str) -> Option<String> {
    let parameters = challenge.strip_prefix("Bearer ").or_else(|| challenge.strip_prefix("bearer "))?;
    let mut realm = None;
    let mut query = Vec::new();
    for part in parameters.split("\",") {
        let (name, value) = part.trim().split_once('=')?;
        let value = value.trim_matches('"');
        match name {
            "realm" => realm = Some(value),
            "service" | "scope" => query.push(format!("{name}={}", value.replace(' ', "%20"))),
            _ => {}
        }
    }
    Some(format!("{}?{}", realm?, query.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_without_where_a_library_explains_it() {
        let check = |text: &str, expected: &str| {
            let inner = std::io::Error::other(text.to_owned());
            assert_eq!(root_cause(&ClientErrorAround(inner)), expected);
        };
        check("peer closed connection: https://docs.rs/rustls/latest/manual/#eof", "peer closed connection");
        check("Connection refused (os error 111)", "Connection refused (os error 111)");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("client error")]
    struct ClientErrorAround(#[source] std::io::Error);

    #[test]
    fn a_challenge_names_where_its_token_is() {
        let check = |challenge: &str, expected: Option<&str>| {
            assert_eq!(token_url(challenge).as_deref(), expected, "{challenge}");
        };
        check(
            r#"Bearer realm="https://a.example/token",service="a.example",scope="repository:x/y:pull,push""#,
            Some("https://a.example/token?service=a.example&scope=repository:x/y:pull,push"),
        );
        check(r#"Bearer service="a""#, None);
        check(r#"Basic realm="x""#, None);
    }
}
