//! wget: requests over `wasi:http`, which reach Services and pods by their names.

use wasip2::http::outgoing_handler::{self, RequestOptions};
use wasip2::http::types::{Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

use super::{Call, Failure, Outcome, base, failed};
use crate::files::How;
use crate::stream::Fd;
use crate::task;

/// Where a URL leads.
pub struct Target {
    scheme: Scheme,
    host: String,
    path: String,
}

impl Target {
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(_) => return None,
            None => (Scheme::Http, url),
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        (!host.is_empty()).then(|| Self { scheme, host: host.to_owned(), path })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where a redirect from here leads.
    pub fn joined(&self, location: &str) -> String {
        let scheme = if matches!(self.scheme, Scheme::Https) { "https" } else { "http" };
        if location.starts_with('/') { format!("{scheme}://{}{location}", self.host) } else { location.to_owned() }
    }
}

/// What is asked.
pub struct Asked<'a> {
    pub method: &'a Method,
    /// `Name: value`.
    pub headers: &'a [String],
    pub body: Option<&'a str>,
}

pub async fn run(call: &Call) -> Outcome {
    let mut options = call.options("qScn", "OTtPUoY")?;
    let mut headers: Vec<String> = Vec::new();
    let (mut post, mut spider) = (None, false);
    let mut seconds: f64 = options.value('T').and_then(|t| t.parse().ok()).unwrap_or(900.0);
    for long in std::mem::take(&mut options.long) {
        let (name, value) = long.split_once('=').map_or((long.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
        // A value may be an argument of its own, which is then the first that is left.
        let mut value = || {
            value
                .clone()
                .unwrap_or_else(|| if options.rest.is_empty() { String::new() } else { options.rest.remove(0) })
        };
        match name {
            "header" => headers.push(value()),
            "post-data" => post = Some(value()),
            "timeout" => seconds = value().parse().unwrap_or(seconds),
            "spider" => spider = true,
            _ => {}
        }
    }
    let Some(url) = options.rest.first() else { return failed("missing URL") };
    let mut url = url.clone();
    for _ in 0..5 {
        let Some(target) = Target::of(&url) else { return failed(format!("not an http or ftp url: {url}")) };
        let quiet = options.has('q');
        if !quiet {
            let _ = call.fd(2).write(format!("Connecting to {}\n", target.host).as_bytes()).await;
        }
        let method = if post.is_some() { Method::Post } else { Method::Get };
        let what = Asked { method: &method, headers: &headers, body: post.as_deref() };
        let asked = crate::files::within(seconds, ask(&target, what)).await;
        let Some(asked) = asked else { return failed("download timed out") };
        let response = asked?;
        let status = response.status();
        let location = response.headers().get("location").into_iter().next();
        if let (300..=399, Some(location)) = (status, location) {
            url = target.joined(&String::from_utf8_lossy(&location));
            continue;
        }
        if options.has('S') {
            let _ = call.fd(2).write(format!("  HTTP/1.1 {status}\n").as_bytes()).await;
        }
        if status >= 400 {
            return failed(format!("server returned error: HTTP/1.1 {status} {}", reason(status)));
        }
        if spider {
            return Ok(0);
        }
        return save(call, &options, &target, response).await;
    }
    failed("too many redirections")
}

/// What a status means.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}

/// Sends the request; what comes is the head of the answer.
pub async fn ask(target: &Target, asked: Asked<'_>) -> Result<IncomingResponse, Failure> {
    let bad = |what: &str| Failure::Told(1, format!("bad {what}"));
    let fields = Fields::new();
    if !asked.headers.iter().any(|header| header.to_lowercase().starts_with("user-agent:")) {
        fields.append("user-agent", b"Wget").map_err(|_| bad("header"))?;
    }
    for header in asked.headers {
        let Some((name, value)) = header.split_once(':') else { return failed(format!("bad header '{header}'")) };
        fields.append(&name.trim().to_lowercase(), value.trim().as_bytes()).map_err(|_| bad("header"))?;
    }
    let request = OutgoingRequest::new(fields);
    request.set_method(asked.method).map_err(|()| bad("method"))?;
    request.set_scheme(Some(&target.scheme)).map_err(|()| bad("scheme"))?;
    request.set_authority(Some(&target.host)).map_err(|()| bad("address"))?;
    request.set_path_with_query(Some(&target.path)).map_err(|()| bad("path"))?;
    let body = request.body().map_err(|()| bad("body"))?;
    let sent = outgoing_handler::handle(request, Some(RequestOptions::new()));
    let sent = sent.map_err(|code| Failure::Told(1, told(target, &code)))?;
    if let Some(text) = asked.body {
        let stream = body.write().map_err(|()| bad("body"))?;
        for piece in text.as_bytes().chunks(4096) {
            task::ready(stream.subscribe()).await;
            stream.write(piece).map_err(|_| bad("body"))?;
        }
        let _ = stream.flush();
        task::ready(stream.subscribe()).await;
    }
    // A server that answers before it has all is no failure.
    let _ = OutgoingBody::finish(body, None);
    task::ready(sent.subscribe()).await;
    match sent.get() {
        Some(Ok(Ok(response))) => Ok(response),
        Some(Ok(Err(code))) => Err(Failure::Told(1, told(target, &code))),
        _ => failed("no answer"),
    }
}

fn told(target: &Target, code: &outgoing_handler::ErrorCode) -> String {
    use outgoing_handler::ErrorCode;
    match code {
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout => format!("bad address '{}'", target.host),
        ErrorCode::ConnectionRefused => format!("can't connect to remote host ({}): Connection refused", target.host),
        ErrorCode::ConnectionTimeout => format!("can't connect to remote host ({}): Operation timed out", target.host),
        other => format!("can't connect to remote host ({}): {other:?}", target.host),
    }
}

async fn save(call: &Call, options: &super::Options, target: &Target, response: IncomingResponse) -> Outcome {
    let name = match options.value('O') {
        Some(name) => name.to_owned(),
        None => match base(target.path.split('?').next().unwrap_or_default()) {
            "" => "index.html".to_owned(),
            name => name.to_owned(),
        },
    };
    let output = if name == "-" { call.fd(1) } else { call.open(&name, How::Write)? };
    copy(response, &output).await?;
    Ok(0)
}

/// Writes an answer's body there.
pub async fn copy(response: IncomingResponse, output: &Fd) -> Result<(), Failure> {
    let Ok(body) = response.consume() else { return failed("no body") };
    let Ok(stream) = body.stream() else { return failed("no body") };
    loop {
        match stream.read(32 << 10) {
            Ok(bytes) if bytes.is_empty() => task::ready(stream.subscribe()).await,
            Ok(bytes) => output.write(&bytes).await?,
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return failed(error.to_debug_string()),
        }
    }
    Ok(())
}
