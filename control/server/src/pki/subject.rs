//! Who a client certificate names.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

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
