//! What is wrong with a validating policy's expressions if objects are of the kinds that it is about: warnings, as the policy
//! is in force all the same (kube-controller-manager's `validatingadmissionpolicy-status-controller`).

use pal_resources::FieldPath;
use serde_json::Value;

use super::{items, text};
use crate::cel::typed::Checking;

pub use crate::cel::typed::Kind;

/// One of `status.typeChecking.expressionWarnings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The path of the expression.
    pub field: String,
    /// What is wrong with it, for each kind for which something is.
    pub message: String,
}

/// Which resources a policy names one by one: group, version, plural, in an order of their own. A rule with wildcards names
/// none.
pub fn named_resources(policy: &Value) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    let rules = policy["spec"]["matchConstraints"]["resourceRules"].as_array().into_iter().flatten();
    for rule in rules {
        let texts = |field: &str| {
            let mut all: Vec<&str> = rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            all.sort_unstable();
            all
        };
        let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
        if groups.iter().chain(&versions).any(|name| name.contains('*')) {
            continue;
        }
        let resources: Vec<&str> = texts("resources").into_iter().filter(|name| !name.contains(['*', '/'])).collect();
        for group in &groups {
            for version in &versions {
                found.extend(resources.iter().map(|resource| (*group, *version, *resource)));
            }
        }
    }
    found
}

/// What is wrong for objects of those kinds and parameters of that one.
pub fn type_warnings(policy: &Value, kinds: &[Kind<'_>], params: Option<&Kind<'_>>) -> Vec<Warning> {
    let (spec, path) = (&policy["spec"], FieldPath::new("spec"));
    let described: Vec<Checking<'_>> = kinds
        .iter()
        .filter_map(|kind| {
            let mut checking = Checking::new(kind.described()?, params.and_then(Kind::described));
            for (_, variable) in items(spec, "variables", &path) {
                checking.variable(text(variable, "name"), text(variable, "expression"));
            }
            Some(checking)
        })
        .collect();
    let mut warnings = Vec::new();
    for (at, validation) in items(spec, "validations", &path) {
        for field in ["expression", "messageExpression"] {
            let source = text(validation, field);
            let wrong = described.iter().filter_map(|checking| checking.fault(source));
            let messages: Vec<String> = wrong.map(|message| format!("{message}\n")).collect();
            if !messages.is_empty() && !source.is_empty() {
                warnings.push(Warning { field: at.child(field).to_string(), message: messages.join("\n") });
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEPLOYMENT: Kind<'_> = Kind { group: "apps", version: "v1", kind: "Deployment", definition: None };
    const POD: Kind<'_> = Kind { group: "", version: "v1", kind: "Pod", definition: None };
    const CONFIG: Kind<'_> = Kind { group: "", version: "v1", kind: "ConfigMap", definition: None };

    /// The warnings for an expression, and for the message's where there is one.
    fn warned(expression: &str, message: &str, kinds: &[Kind<'_>]) -> Vec<Warning> {
        let variables = json!([
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "broken", "expression": "object.spec.replicas == 'x'"},
        ]);
        let validation = json!({"expression": expression, "messageExpression": message});
        let policy = json!({"spec": {"variables": variables, "validations": [validation]}});
        type_warnings(&policy, kinds, Some(&CONFIG))
    }

    #[test]
    fn expressions_are_warned_of_that_do_not_fit_the_kind() {
        let check = |expression: &str, expected: &[&str]| {
            let found = warned(expression, "", &[DEPLOYMENT]);
            let told: Vec<&str> = found.iter().map(|warning| warning.message.as_str()).collect();
            assert_eq!(told.len(), expected.len(), "{expression}: {told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.contains(expected), "{expression}: {told}");
            }
        };
        check("object.spec.replicas > 1", &[]);
        check("object.spec.replicas > '1'", &["found no matching overload for '_>_' applied to '(int, string)'"]);
        check("object.replicas > 1", &["undefined field 'replicas'"]);
        check("has(object.spec.replica)", &["undefined field 'replica'"]);
        check("oldObject == null || oldObject.metadata.labels['a'] == 'b'", &[]);
        check("object.metadata.labels.all(k, v, v == 1)", &["'_==_' applied to '(string, int)'"]);
        check("object.metadata.creationTimestamp > timestamp('2026-01-01T00:00:00Z')", &[]);
        check("object.metadata.__namespace__ == 'a' && object.kind == 'Deployment'", &[]);
        check("object.metadata.namespace == 'a'", &["undefined field 'namespace'"]);
        check("object.spec.template.spec.containers.all(c, c.image.startsWith('a/'))", &[]);
        check("object.spec.template.spec.containers.all(c, c.images == '')", &["undefined field 'images'"]);
        check(
            "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '1'",
            &[],
        );
        check("params.data.a == 'b' && params.immutable", &[]);
        check("params.data.a == 1", &["'_==_' applied to '(string, int)'"]);
        check("request.userInfo.groups.exists(g, g == 'a') && request.options.any == 1", &[]);
        check("variables.replicas == 'a'", &["'_==_' applied to '(int, string)'"]);
        // What is wrong with a variable is not told, nor what follows from it.
        check("variables.broken == 1 && variables.broken", &[]);
        check("variables.none", &["undefined field 'none'"]);
        check("authorizer.allowed()", &["'allowed' applied to 'kubernetes.authorization.Authorizer.()'"]);
    }

    #[test]
    fn warnings_name_the_expression_and_the_kinds() {
        let wrong =
            |kind: &str| format!("{kind}: ERROR: <input>:1:7: undefined field 'foo'\n | object.foo == 1\n | ......^\n");
        let expected = |field: &str, message: String| vec![Warning { field: field.to_owned(), message }];
        let both = [wrong("/v1, Kind=Pod"), wrong("apps/v1, Kind=Deployment")].join("\n");
        let field = "spec.validations[0].expression";
        assert_eq!(warned("object.foo == 1", "", &[POD, DEPLOYMENT]), expected(field, both));
        assert_eq!(warned("object.foo == 1", "", &[]), []);
        let unknown = Kind { kind: "Nothing", ..POD };
        assert_eq!(warned("object.foo == 1", "", &[unknown, POD]), expected(field, wrong("/v1, Kind=Pod")));
        let field = "spec.validations[0].messageExpression";
        let message = warned("object.spec.replicas > 1", "'wants ' + object.spec.replicas", &[DEPLOYMENT]);
        assert_eq!(message.len(), 1);
        assert_eq!(message[0].field, field);
        assert!(message[0].message.contains("'_+_' applied to '(string, int)'"), "{message:?}");
    }

    #[test]
    fn rules_name_resources_unless_they_mean_many() {
        let check = |rules: Value, expected: &[(&str, &str, &str)]| {
            let policy = json!({"spec": {"matchConstraints": {"resourceRules": rules}}});
            assert_eq!(named_resources(&policy), expected, "{rules}");
        };
        let rule = |groups: &[&str], versions: &[&str], resources: &[&str]| json!({"apiGroups": groups, "apiVersions": versions, "resources": resources});
        check(json!([]), &[]);
        check(
            json!([rule(&["apps", ""], &["v1"], &["pods", "deployments", "pods/*", "*"])]),
            &[("", "v1", "deployments"), ("", "v1", "pods"), ("apps", "v1", "deployments"), ("apps", "v1", "pods")],
        );
        check(json!([rule(&["*"], &["v1"], &["pods"]), rule(&[""], &["*"], &["pods"])]), &[]);
    }
}
