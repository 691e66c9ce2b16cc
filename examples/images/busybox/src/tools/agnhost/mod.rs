//! agnhost: what Kubernetes' own end-to-end tests run in their pods, as far as a component can do it.

mod mounts;
mod routes;
pub mod serve;

use super::http::{Asked, Target, ask};
use super::{Call, Failure, Outcome, failed};
use crate::{files, task};

/// Its commands that answer requests, and the one that the image `nautilus` stands for.
const SERVERS: &[&str] =
    &["netexec", "serve-hostname", "test-webserver", "liveness", "porter", "nettest", "update-demo"];

pub async fn run(call: &Call) -> Outcome {
    let (command, flags) = call.args.split_first().map_or(("pause", &[][..]), |(first, rest)| (first.as_str(), rest));
    let flags = Flags(flags);
    match command {
        "pause" => forever("Paused").await,
        "mounttest" => mounts::run(call, &flags).await,
        "entrypoint-tester" => {
            let own = std::env::args().next().filter(|name| super::base(name).starts_with("agnhost"));
            let own = own.unwrap_or_else(|| "/agnhost".to_owned());
            let all: Vec<&str> = std::iter::once(own.as_str()).chain(call.args.iter().map(String::as_str)).collect();
            call.print(format!("[{}]\n", all.join(" "))).await?;
            Ok(0)
        }
        "logs-generator" => logs(call, &flags).await,
        "connect" => connect(call, &flags).await,
        "inclusterclient" => poll_server(call, &flags).await,
        "etc-hosts" => show(call, "/etc/hosts").await,
        "dns-suffix" => dns(call, "search").await,
        "dns-server-list" => dns(call, "nameserver").await,
        "--version" | "version" => {
            call.print("2.53\n").await?;
            Ok(0)
        }
        name if SERVERS.contains(&name) => {
            call.print(format!("Started {name} on port {}\n", flags.port())).await?;
            serve::until_told().await
        }
        other => failed(format!("{other} is not provided")),
    }
}

/// `--name=value` or `--name value`.
struct Flags<'a>(&'a [String]);

impl<'a> Flags<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let mut words = self.0.iter();
        while let Some(word) = words.next() {
            let Some(given) = word.trim_start_matches('-').strip_prefix(name).filter(|_| word.starts_with('-')) else {
                continue;
            };
            match given.strip_prefix('=') {
                Some(value) => return Some(value),
                None if given.is_empty() => return words.next().map(String::as_str),
                None => {}
            }
        }
        None
    }

    fn port(&self) -> &'a str {
        self.get("http-port").or(self.get("port")).unwrap_or("8080")
    }

    /// Without flags and their values.
    fn words(&self) -> Vec<&'a str> {
        self.0.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect()
    }
}

/// Seconds of a duration as Go writes it: `1m30s`, `250ms`.
fn duration(text: &str) -> Option<f64> {
    let (mut rest, mut all) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let factor = match &rest[digits..unit] {
            "ns" => 1e-9,
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" if text == "0" => 0.0,
            _ => return None,
        };
        all += rest[..digits].parse::<f64>().ok()? * factor;
        rest = &rest[unit..];
    }
    Some(all)
}

async fn forever(said: &str) -> Outcome {
    println!("{said}");
    loop {
        task::sleep(f64::INFINITY).await;
    }
}

async fn show(call: &Call, path: &str) -> Outcome {
    call.print(files::read_text(path)?).await?;
    Ok(0)
}

async fn dns(call: &Call, key: &str) -> Outcome {
    let text = files::read_text("/etc/resolv.conf").unwrap_or_default();
    let words = text.lines().filter_map(|line| line.strip_prefix(key)).flat_map(str::split_whitespace);
    call.print(words.collect::<Vec<_>>().join(",") + "\n").await?;
    Ok(0)
}

