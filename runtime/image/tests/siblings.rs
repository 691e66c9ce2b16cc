//! The registries of a cluster's servers: what is pushed to one is pulled from any.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use pal_image::{Blobs, Body, BoxError, Digest, Origin, RegistryV2, Siblings};

const PATIENCE: Duration = Duration::from_secs(20);

/// Servers by their numbers; one that is down is `None`.
type Switchboard = Arc<Mutex<Vec<Option<RegistryV2>>>>;

/// One server's way to the others.
struct Others {
    own: usize,
    board: Switchboard,
}

impl Siblings for Others {
    fn others(&self) -> Vec<String> {
        (0..self.board.lock().unwrap().len()).filter(|at| *at != self.own).map(|at| at.to_string()).collect()
    }

    fn ask(&self, sibling: &str, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let registry = self.board.lock().unwrap()[sibling.parse::<usize>().unwrap()].clone();
        Box::pin(async move {
            let registry = registry.ok_or("the server is down")?;
            Ok(registry.call(Origin::Server, request).await)
        })
    }
}

struct Servers {
    board: Switchboard,
    dirs: Vec<tempfile::TempDir>,
}

impl Servers {
    async fn start(count: usize) -> Self {
        let board: Switchboard = Arc::new(Mutex::new(vec![None; count]));
        let dirs = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let servers = Self { board, dirs };
        for at in 0..count {
            servers.up(at).await;
        }
        servers
    }

    async fn up(&self, own: usize) {
        let blobs = Blobs::open(self.dirs[own].path()).await.unwrap();
        let registry = RegistryV2::among(blobs, Arc::new(Others { own, board: self.board.clone() }));
        self.board.lock().unwrap()[own] = Some(registry);
    }

    fn down(&self, at: usize) {
        self.board.lock().unwrap()[at] = None;
    }

    async fn call(&self, at: usize, method: Method, path: &str, body: &[u8]) -> Response<Body> {
        let registry = self.board.lock().unwrap()[at].clone().expect("a server that is up");
        let body = Full::new(Bytes::copy_from_slice(body));
        registry.call(Origin::Client, Request::builder().method(method).uri(path).body(body).unwrap()).await
    }

    /// Pushes an artifact of that content and returns its manifest's digest.
    async fn push(&self, at: usize, tag: &str, content: &[u8]) -> Digest {
        let mut digests = Vec::new();
        for blob in [b"{}".as_slice(), content] {
            let digest = Digest::of(blob);
            let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
            assert_eq!(self.call(at, Method::POST, &path, blob).await.status(), StatusCode::CREATED);
            digests.push(digest);
        }
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"{}","size":2}},"layers":[{{"mediaType":"application/wasm","digest":"{}","size":{}}}]}}"#,
            digests[0],
            digests[1],
            content.len()
        );
        let path = format!("/v2/team/app/manifests/{tag}");
        assert_eq!(self.call(at, Method::PUT, &path, manifest.as_bytes()).await.status(), StatusCode::CREATED);
        Digest::of(manifest.as_bytes())
    }

    async fn get(&self, at: usize, what: &str) -> Option<Bytes> {
        let response = self.call(at, Method::GET, &format!("/v2/team/app/{what}"), b"").await;
        let found = response.status() == StatusCode::OK;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        found.then_some(body)
    }

    async fn tag(&self, at: usize, tag: &str) -> Option<Digest> {
        Some(Digest::of(&self.get(at, &format!("manifests/{tag}")).await?))
    }

    fn has(&self, at: usize, digest: &Digest) -> bool {
        self.dirs[at].path().join("blobs/sha256").join(digest.hex()).exists()
    }

    async fn until_there(&self, at: usize, digest: &Digest) {
        let mut check = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while !self.has(at, digest) {
                check.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the artifact comes to be everywhere");
    }
}

#[tokio::test]
async fn a_push_is_everywhere_before_it_is_answered() {
    let servers = Servers::start(3).await;
    let manifest = servers.push(0, "v1", b"\0asm one").await;
    for at in 0..3 {
        assert!(servers.has(at, &manifest) && servers.has(at, &Digest::of(b"\0asm one")), "server {at}");
        assert_eq!(servers.tag(at, "v1").await, Some(manifest.clone()));
    }
    // Whoever took it goes; the others have it still.
    servers.down(0);
    let blob = servers.get(2, &format!("blobs/{}", Digest::of(b"\0asm one"))).await;
    assert_eq!(blob.as_deref(), Some(b"\0asm one".as_slice()));
}

#[tokio::test]
async fn what_was_pushed_while_a_server_was_away_is_fetched_when_it_is_asked_for() {
    let servers = Servers::start(2).await;
    servers.down(1);
    let manifest = servers.push(0, "v1", b"\0asm two").await;
    servers.up(1).await;
    assert!(!servers.has(1, &manifest));
    assert_eq!(servers.tag(1, "v1").await, Some(manifest.clone()));
    let layer = Digest::of(b"\0asm two");
    assert_eq!(servers.get(1, &format!("blobs/{layer}")).await.as_deref(), Some(b"\0asm two".as_slice()));
    assert!(servers.has(1, &manifest) && servers.has(1, &layer), "it was kept");
    assert_eq!(servers.get(1, &format!("blobs/{}", Digest::of(b"none"))).await, None);
    assert_eq!(servers.tag(1, "v9").await, None);
}

#[tokio::test]
async fn the_newest_push_of_a_tag_holds_and_what_is_false_is_not_taken() {
    let servers = Servers::start(2).await;
    let first = servers.push(0, "v1", b"\0asm first").await;
    servers.down(1);
    let second = servers.push(0, "v1", b"\0asm second").await;
    servers.up(1).await;
    // Server 1 knows an older push.
    assert_eq!(servers.tag(1, "v1").await, Some(second.clone()));
    let third = servers.push(1, "v1", b"\0asm third").await;
    assert_eq!(servers.tag(0, "v1").await, Some(third));
    assert_ne!(first, second);
    // A server whose clock is ahead took a push, and then another one took one.
    let ahead = servers.push(0, "v3", b"\0asm ahead").await;
    let file = servers.dirs[0].path().join("repositories/team/app/_tags/v3");
    std::fs::write(&file, format!("{ahead}\n99999999999999")).unwrap();
    let later = servers.push(1, "v3", b"\0asm later").await;
    assert_eq!(servers.tag(0, "v3").await, Some(later.clone()));
    assert_eq!(servers.tag(1, "v3").await, Some(later));
    // A blob that was spoilt on one server's disk is not taken over from it.
    servers.down(1);
    servers.push(0, "v2", b"\0asm good").await;
    let layer = Digest::of(b"\0asm good");
    std::fs::write(servers.dirs[0].path().join("blobs/sha256").join(layer.hex()), b"\0asm bad!").unwrap();
    servers.up(1).await;
    assert_eq!(servers.get(1, &format!("blobs/{layer}")).await, None);
    assert!(!servers.has(1, &layer));
}

#[tokio::test]
async fn a_new_server_comes_to_have_everything() {
    let servers = Servers::start(2).await;
    servers.down(1);
    let manifest = servers.push(0, "v1", b"\0asm old").await;
    servers.up(1).await;
    servers.until_there(1, &Digest::of(b"\0asm old")).await;
    assert!(servers.has(1, &manifest));
}
