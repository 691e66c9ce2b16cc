//! Connections to a server: a TLS stream, and an API client over it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderValue, Uri, header};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::NodeError;

/// How long a connection may take to come up.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The protocols of the API.
pub(crate) const API_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl ServerAddress {
    /// Reads `https://host[:port]`.
    pub(crate) fn parse(url: &str) -> Result<Self, NodeError> {
        let wrong = |why: &str| NodeError::ServerUrl { url: url.to_owned(), why: why.to_owned() };
        let parsed = url::Url::parse(url).map_err(|e| wrong(&e.to_string()))?;
        if parsed.scheme() != "https" {
            return Err(wrong("it must begin with https://"));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("it has no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: parsed.port().unwrap_or(6443) })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Opens a TLS connection.
pub(crate) async fn connect(address: &ServerAddress, tls: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time");
    let dial = async {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(address.host.clone()).map_err(std::io::Error::other)?;
        TlsConnector::from(tls).connect(name, stream).await
    };
    tokio::time::timeout(CONNECT_LIMIT, dial).await.map_err(late)?
}

/// A client of the API at that address.
pub(crate) fn api_client(
    address: &ServerAddress,
    tls: Arc<ClientConfig>,
    bearer: Option<&str>,
) -> Result<kube::Client, NodeError> {
    let wrong = |why: String| NodeError::ServerUrl { url: address.authority(), why };
    let authority: http::uri::Authority =
        address.authority().parse().map_err(|e: http::uri::InvalidUri| wrong(e.to_string()))?;
    let bearer = match bearer {
        Some(token) => {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| wrong(e.to_string()))?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let connector = Connector { address: address.clone(), tls };
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_initial_stream_window_size(4 << 20)
        .http2_initial_connection_window_size(16 << 20)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .http2_keep_alive_timeout(Duration::from_secs(5))
        .http2_keep_alive_while_idle(true)
        .build::<_, kube::client::Body>(connector);
    let service = tower::service_fn(move |mut request: http::Request<kube::client::Body>| {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTPS);
        parts.authority = Some(authority.clone());
        if let Some(bearer) = &bearer {
            request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        }
        request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static("pal-node"));
        let client = client.clone();
        async move {
            *request.uri_mut() = Uri::from_parts(parts)?;
            client.request(request).await.map_err(tower::BoxError::from)
        }
    });
    Ok(kube::Client::new(service, "default"))
}

/// Dials for hyper.
#[derive(Clone)]
struct Connector {
    address: ServerAddress,
    tls: Arc<ClientConfig>,
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Stream, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, tls } = self.clone();
        Box::pin(async move { Ok(Stream(TokioIo::new(connect(&address, tls).await?))) })
    }
}

/// A TLS stream that tells hyper which protocol was agreed on.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.0.inner().get_ref().1.alpn_protocol() {
            Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<(&str, u16, &str), &str>) {
        match (ServerAddress::parse(url), expected) {
            (Ok(a), Ok((host, port, authority))) => {
                assert_eq!((a.host.as_str(), a.port, a.authority().as_str()), (host, port, authority));
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{url}: {got:?}"),
        }
    }

    #[test]
    fn a_server_is_named_by_an_https_url() {
        check("https://10.0.0.1:7443", Ok(("10.0.0.1", 7443, "10.0.0.1:7443")));
        check("https://edge.example", Ok(("edge.example", 6443, "edge.example:6443")));
        check("https://[::1]:6443/", Ok(("::1", 6443, "[::1]:6443")));
        check("http://10.0.0.1:6443", Err("https://"));
        check("10.0.0.1:6443", Err("10.0.0.1:6443"));
    }
}
