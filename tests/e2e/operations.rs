//! What an operator does by hand, as `examples/operations` tells it: a cluster of several servers is formed, seen to, and
//! brought back from a file.

use std::path::Path;

use http::StatusCode;
use pal_tests::{Forming, Kubectl, Process, Ran, Servers, get, loopback, wait_until};

use crate::{LIMIT, pal, repository};

/// Runs `pal` with the kubeconfig of a data directory.
async fn pal_at(dir: &Path, line: &str) -> Ran {
    let kubeconfig = dir.join("kubeconfig");
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.extend(["--kubeconfig", kubeconfig.to_str().expect("a path of plain text")]);
    pal().run(&words).await
}

/// The rows of `pal server list` by name: the role, then the status.
async fn listed(dir: &Path) -> Result<Vec<(String, String, String)>, String> {
    let ran = pal_at(dir, "server list").await;
    if ran.code != Some(0) {
        return Err(ran.stderr);
    }
    let mut rows = Vec::new();
    for line in ran.stdout.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, _id, _address, role, status @ ..] = words.as_slice() else { return Err(ran.stdout) };
        rows.push(((*name).to_owned(), (*role).to_owned(), status.join(" ")));
    }
    rows.sort();
    Ok(rows)
}

/// Waits until the list says so; each word is NAME:ROLE:STATUS, with nothing for what does not matter.
async fn until_listed(dir: &Path, expected: &str) {
    wait_until(LIMIT, expected, async || {
        let rows = listed(dir).await?;
        let matches = |(name, role, status): &(String, String, String), word: &str| {
            let mut parts = word.split(':');
            let mut is = |found: &str| parts.next().is_none_or(|part| part.is_empty() || part == found);
            is(name) && is(role) && is(status)
        };
        let words: Vec<&str> = expected.split(' ').collect();
        let all = rows.len() == words.len() && rows.iter().zip(&words).all(|(row, word)| matches(row, word));
        if all { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}

async fn until_written(kubectl: &Kubectl, name: &str) {
    wait_until(LIMIT, "a write through a server that is left", async || {
        let ran = kubectl.run(&format!("create configmap {name} --from-literal=a=b")).await;
        // A write whose answer was lost with its server may have been carried out.
        if ran.code == Some(0) || ran.stderr.contains("already exists") { Ok(()) } else { Err(ran.stderr) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_joined_listed_killed_handed_over_removed_and_replaced() {
    let mut servers = Servers::form(&pal(), 3, Forming::default()).await;
    let dirs: Vec<_> = servers.all().iter().map(|server| server.dir.clone()).collect();
    for dir in &dirs {
        until_listed(dir, "s1::ready s2::ready s3::ready").await;
    }
    let Some(first) = Kubectl::find(servers.all()[0].kubeconfig()) else { return };
    first.ok("create configmap one --from-literal=a=b").await;
    for server in servers.all() {
        let kubectl = Kubectl::find(server.kubeconfig()).expect("it was found before");
        assert_eq!(kubectl.ok("get configmap one -o jsonpath={.data.a}").await, "b", "by way of {}", server.name);
        assert!(kubectl.ok("get --raw /readyz").await.contains("ok"));
    }

    // One of three is killed, and it was the one that led.
    let killed = servers.leader().await;
    let left = (killed + 1) % 3;
    let kubectl = Kubectl::find(servers.all()[left].kubeconfig()).expect("it was found before");
    servers.kill(killed).await;
    until_written(&kubectl, "two").await;
    let words: Vec<String> = (0..3)
        .map(|place| format!("s{}::{}", place + 1, if place == killed { "unreachable" } else { "ready" }))
        .collect();
    until_listed(&dirs[left], &words.join(" ")).await;
    let name = |place: usize| format!("s{}", place + 1);
    let other = (killed + 2) % 3;
    for would_be_lost in [left, other] {
        let refused = pal_at(&dirs[left], &format!("server remove {}", name(would_be_lost))).await.refused();
        assert!(refused.contains(&name(killed)), "it is told whom to bring back: {refused}");
    }
    servers.start(killed);
    servers.ready(killed).await;
    until_listed(&dirs[left], "s1::ready s2::ready s3::ready").await;

    // Another is to lead, and the one that leads is removed.
    pal_at(&dirs[left], &format!("server transfer-leader {}", name(killed))).await.ok();
    let words: Vec<String> =
        (0..3).map(|place| if place == killed { format!("{}:leader", name(place)) } else { name(place) }).collect();
    until_listed(&dirs[left], &words.join(" ")).await;
    let unknown = pal_at(&dirs[left], "server remove nobody").await.refused();
    assert!(["s1", "s2", "s3"].iter().all(|name| unknown.contains(name)), "{unknown}");
    pal_at(&dirs[left], &format!("server remove {}", name(killed))).await.ok();
    let said = servers.until_ended(killed).await;
    assert!(said.contains("was removed from the cluster") && said.contains("pal token create --role server"), "{said}");
    assert!(dirs[killed].join("store").exists(), "its data stay");
    until_written(&kubectl, "three").await;

    // It cannot come back as it was; with new data and under its old name it can.
    servers.start(killed);
    let said = servers.until_ended(killed).await;
    assert!(said.contains("removed"), "{said}");
    std::fs::remove_dir_all(&dirs[killed]).expect("its data is ours");
    servers.join_as(killed).await;
    until_listed(&dirs[left], "s1::ready s2::ready s3::ready").await;
    let again = Kubectl::find(servers.all()[killed].kubeconfig()).expect("it was found before");
    assert_eq!(again.ok("get configmap three -o jsonpath={.data.a}").await, "b");
}

/// Starts a server on a directory at an address, and waits until it serves.
async fn serve(dir: &Path, listen: &str) -> Process {
    let data = dir.to_str().expect("a path of plain text");
    let mut process = pal().start(&["server", "--data-dir", data, "--listen", listen]);
    process.until("kubeconfig: ").await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_lost_everything_comes_back_from_its_snapshot_and_its_nodes_go_on() {
    let mut server = pal().server(&[]).await;
    let ip = loopback();
    let (_agent, _agent_dir) = server.join("node-a", &ip).await;
    server.pal(&format!("apply -f {} --wait", repository("examples/hello/hello.yaml"))).await.ok();
    let page = format!("http://{ip}:30080");
    assert_eq!(get(&page).await.expect("an answer").status, StatusCode::OK);

    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a path of plain text").to_owned();
    let (file, data) = (path("cluster.snapshot"), path("restored"));
    let saved = server.pal(&format!("snapshot save {file}")).await.ok();
    assert!(saved.contains("revision"), "{saved}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    let status = pal().run(&["snapshot", "status", &file]).await.ok();
    assert!(status.contains("checksum") && status.contains("objects"), "{status}");
    // Written after the snapshot, and so lost with the cluster.
    server.pal("token create --role node --description later").await.ok();

    let listen = std::fs::read_to_string(server.dir.path().join("listen-address")).expect("it is kept");
    server.process.kill().await;
    let kubeconfig = std::fs::read_to_string(server.kubeconfig()).expect("a kubeconfig");
    drop(server);

    let damaged = path("damaged");
    let mut bytes = std::fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).expect("written");
    let refused = pal().run(&["snapshot", "restore", &damaged, "--data-dir", &data]).await.refused();
    assert!(refused.contains("damaged"), "{refused}");
    assert!(!Path::new(&data).exists(), "nothing is left of a restore that failed");
    pal().run(&["snapshot", "restore", &file, "--data-dir", &data]).await.ok();
    let refused = pal().run(&["snapshot", "restore", &file, "--data-dir", &data]).await.refused();
    assert!(refused.contains("not empty"), "{refused}");

    let mut restored = serve(Path::new(&data), listen.trim()).await;
    // The kubeconfig of before is still good.
    std::fs::write(path("kubeconfig"), kubeconfig).expect("written");
    let table = pal_at(dir.path(), "get deployments").await.ok();
    assert!(table.contains("hello"), "{table}");
    let tokens = pal_at(dir.path(), "token list").await.ok();
    assert!(!tokens.contains("later"), "{tokens}");
    wait_until(LIMIT, "the node is ready again", async || {
        let table = pal_at(dir.path(), "get nodes --no-headers").await;
        if table.stdout.contains(" Ready ") { Ok(()) } else { Err(format!("{table:?}")) }
    })
    .await;
    assert_eq!(get(&page).await.expect("an answer").status, StatusCode::OK, "its pods go on");
    // And it does what it is told.
    pal_at(dir.path(), "delete deployment hello").await.ok();
    wait_until(LIMIT, "the pods are gone", async || {
        let pods = pal_at(dir.path(), "get pods --no-headers").await;
        if pods.code == Some(0) && !pods.stdout.contains("hello") { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await;
    assert!(restored.interrupt().await, "{}", restored.output());
}
