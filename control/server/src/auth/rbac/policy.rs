//! All roles and bindings as one value that answers who may what.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::super::{Attributes, User};
use super::GROUP;
use super::rule::Rule;

/// Whom a binding names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whom {
    User(String),
    Group(String),
}

/// A role's rules by way of one binding.
#[derive(Clone, Debug)]
struct Grant {
    /// None where there is no such role.
    rules: Option<Arc<[Rule]>>,
    /// As a refusal's opposite says it: which binding of which role to whom. Or, as a refusal does, which role there is not.
    why: Arc<str>,
}

impl Grant {
    fn rules(&self) -> &[Rule] {
        self.rules.as_deref().unwrap_or_default()
    }
}

/// What the bindings of one scope grant.
type Grants = HashMap<Whom, Vec<Grant>>;

/// The stored objects that a policy is made of.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub cluster_roles: Vec<ClusterRole>,
    pub roles: Vec<Role>,
    pub cluster_bindings: Vec<ClusterRoleBinding>,
    pub bindings: Vec<RoleBinding>,
}

/// Who may what, by roles and bindings.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    roles: HashMap<(String, String), Arc<[Rule]>>,
    cluster: Grants,
    namespaces: HashMap<String, Grants>,
}

impl Policy {
    /// Puts the stored objects together. A binding whose role does not exist grants nothing, which refusals tell.
    pub fn new(stored: Stored) -> Self {
        let mut policy = Self::default();
        for role in stored.cluster_roles {
            policy.cluster_roles.insert(role.metadata.name.unwrap_or_default(), rules(role.rules));
        }
        for role in stored.roles {
            let key = (role.metadata.namespace.unwrap_or_default(), role.metadata.name.unwrap_or_default());
            policy.roles.insert(key, rules(role.rules));
        }
        for binding in stored.cluster_bindings {
            let name = binding.metadata.name.unwrap_or_default();
            let rules = policy.rules_of(&binding.role_ref, "");
            let described = format!("ClusterRoleBinding {name:?} of ClusterRole {:?}", binding.role_ref.name);
            let of = (rules, &binding.role_ref);
            grant(&mut policy.cluster, "", of, &described, binding.subjects.unwrap_or_default());
        }
        for binding in stored.bindings {
            let (name, namespace) =
                (binding.metadata.name.unwrap_or_default(), binding.metadata.namespace.unwrap_or_default());
            let rules = policy.rules_of(&binding.role_ref, &namespace);
            let role = &binding.role_ref;
            let described = format!("RoleBinding \"{name}/{namespace}\" of {} {:?}", role.kind, role.name);
            let grants = policy.namespaces.entry(namespace.clone()).or_default();
            grant(grants, &namespace, (rules, role), &described, binding.subjects.unwrap_or_default());
        }
        policy
    }

    /// The rules of a role that a binding in `namespace` (empty: of the cluster) refers to.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<Arc<[Rule]>> {
        match &*role.kind {
            "ClusterRole" => self.cluster_roles.get(&role.name).cloned(),
            "Role" => self.roles.get(&(namespace.to_owned(), role.name.clone())).cloned(),
            _ => None,
        }
    }

    /// Why the user may, `None` when nothing allows it.
    pub fn allows(&self, user: &User, request: &Attributes<'_>) -> Option<Arc<str>> {
        let mut grants = self.grants(user, namespace_of(request));
        grants.find(|grant| grant.rules().iter().any(|rule| rule.allows(request))).map(|grant| grant.why.clone())
    }

    /// What a refusal adds: the roles that bindings of the user name and that there are not; empty where there are all.
    pub fn lacks(&self, user: &User, request: &Attributes<'_>) -> String {
        let missing = self.grants(user, namespace_of(request)).filter(|grant| grant.rules.is_none());
        let missing: BTreeSet<&str> = missing.map(|grant| &*grant.why).collect();
        match Vec::from_iter(missing).as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            several => format!("RBAC: [{}]", several.join(", ")),
        }
    }

    /// All rules that hold for the user in a namespace (empty: in the cluster).
    pub fn held(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.grants(user, namespace).flat_map(|grant| grant.rules().iter().cloned()).collect()
    }

    fn grants<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let scopes = [Some(&self.cluster), self.namespaces.get(namespace)];
        scopes.into_iter().flatten().flat_map(move |scope| {
            let groups = user.groups.iter().map(|group| Whom::Group(group.clone()));
            let whom = std::iter::once(Whom::User(user.name.clone())).chain(groups);
            whom.filter_map(move |whom| scope.get(&whom)).flatten()
        })
    }
}

/// Where bindings are looked for: in the request's namespace, beside those of the cluster.
fn namespace_of<'a>(request: &Attributes<'a>) -> &'a str {
    match request {
        Attributes::Resource(_, target) => target.namespace,
        Attributes::Path(..) => "",
    }
}

fn rules(rules: Option<Vec<PolicyRule>>) -> Arc<[Rule]> {
    rules.unwrap_or_default().into_iter().map(Rule::from).collect()
}

