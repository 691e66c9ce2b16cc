//! A service of WASI 0.3 that does what the path says, good or bad.

wit_bindgen::generate!({
    path: "../../../wit/p3",
    world: "palinurus:guest/service",
    generate_all,
});

use exports::wasi::http::handler::Guest;
use wasi::clocks::monotonic_clock::wait_for;
use wasi::http::client;
use wasi::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wit_bindgen::{StreamReader, StreamResult};

struct Service;

export!(Service);

impl Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (verb, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        match verb {
            "ok" => Ok(text("ok\n".into())),
            "trap" => panic!("trapped as told"),
            "trap-after-head" => Ok(stream(|mut body| async move {
                body.write_all(b"head".to_vec()).await;
                panic!("trapped late as told")
            })),
            "loop" => loop {
                std::hint::black_box(());
            },
            "sleep" => {
                wait_for(3_600_000_000_000).await;
                Ok(text("slept\n".into()))
            }
            "error" => Err(ErrorCode::InternalError(None)),
            "ticks" => Ok(stream(|mut body| async move {
                for n in 0..u64::MAX {
                    let left = body.write_all(format!("tick {n}\n").into_bytes()).await;
                    if !left.is_empty() {
                        return;
                    }
                    wait_for(20_000_000).await;
                }
            })),
            "echo" => {
                let body = body_of(request);
                Ok(stream(|output| pass_on(body, output)))
            }
            "call" => {
                let (status, body) = call(rest).await?;
                Ok(text(format!("{status} {body}")))
            }
            other => Ok(text(format!("no such thing: {other}"))),
        }
    }
}

/// A response whose body `write` writes.
fn stream<F: Future<Output = ()> + 'static>(write: impl FnOnce(wit_bindgen::StreamWriter<u8>) -> F) -> Response {
    let (writer, reader) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (response, _sent) = Response::new(Fields::new(), Some(reader), no_trailers);
    wit_bindgen::spawn_local(write(writer));
    response
}

fn text(text: String) -> Response {
    stream(|mut body| async move {
        body.write_all(text.into_bytes()).await;
    })
}

fn body_of(request: Request) -> StreamReader<u8> {
    let (done, result) = wit_future::new(|| Ok(()));
    drop(done);
    let (body, _trailers) = Request::consume_body(request, result);
    body
}

async fn pass_on(mut input: StreamReader<u8>, mut output: wit_bindgen::StreamWriter<u8>) {
    loop {
        let (status, bytes) = input.read(Vec::with_capacity(64 * 1024)).await;
        if !bytes.is_empty() && !output.write_all(bytes).await.is_empty() {
            return;
        }
        if !matches!(status, StreamResult::Complete(_)) {
            return;
        }
    }
}

/// Calls `http://HOST/PATH`, given as `HOST/PATH`.
async fn call(target: &str) -> Result<(u16, String), ErrorCode> {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, _sent) = Request::new(Fields::new(), None, no_trailers, None);
    request.set_method(&Method::Get).map_err(invalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(invalid)?;
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (done, result) = wit_future::new(|| Ok(()));
    drop(done);
    let (body, _trailers) = Response::consume_body(response, result);
    let bytes = body.collect().await;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}
