//! Bodies that are deep, huge, or bombs.

use http::Method;

use super::{CONFIGS, JSON, Victim, many};

const PODS: &str = "/api/v1/namespaces/default/pods";
const YAML: &str = "application/yaml";
const DEEP: usize = 10_000;
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

fn nested(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP))
}

fn alias_bomb() -> String {
    let line = |name: char, item: &str| format!("{name}: &{name} [{}]\n", [item; 9].join(","));
    let lines = ('b'..='i').map(|name| line(name, &format!("*{}", char::from(name as u8 - 1))));
    std::iter::once(line('a', "lol")).chain(lines).collect()
}

#[tokio::test]
async fn bodies_that_are_deep_or_bombs_are_refused() {
    let mut victim = Victim::new().await;
    victim.check(Method::POST, CONFIGS, JSON, r#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#, 201, "").await;
    let (deep, list) = (nested("{\"a\":", "}"), nested("[", "]"));
    let inside = |value: &str| format!(r#"{{"metadata":{{"name":"b"}},"unknown":[{value}]}}"#);
    let wide = format!("x: &x \"{}\"\n{}", "x".repeat(100_000), "y: *x\n".repeat(10_000));
    let recursive = "metadata: {name: b}\ndata: &a {b: *a}\n";
    for (kind, body, part) in [
        (JSON, inside(&deep), "exceeded max depth"),
        (JSON, inside(&list), "exceeded max depth"),
        (JSON, format!(r#"{{"metadata":{{"annotations":{deep}}}}}"#), "exceeded max depth"),
        (JSON, "[".repeat(1_000_000), "must be of type ConfigMap"),
        (YAML, nested("{a: ", "}"), "recursion limit exceeded"),
        (YAML, format!("a:\n{}x", "- ".repeat(DEEP)), "exceeded max depth"),
        (YAML, alias_bomb(), "alias replay limit exceeded"),
        (YAML, wide, "budget breached"),
        (YAML, recursive.to_owned(), "recursive references"),
        (
            JSON,
            format!(r#"{{"metadata":{{"name":"b","generation":{}}}}}"#, "9".repeat(1_000_000)),
            "number out of range",
        ),
        (JSON, r#"{"metadata":{"name":"b","generation":1e999999999}}"#.to_owned(), "number out of range"),
        (JSON, r#"{"metadata":{"name":"b"}}"#.to_owned() + "\0", r"invalid character '\x00' after top-level value"),
        (JSON, r#"{"metadata":{"name":"b"},"data":{"a":"\ud800"}}"#.to_owned(), "cannot be handled as a ConfigMap"),
    ] {
        victim.check(Method::POST, CONFIGS, kind, body, 400, part).await;
    }
    // Go reads that far, and passes over a field that nobody knows.
    victim.check(Method::POST, CONFIGS, JSON, deep.clone(), 422, "name or generateName is required").await;
    victim.check(Method::POST, CONFIGS, JSON, &b"{\"data\":{\"a\":\"\xff\"}}"[..], 400, "cannot be handled").await;
    victim.check(Method::POST, CONFIGS, YAML, &b"\x00\xff"[..], 400, "invalid UTF-8").await;
    victim
        .check(Method::POST, CONFIGS, JSON, "x".repeat(4 << 20), 413, "Request entity too large: limit is 3145728")
        .await;
    let (one, apply) = (format!("{CONFIGS}/a"), format!("{CONFIGS}/a?fieldManager=m"));
    for kind in PATCHES {
        let path = if kind.contains("apply") { &apply } else { &one };
        for body in [&deep, &list, &format!(r#"[{{"op":"add","path":"/data","value":{deep}}}]"#)] {
            // Of these alone kube-apiserver says only what is wrong.
            let part = if kind.contains("strategic") { "exceeded max depth" } else { "error decoding" };
            victim.check(Method::PATCH, path, kind, body.clone(), 400, part).await;
        }
    }
    victim.check(Method::PATCH, &apply, PATCHES[3], alias_bomb(), 400, "alias replay limit exceeded").await;
    let operations = many(r#"{"op":"copy","from":"/data","path":"/data/x"}"#, 10_000);
    // kube-apiserver does not say either why a patch does not apply.
    let unfit = "the server rejected our request due to an error in our request";
    victim.check(Method::PATCH, &one, PATCHES[0], operations, 422, unfit).await;
    let path = format!(r#"[{{"op":"add","path":"{}","value":1}}]"#, "/a".repeat(100_000));
    victim.check(Method::PATCH, &one, PATCHES[0], path, 422, unfit).await;
    victim.end().await;
}

#[tokio::test]
async fn lists_of_a_million_entries_cost_little() {
    let mut victim = Victim::new().await;
    let meta = |field: &str, list: String| format!(r#"{{"metadata":{{"name":"b","{field}":{list}}}}}"#);
    let container = |field: &str, list: String| {
        format!(
            r#"{{"metadata":{{"name":"b"}},"spec":{{"containers":[{{"name":"a","image":"x","{field}":{list}}}]}}}}"#
        )
    };
    let keys =
        |key: &str| format!("{{{}}}", (0..200_000).map(|n| format!("\"{key}{n}\":\"\"")).collect::<Vec<_>>().join(","));
    // Those that are alike are taken for one.
    let owner = |n: usize| format!(r#"{{"apiVersion":"v1","kind":"A","name":"a","uid":"{n}","controller":true}}"#);
    let owners = format!("[{}]", (0..40_000).map(owner).collect::<Vec<_>>().join(","));
    let objects = "lists have too many objects: limit is 50000";
    for (path, body, code, part) in [
        (CONFIGS, meta("finalizers", many("\"a/b\"", 1_000_000)), 413, "Request entity too large: limit is"),
        (CONFIGS, meta("finalizers", many("\"\"", 1_000_000)), 422, "name part must be non-empty"),
        (CONFIGS, meta("ownerReferences", many("{}", 1_000_000)), 400, objects),
        (CONFIGS, meta("ownerReferences", many("null", 1_000_000)), 400, objects),
        (CONFIGS, meta("ownerReferences", owners), 422, "Only one reference can have Controller set to true"),
        (CONFIGS, meta("managedFields", many("{}", 1_000_000)), 400, objects),
        (CONFIGS, meta("labels", keys("/")), 422, "prefix part must be non-empty"),
        (CONFIGS, meta("annotations", keys("/")), 422, "prefix part must be non-empty"),
        (PODS, container("env", many("{}", 1_000_000)), 400, objects),
        (PODS, container("ports", many("{}", 1_000_000)), 400, objects),
        (
            PODS,
            container("ports", many("{}", 40_000)),
            422,
            "spec.containers[0].ports[0].containerPort: Required value",
        ),
        (PODS, container("env", many("{}", 40_000)), 422, "spec.containers[0].env[0].name: Required value"),
        (PODS, container("args", many("\"\"", 1_000_000)), 413, "Request entity too large: limit is"),
        (
            PODS,
            format!(r#"{{"metadata":{{"name":"b"}},"spec":{{"containers":{}}}}}"#, many("{}", 1_000_000)),
            400,
            objects,
        ),
    ] {
        victim.check(Method::POST, path, JSON, body, code, part).await;
    }
    // The same in protobuf, where an entry has two bytes: `Pod.spec.containers`.
    let field = |number: u8, content: &[u8]| {
        let (mut bytes, mut length) = (vec![number << 3 | 2], content.len());
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [bytes.as_slice(), content].concat()
    };
    let what = field(1, &[field(1, b"v1"), field(2, b"Pod")].concat());
    let containers = field(2, &[0x12, 0].repeat(1_000_000));
    let body = [b"k8s\0".to_vec(), what, field(2, &containers)].concat();
    victim.check(Method::POST, PODS, "application/vnd.kubernetes.protobuf", body, 400, objects).await;
    victim.end().await;
}
