//! What was acknowledged is there, whatever happens to the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use serde_json::{Value, json};

use crate::{LIMIT, pal};
use pal_tests::{Cluster, wait_until};

const ROUNDS: usize = 5;
const WRITERS: usize = 8;

async fn create(client: &kube::Client, name: &str) -> Result<u64, String> {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": name}});
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|error| error.to_string())?;
    let created: Value = client.request(request).await.map_err(|error| error.to_string())?;
    created["metadata"]["resourceVersion"].as_str().and_then(|rv| rv.parse().ok()).ok_or("no version".to_owned())
}

/// Writes until the process is gone; what was acknowledged, by name, with its version.
async fn write_until_gone(cluster: &Cluster, round: usize, count: &Arc<AtomicUsize>) -> BTreeMap<String, u64> {
    let client = cluster.client().await;
    let writers = (0..WRITERS).map(|writer| {
        let (client, count) = (client.clone(), count.clone());
        tokio::spawn(async move {
            let mut acknowledged = BTreeMap::new();
            for n in 0_u32.. {
                let name = format!("r{round}-w{writer}-{n}");
                match tokio::time::timeout(Duration::from_secs(5), create(&client, &name)).await {
                    Ok(Ok(version)) => {
                        acknowledged.insert(name, version);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => break,
                }
            }
            acknowledged
        })
    });
    let mut all = BTreeMap::new();
    for writer in writers.collect::<Vec<_>>() {
        all.extend(writer.await.expect("a writer does not panic"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_while_writing_loses_no_acknowledged_object_and_gives_no_version_twice() {
    let mut cluster = pal().server(&[]).await;
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let id = cluster.process.id();
        let count = Arc::new(AtomicUsize::new(0));
        // In the midst of the writing, at another point of it each time.
        let killer = async {
            let enough = 20 + 67 * round;
            wait_until(LIMIT, "writes under way", async || match count.load(Ordering::Relaxed) {
                so_many if so_many >= enough => Ok(()),
                so_many => Err(format!("{so_many} of {enough} written")),
            })
            .await;
            let _ = tokio::process::Command::new("kill").args(["-9", &id.to_string()]).status().await;
        };
        let (written, ()) = tokio::join!(write_until_gone(&cluster, round, &count), killer);
        assert!(!written.is_empty(), "something was written in round {round}");
        acknowledged.extend(written);
        cluster = pal().server_in(cluster.dir, &[]).await;

        let list = cluster.object("/api/v1/namespaces/default/configmaps").await.unwrap();
        let found: BTreeMap<String, u64> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| {
                let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
                (text("name"), text("resourceVersion").parse().unwrap_or(0))
            })
            .collect();
        for (name, version) in &acknowledged {
            assert_eq!(found.get(name), Some(version), "{name} was acknowledged in round {round} or before");
        }
        let mut versions: Vec<u64> = found.values().copied().collect();
        versions.sort_unstable();
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "no version is given twice");
    }
}
