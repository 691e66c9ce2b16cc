//! Who may come in, and how far.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use pal_server::tokens::{self, Role};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cluster::{Cluster, PATIENCE, request};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

fn signing_request(name: &str, common_name: &str, organization: &str, signer: &str) -> Value {
    let key = rcgen::KeyPair::generate().expect("a key");
    let pem = request(&key, common_name, organization);
    json!({"metadata": {"name": name}, "spec": {
        "request": STANDARD.encode(pem), "signerName": signer, "usages": ["digital signature", "client auth"]}})
}

#[tokio::test]
async fn strangers_see_only_that_the_server_is_there() {
    let cluster = Cluster::start().await;
    let anybody = cluster.anybody();
    for path in ["/livez", "/readyz", "/healthz", "/readyz/etcd", "/version", "/version/", "/cluster-info"] {
        assert_eq!(anybody.get(path).await.code, 200, "{path}");
    }
    assert_eq!(anybody.get("/cluster-info").await.text(), cluster.server.ca().root_pem());
    let verbose = anybody.get("/livez?verbose").await.text();
    assert!(verbose.starts_with("[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]poststarthook/"), "{verbose}");
    assert!(verbose.ends_with(" ok\nlivez check passed\n"), "{verbose}");
    let words = r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default""#;
    anybody.get("/api/v1/namespaces/default/pods").await.refused(403, words);
    anybody.get("/metrics").await.refused(403, r#"forbidden: User "system:anonymous" cannot get path "/metrics""#);
    let wrong = anybody.clone().with("authorization", "Bearer nonsense");
    let refusal = wrong.get("/api").await;
    let body = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
    assert_eq!((refusal.code.as_u16(), refusal.text().trim_end()), (401, body));
    cluster.stop().await;
}

#[tokio::test]
async fn a_bootstrap_token_asks_for_a_nodes_certificate_and_nothing_else() {
    let cluster = Cluster::start().await;
    let fingerprint = cluster.server.ca().fingerprint().to_owned();
    let hour = Duration::from_secs(3600);
    let text = tokens::create(&cluster.registry, Role::Node, hour, "", &fingerprint).await.expect("a token");
    let joiner = cluster.anybody().with("authorization", &format!("Bearer {text}"));
    let client_signer = pal_server::pki::NODE_CLIENT_SIGNER;

    let body = signing_request("a", "system:node:a", "system:nodes", client_signer);
    let made = joiner.post(REQUESTS, &body).await.ok();
    let id = text[4..].split('.').next().expect("an id");
    assert_eq!(made["spec"]["username"], format!("system:bootstrap:{id}"));
    assert_eq!(joiner.get(&format!("{REQUESTS}/a")).await.ok()["metadata"]["name"], "a");
    let other = signing_request("b", "system:node:b", "system:nodes", client_signer);
    cluster.admin().post(REQUESTS, &other).await.ok();
    joiner.get(&format!("{REQUESTS}/b")).await.refused(403, "cannot get resource");
    joiner.get("/api/v1/nodes").await.refused(403, "cannot list resource \"nodes\"");
    let admin_like = signing_request("c", "admin", "system:masters", client_signer);
    joiner.post(REQUESTS, &admin_like).await.refused(403, "the certificate of a node");
    let serving = signing_request("d", "system:node:d", "system:nodes", "kubernetes.io/kubelet-serving");
    joiner.post(REQUESTS, &serving).await.refused(403, "alone");

    let tampered = text.replacen(&text[11..13], if &text[11..13] == "aa" { "bb" } else { "aa" }, 1);
    let wrong = cluster.anybody().with("authorization", &format!("Bearer {tampered}"));
    wrong.get(REQUESTS).await.refused(401, "the token's secret is wrong");
    let foreign = tokens::generate(Role::Node, hour, "", &"0".repeat(64), jiff::Timestamp::now());
    let foreign = cluster.anybody().with("authorization", &format!("Bearer {}", foreign.text));
    foreign.get(REQUESTS).await.refused(401, "the token belongs to another cluster");
    let over = tokens::create(&cluster.registry, Role::Node, Duration::ZERO, "", &fingerprint).await.expect("a token");
    let over = cluster.anybody().with("authorization", &format!("Bearer {over}"));
    over.get(REQUESTS).await.refused(401, "the token has expired");

    let known = tokens::list(&cluster.registry).await.expect("tokens");
    assert_eq!(known.len(), 2);
    tokens::revoke(&cluster.registry, id).await.expect("taken back");
    joiner.get(REQUESTS).await.refused(401, "no such token");
    cluster.stop().await;
}

#[tokio::test]
async fn service_accounts_act_with_their_tokens_until_they_go() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(ACCOUNTS, &json!({"metadata": {"name": "sa"}})).await.ok();
    let asked = admin.post(&format!("{ACCOUNTS}/sa/token"), &json!({"spec": {"expirationSeconds": 600}})).await;
    assert_eq!(asked.code, 201);
    let token = asked.json()["status"]["token"].as_str().expect("a token").to_owned();
    let account = cluster.anybody().with("authorization", &format!("Bearer {token}"));
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let me = account.post(review, &json!({})).await.ok();
    assert_eq!(me["status"]["userInfo"]["username"], "system:serviceaccount:default:sa");
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let may = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    assert_eq!(account.post(access, &may).await.ok()["status"]["allowed"], false);
    assert_eq!(admin.post(access, &may).await.ok()["status"]["allowed"], true);
    account.get("/api/v1/pods").await.refused(403, "User \"system:serviceaccount:default:sa\" cannot list");
    let whose = "/apis/authentication.k8s.io/v1/tokenreviews";
    let asked = json!({"spec": {"token": token}});
    let found = admin.post(whose, &asked).await.ok()["status"].clone();
    assert_eq!(
        (&found["authenticated"], &found["user"]["username"]),
        (&json!(true), &json!("system:serviceaccount:default:sa"))
    );
    let found = admin.post(whose, &json!({"spec": {"token": "nonsense"}})).await.ok()["status"].clone();
    assert_eq!((found.get("authenticated"), &found["user"]), (None, &json!({})));
    let foreign = json!({"spec": {"token": token, "audiences": ["others"]}});
    assert_eq!(admin.post(whose, &foreign).await.ok()["status"].get("authenticated"), None);
    account.post(whose, &asked).await.refused(403, "cannot create resource \"tokenreviews\"");
    let subjects = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let mut about = may.clone();
    about["spec"]["user"] = "system:serviceaccount:default:sa".into();
    assert_eq!(admin.post(subjects, &about).await.ok()["status"]["allowed"], false);
    about["spec"]["groups"] = json!(["system:masters"]);
    assert_eq!(admin.post(subjects, &about).await.ok()["status"]["allowed"], true);
    admin.post(subjects, &may).await.refused(422, "spec.user: Invalid value: \"\": at least one of user or group");
    let listing = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let here = json!({"spec": {"namespace": "default"}});
    let all = admin.post(listing, &here).await.ok()["status"].clone();
    assert_eq!(all["resourceRules"][0], json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
    let own = account.post(listing, &here).await.ok()["status"].clone();
    assert_eq!(
        (&own["resourceRules"][0]["resources"], &own["incomplete"]),
        (&json!(["selfsubjectaccessreviews", "selfsubjectrulesreviews"]), &json!(false))
    );
    admin.post(listing, &json!({"spec": {}})).await.refused(400, "no namespace on request");
    let short = admin.post(&format!("{ACCOUNTS}/sa/token"), &json!({"spec": {"expirationSeconds": 5}})).await;
    short.refused(422, "may not specify a duration less than 10 minutes");
    admin.send(Method::DELETE, &format!("{ACCOUNTS}/sa"), "").await.ok();
    account.post(review, &json!({})).await.refused(401, "Unauthorized");
    let found = admin.post(whose, &asked).await.ok()["status"].clone();
    assert_eq!(found["error"], "[invalid bearer token, serviceaccounts \"sa\" not found]");
    cluster.stop().await;
}

#[tokio::test]
async fn roles_say_who_may_what_and_nobody_gives_more_than_they_hold() {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let jane = cluster.admin().with("impersonate-user", "jane");
    jane.get(PODS).await.refused(403, "User \"jane\" cannot list resource \"pods\" in API group \"\"");

    let bind = |name: &str, role: &str| {
        json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}]
        })
    };
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    admin.post(&bindings, &bind("jane", "system:aggregate-to-view")).await.ok();
    jane.get(PODS).await.ok();
    jane.get("/api/v1/pods").await.refused(403, "at the cluster scope");
    jane.get("/api/v1/namespaces/kube-system/pods").await.refused(403, "in the namespace \"kube-system\"");
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let may = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    let review = jane.post(access, &may).await.ok()["status"].clone();
    let why =
        "RBAC: allowed by RoleBinding \"jane/default\" of ClusterRole \"system:aggregate-to-view\" to User \"jane\"";
    assert_eq!((&review["allowed"], &review["reason"]), (&json!(true), &json!(why)));

    // With roles and bindings in hand, and nothing else, she can pass on what she has and no more.
    admin.post(&bindings, &bind("rbac", "system:aggregate-to-admin")).await.ok();
    let roles = format!("{RBAC}/namespaces/default/roles");
    let role = |name: &str, resource: &str| json!({"metadata": {"name": name}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]});
    jane.post(&roles, &role("pods", "pods")).await.ok();
    jane.post(&roles, &role("secrets", "secrets"))
        .await
        .refused(403, "is attempting to grant RBAC permissions not currently held");
    let grab = json!([{"op": "replace", "path": "/rules/0/resources", "value": ["secrets"]}]);
    let patch = jane.with("content-type", "application/json-patch+json");
    patch.send(Method::PATCH, &format!("{roles}/pods"), grab.to_string()).await.refused(403, "Resources:[\"secrets\"]");
    let jane = cluster.admin().with("impersonate-user", "jane");
    jane.post(&bindings, &bind("more", "cluster-admin")).await.refused(403, "APIGroups:[\"*\"]");
    jane.post(&bindings, &bind("nothing", "nothing")).await.refused(404, "not found");
    jane.post(&bindings, &bind("same", "system:aggregate-to-view")).await.ok();

    admin.send(Method::DELETE, &format!("{bindings}/jane"), "").await.ok();
    admin.send(Method::DELETE, &format!("{bindings}/same"), "").await.ok();
    jane.get(PODS).await.refused(403, "cannot list");
    cluster.stop().await;
}

