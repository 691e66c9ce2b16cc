//! What a user may do, decided from the request alone; where the answer lies in stored objects, the question is returned.

use pal_resources::selector::FieldSelector;
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
                node_verdict(node, verb, target)
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

/// What nodes may do uniformly, as group, resource and subresource with the verbs.
const NODE_RULES: &[(&str, &str, &str, &[&str])] = &[
    // All nodes, because each node's network has to know the others.
    ("", "nodes", "", &["get", "list", "watch", "create"]),
    ("", "services", "", READS),
    ("", "namespaces", "", READS),
    ("", "events", "", &["create", "patch", "update"]),
    ("events.k8s.io", "events", "", &["create", "patch", "update"]),
    ("discovery.k8s.io", "endpointslices", "", READS),
    ("node.k8s.io", "runtimeclasses", "", READS),
    ("storage.k8s.io", "csidrivers", "", READS),
    ("authentication.k8s.io", "tokenreviews", "", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", "", &["create"]),
    ("authorization.k8s.io", "localsubjectaccessreviews", "", &["create"]),
];
const READS: &[&str] = &["get", "list", "watch"];
const LEASES: &str = "kube-node-lease";

/// What a node may do: enough to run its pods, and nothing of others'.
fn node_verdict(node: &str, verb: &str, target: &Target<'_>) -> Verdict {
    let yes = |allowed: bool| if allowed { Verdict::Allow } else { Verdict::Deny };
    let uniform = NODE_RULES.iter().any(|(group, resource, subresource, verbs)| {
        (*group, *resource, *subresource) == (target.group, target.resource, target.subresource)
            && verbs.contains(&verb)
    });
    if uniform {
        return Verdict::Allow;
    }
    match (target.group, target.resource, target.subresource) {
        ("", "nodes", "") => yes(matches!(verb, "update" | "patch") && target.name == node),
        ("", "nodes", "status") => yes(matches!(verb, "get" | "update" | "patch") && target.name == node),
        ("", "pods", subresource) => node_and_pods(node, verb, subresource, target),
        ("", "configmaps" | "secrets", _) => named_read(verb, target),
        ("", "persistentvolumeclaims", _) => node_and_claims(verb, target),
        ("", "serviceaccounts", subresource) => {
            if verb != "create" || target.name.is_empty() {
                Verdict::NotForNodes("can only create tokens for individual service accounts")
            } else if subresource != "token" {
                Verdict::NotForNodes("can only create token subresource of serviceaccount")
            } else {
                Verdict::Ask(Question::NamedByPodOfNode)
            }
        }
        ("coordination.k8s.io", "leases", _) => node_and_leases(node, verb, target),
        _ => certificate_request(verb, target),
    }
}

fn node_and_pods(node: &str, verb: &str, subresource: &str, target: &Target<'_>) -> Verdict {
    match (subresource, verb) {
        ("", "list" | "watch") => {
            if selects(target.field_selector, "spec.nodeName", node) {
                Verdict::Allow
            } else if !target.name.is_empty() && !target.namespace.is_empty() {
                // Without a namespace, a name is not one pod but as many as there are namespaces.
                Verdict::Ask(Question::PodOnNode)
            } else {
                Verdict::NotForNodes("can only list/watch pods with spec.nodeName field selector")
            }
        }
        ("", "get" | "delete") | ("status", "get" | "update" | "patch") | ("eviction", "create") => {
            Verdict::Ask(Question::PodOnNode)
        }
        _ => Verdict::Deny,
    }
}

/// Objects that pods of the node name, and their like.
fn named_read(verb: &str, target: &Target<'_>) -> Verdict {
    if !READS.contains(&verb) {
        Verdict::NotForNodes("can only read resources of this type")
    } else if !target.subresource.is_empty() {
        Verdict::NotForNodes("cannot read subresource")
    } else if target.namespace.is_empty() {
        Verdict::NotForNodes("can only read namespaced object of this type")
    } else if target.name.is_empty() {
        Verdict::NotForNodes("No Object name found")
    } else {
        Verdict::Ask(Question::NamedByPodOfNode)
    }
}

fn node_and_claims(verb: &str, target: &Target<'_>) -> Verdict {
    match (target.subresource, verb) {
        ("", "get") | ("status", "update" | "patch") => Verdict::Ask(Question::NamedByPodOfNode),
        ("status", _) => Verdict::NotForNodes("can only get/update/patch this type"),
        (_, "get") => Verdict::NotForNodes("cannot get subresource"),
        _ => Verdict::NotForNodes("can only get individual resources of this type"),
    }
}

fn node_and_leases(node: &str, verb: &str, target: &Target<'_>) -> Verdict {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        Verdict::NotForNodes("can only get, create, update, patch, or delete a node lease")
    } else if target.namespace != LEASES {
        Verdict::NotForNodes("can only access leases in the \"kube-node-lease\" system namespace")
    } else if verb != "create" && target.name != node {
        // What a new one is called is in its body.
        Verdict::NotForNodes("can only access node lease with the same name as the requesting node")
    } else {
        Verdict::Allow
    }
}

