//! How connections are encrypted, and which certificate is shown.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::pki::{ClusterCa, Identity, PkiError};
use crate::tunnel;

/// The certificate that is shown, which can be replaced while the server runs.
#[derive(Debug)]
pub(crate) struct Serving(RwLock<Arc<CertifiedKey>>);

impl Serving {
    pub(crate) fn new(identity: Identity, ca: &ClusterCa) -> Result<Arc<Self>, PkiError> {
        Ok(Arc::new(Self(RwLock::new(identity.certified_key(ca.root())?))))
    }

    pub(crate) fn replace(&self, identity: Identity, ca: &ClusterCa) -> Result<(), PkiError> {
        let key = identity.certified_key(ca.root())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// TLS for the API and for node tunnels. Client certificates are optional, and verified when they come.
pub(crate) fn config(ca: &ClusterCa, serving: Arc<Serving>) -> Result<ServerConfig, PkiError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.root().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(serving);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), tunnel::ALPN.to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(config)
}
