//! How nodes know each other: certificates of the cluster's CA.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

/// The protocol's name in ALPN.
pub(crate) const ALPN: &[u8] = b"pal-peer/1";

/// A node's certificates, in PEM.
#[derive(Clone)]
pub struct PeerTls {
    /// Shown to nodes that this one dials (`system:node:NAME`, client authentication).
    pub client_chain: String,
    pub client_key: String,
    /// Shown to nodes that dial this one (the node's name as a DNS name, server authentication).
    pub server_chain: String,
    pub server_key: String,
    /// The cluster's CA.
    pub ca: String,
}

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the {what} is not PEM that holds what it should: {why}")]
    Pem { what: &'static str, why: String },
    #[error("the node's certificates cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    #[error("the cluster's CA cannot be used to check other nodes: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The two sides, ready for use.
pub(crate) struct Configs {
    pub client: Arc<rustls::ClientConfig>,
    pub server: Arc<rustls::ServerConfig>,
}

impl PeerTls {
    pub(crate) fn configs(&self) -> Result<Configs, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in chain("CA", &self.ca)? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let mut client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(
                chain("client certificate", &self.client_chain)?,
                key("client key", &self.client_key)?,
            )?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(NodesOnly(verifier)))
            .with_single_cert(
                chain("serving certificate", &self.server_chain)?,
                key("serving key", &self.server_key)?,
            )?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Configs { client: Arc::new(client), server: Arc::new(server) })
    }
}

fn chain(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |why: String| TlsError::Pem { what, why };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if certificates.is_empty() { Err(bad("it holds no certificate".to_owned())) } else { Ok(certificates) }
}

fn key(what: &'static str, pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| TlsError::Pem { what, why: error.to_string() })
}

/// Lets in who has a certificate of the cluster's CA *and* is a node: users have such certificates too.
#[derive(Debug)]
struct NodesOnly(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for NodesOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        if is_node(end_entity) {
            Ok(verified)
        } else {
            Err(rustls::Error::General("the client's certificate is not one of a node".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn is_node(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let subject = parsed.subject();
    subject.iter_organization().any(|o| o.as_str() == Ok("system:nodes"))
        && subject.iter_common_name().any(|n| n.as_str().is_ok_and(|name| name.starts_with("system:node:")))
}
