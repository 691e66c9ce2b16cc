//! What the server counts, in the text form that Prometheus reads.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Response, StatusCode};

use super::{Api, reply};
use crate::Body;

/// Counters since the server started.
pub(super) struct Figures {
    started: Instant,
    /// By the first digit of the status code.
    answers: [AtomicU64; 6],
}

impl Default for Figures {
    fn default() -> Self {
        Self { started: Instant::now(), answers: Default::default() }
    }
}

impl Figures {
    pub(super) fn count(&self, code: u16) {
        let class = usize::from(code / 100).min(self.answers.len() - 1);
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }
}

/// `/metrics`
pub(super) fn metrics(api: &Api) -> Response<Body> {
    let mut text = String::from(
        "# HELP apiserver_request_total Requests answered, by the class of their status code.\n\
         # TYPE apiserver_request_total counter\n",
    );
    for (class, count) in api.figures.answers.iter().enumerate().skip(1) {
        let count = count.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "apiserver_request_total{{code=\"{class}xx\"}} {count}");
    }
    let gauges = [
        ("apiserver_requests_in_flight", api.config.max_requests.saturating_sub(api.gate.free_requests()) as u64),
        ("apiserver_streams_in_flight", api.config.max_streams.saturating_sub(api.gate.free_streams()) as u64),
        ("palinurus_uptime_seconds", api.figures.started.elapsed().as_secs()),
    ];
    for (name, value) in gauges {
        let _ = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
    }
    reply::text(StatusCode::OK, text)
}
