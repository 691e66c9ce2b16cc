//! The guest book's back end: keeps the entries, one a line, in a file on the pod's volume.
//!
//! `GET /entries` lists them, `POST /entries` appends the body as one. Instances come and go with each request and share
//! nothing but the volume, so an entry is one write in append mode, which the file system does not mix with another.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::StreamError;

/// An entry is a line of a guest book and not a novel.
const MAX_ENTRY_BYTES: usize = 4096;

struct Backend;

wasip2::http::proxy::export!(Backend);

impl wasip2::exports::http::incoming_handler::Guest for Backend {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (status, text) = match (request.method(), path.as_str()) {
            (_, "/healthz") => (200, "ok\n".to_owned()),
            (Method::Get, "/entries") => list(),
            (Method::Post, "/entries") => add(&request),
            (_, "/entries") => (405, "GET or POST\n".to_owned()),
            _ => (404, "there is only /entries\n".to_owned()),
        };
        respond(out, status, &text);
    }
}

fn entries_file() -> PathBuf {
    let dir = std::env::var("DATA_DIR").unwrap_or_else(|_| "/data".into());
    PathBuf::from(dir).join("entries")
}

fn list() -> (u16, String) {
    match fs::read_to_string(entries_file()) {
        Ok(text) => (200, text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => (200, String::new()),
        Err(e) => (500, format!("the entries cannot be read: {e}\n")),
    }
}

fn add(request: &IncomingRequest) -> (u16, String) {
    let Some(body) = read_body(request) else {
        return (413, format!("an entry has at most {MAX_ENTRY_BYTES} bytes\n"));
    };
    let entry = String::from_utf8_lossy(&body).replace(['\r', '\n'], " ");
    let entry = entry.trim();
    if entry.is_empty() {
        return (400, "an entry cannot be empty\n".to_owned());
    }
    let line = format!("{entry}\n");
    let file = OpenOptions::new().append(true).create(true).open(entries_file());
    match file.and_then(|mut file| file.write_all(line.as_bytes())) {
        Ok(()) => (201, line),
        Err(e) => (500, format!("the entry cannot be written: {e}\n")),
    }
}

/// The request's body, unless it is too long or breaks off.
fn read_body(request: &IncomingRequest) -> Option<Vec<u8>> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(MAX_ENTRY_BYTES as u64) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Some(bytes),
            Err(StreamError::LastOperationFailed(_)) => return None,
        }
        if bytes.len() > MAX_ENTRY_BYTES {
            return None;
        }
    }
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    headers.append("content-type", b"text/plain; charset=utf-8").expect("a new list of headers takes a valid one");
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("the codes above are valid");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let Ok(stream) = body.write() else { return };
    // One write takes at most 4096 bytes.
    let written = text.as_bytes().chunks(4096).try_for_each(|chunk| stream.blocking_write_and_flush(chunk));
    drop(stream);
    if written.is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}
