//! Pods on a node whose server and runtime are stand-ins: an API that answers over HTTP's types, and components that do
//! what the test says.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use pal_lifecycle::{Cause, Exit, Image, ImageFailure, ProbeAction, StartFailure};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::*;
use crate::logs::{LogLimits, LogQuery, stream};
use crate::runtime::{CANCELLED, ExecFailure, LaunchSpec, LocalImage, Program, Workload, exit};

#[path = "exec_tests.rs"]
mod execs;
#[path = "hook_tests.rs"]
mod hooks;
#[path = "restart_tests.rs"]
mod restarts;

/// What the API was asked, and what it has.
#[derive(Clone, Default, Debug)]
struct Api {
    /// Bodies of status patches.
    statuses: Vec<Value>,
    deletes: Vec<Value>,
    events: Vec<String>,
    config_maps: BTreeMap<String, Value>,
    /// It answers nothing.
    down: bool,
}

#[derive(Clone)]
struct FakeApi(watch::Sender<Api>);

impl FakeApi {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if self.0.borrow().down {
            return Err(std::io::Error::other("connection refused"));
        }
        let path = parts.uri.path();
        let name = path.rsplit('/').next().unwrap_or_default();
        let not_found =
            json!({"kind": "Status", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404});
        let (code, answer) = match (&parts.method, path) {
            (&Method::PATCH, p) if p.ends_with("/status") => {
                self.0.send_modify(|a| a.statuses.push(body["status"].clone()));
                let version = self.0.borrow().statuses.len() * 10;
                (200, json!({"metadata": {"resourceVersion": version.to_string()}}))
            }
            (&Method::DELETE, _) => {
                self.0.send_modify(|a| a.deletes.push(body));
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            (&Method::POST, p) if p.ends_with("/events") => {
                let text = format!(
                    "{} {}",
                    body["reason"].as_str().unwrap_or_default(),
                    body["message"].as_str().unwrap_or_default()
                );
                self.0.send_modify(|a| a.events.push(text));
                (201, body)
            }
            (&Method::GET, p) if p.contains("/configmaps/") => match self.0.borrow().config_maps.get(name) {
                Some(data) => (200, json!({"metadata": {"name": name}, "data": data})),
                None => (404, not_found),
            },
            _ => (404, not_found),
        };
        Response::builder().status(code).body(Full::new(Bytes::from(answer.to_string()))).map_err(std::io::Error::other)
    }

    /// Waits until the condition holds.
    async fn until(&self, what: &str, condition: impl Fn(&Api) -> bool) -> Api {
        let mut receiver = self.0.subscribe();
        let wait = receiver.wait_for(|api| condition(api));
        match tokio::time::timeout(Duration::from_secs(30), wait).await {
            Ok(api) => api.unwrap().clone(),
            Err(_) => panic!("{what}: {:#?}", *self.0.borrow()),
        }
    }
}

fn last_ready(api: &Api) -> bool {
    api.statuses.last().is_some_and(|s| condition(s, "Ready") == "True")
}

fn condition(status: &Value, name: &str) -> String {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    all.iter().find(|c| c["type"] == name).and_then(|c| c["status"].as_str()).unwrap_or_default().to_owned()
}

/// What components do, by image.
#[derive(Default)]
struct FakeRuntime {
    /// Ends of running containers, by container arguments' first.
    running: Mutex<HashMap<String, watch::Sender<Option<Exit>>>>,
    launches: Mutex<Vec<Vec<(String, String)>>>,
    /// Paths of requests to pods, and stops.
    calls: Arc<Mutex<Vec<String>>>,
}

