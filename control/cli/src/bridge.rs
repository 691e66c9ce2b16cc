//! Where a crate of one tree needs something that another provides: adapters, with no decisions in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use pal_controllers::autoscaler::{ContainerUsage, PodUsage};
use pal_controllers::{
    AccountToken, CertificateSigner, CsrSubject, NodeLiveness, PodMetrics, TokenSigner, VolumeDirectories,
};
use pal_image::{Origin, RegistryV2, Siblings};
use pal_server::auth::{LegacyClaims, TokenKey};
use pal_server::{Body, BoxError, ClusterCa, Mounted, Peers, PodUsed, Tunnels};
use tokio::sync::watch;

/// The server's view of which nodes are connected, for the controllers.
pub struct Liveness {
    pub tunnels: Arc<Tunnels>,
    /// When the controllers began to look: nobody has been silent for longer than that.
    pub since: Instant,
}

impl NodeLiveness for Liveness {
    fn last_seen(&self, node: &str) -> Option<Instant> {
        self.tunnels.last_seen(node).map(|seen| seen.max(self.since))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.tunnels.changed()
    }
}

/// The server's certificate authority, for the controllers.
pub struct Signer(pub Arc<ClusterCa>);

impl CertificateSigner for Signer {
    fn sign(&self, csr_pem: &[u8], signer_name: &str, seconds: i64) -> Result<String, String> {
        self.0.sign(csr_pem, signer_name, seconds, SystemTime::now()).map_err(|error| error.to_string())
    }

    fn subject(&self, csr_pem: &[u8]) -> Result<CsrSubject, String> {
        let subject = ClusterCa::subject(csr_pem).map_err(|error| error.to_string())?;
        if subject.other_names > 0 {
            return Err("the request names the subject in a way that no certificate here may".to_owned());
        }
        Ok(CsrSubject {
            common_name: subject.common_name,
            organizations: subject.organizations,
            dns: subject.dns,
            ips: subject.ips,
        })
    }
}

impl TokenSigner for Signer {
    fn sign(&self, token: AccountToken) -> Result<String, String> {
        let AccountToken { namespace, secret, account, uid } = token;
        let key = self.0.service_account_key().map_err(|error| error.to_string())?;
        TokenKey::from_pkcs8(&key)?.issue_legacy(LegacyClaims { namespace, secret, account, uid })
    }
}

/// What pods use, as the server hears it from the nodes.
pub struct Metrics(pub pal_server::Usage);

impl PodMetrics for Metrics {
    fn usage(&self, namespace: &str, pods: Vec<(String, String)>) -> BoxFuture<'static, BTreeMap<String, PodUsage>> {
        let (usage, namespace) = (self.0.clone(), namespace.to_owned());
        Box::pin(async move {
            let used = |used: PodUsed| {
                let container = |(name, cpu_nanos, memory_bytes)| ContainerUsage { name, cpu_nanos, memory_bytes };
                let containers = used.containers.into_iter().map(container).collect();
                let window = Duration::try_from_secs_f64(used.window_seconds).unwrap_or_default();
                (used.pod, PodUsage { at: used.at, window, containers })
            };
            usage.pods(&namespace, pods).await.into_iter().map(used).collect()
        })
    }
}

/// Directories of nodes that are volumes, for the controllers.
pub struct Directories(pub pal_server::Directories);

impl VolumeDirectories for Directories {
    fn make(&self, node: &str, volume: &str) -> BoxFuture<'static, Result<String, String>> {
        let (nodes, node, volume) = (self.0.clone(), node.to_owned(), volume.to_owned());
        Box::pin(async move { nodes.make(&node, &volume).await })
    }

    fn remove(&self, node: &str, volume: &str) -> BoxFuture<'static, Result<(), String>> {
        let (nodes, node, volume) = (self.0.clone(), node.to_owned(), volume.to_owned());
        Box::pin(async move { nodes.remove(&node, &volume).await })
    }
}

/// What the controllers count, for who asks the server.
pub struct Counted(pub Arc<pal_controllers::Figures>);

impl pal_server::Figures for Counted {
    fn told(&self, text: &mut String) {
        self.0.told(text);
    }
}

/// The image registries of the other servers.
pub struct OtherRegistries(pub Arc<Peers>);

impl Siblings for OtherRegistries {
    fn others(&self) -> Vec<String> {
        self.0.others().into_iter().map(|member| member.id.to_string()).collect()
    }

    fn ask(&self, sibling: &str, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let (peers, id) = (self.0.clone(), sibling.parse());
        Box::pin(async move {
            let answer = peers.send(id?, request).await?;
            Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync()))
        })
    }
}

/// The cluster's image registry, mounted into the server.
pub struct Images(pub RegistryV2);

impl Mounted for Images {
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let registry = self.0.clone();
        // The server put the user there whom it has authenticated.
        let server = request
            .extensions()
            .get::<Arc<pal_server::auth::User>>()
            .is_some_and(|user| user.is_in(pal_server::pki::SERVERS));
        let origin = if server { Origin::Server } else { Origin::Client };
        Box::pin(async move { registry.call(origin, request).await })
    }
}
