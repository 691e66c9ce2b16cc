//! What a body may say, by who sends it: nodes write in their own name, and ask for certificates in no other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pal_registry::Admission;
use pal_resources::{Resource, Status};
use serde_json::Value;

use super::{At, Call, parameters};
use crate::ClusterCa;
use crate::auth::rbac::{self, Policy};
use crate::auth::{Attributes, MASTERS, Target, User};
use crate::pki::{CLIENT_SIGNER, NODE_CLIENT_SIGNER};

const CERTIFICATES: &str = "certificates.k8s.io";

/// What is asked of an object when it is clear how it will be stored.
pub(super) fn admission(call: &Call<'_>, at: &At) -> Option<Admission> {
    let (policy, user, resource) = (call.api.rbac.policy(), call.user.clone(), at.resource.clone());
    match (&*at.resource.group, &*at.resource.plural, at.subresource()) {
        (rbac::GROUP, _, _) => {
            Some(Admission::new(move |old, new| rbac::no_escalation(&policy, &user, &resource, old, new)))
        }
        (CERTIFICATES, "certificatesigningrequests", Some("approval")) => {
            Some(Admission::new(move |_, new| may_for_signer(&policy, &user, "approve", &resource, new)))
        }
        (CERTIFICATES, "certificatesigningrequests", Some("status")) => Some(Admission::new(move |old, new| {
            let changed = old.is_none_or(|old| old["status"] != new["status"]);
            if changed { may_for_signer(&policy, &user, "sign", &resource, new) } else { Ok(()) }
        })),
        (parameters::GROUP, plural, None) if plural.contains("admissionpolic") => {
            let registry = call.registry().clone();
            Some(Admission::new(move |old, new| parameters::check(&registry, &policy, &user, &resource, (old, new))))
        }
        _ => None,
    }
}

/// Whether the user may do that for the request's signer, or for all of the signer's domain (the CertificateApproval and
/// CertificateSigning admission plugins).
fn may_for_signer(
    policy: &Policy,
    user: &User,
    verb: &str,
    resource: &Resource,
    request: &Value,
) -> Result<(), Status> {
    let signer = request["spec"]["signerName"].as_str().unwrap_or_default();
    let domain = signer.split_once('/').map_or("", |(domain, _)| domain);
    let may = |name: &str| {
        let target = Target { group: CERTIFICATES, resource: "signers", name, ..Target::default() };
        policy.allows(user, &Attributes::Resource(verb, target)).is_some()
    };
    if user.is_in(MASTERS) || may(signer) || may(&format!("{domain}/*")) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(Status::forbidden(resource, request["metadata"]["name"].as_str().unwrap_or_default(), &why))
}

/// Checks an object that is to be created.
pub(super) fn create(call: &Call<'_>, at: &At, object: &Value) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let refuse = |why: &str| Err(Status::forbidden(&at.resource, name, why));
    match (&*at.resource.group, &*at.resource.plural, call.user.node()) {
        (CERTIFICATES, "certificatesigningrequests", _) => certificate(call, at, name, object),
        ("", "nodes", Some(node)) if name != node => {
            refuse(&format!("node {node:?} is not allowed to modify node {name:?}"))
        }
        ("coordination.k8s.io", "leases", Some(node)) if name != node => {
            refuse("can only access node lease with the same name as the requesting node")
        }
        _ => Ok(()),
    }
}

fn certificate(call: &Call<'_>, at: &At, name: &str, object: &Value) -> Result<(), Status> {
    let refuse = |why: &str| Err(Status::forbidden(&at.resource, name, why));
    let spec = &object["spec"];
    let request = spec["request"].as_str().and_then(|text| STANDARD.decode(text).ok());
    // What is no request at all is told by the kind's own validation.
    let Some(request) = request else { return Ok(()) };
    let subject = match ClusterCa::subject(&request) {
        Ok(subject) => subject,
        // What others ask of signers elsewhere may have any form; the signers here judge it when they sign.
        Err(_) if call.user.node().is_none() && !call.user.bootstrapping() => return Ok(()),
        Err(error) => return Err(Status::bad_request(format!("spec.request: {error}"))),
    };
    // No certificate makes anybody an administrator (the CertificateSubjectRestriction admission plugin).
    if spec["signerName"] == CLIENT_SIGNER && subject.organizations.iter().any(|group| group == MASTERS) {
        return refuse(&format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"));
    }
    if let Some(node) = call.user.node() {
        let own = subject.common_name == call.user.name;
        return if own {
            Ok(())
        } else {
            refuse(&format!("node {node:?} may only ask for certificates of its own name"))
        };
    }
    if !call.user.bootstrapping() {
        return Ok(());
    }
    if !call.user.is_in("system:bootstrappers:node") {
        return refuse(
            "this token lets a server join, not a node: `pal token create --role node` makes one for a node",
        );
    }
    let Some(node) = subject.common_name.strip_prefix("system:node:") else {
        return refuse("a bootstrap token lets a machine ask for the certificate of a node, system:node:NAME");
    };
    if spec["signerName"] != NODE_CLIENT_SIGNER {
        return refuse(&format!("a bootstrap token lets a machine ask {NODE_CLIENT_SIGNER} alone"));
    }
    if call.api.tunnels.connected(node) {
        return refuse(&format!("a node named {node:?} is connected; take another name, or stop that node first"));
    }
    Ok(())
}
