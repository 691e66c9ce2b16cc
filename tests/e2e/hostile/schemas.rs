//! Definitions of custom resources that are bombs: patterns, rules, depth.

use http::Method;
use pal_tests::wait_until;
use serde_json::{Value, json};

use super::{JSON, Victim, many};
use crate::LIMIT;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition(plural: &str, spec: &Value) -> String {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    let names = json!({"plural": plural, "singular": plural, "kind": plural, "listKind": format!("{plural}list")});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let spec = json!({"group": "hostile.io", "scope": "Namespaced", "names": names, "versions": [version]});
    let metadata = json!({"name": format!("{plural}.hostile.io")});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec})
        .to_string()
}

#[tokio::test]
async fn patterns_rules_and_schemas_that_are_bombs_cost_little() {
    let mut victim = Victim::new().await;
    let deep =
        (0..200).fold(json!({"type": "string"}), |inner, _| json!({"type": "object", "properties": {"a": inner}}));
    let rule = |rule: &str| {
        let properties = json!({"l": {"type": "array", "items": {"type": "integer"}}, "s": {"type": "string"}});
        json!({"type": "object", "properties": properties, "x-kubernetes-validations": [{"rule": rule}]})
    };
    let all = "self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, a + b + c + d > 0))))";
    let replaced = format!("self.s{}.size() > 0", r#".replace("a", "aaaaaaaaaaaaaaaaaaaa")"#.repeat(5));
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let large = |n: usize| (format!("p{n}"), pattern(&format!("(?:a{{0,1000}}){{0,3}}x{n}")));
    let larges: serde_json::Map<String, Value> = (0..1_000).map(large).collect();
    for (spec, code, part) in [
        (pattern("(a{1000}){1000}"), 422, "error parsing regexp: expression too large"),
        (pattern(&format!("{}{}", "(".repeat(1_000), ")".repeat(1_000))), 422, "must be a valid regular expression"),
        (rule(&format!("{}true{}", "(".repeat(20_000), ")".repeat(20_000))), 422, "rule"),
        (rule(&format!("{}true", "!".repeat(20_000))), 422, "rule"),
        (rule(all), 422, "estimated rule cost exceeds budget"),
        (json!({"type": "object", "properties": larges}), 422, "the patterns of the schema are too large"),
        (deep, 400, "exceeded max depth"),
    ] {
        victim.check(Method::POST, DEFINITIONS, JSON, definition("refused", &spec), code, part).await;
    }
    let letters = "a".repeat(500_000);
    let values: Vec<String> = (0..20_000).map(|n| format!("value{n}")).collect();
    for (number, (spec, value, part)) in [
        (pattern("(a+)+$"), format!("\"{letters}!\""), "should match"),
        (pattern("^(([a-z])+.)+[A-Z]([a-z])+$"), format!("\"{letters}!\""), "should match"),
        (rule(&replaced), format!(r#"{{"s":"{letters}"}}"#), "actual cost limit exceeded"),
        (json!({"type": "array", "items": {"type": "string"}}), many("1", 1_000_000), "must be of type string"),
        (
            json!({"type": "array", "items": {"type": "string", "enum": values}}),
            many("\"x\"", 300_000),
            "Unsupported value",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            many("\"a\"", 500_000),
            "Duplicate value",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let plural = format!("kind{number}");
        victim.check(Method::POST, DEFINITIONS, JSON, definition(&plural, &spec), 201, "").await;
        let path = format!("/apis/hostile.io/v1/namespaces/default/{plural}");
        let api = &mut victim.api;
        wait_until(LIMIT, "the definition is served", async || api.get(&path, LIMIT).await.map(drop)).await;
        let body =
            format!(r#"{{"apiVersion":"hostile.io/v1","kind":"{plural}","metadata":{{"name":"a"}},"spec":{value}}}"#);
        let answer = victim.ask(Method::POST, &path, JSON, body).await;
        let text = answer.to_string();
        let shown: String = text.chars().take(300).collect();
        assert!(answer.status == 422 && text.contains(part), "{spec}: {part:?}, not {shown}");
        assert!(text.len() < 4 << 20, "{spec}: an answer of {} bytes", text.len());
    }
    victim.end().await;
}
