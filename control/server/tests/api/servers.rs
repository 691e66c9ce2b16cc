//! Several servers, as one of them sees it: who is told of them, who may join, and which certificates are shown and taken.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use pal_registry::{Read, Registry};
use pal_server::join::{Application, JoinError, join};
use pal_server::peers::ALPN;
use pal_server::tokens::{self, Role};
use pal_server::{Identity, pki};
use pal_store::ServerId;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::cluster::{Cluster, PATIENCE};

const HOUR: Duration = Duration::from_secs(3600);

impl Cluster {
    fn id(&self) -> ServerId {
        self.registry.store().identity().server
    }

    /// The certificate of a server with that id.
    fn peer_identity(&self, id: ServerId) -> Identity {
        // Kept apart from this server's own, which is kept in its directory.
        let dir = tempfile::tempdir().expect("a directory");
        let keys = self.server.ca().export().expect("keys");
        keys.install(dir.path()).expect("installed");
        let ca = pal_server::ClusterCa::open(dir.path(), SystemTime::now()).expect("an authority");
        ca.peer_identity(id, &["localhost".to_owned()], SystemTime::now()).expect("a certificate")
    }

    async fn token(&self, role: Role, life: Duration) -> String {
        let fingerprint = self.server.ca().fingerprint();
        tokens::create(&self.registry, role, life, "", fingerprint).await.expect("a token")
    }

    fn url(&self) -> String {
        format!("https://{}", self.server.local_addr())
    }
}

fn application(address: &str) -> Application {
    Application { id: ServerId::random().to_string(), name: "second".to_owned(), address: address.to_owned() }
}

#[tokio::test]
async fn the_administrator_sees_the_servers_and_others_do_not() {
    let cluster = Cluster::start().await;
    let list = cluster.admin().get("/cluster/servers").await.ok();
    let id = cluster.id().to_string();
    assert_eq!((list["kind"].as_str(), list["leader"].as_str()), (Some("ServerList"), Some(id.as_str())));
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["role"]), (&json!(id), &json!("leader")));
    for path in ["/cluster/servers", "/cluster/snapshot"] {
        cluster.anybody().get(path).await.refused(403, "cannot get path");
        cluster.client(Some(&cluster.node_identity("n"))).get(path).await.refused(403, "cannot get path");
    }
    let path = "/cluster/servers/x";
    cluster.anybody().send(Method::DELETE, path, "").await.refused(403, "cannot delete path");
    cluster.admin().send(Method::DELETE, path, "").await.refused(404, "not found: the servers are");
    let alone = format!("/cluster/servers/{id}");
    cluster.admin().send(Method::DELETE, &alone, "").await.refused(409, "is the only server");
    cluster.admin().send(Method::PUT, "/cluster/servers", "").await.refused(405, "does not allow this method");
    cluster.admin().get("/cluster/else").await.refused(404, "");
    let info = cluster.anybody().with("accept", "application/json").get("/cluster-info").await.ok();
    assert_eq!(info["certificateAuthority"], cluster.server.ca().root_pem());
    assert_eq!(info["cluster"], cluster.registry.store().identity().cluster);
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_joins_by_a_token_for_servers_that_holds() {
    let (cluster, other) = (Cluster::start().await, Cluster::start().await);
    let check = async |token: String, expected: &str| {
        let refused = join(&cluster.url(), &token, &application("127.0.0.1:1")).await.expect_err("a refusal");
        assert!(refused.to_string().contains(expected), "{refused}");
    };
    check(cluster.token(Role::Node, HOUR).await, "lets a node join, not a server").await;
    check(cluster.token(Role::Server, Duration::ZERO).await, "the token has expired").await;
    check(other.token(Role::Server, HOUR).await, "another cluster").await;
    check("nonsense".to_owned(), "malformed").await;
    let good = cluster.token(Role::Server, HOUR).await;
    let (head, tail) = good.split_at(12);
    check(format!("{head}aaaaa{}", &tail[5..]), "secret is wrong").await;
    // Nothing listens there.
    check(good.clone(), "--advertise").await;
    let id = tokens::list(&cluster.registry).await.expect("a list").into_iter().find(|token| good.contains(&token.id));
    tokens::revoke(&cluster.registry, &id.expect("it is listed").id).await.expect("taken back");
    check(good, "no such token").await;
    let none = join("https://127.0.0.1:1", &cluster.token(Role::Server, HOUR).await, &application("127.0.0.1:1")).await;
    assert!(matches!(none, Err(JoinError::Passing { .. })), "who does not answer is asked again: {none:?}");
    cluster.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_a_joiner_says_of_itself_is_checked() {
    let cluster = Cluster::start().await;
    let token = cluster.token(Role::Server, HOUR).await;
    let joiner = cluster.anybody().with("authorization", &format!("Bearer {token}"));
    let check = async |body: serde_json::Value, message: &str| {
        joiner.post("/cluster/servers", &body).await.refused(400, message);
    };
    let id = ServerId::random().to_string();
    check(json!({}), "missing field").await;
    check(json!({"id": id, "name": "a", "address": "a:1", "more": 1}), "unknown field `more`").await;
    check(json!({"id": "1", "name": "a", "address": "a:1"}), "16 hexadecimal digits").await;
    check(json!({"id": id, "name": "A b", "address": "a:1"}), "the name \"A b\"").await;
    check(json!({"id": id, "name": "a", "address": "a"}), "HOST:PORT").await;
    check(json!({"id": id, "name": "a", "address": "0.0.0.0:1"}), "--advertise").await;
    // A token for servers is for nothing else.
    joiner.get("/api/v1/namespaces/kube-system/secrets").await.refused(403, "forbidden");
    joiner.get("/cluster/snapshot").await.refused(403, "forbidden");
    cluster.stop().await;
}

#[tokio::test]
async fn to_servers_a_server_shows_which_it_is_and_takes_only_servers_and_administrators() {
    let cluster = Cluster::start().await;
    let admin = cluster.server.admin().expect("the administrator's certificate");
    let tls = cluster.connect(&admin, ALPN).await;
    let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(pki::peer_name);
    assert_eq!(shown.map(|name| name.user), Some(format!("system:server:{}", cluster.id())));
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(ALPN));
    let mut node = cluster.connect(&cluster.node_identity("n"), ALPN).await;
    let ended = tokio::time::timeout(PATIENCE, node.read_u8()).await.expect("an end in time");
    assert!(ended.is_err(), "a node is turned away");
    let api = cluster.connect(&admin, b"http/1.1").await;
    let shown = api.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(pki::peer_name);
    assert_eq!(shown.map(|name| name.user).as_deref(), Some("kube-apiserver"));
    drop((tls, api));
    cluster.stop().await;
}

