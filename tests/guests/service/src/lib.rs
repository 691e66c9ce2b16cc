//! A service that does what the path says, good or bad.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, thread};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
    RequestOptions, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{OutputStream, StreamError};

struct Service;

wasip2::http::proxy::export!(Service);

static REQUESTS: AtomicU32 = AtomicU32::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Service {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (verb, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        match verb {
            "trap" => panic!("trapped as told"),
            "loop" => spin(),
            "nothing" => {}
            "exit" => std::process::exit(3),
            "error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(None))),
            "echo" => echo(request, out),
            "ticks" => ticks(out, number(rest)),
            "flood" => flood(out, number(rest)),
            "hang-after-head" => {
                let (_body, stream) = start(out, 200);
                send(&stream, b"head").expect("the client listens");
                spin()
            }
            "trap-after-head" => {
                let (_body, stream) = start(out, 200);
                send(&stream, b"head").expect("the client listens");
                panic!("trapped late as told")
            }
            "print" => loop {
                println!("{}", "x".repeat(100));
            },
            "alloc" => alloc(),
            "hold" => {
                let _held = std::hint::black_box(vec![1_u8; (number(rest) as usize) << 20]);
                println!("holding");
                thread::sleep(Duration::from_secs(3600));
            }
            "sleep" => {
                thread::sleep(Duration::from_millis(number(rest)));
                text(out, 200, "slept\n");
            }
            other => {
                let (status, answer) = simple(other, rest, &request);
                text(out, status, &answer);
            }
        }
    }
}

fn simple(verb: &str, rest: &str, request: &IncomingRequest) -> (u16, String) {
    match verb {
        "" | "ok" => (200, "ok\n".into()),
        "count" => (200, (REQUESTS.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
        "env" => (200, std::env::var(rest).unwrap_or_default()),
        "log" => {
            println!("out: {rest}");
            eprintln!("err: {rest}");
            (200, "logged\n".into())
        }
        "authority" => (200, request.authority().unwrap_or_default()),
        "header" => {
            let values = request.headers().get(rest);
            let values: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value)).collect();
            (200, values.join(","))
        }
        "size" => match request.consume().map_err(|()| "taken".to_owned()).and_then(count) {
            Ok(bytes) => (200, bytes.to_string()),
            Err(why) => (400, why),
        },
        "read" => match fs::read_to_string(format!("/{rest}")) {
            Ok(text) => (200, text),
            Err(e) => (404, e.to_string()),
        },
        "write" => match fs::write(format!("/{rest}"), "written") {
            Ok(()) => (200, "written".into()),
            Err(e) => (403, e.to_string()),
        },
        "call" => match call(rest) {
            Ok((status, body)) => (status, body),
            Err(why) => (502, format!("{why:?}")),
        },
        other => (404, format!("no such thing: {other}")),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(1)
}

fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn alloc() -> ! {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![1; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

fn start(out: ResponseOutparam, status: u16) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("a valid code");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    (body, stream)
}

fn text(out: ResponseOutparam, status: u16, text: &str) {
    let (body, stream) = start(out, status);
    if send(&stream, text.as_bytes()).is_ok() {
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn send(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes.chunks(4096).try_for_each(|chunk| stream.blocking_write_and_flush(chunk))
}

/// Sends what comes in, piece by piece, while it comes.
fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the body is taken once");
    let input = incoming.stream().expect("the stream is taken once");
    let (body, output) = start(out, 200);
    loop {
        match input.blocking_read(64 * 1024) {
            Ok(chunk) => {
                if send(&output, &chunk).is_err() {
                    return;
                }
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(why)) => {
                eprintln!("the request broke off: {}", why.to_debug_string());
                return;
            }
        }
    }
    drop(output);
    let _ = OutgoingBody::finish(body, None);
}

/// A line each 20 ms.
fn ticks(out: ResponseOutparam, count: u64) {
    let (body, stream) = start(out, 200);
    for n in 0..count {
        if n > 0 {
            thread::sleep(Duration::from_millis(20));
        }
        if send(&stream, format!("tick {n}\n").as_bytes()).is_err() {
            return;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// That many KiB, and a log line for each 64 KiB that went out.
fn flood(out: ResponseOutparam, kib: u64) {
    let (body, stream) = start(out, 200);
    let block = [b'x'; 1024];
    for n in 0..kib {
        if send(&stream, &block).is_err() {
            return;
        }
        if n % 64 == 63 {
            println!("{}", n + 1);
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn count(body: IncomingBody) -> Result<u64, String> {
    let stream = body.stream().map_err(|()| "taken".to_owned())?;
    let mut bytes = 0;
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => bytes += chunk.len() as u64,
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(why)) => return Err(why.to_debug_string()),
        }
    }
}

/// Calls `http://HOST/PATH`, given as `HOST/PATH`.
fn call(target: &str) -> Result<(u16, String), ErrorCode> {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&Method::Get).map_err(invalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(invalid)?;
    let options = RequestOptions::new();
    options.set_first_byte_timeout(Some(2_000_000_000)).map_err(invalid)?;
    let pending = outgoing_handler::handle(request, Some(options))?;
    pending.subscribe().block();
    let internal = || ErrorCode::InternalError(None);
    let response = pending.get().ok_or_else(internal)?.map_err(|()| internal())??;
    let status = response.status();
    let body = response.consume().map_err(|()| internal())?;
    let stream = body.stream().map_err(|()| internal())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => break,
            Err(_) => return Err(ErrorCode::HttpResponseIncomplete),
        }
    }
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}
