//! Mistakes, and what is said of them.

use crate::{pal, repository};

#[tokio::test]
async fn a_manifests_mistake_is_named_with_its_file_and_field() {
    let cluster = pal().up(&[]).await;
    let check = async |manifest: &str, parts: &[&str]| {
        let refused = cluster.apply(manifest).await.refused();
        for part in parts {
            assert!(refused.contains(part), "{part:?} in: {refused}\nfor {manifest}");
        }
    };
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: x, port: 1}]}",
        &["unknown field", "port"],
    )
    .await;
    check("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: 7}", &["containers"]).await;
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: A_b}\nspec: {containers: [{name: a, image: x}]}",
        &["metadata.name", "RFC 1123"],
    )
    .await;
    check("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}", &["spec.containers", "Required value"]).await;
    check(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: nowhere}",
        &["namespaces \"nowhere\" not found"],
    )
    .await;
    check("apiVersion: v1\nkind: Podd\nmetadata: {name: a}", &["no matches for kind \"Podd\" in version \"v1\""]).await;
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: ./none.wasm}]}",
        &["none.wasm", "No such file"],
    )
    .await;
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: ./README.md}]}",
        &["README.md"],
    )
    .await;
    check("a: [", &["parsing"]).await;
    let stale = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stale, resourceVersion: \"1\"}\ndata: {a: b}";
    let fresh = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stale}\ndata: {a: a}";
    cluster.apply(fresh).await.ok();
    check(stale, &["the object has been modified"]).await;
    let listed = cluster.pal("get configmaps -o name").await.ok();
    assert!(listed.contains("configmap/stale"), "the server goes on: {listed}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_file_that_can_not_be_run_leaves_nothing_behind() {
    let cluster = pal().up(&[]).await;
    for (file, part) in [("./none.wasm", "No such file"), (&*repository("README.md"), "not WebAssembly")] {
        let refused = cluster.pal(&format!("run {file}")).await.refused();
        assert!(refused.contains(part), "{part:?} in: {refused}");
    }
    let left = cluster.pal("get deployments,services -o name").await.ok();
    assert_eq!(left.trim(), "service/kubernetes");
    cluster.stop().await;
}

#[tokio::test]
async fn a_directory_in_use_a_port_in_use_and_a_directory_that_cannot_be_made_are_told() {
    let cluster = pal().up(&[]).await;
    let data = cluster.dir.path().to_str().unwrap();
    let held = pal().run(&["server", "--listen", "127.0.0.1:0", "--data-dir", data]).await.refused();
    assert!(held.contains(data), "{held}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let in_use =
        pal().run(&["server", "--listen", &address, "--data-dir", dir.path().to_str().unwrap()]).await.refused();
    assert!(in_use.contains("in use") && in_use.contains("--listen"), "{in_use}");

    let file = repository("README.md");
    let below_a_file =
        pal().run(&["server", "--listen", "127.0.0.1:0", "--data-dir", &format!("{file}/data")]).await.refused();
    assert!(below_a_file.contains(&file), "{below_a_file}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("kubeconfig");
    let missing = missing.to_str().unwrap();
    let refused = pal().run(&["get", "pods", "--kubeconfig", missing]).await.refused();
    assert!(refused.contains(missing) && refused.contains("pal up"), "{refused}");

    let cluster = pal().server(&[]).await;
    let kubeconfig = cluster.kubeconfig();
    let dir = cluster.stop().await;
    let refused = pal().run(&["get", "pods", "--kubeconfig", kubeconfig.to_str().unwrap()]).await.refused();
    assert!(refused.contains("cannot reach the cluster"), "{refused}");
    drop(dir);
}
