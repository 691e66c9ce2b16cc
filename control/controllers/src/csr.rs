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
        seconds: asked.map_or(longest, |asked| asked.min(longest)),
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
mod tests {
    use super::*;

    fn request(user: &str, signer: &str, usages: &[&str]) -> CertificateSigningRequest {
        let group = if user.starts_with(BOOTSTRAP_PREFIX) { BOOTSTRAPPERS } else { NODES };
        serde_json::from_value(json!({
            "metadata": {"name": "csr", "uid": "u", "creationTimestamp": "2027-01-15T08:00:00Z"},
            "spec": {"request": "", "signerName": signer, "username": user,
                "groups": [group, "system:authenticated"], "usages": usages}
        }))
        .unwrap()
    }

    fn subject(dns: &[&str], ips: &[&str]) -> CsrSubject {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CsrSubject {
            common_name: "system:node:n1".into(),
            organizations: vec![NODES.into()],
            dns: texts(dns),
            ips: texts(ips),
        }
    }

    fn look(request: &CertificateSigningRequest, subject: Result<CsrSubject, String>, live: bool) -> Plan {
        let view = View {
            request,
            subject: &subject,
            is_live: &|_| live,
            reserved: &["10.0.0.1".to_owned(), "api.example.com".to_owned()],
            default_validity: Duration::from_secs(1000),
        };
        reconcile(&view, "2027-01-15T08:00:10Z".parse().unwrap())
    }

    fn check(request: CertificateSigningRequest, subject: CsrSubject, live: bool, expected: &str) {
        let plan = look(&request, Ok(subject.clone()), live);
        let got = plan.actions.first().map_or("left".to_owned(), |action| match action {
            Action::Patch { patch, .. } => patch["status"]["conditions"][0]["type"].as_str().unwrap().to_owned(),
            other => format!("{other:?}"),
        });
        assert_eq!(got, expected, "{request:?} {subject:?}");
    }

    const CLIENT: &[&str] = &["digital signature", "client auth"];
    const SERVER: &[&str] = &["digital signature", "server auth"];

    #[test]
    fn client_certificates_are_for_joiners_and_the_node_itself() {
        let token = "system:bootstrap:abcdef";
        check(request(token, CLIENT_SIGNER, CLIENT), subject(&[], &[]), false, "Approved");
        check(request(token, CLIENT_SIGNER, CLIENT), subject(&[], &[]), true, "Denied");
        check(request("system:node:n1", CLIENT_SIGNER, CLIENT), subject(&[], &[]), true, "Approved");
        check(request("system:node:n2", CLIENT_SIGNER, CLIENT), subject(&[], &[]), false, "left");
        check(request("jane", CLIENT_SIGNER, CLIENT), subject(&[], &[]), false, "left");
        check(request(token, CLIENT_SIGNER, CLIENT), subject(&["n1"], &[]), false, "Denied");
        check(request(token, CLIENT_SIGNER, SERVER), subject(&[], &[]), false, "Denied");
        check(request(token, "example.com/other", CLIENT), subject(&[], &[]), false, "left");
        let admin = CsrSubject {
            common_name: "admin".into(),
            organizations: vec!["system:masters".into()],
            ..CsrSubject::default()
        };
        check(request(token, CLIENT_SIGNER, CLIENT), admin, false, "Denied");
        let masters = CsrSubject { organizations: vec!["system:masters".into()], ..subject(&[], &[]) };
        check(request(token, CLIENT_SIGNER, CLIENT), masters, false, "Denied");
    }

    #[test]
    fn serving_certificates_are_for_the_node_itself_and_its_own_names() {
        let node = "system:node:n1";
        check(request(node, SERVING_SIGNER, SERVER), subject(&["n1"], &["127.0.0.2"]), true, "Approved");
        check(request(node, SERVING_SIGNER, SERVER), subject(&[], &[]), true, "Denied");
        check(request(node, SERVING_SIGNER, SERVER), subject(&["kubernetes"], &[]), true, "Denied");
        check(request(node, SERVING_SIGNER, SERVER), subject(&[], &["10.0.0.1"]), true, "Denied");
        let token = "system:bootstrap:abcdef";
        check(request(token, SERVING_SIGNER, SERVER), subject(&["n1"], &[]), false, "left");
    }

