//! What a server is told when it starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::{Access, AuditConfig, Body, PeerLinks, Peers};

/// The version of Kubernetes whose API this is, as `kubectl version` prints it.
pub const VERSION: &str = "v1.36.2+pal";

/// A handler for all paths below a prefix.
#[derive(Clone)]
pub struct Mount {
    /// As `/v2/`, with the slash.
    pub prefix: String,
    pub handler: Arc<dyn Mounted>,
}

/// Something else that is served on the API's port. It is called for requests that were authenticated and allowed.
pub trait Mounted: Send + Sync {
    /// Answers one request.
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>>;
}

/// Somebody who counts.
pub trait Figures: Send + Sync {
    /// Adds what was counted, in the text form that Prometheus reads.
    fn told(&self, text: &mut String);
}

/// Where and how the API is served.
#[derive(Clone)]
pub struct ServerConfig {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names and addresses under which clients reach the server, beside those it knows itself.
    pub advertise: Vec<String>,
    /// Keys and certificates are kept in `pki` below it.
    pub data_dir: PathBuf,
    /// `gitVersion`.
    pub version: String,
    /// Connections at once; others wait to be accepted. When three quarters are taken, those give way that are not used.
    /// Clients without a certificate get at most half of them.
    pub max_connections: usize,
    /// A connection of a client without a certificate is closed when it is not used for this long.
    pub stranger_idle: Duration,
    /// Requests at once beside watches and logs, of all but nodes, which have half as many of their own. No client gets more
    /// than three quarters; others wait a little and are then told to come again.
    pub max_requests: usize,
    /// Watches and log streams at once, shared in the same way.
    pub max_streams: usize,
    /// Mebibytes of answers that are made and not yet read, shared in the same way. Who reads none of its large answers gets no
    /// more of them, and keeps nobody else from any.
    pub max_answers_mib: usize,
    /// A request that is not a stream is answered within this time.
    pub request_timeout: Duration,
    /// The answer to the creation of a CustomResourceDefinition waits so long, at most, for the resource to be served.
    pub definition_wait: Duration,
    pub mounts: Vec<Mount>,
    /// The options that the server was started with, as `/flagz` tells them.
    pub flags: BTreeMap<String, String>,
    /// Who else in this process has something to tell at `/metrics`.
    pub figures: Vec<Arc<dyn Figures>>,
    /// Who may come in beside those whom the cluster knows by itself.
    pub access: Access,
    /// What is told of requests; nothing without.
    pub audit: Option<AuditConfig>,
    /// The store's way to the other servers, which gets its certificate from here; none for a server that stays alone.
    pub links: Option<Arc<PeerLinks>>,
    /// The way to the other servers' API; none for a server that stays alone.
    pub peers: Option<Arc<Peers>>,
}

impl ServerConfig {
    /// The defaults for a server that listens on `listen` and keeps its keys in `data_dir`.
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            advertise: Vec::new(),
            data_dir: data_dir.into(),
            version: VERSION.to_owned(),
            max_connections: 8_192,
            stranger_idle: Duration::from_secs(30),
            max_requests: 600,
            max_streams: 10_000,
            max_answers_mib: 512,
            request_timeout: Duration::from_secs(60),
            definition_wait: Duration::from_secs(5),
            mounts: Vec::new(),
            flags: BTreeMap::new(),
            figures: Vec::new(),
            access: Access::default(),
            audit: None,
            links: None,
            peers: None,
        }
    }
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("advertise", &self.advertise)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}
