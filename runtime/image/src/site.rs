//! Where registries are, and what can go wrong on the way to one.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// How long a registry may take to answer.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Where the cluster's servers are: each as `https://10.0.0.1:6443`, without a path, best first. They may change.
#[derive(Clone)]
pub struct Urls(Arc<dyn Fn() -> Vec<String> + Send + Sync>);

impl Urls {
    /// What `urls` returns at each request.
    pub fn new(urls: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(urls))
    }

    /// Those of now.
    pub(crate) fn now(&self) -> Vec<String> {
        (self.0)()
    }

    /// Always these.
    pub fn fixed(urls: Vec<String>) -> Self {
        Self::new(move || urls.clone())
    }
}

impl std::fmt::Debug for Urls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.now()).finish()
    }
}

/// The cluster's own registry, which `pal.local` means. Every server has all of it: the first that answers is asked.
#[derive(Clone, Debug)]
pub struct ClusterRegistry {
    pub urls: Urls,
    /// How to trust the server and, for a node, how to show oneself to it.
    pub tls: Arc<rustls::ClientConfig>,
    /// A bearer token, for who has no certificate.
    pub bearer: Option<String>,
}

/// What can go wrong on the way to a registry.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no cluster registry is configured here, so {0} names nothing")]
    NoCluster(String),
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("{url} gave no answer within {} s", ANSWER_LIMIT.as_secs())]
    Timeout { url: String },
    #[error("{url}: not found")]
    NotFound { url: String },
    #[error("{url}: access denied ({status})")]
    Denied { url: String, status: StatusCode },
    #[error("{url} answered {status}: {body}")]
    Unexpected { url: String, status: StatusCode, body: String },
}

impl ClientError {
    /// Whether the fault is that server's, so that another of the cluster's may do better.
    pub(crate) fn is_the_servers(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Unexpected { status, .. } => status.is_server_error(),
            Self::NoCluster(_) | Self::NotFound { .. } | Self::Denied { .. } => false,
        }
    }
}
