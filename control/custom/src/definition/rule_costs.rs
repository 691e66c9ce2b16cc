//! What rules may cost at most, judged when they are written (apiextensions `validation/cel_validation.go`).

use pal_resources::{FieldError, FieldPath};

use super::rule_rules::RULES;
use crate::cel::{self, Meta};
use crate::schema::Node;

/// What one rule may cost for all values of an object that it looks at.
const PER_RULE: u64 = 10_000_000;
/// What all rules of a schema may cost.
const PER_SCHEMA: u64 = 100_000_000;
/// How many of the rules that cost most are named where all cost too much together.
const NAMED: usize = 4;

/// Refuses rules that could cost too much with the largest objects that there can be.
pub(super) fn validate(node: &Node, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let mut costs = Costs { errors, total: 0, most: Vec::new() };
    costs.walk(node, Meta::Resource, path, Some(1));
    let Costs { errors, total, mut most } = costs;
    if total > PER_SCHEMA {
        most.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        errors.extend(most.iter().take(NAMED).map(|(_, at)| FieldError::forbidden(at, why)));
        let why = exceeds(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
            total,
            PER_SCHEMA,
        );
        errors.push(FieldError::forbidden(path, &why));
    }
}

struct Costs<'a> {
    errors: &'a mut Vec<FieldError>,
    total: u64,
    /// Rules and where they stand.
    most: Vec<(u64, FieldPath)>,
}

impl Costs<'_> {
    /// `times` is how many values of the schema an object can have; nothing where no list or map above says how long it is.
    fn walk(&mut self, node: &Node, meta: Meta, path: &FieldPath, times: Option<u64>) {
        let most = times.unwrap_or_else(|| cel::most_values(node));
        for (index, rule) in node.compiled.iter().enumerate() {
            let at = path.child(RULES).index(index);
            let cost = rule.cost(node, meta).saturating_mul(most);
            self.check("estimated rule cost", cost, &at.child("rule"));
            self.total = self.total.saturating_add(cost);
            self.most.push((cost, at.child("rule")));
            let (cost, at) = (rule.message_cost(node, meta), at.child("messageExpression"));
            self.check("estimated messageExpression cost", cost, &at);
            if cost > 0 {
                self.total = self.total.saturating_add(cost);
                self.most.push((cost, at));
            }
        }
        for (name, inner) in &node.properties {
            self.walk(inner, Meta::of(inner), &path.child("properties").key(name), times);
        }
        let within = |most: Option<u64>| Some(times?.saturating_mul(most?));
        if let Some(inner) = node.entries() {
            let times = within(node.checks.max_properties);
            self.walk(inner, Meta::of(inner), &path.child("additionalProperties"), times);
        }
        if let Some(inner) = &node.items {
            self.walk(inner, Meta::of(inner), &path.child("items"), within(node.checks.max_items));
        }
    }

    fn check(&mut self, what: &str, cost: u64, at: &FieldPath) {
        if cost > PER_RULE {
            self.errors.push(FieldError::forbidden(at, &exceeds(what, cost, PER_RULE)));
        }
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // It is shown with one digit.
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        much if much > 100.0 => "more than 100x".to_owned(),
        little if little < 1.5 => format!("{little:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{definition, told};

    const RULE: &str = "x-kubernetes-validations";
    const HINT: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

    fn ruled(mut schema: Value, rule: &str) -> Value {
        schema[RULE] = json!([{"rule": rule}]);
        schema
    }

    fn costs(schema: Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"a": schema}});
        let told = told(&definition(schema), None);
        let start = "spec.validation.openAPIV3Schema";
        told.iter().map(|why| why.replace(start, "").replace(HINT, "...").replace("Forbidden: ", "")).collect()
    }

    #[test]
    fn a_rule_that_could_cost_too_much_is_refused() {
        let text = || json!({"type": "string"});
        let list = |items: Value| json!({"type": "array", "items": items});
        let bounded = |mut list: Value, most: u64| {
            list["maxItems"] = json!(most);
            list
        };
        let check = |schema: Value, rule: &str, expected: &[&str]| {
            assert_eq!(costs(ruled(schema, rule)), expected, "{rule}");
        };
        let own = |factor: &str| {
            format!(".properties[a].{RULE}[0].rule: estimated rule cost exceeds budget by factor of {factor} ...")
        };
        let much = own("more than 100x");
        check(text(), "self.size() < 9", &[]);
        check(text(), "self == 'x'", &[]);
        check(text(), "self.matches('^a+$')", &[]);
        check(list(text()), "self.size() < 9", &[]);
        check(list(text()), "self.all(x, x == 'a')", &[]);
        let square = "self.all(x, self.all(y, x != y))";
        check(bounded(list(json!({"type": "integer"})), 100), square, &[]);
        let told = costs(ruled(list(text()), square));
        assert!(told.contains(&much), "{told:?}");
        let total = ": x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x ...";
        assert!(told.iter().any(|why| why == total), "{told:?}");
        let patterns = "self.all(x, x.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))";
        let short = json!({"type": "string", "maxLength": 63});
        check(bounded(list(short.clone()), 64), patterns, &[]);
        assert!(costs(ruled(list(text()), patterns)).contains(&much));
    }

    #[test]
    fn a_rule_costs_as_often_as_there_are_values() {
        let item = || ruled(json!({"type": "string"}), "self.matches('^[a-z]{1,30}x*$')");
        let many = costs(json!({"type": "array", "items": item()}));
        assert!(
            many.iter().any(|why| why.contains(".properties[a].items.") && why.contains("more than 100x")),
            "{many:?}"
        );
        let few = json!({"type": "array", "maxItems": 3, "items": item()});
        assert_eq!(costs(few), Vec::<String>::new());
        let entries = json!({"type": "object", "maxProperties": 3, "additionalProperties": item()});
        assert_eq!(costs(entries), Vec::<String>::new());
    }

    #[test]
    fn what_is_stored_stays_acceptable() {
        let schema = ruled(json!({"type": "array", "items": {"type": "string"}}), "self.all(x, self.all(y, x != y))");
        let crd = definition(json!({"type": "object", "properties": {"a": schema}}));
        assert!(!told(&crd, None).is_empty());
        let mut changed = crd.clone();
        changed["spec"]["names"]["shortNames"] = json!(["w"]);
        assert_eq!(told(&changed, Some(&crd)), Vec::<String>::new());
    }
}
