//! The cluster as its own certificate authority: the root, what it signs, and how names are read from certificates.

mod files;
mod identity;
mod keys;
mod request;
mod several;
mod subject;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pal_store::ServerId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

pub use identity::Identity;
pub use keys::ClusterKeys;
pub use request::{CLIENT_SIGNER, CsrSubject, NODE_CLIENT_SIGNER, NODE_SERVING_SIGNER};
pub use subject::{PeerName, SERVERS, peer_name, server_user};
pub(crate) use subject::{SERVING_USER, server_of};

/// Certificates start this long ago, or a quarter of their life, so that a peer whose clock is a little behind accepts them at
/// once, and one that renews them when two thirds of the time are over has time left.
const BACKDATED: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LEAF_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// What is left of a leaf's life when it is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 24 * 3600);
/// The longest life that a certificate request is granted.
const LONGEST_REQUEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What goes wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {why}")]
    Unreadable { path: PathBuf, why: String },
    #[error("{name:?} is neither an IP address nor a DNS name")]
    Name { name: String },
    #[error("certificate signing request: {0}")]
    Request(String),
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The cluster's certificate authority with its key.
pub struct ClusterCa {
    dir: PathBuf,
    root: CertificateDer<'static>,
    root_pem: String,
    fingerprint: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterCa").field("dir", &self.dir).field("fingerprint", &self.fingerprint).finish()
    }
}

/// What the loss of the cluster's keys leaves to do.
const ADVICE: &str = "copy ca.crt and ca.key from pki/ of another server of the cluster, or, where there is none, bring a \
    backup back into an empty directory (pal snapshot restore)";

impl ClusterCa {
    /// Opens the authority kept in `dir`, or makes one there.
    pub fn open(dir: &Path, now: SystemTime) -> Result<Self, PkiError> {
        files::private_dir(dir)?;
        let (certificate, key) = (dir.join(keys::ROOT), dir.join(keys::ROOT_KEY));
        if certificate.exists() && !key.exists() {
            // Making a new authority would lock out everybody who trusts the old one.
            return Err(PkiError::Unreadable { path: key, why: format!("the cluster's key is missing: {ADVICE}") });
        }
        if !certificate.exists() {
            let (root_pem, key_pem) = new_root(now)?;
            // The key goes first: one without its root signed nothing yet, and is made anew after a crash in between.
            files::write_private(&key, key_pem.as_bytes())?;
            files::write_private(&certificate, root_pem.as_bytes())?;
        }
        Self::load(dir, &certificate, &key)
    }

    fn load(dir: &Path, certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        let root_pem = files::read(certificate)?;
        let unreadable = |path: &Path, why: String| {
            let why = format!("{}: {ADVICE}", why.trim_end());
            PkiError::Unreadable { path: path.to_owned(), why }
        };
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes())
            .map_err(|error| unreadable(certificate, error.to_string()))?;
        let key_pair = KeyPair::from_pem(&files::read(key)?).map_err(|error| unreadable(key, error.to_string()))?;
        let issuer =
            Issuer::from_ca_cert_der(&root, key_pair).map_err(|error| unreadable(certificate, error.to_string()))?;
        let fingerprint = hex::encode(Sha256::digest(&root));
        Ok(Self { dir: dir.to_owned(), root, root_pem, fingerprint, issuer })
    }

    /// The root certificate.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root certificate's DER form.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// SHA-256 of the root's DER form, in hexadecimal: what tokens carry.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Where keys and certificates are kept.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A certificate for a TLS server of these names and addresses, kept in the directory as `server`.
    pub fn server_identity(&self, names: &[String], now: SystemTime) -> Result<Identity, PkiError> {
        let wanted = Identity::load(&self.dir, "server", &self.root)?;
        if let Some(kept) = wanted
            && kept.names == names
            && kept.expires > now + RENEW_BEFORE
        {
            return Ok(kept);
        }
        let mut params = leaf_params(SERVING_USER, &[], now, LEAF_LIFETIME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        let identity = self.issue(params, names.to_vec(), now)?;
        identity.save(&self.dir, "server")?;
        Ok(identity)
    }

    /// The certificate by which the servers of a cluster know this one, kept in the directory as `peer`. It is good for
    /// both ends of a connection.
    pub fn peer_identity(&self, id: ServerId, names: &[String], now: SystemTime) -> Result<Identity, PkiError> {
        let user = server_user(id);
        if let Some(kept) = Identity::load(&self.dir, "peer", &self.root)?
            && kept.names == names
            && kept.user().as_deref() == Some(user.as_str())
            && kept.expires > now + RENEW_BEFORE
        {
            return Ok(kept);
        }
        let mut params = leaf_params(&user, &[SERVERS], now, LEAF_LIFETIME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        let identity = self.issue(params, names.to_vec(), now)?;
        identity.save(&self.dir, "peer")?;
        Ok(identity)
    }

    /// A client certificate, kept in the directory under `file`.
    pub fn client_identity(&self, file: &str, user: &str, group: &str, now: SystemTime) -> Result<Identity, PkiError> {
        if let Some(kept) = Identity::load(&self.dir, file, &self.root)?
            && kept.expires > now + RENEW_BEFORE
        {
            return Ok(kept);
        }
        let mut params = leaf_params(user, &[group], now, LEAF_LIFETIME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let identity = self.issue(params, Vec::new(), now)?;
        identity.save(&self.dir, file)?;
        Ok(identity)
    }

    /// The key that signs service accounts' tokens, in PKCS#8's DER form; made when there is none.
    pub fn service_account_key(&self) -> Result<Vec<u8>, PkiError> {
        let pem = self.service_account_pem()?;
        let path = self.dir.join(keys::SERVICE_ACCOUNTS);
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let key = key.map_err(|error| PkiError::Unreadable { path, why: error.to_string() })?;
        Ok(key.secret_pkcs8_der().to_vec())
    }

    fn service_account_pem(&self) -> Result<String, PkiError> {
        let path = self.dir.join(keys::SERVICE_ACCOUNTS);
        if !path.exists() {
            files::write_private(&path, KeyPair::generate()?.serialize_pem().as_bytes())?;
        }
        files::read(&path)
    }

    fn issue(&self, params: CertificateParams, names: Vec<String>, now: SystemTime) -> Result<Identity, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            names,
            expires: now + LEAF_LIFETIME,
        })
    }
}

fn new_root(now: SystemTime) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate()?;
    let mut params = leaf_params("palinurus-ca", &[], now, ROOT_LIFETIME);
    // A name of its own for each authority, so that clients that know several clusters tell the roots apart.
    params.distinguished_name.push(DnType::OrganizationalUnitName, hex::encode(random::<8>()));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn leaf_params(common_name: &str, organizations: &[&str], now: SystemTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for organization in organizations {
        params.distinguished_name.push(DnType::OrganizationName, *organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(serial());
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(now - BACKDATED.min(life / 4));
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(now + life);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A positive serial number of 127 random bits.
fn serial() -> SerialNumber {
    let mut bytes = random::<16>();
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

fn random<const N: usize>() -> [u8; N] {
    rand::random()
}

fn san(name: &str) -> Result<SanType, PkiError> {
    Ok(match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if dns_name(name) => SanType::DnsName(name.try_into()?),
        Err(_) => return Err(PkiError::Name { name: name.to_owned() }),
    })
}

/// Letters, digits and dashes between dots, perhaps after a wildcard.
fn dns_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let plain = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()) && plain(label))
}

#[cfg(test)]
mod tests;
