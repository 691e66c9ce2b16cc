//! The guest book's front end: a page with the entries and a form. It keeps nothing itself and runs in several replicas;
//! the entries are behind the Service `guestbook-backend`.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

const MAX_BODY_BYTES: usize = 1 << 20;

struct Frontend;

wasip2::http::proxy::export!(Frontend);

impl wasip2::exports::http::incoming_handler::Guest for Frontend {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match (request.method(), path.as_str()) {
            (_, "/healthz") => respond(out, 200, "text/plain", "ok\n"),
            (Method::Get, "/") => show(out),
            (Method::Post, "/") => sign(request, out),
            _ => respond(out, 404, "text/plain", "there is only /\n"),
        }
    }
}

fn show(out: ResponseOutparam) {
    match call(Method::Get, &[]) {
        Ok((200, entries)) => respond(out, 200, "text/html; charset=utf-8", &page(&entries)),
        Ok((status, text)) => respond(out, 502, "text/plain", &format!("back end: {status} {text}")),
        Err(why) => respond(out, 502, "text/plain", &format!("back end: {why:?}\n")),
    }
}

/// Takes an entry from a form (`entry=…`) or as plain text.
fn sign(request: IncomingRequest, out: ResponseOutparam) {
    let body = request.consume().map_err(|()| ErrorCode::InternalError(None)).and_then(read_all);
    let entry = match body {
        Ok(body) => form_entry(&body),
        Err(why) => return respond(out, 400, "text/plain", &format!("{why:?}\n")),
    };
    match call(Method::Post, entry.as_bytes()) {
        Ok((201, line)) => respond(out, 201, "text/plain; charset=utf-8", &line),
        Ok((status, text)) => respond(out, status, "text/plain", &text),
        Err(why) => respond(out, 502, "text/plain", &format!("back end: {why:?}\n")),
    }
}

/// Calls the back end; the name is resolved inside the cluster.
fn call(method: Method, body: &[u8]) -> Result<(u16, String), ErrorCode> {
    let backend = std::env::var("BACKEND").unwrap_or_else(|_| "guestbook-backend".into());
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&method).map_err(invalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(&backend)).map_err(invalid)?;
    request.set_path_with_query(Some("/entries")).map_err(invalid)?;
    let outgoing = request.body().map_err(invalid)?;
    let pending = outgoing_handler::handle(request, None)?;
    let stream = outgoing.write().map_err(invalid)?;
    let written = write_all(&stream, body);
    drop(stream);
    if written.is_ok() {
        OutgoingBody::finish(outgoing, None)?;
    }
    pending.subscribe().block();
    let response =
        pending.get().ok_or(ErrorCode::InternalError(None))?.map_err(|()| ErrorCode::InternalError(None))??;
    let status = response.status();
    let body = response.consume().map_err(|()| ErrorCode::InternalError(None))?;
    let bytes = read_all(body)?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

fn page(entries: &str) -> String {
    let pod = escape(&std::env::var("HOSTNAME").unwrap_or_default());
    let items: String = entries.lines().map(|entry| format!("<li>{}</li>\n", escape(entry))).collect();
    format!(
        "<!doctype html><title>Guest book</title>\n<h1>Guest book</h1>\n<ol>\n{items}</ol>\n\
         <form method=post><input name=entry maxlength=200 autofocus><button>Sign</button></form>\n\
         <p><small>served by {pod}</small></p>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn form_entry(body: &[u8]) -> String {
    let Some(encoded) = body.strip_prefix(b"entry=") else {
        return String::from_utf8_lossy(body).into_owned();
    };
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_all(body: IncomingBody) -> Result<Vec<u8>, ErrorCode> {
    let stream: InputStream = body.stream().map_err(|()| ErrorCode::InternalError(None))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(_)) => {
                return Err(ErrorCode::HttpResponseIncomplete);
            }
        }
        if bytes.len() > MAX_BODY_BYTES {
            return Err(ErrorCode::HttpResponseBodySize(None));
        }
    }
}

/// One write takes at most 4096 bytes.
fn write_all(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes.chunks(4096).try_for_each(|chunk| stream.blocking_write_and_flush(chunk))
}

fn respond(out: ResponseOutparam, status: u16, kind: &str, text: &str) {
    let headers = Fields::new();
    headers.append("content-type", kind.as_bytes()).expect("a new list of headers takes a valid one");
    let response = OutgoingResponse::new(headers);
    // The back end's own codes come through here; a strange one becomes a 502.
    if response.set_status_code(status).is_err() {
        let _ = response.set_status_code(502);
    }
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let Ok(stream) = body.write() else { return };
    let written = write_all(&stream, text.as_bytes());
    drop(stream);
    if written.is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}
