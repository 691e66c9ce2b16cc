//! Certificate signing requests: those of nodes are approved when who asks may have what is asked for, those of users
//! are for an administrator to approve; approved ones are signed, or fail with the reason.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pal_resources::kinds::names::dns1123_subdomain;
use serde_json::{Value, json};

use crate::action::{Action, Plan, Target};
use crate::object::{as_seen, created, is_deleting, remaining};
use crate::ports::CsrSubject;

/// Certificates by which a node is a client of the API.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates by which a node serves.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";

/// Certificates by which users are clients of the API.
pub const USER_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const BOOTSTRAP_PREFIX: &str = "system:bootstrap:";
const BOOTSTRAPPERS: &str = "system:bootstrappers";
/// Its members may do anything; no certificate makes anybody one.
const MASTERS: &str = "system:masters";

/// Who asks for less gets this, unless the longest is shorter.
const SHORTEST_ASKED: i64 = 600;

/// How long finished requests are kept, and unanswered ones.
const KEEP_FINISHED: Duration = Duration::from_secs(3600);
const KEEP_PENDING: Duration = Duration::from_secs(24 * 3600);

/// Everything that a request's reconcile looks at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub request: &'a CertificateSigningRequest,
    /// Whom it names, or what is wrong with it.
    pub subject: &'a Result<CsrSubject, String>,
    /// Whether a node of that name is connected now.
    pub is_live: &'a dyn Fn(&str) -> bool,
    /// Names and addresses that no node may serve as.
    pub reserved: &'a [String],
    pub default_validity: Duration,
}

/// Why a request is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Approve,
    Deny(String),
    /// It is for somebody else to decide.
    Leave,
}

/// Approves or denies what nodes ask for, signs what is approved, deletes what is old.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let request = view.request;
    if is_deleting(&request.metadata) {
        return plan;
    }
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let has = |kind: &str| conditions.iter().any(|c| c.type_ == kind && c.status == "True");
    let issued =
        request.status.as_ref().and_then(|status| status.certificate.as_ref()).is_some_and(|pem| !pem.0.is_empty());
    let finished = issued || has("Denied") || has("Failed");
    let keep = if finished { KEEP_FINISHED } else { KEEP_PENDING };
    let Some(rest) = remaining(created(&request.metadata), keep, now) else {
        plan.push(Action::Delete {
            target: Target::of(request),
            grace_seconds: None,
            propagation: None,
            announce: None,
        });
        return plan;
    };
    plan.look_again(rest);
    let ours = matches!(request.spec.signer_name.as_str(), CLIENT_SIGNER | SERVING_SIGNER | USER_SIGNER);
    if finished || !ours {
        return plan;
    }
    if has("Approved") {
        plan.push(match unsignable(view) {
            None => sign(view),
            Some(why) => failed(request, &why, now),
        });
        return plan;
    }
    match judge(view) {
        Verdict::Approve => plan.push(answer(
            request,
            conditions,
            "Approved",
            "AutoApproved",
            "Auto approving kubelet certificate after SubjectAccessReview.",
            now,
        )),
        Verdict::Deny(why) => {
            plan.push(answer(request, conditions, "Denied", "NodeRequestRefused", &why, now));
        }
        Verdict::Leave => {}
    }
    plan
}

/// Why an approved request can not be signed, whoever approved it.
fn unsignable(view: &View<'_>) -> Option<String> {
    let subject = match view.subject {
        Ok(subject) => subject,
        Err(why) => return Some(format!("unable to read the certificate request: {why}")),
    };
    let signer = view.request.spec.signer_name.as_str();
    if let Some(why) = unfit_usages(view.request.spec.usages.as_deref().unwrap_or_default(), signer == SERVING_SIGNER) {
        return Some(why);
    }
    if signer == USER_SIGNER {
        let master = subject.organizations.iter().any(|group| group == MASTERS);
        return master.then(|| format!("use of {USER_SIGNER} signer with {MASTERS} group is not allowed"));
    }
    let node = subject.common_name.strip_prefix(NODE_PREFIX).unwrap_or_default();
    let names = subject.dns.iter().chain(&subject.ips).map(String::as_str).chain([node]);
    let mut reserved = names.filter(|name| is_reserved(view.reserved, name));
    reserved.next().map(|name| format!("{name:?} is reserved"))
}

/// Whether nobody but the server may be called that. Names differ neither in case nor in a dot at the end, addresses not
/// in how they are written.
fn is_reserved(reserved: &[String], name: &str) -> bool {
    let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    reserved.iter().any(|own| match (own.parse::<IpAddr>(), name.parse::<IpAddr>()) {
        (Ok(own), Ok(address)) => own.to_canonical() == address.to_canonical(),
        _ => plain(own) == plain(name),
    })
}

