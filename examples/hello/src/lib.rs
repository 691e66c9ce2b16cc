//! An HTTP service in its smallest useful form: it says which pod answers, and to what.
//!
//! Each request gets a fresh instance, so there is no state here and nothing to lock.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let pod = std::env::var("HOSTNAME").unwrap_or_else(|_| "somewhere".into());
        let path = request.path_with_query().unwrap_or_else(|| "/".into());
        respond(out, &format!("Hello from {pod}, you asked for {path}\n"));
    }
}

fn respond(out: ResponseOutparam, text: &str) {
    let headers = Fields::new();
    headers.append("content-type", b"text/plain; charset=utf-8").expect("a new list of headers takes a valid one");
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));

    // A client that has gone is no error of ours.
    let Ok(stream) = body.write() else { return };
    let written = stream.blocking_write_and_flush(text.as_bytes());
    drop(stream);
    if written.is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}
