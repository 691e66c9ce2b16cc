//! nc: whether something answers, and requests written by hand. Pods serve HTTP and nothing else, so that a connection is
//! a request here, and what is none gets the answer that HTTP servers give to it.

use wasip2::http::types::Method;

use super::curl::named;
use super::http::{Asked, Target, ask, copy, reason};
use super::{Call, Failure, Outcome, failed};
use crate::files::within;

/// What a server says to what is no request.
const NO_REQUEST: &str =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request";
/// Headers that the connection gives itself.
const OWN: [&str; 4] = ["host", "connection", "content-length", "transfer-encoding"];

pub async fn run(call: &Call) -> Outcome {
    let options = call.options("zvtnuklN46", "wqip")?;
    if options.has('u') || options.has('l') {
        return failed("neither UDP nor listening is provided");
    }
    let [host, port] = options.rest.as_slice() else { return failed("usage: nc [-zv] [-w SECONDS] HOST PORT") };
    let limit = options.value('w').and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let input = if options.has('z') { Vec::new() } else { call.fd(0).read_all().await? };
    let request = Request::parse(&String::from_utf8_lossy(&input));
    let (path, method, headers, body) = match &request {
        Some(request) => (&*request.path, named(&request.method), &*request.headers, request.body.as_deref()),
        None => ("/", Method::Head, &[][..], None),
    };
    let Some(target) = Target::of(&format!("http://{host}:{port}{path}")) else { return failed("bad address") };
    let asked = Asked { method: &method, headers, body };
    let answer = match within(limit, ask(&target, asked)).await {
        None => return failed(format!("{host} ({host}:{port}): Connection timed out")),
        Some(Err(Failure::Told(_, why))) => return failed(why),
        Some(other) => other?,
    };
    if options.has('v') {
        let _ = call.fd(2).write(format!("{host} ({host}:{port}) open\n").as_bytes()).await;
    }
    if request.is_none() {
        if !input.is_empty() {
            call.print(NO_REQUEST).await?;
        }
        return Ok(0);
    }
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status(), reason(answer.status()));
    for (name, value) in answer.headers().entries() {
        head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(&value)));
    }
    call.print(head + "\r\n").await?;
    if !matches!(method, Method::Head) {
        copy(answer, &call.fd(1)).await?;
    }
    Ok(0)
}

/// A request as it is written.
struct Request {
    method: String,
    path: String,
    headers: Vec<String>,
    body: Option<String>,
}

impl Request {
    fn parse(text: &str) -> Option<Self> {
        let text = text.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        if !words.next()?.starts_with("HTTP/1.") || !path.starts_with('/') {
            return None;
        }
        let own = |line: &str| {
            let name = line.split(':').next().unwrap_or_default();
            OWN.iter().any(|own| name.eq_ignore_ascii_case(own))
        };
        let headers = lines.filter(|line| !own(line)).map(str::to_owned).collect();
        Some(Self { method, path, headers, body: (!body.is_empty()).then(|| body.to_owned()) })
    }
}
