//! One server's API as a client with the administrator's certificate sees it: HTTPS, and whether a request that failed can
//! have been carried out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// So much is read from a socket at once.
const READ: usize = 32 * 1024;

/// A connection of TLS.
pub type Secured = TlsStream<BufReader<TcpStream>>;

/// Where an API is, and how a client shows itself there.
#[derive(Clone)]
pub struct Access {
    authority: String,
    name: ServerName<'static>,
    connector: TlsConnector,
}

/// A client with one connection at most, which is made when it is needed. Dropped, it ends.
pub struct Api {
    access: Access,
    sender: Option<SendRequest<Full<Bytes>>>,
    connections: JoinSet<()>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The request was never sent.
    NotSent(String),
    /// It may have been carried out, or may yet be.
    Unknown(String),
}

/// An answer that was read to its end.
#[derive(Clone, Debug)]
pub struct Json {
    pub status: StatusCode,
    pub value: Value,
}

/// A watch's events as they come.
pub struct Stream {
    body: Incoming,
    buffer: BytesMut,
    _connection: JoinSet<()>,
}

/// Why there is no next event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEvent {
    /// Nothing came within the time.
    Quiet,
    /// The stream has ended, or broke.
    Ended(String),
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Unknown(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl Access {
    /// The cluster of a kubeconfig, at the address that it names.
    pub async fn from_kubeconfig(file: &Path) -> Result<Self, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(file).map_err(|error| error.to_string())?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .await
            .map_err(|error| error.to_string())?;
        let authority = config.cluster_url.authority().ok_or("the kubeconfig names no address")?;
        let name = ServerName::try_from(authority.host().to_owned()).map_err(|error| error.to_string())?;
        let mut tls = config.rustls_client_config().map_err(|error| error.to_string())?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { authority: authority.to_string(), name, connector: TlsConnector::from(Arc::new(tls)) })
    }

    /// The address, as `127.0.0.1:6443`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A client that has not connected yet.
    pub fn api(&self) -> Api {
        Api { access: self.clone(), sender: None, connections: JoinSet::new() }
    }

    /// Starts a watch: the stream, or the answer where it is refused.
    pub async fn watch(&self, path: &str, limit: Duration) -> Result<Result<Stream, Json>, NoAnswer> {
        let mut connections = JoinSet::new();
        let mut sender = self.connect(&mut connections).await.map_err(NoAnswer::NotSent)?;
        let begin = async {
            let request = self.request(Method::GET, path, None)?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            if response.status() == StatusCode::OK {
                return Ok(Ok(response.into_body()));
            }
            read(response).await.map(Err)
        };
        match tokio::time::timeout(limit, begin).await {
            Ok(Ok(Ok(body))) => Ok(Ok(Stream { body, buffer: BytesMut::new(), _connection: connections })),
            Ok(Ok(Err(refused))) => Ok(Err(refused)),
            Ok(Err(error)) => Err(NoAnswer::Unknown(error)),
            Err(_) => Err(NoAnswer::Unknown(format!("not within {limit:?}"))),
        }
    }

    /// A connection for another protocol than HTTP, which TLS names.
    pub async fn stream(&self, protocol: &[u8]) -> Result<Secured, String> {
        let mut tls = rustls::ClientConfig::clone(self.connector.config());
        tls.alpn_protocols = vec![protocol.to_vec()];
        self.secured(&TlsConnector::from(Arc::new(tls))).await
    }

    async fn secured(&self, connector: &TlsConnector) -> Result<Secured, String> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        // rustls reads 4 KiB at a time, which would be several calls for what came together.
        let stream = BufReader::with_capacity(READ, stream);
        connector.connect(self.name.clone(), stream).await.map_err(|error| error.to_string())
    }

    async fn connect(&self, connections: &mut JoinSet<()>) -> Result<SendRequest<Full<Bytes>>, String> {
        let connect = async {
            let stream = self.secured(&self.connector).await?;
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let connected = tokio::time::timeout(CONNECT_LIMIT, connect).await;
        let (sender, connection) = connected.map_err(|_| format!("not within {CONNECT_LIMIT:?}"))??;
        connections.spawn(async move {
            // What went wrong is said to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>, String> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("content-type", kind)
            .body(Full::new(body))
            .map_err(|error| error.to_string())
    }
}

async fn read(response: hyper::Response<Incoming>) -> Result<Json, String> {
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    // What is no JSON is kept as text: it is only shown.
    let value =
        serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    Ok(Json { status, value })
}

impl Api {
    /// Sends one request and reads its answer, whatever its status.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Json, NoAnswer> {
        let request = self.access.request(method, path, body).map_err(NoAnswer::NotSent)?;
        self.send(request, limit).await
    }

    /// The same for any request; without a host it gets the server's.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>, limit: Duration) -> Result<Json, NoAnswer> {
        if let Ok(host) = self.access.authority.parse() {
            request.headers_mut().entry("host").or_insert(host);
        }
        while self.connections.try_join_next().is_some() {}
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.access.connect(&mut self.connections).await.map_err(NoAnswer::NotSent)?,
        };
        let exchange = async {
            let ready = sender.ready().await;
            ready.map_err(|error| NoAnswer::NotSent(error.to_string()))?;
            let response = sender.send_request(request).await.map_err(|error| {
                // hyper's word for a request that it never began to write.
                let sent = !error.is_canceled();
                let text = error.to_string();
                if sent { NoAnswer::Unknown(text) } else { NoAnswer::NotSent(text) }
            })?;
            read(response).await.map_err(NoAnswer::Unknown)
        };
        let answer = match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer?,
            Err(_) => return Err(NoAnswer::Unknown(format!("not within {limit:?}"))),
        };
        self.sender = Some(sender);
        Ok(answer)
    }

    /// GET, and what came; an error in words where that is not 200.
    pub async fn get(&mut self, path: &str, limit: Duration) -> Result<Value, String> {
        let answer = self.call(Method::GET, path, None, limit).await.map_err(|error| error.to_string())?;
        if answer.status == StatusCode::OK { Ok(answer.value) } else { Err(answer.to_string()) }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.value["message"].as_str().map_or_else(|| self.value.to_string(), str::to_owned);
        write!(f, "{}: {message}", self.status)
    }
}

impl Stream {
    /// The next event.
    pub async fn next(&mut self, limit: Duration) -> Result<Value, NoEvent> {
        match tokio::time::timeout(limit, self.line()).await {
            Ok(Ok(line)) => serde_json::from_slice(&line).map_err(|error| NoEvent::Ended(error.to_string())),
            Ok(Err(why)) => Err(NoEvent::Ended(why)),
            Err(_) => Err(NoEvent::Quiet),
        }
    }

    /// The next event as it came, or why there is none.
    pub async fn line(&mut self) -> Result<Bytes, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Ok(self.buffer.split_to(end + 1).freeze());
            }
            self.read().await?;
        }
    }

    /// The next events that came together, as whole lines, or why there are none.
    pub async fn lines(&mut self) -> Result<Bytes, String> {
        loop {
            if let Some(end) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                return Ok(self.buffer.split_to(end + 1).freeze());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        let frame = self.body.frame().await.ok_or("the stream has ended")?;
        let frame = frame.map_err(|error| error.to_string())?;
        if let Some(data) = frame.data_ref() {
            self.buffer.extend_from_slice(data);
        }
        Ok(())
    }
}