#[tokio::test]
async fn a_servers_certificate_counts_only_as_long_as_it_is_a_member() {
    let cluster = Cluster::start().await;
    let member = cluster.client(Some(&cluster.peer_identity(cluster.id())));
    assert_eq!(member.get("/cluster/servers").await.code, StatusCode::OK);
    member.get("/api/v1/namespaces/kube-system/secrets").await.refused(403, "forbidden");
    let removed = cluster.client(Some(&cluster.peer_identity(ServerId::random())));
    removed.get("/cluster/servers").await.refused(401, "is no member of this cluster");
    removed.get("/version").await.refused(401, "is no member of this cluster");
    cluster.stop().await;
}

#[tokio::test]
async fn a_snapshot_is_whole_and_holds_what_was_written_before() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "b"}});
    admin.post("/api/v1/namespaces/default/configmaps", &map).await.ok();
    let saved = admin.get("/cluster/snapshot").await;
    assert_eq!(saved.code, StatusCode::OK, "{}", saved.text());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("saved");
    std::fs::write(&file, &saved.body).expect("written");
    let mut opened = pal_server::backup::open(&file).expect("a backup");
    assert_eq!(opened.head.keys, cluster.server.ca().export().expect("keys"));
    let restored = dir.path().join("store");
    let info = pal_store::Store::restore(&restored, "again", "", &mut opened.store).expect("restored");
    assert_eq!(info.cluster, cluster.registry.store().identity().cluster);
    let config = pal_store::StoreConfig { dir: restored, ..pal_store::StoreConfig::default() };
    let store = pal_store::Store::open(config).await.expect("a store");
    let registry = Registry::new(store.clone(), pal_registry::Config::default());
    let maps = pal_resources::resource::find("", "v1", "configmaps").expect("config maps are served");
    let found = registry.get(&maps, Some("default"), "kept", Read::Consistent).await.expect("it is there");
    assert_eq!(found.value().expect("it parses")["data"], json!({"a": "b"}));
    store.close().await;
    cluster.stop().await;
}