struct FakeWorkload {
    end: watch::Sender<Option<Exit>>,
    service: bool,
    calls: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Workload for FakeWorkload {
    fn ends(&self) -> bool {
        !self.service
    }

    fn set_memory_limit(&self, bytes: u64) -> Result<(), u64> {
        self.calls.lock().unwrap().push(format!("limit {bytes}"));
        if bytes < 1000 { Err(1000) } else { Ok(()) }
    }

    async fn wait(&self) -> Exit {
        let mut end = self.end.subscribe();
        end.wait_for(Option::is_some).await.unwrap().clone().unwrap()
    }

    async fn stop(&self, notice: Duration, _grace: Duration) -> Exit {
        self.calls.lock().unwrap().push("stop".to_owned());
        tokio::time::sleep(notice).await;
        let exit = if self.service { exit(0, "") } else { exit(CANCELLED, "") };
        self.end.send_replace(Some(exit.clone()));
        exit
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn find_image(&self, reference: &str) -> Result<Option<LocalImage>, ImageFailure> {
        match reference {
            "./local.wasm" => Err(ImageFailure { cause: Cause::InvalidImageName, message: "a local file".to_owned() }),
            "missing" => Ok(None),
            "panics" => panic!("as told"),
            _ => Ok(Some(LocalImage {
                image: Image { id: format!("{reference}@sha256:1").into(), size: 1 },
                digest: "sha256:1".to_owned(),
                path: reference.into(),
                defaults: None,
            })),
        }
    }

    async fn pull_image(&self, _: &str, _: bool) -> Result<LocalImage, ImageFailure> {
        Err(ImageFailure { cause: Cause::ErrImagePull, message: "no such image".to_owned() })
    }

    async fn launch(&self, image: &LocalImage, spec: LaunchSpec) -> Result<Arc<dyn Workload>, StartFailure> {
        self.launches.lock().unwrap().push(spec.env.clone());
        spec.stdout.write(b"hello from the guest\n");
        let end = watch::Sender::new(None);
        self.running.lock().unwrap().insert(spec.pod, end.clone());
        Ok(Arc::new(FakeWorkload { end, service: image.path.ends_with("service"), calls: self.calls.clone() }))
    }

    /// A command that says `fail` fails, and says so.
    async fn exec(&self, _: &LocalImage, program: Program) -> Result<Arc<dyn Workload>, ExecFailure> {
        let command = program.args.join(" ");
        self.calls.lock().unwrap().push(command.clone());
        let code = i32::from(command.contains("fail"));
        if code != 0 {
            program.stderr.write(b"failed as told");
        }
        let end = watch::Sender::new(Some(exit(code, "")));
        Ok(Arc::new(FakeWorkload { end, service: false, calls: self.calls.clone() }))
    }

    async fn reach(&self, _: Ipv4Addr, action: &ProbeAction) -> Result<Option<StatusCode>, String> {
        let ProbeAction::HttpGet { path, .. } = action else { return Ok(None) };
        self.calls.lock().unwrap().push(path.clone());
        Ok(Some(if path.contains("bad") { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }))
    }
}

impl FakeRuntime {
    fn end(&self, pod: &str, exit: Exit) {
        self.running.lock().unwrap()[pod].send_replace(Some(exit));
    }

    fn launches(&self) -> usize {
        self.launches.lock().unwrap().len()
    }
}

struct Bench {
    dir: Arc<tempfile::TempDir>,
    api: FakeApi,
    runtime: Arc<FakeRuntime>,
    shared: Arc<Shared>,
    manager: Arc<Manager>,
    _tasks: TaskTracker,
}

impl Bench {
    fn new() -> Self {
        Self::at(Arc::new(tempfile::tempdir().unwrap()), FakeApi(watch::Sender::new(Api::default())))
    }

    fn at(dir: Arc<tempfile::TempDir>, api: FakeApi) -> Self {
        let runtime = Arc::new(FakeRuntime::default());
        let tasks = TaskTracker::new();
        let (recorder, writer) = Recorder::new(api.client(), "n1".to_owned(), CancellationToken::new());
        tasks.spawn(writer);
        let shared = shared(dir.path(), &api, runtime.clone(), recorder);
        let manager = Manager::start(shared.clone()).unwrap();
        Self { dir, api, runtime, shared, manager, _tasks: tasks }
    }

    /// The agent stops and starts again.
    async fn restart(self) -> Self {
        self.manager.stop(Duration::from_secs(1)).await;
        self.api.0.send_modify(|a| a.statuses.clear());
        Self::at(self.dir, self.api)
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in ["pods", "logs", "volumes"] {
            for entry in std::fs::read_dir(self.dir.path().join(folder)).into_iter().flatten() {
                found.push(format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        found
    }

    async fn forgotten(&self) {
        let (manager, limit) = (self.manager.clone(), Duration::from_secs(60));
        let gone = async {
            while manager.count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(limit, gone).await.unwrap();
    }
}

/// What answers the server, on a node without pods.
pub(crate) fn kubelet_for_tests(dir: &std::path::Path) -> Arc<crate::kubelet::Kubelet> {
    let api = FakeApi(watch::Sender::new(Api::default()));
    let (recorder, _writer) = Recorder::new(api.client(), "n1".to_owned(), CancellationToken::new());
    let shared = shared(dir, &api, Arc::new(FakeRuntime::default()), recorder);
    let logs = shared.logs.clone();
    let (exec, tasks) = (Arc::new(crate::streaming::Refusing), tokio_util::task::TaskTracker::new());
    let (node, stats, listeners) = ("n1".to_owned(), Arc::default(), Arc::new(|_, _| None));
    let pods = Manager::start(shared).unwrap();
    Arc::new(crate::kubelet::Kubelet { node, pods, logs, stats, exec, listeners, tasks })
}

fn shared(path: &std::path::Path, api: &FakeApi, runtime: Arc<FakeRuntime>, recorder: Recorder) -> Arc<Shared> {
    Arc::new(Shared {
        client: api.client(),
        runtime,
        logs: LogStore::new(path.join("logs"), LogLimits::default()),
        addresses: Addresses::new(vec![Block::parse("100.64.0.0/24").unwrap()]),
        recorder,
        records: Records::open(path.join("pods")).unwrap(),
        clock: Clock::start(),
        host_ip: "10.0.0.1".parse().unwrap(),
        capacity: Capacity { cpu_millis: 1000, memory_bytes: 1 << 30 },
        services: Default::default(),
        root_ca: "PEM".to_owned(),
        volumes_dir: path.join("volumes"),
        blocks_file: path.join("blocks.json"),
        writes: Semaphore::new(4),
        stop_grace: OnceLock::new(),
        unregistered: tokio::sync::Notify::new(),
    })
}

fn pod(name: &str, version: u32, change: impl FnOnce(&mut Value)) -> Pod {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "resourceVersion": version.to_string()},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "service"}], "terminationGracePeriodSeconds": 30},
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn deleted(value: &mut Value) {
    value["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
    value["metadata"]["deletionGracePeriodSeconds"] = json!(30);
}

#[tokio::test]
async fn a_warm_pod_is_ready_with_one_write() {
    let bench = Bench::new();
    bench.manager.apply(pod("web", 1, |_| {}));
    let api = bench.api.until("ready", last_ready).await;
    assert_eq!(api.statuses.len(), 1, "{:#?}", api.statuses);
    let status = &api.statuses[0];
    assert_eq!((status["phase"].as_str(), status["podIP"].as_str()), (Some("Running"), Some("100.64.0.1")));
    assert_eq!(status["containerStatuses"][0]["imageID"], "service@sha256:1");
    let env = bench.runtime.launches.lock().unwrap()[0].clone();
    assert_eq!(env, [("HOSTNAME".to_owned(), "web".to_owned())]);
    let api = bench.api.until("events", |a| a.events.len() == 3).await;
    let reasons: Vec<_> = api.events.iter().filter_map(|e| e.split(' ').next()).collect();
    assert_eq!(reasons, ["Pulled", "Created", "Started"]);
}

#[tokio::test]
async fn what_others_wrote_meanwhile_is_put_right() {
    let bench = Bench::new();
    bench.manager.apply(pod("web", 1, |_| {}));
    let api = bench.api.until("ready", last_ready).await;
    let written = api.statuses[0].clone();
    bench.manager.apply(pod("web", 12, |p| p["status"] = written.clone()));
    // What is so is not written again; the next write is the one after that.
    bench.manager.apply(pod("web", 13, |p| {
        p["status"] = written;
        for condition in p["status"]["conditions"].as_array_mut().unwrap() {
            condition["status"] = json!("False");
        }
    }));
    let api = bench.api.until("written again", |a| a.statuses.len() > 1).await;
    assert_eq!(api.statuses.len(), 2);
    assert!(last_ready(&api));
}

#[tokio::test]
async fn a_deleted_pod_is_stopped_removed_and_forgotten() {
    let bench = Bench::new();
    bench.manager.apply(pod("web", 1, |_| {}));
    bench.api.until("ready", last_ready).await;
    bench.manager.apply(pod("web", 2, deleted));
    let api = bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    assert_eq!(api.deletes[0]["gracePeriodSeconds"], 0);
    assert_eq!(api.deletes[0]["preconditions"]["uid"], "uid-web");
    bench.manager.gone("uid-web");
    bench.forgotten().await;
    assert_eq!(bench.files(), Vec::<String>::new());
    assert_eq!(bench.api.0.borrow().deletes.len(), 1);
}

#[tokio::test]
async fn a_command_ends_and_its_log_stays() {
    let bench = Bench::new();
    bench.manager.apply(pod("job", 1, |p| {
        p["spec"]["restartPolicy"] = json!("Never");
        p["spec"]["containers"][0]["image"] = json!("command");
    }));
    bench.api.until("running", last_ready).await;
    bench.runtime.end("job", exit(3, ""));
    let api = bench.api.until("failed", |a| a.statuses.last().is_some_and(|s| s["phase"] == "Failed")).await;
    let terminated = &api.statuses.last().unwrap()["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["exitCode"], &terminated["reason"]), (&json!(3), &json!("Error")));
    let (path, writer) = bench.shared.logs.find(&bench.shared.logs.pod_dir("ns", "job", "uid-job"), "c", 0);
    let chunks: Vec<_> = futures::StreamExt::collect(stream(path, writer, LogQuery::default())).await;
    assert_eq!(chunks[0].as_ref().unwrap(), "hello from the guest\n");
}

#[tokio::test]
async fn a_crash_is_restarted_and_counted() {
    let bench = Bench::new();
    bench.manager.apply(pod("job", 1, |p| p["spec"]["containers"][0]["image"] = json!("command")));
    bench.api.until("running", last_ready).await;
    let restarts = |n: u64| {
        move |a: &Api| {
            last_ready(a) && a.statuses.last().is_some_and(|s| s["containerStatuses"][0]["restartCount"] == n)
        }
    };
    bench.runtime.end("job", exit(1, "wasm trap: unreachable"));
    bench.api.until("restarted at once", restarts(1)).await;
    bench.runtime.end("job", exit(1, ""));
    let waits = |a: &Api| {
        a.statuses.last().is_some_and(|s| s["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff")
    };
    bench.api.until("backing off", waits).await;
    let events = bench.api.until("events", |a| a.events.iter().any(|e| e.starts_with("BackOff"))).await.events;
    assert!(events.iter().any(|e| e.contains("wasm trap: unreachable")), "{events:?}");
}

#[tokio::test]
async fn a_container_waits_for_the_config_map_that_it_names() {
    let bench = Bench::new();
    bench.manager.apply(pod("web", 1, |p| {
        p["spec"]["containers"][0]["env"] =
            json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}}]);
    }));
    let waits = |a: &Api| {
        a.statuses
            .last()
            .is_some_and(|s| s["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError")
    };
    let api = bench.api.until("waiting", waits).await;
    let waiting = &api.statuses.last().unwrap()["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["message"], "configmap \"cm\" not found");
    bench.api.0.send_modify(|a| drop(a.config_maps.insert("cm".to_owned(), json!({"a": "1"}))));
    bench.api.until("ready", last_ready).await;
    assert!(bench.runtime.launches.lock().unwrap()[0].contains(&("A".to_owned(), "1".to_owned())));
}

#[tokio::test]
async fn what_cannot_be_pulled_says_so() {
    let reason = |bench: &Bench, reason: &'static str| {
        let api = bench.api.clone();
        async move {
            let waits = move |a: &Api| {
                a.statuses.iter().any(|s| s["containerStatuses"][0]["state"]["waiting"]["reason"] == reason)
            };
            api.until(reason, waits).await;
        }
    };
    let bench = Bench::new();
    bench.manager.apply(pod("a", 1, |p| p["spec"]["containers"][0]["image"] = json!("missing")));
    reason(&bench, "ErrImagePull").await;
    reason(&bench, "ImagePullBackOff").await;
    bench.manager.apply(pod("b", 1, |p| p["spec"]["containers"][0]["image"] = json!("./local.wasm")));
    reason(&bench, "InvalidImageName").await;
}
