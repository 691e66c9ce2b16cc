//! What rules cost at most, beside what Kubernetes' own tests expect (apiextensions-apiserver `schema/cel`).

use serde_json::{Value, json};

use super::{Meta, Rule};
use crate::schema::{Node, Path};

fn most(schema: &Value, rule: &str) -> u64 {
    let node = Node::read(schema, &mut Path::default()).expect("a schema");
    let rule = Rule::compile(&json!({"rule": rule}), &node, schema, Meta::Plain).expect("a rule");
    rule.cost(&node, Meta::Plain)
}

fn of_format(kind: &str) -> Value {
    match kind {
        "duration" | "date" | "date-time" | "byte" => json!({"type": "string", "format": kind}),
        "int-or-string" => json!({"x-kubernetes-int-or-string": true}),
        kind => json!({"type": kind}),
    }
}

fn with(mut schema: Value, field: &str, limit: Option<u64>) -> Value {
    if let Some(limit) = limit {
        schema[field] = limit.into();
    }
    schema
}

fn array(item: Value, limit: Option<u64>) -> Value {
    with(json!({"type": "array", "items": item}), "maxItems", limit)
}

fn map(entry: Value, limit: Option<u64>) -> Value {
    with(json!({"type": "object", "additionalProperties": entry}), "maxProperties", limit)
}

fn text(limit: Option<u64>) -> Value {
    with(of_format("string"), "maxLength", limit)
}

fn fields() -> Value {
    let text = of_format("string");
    json!({"type": "object", "required": ["required"], "properties": {"required": text, "optional": text}})
}

fn listed(of: &str) -> impl Fn(Option<u64>) -> Value {
    let item = of_format(of);
    move |limit| array(item.clone(), limit)
}

fn mapped(entry: Value) -> impl Fn(Option<u64>) -> Value {
    move |limit| map(entry.clone(), limit)
}

