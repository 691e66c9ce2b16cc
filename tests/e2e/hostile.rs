//! Clients that mean harm: what they ask for costs little and is refused in clear words, and nobody else notices.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use pal_tests::{Access, Api, Cluster, Json, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::{LIMIT, pal};

/// How long another client may wait for an answer on a busy machine.
const QUICK: Duration = Duration::from_secs(5);
/// What the server may take of memory, whatever it is asked: 1 GiB.
const MEMORY_KIB: u64 = 1024 * 1024;
const DEEP: usize = 10_000;
const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// A server, who harms it, and somebody else who asks small things meanwhile.
struct Victim {
    cluster: Cluster,
    access: Access,
    api: Api,
    other: JoinHandle<Duration>,
    done: tokio::sync::watch::Sender<bool>,
}

impl Victim {
    async fn new() -> Self {
        let cluster = pal().server(&[]).await;
        let access = Access::from_kubeconfig(&cluster.kubeconfig()).await.expect("an access");
        let (done, ended) = tokio::sync::watch::channel(false);
        let mut other = access.api();
        let other = tokio::spawn(async move {
            let mut worst = Duration::ZERO;
            while !*ended.borrow() {
                let began = Instant::now();
                other.get("/api/v1/namespaces/default", LIMIT).await.expect("others are answered");
                worst = worst.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            worst
        });
        let api = access.api();
        Self { cluster, access, api, other, done }
    }

    async fn ask(&mut self, method: Method, path: &str, kind: &str, body: impl Into<Bytes>) -> Json {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(Full::new(body)).expect("a request");
        self.api.send(request, LIMIT).await.unwrap_or_else(|error| panic!("{path} {kind} {shown}: {error}"))
    }

    /// That must be the status, and a part of the message.
    async fn check(&mut self, method: Method, path: &str, kind: &str, body: impl Into<Bytes>, code: u16, part: &str) {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = self.ask(method, path, kind, body).await;
        let text = answer.to_string();
        let told: String = text.chars().take(600).collect();
        let path: String = path.chars().take(100).collect();
        assert!(answer.status == code && text.contains(part), "{path} {kind} {shown}: {code} {part:?}, not {told}");
    }

    /// Ends it; others must have been answered quickly, and memory must have sufficed.
    async fn end(self) {
        self.done.send_replace(true);
        let worst = self.other.await.expect("others are answered");
        assert!(worst < QUICK, "another client waited {worst:?}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.cluster.process.id())).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        assert!(peak.is_none_or(|kib: u64| kib < MEMORY_KIB), "it took {peak:?} KiB");
        self.cluster.stop().await;
    }
}

fn nested(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP))
}

