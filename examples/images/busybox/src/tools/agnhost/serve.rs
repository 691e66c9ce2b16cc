//! What answers requests: each in an instance of its own, beside the one that runs. What both know they leave in files.

use std::time::{Duration, SystemTime};

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

use super::routes;
use crate::shell::Shell;
use crate::tools::Outcome;
use crate::{files, task};

/// Where a request leaves the code with which the program is to end.
const END: &str = "/tmp/.agnhost-exit";
/// How often the program looks whether it is to end, in seconds.
const LOOK: f64 = 0.2;

/// Runs until a request says that it is over.
pub async fn until_told() -> Outcome {
    loop {
        if let Some(code) = files::read_text(END).ok().and_then(|text| text.trim().parse().ok()) {
            return Ok(code);
        }
        task::sleep(LOOK).await;
    }
}

/// Says that the program is to end.
pub fn end(code: i32) {
    // Where the container's files may not be written it goes on.
    let _ = std::fs::write(END, code.to_string());
}

/// How long the container has run: its own files are made when it starts.
pub fn since_start() -> Duration {
    let begun = std::fs::metadata("/etc/hostname").and_then(|found| found.modified());
    begun.ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}

/// A request, as far as anything depends on it.
pub struct Request {
    pub method: String,
    pub path: String,
    /// In order, decoded.
    pub query: Vec<(String, String)>,
    /// Of the server as the client names it, where that says it.
    pub port: String,
    pub forwarded_for: Option<String>,
    pub headers: Vec<(String, String)>,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), headers: Vec::new() }
    }
}

impl Request {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// One for that place alone.
    pub fn to(place: &str) -> Self {
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: query.collect(),
            port: String::new(),
            forwarded_for: None,
            headers: Vec::new(),
        }
    }
}

fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

struct Handler;

wasip2::http::proxy::export!(Handler);

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let args: Vec<String> = std::env::args().collect();
        let mut asked = Request::to(&request.path_with_query().unwrap_or_else(|| "/".into()));
        asked.method = match request.method() {
            wasip2::http::types::Method::Other(name) => name,
            known => format!("{known:?}").rsplit("::").next().unwrap_or_default().to_uppercase(),
        };
        let fields = request.headers().entries();
        asked.headers = fields.into_iter().map(|(n, v)| (n, String::from_utf8_lossy(&v).into_owned())).collect();
        asked.forwarded_for =
            asked.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for")).map(|(_, v)| v.clone());
        let authority = request.authority().unwrap_or_default();
        asked.port = authority.rsplit_once(':').map_or("80", |(_, port)| port).to_owned();
        let mut answer = None;
        let shell = Shell::new(std::env::vars(), "/", Default::default());
        task::run(async {
            answer = Some(routes::answer(&args, asked, shell).await);
            0
        });
        send(out, answer.unwrap_or_else(|| Answer::new(500, "")));
    }
}

fn send(out: ResponseOutparam, answer: Answer) {
    let headers = Fields::new();
    let length = answer.body.len().to_string();
    let plain = [("content-type", "text/plain; charset=utf-8".to_owned()), ("content-length", length)];
    for (name, value) in plain.into_iter().chain(answer.headers) {
        // A location with odd signs in it is left out.
        let _ = headers.append(name, value.as_bytes());
    }
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(answer.status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    {
        // A client that has gone is no error of ours.
        let Ok(stream) = body.write() else { return };
        for piece in answer.body.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}
