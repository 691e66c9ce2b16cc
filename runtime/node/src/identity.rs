//! Who the node is: its certificates, kept in the data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::disk;
use crate::error::{JoinError, NodeError};
use crate::token::Token;

/// A certificate chain and its key, PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Leaf first.
    pub chain_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// A node's name, the cluster's CA, the certificate for the API and the one for other nodes.
#[derive(Clone, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The Node's name.
    pub name: String,
    /// The cluster's root.
    pub ca_pem: String,
    /// `system:node:NAME`, for the API.
    pub client: Credential,
    /// For node-to-node connections.
    pub serving: Credential,
}

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Validity {
    /// When two thirds of the time are over.
    pub(crate) fn renewal(&self) -> Timestamp {
        let seconds = self.until.as_second() - self.from.as_second();
        Timestamp::from_second(self.from.as_second() + seconds / 3 * 2).unwrap_or(self.until)
    }
}

impl Credential {
    /// Of the leaf.
    pub(crate) fn validity(&self) -> Result<Validity, NodeError> {
        let unreadable = |why: String| NodeError::Certificate(why);
        let leaf = CertificateDer::from_pem_slice(self.chain_pem.as_bytes()).map_err(|e| unreadable(e.to_string()))?;
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).map_err(|e| unreadable(e.to_string()))?;
        let at = |seconds: i64| Timestamp::from_second(seconds).map_err(|e| unreadable(e.to_string()));
        let validity = leaf.validity();
        Ok(Validity { from: at(validity.not_before.timestamp())?, until: at(validity.not_after.timestamp())? })
    }
}

impl NodeIdentity {
    /// The identity that a former [`join`](crate::join) left in `data_dir`, if there is one.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, NodeError> {
        let path = Self::path(data_dir);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(NodeError::io(&path))?,
        };
        let identity: Self =
            serde_json::from_slice(&text).map_err(|e| NodeError::Corrupt { path, why: e.to_string() })?;
        Ok(Some(identity))
    }

    /// Keeps it, readable by this user only.
    pub fn save(&self, data_dir: &Path) -> Result<(), NodeError> {
        let path = Self::path(data_dir);
        let dir = data_dir.join("pki");
        disk::private_dir(&dir).map_err(NodeError::io(&dir))?;
        let text = serde_json::to_vec_pretty(self).map_err(|e| NodeError::Certificate(e.to_string()))?;
        disk::replace_durably(&path, &text, 0o600).map_err(NodeError::io(&path))
    }

    /// Whether it is of the cluster that a token is for. Fails on a text that is no token.
    pub fn is_of_cluster(&self, token: &str) -> Result<bool, JoinError> {
        let token = Token::parse(token)?;
        let ca = CertificateDer::from_pem_slice(self.ca_pem.as_bytes())
            .map_err(|error| NodeError::Certificate(error.to_string()))?;
        Ok(Sha256::digest(&ca).as_slice() == token.ca_hash)
    }

    /// Whether the certificate for the API still holds at that moment.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.client.validity().is_ok_and(|v| v.until > now)
    }

    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("pki").join("identity.json")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn credential(days: i64) -> Credential {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["n".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = params.not_before + std::time::Duration::from_secs(u64::try_from(days).unwrap() * 86_400);
        let cert = params.self_signed(&key).unwrap();
        Credential { chain_pem: cert.pem(), key_pem: key.serialize_pem() }
    }

    #[test]
    fn an_identity_is_kept_privately_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(NodeIdentity::load(dir.path()).unwrap().is_none());
        let identity =
            NodeIdentity { name: "a".into(), ca_pem: "ca".into(), client: credential(30), serving: credential(30) };
        identity.save(dir.path()).unwrap();
        let path = NodeIdentity::path(dir.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = NodeIdentity::load(dir.path()).unwrap().unwrap();
        assert!(found.client == identity.client && found.name == "a");
        fs::write(&path, "{").unwrap();
        let error = NodeIdentity::load(dir.path()).err().unwrap().to_string();
        assert!(error.contains("identity.json"), "{error}");
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let validity = credential(30).validity().unwrap();
        assert_eq!(validity.from.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(validity.renewal().to_string(), "2026-01-21T00:00:00Z");
        assert_eq!(validity.until.to_string(), "2026-01-31T00:00:00Z");
    }
}