    #[test]
    fn no_node_has_a_reserved_name() {
        let named = |node: &str, dns: &[&str]| {
            let mut subject = subject(dns, &[]);
            subject.common_name = format!("system:node:{node}");
            subject
        };
        let token = "system:bootstrap:abcdef";
        check(request(token, CLIENT_SIGNER, CLIENT), named("api.example.com", &[]), false, "Denied");
        check(request(token, CLIENT_SIGNER, CLIENT), named("10.0.0.1", &[]), false, "Denied");
        check(request(token, CLIENT_SIGNER, CLIENT), named("*.example.com", &[]), false, "Denied");
        check(request(token, CLIENT_SIGNER, CLIENT), named("web.example.com", &[]), false, "Approved");
        let own = "system:node:api.example.com";
        check(request(own, SERVING_SIGNER, SERVER), named("api.example.com", &["api.example.com"]), true, "Denied");
        check(request(own, CLIENT_SIGNER, CLIENT), named("api.example.com", &[]), true, "Denied");
        let reserved = ["::1".to_owned(), "API.example.com".to_owned(), "10.0.0.1".to_owned()];
        for name in ["0:0::1", "api.example.COM.", "::ffff:10.0.0.1"] {
            assert!(is_reserved(&reserved, name), "{name}");
        }
        assert!(!is_reserved(&reserved, "example.com"));
    }

    fn decided(mut request: CertificateSigningRequest, kinds: &[&str]) -> CertificateSigningRequest {
        let conditions: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        request.status = Some(serde_json::from_value(json!({ "conditions": conditions })).unwrap());
        request
    }

    #[test]
    fn what_an_administrator_approved_is_signed_or_fails_with_the_reason() {
        let check = |signer: &str, usages: &[&str], kinds: &[&str], subject: CsrSubject, expected: &str| {
            let plan = look(&decided(request("jane", signer, usages), kinds), Ok(subject), true);
            let got = match &plan.actions[..] {
                [] => "left",
                [Action::Sign { signer: by, .. }] if by == signer => "signed",
                [Action::Patch { patch, .. }] => patch["status"]["conditions"][0]["type"].as_str().unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(got, expected, "{signer} {kinds:?}");
        };
        let jane = |group: &str| CsrSubject {
            common_name: "jane".into(),
            organizations: vec![group.into()],
            ..CsrSubject::default()
        };
        check(USER_SIGNER, CLIENT, &[], jane("dev"), "left");
        check(USER_SIGNER, CLIENT, &["Approved"], jane("dev"), "signed");
        check(USER_SIGNER, CLIENT, &["Denied"], jane("dev"), "left");
        check(USER_SIGNER, CLIENT, &["Approved", "Denied"], jane("dev"), "left");
        check(USER_SIGNER, CLIENT, &["Approved", "Failed"], jane("dev"), "left");
        check(USER_SIGNER, CLIENT, &["Approved"], jane("system:masters"), "Failed");
        check(USER_SIGNER, SERVER, &["Approved"], jane("dev"), "Failed");
        check("example.com/mine", CLIENT, &["Approved"], jane("dev"), "left");
        check(CLIENT_SIGNER, CLIENT, &["Approved"], subject(&[], &[]), "signed");
        check(SERVING_SIGNER, SERVER, &["Approved"], subject(&["n1"], &["10.0.0.2"]), "signed");
        check(SERVING_SIGNER, SERVER, &["Approved"], subject(&["api.example.com"], &[]), "Failed");
        check(SERVING_SIGNER, SERVER, &["Approved"], subject(&[], &["10.0.0.1"]), "Failed");
    }

    #[test]
    fn what_is_no_request_is_denied() {
        let plan = look(&request("system:node:n1", CLIENT_SIGNER, CLIENT), Err("bad".into()), false);
        assert!(matches!(&plan.actions[..], [Action::Patch { .. }]), "{plan:?}");
    }

    #[test]
    fn an_approved_request_is_signed_for_no_longer_than_allowed() {
        let mut approved = request("system:node:n1", CLIENT_SIGNER, CLIENT);
        approved.status =
            Some(serde_json::from_value(json!({"conditions": [{"type": "Approved", "status": "True"}]})).unwrap());
        for (asked, expected) in [(None, 1000), (Some(600), 600), (Some(5000), 1000)] {
            approved.spec.expiration_seconds = asked;
            let plan = look(&approved, Ok(subject(&[], &[])), true);
            let [Action::Sign { seconds, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
            assert_eq!(*seconds, expected);
        }
    }

    #[test]
    fn finished_requests_are_deleted_after_an_hour() {
        let mut denied = request("jane", CLIENT_SIGNER, CLIENT);
        denied.status =
            Some(serde_json::from_value(json!({"conditions": [{"type": "Denied", "status": "True"}]})).unwrap());
        assert_eq!(look(&denied, Ok(subject(&[], &[])), true).actions, []);
        denied.metadata.creation_timestamp = Some(Time("2027-01-15T07:00:00Z".parse().unwrap()));
        let plan = look(&denied, Ok(subject(&[], &[])), true);
        assert!(matches!(&plan.actions[..], [Action::Delete { .. }]), "{plan:?}");
    }
}
