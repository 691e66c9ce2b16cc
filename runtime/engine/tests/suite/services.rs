//! HTTP services of WASI 0.2: requests, streams, instances.

use bytes::Bytes;
use futures::StreamExt as _;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use pal_engine::{Body, BoxError, Mount};
use tokio::sync::mpsc;

use crate::harness::{LIMIT, fetch, full, get, idle, logged, program, read, service};

/// A body whose pieces the test sends.
pub fn channel() -> (mpsc::Sender<Result<Bytes, &'static str>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames =
        tokio_stream(receiver).map(|piece: Result<Bytes, &str>| piece.map(Frame::data).map_err(BoxError::from));
    (sender, StreamBody::new(frames).boxed_unsync())
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

#[tokio::test]
async fn hello_answers_with_the_pods_name_and_the_path() {
    let mut logged = logged();
    logged.spec.env = vec![("HOSTNAME".into(), "hello-1".into())];
    let hello = program("examples/hello/hello").await;
    let service = hello.serve(logged.spec).await.unwrap();
    let response = service.handle(get("/a?b=c")).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(read(response).await, (200, "Hello from hello-1, you asked for /a?b=c\n".into()));
    idle(&service).await;
}

#[tokio::test]
async fn each_request_has_an_instance_of_its_own() {
    let service = service(logged().spec).await;
    for _ in 0..3 {
        assert_eq!(fetch(&service, "/count").await, (200, "1".into()));
    }
    idle(&service).await;
}

#[tokio::test]
async fn head_and_authority_reach_the_guest() {
    let service = service(logged().spec).await;
    let request = |request: http::request::Builder| request.body(full("")).unwrap();
    for (builder, expected) in [
        (Request::get("/authority").header("host", "a.b:80"), "a.b:80"),
        (Request::get("http://c.d/authority"), "c.d"),
        (Request::get("/authority"), "localhost"),
        (Request::get("/header/x-one").header("x-one", "1"), "1"),
    ] {
        let (status, body) = read(service.handle(request(builder)).await).await;
        assert_eq!((status, body.as_str()), (200, expected));
    }
}

#[tokio::test]
async fn bodies_stream_through_in_both_directions_at_once() {
    let service = service(logged().spec).await;
    let (sender, body) = channel();
    let request = Request::post("/echo").body(body).unwrap();
    let mut response = service.handle(request).await.into_body();
    for piece in ["one", "two", "three"] {
        sender.send(Ok(piece.into())).await.unwrap();
        // Each piece comes back before the next is sent.
        let frame = tokio::time::timeout(LIMIT, response.frame()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(sender);
    assert!(response.frame().await.is_none());
    drop(response);
    idle(&service).await;
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let service = service(logged().spec).await;
    let request = Request::post("/size").body(full(vec![7; 10 << 20])).unwrap();
    let answer = read(service.handle(request).await).await;
    assert_eq!(answer, (200, (10 << 20).to_string()));
    let request = Request::post("/echo").body(full(vec![b'z'; 1 << 20])).unwrap();
    let (status, body) = read(service.handle(request).await).await;
    assert_eq!((status, body.len()), (200, 1 << 20));
}

#[tokio::test]
async fn a_request_that_breaks_off_is_an_error_for_the_guest() {
    let service = service(logged().spec).await;
    let (sender, body) = channel();
    let request = Request::post("/size").body(body).unwrap();
    let feed = async {
        sender.send(Ok("some".into())).await.unwrap();
        sender.send(Err("reset by peer")).await.unwrap();
    };
    let (response, ()) = tokio::join!(service.handle(request), feed);
    let (status, _) = read(response).await;
    assert_eq!(status, 400);
    idle(&service).await;
}

#[tokio::test]
async fn a_response_waits_for_a_slow_reader() {
    let logged = logged();
    let service = service(logged.spec).await;
    let mut body = service.handle(get("/flood/65536")).await.into_body();
    body.frame().await.unwrap().unwrap();
    // The guest has 64 MiB to send and blocks soon, as nobody reads.
    let written = || logged.stdout.text().lines().count();
    let mut before = usize::MAX;
    for _ in 0..1000 {
        if written() == before {
            break;
        }
        before = written();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(written() < 100, "{} of 1024 blocks were sent", written());
    assert_eq!(service.in_flight(), 1);
    drop(body);
    idle(&service).await;
}

#[tokio::test]
async fn a_client_that_goes_takes_the_instance_with_it() {
    let service = service(logged().spec).await;
    // In the middle of the body.
    let mut body = service.handle(get("/ticks/1000000")).await.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(service.in_flight(), 1);
    drop(body);
    idle(&service).await;
    // Before the head, even while the guest computes.
    for path in ["/loop", "/sleep/3600000"] {
        let gone = tokio::time::timeout(std::time::Duration::from_millis(100), service.handle(get(path)));
        assert!(gone.await.is_err());
        idle(&service).await;
    }
}

#[tokio::test]
async fn output_of_requests_goes_to_the_logs() {
    let logged = logged();
    let service = service(logged.spec).await;
    assert_eq!(fetch(&service, "/log/word").await.0, 200);
    assert_eq!(logged.stdout.text(), "out: word\n");
    assert_eq!(logged.stderr.text(), "err: word\n");
}

#[tokio::test]
async fn services_see_their_mounts() {
    let dir = tempfile::tempdir().unwrap();
    let mut logged = logged();
    let mount = |guest: &str, read_only| Mount {
        host: dir.path().to_owned(),
        sub_path: Default::default(),
        guest: guest.into(),
        read_only,
    };
    logged.spec.mounts = vec![mount("/rw", false), mount("/ro", true)];
    let service = service(logged.spec).await;
    assert_eq!(fetch(&service, "/read/rw/x").await.0, 404);
    assert_eq!(fetch(&service, "/write/ro/x").await.0, 403);
    assert_eq!(fetch(&service, "/write/rw/x").await.0, 200);
    assert_eq!(fetch(&service, "/read/ro/x").await, (200, "written".into()));
}

#[tokio::test]
async fn a_directory_exchanged_for_a_link_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
    for (place, content) in [(volume.join("d"), "inside"), (outside.clone(), "outside")] {
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("x"), content).unwrap();
    }
    let mut spec = logged().spec;
    spec.mounts = vec![Mount { host: volume.clone(), sub_path: "d".into(), guest: "/data".into(), read_only: false }];
    let running = service(spec.clone()).await;
    assert_eq!(fetch(&running, "/read/data/x").await, (200, "inside".into()));
    // As a guest can that sees all of the volume.
    std::fs::rename(volume.join("d"), volume.join("moved")).unwrap();
    std::os::unix::fs::symlink("../outside", volume.join("d")).unwrap();
    assert_eq!(fetch(&running, "/read/data/x").await, (200, "inside".into()));
    assert_eq!(fetch(&running, "/write/data/y").await.0, 200);
    assert!(volume.join("moved/y").exists() && !outside.join("y").exists());
    let error = program("tests/guests/service").await.serve(spec).await.unwrap_err();
    assert!(error.to_string().contains("links are not followed"), "{error}");
}

#[tokio::test]
async fn the_guest_book_keeps_its_entries_on_the_volume() {
    let dir = tempfile::tempdir().unwrap();
    let mut logged = logged();
    logged.spec.mounts = vec![Mount {
        host: dir.path().to_owned(),
        sub_path: Default::default(),
        guest: "/data".into(),
        read_only: false,
    }];
    let backend = program("examples/guestbook/backend").await;
    let service = backend.serve(logged.spec).await.unwrap();
    assert_eq!(fetch(&service, "/entries").await, (200, String::new()));
    for entry in ["first", "second\nline"] {
        let request = Request::post("/entries").body(full(entry)).unwrap();
        assert_eq!(service.handle(request).await.status(), 201);
    }
    assert_eq!(fetch(&service, "/entries").await, (200, "first\nsecond line\n".into()));
    let request = Request::post("/entries").body(full(vec![b'x'; 5000])).unwrap();
    assert_eq!(service.handle(request).await.status(), 413);
    idle(&service).await;
}