#[tokio::test]
async fn certificates_are_approved_by_those_who_may() {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let cluster = Cluster::start().await;
    let (admin, jane) = (cluster.admin(), cluster.admin().with("impersonate-user", "jane"));
    let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
    let bind = |name: &str| {
        json!({"metadata": {"name": name}, "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}]})
    };
    let group = "certificates.k8s.io";
    let rules = json!([
        {"verbs": ["create", "get"], "apiGroups": [group], "resources": ["certificatesigningrequests"]},
        {"verbs": ["update"], "apiGroups": [group], "resources": ["certificatesigningrequests/approval"]}]);
    admin.post(&format!("{RBAC}/clusterroles"), &role("asker", rules)).await.ok();
    admin.post(&format!("{RBAC}/clusterrolebindings"), &bind("asker")).await.ok();
    let signer = pal_server::pki::CLIENT_SIGNER;
    let mut made = jane.post(REQUESTS, &signing_request("j", "jane", "dev", signer)).await.ok();
    assert_eq!(made["spec"]["username"], "jane");
    let masters = signing_request("m", "jane", "system:masters", signer);
    let words = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
    jane.post(REQUESTS, &masters).await.refused(403, words);
    made["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "Test"}]);
    let approval = format!("{REQUESTS}/j/approval");
    let refusal = jane.send(Method::PUT, &approval, made.to_string()).await;
    refusal.refused(403, &format!("user not permitted to approve requests with signerName {signer:?}"));
    let approver = json!([{"verbs": ["approve"], "apiGroups": [group], "resources": ["signers"],
        "resourceNames": ["kubernetes.io/*"]}]);
    admin.post(&format!("{RBAC}/clusterroles"), &role("approver", approver)).await.ok();
    admin.post(&format!("{RBAC}/clusterrolebindings"), &bind("approver")).await.ok();
    let approved = jane.send(Method::PUT, &approval, made.to_string()).await.ok();
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
    cluster.stop().await;
}

#[tokio::test]
async fn policies_name_no_parameters_that_their_writer_may_not_read() {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1";
    let cluster = Cluster::start().await;
    let (admin, jane) = (cluster.admin(), cluster.admin().with("impersonate-user", "jane"));
    let grant = async |name: &str, rules: Value| {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        let binding = json!({"metadata": {"name": name}, "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}]});
        admin.post(&format!("{RBAC}/clusterroles"), &role).await.ok();
        admin.post(&format!("{RBAC}/clusterrolebindings"), &binding).await.ok();
    };
    grant(
        "policies",
        json!([{"verbs": ["create"], "apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"]}]),
    )
    .await;
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let policy = |name: &str, kind: Option<&str>| {
        let mut spec = json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]});
        if let Some(kind) = kind {
            spec["paramKind"] = json!({"apiVersion": "v1", "kind": kind});
        }
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let binding = |reference: Value| {
        json!({"metadata": {"name": "b"}, "spec": {
            "policyName": "secrets", "validationActions": ["Deny"], "paramRef": reference}})
    };
    let policies = format!("{POLICIES}/validatingadmissionpolicies");
    jane.post(&policies, &policy("plain", None)).await.ok();
    let words = "spec.paramKind: Forbidden: user &{jane  [system:authenticated] map[]} must have \"get\" permission on all \
                 objects of the referenced paramKind (kind=Secret, apiVersion=v1)";
    jane.post(&policies, &policy("secrets", Some("Secret"))).await.refused(422, words);
    admin.post(&policies, &policy("secrets", Some("Secret"))).await.ok();
    let bindings = format!("{POLICIES}/validatingadmissionpolicybindings?dryRun=All");
    let named = json!({"name": "s", "namespace": "default", "parameterNotFoundAction": "Deny"});
    let chosen = json!({"selector": {}, "namespace": "default", "parameterNotFoundAction": "Deny"});
    let refused = |verb: &str| format!("does not have {verb:?} permission on the object referenced by paramRef");
    jane.post(&bindings, &binding(named.clone())).await.refused(422, &refused("get"));
    jane.post(&bindings, &binding(chosen.clone())).await.refused(422, &refused("list"));
    grant("secrets", json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}])).await;
    jane.post(&format!("{policies}?dryRun=All"), &policy("more", Some("Secret"))).await.ok();
    jane.post(&bindings, &binding(named)).await.ok();
    jane.post(&bindings, &binding(chosen)).await.refused(422, &refused("list"));
    cluster.stop().await;
}