/// Whether a field selector asks for exactly that value, as the list that it stands for will read it.
fn selects(selector: &str, field: &str, value: &str) -> bool {
    FieldSelector::parse(selector).is_ok_and(|selector| selector.exact(field) == Some(value))
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

    fn target(text: &'static str) -> Target<'static> {
        // group/resource[/subresource] namespace name selector, with - for nothing
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
    fn nodes_touch_only_what_is_theirs() {
        use Question::*;
        let node = User::new("system:node:a", &["system:nodes", AUTHENTICATED]);
        let check = |verb: &str, text: &'static str, expected: Verdict| {
            // Which reason is given is another table's.
            let found = match decide(&node, &Attributes::Resource(verb, target(text))) {
                Verdict::NotForNodes(_) => Verdict::Deny,
                other => other,
            };
            assert_eq!(found, expected, "{verb} {text}");
        };
        check("get", "core/nodes - b", Verdict::Allow);
        check("patch", "core/nodes - a", Verdict::Allow);
        check("patch", "core/nodes - b", Verdict::Deny);
        check("delete", "core/nodes - a", Verdict::Deny);
        check("patch", "core/nodes/status - a", Verdict::Allow);
        check("patch", "core/nodes/status - b", Verdict::Deny);
        check("list", "core/pods - - spec.nodeName=a", Verdict::Allow);
        check("watch", "core/pods - - spec.nodeName==a,status.phase!=Failed", Verdict::Allow);
        check("watch", "core/pods - - spec.nodeName=b", Verdict::Deny);
        check("watch", "core/pods - - spec.nodeName!=a", Verdict::Deny);
        check("watch", "core/pods - - metadata.name!=x\\,spec.nodeName=a", Verdict::Deny);
        check("list", "core/pods", Verdict::Deny);
        check("list", "core/pods default p metadata.name=p", Verdict::Ask(PodOnNode));
        check("watch", "core/pods default p metadata.name=p", Verdict::Ask(PodOnNode));
        check("list", "core/pods - p metadata.name=p", Verdict::Deny);
        check("watch", "core/pods - p metadata.name=p", Verdict::Deny);
        check("get", "core/pods default p", Verdict::Ask(PodOnNode));
        check("delete", "core/pods default p", Verdict::Ask(PodOnNode));
        check("create", "core/pods default", Verdict::Deny);
        check("patch", "core/pods/status default p", Verdict::Ask(PodOnNode));
        check("create", "core/pods/binding default p", Verdict::Deny);
        check("get", "core/secrets default s", Verdict::Ask(NamedByPodOfNode));
        check("list", "core/secrets default", Verdict::Deny);
        check("list", "core/secrets", Verdict::Deny);
        check("update", "core/secrets default s", Verdict::Deny);
        check("get", "coordination.k8s.io/leases kube-node-lease a", Verdict::Allow);
        check("update", "coordination.k8s.io/leases kube-node-lease b", Verdict::Deny);
        check("update", "coordination.k8s.io/leases default a", Verdict::Deny);
        check("create", "core/events default", Verdict::Allow);
        check("delete", "core/events default e", Verdict::Deny);
        check("create", "certificates.k8s.io/certificatesigningrequests", Verdict::Allow);
        check("get", "certificates.k8s.io/certificatesigningrequests - c", Verdict::Ask(OwnRequest));
        check("update", "certificates.k8s.io/certificatesigningrequests/approval - c", Verdict::Deny);
        check("list", "discovery.k8s.io/endpointslices", Verdict::Allow);
        check("update", "discovery.k8s.io/endpointslices default e", Verdict::Deny);
        check("list", "apps/deployments", Verdict::Deny);
        check("create", "core/pods/eviction default p", Verdict::Ask(PodOnNode));
        check("get", "core/configmaps default c", Verdict::Ask(NamedByPodOfNode));
        check("watch", "core/configmaps default c metadata.name=c", Verdict::Ask(NamedByPodOfNode));
        check("get", "core/secrets - s", Verdict::Deny);
        check("get", "core/persistentvolumeclaims default c", Verdict::Ask(NamedByPodOfNode));
        check("list", "core/persistentvolumeclaims default", Verdict::Deny);
        check("patch", "core/persistentvolumeclaims/status default c", Verdict::Ask(NamedByPodOfNode));
        check("patch", "core/persistentvolumeclaims default c", Verdict::Deny);
        check("create", "core/serviceaccounts/token default sa", Verdict::Ask(NamedByPodOfNode));
        check("create", "core/serviceaccounts default", Verdict::Deny);
        check("get", "core/serviceaccounts default sa", Verdict::Deny);
        check("create", "coordination.k8s.io/leases kube-node-lease", Verdict::Allow);
        check("list", "coordination.k8s.io/leases kube-node-lease", Verdict::Deny);
        check("create", "authorization.k8s.io/subjectaccessreviews", Verdict::Allow);
        check("get", "node.k8s.io/runtimeclasses - r", Verdict::Allow);
        check("impersonate", "core/users - x", Verdict::Deny);
        check("patch", "core/nodes/proxy - a", Verdict::Deny);
    }

    #[test]
    fn a_node_is_told_why_not() {
        let node = User::new("system:node:a", &["system:nodes", AUTHENTICATED]);
        let check = |verb: &str, text: &'static str, expected: &'static str| {
            let found = decide(&node, &Attributes::Resource(verb, target(text)));
            assert_eq!(found, Verdict::NotForNodes(expected), "{verb} {text}");
        };
        check("update", "core/secrets default s", "can only read resources of this type");
        check("get", "core/secrets/x default s", "cannot read subresource");
        check("list", "core/secrets", "can only read namespaced object of this type");
        check("list", "core/configmaps default", "No Object name found");
        check("list", "core/pods", "can only list/watch pods with spec.nodeName field selector");
        check("list", "core/serviceaccounts default", "can only create tokens for individual service accounts");
        check("create", "core/serviceaccounts default sa", "can only create token subresource of serviceaccount");
        check(
            "list",
            "coordination.k8s.io/leases kube-node-lease",
            "can only get, create, update, patch, or delete a node lease",
        );
        let elsewhere = "can only access leases in the \"kube-node-lease\" system namespace";
        check("get", "coordination.k8s.io/leases default a", elsewhere);
        let others = "can only access node lease with the same name as the requesting node";
        check("get", "coordination.k8s.io/leases kube-node-lease b", others);
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
