//! `/livez`, `/readyz`, `/healthz`: whether the server works, and whether it should be sent requests.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Response, StatusCode};
use pal_resources::Status;

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

    async fn passes(self, api: &Api) -> bool {
        match self {
            Self::Ping => true,
            Self::Store => store_answers(api).await,
            Self::Shutdown => !api.stop.is_cancelled(),
        }
    }
}

/// Whether the store answers in time and takes writes.
pub(super) async fn store_answers(api: &Api) -> bool {
    let store = api.registry.store();
    let answers = tokio::time::timeout(STORE_TIMEOUT, store.consistent()).await;
    matches!(answers, Ok(Ok(_))) && store.failure().is_none()
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
        let passes = check.passes(call.api).await;
        passed &= passes;
        let (mark, word) = if passes { ('+', "ok") } else { ('-', "failed: reason withheld") };
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "[{mark}]{} {word}", check.name());
    }
    if !passed {
        let text = format!("{lines}{endpoint} check failed\n");
        return Ok(reply::text(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    if call.query.flag("verbose") {
        return Ok(reply::text(StatusCode::OK, format!("{lines}{endpoint} check passed\n")));
    }
    Ok(reply::text(StatusCode::OK, "ok"))
}
