//! The first thing that anybody does with it.

use std::time::{Duration, Instant};

use http::StatusCode;
use pal_tests::{get, wait_until};

use crate::{LIMIT, pal, repository};

#[tokio::test]
async fn up_serves_the_example_and_serves_it_again_after_a_restart() {
    let manifest = repository("examples/hello/hello.yaml");
    let up = pal().up(&["-f", &manifest]).await;
    let url = format!("http://{}:30080", up.node_ip);
    assert!(up.process.output().contains(&url), "the URL is printed:\n{}", up.process.output());
    let answer = get(&format!("{url}/some/path")).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("hello"), "{}", answer.body);

    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(up.kubeconfig()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "the kubeconfig is its owner's alone");
    let before = std::fs::read_to_string(up.kubeconfig()).unwrap();
    let node_ip = up.node_ip.clone();
    let dir = up.stop().await;

    let started = Instant::now();
    let up = pal().up_in(dir, &node_ip, &[]).await;
    wait_until(LIMIT, "the example after a restart", async || match get(&url).await {
        Ok(answer) if answer.status == StatusCode::OK => Ok(()),
        Ok(answer) => Err(format!("{answer:?}")),
        Err(error) => Err(error),
    })
    .await;
    eprintln!("served again after {:?}", started.elapsed());
    let server = |text: &str| text.lines().find(|line| line.contains("server:")).map(str::to_owned);
    let after = std::fs::read_to_string(up.kubeconfig()).unwrap();
    assert_eq!(server(&before), server(&after), "the API keeps its port");
    up.stop().await;
}

#[tokio::test]
async fn a_user_runs_looks_follows_and_deletes_with_pal_alone() {
    let up = pal().up(&[]).await;
    let app = repository("examples/hello/hello.wasm");
    let printed = up.pal(&format!("run web --image {app} --replicas 2 --env GREETING=hi")).await.ok();
    let url = printed.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL").to_owned();
    assert_eq!(get(&url).await.unwrap().status, StatusCode::OK);

    let table = up.pal("get deployments").await.ok();
    let mut lines = table.lines();
    assert_eq!(
        lines.next().map(|l| l.split_whitespace().collect::<Vec<_>>()),
        Some(vec!["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"])
    );
    let row = lines.next().unwrap_or_default().to_owned();
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["web", "2/2", "2", "2"], "{table}");
    assert!(up.pal("get svc web -o yaml").await.ok().contains("type: NodePort"));
    assert_eq!(up.pal("get deploy,svc -o name -l app=web").await.ok(), "deployment.apps/web\nservice/web\n");
    let again = up.pal(&format!("run web --image {app} --replicas 2 --env GREETING=hi")).await;
    assert_eq!(again.code, Some(0), "running the same again changes nothing: {}", again.stderr);

    let ticker = repository("examples/ticker/ticker.yaml");
    up.pal(&format!("apply -f {ticker} --wait")).await.ok();
    wait_until(LIMIT, "lines in the log", async || {
        let log = up.pal("logs deploy/ticker").await;
        if log.stdout.lines().count() >= 2 { Ok(()) } else { Err(format!("{log:?}")) }
    })
    .await;
    assert_eq!(up.pal("logs deploy/ticker --tail 1").await.ok().lines().count(), 1);

    up.pal(&format!("delete -f {ticker}")).await.ok();
    up.pal("delete deploy/web svc/web").await.ok();
    wait_until(LIMIT, "no pods left", async || {
        let left = up.pal("get pods -o name").await;
        if left.stdout.is_empty() { Ok(()) } else { Err(left.stdout) }
    })
    .await;
    up.stop().await;
}

#[tokio::test]
async fn inspect_tells_what_a_file_is_and_refuses_what_is_not_wasm() {
    let hello = pal().run(&["inspect", &repository("examples/hello/hello.wasm")]).await.ok();
    assert!(hello.contains("wasi:http/incoming-handler"), "{hello}");
    let greeter = pal().run(&["inspect", &repository("examples/greeter-c/greeter.wasm")]).await.ok();
    assert!(greeter.contains("core module"), "{greeter}");
    let refused = pal().run(&["inspect", &repository("README.md")]).await.refused();
    assert!(refused.contains("README.md"), "{refused}");
}

#[tokio::test]
async fn the_guestbook_keeps_its_entries_behind_its_service() {
    let up = pal().up(&["-f", &repository("examples/guestbook/guestbook.yaml")]).await;
    let url = format!("http://{}:30081/", up.node_ip);
    let page = get(&url).await.unwrap();
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    up.stop().await;
}

#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once() {
    let mut up = pal().up(&[]).await;
    up.process.signal("INT").await;
    up.process.signal("INT").await;
    let started = Instant::now();
    up.process.ended().await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_reader_of_the_output_may_go_and_the_same_manifest_changes_nothing_whoever_applies_it() {
    let up = pal().up(&[]).await;
    let kubeconfig = up.kubeconfig();
    let line = format!("{} get ns -o yaml --kubeconfig {} | head -1", env!("CARGO_BIN_EXE_pal"), kubeconfig.display());
    let piped = tokio::process::Command::new("bash").args(["-o", "pipefail", "-c", &line]).output().await.unwrap();
    assert!(piped.status.success() && piped.stderr.is_empty(), "{piped:?}");

    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: both}\ndata: {b: one, a: two}\n";
    assert_eq!(up.apply(manifest).await.ok(), "configmap/both created\n");
    assert_eq!(up.apply(manifest).await.ok(), "configmap/both unchanged\n");
    if let Some(kubectl) = up.kubectl() {
        assert_eq!(kubectl.with_manifest("apply", manifest).await, "configmap/both unchanged\n");
        assert_eq!(up.apply(manifest).await.ok(), "configmap/both unchanged\n");
    }
    up.stop().await;
}

#[tokio::test]
async fn a_node_port_that_another_program_holds_is_told() {
    let node_ip = pal_tests::loopback();
    let taken = std::net::TcpListener::bind((node_ip.as_str(), 30080)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let up = pal().up_in(dir, &node_ip, &["-f", &repository("examples/hello/hello.yaml")]).await;
    assert!(up.process.output().contains("warning: service/hello"), "{}", up.process.output());
    drop(taken);
    wait_until(LIMIT, "the port opens once it is free", async || match get(&format!("http://{node_ip}:30080")).await {
        Ok(answer) if answer.status == StatusCode::OK => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    up.stop().await;
}
