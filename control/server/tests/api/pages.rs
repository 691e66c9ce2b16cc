//! What is no object: health, figures, and what a server says of itself.

use std::collections::BTreeMap;

use http::Method;
use serde_json::json;

use crate::cluster::Cluster;

#[tokio::test]
async fn heads_have_no_body() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (path, code) in
        [("/livez", 200), ("/openapi/v2", 200), ("/nothing", 404), ("/api/v1/pods", 405), ("/apis", 405)]
    {
        let head = admin.send(Method::HEAD, path, "").await;
        assert_eq!((head.code.as_u16(), head.body.len()), (code, 0), "{path}");
        let length = head.headers["content-length"].to_str().expect("text");
        assert_ne!(length, "0", "{path}");
    }
    let strangers = cluster.anybody().send(Method::HEAD, "/api/v1/pods", "").await;
    assert_eq!(strangers.code, 403);
    cluster.stop().await;
}

#[tokio::test]
async fn pages_are_given_by_any_method_where_they_are_and_objects_are_read() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (method, path, code) in [
        ("POST", "/healthz", 200),
        ("OPTIONS", "/livez", 200),
        ("PUT", "/readyz", 200),
        ("PATCH", "/livez/ping", 200),
        ("POST", "/livez/none", 404),
        ("DELETE", "/", 200),
        ("GET", "/index.html", 200),
        ("OPTIONS", "/metrics", 200),
        ("POST", "/statusz", 200),
        ("GET", "/flagz/", 404),
        ("POST", "/openapi/v2", 200),
        ("PUT", "/openapi/v3", 200),
        ("POST", "/openapi/v3/api/v1", 200),
        ("POST", "/openapi/none", 404),
        ("POST", "/version", 405),
        ("HEAD", "/version", 405),
        ("PUT", "/api", 405),
        ("POST", "/apis/apps", 405),
        ("POST", "/apis/none", 404),
        ("POST", "/api/v2", 404),
        ("HEAD", "/api/v1/nothings", 404),
        ("HEAD", "/api/v1/namespaces/default/none", 404),
        ("GET", "//", 404),
        ("GET", "//api", 404),
        ("GET", "//apis/apps/v1", 404),
        ("GET", "//api/v1/nodes", 404),
        ("GET", "//version", 404),
        ("GET", "/apis//v1/pods", 404),
        ("GET", "/healthz/", 404),
        ("GET", "/livez/ping/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/openapi/v2/", 404),
        ("GET", "/api/", 200),
        ("GET", "/apis/apps/v1/", 200),
        ("GET", "/version/", 200),
        ("GET", "/api/v1/namespaces//configmaps", 200),
        ("GET", "/api/v1/namespaces//configmaps/a", 404),
        ("DELETE", "/api/v1/namespaces//configmaps", 405),
        ("GET", "/api/v1/namespaces//nodes", 404),
    ] {
        let answer = admin.send(method.parse().expect("a method"), path, "").await;
        assert_eq!(answer.code.as_u16(), code, "{method} {path}");
        let object = path.starts_with("/api/") || matches!(path, "/apis/apps" | "/api" | "/version");
        if !object && code == 404 {
            assert_eq!(answer.text(), "404 page not found\n", "{method} {path}");
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn texts_are_given_to_whoever_asks() {
    let cluster = Cluster::start().await;
    let scraper = cluster.admin().with("accept", "text/plain;version=0.0.4");
    let figures = scraper.get("/metrics").await.text();
    for expected in [
        "# TYPE apiserver_request_duration_seconds histogram\n",
        "apiserver_storage_objects{resource=\"namespaces\"} ",
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n",
    ] {
        assert!(figures.contains(expected), "{expected}\n{figures}");
    }
    let health = scraper.get("/readyz?verbose").await.text();
    assert!(
        health.starts_with("[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]etcd-readiness ok\n[+]informer-sync ok\n"),
        "{health}"
    );
    assert!(health.ends_with("[+]shutdown ok\nreadyz check passed\n"), "{health}");
    assert_eq!(scraper.get("/readyz/etcd").await.text(), "ok");
    assert_eq!(scraper.get("/livez").await.text(), "ok");
    scraper.get("/version").await.refused(406, "Available representations: application/json");
    assert_eq!(scraper.get("/nothing").await.text(), "404 page not found\n");
    assert!(cluster.admin().get("/version").await.text().starts_with("{\n  \"major\": \"1\","));
    let person = cluster.admin().with("user-agent", "curl/8.0");
    assert!(person.get("/api/v1/nothings").await.text().starts_with("{\n  \"kind\": \"Status\""));
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_says_what_runs_and_how_it_was_started() {
    let flags = BTreeMap::from([("listen".to_owned(), "127.0.0.1:0".to_owned())]);
    let cluster = Cluster::configured(|config| config.flags = flags).await;
    let jane = cluster.admin().with("impersonate-user", "jane");
    jane.get("/statusz").await.refused(403, "User \"jane\" cannot get path \"/statusz\"");
    let monitoring = jane.with("impersonate-group", "system:monitoring");
    let status = monitoring.get("/statusz").await;
    assert!(status.text().starts_with("\nkube-apiserver statusz\nWarning: "), "{}", status.text());
    assert!(
        status.text().ends_with("\nPaths: /flagz /healthz /livez /metrics /readyz /statusz /version\n"),
        "{}",
        status.text()
    );
    assert_eq!(status.headers["content-type"], "text/plain; charset=utf-8");
    assert!(monitoring.get("/flagz").await.text().ends_with(" only.\nlisten=127.0.0.1:0\n"));
    let named = |version: &str| format!("application/json;v={version};g=config.k8s.io;as=Flagz");
    let found = monitoring.clone().with("accept", &named("v1beta1")).get("/flagz").await;
    assert!(!found.headers.contains_key("warning"));
    assert_eq!(found.ok()["flags"], json!({"listen": "127.0.0.1:0"}));
    let older = monitoring.clone().with("accept", &named("v1alpha1")).get("/flagz").await;
    let warning = "299 - \"This version of the flagz endpoint is deprecated. Please use a newer version.\"";
    assert_eq!(older.headers["warning"], warning);
    let types = "only the following media types are accepted: application/json, application/yaml, \
                 application/vnd.kubernetes.protobuf, text/plain";
    monitoring.clone().with("accept", "application/json").get("/statusz").await.refused(406, types);
    assert_eq!(monitoring.get("/statusz/x").await.code, 403);
    assert_eq!(cluster.admin().get("/statusz/x").await.code, 404);
    cluster.stop().await;
}
