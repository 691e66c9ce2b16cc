//! Volumes that outlive pods: claims, the directories behind them, and who is shown what.

use std::path::Path;

use pal_tests::{Cluster, wait_until};
use serde_json::{Value, json};

use crate::pods::until;
use crate::{LIMIT, pal};

/// Its pods add a line to what their volume has, and tell all of it.
const SET: &str = "apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox
        command: [sh, -c, 'echo line of $HOSTNAME >> /data/log; cat /data/log; echo end; sleep 3600']
        volumeMounts: [{name: data, mountPath: /data, subPath: of/it}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

async fn lines(cluster: &Cluster, count: usize) {
    wait_until(LIMIT, &format!("{count} lines"), async || {
        let log = cluster.pal("logs db-0").await;
        let found = log.stdout.matches("line of db-0\n").count();
        let done = log.stdout.contains("end\n");
        if done && found == count { Ok(()) } else { Err(format!("{log:?}")) }
    })
    .await;
}

async fn gone(cluster: &Cluster, path: &str) {
    wait_until(LIMIT, &format!("{path} is gone"), async || match cluster.object(path).await {
        Err(_) => Ok(()),
        Ok(object) => Err(object.to_string()),
    })
    .await;
}

async fn claim(cluster: &Cluster) -> Value {
    let path = "/api/v1/namespaces/default/persistentvolumeclaims/data-db-0";
    cluster.object(path).await.expect("the claim")
}

fn directories(data: &Path) -> Vec<String> {
    let all = std::fs::read_dir(data.join("node/claims")).expect("the node's volumes");
    all.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_stateful_sets_data_outlive_its_pods_and_the_node_and_go_with_the_claim() {
    let cluster = pal().up(&[]).await;
    let classes = cluster.object("/apis/storage.k8s.io/v1/storageclasses/standard").await.expect("the class");
    assert_eq!(classes["volumeBindingMode"], "WaitForFirstConsumer");
    cluster.apply(SET).await.ok();
    lines(&cluster, 1).await;
    let bound = claim(&cluster).await;
    let volume = bound["spec"]["volumeName"].as_str().expect("a volume").to_owned();
    assert_eq!(
        (&bound["status"]["phase"], &bound["status"]["capacity"]),
        (&json!("Bound"), &json!({"storage": "1Gi"}))
    );
    let before = until(&cluster, "db-0", "/status/phase", "Running").await;

    cluster.pal("delete pod db-0").await.ok();
    lines(&cluster, 2).await;
    let after = until(&cluster, "db-0", "/status/phase", "Running").await;
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);

    let dir = cluster.stop().await;
    assert_eq!(directories(dir.path()), [volume.as_str()]);
    let text = std::fs::read_to_string(dir.path().join("node/claims").join(&volume).join("of/it/log")).expect("it");
    assert_eq!(text, "line of db-0\nline of db-0\n");
    let path = dir.path().to_owned();
    let cluster = pal().up_in(dir, &pal_tests::loopback(), &[]).await;
    lines(&cluster, 3).await;
    assert_eq!(claim(&cluster).await["metadata"]["uid"], bound["metadata"]["uid"]);

    cluster.pal("delete statefulset db").await.ok();
    gone(&cluster, "/api/v1/namespaces/default/pods/db-0").await;
    assert_eq!(claim(&cluster).await["status"]["phase"], "Bound");
    cluster.pal("delete pvc data-db-0").await.ok();
    gone(&cluster, &format!("/api/v1/persistentvolumes/{volume}")).await;
    assert_eq!(directories(&path), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_of_the_machine_is_shown_only_where_the_node_offers_it() {
    let server = pal().server(&[]).await;
    let (disks, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
    for dir in [&disks, &other] {
        std::fs::write(dir.path().join("file"), "of the machine\n").expect("written");
    }
    let offered = disks.path().to_str().expect("a plain path").to_owned();
    let (_node, _dir) = server.join_with("node-a", &pal_tests::loopback(), &["--local-volumes", &offered]).await;
    let static_volume = |name: &str, path: &str| {
        format!(
            "apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: {name}
  local: {{path: {path}}}
  nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [
    {{key: kubernetes.io/hostname, operator: In, values: [node-a]}}]}}]}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec: {{accessModes: [ReadWriteOnce], storageClassName: {name}, resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers:
  - {{name: main, image: busybox, command: [cat, /v/file], volumeMounts: [{{name: v, mountPath: /v}}]}}
  volumes: [{{name: v, persistentVolumeClaim: {{claimName: {name}}}}}]
"
        )
    };
    let all =
        [static_volume("offered", &offered), static_volume("other", other.path().to_str().expect("a plain path"))];
    server.apply(&all.join("---\n")).await.ok();
    until(&server, "offered", "/status/phase", "Succeeded").await;
    assert_eq!(server.pal("logs offered").await.ok(), "of the machine\n");
    wait_until(LIMIT, "the other is refused", async || {
        let events = server.object("/api/v1/namespaces/default/events?fieldSelector=reason%3DFailedMount").await?;
        let refused = "is not below a directory that this node offers for local volumes";
        if events.to_string().contains(refused) { Ok(()) } else { Err(events.to_string()) }
    })
    .await;
}
