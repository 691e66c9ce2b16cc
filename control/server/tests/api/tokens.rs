//! Tokens: of service accounts, from a file, of other issuers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pal_server::OidcFlags;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Client, Cluster, PATIENCE};

const CORE: &str = "/api/v1/namespaces/default";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ME: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What a token says of itself.
fn payload(token: &str) -> Value {
    let middle = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&BASE64.decode(middle).expect("base64")).expect("JSON")
}

async fn review(admin: &Client, token: &str, audiences: &[&str]) -> Value {
    admin.post(REVIEWS, &json!({"spec": {"token": token, "audiences": audiences}})).await.ok()["status"].clone()
}

#[tokio::test]
async fn a_bound_token_is_its_objects_for_its_audiences() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(&format!("{CORE}/serviceaccounts"), &json!({"metadata": {"name": "sa"}})).await.ok();
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "serviceAccountName": "sa", "nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let pod = admin.post(&format!("{CORE}/pods"), &pod).await.ok();
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    // Every pod finds the API where clients look for it; that is nobody's own.
    let volume = pod["spec"]["volumes"][0]["name"].as_str().expect("a volume");
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
    assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    assert!(!pod["metadata"]["managedFields"].to_string().contains("volume"), "{pod}");
    let plain = json!({"metadata": {"name": "plain"}, "spec": {
        "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}});
    let plain = admin.post(&format!("{CORE}/pods"), &plain).await.ok();
    assert!(plain["spec"].get("volumes").is_none(), "{plain}");
    let tokens = format!("{CORE}/serviceaccounts/sa/token");
    let reference = |kind: &str, name: &str, uid: &str| {
        json!({"spec": {"audiences": [ISSUER, "vault"], "boundObjectRef": {
            "apiVersion": "v1", "kind": kind, "name": name, "uid": uid}}})
    };
    let made = admin.post(&tokens, &reference("Pod", "p", uid)).await.ok();
    assert_eq!((&made["spec"]["expirationSeconds"], &made["metadata"]["name"]), (&json!(3600), &json!("sa")));
    let token = made["status"]["token"].as_str().expect("a token");
    let claims = payload(token);
    assert_eq!(claims["kubernetes.io"]["pod"], json!({"name": "p", "uid": uid}));
    assert_eq!(claims["kubernetes.io"]["node"], json!({"name": "n1"}));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!([ISSUER, "vault"])));
    assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(3600));

    let found = review(&admin, token, &["vault", "other"]).await;
    assert_eq!((&found["authenticated"], &found["audiences"]), (&json!(true), &json!(["vault"])));
    let key = |name: &str| format!("authentication.kubernetes.io/{name}");
    let extra = &found["user"]["extra"];
    assert_eq!((&extra[key("pod-name")], &extra[key("pod-uid")]), (&json!(["p"]), &json!([uid])));
    let id = format!("JTI={}", claims["jti"].as_str().expect("an id"));
    assert_eq!((&extra[key("node-name")], &extra[key("credential-id")]), (&json!(["n1"]), &json!([id])));
    assert_eq!(review(&admin, token, &[]).await["audiences"], json!([ISSUER]));
    let words = format!(
        "[invalid bearer token, token audiences [\"{ISSUER}\" \"vault\"] is invalid for the target audiences [\"other\"]]"
    );
    assert_eq!(review(&admin, token, &["other"]).await, json!({"user": {}, "error": words}));
    assert_eq!(review(&admin, "nonsense", &[]).await, json!({"user": {}, "error": "invalid bearer token"}));
    let account = cluster.anybody().with("authorization", &format!("Bearer {token}"));
    assert_eq!(account.post(ME, &json!({})).await.ok()["status"]["userInfo"]["extra"][key("pod-name")], json!(["p"]));

    admin.post(&tokens, &reference("Pod", "p", "other")).await.refused(409, "does not match the UID in record");
    admin.post(&tokens, &reference("Pod", "absent", "")).await.refused(404, "pods \"absent\" not found");
    admin.post(&tokens, &reference("ConfigMap", "p", "")).await.refused(400, "of type /v1, Kind=ConfigMap");
    let others = admin.post(&format!("{CORE}/serviceaccounts"), &json!({"metadata": {"name": "other"}})).await;
    others.ok();
    let wrong = admin.post(&format!("{CORE}/serviceaccounts/other/token"), &reference("Pod", "p", uid)).await;
    wrong.refused(400, "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount");

    let gone = json!({"gracePeriodSeconds": 0}).to_string();
    admin.send(Method::DELETE, &format!("{CORE}/pods/p"), gone).await.ok();
    account.post(ME, &json!({})).await.refused(401, "Unauthorized");
    let refusal = review(&admin, token, &[]).await;
    assert_eq!(refusal["error"], "[invalid bearer token, service account token has been invalidated]");

    admin.post(&format!("{CORE}/secrets"), &json!({"metadata": {"name": "s"}})).await.ok();
    let made = admin.post(&tokens, &reference("Secret", "s", "")).await.ok();
    let token = made["status"]["token"].as_str().expect("a token");
    assert_eq!(review(&admin, token, &[]).await["authenticated"], true);
    admin.send(Method::DELETE, &format!("{CORE}/secrets/s"), "").await.ok();
    admin.post(&format!("{CORE}/secrets"), &json!({"metadata": {"name": "s"}})).await.ok();
    let refusal = review(&admin, token, &[]).await["error"].as_str().expect("why").to_owned();
    assert!(refusal.starts_with("[invalid bearer token, secret UID ("), "{refusal}");
    cluster.stop().await;
}

