//! Programs in containers: those of hooks and probes, those of clients, and clients that join.

use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::exec::PodExec;
use crate::logs::Stream;
use crate::streaming::{Exec as _, Session, Streams, Target};

fn calls(bench: &Bench) -> Vec<String> {
    bench.runtime.calls.lock().unwrap().clone()
}

fn target(container: &str) -> Target {
    Target { namespace: "ns".to_owned(), pod: "web".to_owned(), container: container.to_owned() }
}

/// Runs a session to its end: its exit code, stdout and stderr.
async fn streamed(session: Box<dyn Session>) -> (Result<i32, String>, String, String) {
    given(session, None).await
}

/// Likewise, with something to read.
async fn given(session: Box<dyn Session>, stdin: Option<&'static [u8]>) -> (Result<i32, String>, String, String) {
    let (out, mut stdout) = tokio::io::duplex(1 << 16);
    let (err, mut stderr) = tokio::io::duplex(1 << 16);
    let streams = Streams {
        stdin: stdin.map(|text| Box::new(text) as _),
        stdout: Some(Box::new(out)),
        stderr: Some(Box::new(err)),
        size: watch::channel(None).1,
        tty: false,
    };
    let text = async |stream: &mut DuplexStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let work = async { tokio::join!(session.run(streams), text(&mut stdout), text(&mut stderr)) };
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("the session ends")
}

#[tokio::test]
async fn commands_of_hooks_and_probes_run_in_the_container() {
    let change = |p: &mut Value| {
        p["spec"]["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["greet", "you"]}},
            "preStop": {"exec": {"command": ["fail"]}}});
        p["spec"]["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["well?"]}, "periodSeconds": 3600});
    };
    let bench = Bench::new();
    bench.manager.apply(pod("web", 1, change));
    bench.api.until("ready", last_ready).await;
    assert_eq!(calls(&bench), ["greet you", "well?"]);
    bench.manager.apply(pod("web", 2, |p| {
        change(p);
        deleted(p);
    }));
    bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    assert_eq!(calls(&bench), ["greet you", "well?", "fail", "stop"]);
    let failed = "FailedPreStopHook PreStopHook failed: failed as told";
    bench.api.until("told of", |a| a.events.iter().any(|e| e == failed)).await;
}

#[tokio::test]
async fn a_container_that_comes_later_is_joined_and_told_of_on_its_own() {
    let debugged = |value: &mut Value| {
        let debug = json!({"name": "debug", "image": "command", "targetContainerName": "c", "stdin": true});
        value["spec"]["ephemeralContainers"] = json!([debug]);
    };
    let bench = Bench::new();
    let exec = PodExec { pods: bench.manager.clone(), runtime: bench.runtime.clone() };
    bench.manager.apply(pod("web", 1, |_| {}));
    bench.api.until("ready", last_ready).await;
    bench.manager.apply(pod("web", 2, debugged));
    let debug = |a: &Api| a.statuses.last().map(|s| s["ephemeralContainerStatuses"][0]["state"].clone());
    bench.api.until("it runs", |a| debug(a).is_some_and(|s| s["running"].is_object())).await;
    let seen = bench.manager.find("ns", "web").unwrap().running("debug").unwrap().place.mounts.clone();
    assert!(seen.iter().any(|mount| mount.guest == "/proc/1/root"), "{seen:?}");
    let session = exec.attach(&target("debug")).await.ok().unwrap();
    let joined = tokio::spawn(streamed(session));
    bench.runtime.end("web", exit(3, ""));
    assert_eq!(joined.await.unwrap().0, Ok(0));
    let api = bench.api.until("it has ended", |a| debug(a).is_some_and(|s| s["terminated"]["exitCode"] == 3)).await;
    assert!(last_ready(&api), "the pod goes on");
    assert_eq!(api.statuses.last().unwrap()["containerStatuses"][0]["restartCount"], 0);
}

#[tokio::test]
async fn a_client_runs_programs_in_a_container_that_runs_and_joins_it() {
    let bench = Bench::new();
    let exec = PodExec { pods: bench.manager.clone(), runtime: bench.runtime.clone() };
    let command = || vec!["fail".to_owned()];
    let none = exec.exec(&target("c"), command()).await.err().unwrap();
    assert_eq!((none.code, none.message.as_str()), (500, "container not found (\"c\")"));
    bench.manager.apply(pod("web", 1, |_| {}));
    bench.api.until("ready", last_ready).await;
    let none = exec.attach(&target("other")).await.err().unwrap();
    assert_eq!((none.code, none.message.as_str()), (500, "container other not found in pod web_ns"));
    let session = exec.exec(&target("c"), command()).await.ok().unwrap();
    assert_eq!(streamed(session).await, (Ok(1), String::new(), "failed as told".to_owned()));

    let session = exec.attach(&target("c")).await.ok().unwrap();
    let joined = tokio::spawn(streamed(session));
    let container = bench.manager.find("ns", "web").unwrap().running("c").unwrap();
    let (out, err) = (container.io.sink(Stream::Stdout), container.io.sink(Stream::Stderr));
    let told = async {
        while container.io.clients() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    out.write(b"to all\n");
    err.write(b"oh\n");
    bench.manager.apply(pod("web", 2, deleted));
    bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    assert_eq!(joined.await.unwrap(), (Ok(0), "to all\n".to_owned(), "oh\n".to_owned()));
}

#[tokio::test]
async fn a_client_that_has_no_more_to_say_leaves_a_container_that_reads_on() {
    let bench = Bench::new();
    let exec = PodExec { pods: bench.manager.clone(), runtime: bench.runtime.clone() };
    let reading = |once: bool| {
        move |value: &mut Value| {
            value["spec"]["containers"][0]["stdin"] = json!(true);
            value["spec"]["containers"][0]["stdinOnce"] = json!(once);
        }
    };
    bench.manager.apply(pod("web", 1, reading(false)));
    bench.api.until("ready", last_ready).await;
    let session = exec.attach(&target("c")).await.ok().unwrap();
    assert_eq!(given(session, Some(b"hello")).await.0, Ok(0));
    assert!(bench.manager.find("ns", "web").unwrap().running("c").is_some());

    let once = |target: Target| Target { pod: "once".to_owned(), ..target };
    bench.manager.apply(pod("once", 1, reading(true)));
    let runs = |_: &_| bench.manager.find("ns", "once").is_some_and(|pod| pod.running("c").is_some());
    bench.api.until("running", runs).await;
    let session = exec.attach(&once(target("c"))).await.ok().unwrap();
    let joined = tokio::spawn(given(session, Some(b"hello")));
    let container = bench.manager.find("ns", "once").unwrap().running("c").unwrap();
    let ended = async {
        while container.io.give(b"more").await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("what it reads ends");
    assert!(!joined.is_finished(), "its client sees what comes of that");
    joined.abort();
}
