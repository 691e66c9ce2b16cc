//! What a server trusts when it is the client: the server that it joins, known by a token, and the other servers.

use std::sync::{Arc, Mutex, PoisonError};

use pal_store::ServerId;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::pki::{self, SERVING_USER};

/// The provider that all connections use.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// How the other side of a connection is known.
#[derive(Debug)]
pub(crate) enum Trust {
    /// By the hash of the root certificate that it shows, by its name, and as one that serves the API: nodes have
    /// certificates of the same root.
    Hash {
        /// SHA-256 of the root's DER form, in hexadecimal.
        root: String,
        /// The hash of the root that was shown instead.
        other: Mutex<Option<String>>,
    },
    /// By its certificate, which names the server. Its address does not matter.
    Server { roots: RootCertStore, id: ServerId },
}

impl Trust {
    /// Trusts who shows the root with that hash.
    pub(crate) fn hash(root: &str) -> Arc<Self> {
        Arc::new(Self::Hash { root: root.to_owned(), other: Mutex::new(None) })
    }

    /// The hash of the root that the other side showed, where it was not the one that was expected.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Self::Hash { other, .. } => other.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Self::Server { .. } => None,
        }
    }
}

fn unknown_issuer() -> Error {
    Error::InvalidCertificate(CertificateError::UnknownIssuer)
}

fn not_for_name() -> Error {
    Error::InvalidCertificate(CertificateError::NotValidForName)
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self {
            Self::Hash { root, other } => {
                let hash = |certificate: &CertificateDer<'_>| hex::encode(Sha256::digest(certificate));
                let Some(found) = chain.iter().find(|certificate| hash(certificate) == *root) else {
                    let shown = chain.last().unwrap_or(leaf);
                    *other.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash(shown));
                    return Err(unknown_issuer());
                };
                let mut roots = RootCertStore::empty();
                roots.add(found.clone().into_owned())?;
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
                let verified = verifier.verify_server_cert(leaf, chain, name, ocsp, now)?;
                let serves = pki::peer_name(leaf).is_some_and(|name| name.user == SERVING_USER);
                if serves { Ok(verified) } else { Err(not_for_name()) }
            }
            Self::Server { roots, id } => {
                let algorithms = provider().signature_verification_algorithms;
                let parsed = ParsedCertificate::try_from(leaf)?;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, chain, now, algorithms.all)?;
                let named = pki::peer_name(leaf).and_then(|name| pki::server_of(&name.user, &name.groups));
                if named == Some(*id) { Ok(ServerCertVerified::assertion()) } else { Err(not_for_name()) }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rustls_pki_types::pem::PemObject as _;

    use super::*;
    use crate::pki::ClusterCa;

    const NAMES: [&str; 2] = ["127.0.0.1", "first.example"];

    fn authority(dir: &tempfile::TempDir) -> ClusterCa {
        ClusterCa::open(&dir.path().join("pki"), SystemTime::now()).expect("an authority")
    }

    fn leaf(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
    }

    fn verify(trust: &Trust, leaf: &CertificateDer<'_>, root: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        trust.verify_server_cert(leaf, std::slice::from_ref(root), &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn a_joiner_trusts_only_an_api_server_of_its_name_below_the_root_of_its_token() {
        let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (ca, other) = (authority(&one), authority(&two));
        let names = NAMES.map(str::to_owned);
        let now = SystemTime::now();
        let serving = leaf(&ca.server_identity(&names, now).expect("a certificate").certificate_pem);
        let foreign = leaf(&other.server_identity(&names, now).expect("a certificate").certificate_pem);
        let peer = leaf(&ca.peer_identity(ServerId(7), &names, now).expect("a certificate").certificate_pem);
        let check = |leaf: &CertificateDer<'_>, root: &CertificateDer<'_>, name: &str, expected: bool| {
            let trust = Trust::hash(ca.fingerprint());
            assert_eq!(verify(&trust, leaf, root, name).is_ok(), expected, "{name}");
            trust.shown()
        };
        assert_eq!(check(&serving, ca.root(), "first.example", true), None);
        check(&serving, ca.root(), "second.example", false);
        // Of the same root, and for that name, but not the API's own.
        check(&peer, ca.root(), "first.example", false);
        assert_eq!(check(&foreign, other.root(), "first.example", false).as_deref(), Some(other.fingerprint()));
        // Another's certificate with the right root beside it.
        check(&foreign, ca.root(), "first.example", false);
    }

    #[test]
    fn a_server_is_known_by_its_id_wherever_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = authority(&dir);
        let names = NAMES.map(str::to_owned);
        let now = SystemTime::now();
        let mut roots = RootCertStore::empty();
        roots.add(ca.root().clone()).expect("the root");
        let trust = Trust::Server { roots, id: ServerId(7) };
        let check = |pem: &str, expected: bool| {
            assert_eq!(verify(&trust, &leaf(pem), ca.root(), "elsewhere.example").is_ok(), expected);
        };
        check(&ca.peer_identity(ServerId(7), &names, now).expect("a certificate").certificate_pem, true);
        check(&ca.peer_identity(ServerId(8), &names, now).expect("a certificate").certificate_pem, false);
        check(&ca.server_identity(&names, now).expect("a certificate").certificate_pem, false);
    }
}