#[tokio::test]
async fn others_can_verify_service_accounts_tokens_by_themselves() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(&format!("{CORE}/serviceaccounts"), &json!({"metadata": {"name": "sa"}})).await.ok();
    let made = admin.post(&format!("{CORE}/serviceaccounts/sa/token"), &json!({"spec": {}})).await.ok();
    let token = made["status"]["token"].as_str().expect("a token");
    let account = cluster.anybody().with("authorization", &format!("Bearer {token}"));
    let document = account.get("/.well-known/openid-configuration").await;
    assert_eq!(document.headers["content-type"], "application/json");
    let document = document.ok();
    let url = document["jwks_uri"].as_str().expect("a URL");
    let path = url.strip_prefix(&format!("https://{}", cluster.server.local_addr())).expect("this server");
    let keys = account.with("accept", "application/jwk-set+json").get(path).await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let header = token.split('.').next().expect("a header");
    let header: Value = serde_json::from_slice(&BASE64.decode(header).expect("base64")).expect("JSON");
    assert_eq!((&document["issuer"], &keys.json()["keys"][0]["kid"]), (&json!(ISSUER), &header["kid"]));
    cluster.anybody().get(path).await.refused(403, "User \"system:anonymous\" cannot get path \"/openid/v1/jwks\"");
    cluster.stop().await;
}

#[tokio::test]
async fn tokens_from_a_file_are_their_users() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "secret-one,jane,7,\"dev,ops\"\n").expect("written");
    let path = file.path().to_owned();
    let cluster = Cluster::configured(|config| config.access.token_file = Some(path)).await;
    let jane = cluster.anybody().with("authorization", "Bearer secret-one");
    let info = jane.post(ME, &json!({})).await.ok()["status"]["userInfo"].clone();
    assert_eq!(info, json!({"username": "jane", "uid": "7", "groups": ["dev", "ops", "system:authenticated"]}));
    jane.get("/api/v1/pods").await.refused(403, "User \"jane\" cannot list resource \"pods\"");
    cluster.anybody().with("authorization", "Bearer secret-two").get("/api").await.refused(401, "Unauthorized");
    cluster.stop().await;
}

/// An issuer with one key, on a port of its own.
struct Issuer {
    address: SocketAddr,
    ca_pem: String,
    key: EcdsaKeyPair,
}

impl Issuer {
    async fn start() -> Self {
        let tls = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(tls.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth();
        let config = config.with_single_cert(vec![tls.cert.der().clone()], private).expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let document = document.expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &SystemRandom::new());
        let key = key.expect("the key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = format!("https://localhost:{}", address.port());
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let keys =
            json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": BASE64.encode(x), "y": BASE64.encode(y)}]});
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(tls) = acceptor.accept(tcp).await else { continue };
                let (keys, discovery) = (keys.to_string(), discovery.to_string());
                let service = service_fn(move |request: Request<Incoming>| {
                    let body = if request.uri().path() == "/keys" { keys.clone() } else { discovery.clone() };
                    async { Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(body)))) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service));
            }
        });
        Self { address, ca_pem: tls.cert.pem(), key }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    fn token(&self, kid: &str, change: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut claims =
            json!({"iss": self.url(), "aud": "kubernetes", "sub": "7", "exp": now + 600, "groups": ["dev"]});
        for (name, value) in change.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "kid": kid});
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", BASE64.encode(signature.as_ref()))
    }
}

#[tokio::test]
async fn tokens_of_a_trusted_issuer_are_its_users() {
    let issuer = Issuer::start().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &issuer.ca_pem).expect("written");
    let flags = OidcFlags {
        issuer_url: issuer.url(),
        client_id: "kubernetes".to_owned(),
        groups_claim: "groups".to_owned(),
        groups_prefix: "oidc:".to_owned(),
        signing_algs: vec!["ES256".to_owned()],
        ca_file: Some(file.path().to_owned()),
        ..OidcFlags::default()
    };
    let cluster = Cluster::configured(|config| config.access.oidc = flags).await;
    let admin = cluster.admin();
    let token = issuer.token("k", json!({}));
    // The keys come in the background.
    let began = std::time::Instant::now();
    let found = loop {
        let found = review(&admin, &token, &[]).await;
        if found["authenticated"] == true {
            break found;
        }
        assert!(began.elapsed() < PATIENCE, "{found}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let name = format!("{}#7", issuer.url());
    let groups = json!(["oidc:dev", "system:authenticated"]);
    assert_eq!((&found["user"]["username"], &found["user"]["groups"]), (&json!(name), &groups));
    let user = cluster.anybody().with("authorization", &format!("Bearer {token}"));
    user.get("/api/v1/pods").await.refused(403, &format!("User \"{name}\" cannot list"));
    let check = async |token: String, expected: &str| {
        let found = review(&admin, &token, &[]).await;
        let why = found["error"].as_str().unwrap_or_default();
        assert!(why.contains(expected), "{found} lacks {expected:?}");
    };
    check(issuer.token("k", json!({"exp": 1})), "oidc: token is expired").await;
    check(issuer.token("k", json!({"aud": "other"})), "oidc: expected audience in").await;
    check(issuer.token("k", json!({"iss": "https://nobody"})), "invalid bearer token").await;
    check(format!("{}AAAA", &token[..token.len() - 4]), "failed to verify signature").await;
    cluster.stop().await;
}
