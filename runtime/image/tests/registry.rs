//! The registry and the clients, over a real socket.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pal_image::{Blobs, Digest, Origin, PullError, PullPolicy, Puller, PullerConfig, RegistryV2};
use tokio::io::AsyncReadExt as _;
use tokio::task::AbortHandle;

struct Site {
    address: String,
    task: AbortHandle,
    _dir: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let registry = RegistryV2::new(Blobs::open(dir.path()).await.unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let registry = registry.clone();
            connections.spawn(async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let registry = registry.clone();
                    async move { Ok::<_, Infallible>(registry.call(Origin::Client, request).await) }
                });
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    Site { address, task: task.abort_handle(), _dir: dir }
}

impl Site {
    async fn call(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: &[u8],
    ) -> (StatusCode, http::HeaderMap, Bytes) {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", media_type)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    async fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        let (status, ..) = self.call(Method::POST, &path, "application/octet-stream", bytes).await;
        assert_eq!(status, StatusCode::CREATED);
        digest
    }

    async fn put_manifest(&self, tag: &str, config_type: &str, layer_type: &str, layer: &[u8]) -> Digest {
        let config = self.put_blob(b"{}").await;
        let layer_digest = self.put_blob(layer).await;
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"{config}","size":2}},"layers":[{{"mediaType":"{layer_type}","digest":"{layer_digest}","size":{}}}]}}"#,
            layer.len()
        );
        let path = format!("/v2/app/manifests/{tag}");
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let (status, ..) = self.call(Method::PUT, &path, media_type, manifest.as_bytes()).await;
        assert_eq!(status, StatusCode::CREATED);
        Digest::of(manifest.as_bytes())
    }
}

#[tokio::test]
async fn a_body_that_is_refused_is_read_before_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let registry = RegistryV2::new(Blobs::open(dir.path()).await.unwrap());
    for (method, path, status) in [
        (Method::POST, "/v2/app/blobs/uploads/gone", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PATCH, "/v2/app/blobs/uploads/gone", StatusCode::NOT_FOUND),
        (Method::PUT, "/v2/app/blobs/uploads/gone", StatusCode::BAD_REQUEST),
        (Method::PUT, "/v2/App/manifests/v1", StatusCode::BAD_REQUEST),
        (Method::PUT, "/v2/app", StatusCode::NOT_FOUND),
    ] {
        let read = AtomicUsize::new(0);
        let frames = (0..10).map(|_| {
            read.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"some")))
        });
        let body = StreamBody::new(futures::stream::iter(frames));
        let request = Request::builder().method(&method).uri(path).body(body).unwrap();
        let answer = registry.call(Origin::Client, request).await;
        assert_eq!((answer.status(), read.into_inner()), (status, 10), "{method} {path}");
    }
}

#[tokio::test]
async fn images_are_kept_where_only_their_owner_comes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("images");
    Blobs::open(&root).await.unwrap();
    for folder in ["", "blobs", "blobs/sha256", "uploads", "repositories"] {
        let mode = std::fs::metadata(root.join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
}

async fn puller() -> (Puller, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Blobs::open(dir.path()).await.unwrap();
    (Puller::new(PullerConfig { cache, cluster: None, plain_http: Vec::new() }).unwrap(), dir)
}

#[tokio::test]
async fn an_artifact_is_pulled_once_and_then_found() {
    let site = site().await;
    let manifest =
        site.put_manifest("v1", "application/vnd.wasm.config.v0+json", "application/wasm", b"\0asm....").await;
    let (puller, _dir) = puller().await;
    let image = format!("{}/app:v1", site.address);
    let artifact = puller.pull(&image, PullPolicy::IfNotPresent).await.unwrap();
    assert_eq!(artifact.image_id, format!("{}/app@{manifest}", site.address));
    assert_eq!(std::fs::read(&artifact.path).unwrap(), b"\0asm....");
    assert!(!artifact.cached);
    drop(site);
    let again = puller.pull(&image, PullPolicy::IfNotPresent).await.unwrap();
    assert!(again.cached && again.path == artifact.path);
    assert!(matches!(puller.pull(&image, PullPolicy::Always).await, Err(PullError::Unreachable { .. })));
}

/// What leads to a site by connections that each pass on so many of its bytes and break.
async fn breaking(site: &Site, bytes: u64) -> (String, AbortHandle) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (listener.local_addr().unwrap().to_string(), site.address.clone());
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let target = target.clone();
            connections.spawn(async move {
                let far = tokio::net::TcpStream::connect(target).await.unwrap();
                let ((mut asks, mut hears), (answers, mut asked)) = (near.into_split(), far.into_split());
                let mut answers = answers.take(bytes);
                tokio::select! {
                    _ = tokio::io::copy(&mut answers, &mut hears) => {}
                    _ = tokio::io::copy(&mut asks, &mut asked) => {}
                }
            });
        }
    });
    (address, task.abort_handle())
}

#[tokio::test]
async fn a_pull_whose_connections_break_goes_on_from_where_it_was() {
    let site = site().await;
    let wasm: Vec<u8> = b"\0asm".iter().copied().chain((0..700_000_u32).map(|i| (i % 251) as u8)).collect();
    site.put_manifest("v1", "application/vnd.wasm.config.v0+json", "application/wasm", &wasm).await;
    let check = async |bytes: u64, comes: bool| {
        let (address, task) = breaking(&site, bytes).await;
        let (puller, _dir) = puller().await;
        let outcome = puller.pull(&format!("{address}/app:v1"), PullPolicy::IfNotPresent).await;
        task.abort();
        match outcome {
            Ok(artifact) => assert!(comes && std::fs::read(&artifact.path).unwrap() == wasm, "{bytes}"),
            Err(error) => assert!(!comes && matches!(error, PullError::Unreachable { .. }), "{bytes}: {error}"),
        }
    };
    check(200_000, true).await;
    check(20_000, false).await;
}

