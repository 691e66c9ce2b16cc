//! curl: requests, as wget makes them, with curl's options.

use wasip2::http::types::Method;

use super::http::{Asked, Target, ask, copy};
use super::{Call, Failure, Options, Outcome, base};
use crate::files::{How, within};

/// Redirects that are followed.
const REDIRECTS: usize = 10;

pub async fn run(call: &Call) -> Outcome {
    let options = super::Call { name: call.name, args: shortened(&call.args), shell: call.shell.clone() };
    let options = options.options("sSfkLqgiIvNO46", "omwHXdTAueb")?;
    match transfer(call, &options).await {
        Err(Failure::Told(code, _)) if options.has('s') && !options.has('S') => Ok(code),
        outcome => outcome,
    }
}

async fn transfer(call: &Call, options: &Options) -> Outcome {
    let Some(url) = options.rest.first() else { return told(2, "no URL specified") };
    let data = options.values.iter().filter(|(flag, _)| *flag == 'd').map(|(_, value)| value.as_str());
    let data = data.collect::<Vec<_>>().join("&");
    let method = match options.value('X') {
        Some(name) => named(name),
        None if options.has('I') => Method::Head,
        None if !data.is_empty() => Method::Post,
        None => Method::Get,
    };
    let mut headers: Vec<String> =
        options.values.iter().filter(|(flag, _)| *flag == 'H').map(|(_, value)| value.clone()).collect();
    let given = |name: &str, headers: &[String]| headers.iter().any(|h| h.to_lowercase().starts_with(name));
    if !given("user-agent", &headers) {
        headers.push(format!("User-Agent: {}", options.value('A').unwrap_or("curl/8.0")));
    }
    if !data.is_empty() && !given("content-type", &headers) {
        headers.push("Content-Type: application/x-www-form-urlencoded".to_owned());
    }
    let seconds = options.value('m').and_then(|text| text.parse().ok()).unwrap_or(300.0);
    let mut url = url.clone();
    for _ in 0..REDIRECTS {
        let Some(target) = Target::of(&url) else { return told(1, &format!("Protocol of {url} not supported")) };
        let asked = Asked { method: &method, headers: &headers, body: (!data.is_empty()).then_some(&*data) };
        let response = match within(seconds, ask(&target, asked)).await {
            Some(Ok(response)) => response,
            None => return told(28, &format!("Connection timed out after {:.0} milliseconds", seconds * 1000.0)),
            Some(Err(Failure::Told(_, why))) if why.starts_with("bad address") => {
                return told(6, &format!("Could not resolve host: {}", target.host()));
            }
            Some(Err(Failure::Told(_, why))) => return told(7, &why),
            Some(Err(other)) => return Err(other),
        };
        let status = response.status();
        let location = response.headers().get("location").into_iter().next();
        if let (true, 300..=399, Some(location)) = (options.has('L'), status, location) {
            url = target.joined(&String::from_utf8_lossy(&location));
            continue;
        }
        if options.has('f') && status >= 400 {
            return told(22, &format!("The requested URL returned error: {status}"));
        }
        let output = match options.value('o') {
            Some("-") => call.fd(1),
            None if options.has('O') => call.open(base(&url), How::Write)?,
            None => call.fd(1),
            Some(name) => call.open(name, How::Write)?,
        };
        if options.has('i') || options.has('I') {
            let mut head = format!("HTTP/1.1 {status}\r\n");
            for (name, value) in response.headers().entries() {
                head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(&value)));
            }
            output.write((head + "\r\n").as_bytes()).await?;
        }
        if !matches!(method, Method::Head) {
            copy(response, &output).await?;
        }
        if let Some(format) = options.value('w') {
            let text =
                format.replace("%{http_code}", &status.to_string()).replace("%{response_code}", &status.to_string());
            call.print(super::print::unescape(&text).0).await?;
        }
        return Ok(0);
    }
    told(47, "Maximum redirects followed")
}

fn told<T>(code: i32, why: &str) -> Result<T, Failure> {
    Err(Failure::Told(code, format!("({code}) {why}")))
}

pub fn named(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "PATCH" => Method::Patch,
        "OPTIONS" => Method::Options,
        other => Method::Other(other.to_owned()),
    }
}

/// Long options as their short ones; those that change nothing here are left out, with their values.
fn shortened(args: &[String]) -> Vec<String> {
    let mut short = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let flag = match arg.as_str() {
            "--silent" => "-s",
            "--show-error" => "-S",
            "--fail" => "-f",
            "--insecure" => "-k",
            "--location" => "-L",
            "--include" => "-i",
            "--head" => "-I",
            "--output" => "-o",
            "--max-time" => "-m",
            "--write-out" => "-w",
            "--header" => "-H",
            "--request" => "-X",
            "--data" | "--data-raw" | "--data-binary" => "-d",
            "--user-agent" => "-A",
            "--connect-timeout" => "-m",
            "--retry" | "--interface" | "--cacert" | "--resolve" | "--retry-delay" => {
                args.next();
                continue;
            }
            other if other.starts_with("--") && other.len() > 2 => continue,
            other => other,
        };
        short.push(flag.to_owned());
    }
    short
}
