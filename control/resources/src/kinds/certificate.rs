//! CertificateSigningRequests. Who asks is told by the registry: the user of the request.

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition as Condition, CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Env;
use super::kind::{Errors, Kind, has_meta};
use super::names;
use super::optional::{items, items_mut, one_of};
use crate::{FieldError, FieldPath};

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

impl Kind for CertificateSigningRequest {
    has_meta!();

    fn prepare_create(&mut self, _env: &Env) {
        self.status = Some(CertificateSigningRequestStatus::default());
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    /// `approval` decides, `status` carries the certificate; neither can do the other's work.
    fn prepare_subresource(&mut self, name: &str, old: &Self, env: &Env) {
        self.spec.clone_from(&old.spec);
        let before = old.status.clone().unwrap_or_default();
        let status = self.status.get_or_insert_default();
        let approval = name == "approval";
        if approval {
            status.certificate = before.certificate;
        }
        let given = status.conditions.take().unwrap_or_default();
        let stored = before.conditions.unwrap_or_default();
        let mut conditions: Vec<Condition> = stored.into_iter().filter(|c| decides(c) != approval).collect();
        conditions.extend(given.into_iter().filter(|c| decides(c) == approval));
        status.conditions = (!conditions.is_empty()).then_some(conditions);
        for condition in items_mut(&mut status.conditions) {
            condition.last_update_time.get_or_insert(Time(env.now));
            condition.last_transition_time.get_or_insert(Time(env.now));
            if condition.status.is_empty() {
                condition.status = "True".to_owned();
            }
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        let request = String::from_utf8_lossy(&self.spec.request.0);
        if request.is_empty() {
            errors.push(FieldError::required(&path.child("request"), ""));
        } else if !request.contains("-----BEGIN CERTIFICATE REQUEST-----") {
            let why = "PEM block type must be CERTIFICATE REQUEST";
            errors.push(FieldError::invalid(&path.child("request"), request.as_ref(), why));
        }
        if items(&self.spec.usages).is_empty() {
            errors.push(FieldError::required(&path.child("usages"), ""));
        }
        for (index, usage) in items(&self.spec.usages).iter().enumerate() {
            one_of(usage, USAGES, || path.child("usages").index(index), errors);
        }
        validate_signer(&self.spec.signer_name, &path.child("signerName"), errors);
        if let Some(seconds) = self.spec.expiration_seconds
            && seconds < 600
        {
            let why = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, why));
        }
    }
}

fn decides(condition: &Condition) -> bool {
    matches!(condition.type_.as_str(), "Approved" | "Denied")
}

fn validate_signer(signer: &str, path: &FieldPath, errors: &mut Errors) {
    if signer.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let form = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    match signer.split_once('/') {
        Some((domain, rest)) if domain.contains('.') && names::dns1123_subdomain(domain).is_empty() => {
            for fault in names::dns1123_subdomain(rest) {
                errors.push(FieldError::invalid(path, signer, &fault));
            }
        }
        _ => errors.push(FieldError::invalid(path, signer, form)),
    }
}
