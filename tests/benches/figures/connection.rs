//! Connections of HTTP/1.1 over TLS to the API, as many as a load wants.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt;
use pal_tests::Cluster;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A table instead of a list, as kubectl asks for it.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Where a cluster's API is, and how to get in.
#[derive(Clone)]
pub struct Entrance {
    connector: TlsConnector,
    authority: String,
}

/// One connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Entrance {
    pub async fn of(cluster: &Cluster) -> Self {
        Self::by(&cluster.kubeconfig()).await
    }

    /// The cluster of a kubeconfig.
    pub async fn by(kubeconfig: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .await
            .expect("a usable kubeconfig");
        let mut tls = config.rustls_client_config().expect("TLS");
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let authority = config.cluster_url.authority().expect("an address").to_string();
        Self { connector: TlsConnector::from(Arc::new(tls)), authority }
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A connection for that protocol, by its name in TLS.
    pub async fn stream(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut tls = rustls::ClientConfig::clone(self.connector.config());
        tls.alpn_protocols = vec![protocol.to_vec()];
        secured(&TlsConnector::from(Arc::new(tls)), &self.authority).await
    }

    pub async fn open(&self) -> Connection {
        let stream = secured(&self.connector, &self.authority).await;
        let (sender, connection) = handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        Connection { sender, authority: self.authority.clone() }
    }
}

async fn secured(connector: &TlsConnector, authority: &str) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(authority).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    connector.connect(name, stream).await.expect("TLS")
}

impl Connection {
    /// Creates an object; whether that went well.
    pub async fn create(&mut self, path: &str, body: String) -> bool {
        let request = Request::post(path).header("host", &self.authority).header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        if self.sender.ready().await.is_err() {
            return false;
        }
        let Ok(response) = self.sender.send_request(request).await else { return false };
        let good = response.status() == StatusCode::CREATED;
        response.into_body().collect().await.is_ok() && good
    }

    /// Asks for something; its head is there, its body to be read.
    pub async fn begin(&mut self, path: &str, accept: &str) -> Response<Incoming> {
        let request = Request::get(path).header("host", &self.authority).header("accept", accept);
        let request = request.body(Full::default()).expect("a request");
        self.sender.ready().await.expect("the connection goes on");
        let response = self.sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response
    }

    /// The size of what is there, in bytes. It is not kept.
    pub async fn size(&mut self, path: &str, accept: &str) -> usize {
        let mut body = self.begin(path, accept).await.into_body();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            size += frame.expect("the rest of an answer").data_ref().map_or(0, Bytes::len);
        }
        size
    }
}
