//! Roles that are put together from others: a ClusterRole with an `aggregationRule` has the rules of all that its
//! selectors choose.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use pal_resources::selector::LabelSelector;
use serde_json::json;

use crate::action::{Action, Plan, Target};
use crate::object::{is_deleting, name, same_object};

/// Gives every aggregated role the rules that it should have. Roles that are chosen may be aggregated themselves, so that
/// all are computed together: a change arrives at the last one at once.
pub fn reconcile(roles: &[Arc<ClusterRole>]) -> Plan {
    let by_name: BTreeMap<&str, &ClusterRole> = roles.iter().map(|role| (name(&role.metadata), &**role)).collect();
    let mut plan = Plan::idle();
    let mut known = HashMap::new();
    for (name, role) in &by_name {
        if role.aggregation_rule.is_none() || is_deleting(&role.metadata) {
            continue;
        }
        let rules = rules_of(&by_name, name, &mut BTreeSet::new(), &mut known);
        if role.rules.as_deref().unwrap_or_default() == rules {
            continue;
        }
        let target = Target::of(*role);
        plan.push(Action::Patch {
            patch: json!({ "metadata": same_object(&target), "rules": rules }),
            target,
            subresource: None,
            announce: None,
        });
    }
    plan
}

/// A role's rules; those of an aggregated one are its parts', by the parts' names, each rule once. A role that is its own
/// part, by whatever way, adds nothing there.
fn rules_of<'a>(
    roles: &BTreeMap<&'a str, &'a ClusterRole>,
    name: &'a str,
    above: &mut BTreeSet<&'a str>,
    known: &mut HashMap<&'a str, Vec<PolicyRule>>,
) -> Vec<PolicyRule> {
    if let Some(rules) = known.get(name) {
        return rules.clone();
    }
    let Some(role) = roles.get(name) else { return Vec::new() };
    let Some(aggregation) = &role.aggregation_rule else { return role.rules.clone().unwrap_or_default() };
    above.insert(name);
    let selectors: Vec<LabelSelector> = aggregation
        .cluster_role_selectors
        .iter()
        .flatten()
        .filter_map(|selector| LabelSelector::from_object(selector).ok())
        .collect();
    let mut rules = Vec::new();
    let mut whole = true;
    for (part, role) in roles {
        let empty = BTreeMap::new();
        let labels = role.metadata.labels.as_ref().unwrap_or(&empty);
        if !selectors.iter().any(|selector| selector.matches(labels)) {
            continue;
        }
        if above.contains(part) {
            whole = false;
            continue;
        }
        for rule in rules_of(roles, part, above, known) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    above.remove(name);
    // Within a circle the answer depends on where one came in.
    if whole && above.is_empty() {
        known.insert(name, rules.clone());
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn role(name: &str, label: &str, aggregates: &str, verbs: &[&str]) -> Arc<ClusterRole> {
        let mut role = json!({"metadata": {"name": name, "uid": name, "labels": {label: "true"}}});
        if aggregates.is_empty() {
            let rules: Vec<Value> =
                verbs.iter().map(|verb| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]})).collect();
            role["rules"] = rules.into();
        } else {
            role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {aggregates: "true"}}]});
        }
        Arc::new(serde_json::from_value(role).unwrap())
    }

    /// The roles that are changed, with the verbs of their rules.
    fn changed(roles: &[Arc<ClusterRole>]) -> Vec<String> {
        let actions = reconcile(roles).actions;
        let shown = actions.iter().map(|action| match action {
            Action::Patch { target, patch, .. } => {
                let rules = patch["rules"].as_array().into_iter().flatten();
                let verbs: Vec<&str> = rules.filter_map(|rule| rule["verbs"][0].as_str()).collect();
                format!("{} {}", target.name, verbs.join(","))
            }
            other => format!("{other:?}"),
        });
        shown.collect()
    }

    #[test]
    fn an_aggregated_role_has_the_rules_of_its_parts() {
        let check = |roles: &[Arc<ClusterRole>], expected: &[&str]| assert_eq!(changed(roles), expected);
        check(&[role("a", "x", "", &["get"])], &[]);
        check(&[role("all", "", "x", &[]), role("a", "x", "", &["get"]), role("b", "y", "", &["list"])], &["all get"]);
        check(
            &[role("all", "", "x", &[]), role("b", "x", "", &["get"]), role("a", "x", "", &["list", "get"])],
            &["all list,get"],
        );
        check(&[role("all", "", "x", &[])], &[]);
        // view goes into edit, edit into admin, all at once.
        check(
            &[
                role("admin", "", "admin", &[]),
                role("edit", "admin", "edit", &[]),
                role("view", "edit", "view", &[]),
                role("leaf", "view", "", &["get"]),
                role("more", "edit", "", &["create"]),
            ],
            &["admin create,get", "edit create,get", "view get"],
        );
        // A circle ends.
        check(&[role("a", "x", "y", &[]), role("b", "y", "x", &[]), role("c", "x", "", &["get"])], &["a get", "b get"]);
    }

    #[test]
    fn a_role_that_is_right_is_left_alone() {
        let mut all = (*role("all", "", "x", &[])).clone();
        all.rules = role("a", "x", "", &["get"]).rules.clone();
        assert!(changed(&[Arc::new(all), role("a", "x", "", &["get"])]).is_empty());
    }
}
