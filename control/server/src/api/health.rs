//! `/livez`, `/readyz`, `/healthz`: whether the server works, and whether it should be sent requests. Paths, words and codes
//! are kube-apiserver's.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use pal_resources::Status;
use pal_store::Role;

use super::{Api, Call, reply};
use crate::Body;
use crate::auth::MASTERS;

/// A store that does not answer within this time is not ready.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Ping,
    /// Whether it can log: a server that could not would not run.
    Log,
    /// Whether the store works at all, whatever the other servers do.
    StoreLives,
    /// Whether it answers and takes writes.
    Store,
    StoreReady,
    /// What is over before the first request can come.
    Begun(&'static str),
    Shutdown,
}

/// kube-apiserver's names for what it begins when it listens already; clients look for them. Here nothing of the kind is
/// left to be done by then.
const BEGUN: &[&str] = &[
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-status-available-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];

/// The checks of an endpoint, in their order.
fn checks(endpoint: &str) -> Vec<Check> {
    let begun = BEGUN.iter().map(|name| Check::Begun(name));
    match endpoint {
        "livez" => [Check::Ping, Check::Log, Check::StoreLives].into_iter().chain(begun).collect(),
        "healthz" => [Check::Ping, Check::Log, Check::Store].into_iter().chain(begun).collect(),
        _ => [Check::Ping, Check::Log, Check::Store, Check::StoreReady, Check::Begun("informer-sync")]
            .into_iter()
            .chain(begun)
            .chain([Check::Shutdown])
            .collect(),
    }
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Log => "log",
            // The store goes by the name that clients know.
            Self::StoreLives | Self::Store => "etcd",
            Self::StoreReady => "etcd-readiness",
            Self::Begun(name) => name,
            Self::Shutdown => "shutdown",
        }
    }

    /// Why it does not pass, if it does not.
    async fn fails(self, api: &Api) -> Option<String> {
        match self {
            Self::Ping | Self::Log | Self::Begun(_) => None,
            // Whether it is ready is asked, and waited for, by the check of the store beside.
            Self::StoreLives | Self::StoreReady => api.store().failure().map(|failure| failure.to_string()),
            Self::Store => store_fails(api).await,
            Self::Shutdown => api.stop.is_cancelled().then(|| "the server is shutting down".to_owned()),
        }
    }
}

/// Why the store does not answer, or takes no writes, or is not one to be asked.
async fn store_fails(api: &Api) -> Option<String> {
    let store = api.store();
    if let Some(failure) = store.failure() {
        return Some(failure.to_string());
    }
    match store.role() {
        Role::Learner => return Some("this server is still catching up with the others".to_owned()),
        Role::Removed => return Some("this server was removed from the cluster".to_owned()),
        Role::Leader | Role::Follower => {}
    }
    match tokio::time::timeout(STORE_TIMEOUT, store.consistent()).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) if store.membership().leader.is_none() => {
            Some("there is no leader: too few of the cluster's servers answer".to_owned())
        }
        Err(_) => Some(format!("no answer within {} s", STORE_TIMEOUT.as_secs())),
    }
}

/// Whether the store answers in time and takes writes.
pub(super) async fn store_answers(api: &Api) -> bool {
    store_fails(api).await.is_none()
}

/// How one check went.
struct Outcome {
    check: Check,
    excluded: bool,
    failure: Option<String>,
}

/// All of an endpoint's checks, line by line, and whether they pass.
fn told(endpoint: &str, outcomes: &[Outcome], unmatched: &[&str], reasons: bool) -> (bool, String) {
    let mut text = String::new();
    let mut passed = true;
    for Outcome { check, excluded, failure } in outcomes {
        let name = check.name();
        // Writing to a String cannot fail.
        let _ = match failure {
            _ if *excluded => writeln!(text, "[+]{name} excluded: ok"),
            None => writeln!(text, "[+]{name} ok"),
            // Whoever may not do everything is not told how the server is built.
            Some(why) => writeln!(text, "[-]{name} failed: {}", if reasons { why.as_str() } else { "reason withheld" }),
        };
        passed &= *excluded || failure.is_none();
    }
    if !unmatched.is_empty() {
        let quoted: Vec<String> = unmatched.iter().map(|name| format!("{name:?}")).collect();
        let _ = writeln!(text, "warn: some health checks cannot be excluded: no matches for {}", quoted.join(","));
    }
    let _ = writeln!(text, "{endpoint} check {}", if passed { "passed" } else { "failed" });
    (passed, text)
}

/// The answer to a health path, which may name one check: `/readyz/etcd`.
pub(super) async fn answer(call: &Call<'_>, path: &str) -> Result<Response<Body>, Status> {
    let mut segments = path.trim_start_matches('/').splitn(2, '/');
    let (endpoint, only) = (segments.next().unwrap_or_default(), segments.next());
    let checks = checks(endpoint);
    let reasons = call.user.is_in(MASTERS);
    if let Some(only) = only {
        let check = checks.iter().find(|check| check.name() == only).ok_or_else(Status::unknown_path)?;
        return Ok(match check.fails(call.api).await {
            None => reply::text(StatusCode::OK, "ok"),
            Some(why) => {
                let why = if reasons { why } else { "reason withheld".to_owned() };
                reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n"))
            }
        });
    }
    let excludes: Vec<&str> = call.query.all("exclude").collect();
    let mut outcomes = Vec::new();
    for check in &checks {
        let excluded = excludes.contains(&check.name());
        let failure = if excluded { None } else { check.fails(call.api).await };
        if let Some(why) = &failure {
            tracing::warn!(endpoint, check = check.name(), why, "a health check failed");
        }
        outcomes.push(Outcome { check: *check, excluded, failure });
    }
    let known = |name: &&str| checks.iter().any(|check| check.name() == *name);
    let unmatched: Vec<&str> = excludes.into_iter().filter(|name| !known(name)).collect();
    let (passed, text) = told(endpoint, &outcomes, &unmatched, reasons);
    let mut answer = match (passed, call.query.all("verbose").next().is_some()) {
        (false, _) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, text),
        (true, true) => reply::text(StatusCode::OK, text),
        (true, false) => reply::text(StatusCode::OK, "ok"),
    };
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_told_line_by_line() {
        let outcome =
            |check, failure: Option<&str>| Outcome { check, excluded: false, failure: failure.map(str::to_owned) };
        let checks = [outcome(Check::Ping, None), outcome(Check::Store, Some("no leader"))];
        let text = "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n";
        assert_eq!(told("readyz", &checks, &[], false), (false, text.to_owned()));
        assert!(told("readyz", &checks, &[], true).1.contains("[-]etcd failed: no leader\n"));
        let checks = [outcome(Check::Ping, None), Outcome { check: Check::Store, excluded: true, failure: None }];
        let text = "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"x\"\n\
                    healthz check passed\n";
        assert_eq!(told("healthz", &checks, &["x"], false), (true, text.to_owned()));
    }
}
