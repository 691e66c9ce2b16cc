//! TLS towards servers: the cluster's CA as the only root, known or pinned by its hash, and a certificate of one's own
//! that can be renewed under open connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use crate::error::NodeError;
use crate::identity::Credential;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unusable(error: impl std::fmt::Display) -> NodeError {
    NodeError::Certificate(error.to_string())
}

/// The node's own certificate; connections made after [`OwnCertificate::set`] show the new one.
#[derive(Debug)]
pub(crate) struct OwnCertificate(RwLock<Arc<CertifiedKey>>);

impl OwnCertificate {
    pub(crate) fn new(credential: &Credential) -> Result<Arc<Self>, NodeError> {
        Ok(Arc::new(Self(RwLock::new(certified(credential)?))))
    }

    pub(crate) fn set(&self, credential: &Credential) -> Result<(), NodeError> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified(credential)?;
        Ok(())
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(credential: &Credential) -> Result<Arc<CertifiedKey>, NodeError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(credential.chain_pem.as_bytes()).collect::<Result<_, _>>().map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes()).map_err(unusable)?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(unusable)?;
    Ok(Arc::new(key))
}

/// TLS as a node of the cluster whose CA that is, or as nobody.
pub(crate) fn client_config(
    ca_pem: &str,
    own: Option<Arc<OwnCertificate>>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, NodeError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(root.map_err(unusable)?).map_err(unusable)?;
    }
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(own),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

/// TLS as somebody who knows of the cluster only its CA's hash.
pub(crate) fn pinned_config(pin: Arc<PinnedCa>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, NodeError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(unusable)?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(pin).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Trusts the CA that has a hash and is shown in the handshake, and remembers it.
#[derive(Debug)]
pub(crate) struct PinnedCa {
    hash: [u8; 32],
    found: OnceLock<CertificateDer<'static>>,
    mismatch: AtomicBool,
}

impl PinnedCa {
    pub(crate) fn new(hash: [u8; 32]) -> Arc<Self> {
        Arc::new(Self { hash, found: OnceLock::new(), mismatch: AtomicBool::new(false) })
    }

    /// The CA, once a handshake has shown it.
    pub(crate) fn ca(&self) -> Option<&CertificateDer<'static>> {
        self.found.get()
    }

    /// Whether a server showed no certificate with the hash.
    pub(crate) fn mismatched(&self) -> bool {
        self.mismatch.load(Ordering::Relaxed)
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = intermediates.iter().find(|cert| Sha256::digest(cert).as_slice() == self.hash);
        let Some(ca) = ca else {
            self.mismatch.store(true, Ordering::Relaxed);
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        let verified = verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        // The same CA every time, since the hash is the same.
        let _ = self.found.set(ca.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