fn judge(view: &View<'_>) -> Verdict {
    let spec = &view.request.spec;
    if spec.signer_name == USER_SIGNER {
        return Verdict::Leave;
    }
    let subject = match view.subject {
        Ok(subject) => subject,
        Err(why) => return Verdict::Deny(format!("unable to read the certificate request: {why}")),
    };
    let user = spec.username.as_deref().unwrap_or_default();
    let groups = spec.groups.as_deref().unwrap_or_default();
    let in_group = |group: &str| groups.iter().any(|own| own == group);
    let Some(node) = subject.common_name.strip_prefix(NODE_PREFIX).filter(|node| !node.is_empty()) else {
        return Verdict::Deny(format!("subject common name does not begin with {NODE_PREFIX}"));
    };
    if subject.organizations != [NODES] {
        return Verdict::Deny(format!("subject organization is not {NODES}"));
    }
    if !dns1123_subdomain(node).is_empty() {
        return Verdict::Deny(format!("{node:?} is no name of a node"));
    }
    if is_reserved(view.reserved, node) {
        return Verdict::Deny(format!("the name {node:?} is reserved"));
    }
    let is_self = user == subject.common_name && in_group(NODES);
    let joins = user.starts_with(BOOTSTRAP_PREFIX) && in_group(BOOTSTRAPPERS);
    let serving = spec.signer_name == SERVING_SIGNER;
    if let Some(why) = unfit_usages(spec.usages.as_deref().unwrap_or_default(), serving) {
        return Verdict::Deny(why);
    }
    if serving {
        return judge_serving(view, subject, node, is_self);
    }
    if !subject.dns.is_empty() || !subject.ips.is_empty() {
        return Verdict::Deny("a client certificate has no alternative names".to_owned());
    }
    match (is_self, joins) {
        (true, _) => Verdict::Approve,
        (false, true) if (view.is_live)(node) => Verdict::Deny(format!("a node with the name {node:?} is connected")),
        (false, true) => Verdict::Approve,
        (false, false) => Verdict::Leave,
    }
}

fn judge_serving(view: &View<'_>, subject: &CsrSubject, node: &str, is_self: bool) -> Verdict {
    if !is_self {
        return Verdict::Leave;
    }
    if subject.dns.is_empty() && subject.ips.is_empty() {
        return Verdict::Deny("a serving certificate needs an alternative name".to_owned());
    }
    if let Some(name) = subject.dns.iter().find(|name| *name != node) {
        return Verdict::Deny(format!("the name {name:?} is not the node's"));
    }
    if let Some(address) = subject.ips.iter().find(|address| is_reserved(view.reserved, address)) {
        return Verdict::Deny(format!("the address {address} is not the node's"));
    }
    Verdict::Approve
}

/// What is wrong with the usages, if anything is.
fn unfit_usages(usages: &[String], serving: bool) -> Option<String> {
    let needed = if serving { "server auth" } else { "client auth" };
    let allowed = ["digital signature", "key encipherment", needed];
    if let Some(other) = usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
        return Some(format!("usage {other:?} is not for such a certificate"));
    }
    (!usages.iter().any(|usage| usage == needed)).then(|| format!("usage {needed:?} is missing"))
}

fn sign(view: &View<'_>) -> Action {
    let spec = &view.request.spec;
    let asked = spec.expiration_seconds.map(i64::from).filter(|seconds| *seconds > 0);
    let longest = i64::try_from(view.default_validity.as_secs()).unwrap_or(i64::MAX);
    Action::Sign {
        target: Target::of(view.request),
        request: spec.request.0.clone(),
        signer: spec.signer_name.clone(),
        seconds: asked.map_or(longest, |asked| asked.max(SHORTEST_ASKED).min(longest)),
    }
}

/// The write that says that an approved request gets no certificate.
fn failed(request: &CertificateSigningRequest, why: &str, now: Timestamp) -> Action {
    Action::Patch {
        target: Target::of(request),
        subresource: Some("status"),
        patch: json!({ "metadata": as_seen(&request.metadata), "status": failure(why, now) }),
        announce: None,
    }
}

/// The status that says so; what was decided stays in it, for only `approval` changes that.
pub fn failure(why: &str, now: Timestamp) -> Value {
    let condition = CertificateSigningRequestCondition {
        type_: "Failed".to_owned(),
        status: "True".to_owned(),
        reason: Some("SignerValidationFailure".to_owned()),
        message: Some(why.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    json!({ "conditions": [condition] })
}

fn answer(
    request: &CertificateSigningRequest,
    conditions: &[CertificateSigningRequestCondition],
    kind: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Action {
    let mut conditions = conditions.to_vec();
    conditions.push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
    Action::Patch {
        target: Target::of(request),
        subresource: Some("approval"),
        patch: json!({ "metadata": as_seen(&request.metadata), "status": { "conditions": conditions } }),
        announce: None,
    }
}

#[cfg(test)]
mod tests;
