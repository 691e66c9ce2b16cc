//! What a user may do, decided from the request alone; where the answer lies in stored objects, the question is returned.

mod nodes;

use pal_resources::status::{Reason, Status, StatusDetails};

use super::{MASTERS, User};
use crate::pki::SERVERS;

/// The resource that a request is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'a> {
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// From the path, or from a field selector that asks for one name.
    pub name: &'a str,
    /// As it was sent.
    pub field_selector: &'a str,
}

/// A request as the decision sees it.
#[derive(Clone, Copy, Debug)]
pub enum Attributes<'a> {
    /// A verb on a resource.
    Resource(&'a str, Target<'a>),
    /// A verb (an HTTP method in small letters) on another path.
    Path(&'a str, &'a str),
}

/// Something that only stored objects can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the pod runs on the node.
    PodOnNode,
    /// Whether a pod of the node names the object.
    NamedByPodOfNode,
    /// Whether the certificate signing request is the user's own.
    OwnRequest,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
    /// Not allowed to a node, for a reason that kube-apiserver's node authorizer gives.
    NotForNodes(&'static str),
    /// Allowed when the answer is yes.
    Ask(Question),
}

/// What anybody may ask who can reach the port. A joiner reads the root certificate before it can trust the server.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/cluster-info"];

/// Whether the user may do that.
pub fn decide(user: &User, request: &Attributes<'_>) -> Verdict {
    if user.is_in(MASTERS) {
        return Verdict::Allow;
    }
    let verdict = match request {
        Attributes::Path(verb, path) => path_verdict(user, verb, path),
        Attributes::Resource(..) => Verdict::Deny,
    };
    match (verdict, request) {
        (Verdict::Deny, Attributes::Resource(verb, target)) => {
            if let Some(node) = user.node() {
                nodes::verdict(node, verb, target)
            } else if user.bootstrapping() {
                certificate_request(verb, target)
            } else {
                Verdict::Deny
            }
        }
        (verdict, _) => verdict,
    }
}

