//! Who a client certificate names.

use pal_store::{Peer, ServerId};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::auth::MASTERS;

/// The group (organization) of servers' certificates.
pub const SERVERS: &str = "system:servers";
/// Whose the certificate is that servers show to clients.
pub(crate) const SERVING_USER: &str = "kube-apiserver";

const SERVER_PREFIX: &str = "system:server:";

/// The user (common name) that a server is.
pub fn server_user(id: ServerId) -> String {
    format!("{SERVER_PREFIX}{id}")
}

/// The server that a user is, by its name and groups.
pub(crate) fn server_of(user: &str, groups: &[String]) -> Option<ServerId> {
    let id = user.strip_prefix(SERVER_PREFIX)?.parse().ok()?;
    groups.iter().any(|group| group == SERVERS).then_some(id)
}

/// The user (common name) and groups (organizations) of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName {
    pub user: String,
    pub groups: Vec<String>,
}

impl PeerName {
    /// The node's name when this is a node's certificate.
    pub fn node(&self) -> Option<&str> {
        let name = self.user.strip_prefix("system:node:")?;
        self.groups.iter().any(|group| group == "system:nodes").then_some(name)
    }

    /// Who this is to the store: a server, or an administrator. Others have no business there.
    pub(crate) fn store_peer(&self) -> Option<Peer> {
        let administrator =
            || self.groups.iter().any(|group| group == MASTERS).then(|| Peer::Client(self.user.clone()));
        server_of(&self.user, &self.groups).map(Peer::Server).or_else(administrator)
    }
}

/// Reads the subject of a certificate whose signature TLS has verified; `None` for one that is no name or not valid now.
pub fn peer_name(certificate: &CertificateDer<'_>) -> Option<PeerName> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    // A resumed session carries the certificate of its first handshake, which may be over by now.
    if !certificate.validity().is_valid() {
        return None;
    }
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|value| value.as_str().ok()).map(str::to_owned).collect();
    if user.is_empty() { None } else { Some(PeerName { user, groups }) }
}
