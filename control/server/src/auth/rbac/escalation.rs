//! Nobody gives away, by a role or a binding, what they do not hold themselves.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use pal_resources::status::Status;
use pal_resources::{Reason, Resource};
use serde_json::Value;

use super::super::{Attributes, MASTERS, Target, User};
use super::policy::Policy;
use super::rule::{Rule, listed, missing};
use super::{GROUP, rules_from};

/// Checks a role or binding that is to be written: `old` is what it replaces. Anything else passes.
pub(crate) fn check(
    policy: &Policy,
    user: &User,
    resource: &Resource,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    if &*resource.group != GROUP || user.is_in(MASTERS) {
        return Ok(());
    }
    let (name, namespace) = (text(new, "name"), text(new, "namespace"));
    let unchanged = |field: &str| old.is_some_and(|old| old[field] == new[field]);
    let may = |verb: &str, resource: &str, namespace: &str, name: &str| {
        let target = Target { group: GROUP, resource, namespace, name, ..Target::default() };
        policy.allows(user, &Attributes::Resource(verb, target)).is_some()
    };
    match &*resource.plural {
        "roles" | "clusterroles" => {
            if unchanged("rules") && unchanged("aggregationRule") || may("escalate", &resource.plural, namespace, name)
            {
                return Ok(());
            }
            if !new["aggregationRule"].is_null() && !unchanged("aggregationRule") && !holds_everything(policy, user) {
                let why = "must have cluster-admin privileges to use the aggregationRule";
                return Err(Status::forbidden(resource, name, why));
            }
            let wanted = rules(&new["rules"]);
            covered(policy, user, namespace, &wanted).map_err(|why| Status::forbidden(resource, name, &why))
        }
        "rolebindings" | "clusterrolebindings" => {
            if unchanged("subjects") && unchanged("roleRef") {
                return Ok(());
            }
            let role: RoleRef = serde_json::from_value(new["roleRef"].clone())
                .map_err(|error| Status::bad_request(format!("roleRef: {error}")))?;
            let plural = if role.kind == "Role" { "roles" } else { "clusterroles" };
            if may("bind", plural, namespace, &role.name) {
                return Ok(());
            }
            let Some(wanted) = policy.rules_of(&role, namespace) else {
                let message = format!("{plural}.{GROUP} {:?} not found", role.name);
                return Err(Status::new(404, Reason::NotFound, message));
            };
            covered(policy, user, namespace, &wanted).map_err(|why| Status::forbidden(resource, name, &why))
        }
        _ => Ok(()),
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn rules(value: &Value) -> Vec<Rule> {
    let rules: Vec<PolicyRule> = serde_json::from_value(value.clone()).unwrap_or_default();
    rules_from(rules)
}

fn holds_everything(policy: &Policy, user: &User) -> bool {
    let all = || vec!["*".to_owned()];
    let everything = [
        Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), urls: all(), ..Rule::default() },
    ];
    missing(&policy.held(user, ""), &everything).is_empty()
}

/// Whether the user holds all of it in that namespace, else why not in kube-apiserver's words.
fn covered(policy: &Policy, user: &User, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
    let missing = missing(&policy.held(user, namespace), wanted);
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        user.groups,
        listed(&missing)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::*;
    use pal_resources::resource;
    use serde_json::json;

    fn policy() -> Policy {
        let object = |value: Value| serde_json::from_value(value).expect("a role");
        let bind = |role: &str, user: &str| {
            serde_json::from_value(json!({
                "metadata": {"name": role},
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "name": user}]
            }))
            .expect("a binding")
        };
        Policy::new(Stored {
            cluster_roles: vec![
                object(
                    json!({"metadata": {"name": "pods"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
                ),
                object(
                    json!({"metadata": {"name": "secrets"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]}),
                ),
                object(json!({"metadata": {"name": "escalator"}, "rules": [
                    {"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["clusterroles", "roles"]},
                    {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["secrets"]}]})),
            ],
            cluster_bindings: vec![bind("pods", "jane"), bind("escalator", "eva")],
            ..Stored::default()
        })
    }

    #[test]
    fn roles_hold_no_more_than_their_writer() {
        let role = |resources: &[&str]| {
            json!({
                "metadata": {"name": "r", "namespace": "a"},
                "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": resources}]
            })
        };
        let roles = resource::find(GROUP, "v1", "roles").expect("roles");
        let check = |user: &str, old: Option<&Value>, new: &Value, expected: Option<&str>| {
            let outcome = super::check(&policy(), &User::new(user, &["g"]), &roles, old, new);
            assert_eq!(outcome.map_err(|status| status.message).err().as_deref(), expected, "{user} {new}");
        };
        let refusal = "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"jane\" (groups=[\"g\"]) is attempting to grant \
                       RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
        check("jane", None, &role(&["pods"]), None);
        check("jane", None, &role(&["pods", "secrets"]), Some(refusal));
        check("jane", Some(&role(&["secrets"])), &role(&["secrets"]), None);
        check("eva", None, &role(&["secrets"]), None);
    }

    #[test]
    fn bindings_give_no_more_than_their_writer_holds() {
        let binding = |role: &str| {
            json!({
                "metadata": {"name": "b", "namespace": "a"},
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "name": "x"}]
            })
        };
        let bindings = resource::find(GROUP, "v1", "rolebindings").expect("role bindings");
        let check = |user: &str, role: &str, expected: Option<u16>| {
            let outcome = super::check(&policy(), &User::new(user, &[]), &bindings, None, &binding(role));
            assert_eq!(outcome.map_err(|status| status.code).err(), expected, "{user} {role}");
        };
        check("jane", "pods", None);
        check("jane", "secrets", Some(403));
        check("jane", "nothing", Some(404));
        check("eva", "secrets", None);
        check("eva", "pods", Some(403));
        let same = binding("secrets");
        let jane = User::new("jane", &[]);
        assert!(super::check(&policy(), &jane, &bindings, Some(&same), &same).is_ok());
    }
}
