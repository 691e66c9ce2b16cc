//! What the server counts, in the text form that Prometheus reads, under kube-apiserver's names where it has one.

mod process;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use pal_resources::metrics::{Histogram, head, single};
use pal_resources::resource;
use pal_store::Role;

use super::discovery::PAGES;
use super::query::Query;
use super::route::ResourcePath;
use super::{Api, reply};
use crate::Body;

const CONTENT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
/// Upper bounds of the duration's buckets in seconds, as kube-apiserver has them.
static BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const APPLY: &[u8] = b"application/apply-patch";
/// The most kinds of requests that are told apart: definitions come and go, and this does not grow with them.
const MOST: usize = 4096;

/// A kind of request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub resource: Cow<'static, str>,
    pub subresource: Cow<'static, str>,
    pub scope: &'static str,
    pub verb: &'static str,
    pub dry_run: bool,
}

impl Kind {
    /// A request for a path that is no resource. Only known paths are told apart.
    pub(super) fn path(method: &Method, path: &str) -> Self {
        let known = PAGES
            .iter()
            .find(|known| path.strip_prefix(**known).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)));
        let verb = if method == Method::GET { "GET" } else { "other" };
        Self { subresource: known.map_or(Cow::Borrowed(""), |known| Cow::Borrowed(*known)), verb, ..Self::default() }
    }

    /// A request for a resource. Those that are not built in are told as one.
    pub(super) fn of(path: &ResourcePath, verb: &'static str, parts: &Parts, query: &Query<'_>) -> Self {
        let apply =
            verb == "patch" && parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(APPLY));
        let scope = match (&path.name, &path.namespace) {
            (Some(_), _) => "resource",
            (None, Some(_)) => "namespace",
            (None, None) => "cluster",
        };
        let counted =
            Self { scope, verb: self::verb(verb, apply), dry_run: query.get("dryRun").is_some(), ..Self::default() };
        let Some(found) = resource::find(&path.group, &path.version, &path.plural) else {
            return Self { resource: Cow::Borrowed("customresources"), ..counted };
        };
        let subresource = path.subresource.as_deref().and_then(|name| found.subresource(name));
        Self {
            group: found.group.clone(),
            version: found.version.clone(),
            resource: found.plural.clone(),
            subresource: subresource.map(|subresource| subresource.name.clone()).unwrap_or_default(),
            ..counted
        }
    }

    fn labels(&self) -> String {
        let Self { group, version, resource, subresource, scope, verb, dry_run } = self;
        let dry_run = if *dry_run { "All" } else { "" };
        format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

/// kube-apiserver's names of what is done.
fn verb(verb: &'static str, apply: bool) -> &'static str {
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" if apply => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

struct Series {
    codes: Vec<(u16, u64)>,
    took: Histogram,
}

impl Default for Series {
    fn default() -> Self {
        Self { codes: Vec::new(), took: Histogram::new(&BUCKETS) }
    }
}

/// Counters since the server started.
pub(super) struct Figures {
    started: Instant,
    series: Mutex<HashMap<Kind, Series>>,
    reading: AtomicUsize,
    mutating: AtomicUsize,
}

impl Default for Figures {
    fn default() -> Self {
        let (reading, mutating) = Default::default();
        Self { started: Instant::now(), series: Mutex::default(), reading, mutating }
    }
}

/// A request that is being worked on.
pub(super) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Figures {
    /// A request begins to be worked on.
    pub(super) fn begin(&self, method: &Method) -> InFlight<'_> {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let count = if reads { &self.reading } else { &self.mutating };
        count.fetch_add(1, Ordering::Relaxed);
        InFlight(count)
    }

    /// A request was answered.
    pub(super) fn count(&self, kind: Kind, code: u16, took: Duration) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if all.len() < MOST || all.contains_key(&kind) { kind } else { Kind::default() };
        let series = all.entry(kind).or_default();
        match series.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => series.codes.push((code, 1)),
        }
        series.took.observe(took);
    }

    /// What was answered, as text.
    fn told(&self) -> String {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kinds: Vec<(String, &Series)> = all.iter().map(|(kind, series)| (kind.labels(), series)).collect();
        kinds.sort_by(|a, b| a.0.cmp(&b.0));
        let mut text = String::with_capacity(kinds.len() * 4096);
        head(&mut text, "apiserver_request_total", "counter", "Counter of apiserver requests.");
        for (labels, series) in &kinds {
            for (code, count) in &series.codes {
                let _ = writeln!(text, "apiserver_request_total{{code=\"{code}\",{labels}}} {count}");
            }
        }
        let name = "apiserver_request_duration_seconds";
        head(&mut text, name, "histogram", "Response latency distribution in seconds.");
        for (labels, series) in &kinds {
            series.took.told(&mut text, name, labels);
        }
        text
    }
}