fn below(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn path_verdict(user: &User, verb: &str, path: &str) -> Verdict {
    let reads = matches!(verb, "get" | "head");
    let allowed = reads
        && (below(path, PUBLIC)
            || user.node().is_some() && below(path, &["/v2"])
            || user.is_in(SERVERS) && (below(path, &["/v2"]) || path == "/cluster/servers"));
    // What is asked of a node by a server without a way to it.
    let allowed = allowed || user.is_in(SERVERS) && below(path, &["/cluster/nodes"]);
    // What was pushed to one server is offered to the others.
    let allowed = allowed || verb == "put" && user.is_in(SERVERS) && below(path, &["/v2"]);
    // Which token lets what join is told there, in words.
    let joins = verb == "post" && path == "/cluster/servers" && user.bootstrapping();
    if allowed || joins { Verdict::Allow } else { Verdict::Deny }
}

fn certificate_request(verb: &str, target: &Target<'_>) -> Verdict {
    match (target.group, target.resource, target.subresource, verb) {
        ("certificates.k8s.io", "certificatesigningrequests", "", "create") => Verdict::Allow,
        ("certificates.k8s.io", "certificatesigningrequests", "", "get") => Verdict::Ask(Question::OwnRequest),
        _ => Verdict::Deny,
    }
}

/// The answer to who may not, in kube-apiserver's words. `why` goes last, when there is more to say.
pub fn forbidden(user: &User, request: &Attributes<'_>, why: &str) -> Status {
    let reason = if why.is_empty() { String::new() } else { format!(": {why}") };
    match request {
        Attributes::Path(verb, path) => {
            let message = format!("forbidden: User {:?} cannot {verb} path {path:?}{reason}", user.name);
            let mut status = Status::new(403, Reason::Forbidden, message);
            status.details = Some(StatusDetails::default());
            status
        }
        Attributes::Resource(verb, target) => {
            let qualified = if target.group.is_empty() {
                target.resource.to_owned()
            } else {
                format!("{}.{}", target.resource, target.group)
            };
            let full = match target.subresource {
                "" => target.resource.to_owned(),
                subresource => format!("{}/{subresource}", target.resource),
            };
            let scope = match target.namespace {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            let name = if target.name.is_empty() { String::new() } else { format!(" {:?}", target.name) };
            let message = format!(
                "{qualified}{name} is forbidden: User {:?} cannot {verb} resource {full:?} in API group {:?} {scope}{reason}",
                user.name, target.group
            );
            let mut status = Status::new(403, Reason::Forbidden, message);
            status.details = Some(StatusDetails {
                name: target.name.to_owned(),
                group: target.group.to_owned(),
                kind: target.resource.to_owned(),
                ..StatusDetails::default()
            });
            status
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::AUTHENTICATED;
    use super::*;

    /// `group/resource[/subresource] namespace name selector`, with - for nothing.
    pub(super) fn target(text: &'static str) -> Target<'static> {
        let mut words = text.split(' ').map(|word| if word == "-" { "" } else { word });
        let mut path = words.next().unwrap_or_default().split('/');
        let mut next = || path.next().map_or("", |part| if part == "core" { "" } else { part });
        Target {
            group: next(),
            resource: next(),
            subresource: next(),
            namespace: words.next().unwrap_or_default(),
            name: words.next().unwrap_or_default(),
            field_selector: words.next().unwrap_or_default(),
        }
    }

    #[test]
    fn without_a_role_others_see_what_is_public() {
        let admin = User::new("admin", &[MASTERS, AUTHENTICATED]);
        let jane = User::new("jane", &[AUTHENTICATED]);
        let joiner = User::new("system:bootstrap:abc", &["system:bootstrappers", AUTHENTICATED]);
        let nobody = User::anonymous();
        let check = |user: &User, verb: &str, text: &'static str, expected: Verdict| {
            let request = match text.strip_prefix('/') {
                Some(_) => Attributes::Path(verb, text),
                None => Attributes::Resource(verb, target(text)),
            };
            assert_eq!(decide(user, &request), expected, "{} {verb} {text}", user.name);
        };
        check(&admin, "delete", "core/secrets default s", Verdict::Allow);
        check(&admin, "put", "/v2/x", Verdict::Allow);
        check(&jane, "get", "core/pods default p", Verdict::Deny);
        check(&jane, "get", "/apis/apps/v1", Verdict::Deny);
        check(&jane, "get", "/metrics", Verdict::Deny);
        check(&jane, "get", "/v2/x", Verdict::Deny);
        check(&jane, "create", "authorization.k8s.io/selfsubjectaccessreviews", Verdict::Deny);
        check(&joiner, "create", "certificates.k8s.io/certificatesigningrequests", Verdict::Allow);
        check(&joiner, "list", "certificates.k8s.io/certificatesigningrequests", Verdict::Deny);
        check(&joiner, "get", "core/nodes - a", Verdict::Deny);
        check(&nobody, "get", "/livez/ping", Verdict::Allow);
        check(&nobody, "get", "/livezoo", Verdict::Deny);
        check(&nobody, "get", "/version", Verdict::Allow);
        check(&nobody, "get", "/api", Verdict::Deny);
        check(&nobody, "create", "authentication.k8s.io/selfsubjectreviews", Verdict::Deny);
    }

    #[test]
    fn refusals_are_in_kubernetes_words() {
        let user = User::new("x", &[AUTHENTICATED]);
        let check = |request: Attributes<'_>, why: &str, expected: &str| {
            assert_eq!(forbidden(&user, &request, why).message, expected);
        };
        check(
            Attributes::Resource("list", target("core/pods default")),
            "",
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#,
        );
        check(
            Attributes::Resource("get", target("core/pods/log default p")),
            "",
            r#"pods "p" is forbidden: User "x" cannot get resource "pods/log" in API group "" in the namespace "default""#,
        );
        check(
            Attributes::Resource("create", target("apps/deployments")),
            "why",
            r#"deployments.apps is forbidden: User "x" cannot create resource "deployments" in API group "apps" at the cluster scope: why"#,
        );
        check(Attributes::Path("get", "/metrics"), "", r#"forbidden: User "x" cannot get path "/metrics""#);
    }
}
