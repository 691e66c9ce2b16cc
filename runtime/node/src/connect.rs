//! Where a server is, and a TLS connection to it.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::NodeError;

/// How long a connection may take to come up.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    /// As `https://host:port`.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// As `host:port`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Opens a TLS connection within that time.
pub(crate) async fn connect(
    address: &ServerAddress,
    tls: Arc<ClientConfig>,
    limit: Duration,
) -> std::io::Result<TlsStream<TcpStream>> {
    let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time");
    let dial = async {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(address.host.clone()).map_err(std::io::Error::other)?;
        TlsConnector::from(tls).connect(name, stream).await
    };
    tokio::time::timeout(limit, dial).await.map_err(late)?
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