/// `/metrics`
pub(super) async fn metrics(api: &Api) -> Response<Body> {
    let mut text = api.figures.told();
    requests(api, &mut text);
    objects(api, &mut text);
    store(api, &mut text).await;
    single(
        &mut text,
        "palinurus_uptime_seconds",
        "gauge",
        "How long the server has run.",
        api.figures.started.elapsed().as_secs(),
    );
    head(&mut text, "kubernetes_build_info", "gauge", "The version that the server is of.");
    let _ = writeln!(text, "kubernetes_build_info{{git_version=\"{}\"}} 1", api.config.version);
    process::told(&mut text);
    api.config.figures.iter().for_each(|more| more.told(&mut text));
    let mut response = reply::text(StatusCode::OK, text);
    response.headers_mut().insert(CONTENT_TYPE, CONTENT);
    response
}

fn requests(api: &Api, text: &mut String) {
    let name = "apiserver_current_inflight_requests";
    head(text, name, "gauge", "Requests that are being worked on.");
    for (kind, count) in [("mutating", &api.figures.mutating), ("readOnly", &api.figures.reading)] {
        let _ = writeln!(text, "{name}{{request_kind=\"{kind}\"}} {}", count.load(Ordering::Relaxed));
    }
    let streams = api.config.max_streams.saturating_sub(api.gate.free_streams());
    let name = "apiserver_longrunning_requests";
    head(text, name, "gauge", "Watches and followed logs.");
    let _ = writeln!(text, "{name}{{component=\"apiserver\"}} {streams}");
    let users = api.config.max_requests.saturating_sub(api.gate.free_requests());
    let help = "Users' requests that hold a place.";
    single(text, "apiserver_requests_in_flight", "gauge", help, users);
    single(text, "apiserver_streams_in_flight", "gauge", "Streams that hold a place.", streams);
}

/// How many objects there are of each kind.
fn objects(api: &Api, text: &mut String) {
    let name = "apiserver_storage_objects";
    head(text, name, "gauge", "Number of stored objects at the time of last check split by kind.");
    for resource in resource::builtin().iter().filter(|resource| resource.verbs.contains(&"watch")) {
        if let Some(count) = api.registry.count(resource) {
            let _ = writeln!(text, "{name}{{resource=\"{}\"}} {count}", resource.qualified());
        }
    }
}

/// The store's figures, under the names that etcd and kube-apiserver have for theirs.
async fn store(api: &Api, text: &mut String) {
    let (store, membership) = (api.store(), api.store().membership());
    let yes = u64::from;
    let figures = [
        ("etcd_server_has_leader", "Whether a leader is known.", yes(membership.leader.is_some())),
        ("etcd_server_is_leader", "Whether this server leads.", yes(store.role() == Role::Leader)),
        ("etcd_server_is_learner", "Whether this server still catches up.", yes(store.role() == Role::Learner)),
        ("etcd_server_proposals_applied_total", "Entries that were applied.", membership.applied),
        ("etcd_debugging_mvcc_current_revision", "The revision that this server has.", membership.revision.0),
    ];
    for (name, help, value) in figures {
        single(text, name, "gauge", help, value);
    }
    let dir: Arc<Path> = api.config.data_dir.join("store").into();
    // Reading a directory may wait for the disk.
    if let Ok(bytes) = tokio::task::spawn_blocking(move || size_below(&dir, 4)).await {
        let name = "apiserver_storage_size_bytes";
        head(text, name, "gauge", "Size of the storage database file physically allocated in bytes.");
        let _ = writeln!(text, "{name}{{storage_cluster_id=\"palinurus\"}} {bytes}");
    }
}

/// What the files below a directory take, down to `depth`. Those that go meanwhile count for nothing.
fn size_below(dir: &Path, depth: usize) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() && depth > 0 => size_below(&entry.path(), depth - 1),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind() {
        let figures = Figures::default();
        let kind = || Kind {
            resource: "pods".into(),
            version: "v1".into(),
            verb: "LIST",
            scope: "namespace",
            ..Kind::default()
        };
        figures.count(kind(), 200, Duration::from_millis(3));
        figures.count(kind(), 200, Duration::from_millis(30));
        figures.count(kind(), 404, Duration::from_secs(100));
        let text = figures.told();
        let labels = "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"pods\",scope=\"namespace\",subresource=\"\",\
                      verb=\"LIST\",version=\"v1\"";
        for line in [
            format!("apiserver_request_total{{code=\"200\",{labels}}} 2"),
            format!("apiserver_request_total{{code=\"404\",{labels}}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.005\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.05\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"60\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 3"),
            format!("apiserver_request_duration_seconds_count{{{labels}}} 3"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn paths_that_nobody_knows_are_one() {
        let check =
            |path: &str, expected: &str| assert_eq!(Kind::path(&Method::GET, path).subresource, expected, "{path}");
        check("/readyz/ping", "/readyz");
        check("/openapi/v3/apis/apps/v1", "/openapi/v3");
        check("/apis/apps", "/apis");
        check("/apish", "");
        check("/x", "");
    }
}
