//! `/livez`, `/readyz`, `/healthz`: whether the server works, and whether it should be sent requests.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Response, StatusCode};
use pal_resources::Status;
use pal_store::Role;

use super::{Api, Call, reply};
use crate::Body;

/// A store that does not answer within this time is not ready.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Ping,
    Store,
    Shutdown,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Store => "store",
            Self::Shutdown => "shutdown",
        }
    }

    /// Why it does not pass, if it does not.
    async fn fails(self, api: &Api) -> Option<String> {
        match self {
            Self::Ping => None,
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

/// The answer to a health path, which may name one check: `/readyz/store`.
pub(super) async fn answer(call: &Call<'_>, path: &str) -> Result<Response<Body>, Status> {
    let mut segments = path.trim_matches('/').splitn(2, '/');
    let (endpoint, only) = (segments.next().unwrap_or_default(), segments.next());
    let checks: &[Check] = match endpoint {
        "livez" => &[Check::Ping],
        "healthz" => &[Check::Ping, Check::Store],
        _ => &[Check::Ping, Check::Store, Check::Shutdown],
    };
    let checks: Vec<Check> =
        checks.iter().copied().filter(|check| only.is_none_or(|only| only == check.name())).collect();
    if checks.is_empty() {
        return Err(Status::unknown_path());
    }
    let excluded = call.query.get("exclude");
    let (mut lines, mut passed) = (String::new(), true);
    for check in checks.into_iter().filter(|check| excluded != Some(check.name())) {
        let failure = check.fails(call.api).await;
        passed &= failure.is_none();
        // Writing to a String cannot fail.
        let _ = match failure {
            None => writeln!(lines, "[+]{} ok", check.name()),
            Some(why) => writeln!(lines, "[-]{} failed: {why}", check.name()),
        };
    }
    if !passed {
        let text = format!("{lines}{endpoint} check failed\n");
        // One that is not ready may be soon; one that does not live will not.
        let ready = endpoint == "readyz";
        let code = if ready { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        return Ok(reply::text(code, text));
    }
    if call.query.flag("verbose") {
        return Ok(reply::text(StatusCode::OK, format!("{lines}{endpoint} check passed\n")));
    }
    Ok(reply::text(StatusCode::OK, "ok"))
}
