//! Whether a node is one that a pod wants, and whether a pod bears a node's taints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};

/// What a selector looks at on a node.
pub(crate) struct Labelled<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

/// Whether a node with that name and those labels satisfies the pod's `nodeSelector` and its required node affinity.
pub fn node_matches(spec: &PodSpec, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let node = Labelled { name, labels };
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| selects(selector, &node))
}

/// Whether one of the selector's terms chooses the node.
pub(crate) fn selects(selector: &NodeSelector, node: &Labelled<'_>) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// The weights of the preferred terms that the node satisfies, added up.
pub(crate) fn preference(spec: &PodSpec, node: &Labelled<'_>) -> i64 {
    spec.affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref())
        .into_iter()
        .flatten()
        .filter(|preferred| term_matches(&preferred.preference, node))
        .map(|preferred| i64::from(preferred.weight))
        .sum()
}

/// A term without any requirement matches nothing, as in Kubernetes.
fn term_matches(term: &NodeSelectorTerm, node: &Labelled<'_>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|want| requirement_matches(want, node.labels.get(&want.key).map(String::as_str)))
        && fields.iter().all(|want| {
            let value = (want.key == "metadata.name").then_some(node.name);
            requirement_matches(want, value)
        })
}

fn requirement_matches(want: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = want.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|v| v == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = || values.first().and_then(|v| number(v));
    match want.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => {
            matches!((value.and_then(number), bound()), (Some(have), Some(want)) if have > want)
        }
        "Lt" => {
            matches!((value.and_then(number), bound()), (Some(have), Some(want)) if have < want)
        }
        _ => false,
    }
}

/// Whether one toleration bears that taint. Times (`tolerationSeconds`) are the node controller's business.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: &str, values: &[&str], value: Option<&str>, expected: bool) {
        let want = NodeSelectorRequirement {
            key: "zone".into(),
            operator: operator.into(),
            values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
        };
        assert_eq!(requirement_matches(&want, value), expected, "{operator} {values:?} {value:?}");
    }

    #[test]
    fn a_requirement_matches_as_its_operator_says() {
        check("In", &["a", "b"], Some("b"), true);
        check("In", &["a", "b"], Some("c"), false);
        check("In", &["a"], None, false);
        check("NotIn", &["a"], None, true);
        check("NotIn", &["a"], Some("a"), false);
        check("Exists", &[], Some(""), true);
        check("Exists", &[], None, false);
        check("DoesNotExist", &[], None, true);
        check("Gt", &["3"], Some("10"), true);
        check("Gt", &["3"], Some("3"), false);
        check("Gt", &["3"], Some("ten"), false);
        check("Lt", &["3"], Some("-1"), true);
        check("Like", &["a"], Some("a"), false);
    }

    #[test]
    fn a_term_without_requirements_matches_no_node() {
        let labels = BTreeMap::new();
        assert!(!term_matches(&NodeSelectorTerm::default(), &Labelled { name: "n", labels: &labels }));
    }

    #[test]
    fn a_toleration_bears_a_taint_as_its_operator_says() {
        let taint =
            |effect: &str| Taint { key: "k".into(), value: Some("v".into()), effect: effect.into(), time_added: None };
        let toleration =
            |key: Option<&str>, operator: Option<&str>, value: Option<&str>, effect: Option<&str>| Toleration {
                key: key.map(Into::into),
                operator: operator.map(Into::into),
                value: value.map(Into::into),
                effect: effect.map(Into::into),
                toleration_seconds: None,
            };
        let check = |t: Toleration, expected: bool| {
            assert_eq!(tolerates(&t, &taint("NoSchedule")), expected, "{t:?}");
        };
        check(toleration(Some("k"), Some("Equal"), Some("v"), None), true);
        check(toleration(Some("k"), None, Some("v"), Some("NoSchedule")), true);
        check(toleration(Some("k"), None, Some("w"), None), false);
        check(toleration(Some("k"), Some("Exists"), None, None), true);
        check(toleration(None, Some("Exists"), None, None), true);
        check(toleration(None, Some("Equal"), None, None), false);
        check(toleration(Some("k"), Some("Exists"), None, Some("NoExecute")), false);
        check(toleration(Some("j"), Some("Exists"), None, None), false);
    }
}
