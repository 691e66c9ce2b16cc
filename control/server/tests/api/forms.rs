//! In which forms objects and failures come out.

use std::io::Read as _;

use http::Method;
use serde_json::json;

use crate::cluster::Cluster;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn objects_come_whole_as_tables_and_as_metadata() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin.post(CONFIGS, &json!({"metadata": {"name": "a"}, "data": {"x": "y"}})).await;
    assert_eq!(made.code, 201);
    assert!(made.text().starts_with(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"#), "{}", made.text());
    assert!(made.text().ends_with("}\n"));
    let version = made.json()["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();

    let list = admin.get(CONFIGS).await.ok();
    assert_eq!((&list["kind"], &list["items"][0]["metadata"]["name"]), (&json!("ConfigMapList"), &json!("a")));

    let item: Vec<&str> = list["items"][0].as_object().expect("an item").keys().map(String::as_str).collect();
    assert_eq!(item, ["data", "metadata"], "kind and version are the list's to say");
    let read = admin.get(&format!("{CONFIGS}?pretty=true")).await;
    assert!(read.text().starts_with("{\n  \"kind\": \"ConfigMapList\",\n  \"apiVersion\""), "{}", read.text());

    let table = admin.clone().with("accept", TABLE).get(CONFIGS).await.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let full = admin.clone().with("accept", TABLE).get(&format!("{CONFIGS}/a?includeObject=Object")).await.ok();
    let whole = &full["rows"][0]["object"];
    assert_eq!((&whole["kind"], &whole["data"]), (&json!("ConfigMap"), &json!({"x": "y"})));
    assert_eq!(full["metadata"]["resourceVersion"], version.as_str());

    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let partial = admin.clone().with("accept", partial).get(CONFIGS).await.ok();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    let item = &partial["items"][0];
    assert_eq!((&item["kind"], &item["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
    assert!(partial["items"][0].get("data").is_none());

    let yaml = admin.clone().with("accept", "application/yaml").get(&format!("{CONFIGS}/a")).await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert!(yaml.text().contains("kind: ConfigMap\n"), "{}", yaml.text());
    let indented = admin.get(&format!("{CONFIGS}/a?pretty=true")).await;
    assert!(indented.text().starts_with("{\n  \"kind\": \"ConfigMap\""), "{}", indented.text());
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_in_kubernetes_words() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let (get, post) = (Method::GET, Method::POST);
    let not_found = "the server could not find the requested resource";
    let not_allowed = "the server does not allow this method on the requested resource";
    admin.get("/api/v1/namespaces/default/nothings").await.refused(404, not_found);
    admin.get("/apis/apps/v7/pods").await.refused(404, not_found);
    for path in ["/apis/none/v1/pods", "/apis/none/v1", "/nothing", "/livez/x", "/openapi/v3/apis/none/v1"] {
        let page = admin.get(path).await;
        assert_eq!((page.code.as_u16(), page.text().as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(page.headers["content-type"], "text/plain; charset=utf-8");
    }
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(admin.get(definitions).await.ok()["items"], json!([]));
    assert_eq!(admin.post(definitions, &json!({})).await.code, 422);
    cluster.anybody().get(definitions).await.refused(403, "cannot list resource \"customresourcedefinitions\"");
    admin.get("/api/v1/namespaces/default/nodes").await.refused(404, not_found);
    admin.get(&format!("{CONFIGS}/nope")).await.refused(404, "configmaps \"nope\" not found");
    admin.get("/api/v1/configmaps/a").await.refused(404, not_found);
    admin.get("/api/v1/namespaces/a%2Fb/configmaps").await.refused(404, not_found);
    admin.send(post.clone(), "/api/v1/configmaps", "{}").await.refused(405, not_allowed);
    admin.send(Method::PUT, CONFIGS, "{}").await.refused(405, not_allowed);
    admin.send(Method::OPTIONS, CONFIGS, "").await.refused(405, not_allowed);
    admin.get("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").await.refused(405, not_allowed);
    let plain = admin.get("/api/v1/nothings").await.json();
    assert_eq!(
        plain,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": not_found,
               "reason": "NotFound", "details": {}, "code": 404})
    );
    let picky = admin.clone().with("accept", "text/html");
    let refusal = picky.send(get, CONFIGS, "").await;
    refusal.refused(406, "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, ");
    assert!(
        refusal.text().starts_with("{\n  \"kind\": \"Status\",") && refusal.text().ends_with('}'),
        "{}",
        refusal.text()
    );
    picky.get("/api/v1/namespaces/default/nothings").await.refused(404, not_found);
    let tables = admin.clone().with("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    tables.post(reviews, &review).await.refused(406, "only the following media types are accepted");
    let form = admin.clone().with("content-type", "application/x-www-form-urlencoded");
    form.send(post.clone(), CONFIGS, "a=b").await.refused(415, "the body of the request was in an unknown format");
    let garbage = admin.clone().with_bytes("content-type", b"application/json\xff");
    let refusal = garbage.send(post.clone(), CONFIGS, "{}").await;
    refusal.refused(415, "the body of the request was in an unknown format");
    assert_eq!(refusal.json().get("details"), None);
    let binary = admin.clone().with("content-type", "application/apply-patch+cbor");
    binary.send(Method::PATCH, &format!("{CONFIGS}/a"), "{}").await.refused(415, "415: Unsupported Media Type");
    let elsewhere = json!({"metadata": {"name": "b", "namespace": "other"}}).to_string();
    let words = "the name of the object (b) does not match the name on the URL (a)";
    admin.send(Method::PUT, &format!("{CONFIGS}/a"), r#"{"metadata":{"name":"b"}}"#).await.refused(400, words);
    let words = "the name of the object (a based on URL) was undeterminable: name must be provided";
    admin.send(Method::PUT, &format!("{CONFIGS}/a"), "{}").await.refused(400, words);
    let words = "invalid continue token: continue key is not valid: ";
    admin.get(&format!("{CONFIGS}?continue=abc")).await.refused(400, words);
    let words = "the namespace of the provided object does not match the namespace sent on the request";
    admin.send(Method::PUT, &format!("{CONFIGS}/b"), elsewhere).await.refused(400, words);
    let words = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list";
    admin
        .get(&format!("{CONFIGS}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0"))
        .await
        .refused(422, words);
    for (query, words) in [("dryRun=Bogus", r#"["Bogus"]"#), ("fieldValidation=Bogus", r#""Bogus""#)] {
        let path = format!("{CONFIGS}?{query}");
        let refusal = admin.post(&path, &json!({"metadata": {"name": "a"}})).await;
        refusal.refused(422, &format!("Unsupported value: {words}: supported values: "));
    }
    let words = "invalid timeout specified in the request URL - time: missing unit in duration \"5\"";
    admin.get(&format!("{CONFIGS}?timeout=5")).await.refused(400, words);
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    admin.get(reviews).await.refused(405, "the server does not allow this method on the requested resource");
    admin.get(&format!("{reviews}/a")).await.refused(404, "the server could not find the requested resource");
    for name in ["limit", "timeoutSeconds"] {
        let words = "strconv.ParseInt: parsing \"x\": invalid syntax";
        admin.get(&format!("{CONFIGS}?{name}=x")).await.refused(400, words);
    }
    let unknown = format!("{CONFIGS}?includeObject=x");
    let words = "includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', 'None', or empty";
    admin.clone().with("accept", TABLE).get(&unknown).await.refused(400, words);
    admin.get(&unknown).await.ok();
    admin.get(&format!("{CONFIGS}?labelSelector=a%20in")).await.refused(400, "");
    let events = "/apis/events.k8s.io/v1/events?fieldSelector=";
    admin.get(&format!("{events}regarding.name=a")).await.ok();
    let words = "field label not supported: involvedObject.name";
    admin.get(&format!("{events}involvedObject.name=a")).await.refused(400, words);
    admin
        .get(&format!("{CONFIGS}?fieldSelector=data=x"))
        .await
        .refused(400, r#""data" is not a known field selector: only "metadata.name", "metadata.namespace""#);
    cluster.stop().await;
}

#[tokio::test]
async fn a_delete_with_a_body_takes_nothing_from_its_query() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let one = format!("{CONFIGS}/a");
    for (query, body, code, stays) in [
        ("dryRun=All", "", 200, true),
        ("dryRun=All", r#"{"dryRun":["All"]}"#, 200, true),
        ("uid=x", "", 409, true),
        ("resourceVersion=x", "", 409, true),
        ("", r#"{"preconditions":{"resourceVersion":"x"}}"#, 409, true),
        ("propagationPolicy=x&dryRun=y", "", 422, true),
        ("propagationPolicy=x&uid=x&dryRun=All", "{}", 200, false),
    ] {
        admin.post(CONFIGS, &json!({"metadata": {"name": "a"}})).await;
        let answer = admin.send(Method::DELETE, &format!("{one}?{query}"), body).await;
        assert_eq!(answer.code, code, "{query} {body}: {}", answer.text());
        assert_eq!(admin.get(&one).await.code == 200, stays, "{query} {body}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn forms_that_are_not_there_are_refused_as_kube_apiserver_does() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIGS, &json!({"metadata": {"name": "a"}})).await.ok();
    let (one, claims) = (format!("{CONFIGS}/a"), "/apis/apps/v1/namespaces/default/deployments");
    let named = |encoding: &str, kind: &str| format!("application/{encoding};as={kind};g=meta.k8s.io;v=v1");
    let (partial, partials) = (named("json", "PartialObjectMetadata"), named("json", "PartialObjectMetadataList"));
    let types = "only the following media types are accepted: application/json, application/yaml, \
                 application/vnd.kubernetes.protobuf";
    let a_list = "you requested PartialObjectMetadata, but the requested object is a list";
    let no_list = "you requested PartialObjectMetadataList, but the requested object is not a list";
    for (accept, path, expected) in [
        (partial.clone(), CONFIGS, Some(format!("{a_list} (*core.ConfigMapList)"))),
        (partial.clone(), claims, Some(format!("{a_list} (*apps.DeploymentList)"))),
        (partials.clone(), &one, Some(format!("{no_list} (*core.ConfigMap)"))),
        (partial.clone(), &one, None),
        (partials.clone(), CONFIGS, None),
        (named("json", "Service"), CONFIGS, Some(types.to_owned())),
        (named("vnd.kubernetes.protobuf", "Table"), CONFIGS, Some(types.to_owned())),
        ("application/json;v=v1".to_owned(), CONFIGS, Some(types.to_owned())),
        ("application/*".to_owned(), CONFIGS, Some("406: Not Acceptable\n\nAvailable representations: ".to_owned())),
        (named("json", "Table"), "/api/v1", Some(types.to_owned())),
        ("application/json;q=0".to_owned(), CONFIGS, None),
    ] {
        let answer = admin.clone().with("accept", &accept).get(path).await;
        match expected {
            Some(words) => answer.refused(406, &words),
            None => assert_eq!(answer.code, 200, "{accept} {path}"),
        }
    }
    let yaml = admin.clone().with("accept", "application/yaml");
    let words = "only the following media types are accepted: application/json;stream=watch, \
                 application/vnd.kubernetes.protobuf;stream=watch";
    let refusal = yaml.get(&format!("{CONFIGS}?watch=true")).await;
    assert_eq!(
        (refusal.code.as_u16(), &refusal.headers["content-type"]),
        (406, &"application/yaml".parse().expect("a value"))
    );
    assert!(refusal.text().contains(words), "{}", refusal.text());
    // Who takes no form at all still hears what is wrong, indented.
    let tables = admin.clone().with("accept", &named("json", "Table"));
    let missing = tables.get(&format!("{CONFIGS}/b")).await;
    missing.refused(404, "configmaps \"b\" not found");
    assert!(missing.text().starts_with("{\n  \"kind\": \"Status\","), "{}", missing.text());
    // Metadata has messages of protobuf, alone and in lists.
    for (kind, path) in [("PartialObjectMetadata", one.as_str()), ("PartialObjectMetadataList", CONFIGS)] {
        let found = admin.clone().with("accept", &named("vnd.kubernetes.protobuf", kind)).get(path).await;
        assert_eq!(found.headers["content-type"], "application/vnd.kubernetes.protobuf");
        let head = format!("meta.k8s.io/v1\x12{}{kind}", char::from(kind.len() as u8));
        assert!(found.body.windows(head.len()).any(|part| part == head.as_bytes()), "{path}: {:?}", found.body);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn protobuf_is_for_those_who_take_nothing_else() {
    let cluster = Cluster::start().await;
    let binary = cluster.admin().with("accept", "application/vnd.kubernetes.protobuf");
    let made = binary.post(CONFIGS, &json!({"metadata": {"name": "a"}, "data": {"x": "y"}})).await;
    assert_eq!(made.code, 201);
    for (path, kind) in [(format!("{CONFIGS}/a"), "ConfigMap"), (CONFIGS.to_owned(), "ConfigMapList")] {
        let found = binary.get(&path).await;
        assert_eq!(found.headers["content-type"], "application/vnd.kubernetes.protobuf");
        assert!(found.body.starts_with(b"k8s\0"), "{path}");
        let head: &[u8] = &found.body[..40];
        assert!(head.windows(kind.len()).any(|part| part == kind.as_bytes()), "{path}");
    }
    // What is read back is the same object.
    let body = binary.get(&format!("{CONFIGS}/a")).await.body;
    let writer = cluster.admin().with("content-type", "application/vnd.kubernetes.protobuf");
    let put = writer.send(Method::PUT, &format!("{CONFIGS}/a"), body).await.ok();
    assert_eq!(put["data"], json!({"x": "y"}));
    let missing = binary.get(&format!("{CONFIGS}/b")).await;
    assert_eq!(missing.code, 404);
    assert_eq!(missing.headers["content-type"], "application/vnd.kubernetes.protobuf");
    assert!(missing.body.starts_with(b"k8s\0"), "{:?}", missing.body);
    let watch = binary.get(&format!("{CONFIGS}?watch=true&resourceVersion=0&timeoutSeconds=1")).await;
    assert_eq!(watch.headers["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let length = u32::from_be_bytes(watch.body[..4].try_into().expect("four bytes")) as usize;
    assert!(watch.body.len() >= 4 + length && watch.body[4..].starts_with(b"\x0a\x05ADDED\x12"));
    cluster.stop().await;
}

#[tokio::test]
async fn caches_are_told_what_a_document_depends_on() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let zipping = admin.clone().with("accept-encoding", "gzip");
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (client, path, expected) in [
        (&admin, "/apis", &[] as &[&str]),
        (&admin, "/apis/apps/v1", &[]),
        (&admin.clone().with("accept", aggregated), "/apis", &["Accept"]),
        (&admin, "/openapi/v2", &["Accept-Encoding", "Accept"]),
        (&zipping, "/openapi/v2", &["Accept-Encoding", "Accept"]),
        (&admin, "/openapi/v3", &[]),
        (&admin, "/openapi/v3/apis/apps/v1", &["Accept"]),
        (&zipping, "/openapi/v3/apis/apps/v1", &["Accept-Encoding", "Accept"]),
    ] {
        let answer = client.get(path).await;
        let found: Vec<&str> = answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok()).collect();
        assert_eq!(found, expected, "{path}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn bad_bodies_are_refused_and_the_server_goes_on() {
    use tokio::io::AsyncWriteExt as _;
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let large = format!(r#"{{"metadata":{{"name":"a"}},"data":{{"x":"{}"}}}}"#, "y".repeat(10 << 20));
    admin.send(Method::POST, CONFIGS, large).await.refused(413, "Request entity too large: limit is 3145728");
    admin.send(Method::POST, CONFIGS, "{\"metadata\":").await.refused(400, "");
    admin.send(Method::POST, CONFIGS, "\0\0\0").await.refused(400, "");
    admin.send(Method::POST, CONFIGS, "").await.refused(400, "");
    admin.send(Method::POST, CONFIGS, "[".repeat(100_000)).await.refused(400, "");
    let mut cut = admin.dial().await;
    let head = format!("POST {CONFIGS} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{\"metadata\"");
    cut.write_all(head.as_bytes()).await.expect("half a request");
    drop(cut);
    let strict = r#"{"metadata":{"name":"a"},"dta":{}}"#;
    let refusal = admin.send(Method::POST, &format!("{CONFIGS}?fieldValidation=Strict"), strict).await;
    refusal.refused(400, "strict decoding error: unknown field \"dta\"");
    assert_eq!(admin.get(CONFIGS).await.ok()["items"], json!([]), "nothing of all that was written");
    let warned = admin.send(Method::POST, CONFIGS, strict).await;
    assert_eq!(
        (warned.code.as_u16(), &warned.headers["warning"]),
        (201, &r#"299 - "unknown field \"dta\"""#.parse().expect("a header"))
    );
    cluster.stop().await;
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for index in 0..5 {
        let body = json!({"metadata": {"name": format!("c{index}")}, "data": {"x": "y".repeat(60_000)}});
        admin.post(CONFIGS, &body).await.ok();
    }
    let plain = admin.get(CONFIGS).await;
    assert!(plain.headers.get("content-encoding").is_none());
    let packed = admin.clone().with("accept-encoding", "gzip").get(CONFIGS).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() * 10 < plain.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip");
    assert!(unpacked == plain.body);
    let small = admin.clone().with("accept-encoding", "gzip").get(&format!("{CONFIGS}?limit=1")).await;
    assert!(small.headers.get("content-encoding").is_none());
    cluster.stop().await;
}

#[tokio::test]
async fn discovery_is_told_once_and_then_by_its_tag() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let wish = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let asking = admin.clone().with("accept", wish);
    for path in ["/api", "/apis"] {
        let first = asking.get(path).await;
        assert!(first.headers["content-type"].to_str().expect("text").contains("as=APIGroupDiscoveryList"));
        let tag = first.headers["etag"].to_str().expect("text").to_owned();
        let again = asking.clone().with("if-none-match", &tag).get(path).await;
        assert_eq!((again.code.as_u16(), again.body.len()), (304, 0), "{path}");
        assert_eq!(first.ok()["kind"], "APIGroupDiscoveryList");
    }
    assert_eq!(admin.get("/api").await.ok()["kind"], "APIVersions");
    assert_eq!(admin.get("/apis").await.ok()["kind"], "APIGroupList");
    assert_eq!(admin.get("/apis/apps").await.ok()["kind"], "APIGroup");
    assert_eq!(admin.get("/apis/apps/v1").await.ok()["kind"], "APIResourceList");
    assert_eq!(admin.get("/version/").await.ok()["gitVersion"], pal_server::VERSION);

    let old = admin.get("/openapi/v2").await;
    let tag = old.headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(old.ok()["swagger"], "2.0");
    assert_eq!(admin.clone().with("if-none-match", &tag).get("/openapi/v2").await.code, 304);
    let asking = admin.clone().with("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
    let packed = asking.get("/openapi/v2").await;
    let media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!((packed.code.as_u16(), packed.headers["content-type"].to_str().expect("text")), (200, media));
    assert!(packed.body.starts_with(b"\x0a\x032.0"));
    let tag = packed.headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(asking.with("if-none-match", &tag).get("/openapi/v2").await.code, 304);

    let index = admin.get("/openapi/v3").await.ok();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    let document = admin.get(&url).await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert!(document.ok()["components"]["schemas"].is_object());
    let stale = admin.get("/openapi/v3/apis/apps/v1?hash=old").await;
    assert_eq!((stale.code.as_u16(), stale.headers["location"].to_str().expect("text")), (301, url.as_str()));
    cluster.stop().await;
}

#[tokio::test]
async fn components_are_told_to_be_healthy() {
    let cluster = Cluster::start().await;
    let table = cluster.admin().with("accept", TABLE).get("/api/v1/componentstatuses").await;
    let warning = table.headers["warning"].to_str().expect("text").to_owned();
    assert_eq!(warning, "299 - \"v1 ComponentStatus is deprecated in v1.19+\"");
    let rows = table.ok()["rows"].clone();
    let cells: Vec<_> = rows.as_array().expect("rows").iter().map(|row| row["cells"].clone()).collect();
    let healthy = |name: &str| json!([name, "Healthy", "ok", ""]);
    assert_eq!(cells, [healthy("scheduler"), healthy("controller-manager"), healthy("etcd-0")]);
    let one = cluster.admin().get("/api/v1/componentstatuses/etcd-0").await.ok();
    assert_eq!((&one["kind"], &one["conditions"][0]["type"]), (&json!("ComponentStatus"), &json!("Healthy")));
    cluster.admin().get("/api/v1/componentstatuses/x").await.refused(404, "componentstatuses \"x\" not found");
    cluster.admin().post("/api/v1/componentstatuses", &json!({})).await.refused(405, "does not allow this method");
    cluster.stop().await;
}
