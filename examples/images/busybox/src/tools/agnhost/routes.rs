//! What the servers answer, path by path.

use std::cell::RefCell;
use std::rc::Rc;

use wasip2::http::types::Method;

use super::serve::{Answer, Request, end, since_start};
use super::{Flags, duration};
use crate::shell::Shell;
use crate::stream::Fd;
use crate::tools::Failure;
use crate::tools::date::Date;
use crate::tools::http::{Asked, Target, ask, copy};
use crate::{files, task};

/// Requests that `/dial` makes at most.
const MAX_TRIES: usize = 200;

/// The answer of the program with these arguments.
pub async fn answer(args: &[String], request: Request, shell: Shell) -> Answer {
    let command = args.get(1).map_or("", String::as_str);
    let flags = Flags(args.get(2..).unwrap_or_default());
    match command {
        "netexec" | "nettest" => {
            let given = flags.get("http-override").map(Request::to);
            netexec(&given.unwrap_or(request), shell).await
        }
        "serve-hostname" => Answer::new(200, hostname(&shell)),
        "test-webserver" => Answer::new(200, format!("{}\n", request.path)),
        "liveness" => liveness(&request),
        "porter" => {
            let own = shell.get(&format!("SERVE_PORT_{}", request.port)).map(str::to_owned);
            let any = shell.environment().into_iter().find(|(name, _)| name.starts_with("SERVE_PORT_"));
            Answer::new(200, own.or(any.map(|(_, value)| value)).unwrap_or_default())
        }
        "update-demo" => Answer::new(200, format!("{{\n\"image\": {:?}\n}}\n", flags.words().first().unwrap_or(&""))),
        other => Answer::new(404, format!("{other} serves nothing\n")),
    }
}

fn hostname(shell: &Shell) -> String {
    let own = files::read_text("/etc/hostname").map(|text| text.trim().to_owned());
    own.unwrap_or_else(|_| shell.get("HOSTNAME").unwrap_or("localhost").to_owned())
}

fn liveness(request: &Request) -> Answer {
    let seconds = since_start().as_secs_f64();
    match request.path.as_str() {
        "/started" => Answer::new(200, format!("{seconds}s")),
        "/healthz" if seconds > 10.0 => Answer::new(500, format!("error: {seconds}")),
        "/healthz" => Answer::new(200, "ok"),
        "/redirect" => redirect(request.get("loc").unwrap_or_default(), 302),
        _ => Answer::new(404, "404 page not found\n"),
    }
}

fn redirect(location: &str, status: u16) -> Answer {
    Answer { headers: vec![("location", location.to_owned())], ..Answer::new(status, "") }
}

async fn netexec(request: &Request, shell: Shell) -> Answer {
    let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    println!("{} {}{}{}", request.method, request.path, if query.is_empty() { "" } else { "?" }, query.join("&"));
    let code = |usual: u16| match request.get("code").filter(|text| !text.is_empty()) {
        None => Ok(usual),
        Some(text) => text
            .parse()
            .map_err(|_| Answer::new(200, format!("argument 'code' must be an integer or empty, got {text:?}\n"))),
    };
    match request.path.as_str() {
        "/clientip" => Answer::new(200, request.forwarded_for.clone().unwrap_or_default()),
        "/hostname" | "/hostName" => Answer::new(200, hostname(&shell)),
        "/healthz" => Answer::new(200, ""),
        "/header" => {
            let wanted = request.get("key").unwrap_or_default();
            let found = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            Answer::new(200, found.map_or("", |(_, value)| value))
        }
        "/echo" => match code(200) {
            Ok(status) => Answer::new(status, request.get("msg").unwrap_or_default()),
            Err(wrong) => wrong,
        },
        "/redirect" => match code(302) {
            Ok(status) => redirect(request.get("location").unwrap_or_default(), status),
            Err(wrong) => wrong,
        },
        "/exit" => {
            let wait = duration(request.get("wait").unwrap_or_default()).unwrap_or(0.0);
            task::sleep(wait.min(20.0)).await;
            end(request.get("code").and_then(|text| text.parse().ok()).unwrap_or(0));
            Answer::new(200, "")
        }
        "/shutdown" => {
            end(0);
            Answer::new(200, "")
        }
        "/shell" => run(request, shell).await,
        "/dial" => dial(request).await,
        "/upload" => Answer::new(200, r#"{"error":"Unable to upload file."}"#),
        _ => Answer::new(200, format!("NOW: {}", now().format("%Y-%m-%d %H:%M:%S +0000 UTC"))),
    }
}

fn now() -> Date {
    Date::new(wasip2::clocks::wall_clock::now().seconds as i64)
}

async fn run(request: &Request, mut shell: Shell) -> Answer {
    let kept = Rc::new(RefCell::new(Vec::new()));
    for number in [1, 2] {
        shell.put_fd(number, Fd::Kept(kept.clone()));
    }
    let command = request.get("shellCommand").or(request.get("cmd")).unwrap_or_default();
    let status = shell.file("sh".to_owned(), command, &[]).await;
    let output = String::from_utf8_lossy(&kept.borrow()).into_owned();
    let mut parts = Vec::new();
    if status != 0 {
        parts.push(format!("\"error\":{}", text(&format!("exit status {status}"))));
    }
    if !output.is_empty() {
        parts.push(format!("\"output\":{}", text(&output)));
    }
    Answer::new(200, format!("{{{}}}", parts.join(",")))
}

async fn dial(request: &Request) -> Answer {
    let get = |name: &str| request.get(name).unwrap_or_default();
    let protocol = get("protocol").to_lowercase();
    if !matches!(protocol.as_str(), "" | "http") {
        return Answer::new(400, format!("unsupported protocol. {protocol}\n"));
    }
    if get("request").is_empty() {
        return Answer::new(400, "request parameter not specified.\n");
    }
    let tries = match get("tries") {
        "" => 1,
        text => match text.parse::<usize>() {
            Ok(tries) => tries.min(MAX_TRIES),
            Err(error) => return Answer::new(400, format!("tries parameter is invalid. {error}\n")),
        },
    };
    let (mut responses, mut errors) = (Vec::new(), Vec::new());
    let Some(target) = Target::of(&format!("http://{}:{}/{}", get("host"), get("port"), get("request"))) else {
        return Answer::new(400, "host and/or port param are invalid.\n");
    };
    for _ in 0..tries {
        match fetch(&target).await {
            Ok(body) => responses.push(text(&body)),
            Err(why) => errors.push(text(&why)),
        }
    }
    let named = |name: &str, all: &[String]| format!("\"{name}\":[{}]", all.join(","));
    let mut parts = Vec::new();
    if !errors.is_empty() {
        parts.push(named("errors", &errors));
    }
    if !responses.is_empty() {
        parts.push(named("responses", &responses));
    }
    Answer::new(200, format!("{{{}}}", parts.join(",")))
}

async fn fetch(target: &Target) -> Result<String, String> {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let work = async {
        let response = ask(target, Asked { method: &Method::Get, headers: &[], body: None }).await?;
        copy(response, &Fd::Kept(kept.clone())).await
    };
    match files::within(5.0, work).await {
        Some(Ok(())) => Ok(String::from_utf8_lossy(&kept.borrow()).into_owned()),
        Some(Err(Failure::Told(_, why))) => Err(why),
        Some(Err(Failure::BrokenPipe)) => Err("broken pipe".to_owned()),
        None => Err("timed out".to_owned()),
    }
}

/// A text as JSON.
fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' || "<>&".contains(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
