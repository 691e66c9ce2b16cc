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

use self::stand_ins::*;
use super::*;
use crate::logs::{LogLimits, LogQuery, stream};
use crate::runtime::{CANCELLED, ExecFailure, LaunchSpec, LocalImage, Program, Workload, exit};

#[path = "exec_tests.rs"]
mod execs;
#[path = "hook_tests.rs"]
mod hooks;
#[path = "restart_tests.rs"]
mod restarts;
#[path = "stand_ins.rs"]
mod stand_ins;

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
    let volumes = shared.local_volumes.clone();
    let (node, stats, listeners) = ("n1".to_owned(), Arc::default(), Arc::new(|_, _| None));
    let pods = Manager::start(shared).unwrap();
    let host = Arc::new(crate::host::Host::begin(Vec::new(), logs.clone()));
    Arc::new(crate::kubelet::Kubelet { node, pods, host, logs, volumes, stats, exec, listeners, tasks })
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
        host_ports: Default::default(),
        root_ca: "PEM".to_owned(),
        volumes_dir: path.join("volumes"),
        local_volumes: Arc::new(LocalVolumes::open(&path.join("claims"), &[]).unwrap()),
        blocks_file: path.join("blocks.json"),
        writes: Semaphore::new(4),
        stop_grace: OnceLock::new(),
        unregistered: Default::default(),
        unoffered: Default::default(),
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
    bench.runtime.end("job", exit(134, "wasm trap: unreachable"));
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

#[tokio::test]
async fn a_port_of_the_node_is_one_pods_until_that_has_ended() {
    let asking = |value: &mut Value| {
        value["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
    };
    let bench = Bench::new();
    bench.manager.apply(pod("web", 1, asking));
    bench.api.until("ready", last_ready).await;
    bench.manager.apply(pod("other", 1, asking));
    let rejected = |a: &Api| a.statuses.last().is_some_and(|s| s["phase"] == "Failed" && s["reason"] == "NodePorts");
    bench.api.until("rejected", rejected).await;
    bench.manager.apply(pod("web", 2, |p| {
        asking(p);
        deleted(p);
    }));
    bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    bench.manager.apply(pod("third", 1, asking));
    bench.api.until("ready", last_ready).await;
}
