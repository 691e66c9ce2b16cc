//! The audit log, as it is written for what clients ask.

use http::Method;
use pal_server::AuditConfig;
use serde_json::{Value, json};

use crate::cluster::Cluster;

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, nonResourceURLs: ['/livez*']}
- {level: RequestResponse, resources: [{group: '', resources: [configmaps]}], omitManagedFields: true, omitStages: []}
- {level: Request, resources: [{group: '', resources: [secrets]}]}
- {level: Metadata}
";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn requests_are_told_as_the_policy_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let (policy, log) = (dir.path().join("policy.yaml"), dir.path().join("audit.log"));
    std::fs::write(&policy, POLICY).expect("written");
    let audit =
        AuditConfig { policy_file: policy, log_path: log.clone(), max_size_mib: 0, max_backups: 0, max_age_days: 0 };
    let cluster = Cluster::configured(|config| config.audit = Some(audit)).await;
    let admin = cluster.admin().with("user-agent", "tester/1").with("audit-id", "chosen");
    let made = admin.post(MAPS, &json!({"metadata": {"name": "m"}, "data": {"a": "1"}})).await;
    assert_eq!(made.headers["audit-id"], "chosen");
    let others = cluster.admin().with("impersonate-user", "jane");
    let own_id = others.get("/api/v1/namespaces/default/secrets/s").await;
    assert_eq!((own_id.code.as_u16(), own_id.headers["audit-id"].len()), (403, 36));
    cluster.admin().post("/api/v1/namespaces/default/secrets", &json!({"metadata": {"name": "s"}})).await.ok();
    cluster.anybody().get("/livez").await;
    cluster.anybody().with("authorization", "Bearer x").get("/version").await.refused(401, "Unauthorized");
    let watched = cluster.admin().get(&format!("{MAPS}?watch=true&timeoutSeconds=1")).await;
    assert!(watched.text().contains("ADDED"));
    admin.send(Method::DELETE, &format!("{MAPS}/m"), "").await.ok();
    cluster.stop().await;

    let text = std::fs::read_to_string(log).expect("the log");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let short: Vec<String> = events
        .iter()
        .map(|event| {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
            let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
            format!("{} {} {} {} {code}", text("/level"), text("/stage"), text("/verb"), text("/objectRef/name"))
        })
        .collect();
    let expected = [
        "RequestResponse RequestReceived create - 0",
        "RequestResponse ResponseComplete create m 201",
        "Request ResponseComplete get s 403",
        "Request ResponseComplete create s 201",
        "Metadata ResponseStarted get - 401",
        "RequestResponse RequestReceived watch - 0",
        "RequestResponse ResponseStarted watch - 200",
        "RequestResponse ResponseComplete watch - 200",
        "RequestResponse RequestReceived delete m 0",
        "RequestResponse ResponseComplete delete m 200",
    ];
    // The policy's own stages are added to those of a rule.
    let expected: Vec<&str> = expected.into_iter().filter(|line| !line.contains("RequestReceived")).collect();
    assert_eq!(short, expected, "{text}");
    let created = &events[0];
    assert_eq!((&created["auditID"], &created["userAgent"]), (&json!("chosen"), &json!("tester/1")));
    assert_eq!(created["sourceIPs"], json!(["127.0.0.1"]));
    assert_eq!(created["user"]["username"], "kubernetes-admin");
    assert_eq!(
        (&created["requestObject"]["data"]["a"], &created["responseObject"]["data"]["a"]),
        (&json!("1"), &json!("1"))
    );
    assert!(created["responseObject"]["metadata"].get("managedFields").is_none(), "{created}");
    assert_eq!(created["annotations"]["authorization.k8s.io/decision"], "allow");
    let refused = &events[1];
    assert_eq!(refused["impersonatedUser"]["username"], "jane");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert!(events[2].get("responseObject").is_none(), "{}", events[2]);
    assert_eq!(events[2]["requestObject"]["metadata"]["name"], "s");
    assert_eq!(events[3]["user"], json!({}));
}
