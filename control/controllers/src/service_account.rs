//! What every namespace has: the account that pods use, and the certificate by which they know the server.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use serde_json::json;

use crate::action::{Action, Plan, ResourceId, Target};
use crate::object::{is_deleting, name, same_object};

/// The account of pods that name none.
pub const DEFAULT_ACCOUNT: &str = "default";
/// The ConfigMap with the cluster's root certificate.
pub const ROOT_CA: &str = "kube-root-ca.crt";
const CA_KEY: &str = "ca.crt";

/// Everything that a namespace should have by itself.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub namespace: &'a Namespace,
    pub has_account: bool,
    pub root_ca: Option<&'a ConfigMap>,
    /// The cluster's root certificate; empty when there is none to publish.
    pub root_ca_pem: &'a str,
}

/// Makes what is missing, and mends a changed certificate.
pub fn reconcile(view: &View<'_>) -> Plan {
    let mut plan = Plan::idle();
    let meta = &view.namespace.metadata;
    if is_deleting(meta) {
        return plan;
    }
    let namespace = name(meta);
    if !view.has_account {
        plan.push(Action::Create {
            resource: ResourceId::of::<ServiceAccount>(),
            namespace: Some(namespace.to_owned()),
            body: json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": { "name": DEFAULT_ACCOUNT, "namespace": namespace },
            }),
            announce: None,
        });
    }
    if !view.root_ca_pem.is_empty() {
        plan.actions.extend(root_ca(view, namespace));
    }
    plan
}

fn root_ca(view: &View<'_>, namespace: &str) -> Option<Action> {
    let data = json!({ CA_KEY: view.root_ca_pem });
    let Some(map) = view.root_ca else {
        return Some(Action::Create {
            resource: ResourceId::of::<ConfigMap>(),
            namespace: Some(namespace.to_owned()),
            body: json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": ROOT_CA,
                    "namespace": namespace,
                    "annotations": {
                        "kubernetes.io/description": "Contains a CA bundle that can be used to verify the \
                         kube-apiserver when using internal endpoints such as the internal service IP or \
                         kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
                         clusters.",
                    },
                },
                "data": data,
            }),
            announce: None,
        });
    };
    let current = map.data.as_ref().and_then(|data| data.get(CA_KEY));
    if current.map(String::as_str) == Some(view.root_ca_pem) || is_deleting(&map.metadata) {
        return None;
    }
    let target = Target::of(map);
    Some(Action::Patch {
        patch: json!({ "metadata": same_object(&target), "data": data }),
        target,
        subresource: None,
        announce: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gets_what_it_lacks() {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
        let map = |pem: &str| -> ConfigMap {
            serde_json::from_value(json!({"metadata": {"name": ROOT_CA}, "data": {"ca.crt": pem}})).unwrap()
        };
        let (right, wrong) = (map("PEM"), map("other"));
        let check = |has_account: bool, root_ca: Option<&ConfigMap>, expected: &[&str]| {
            let plan = reconcile(&View { namespace: &namespace, has_account, root_ca, root_ca_pem: "PEM" });
            let got: Vec<_> = plan
                .actions
                .iter()
                .map(|action| match action {
                    Action::Create { resource, .. } => resource.plural.as_str(),
                    Action::Patch { .. } => "mended",
                    _ => "?",
                })
                .collect();
            assert_eq!(got, expected);
        };
        check(false, None, &["serviceaccounts", "configmaps"]);
        check(true, Some(&right), &[]);
        check(true, Some(&wrong), &["mended"]);
        check(false, Some(&right), &["serviceaccounts"]);
    }
}