/// What differs from what Kubernetes expects.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    /// The rule for a schema without limits, and with one: how long lists, maps and texts may be.
    fn check(&mut self, schema: &dyn Fn(Option<u64>) -> Value, rule: &str, unlimited: u64, limit: u64, limited: u64) {
        let bare = schema(None);
        let found = (most(&bare, rule), most(&schema(Some(limit)), rule));
        if found != (unlimited, limited) {
            self.0.push(format!("{rule} over {bare}: {found:?}, not {:?}", (unlimited, limited)));
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{:#?}", self.0);
    }
}

#[test]
fn rules_over_lists_cost_at_most_what_kubernetes_says() {
    let mut differences = Differences::default();
    let all = "self.all(x, true)";
    differences.check(&listed("number"), all, 4_718_591, 10, 32);
    differences.check(&listed("string"), all, 3_145_727, 20, 62);
    differences.check(&listed("boolean"), all, 1_887_437, 5, 17);
    differences.check(&listed("int-or-string"), all, 4_718_591, 10, 32);
    differences.check(&listed("duration"), all, 2_359_295, 5, 17);
    differences.check(&listed("date"), all, 725_936, 15, 47);
    differences.check(&listed("date-time"), all, 428_963, 25, 77);
    differences.check(&|limit| array(array(of_format("number"), None), limit), all, 3_145_727, 100, 302);
    differences.check(&|limit| array(fields(), limit), all, 555_128, 50, 152);
    differences.check(&|limit| array(fields(), limit), "self[0] == null", 2, 422, 2);
    differences.check(&listed("number"), "self[1] == 0.0", 2, 5000, 2);
    differences.check(&listed("number"), "self[3] == 0.0", 2, 0, 2);
    differences.check(&listed("string"), "self[1] == self[1]", 314_577, 8, 314_577);
    differences.check(&listed("boolean"), "self[0] == false", 2, 25, 2);
    differences.check(&listed("int-or-string"), "self[0] == 5", 3, 10, 3);
    differences.check(&listed("duration"), "self[0].getHours() == 2", 4, 525, 4);
    differences.check(&listed("date"), "self[2].getDayOfMonth() == 13", 4, 42, 4);
    differences.check(&listed("date-time"), "self[2].getMinutes() == 45", 4, 99, 4);
    differences.check(&|limit| array(array(of_format("number"), None), limit), "self[0][0] == -1.0", 3, 51, 3);
    differences.check(
        &|limit| array(map(of_format("number"), None), limit),
        "self.all(x, x.y == 25.2)",
        6_291_452,
        12,
        74,
    );
    differences.check(&|limit| array(map(of_format("number"), None), limit), "self[0].x > 2.0", 4, 3000, 4);
    differences.check(&listed("number"), "self.all(x, x == 0.0)", 6_291_454, 3 * 1024 * 2048, 25_165_826);
    let loops = |rule: &str| most(&array(of_format("number"), Some(10)), rule);
    assert_eq!(loops("self.all(x, self.all(y, true))"), 352);
    assert_eq!(loops("self.all(x, self.all(y, self.all(z, true)))"), 3552);
    assert!(most(&array(of_format("number"), None), "self.all(x, self.all(y, true))") > 10_000_000);
    differences.none();
}

#[test]
fn rules_over_maps_cost_at_most_what_kubernetes_says() {
    let mut differences = Differences::default();
    let all = "self.all(x, true)";
    differences.check(&mapped(of_format("number")), all, 1_348_169, 10, 32);
    differences.check(&mapped(of_format("string")), all, 1_179_647, 3, 11);
    differences.check(&mapped(of_format("boolean")), all, 943_718, 100, 302);
    differences.check(&mapped(of_format("int-or-string")), all, 1_348_169, 15, 47);
    differences.check(&mapped(of_format("duration")), all, 1_048_577, 5, 17);
    differences.check(&mapped(of_format("date")), all, 524_288, 10, 32);
    differences.check(&mapped(of_format("date-time")), all, 349_526, 25, 77);
    differences.check(&mapped(fields()), all, 428_963, 20, 62);
    differences.check(&mapped(map(of_format("number"), None)), all, 1_179_647, 10, 32);
    differences.check(&mapped(array(of_format("number"), None)), all, 1_179_647, 25, 77);
    differences.check(&mapped(of_format("number")), "self[\"x\"] == 0.0", 2, 0, 2);
    differences.check(&mapped(of_format("integer")), "oldSelf.size() == self.size()", 5, 10, 5);
    differences.check(&mapped(of_format("date-time")), "self[\"a\"] == self[\"b\"]", 8, 7, 8);
    differences.check(&mapped(of_format("duration")), "self[\"c\"] == self[\"d\"]", 8, 42, 8);
    differences.check(&|limit| map(text(limit), limit), "self.all(x, x.contains(self[x]))", 2_752_507, 10, 72);
    let nested = |inner: bool| {
        move |limit: Option<u64>| {
            let entry = with(fields(), "maxProperties", limit.filter(|_| inner));
            array(with(map(entry, None), "maxProperties", limit), limit.filter(|_| inner))
        }
    };
    let rule = "self.all(x, x[\"y\"].required == \"z\")";
    differences.check(&nested(true), rule, 7_340_027, 10, 72);
    differences.check(&nested(false), rule, 7_340_027, 10, 7_340_027);
    differences.none();
}

#[test]
fn rules_over_texts_cost_at_most_what_kubernetes_says() {
    let mut differences = Differences::default();
    differences.check(&text, "self.contains('test')", 314_574, 10, 5);
    differences.check(&text, "self.startsWith('test')", 2, 15, 2);
    differences.check(&text, "self.endsWith('test')", 2, 30, 2);
    differences.check(&text, "size(self + \"hello\") > size(\"hello\")", 314_578, 4, 7);
    differences.check(&text, "self.matches(\"x\")", 314_574, 50, 22);
    differences.check(&text, "\"\".matches(\"(((((((((())))))))))[0-9]\")", 7, 10, 7);
    differences.check(&text, "self.matches(\"\")", 1, 100, 1);
    differences.check(&text, "self == \"x\"", 2, 0, 1);
    differences.check(&|limit| with(of_format("byte"), "maxLength", limit), "self == b\"x\"", 2, 0, 1);
    differences.check(&text, "self.find('[0-9]+') == ''", 629_147, 10, 11);
    differences.check(&text, "self.lowerAscii() == 'lower!'", 314_575, 10, 6);
    differences.check(&|limit| array(text(limit), limit), "self.join(' ') == 'aa bb'", 329_853_068_905, 10, 43);
    differences.check(&|limit| array(text(limit), limit), "self.isSorted() == true", 329_854_432_052, 10, 52);
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    differences.check(
        &|limit| object(json!({"str": text(limit), "before": text(Some(2)), "after": text(Some(4))})),
        "self.str.replace(self.before, self.after) == 'does not matter'",
        629_154,
        4,
        12,
    );
    differences.check(
        &|limit| object(json!({"str": text(limit), "separator": text(limit)})),
        "self.str.split(self.separator) == []",
        629_160,
        10,
        22,
    );
    let named = json!({"type": "string", "enum": ["A", "B", "C", "LongValue"]});
    assert_eq!(most(&named, "self.contains('A')"), 2);
    differences.none();
}
