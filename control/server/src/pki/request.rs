//! Certificate signing requests: what they ask for, and the certificates made of them.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension};

use super::{ClusterCa, DAY, LONGEST_REQUEST, PkiError, SERVERS, files, identity, keys, leaf_params, several};
use crate::auth::MASTERS;

/// Signs client certificates of nodes.
pub const NODE_CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs the certificates with which nodes serve.
pub const NODE_SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// Signs client certificates of users.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// What a signing request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsrSubject {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns: Vec<String>,
    pub ips: Vec<String>,
    /// Names of other kinds (mail addresses, URIs), which no signer here grants.
    pub other_names: usize,
}

impl CsrSubject {
    fn alternative_names(&self) -> Result<Vec<SanType>, PkiError> {
        let malformed = |name: &str| PkiError::Request(format!("{name:?} is neither an IP address nor a DNS name"));
        let dns = self.dns.iter().map(|name| {
            // A host that is an address would be taken for one where names are compared as text.
            let host = name.parse::<IpAddr>().is_err().then_some(name.as_str());
            let text = host.and_then(|host| host.try_into().ok()).ok_or_else(|| malformed(name))?;
            Ok(SanType::DnsName(text))
        });
        let ips = self.ips.iter().map(|ip| Ok(SanType::IpAddress(ip.parse().map_err(|_| malformed(ip))?)));
        dns.chain(ips).collect()
    }
}

fn der(csr_pem: &[u8]) -> Result<CertificateSigningRequestDer<'static>, PkiError> {
    CertificateSigningRequestDer::from_pem_slice(csr_pem)
        .map_err(|_| PkiError::Request("PEM block type must be CERTIFICATE REQUEST".to_owned()))
}

impl ClusterCa {
    /// Reads a signing request, whose signature is verified.
    pub fn subject(csr_pem: &[u8]) -> Result<CsrSubject, PkiError> {
        let der = der(csr_pem)?;
        let malformed = |what: &str| PkiError::Request(what.to_owned());
        let (_, request) =
            X509CertificationRequest::from_der(&der).map_err(|_| malformed("the request cannot be parsed"))?;
        request.verify_signature().map_err(|_| malformed("the request's signature is wrong"))?;
        let name = &request.certification_request_info.subject;
        let mut subject = CsrSubject::default();
        let mut common_names = 0;
        for attribute in name.iter_attributes() {
            let text = || attribute.as_str().map(str::to_owned);
            if *attribute.attr_type() == OID_X509_COMMON_NAME {
                // Of two names, one would be checked and the other be granted.
                common_names += 1;
                subject.common_name = text().map_err(|_| malformed("the common name is not text"))?;
            } else if *attribute.attr_type() == OID_X509_ORGANIZATION_NAME {
                subject.organizations.push(text().map_err(|_| malformed("an organization is not text"))?);
            } else {
                return Err(malformed("the subject may hold a common name and organizations and nothing else"));
            }
        }
        if common_names > 1 {
            return Err(malformed("the subject has more than one common name"));
        }
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                for name in &names.general_names {
                    match (name, identity::general_name(name)) {
                        (GeneralName::DNSName(_), Some(text)) => subject.dns.push(text),
                        (_, Some(text)) => subject.ips.push(text),
                        (_, None) => subject.other_names += 1,
                    }
                }
            }
        }
        Ok(subject)
    }

    /// Signs a request for the uses that the signer grants: the certificate's PEM form.
    pub fn sign(&self, csr_pem: &[u8], signer: &str, seconds: i64, now: SystemTime) -> Result<String, PkiError> {
        let (uses, names_allowed) = match signer {
            NODE_CLIENT_SIGNER | CLIENT_SIGNER => (vec![ExtendedKeyUsagePurpose::ClientAuth], false),
            // A node dials other nodes with the certificate that it serves with, so that one identity holds both ways.
            NODE_SERVING_SIGNER => {
                (vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth], true)
            }
            other => return Err(PkiError::Request(format!("no signer is named {other:?} here"))),
        };
        let subject = Self::subject(csr_pem)?;
        self.check_subject(&subject, signer, names_allowed)?;
        let mut request = CertificateSigningRequestParams::from_der(&der(csr_pem)?)?;
        if matches!(request.params.is_ca, IsCa::Ca(_)) {
            return Err(PkiError::Request("a certificate authority is not granted".to_owned()));
        }
        // All but the key comes from what was checked and from here, not from the request as another parser reads it.
        let organizations: Vec<&str> = subject.organizations.iter().take(1).map(String::as_str).collect();
        let mut params = leaf_params(&subject.common_name, &organizations, now, lifetime(seconds));
        params.subject_alt_names = subject.alternative_names()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = uses;
        request.params = params;
        let certificate = request.signed_by(&self.issuer)?;
        if subject.organizations.len() < 2 {
            return Ok(certificate.pem());
        }
        let key = KeyPair::from_pem(&files::read(&self.dir.join(keys::ROOT_KEY))?)?;
        several::renamed(certificate.der(), &subject.common_name, &subject.organizations, &key)
    }

    fn check_subject(&self, subject: &CsrSubject, signer: &str, names_allowed: bool) -> Result<(), PkiError> {
        let refuse = |why: &str| Err(PkiError::Request(why.to_owned()));
        let names = subject.dns.len() + subject.ips.len();
        if subject.other_names > 0 {
            return refuse("only DNS names and IP addresses are granted");
        }
        if signer == CLIENT_SIGNER {
            // Who has one of these may do everything.
            if let Some(group) = subject.organizations.iter().find(|group| [MASTERS, SERVERS].contains(&group.as_str()))
            {
                return refuse(&format!("the organization {group} is not granted"));
            }
            return if subject.common_name.is_empty() { refuse("the common name is empty") } else { Ok(()) };
        }
        if subject.organizations != ["system:nodes"] {
            return refuse("the organization must be system:nodes alone");
        }
        if subject.common_name.strip_prefix("system:node:").is_none_or(str::is_empty) {
            return refuse("the common name must be system:node:NAME");
        }
        match (names_allowed, names) {
            (false, 1..) => refuse("DNS names and IP addresses are not granted to a client"),
            (true, 0) => refuse("at least one DNS name or IP address is needed"),
            _ => Ok(()),
        }
    }
}

/// What was asked for, within bounds; nothing asked for means a year.
fn lifetime(seconds: i64) -> Duration {
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds).min(LONGEST_REQUEST),
        _ => LONGEST_REQUEST.min(365 * DAY),
    }
}