async fn logs(call: &Call, flags: &Flags<'_>) -> Outcome {
    let lines: u64 = flags.get("log-lines-total").or(flags.get("t")).and_then(|t| t.parse().ok()).unwrap_or(0);
    let time = flags.get("run-duration").or(flags.get("d")).and_then(duration).unwrap_or(0.0);
    if lines == 0 || time <= 0.0 {
        return failed("a total number of lines and a duration are wanted");
    }
    for id in 0..lines {
        let random = wasip2::random::random::get_random_u64();
        let method = ["GET", "POST", "PUT"][(random % 3) as usize];
        let namespace = ["kube-system", "default", "ns"][(random >> 8 & 0xff) as usize % 3];
        let (pod, status) = (random >> 16 & 0xffff, 200 + (random >> 32) % 400);
        let now = super::date::Date::new(wasip2::clocks::wall_clock::now().seconds as i64).format("%m%d %H:%M:%S");
        let line = format!(
            "I{now}.000000       1 logs_generator.go:76] {id} {method} /api/v1/namespaces/{namespace}/pods/{pod:x} {status}\n"
        );
        call.print(line).await?;
        task::sleep(time / lines as f64).await;
    }
    Ok(0)
}

/// Whether something answers there. Pods serve HTTP and nothing else, so that it is asked with that.
async fn connect(call: &Call, flags: &Flags<'_>) -> Outcome {
    let words = flags.words();
    let Some(target) = words.last().and_then(|place| Target::of(place)) else { return failed("UNKNOWN: no address") };
    let limit = flags.get("timeout").and_then(duration).filter(|limit| *limit > 0.0).unwrap_or(30.0);
    let asked = Asked { method: &wasip2::http::types::Method::Head, headers: &[], body: None };
    let why = match files::within(limit, ask(&target, asked)).await {
        None => "TIMEOUT".to_owned(),
        Some(Ok(_)) => return Ok(0),
        Some(Err(Failure::Told(_, why))) if why.contains("refused") => "REFUSED".to_owned(),
        Some(Err(Failure::Told(_, why))) if why.contains("timed out") => "TIMEOUT".to_owned(),
        Some(Err(Failure::Told(_, why))) if why.starts_with("bad address") => format!("DNS: {why}"),
        Some(Err(Failure::Told(_, why))) => format!("OTHER: {why}"),
        Some(Err(other)) => return Err(other),
    };
    // Tests look for the bare word.
    let _ = call.fd(2).write(format!("{why}\n").as_bytes()).await;
    Ok(1)
}

/// Asks the API server from time to time, and prints a digest of the token that it did so with.
async fn poll_server(call: &Call, flags: &Flags<'_>) -> Outcome {
    let every: f64 = flags.get("poll-interval").and_then(|text| text.parse().ok()).unwrap_or(30.0);
    let get = |name: &str| call.shell.get(name).unwrap_or_default().to_owned();
    let place = format!("https://{}:{}/healthz", get("KUBERNETES_SERVICE_HOST"), get("KUBERNETES_SERVICE_PORT"));
    let Some(target) = Target::of(&place) else { return failed("no server is known") };
    loop {
        task::sleep(every).await;
        call.print("calling /healthz\n").await?;
        let token = files::read_text("/var/run/secrets/kubernetes.io/serviceaccount/token").unwrap_or_default();
        let bearer = format!("Bearer {}", token.trim());
        let line = match token.is_empty() {
            true => "authz_header=<empty>\n".to_owned(),
            false => format!("authz_header={}\n", super::sums::sha256(format!("salt|{bearer}").as_bytes())),
        };
        call.print(line).await?;
        let headers = [format!("Authorization: {bearer}")];
        let asked = Asked { method: &wasip2::http::types::Method::Get, headers: &headers, body: None };
        match files::within(10.0, ask(&target, asked)).await {
            Some(Ok(response)) if response.status() < 400 => {}
            _ => call.print("status=failed\n").await?,
        }
    }
}