#[tokio::test]
async fn a_part_of_a_blob_is_what_is_sent() {
    let site = site().await;
    let digest = site.put_blob(b"0123456789").await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let check = async |range: &str, status: StatusCode, told: Option<&str>, expected: &str| {
        let uri = format!("http://{}/v2/app/blobs/{digest}", site.address);
        let request = Request::builder().uri(uri).header("range", range).body(Full::default()).unwrap();
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let range = parts.headers.get("content-range").map(|value| value.to_str().unwrap());
        assert_eq!((parts.status, range, &body[..]), (status, told, expected.as_bytes()));
        assert_eq!(parts.headers["accept-ranges"], "bytes");
    };
    check("bytes=4-", StatusCode::PARTIAL_CONTENT, Some("bytes 4-9/10"), "456789").await;
    check("bytes=4-5", StatusCode::PARTIAL_CONTENT, Some("bytes 4-5/10"), "45").await;
    check("bytes=10-", StatusCode::RANGE_NOT_SATISFIABLE, Some("bytes */10"), "").await;
    check("bytes=-2", StatusCode::OK, None, "0123456789").await;
}

#[tokio::test]
async fn what_cannot_be_run_is_told_apart() {
    let site = site().await;
    let docker = "application/vnd.docker.container.image.v1+json";
    site.put_manifest("linux", docker, "application/vnd.docker.image.rootfs.diff.tar.gzip", b"tar").await;
    site.put_manifest("chart", "application/vnd.cncf.helm.config.v1+json", "text/x", b"chart").await;
    let (puller, _dir) = puller().await;
    let pull = async |image: String| puller.pull(&image, PullPolicy::IfNotPresent).await;
    assert!(matches!(pull(format!("{}/app:linux", site.address)).await, Err(PullError::LinuxImage { .. })));
    assert!(matches!(pull(format!("{}/app:chart", site.address)).await, Err(PullError::NotWasm { .. })));
    assert!(matches!(pull(format!("{}/app:none", site.address)).await, Err(PullError::NotFound(_))));
    assert!(matches!(pull("./x.wasm".to_owned()).await, Err(PullError::BadReference(_))));
    assert!(matches!(pull("pal.local/x".to_owned()).await, Err(PullError::Unreachable { .. })));
    let never = puller.pull(&format!("{}/app:linux", site.address), PullPolicy::Never).await;
    assert!(matches!(never, Err(PullError::NotPresent(_))));
}

#[tokio::test]
async fn an_upload_in_pieces_arrives_whole_and_a_wrong_digest_leaves_nothing() {
    let site = site().await;
    let octets = "application/octet-stream";
    let (status, headers, _) = site.call(Method::POST, "/v2/app/blobs/uploads/", octets, b"").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let location = headers["location"].to_str().unwrap().to_owned();
    assert_eq!(site.call(Method::PATCH, &location, octets, b"one ").await.0, StatusCode::ACCEPTED);
    assert_eq!(site.call(Method::PATCH, &location, octets, b"two").await.0, StatusCode::ACCEPTED);
    let digest = Digest::of(b"one two");
    let (status, ..) = site.call(Method::PUT, &format!("{location}?digest={digest}"), octets, b"").await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, _, body) = site.call(Method::GET, &format!("/v2/app/blobs/{digest}"), octets, b"").await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"one two"[..]));

    let wrong = Digest::of(b"else");
    let path = format!("/v2/app/blobs/uploads/?digest={wrong}");
    let (status, _, body) = site.call(Method::POST, &path, octets, b"data").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("DIGEST_INVALID"));
    assert_eq!(site.call(Method::HEAD, &format!("/v2/app/blobs/{wrong}"), octets, b"").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bad_requests_get_the_specs_error_codes() {
    let site = site().await;
    let check = async |method: Method, path: &str, body: &str, status: StatusCode, code: &str| {
        let (actual, _, answer) = site.call(method, path, "application/json", body.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(actual == status && answer.contains(code), "{path}: {actual} {answer}");
    };
    check(Method::GET, "/v2/UPPER/tags/list", "", StatusCode::BAD_REQUEST, "NAME_INVALID").await;
    check(Method::GET, "/v2/../../etc/tags/list", "", StatusCode::BAD_REQUEST, "NAME_INVALID").await;
    check(Method::GET, "/v2/none/tags/list", "", StatusCode::NOT_FOUND, "NAME_UNKNOWN").await;
    check(Method::GET, "/v2/app/manifests/v9", "", StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN").await;
    check(Method::PUT, "/v2/app/manifests/v1", "{", StatusCode::BAD_REQUEST, "MANIFEST_INVALID").await;
    check(Method::PATCH, "/v2/app/blobs/uploads/none", "", StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN").await;
    check(Method::DELETE, "/v2/app/manifests/v1", "", StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED").await;
    let missing = format!(
        r#"{{"schemaVersion":2,"layers":[{{"mediaType":"application/wasm","digest":"{}","size":1}}]}}"#,
        Digest::of(b"missing")
    );
    check(Method::PUT, "/v2/app/manifests/v1", &missing, StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN").await;
}