/// A list of so many, or as many as fit into a request.
fn many(item: &str, count: usize) -> String {
    let fit = (3 * 1024 * 1024 - 1024) / (item.len() + 1);
    format!("[{}]", vec![item; count.min(fit)].join(","))
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
            victim.check(Method::PATCH, path, kind, body.clone(), 400, "error decoding").await;
        }
    }
    victim.check(Method::PATCH, &apply, PATCHES[3], alias_bomb(), 400, "alias replay limit exceeded").await;
    let operations = many(r#"{"op":"copy","from":"/data","path":"/data/x"}"#, 10_000);
    victim.check(Method::PATCH, &one, PATCHES[0], operations, 422, "exceeded max depth").await;
    let path = format!(r#"[{{"op":"add","path":"{}","value":1}}]"#, "/a".repeat(100_000));
    victim.check(Method::PATCH, &one, PATCHES[0], path, 422, "exceeded max depth").await;
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
    let owner = r#"{"apiVersion":"v1","kind":"A","name":"a","uid":"b","controller":true}"#;
    let objects = "lists have too many objects: limit is 50000";
    for (path, body, code, part) in [
        (CONFIGS, meta("finalizers", many("\"a/b\"", 1_000_000)), 413, "Request entity too large: limit is"),
        (CONFIGS, meta("finalizers", many("\"\"", 1_000_000)), 422, "name part must be non-empty"),
        (CONFIGS, meta("ownerReferences", many("{}", 1_000_000)), 400, objects),
        (CONFIGS, meta("ownerReferences", many("null", 1_000_000)), 400, objects),
        (
            CONFIGS,
            meta("ownerReferences", many(owner, 40_000)),
            422,
            "Only one reference can have Controller set to true",
        ),
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

#[tokio::test]
async fn parameters_and_paths_that_are_absurd_are_told() {
    let mut victim = Victim::new().await;
    let times = |text: &str, count: usize| text.repeat(count);
    for (query, code, part) in [
        (format!("labelSelector={}", times("(", 50_000)), 400, "found '('"),
        (format!("labelSelector={}", times("!", 50_000)), 400, "found '!'"),
        (format!("labelSelector=a+in+({}b)", times("b,", 25_000)), 200, ""),
        (format!("labelSelector={}", times("a", 50_000)), 400, "must be no more than 63"),
        ("labelSelector=%ff%fe%00".to_owned(), 400, "unable to parse requirement"),
        (format!("fieldSelector={}", times("%3D", 15_000)), 400, "invalid field selector"),
        (format!("fieldSelector={}metadata.name%3Da", times("metadata.name%3Da,", 2_000)), 200, ""),
        ("limit=99999999999999999999".to_owned(), 400, "strconv.ParseInt"),
        ("limit=-1".to_owned(), 200, ""),
        (format!("continue={}", times("A", 50_000)), 400, "continue key is not valid"),
        ("resourceVersion=99999999999999999999999".to_owned(), 400, "strconv.ParseUint"),
        ("resourceVersion=18446744073709551615".to_owned(), 504, "Too large resource version"),
        ("watch=1&timeoutSeconds=-99999999999999999999".to_owned(), 400, "strconv.ParseInt"),
        (times("%", 50_000), 200, ""),
        (times("a=1&", 15_000), 200, ""),
    ] {
        victim.check(Method::GET, &format!("{CONFIGS}?{query}"), JSON, "", code, part).await;
    }
    for (path, code) in [
        (format!("{CONFIGS}/{}", times("a", 50_000)), 404),
        (format!("/{}", times("a/", 30_000)), 404),
        ("/api/v1/namespaces/%00/pods/%2e%2e%2f%ff".to_owned(), 404),
        ("/api/v1/../../etc/passwd".to_owned(), 404),
    ] {
        victim.check(Method::GET, &path, JSON, "", code, "").await;
    }
    for (name, value, code) in [
        ("accept", times(";", 30_000), 406),
        ("accept", times("application/json;q=0.1,", 2_000), 200),
        ("impersonate-user", times("a", 30_000), 403),
    ] {
        let request = Request::get(CONFIGS).header(name, value).body(Full::default()).expect("a request");
        let answer = victim.api.send(request, LIMIT).await.expect("an answer");
        assert_eq!(answer.status, code, "{name}: {answer}");
    }
    let request = Request::get(CONFIGS).header("x-large", times("a", 200_000)).body(Full::default());
    // A client that is still sending may find the connection closed before it reads why.
    if let Ok(answer) = victim.api.send(request.expect("a request"), LIMIT).await {
        assert_eq!(answer.status, 431, "{answer}");
    }
    victim.end().await;
}

/// What comes on a connection on which those bytes were sent, to its end.
async fn spoken(access: &Access, bytes: &str) -> String {
    let mut stream = access.stream(b"http/1.1").await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    // A connection that breaks has ended too.
    let _ = read.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_whose_length_is_a_lie_end_the_connection() {
    let victim = Victim::new().await;
    let post = |rest: &str| format!("POST {CONFIGS} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}");
    for (request, code) in [
        (post("content-length: 2\r\n\r\n{\"metadata\":{\"name\":\"a\"}}"), "HTTP/1.1 400"),
        (post("content-length: 99999999999999999999999\r\n\r\n{}"), "HTTP/1.1 400"),
        (post("content-length: -1\r\n\r\n{}"), "HTTP/1.1 400"),
        (post("content-length: 2\r\ncontent-length: 3\r\n\r\n{}"), "HTTP/1.1 400"),
        (post("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n"), "HTTP/1.1 400"),
        (post("expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"), "HTTP/1.1 413"),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(100_000)), "HTTP/1.1 4"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("\0\0\0\0\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let answer = spoken(&victim.access, &request).await;
        let shown: String = request.chars().take(200).collect();
        assert!(answer.starts_with(code), "{shown:?}: {code}, not {answer:?}");
    }
    victim.end().await;
}

/// As many connections as are wanted, or as this process may have.
async fn connections(authority: &str, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        match tokio::time::timeout(LIMIT, TcpStream::connect(authority)).await.expect("it connects in time") {
            Ok(stream) => streams.push(stream),
            Err(error) => {
                // What this process may have is left to what else it tests.
                streams.truncate(streams.len().saturating_sub(streams.len() / 4));
                eprintln!("{} connections instead of {count}: {error}", streams.len());
                break;
            }
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_slow_connections_do_not_keep_others_away() {
    let victim = Victim::new().await;
    let access = &victim.access;
    let mut api = access.api();
    let metadata = |name: String| json!({"metadata": {"name": name}, "data": {"a": "x".repeat(500_000)}});
    for number in 0..10 {
        let made = api.call(Method::POST, CONFIGS, Some(&metadata(format!("a{number}"))), LIMIT).await;
        assert_eq!(made.expect("an answer").status, 201);
    }
    // Readers who take some bytes of five megabytes and no more, of a list and of a watch.
    let mut readers = Vec::new();
    for query in ["", "?watch=1&resourceVersion=0"] {
        for _ in 0..10 {
            let mut stream = access.stream(b"http/1.1").await.expect("a connection");
            let request = format!("GET {CONFIGS}{query} HTTP/1.1\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut first = [0];
            tokio::time::timeout(LIMIT, stream.read_exact(&mut first)).await.expect("in time").expect("a byte");
            readers.push(stream);
        }
    }
    // Senders who say little of what they are to say: of the request's head, and of its body.
    let mut senders = Vec::new();
    let body = format!("POST {CONFIGS} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n{{");
    for start in ["G", &body] {
        for _ in 0..100 {
            let mut stream = access.stream(b"http/1.1").await.expect("a connection");
            stream.write_all(start.as_bytes()).await.expect("sent");
            senders.push(stream);
        }
    }
    let idle = connections(access.authority(), 10_000).await;
    let mut late = access.api();
    wait_until(LIMIT, "who comes after ten thousand is answered", async || {
        late.get("/api/v1/namespaces/default", QUICK).await.map(drop)
    })
    .await;
    // A connection that says nothing of its own is ended.
    let mut quiet = idle.into_iter().next().expect("a connection");
    let end = tokio::time::timeout(LIMIT, quiet.read(&mut [0])).await.expect("an end in time");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    for stream in &mut readers {
        stream.read_exact(&mut [0; 1000]).await.expect("slow readers are served on");
    }
    drop((readers, senders));
    victim.end().await;
}
