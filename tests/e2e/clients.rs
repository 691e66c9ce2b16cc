//! Clients other than kubectl, each driven as its users do: the Python and JavaScript clients, Helm 4, a kopf operator,
//! kube-rs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use serde_json::json;

use crate::{LIMIT, pal, repository};
use pal_tests::{Node, Python, wait_until};

#[tokio::test]
async fn the_python_client_and_its_dynamic_one() {
    let Some(python) = Python::find() else { return };
    let cluster = pal().server(&[]).await;
    let kubeconfig = cluster.kubeconfig();
    python.run("python_client.py", &[kubeconfig.to_str().expect("a plain path")]).await.ok();
    cluster.stop().await;
}

#[tokio::test]
async fn the_javascript_client_with_informers_programs_files_and_ports() {
    let Some(node) = Node::find() else { return };
    let cluster = pal().up(&[]).await;
    let kubeconfig = cluster.kubeconfig();
    node.run("javascript_client.mjs", &[kubeconfig.to_str().expect("a plain path")]).await.ok();
    cluster.stop().await;
}

#[tokio::test]
async fn helm_installs_upgrades_rolls_back_and_uninstalls_a_chart_with_hooks() {
    let Some(python) = Python::find() else { return };
    let cluster = pal().up(&[]).await;
    let kubeconfig = cluster.kubeconfig();
    let words = [kubeconfig.to_str().expect("a plain path"), &repository("examples/chart")];
    python.run("helm.py", &words).await.ok();
    cluster.stop().await;
}

#[tokio::test]
async fn a_kopf_operator_keeps_what_it_makes_of_custom_resources() {
    let Some(python) = Python::find() else { return };
    let cluster = pal().server(&[]).await;
    let kubeconfig = cluster.kubeconfig();
    python.run("kopf_operator.py", &[kubeconfig.to_str().expect("a plain path")]).await.ok();
    cluster.stop().await;
}

#[tokio::test]
async fn schemathesis_finds_no_server_error_and_no_answer_that_its_schema_refuses() {
    let Some(python) = Python::find() else { return };
    let cluster = pal().server(&[]).await;
    let kubeconfig = cluster.kubeconfig();
    let words = [kubeconfig.to_str().expect("a plain path"), "2", "some"];
    python.run("openapi_conformance.py", &words).await.ok();
    cluster.stop().await;
}

/// What an informer was told: how often it began anew, and each object's versions in order.
#[derive(Default)]
struct Told {
    beginnings: usize,
    ready: bool,
    versions: BTreeMap<String, Vec<u64>>,
    deleted: BTreeSet<String>,
    now: BTreeMap<String, u64>,
}

impl Told {
    fn hear(&mut self, event: Event<ConfigMap>) {
        let place = |object: &ConfigMap| {
            let version = object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
            (object.metadata.name.clone().unwrap_or_default(), version.expect("versions are numbers"))
        };
        match event {
            Event::Init => self.beginnings += 1,
            Event::InitDone => self.ready = true,
            Event::InitApply(object) | Event::Apply(object) => {
                let (name, version) = place(&object);
                self.now.insert(name.clone(), version);
                self.versions.entry(name).or_default().push(version);
            }
            Event::Delete(object) => {
                let (name, _) = place(&object);
                self.now.remove(&name);
                assert!(self.deleted.insert(name.clone()), "{name} was deleted twice");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_informer_misses_and_repeats_nothing_over_restarts_of_the_server() {
    let mut cluster = pal().server(&[]).await;
    let client = cluster.client().await;
    let configs: Api<ConfigMap> = Api::namespaced(client, "default");
    let told = Arc::new(Mutex::new(Told::default()));
    let hear = {
        let (told, labelled) = (told.clone(), watcher::Config::default().labels("heard=yes"));
        let mut events = watcher::watcher(configs.clone(), labelled).boxed();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // Errors are of the time when the server is away; the watcher begins where it ended.
                match event {
                    Ok(event) => told.lock().unwrap_or_else(PoisonError::into_inner).hear(event),
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                }
            }
        })
    };
    let state = || told.lock().unwrap_or_else(PoisonError::into_inner);
    wait_until(LIMIT, "the informer has begun", async || if state().ready { Ok(()) } else { Err("not yet") }).await;

    let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for round in 0..3 {
        for name in ["a", "b"].map(|name| format!("{name}{round}")) {
            let object = json!({"metadata": {"name": name, "labels": {"heard": "yes"}}});
            let object = serde_json::from_value(object).expect("a ConfigMap");
            let made = configs.create(&PostParams::default(), &object).await.expect("created");
            let change = Patch::Merge(json!({"data": {"round": round.to_string()}}));
            let changed = configs.patch(&name, &PatchParams::default(), &change).await.expect("patched");
            let versions = [made, changed].map(|object| object.metadata.resource_version.expect("a version"));
            expected.insert(name, versions.map(|version| version.parse().expect("a number")).to_vec());
        }
        configs.delete(&format!("b{round}"), &DeleteParams::default()).await.expect("deleted");
        // The second time without a farewell.
        cluster = if round == 1 {
            cluster.process.kill().await;
            pal().server_in(cluster.dir, &[]).await
        } else {
            pal().server_in(cluster.stop().await, &[]).await
        };
    }
    let last = json!({"metadata": {"name": "last", "labels": {"heard": "yes"}}});
    let last = serde_json::from_value(last).expect("a ConfigMap");
    let last = configs.create(&PostParams::default(), &last).await.expect("created");
    let version: u64 = last.metadata.resource_version.and_then(|version| version.parse().ok()).expect("a number");
    expected.insert("last".to_owned(), vec![version]);
    wait_until(LIMIT, "the informer hears the last", async || {
        if state().now.contains_key("last") { Ok(()) } else { Err(format!("{:?}", state().now)) }
    })
    .await;
    hear.abort();
    {
        let told = state();
        assert_eq!(told.versions, expected, "each version of each object once, in order");
        assert_eq!(told.deleted, ["b0", "b1", "b2"].map(str::to_owned).into());
        assert_eq!(told.now.keys().map(String::as_str).collect::<Vec<_>>(), ["a0", "a1", "a2", "last"]);
        assert_eq!(told.beginnings, 1, "it was never sent back to a list");
    }
    cluster.stop().await;
}
