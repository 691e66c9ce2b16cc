//! What nodes may do (Kubernetes' Node authorizer).

use pal_resources::selector::FieldSelector;

use super::{Question, Target, Verdict, certificate_request};

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
pub(super) fn verdict(node: &str, verb: &str, target: &Target<'_>) -> Verdict {
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
        ("", "persistentvolumes", subresource) => node_and_volumes(verb, subresource, target),
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

fn node_and_volumes(verb: &str, subresource: &str, target: &Target<'_>) -> Verdict {
    if verb != "get" {
        Verdict::NotForNodes("can only get individual resources of this type")
    } else if !subresource.is_empty() {
        Verdict::NotForNodes("cannot get subresource")
    } else if target.name.is_empty() {
        Verdict::NotForNodes("No Object name found")
    } else {
        Verdict::Ask(Question::NamedByPodOfNode)
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

#[cfg(test)]
mod tests {
    use super::super::tests::target;
    use super::super::{Attributes, decide};
    use super::*;
    use crate::auth::{AUTHENTICATED, User};

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
        check("get", "core/persistentvolumes - v", Verdict::Ask(NamedByPodOfNode));
        check("list", "core/persistentvolumes", Verdict::Deny);
        check("update", "core/persistentvolumes - v", Verdict::Deny);
        check("get", "core/persistentvolumes/status - v", Verdict::Deny);
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
}
