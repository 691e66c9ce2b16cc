//! What the controllers need of the rest of the house beside the registry: whether a node's connection lives, and who
//! signs certificates and tokens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use tokio::sync::watch;

use crate::autoscaler::PodUsage;

/// Which nodes are connected. The server's tunnels implement it.
pub trait NodeLiveness: Send + Sync {
    /// When the node's connection last was alive; `None` when this server never saw it.
    fn last_seen(&self, node: &str) -> Option<Instant>;

    /// Ticks whenever a node connects or goes.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// Whom a certificate signing request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsrSubject {
    pub common_name: String,
    pub organizations: Vec<String>,
    /// DNS names among the subject's alternative names.
    pub dns: Vec<String>,
    /// IP addresses among the subject's alternative names, as text.
    pub ips: Vec<String>,
}

/// The cluster's certificate authority.
pub trait CertificateSigner: Send + Sync {
    /// The signed certificate as PEM, its chain after it. `seconds` is how long it should be valid.
    fn sign(&self, csr_pem: &[u8], signer_name: &str, seconds: i64) -> Result<String, String>;

    /// Whom the request names; an error when it is no request or its signature does not hold.
    fn subject(&self, csr_pem: &[u8]) -> Result<CsrSubject, String>;
}

/// A token that lies in a Secret: whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountToken {
    pub namespace: String,
    pub secret: String,
    pub account: String,
    pub uid: String,
}

/// Who signs the tokens of service accounts.
pub trait TokenSigner: Send + Sync {
    /// The token; an error says why there is none.
    fn sign(&self, token: AccountToken) -> Result<String, String>;
}

/// What pods use, as their nodes tell.
pub trait PodMetrics: Send + Sync {
    /// What the given pods of a namespace use, each named with its node; those of which nothing is told are left out.
    fn usage(&self, namespace: &str, pods: Vec<(String, String)>) -> BoxFuture<'static, BTreeMap<String, PodUsage>>;
}

/// Volumes that are directories of nodes, which make and remove them.
pub trait VolumeDirectories: Send + Sync {
    /// Makes the directory of a volume on a node, if it is not there: its path. An error says why there is none.
    fn make(&self, node: &str, volume: &str) -> BoxFuture<'static, Result<String, String>>;

    /// Removes it with all that is in it, if it is there.
    fn remove(&self, node: &str, volume: &str) -> BoxFuture<'static, Result<(), String>>;
}

/// How the controllers behave. All durations have defaults that suit a cluster in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a node's connection may be gone before the node is not ready.
    pub node_grace: Duration,
    /// The same for a node that this server has not seen yet, counted from when the controllers started or the node
    /// was created, whichever is later.
    pub node_first_contact: Duration,
    /// How long a deleted pod on a dead node is left before it is removed without the node's word.
    pub dead_pod_removal: Duration,
    /// How long a pod may name a node that does not exist.
    pub orphan_pod_removal: Duration,
    /// How long a signed certificate is valid when its request does not say.
    pub certificate_validity: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            node_grace: Duration::from_secs(6),
            node_first_contact: Duration::from_secs(20),
            dead_pod_removal: Duration::from_secs(10),
            orphan_pod_removal: Duration::from_secs(40),
            certificate_validity: Duration::from_secs(365 * 24 * 3600),
        }
    }
}
