//! A certificate with its key, as this process uses it: kept as two files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{PkiError, files};

/// A leaf certificate and its private key.
#[derive(Clone)]
pub struct Identity {
    /// The leaf alone.
    pub certificate_pem: String,
    pub key_pem: String,
    /// The names and addresses in the certificate, in its order.
    pub names: Vec<String>,
    pub expires: SystemTime,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).field("expires", &self.expires).finish()
    }
}

impl Identity {
    /// What is kept under `file`, unless it is missing, unreadable or of another authority.
    pub(super) fn load(dir: &Path, file: &str, root: &CertificateDer<'_>) -> Result<Option<Self>, PkiError> {
        let (certificate, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        if !(certificate.exists() && key.exists()) {
            return Ok(None);
        }
        let (certificate_pem, key_pem) = (files::read(&certificate)?, files::read(&key)?);
        Ok(Self::parse(certificate_pem, key_pem, root))
    }

    fn parse(certificate_pem: String, key_pem: String, root: &CertificateDer<'_>) -> Option<Self> {
        let leaf = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
        let (_, leaf) = X509Certificate::from_der(&leaf).ok()?;
        let (_, root) = X509Certificate::from_der(root).ok()?;
        leaf.verify_signature(Some(root.public_key())).ok()?;
        let key = rcgen::KeyPair::from_pem(&key_pem).ok()?;
        let same_key = rcgen::PublicKeyData::der_bytes(&key) == &*leaf.public_key().subject_public_key.data;
        let expires = UNIX_EPOCH + Duration::from_secs(u64::try_from(leaf.validity().not_after.timestamp()).ok()?);
        let names = names_of(&leaf);
        same_key.then_some(Self { certificate_pem, key_pem, names, expires })
    }

    /// Whom the certificate names.
    pub(super) fn user(&self) -> Option<String> {
        let leaf = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).ok()?;
        super::peer_name(&leaf).map(|name| name.user)
    }

    pub(super) fn save(&self, dir: &Path, file: &str) -> Result<(), PkiError> {
        files::write_private(&dir.join(format!("{file}.key")), self.key_pem.as_bytes())?;
        files::write_private(&dir.join(format!("{file}.crt")), self.certificate_pem.as_bytes())
    }

    /// The form that a TLS connection uses. The root goes along: who joins by a token pins it by its hash.
    pub fn certified_key(&self, root: &CertificateDer<'static>) -> Result<Arc<CertifiedKey>, PkiError> {
        let pem = |error: rustls_pki_types::pem::Error| PkiError::Tls(rustls::Error::General(error.to_string()));
        let leaf = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map_err(pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(pem)?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf, root.clone()], key)))
    }
}

pub(super) fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(general_name).collect()
}

/// The text of a DNS name or an address.
pub(super) fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
