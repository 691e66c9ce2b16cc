//! Requests that guests make go to the workload's way out, and its errors come back as codes.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, Response};
use pal_engine::{Body, Outbound, OutboundError, OutboundTimeouts};

use crate::harness::{fetch, full, idle, logged, program, read, service};

/// Answers by the host that is asked for.
pub struct ByHost;

impl Outbound for ByHost {
    fn send(
        &self,
        request: Request<Body>,
        timeouts: OutboundTimeouts,
    ) -> BoxFuture<'static, Result<Response<Body>, OutboundError>> {
        Box::pin(async move {
            let uri = request.uri().clone();
            match uri.host().unwrap_or_default() {
                "echo" => {
                    Ok(Response::new(full(format!("{} {uri} {:?}", request.method(), request.headers()["host"]))))
                }
                "broken" => {
                    let (sender, body) = crate::services::channel();
                    let _ = sender.try_send(Err("reset"));
                    Ok(Response::new(body))
                }
                "slow" => {
                    assert!(timeouts.first_byte.is_some());
                    std::future::pending().await
                }
                "refused" => Err(OutboundError::Refused),
                "denied" => Err(OutboundError::Denied("loopback".into())),
                "unready" => Err(OutboundError::Unavailable),
                other => Err(OutboundError::DnsError(other.into())),
            }
        })
    }
}

#[tokio::test]
async fn requests_and_errors_pass() {
    let mut logged = logged();
    logged.spec.outbound = Arc::new(ByHost);
    let service = service(logged.spec).await;
    for (path, status, text) in [
        ("/call/echo/a?b=c", 200, "GET http://echo/a?b=c \"echo\""),
        ("/call/refused/", 502, "ConnectionRefused"),
        ("/call/nobody/", 502, "DnsError"),
        ("/call/denied/", 502, "HttpRequestDenied"),
        ("/call/unready/", 502, "DestinationUnavailable"),
        ("/call/broken/", 502, "HttpResponseIncomplete"),
        ("/call/slow/", 502, "ConnectionReadTimeout"),
    ] {
        let (found, body) = fetch(&service, path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    idle(&service).await;
}

#[tokio::test]
async fn without_a_way_out_every_request_is_denied() {
    let service = service(logged().spec).await;
    let (status, body) = fetch(&service, "/call/127.0.0.1/").await;
    assert_eq!(status, 502);
    assert!(body.contains("HttpRequestDenied"), "{body}");
}

/// A way out that is another service.
struct To(pal_engine::Service);

impl Outbound for To {
    fn send(
        &self,
        request: Request<Body>,
        _timeouts: OutboundTimeouts,
    ) -> BoxFuture<'static, Result<Response<Body>, OutboundError>> {
        let service = self.0.clone();
        Box::pin(async move { Ok(service.handle(request).await) })
    }
}

#[tokio::test]
async fn the_front_end_calls_the_back_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut backend = logged();
    backend.spec.mounts = vec![pal_engine::Mount {
        host: dir.path().to_owned(),
        sub_path: Default::default(),
        guest: "/data".into(),
        read_only: false,
    }];
    let backend = program("examples/guestbook/backend").await.serve(backend.spec).await.unwrap();
    let mut frontend = logged();
    frontend.spec.outbound = Arc::new(To(backend.clone()));
    let frontend = program("examples/guestbook/frontend").await.serve(frontend.spec).await.unwrap();
    let request = Request::post("/").body(full("entry=a+%3Cb%3E")).unwrap();
    assert_eq!(read(frontend.handle(request).await).await, (201, "a <b>\n".into()));
    let (status, page) = fetch(&frontend, "/").await;
    assert_eq!(status, 200);
    assert!(page.contains("<li>a &lt;b&gt;</li>"), "{page}");
    idle(&frontend).await;
    idle(&backend).await;
}
