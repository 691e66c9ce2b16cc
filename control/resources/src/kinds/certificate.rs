//! CertificateSigningRequests. Who asks is told by the registry: the user of the request.

use std::collections::HashSet;

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

/// What older versions of the API took for no signer in particular.
const LEGACY: &str = "kubernetes.io/legacy-unknown";

impl Kind for CertificateSigningRequest {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

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
        let stored = before.conditions.unwrap_or_default();
        let status = self.status.get_or_insert_default();
        if name == "approval" {
            status.certificate = before.certificate;
        } else {
            let given = status.conditions.take().unwrap_or_default();
            let mut conditions: Vec<Condition> = stored.iter().filter(|c| decides(c)).cloned().collect();
            conditions.extend(given.into_iter().filter(|c| !decides(c)));
            status.conditions = Some(conditions);
        }
        status.conditions = status.conditions.take().filter(|conditions| !conditions.is_empty());
        for condition in items_mut(&mut status.conditions) {
            condition.last_update_time.get_or_insert(Time(env.now));
            let same = stored.iter().find(|c| c.type_ == condition.type_ && c.status == condition.status);
            let since = same.and_then(|c| c.last_transition_time.clone());
            condition.last_transition_time.get_or_insert(since.unwrap_or(Time(env.now)));
        }
    }

    fn validate_subresource_update(&self, name: &str, old: &Self, errors: &mut Errors) {
        let path = FieldPath::new("status");
        let (new, stored) = (conditions(self), conditions(old));
        validate_conditions(new, &path.child("conditions"), errors);
        for kind in LASTING {
            let (now, before) = (of_kind(new, kind), of_kind(stored, kind));
            if now < before {
                let why = format!("updates may not remove a condition of type {kind:?}");
                errors.push(FieldError::forbidden(&path.child("conditions"), &why));
            }
        }
        let certificate = |request: &Self| request.status.as_ref().and_then(|status| status.certificate.clone());
        let (given, issued) = (certificate(self), certificate(old).filter(|pem| !pem.0.is_empty()));
        if name == "status" && issued.is_some() && given != issued {
            let why = "updates may not modify existing certificate content";
            errors.push(FieldError::forbidden(&path.child("certificate"), why));
        }
        // What was there and is left alone is not looked at again.
        if let Some(pem) = given.filter(|pem| Some(pem) != issued.as_ref())
            && let Some(why) = pem_fault(&pem.0)
        {
            errors.push(FieldError::invalid(&path.child("certificate"), "<certificate data>", &why));
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
        let mut seen = HashSet::new();
        for (index, usage) in items(&self.spec.usages).iter().enumerate() {
            one_of(usage, USAGES, || path.child("usages").index(index), errors);
            if !seen.insert(usage) {
                errors.push(FieldError::duplicate(&path.child("usages").index(index), usage.as_str()));
            }
        }
        if self.spec.signer_name == LEGACY {
            let why = "the legacy signerName is not allowed via this API version";
            errors.push(FieldError::invalid(&path.child("signerName"), LEGACY, why));
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

/// What is wrong with certificates as text, where there is text.
fn pem_fault(pem: &[u8]) -> Option<String> {
    const BEGIN: &str = "-----BEGIN ";
    let text = String::from_utf8_lossy(pem);
    if text.is_empty() {
        return None;
    }
    let mut lines = text.lines().map(str::trim_end);
    let mut blocks = 0;
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix("-----")) else { continue };
        let end = format!("-----END {kind}-----");
        let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        if kind != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {kind:?}"));
        }
        if inside.iter().any(|line| line.contains(':')) {
            return Some("no PEM block headers are permitted".to_owned());
        }
        blocks += 1;
    }
    (blocks == 0).then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

/// Conditions that stay once they are there.
const LASTING: [&str; 3] = ["Approved", "Denied", "Failed"];

fn conditions(request: &CertificateSigningRequest) -> &[Condition] {
    request.status.as_ref().map_or(&[], |status| items(&status.conditions))
}

fn of_kind(conditions: &[Condition], kind: &str) -> usize {
    conditions.iter().filter(|condition| condition.type_ == kind).count()
}

fn validate_conditions(conditions: &[Condition], path: &FieldPath, errors: &mut Errors) {
    for (index, condition) in conditions.iter().enumerate() {
        let at = path.index(index);
        let kind = condition.type_.as_str();
        if kind.is_empty() {
            errors.push(FieldError::required(&at.child("type"), ""));
        }
        let allowed: &[&str] = if LASTING.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        if condition.status.is_empty() {
            errors.push(FieldError::required(&at.child("status"), ""));
        } else {
            one_of(&condition.status, allowed, || at.child("status"), errors);
        }
        let before = &conditions[..index];
        let other = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !other.is_empty() && of_kind(before, other) > 0 {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&at.child("type"), kind, why));
        }
        if of_kind(before, kind) > 0 {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
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