#[tokio::test]
async fn strangers_leave_half_of_the_connections_to_those_with_a_certificate() {
    let cluster = Cluster::configured(|config| config.max_connections = 3).await;
    let anybody = cluster.anybody();
    // A connection that was answered once and is kept holds its place.
    let mut held = anybody.dial().await;
    held.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("a request");
    let mut first = [0];
    held.read_exact(&mut first).await.expect("an answer");
    let mut refused = anybody.dial().await;
    // The server may have closed it before anything was sent.
    let _ = refused.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let read = tokio::time::timeout(PATIENCE, refused.read(&mut first)).await.expect("the end in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(cluster.admin().get("/livez").await.code, 200);
    drop(held);
    cluster.stop().await;
}

#[tokio::test]
async fn a_connection_without_a_certificate_does_not_live_on_pings() {
    let cluster = Cluster::configured(|config| config.stranger_idle = Duration::from_millis(200)).await;
    let (admin, anybody) = (cluster.admin(), cluster.anybody());
    let (mut known, _known_ended) = admin.pinging().await;
    assert_eq!(known.send_request(admin.request("/livez")).await.expect("an answer").status(), 200);
    let (mut unknown, unknown_ended) = anybody.pinging().await;
    assert_eq!(unknown.send_request(anybody.request("/livez")).await.expect("an answer").status(), 200);
    tokio::time::timeout(PATIENCE, unknown_ended).await.expect("its end in time").expect("no panic");
    assert_eq!(known.send_request(admin.request("/livez")).await.expect("an answer").status(), 200);
    drop(known);
    cluster.stop().await;
}
