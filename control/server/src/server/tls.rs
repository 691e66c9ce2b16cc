//! How connections are encrypted, and which certificate is shown.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::pki::{ClusterCa, Identity, PkiError};
use crate::{peers, trust, tunnel};

/// The certificates that are shown, which can be replaced while the server runs.
#[derive(Debug)]
pub(crate) struct Serving(RwLock<Shown>);

#[derive(Debug, Clone)]
struct Shown {
    /// To clients and nodes: who they asked for by name.
    api: Arc<CertifiedKey>,
    /// To other servers, and to tools that speak as they do: which server this is.
    peer: Arc<CertifiedKey>,
}

impl Serving {
    pub(crate) fn new(api: &Identity, peer: &Identity, ca: &ClusterCa) -> Result<Arc<Self>, PkiError> {
        Ok(Arc::new(Self(RwLock::new(shown(api, peer, ca)?))))
    }

    pub(crate) fn replace(&self, api: &Identity, peer: &Identity, ca: &ClusterCa) -> Result<(), PkiError> {
        let shown = shown(api, peer, ca)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }
}

fn shown(api: &Identity, peer: &Identity, ca: &ClusterCa) -> Result<Shown, PkiError> {
    Ok(Shown { api: api.certified_key(ca.root())?, peer: peer.certified_key(ca.root())? })
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let as_peer =
            hello.alpn().is_some_and(|mut names| names.any(|name| name == peers::ALPN || name == peers::HTTP_ALPN));
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(if as_peer { shown.peer.clone() } else { shown.api.clone() })
    }
}

/// TLS for the API, for node tunnels and for the other servers. Client certificates are optional, and verified when
/// they come.
pub(crate) fn config(ca: &ClusterCa, serving: Arc<Serving>) -> Result<ServerConfig, PkiError> {
    let provider = trust::provider();
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
    let protocols = [b"h2".as_slice(), b"http/1.1", tunnel::ALPN, peers::ALPN, peers::HTTP_ALPN];
    config.alpn_protocols = protocols.map(<[u8]>::to_vec).to_vec();
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(config)
}