fn grant(
    grants: &mut Grants,
    namespace: &str,
    (rules, role): (Option<Arc<[Rule]>>, &RoleRef),
    described: &str,
    subjects: Vec<Subject>,
) {
    for subject in subjects {
        let shown = match &subject.namespace {
            Some(of) => format!("{} \"{}/{of}\"", subject.kind, subject.name),
            None => format!("{} {:?}", subject.kind, subject.name),
        };
        let whom = match &*subject.kind {
            "User" => Whom::User(subject.name),
            "Group" => Whom::Group(subject.name),
            "ServiceAccount" => {
                let of = subject.namespace.filter(|of| !of.is_empty()).unwrap_or_else(|| namespace.to_owned());
                Whom::User(format!("system:serviceaccount:{of}:{}", subject.name))
            }
            _ => continue,
        };
        let why = match &rules {
            Some(_) => format!("RBAC: allowed by {described} to {shown}"),
            None => format!("{}.{GROUP} {:?} not found", role.kind.to_ascii_lowercase(), role.name),
        };
        let why = why.into();
        grants.entry(whom).or_default().push(Grant { rules: rules.clone(), why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Target;
    use serde_json::{Value, json};

    fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).expect("an object of that kind")
    }

    fn policy() -> Policy {
        let role_ref =
            |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        Policy::new(Stored {
            cluster_roles: vec![object(json!({
                "metadata": {"name": "view"},
                "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
                          {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]
            }))],
            roles: vec![object(json!({
                "metadata": {"name": "edit", "namespace": "a"},
                "rules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}]
            }))],
            cluster_bindings: vec![
                object(json!({
                    "metadata": {"name": "viewers"}, "roleRef": role_ref("ClusterRole", "view"),
                    "subjects": [{"kind": "Group", "name": "devs"}]
                })),
                object(json!({"metadata": {"name": "nowhere"}, "roleRef": role_ref("ClusterRole", "none"),
                    "subjects": [{"kind": "User", "name": "eve"}]})),
            ],
            bindings: vec![
                object(json!({
                    "metadata": {"name": "editors", "namespace": "a"}, "roleRef": role_ref("Role", "edit"),
                    "subjects": [{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "bot", "namespace": "b"},
                        {"kind": "ServiceAccount", "name": "own"}, {"kind": "ServiceAccount", "name": "too", "namespace": ""}]
                })),
                object(json!({
                    "metadata": {"name": "astray", "namespace": "a"}, "roleRef": role_ref("Role", "gone"),
                    "subjects": [{"kind": "Group", "name": "astray"}]
                })),
                object(json!({
                    "metadata": {"name": "view", "namespace": "c"}, "roleRef": role_ref("ClusterRole", "view"),
                    "subjects": [{"kind": "User", "name": "jane"}]
                })),
            ],
        })
    }

    #[test]
    fn bindings_grant_in_their_scope() {
        let policy = policy();
        let jane = User::new("jane", &[]);
        let dev = User::new("dave", &["devs"]);
        let bot = User::new("system:serviceaccount:b:bot", &[]);
        let eve = User::new("eve", &[]);
        let check = |user: &User, verb: &str, namespace: &str, expected: bool| {
            let target = Target { resource: "pods", namespace, ..Target::default() };
            let allowed = policy.allows(user, &Attributes::Resource(verb, target)).is_some();
            assert_eq!(allowed, expected, "{} {verb} {namespace}", user.name);
        };
        check(&jane, "delete", "a", true);
        check(&jane, "delete", "b", false);
        check(&jane, "get", "", false);
        check(&jane, "get", "c", true);
        check(&jane, "delete", "c", false);
        check(&dev, "get", "anywhere", true);
        check(&dev, "get", "", true);
        check(&dev, "delete", "a", false);
        check(&bot, "delete", "a", true);
        check(&bot, "delete", "b", false);
        for own in ["own", "too"] {
            check(&User::new(format!("system:serviceaccount:a:{own}"), &[]), "delete", "a", true);
        }
        check(&eve, "get", "a", false);
        assert!(policy.allows(&dev, &Attributes::Path("get", "/metrics")).is_some());
        // A binding within a namespace grants no path.
        assert!(policy.allows(&jane, &Attributes::Path("get", "/metrics")).is_none());
        assert_eq!(policy.held(&jane, "a").len(), 1);
        assert_eq!(policy.held(&dev, "a").len(), 2);
    }

    #[test]
    fn a_refusal_says_which_role_there_is_not() {
        let policy = policy();
        let check = |user: &User, expected: &str| {
            let target = Target { resource: "pods", namespace: "a", ..Target::default() };
            assert_eq!(policy.lacks(user, &Attributes::Resource("list", target)), expected, "{}", user.name);
        };
        let none = r#"clusterrole.rbac.authorization.k8s.io "none" not found"#;
        check(&User::new("eve", &[]), &format!("RBAC: {none}"));
        check(
            &User::new("eve", &["astray"]),
            &format!("RBAC: [{none}, role.rbac.authorization.k8s.io \"gone\" not found]"),
        );
        check(&User::new("dave", &["devs"]), "");
    }

    #[test]
    fn an_answer_says_by_which_binding() {
        let policy = policy();
        let check = |user: &User, namespace: &str, expected: &str| {
            let target = Target { resource: "pods", namespace, ..Target::default() };
            let why = policy.allows(user, &Attributes::Resource("get", target)).expect("allowed");
            assert_eq!(&*why, expected);
        };
        let dev = User::new("dave", &["devs"]);
        check(&dev, "a", r#"RBAC: allowed by ClusterRoleBinding "viewers" of ClusterRole "view" to Group "devs""#);
        let jane = User::new("jane", &[]);
        check(&jane, "a", r#"RBAC: allowed by RoleBinding "editors/a" of Role "edit" to User "jane""#);
        let bot = User::new("system:serviceaccount:b:bot", &[]);
        check(&bot, "a", r#"RBAC: allowed by RoleBinding "editors/a" of Role "edit" to ServiceAccount "bot/b""#);
    }
}
