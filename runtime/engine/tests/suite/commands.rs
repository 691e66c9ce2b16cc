//! Commands: arguments, environment, files, exits, traps, limits.

use std::time::Duration;

use pal_engine::{Exit, InstanceSpec, Mount, StartError};

use crate::harness::{LIMIT, Logged, command, logged, program};

fn mounted(host: &std::path::Path, read_only: bool) -> Logged {
    let mut logged = logged();
    logged.spec.mounts =
        vec![Mount { host: host.to_owned(), sub_path: Default::default(), guest: "/data".into(), read_only }];
    logged
}

#[tokio::test]
async fn arguments_and_environment_reach_the_guest_and_nothing_else_does() {
    let (exit, out, _) = command(&["args", "a b", "ä"], logged()).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "command|args|a b|ä\n"));

    let mut with_env = logged();
    with_env.spec.env = vec![("ONE".into(), "1".into()), ("TWO".into(), "2".into()), ("ONE".into(), "uno".into())];
    let (exit, out, _) = command(&["env"], with_env).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "TWO=2\nONE=uno\n"));
}

#[tokio::test]
async fn every_way_to_end_is_told_apart() {
    assert_eq!(command(&["exit", "0"], logged()).await.0, Exit::Code(0));
    // Rust's std for WASI 0.2 knows only success and failure.
    assert_eq!(command(&["exit", "42"], logged()).await.0, Exit::Code(1));
    let (exit, _, err) = command(&["fail"], logged()).await;
    assert_eq!(exit, Exit::Code(1));
    assert!(err.contains("failed as told"), "{err}");
    let (exit, _, err) = command(&["trap"], logged()).await;
    assert_eq!(exit, Exit::Trap("wasm trap: wasm `unreachable` instruction executed".into()));
    assert!(err.contains("trapped as told"), "{err}");
}

#[tokio::test]
async fn mounts_are_what_the_guest_sees_and_read_only_holds() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("note"), "kept").unwrap();

    let (exit, out, _) = command(&["cat", "/data/note"], mounted(dir.path(), true)).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "kept"));
    let (exit, _, err) = command(&["put", "/data/new", "x"], mounted(dir.path(), true)).await;
    assert_eq!(exit, Exit::Code(1), "{err}");
    assert!(!dir.path().join("new").exists());

    let (exit, _, err) = command(&["put", "/data/new", "x"], mounted(dir.path(), false)).await;
    assert_eq!(exit, Exit::Code(0), "{err}");
    assert_eq!(std::fs::read_to_string(dir.path().join("new")).unwrap(), "x");

    for outside in ["/etc/passwd", "/data/../etc/passwd", "/data/../../etc/passwd"] {
        let (exit, out, _) = command(&["cat", outside], mounted(dir.path(), true)).await;
        assert_eq!((exit, out.as_str()), (Exit::Code(1), ""), "{outside}");
    }
}

#[tokio::test]
async fn a_mount_that_is_missing_is_named() {
    let spec = mounted("/nonexistent/volume".as_ref(), true).spec;
    let error = program("tests/guests/command").await.run(spec).await.unwrap_err();
    assert!(matches!(error, StartError::Mount { .. }));
    assert!(error.to_string().contains("/nonexistent/volume"), "{error}");
}

#[tokio::test]
async fn a_loop_is_cancelled_and_others_run_beside_it() {
    let program = program("tests/guests/command").await;
    let mut loops = Vec::new();
    for _ in 0..4 {
        let logged = logged();
        let spec = InstanceSpec { args: vec!["command".into(), "loop".into()], ..logged.spec };
        loops.push((program.run(spec).await.unwrap(), logged.stdout));
    }
    for (_, stdout) in &loops {
        stdout.until_contains("spinning").await;
    }
    // More loops than threads, and still there is a share for somebody else.
    let (exit, out, _) = command(&["count", "1000"], logged()).await;
    assert_eq!((exit, out.lines().count()), (Exit::Code(0), 1000));
    for (running, _) in &loops {
        assert_eq!(running.exit(), None);
        running.cancel();
        let exit = tokio::time::timeout(LIMIT, running.wait()).await.unwrap();
        assert_eq!(exit, Exit::Cancelled);
    }
}

#[tokio::test]
async fn a_sleeper_is_cancelled_when_it_is_dropped() {
    let logged = logged();
    let spec = InstanceSpec {
        args: vec!["command".into(), "sleep".into(), "3600000".into()],
        stdout: logged.stdout.clone(),
        ..Default::default()
    };
    let weak = std::sync::Arc::downgrade(&logged.stdout);
    let running = program("tests/guests/command").await.run(spec).await.unwrap();
    logged.stdout.until_contains("asleep").await;
    drop(running);
    drop(logged);
    // The instance held the last reference to its log.
    let gone = async {
        while weak.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn who_allocates_without_end_is_out_of_memory() {
    let mut limited = logged();
    limited.spec.memory_limit = Some(16 << 20);
    assert_eq!(command(&["alloc"], limited).await.0, Exit::OutOfMemory);
    // Not even an instance fits.
    let mut tiny = logged();
    tiny.spec.memory_limit = Some(1 << 10);
    assert_eq!(command(&["args"], tiny).await.0, Exit::OutOfMemory);
}

#[tokio::test]
async fn who_prints_without_end_is_slowed_down_and_can_be_cancelled() {
    let logged = logged();
    let spec = InstanceSpec { args: vec!["command".into(), "print".into()], ..logged.spec };
    let running = program("tests/guests/command").await.run(spec).await.unwrap();
    logged.stdout.until(|text| text.len() > 1 << 20).await;
    running.cancel();
    let exit = tokio::time::timeout(LIMIT, running.wait()).await.unwrap();
    assert_eq!(exit, Exit::Cancelled);
    let len = logged.stdout.len();
    assert!(len < 256 << 20, "{len}");
}

#[tokio::test]
async fn a_core_module_from_c_runs_adapted() {
    let mut logged = logged();
    logged.spec.args = vec!["greeter".into(), "one".into()];
    logged.spec.env = vec![("EXIT_CODE".into(), "3".into()), ("GREETING".into(), "ahoy".into())];
    let running = program("examples/greeter-c/greeter").await.run(logged.spec).await.unwrap();
    let exit = tokio::time::timeout(LIMIT, running.wait()).await.unwrap();
    assert_eq!(exit, Exit::Code(3));
    assert_eq!(
        logged.stdout.text(),
        "Greetings from C!\narg 0: greeter\narg 1: one\nenv: EXIT_CODE=3\nenv: GREETING=ahoy\n"
    );
}

#[tokio::test]
async fn the_ticker_honours_its_environment() {
    let mut logged = logged();
    logged.spec.args = vec!["ticker".into()];
    logged.spec.env = [("INTERVAL_MS", "1"), ("COUNT", "3"), ("HOSTNAME", "pod-1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let ticker = program("examples/ticker/ticker").await;
    let running = ticker.run(logged.spec).await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(20), running.wait()).await.unwrap();
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(logged.stdout.text(), "pod-1: tick 1\npod-1: tick 2\npod-1: tick 3\n");
}
