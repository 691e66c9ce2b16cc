//! Pods, well and badly behaved.

use http::StatusCode;
use pal_tests::{Cluster, get, wait_until};
use serde_json::Value;

use crate::{LIMIT, pal};

/// A pod of one container that runs `tests/guests/command.wasm` with these arguments.
fn command(name: &str, restart: &str, args: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: {restart}
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: ./tests/guests/command.wasm
    args: [{args}]
{more}"
    )
}

/// A pod as it is now.
pub(crate) async fn pod(cluster: &Cluster, name: &str) -> Result<Value, String> {
    cluster.object(&format!("/api/v1/namespaces/default/pods/{name}")).await
}

/// Waits until what a look at the pod gives is as wanted.
pub(crate) async fn until(cluster: &Cluster, name: &str, pointer: &str, wanted: &str) -> Value {
    wait_until(LIMIT, &format!("{name}: {pointer} is {wanted}"), async || {
        let pod = pod(cluster, name).await?;
        let found = match pod.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        if found == wanted { Ok(pod) } else { Err(pod["status"].to_string()) }
    })
    .await
}

async fn log(cluster: &Cluster, name: &str) -> String {
    cluster.pal(&format!("logs {name}")).await.ok()
}

#[tokio::test]
async fn commands_end_as_they_end_and_say_so() {
    let cluster = pal().up(&[]).await;
    let env = "    env:
    - {name: PLAIN, value: \"1\"}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: FROM_MAP, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: FROM_SECRET, valueFrom: {secretKeyRef: {name: keys, key: word}}}
    - {name: EXPANDED, value: \"$(PLAIN)-$(POD)\"}
    envFrom:
    - configMapRef: {name: settings}
      prefix: P_
";
    let settings = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {word: sesame}
";
    let all = [
        settings.to_owned(),
        command("args", "Never", "args, one, two", ""),
        command("env", "Never", "env", env),
        command("exits", "Never", "exit, \"3\"", ""),
        command("traps", "Never", "trap", ""),
        command("retried", "OnFailure", "fail", ""),
    ]
    .join("---\n");
    cluster.apply(&all).await.ok();

    until(&cluster, "args", "/status/phase", "Succeeded").await;
    assert!(log(&cluster, "args").await.contains("|one|two"));
    until(&cluster, "env", "/status/phase", "Succeeded").await;
    let printed = log(&cluster, "env").await;
    for line in ["PLAIN=1", "POD=env", "FROM_MAP=blue", "FROM_SECRET=sesame", "EXPANDED=1-env", "P_colour=blue"] {
        assert!(printed.lines().any(|l| l == line), "{line} in:\n{printed}");
    }
    let exits = until(&cluster, "exits", "/status/phase", "Failed").await;
    // All that WASI 0.2's `exit` of a component says is success or failure; core modules keep their code.
    assert_eq!(exits["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 1);
    let traps = until(&cluster, "traps", "/status/phase", "Failed").await;
    assert_eq!(traps["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Error", "{traps}");
    assert!(log(&cluster, "traps").await.contains("trapped as told"));
    let retried =
        until(&cluster, "retried", "/status/containerStatuses/0/state/waiting/reason", "CrashLoopBackOff").await;
    assert!(retried["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1), "{retried}");
    let previous = cluster.pal("logs retried --previous").await.ok();
    assert!(previous.contains("failed as told"), "{previous}");
    cluster.stop().await;
}

#[tokio::test]
async fn volumes_init_containers_and_several_containers_share_a_pod() {
    let cluster = pal().up(&[]).await;
    let manifest = "apiVersion: v1
kind: ConfigMap
metadata: {name: files}
data: {greeting.txt: from the map}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {key: from the secret}
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  restartPolicy: Never
  initContainers:
  - name: first
    image: ./tests/guests/command.wasm
    args: [put, /scratch/note, written first]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  containers:
  - name: reader
    image: ./tests/guests/command.wasm
    args: [cat, /scratch/note]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  - name: configured
    image: ./tests/guests/command.wasm
    args: [cat, /etc/files/greeting.txt]
    volumeMounts: [{name: files, mountPath: /etc/files}]
  - name: trusted
    image: ./tests/guests/command.wasm
    args: [cat, /etc/hidden/key]
    volumeMounts: [{name: hidden, mountPath: /etc/hidden, readOnly: true}]
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: files, configMap: {name: files}}
  - {name: hidden, secret: {secretName: hidden}}
";
    cluster.apply(manifest).await.ok();
    let pod = until(&cluster, "shared", "/status/phase", "Succeeded").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    for (container, text) in
        [("reader", "written first"), ("configured", "from the map"), ("trusted", "from the secret")]
    {
        assert_eq!(cluster.pal(&format!("logs shared -c {container}")).await.ok().trim(), text);
    }
    let several = cluster.pal("logs shared").await.refused();
    assert!(several.contains("a container name must be specified"), "{several}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_cannot_start_says_why_in_status_and_events() {
    let cluster = pal().up(&[]).await;
    let pod = |name: &str, image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: app, image: {image}}}]}}\n"
        )
    };
    let all = [
        pod("nowhere", "127.0.0.1:1/none:v1"),
        pod("needs", "./tests/guests/needs-import.wasm"),
        pod("trial", "./tests/guests/start-trap.wasm"),
    ]
    .join("---\n");
    cluster.apply(&all).await.ok();
    // Past `pal`, which would have refused it, as plain kubectl sends it.
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let nowhere = wait_until(LIMIT, "the image is not found", async || {
        let pod = self::pod(&cluster, "nowhere").await?;
        match pod.pointer(reason).and_then(Value::as_str) {
            Some("ErrImagePull" | "ImagePullBackOff") => Ok(pod),
            _ => Err(pod["status"].to_string()),
        }
    })
    .await;
    assert_eq!(nowhere["status"]["phase"], "Pending");
    let needs = wait_until(LIMIT, "the missing import is named", async || {
        let pod = self::pod(&cluster, "needs").await?;
        let text = pod["status"].to_string();
        if text.contains("example:") || text.contains("import") { Ok(pod) } else { Err(text) }
    })
    .await;
    assert_ne!(needs["status"]["phase"], "Running", "{needs}");
    wait_until(LIMIT, "events say so too", async || {
        let events = cluster.pal("get events").await.ok();
        if events.contains("needs") && events.contains("Failed") { Ok(()) } else { Err(events) }
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_misbehaving_guest_harms_nobody_else() {
    let service = |name: &str, more: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: app
        image: ./tests/guests/service.wasm
        ports: [{{containerPort: 8080}}]
{more}---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: NodePort
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
"
        )
    };
    let limited = "        resources: {limits: {memory: 32Mi}}\n";
    let cluster = pal().up(&[]).await;
    let all = [
        service("good", ""),
        service("bad", limited),
        command("spins", "Never", "loop", ""),
        command("prints", "Never", "print", ""),
        command("hoards", "Never", "alloc", "    resources: {limits: {memory: 32Mi}}\n"),
    ]
    .join("---\n");
    cluster.apply(&all).await.ok();
    let port = async |name: &str| {
        let object = cluster.object(&format!("/api/v1/namespaces/default/services/{name}")).await.unwrap();
        format!("http://{}:{}", cluster.node_ip, object["spec"]["ports"][0]["nodePort"])
    };
    let (good, bad) = (port("good").await, port("bad").await);
    for url in [&good, &bad] {
        wait_until(LIMIT, "both serve", async || match get(&format!("{url}/ok")).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    let trapped = get(&format!("{bad}/trap")).await.unwrap();
    assert_eq!(trapped.status, StatusCode::INTERNAL_SERVER_ERROR, "{trapped:?}");
    let nothing = get(&format!("{bad}/nothing")).await.unwrap();
    assert!(nothing.status.is_server_error(), "{nothing:?}");
    let hoards = get(&format!("{bad}/alloc")).await.unwrap();
    assert!(hoards.status.is_server_error(), "{hoards:?}");
    let after = get(&format!("{bad}/ok")).await.unwrap();
    assert_eq!(after.status, StatusCode::OK, "a request that fails is no crash: {after:?}");

    let hoards = until(&cluster, "hoards", "/status/phase", "Failed").await;
    let end = &hoards["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(end["reason"], "OOMKilled", "{end}");
    until(&cluster, "spins", "/status/phase", "Running").await;
    for _ in 0..5 {
        let answer = get(&format!("{good}/echo")).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "others go on beside a loop and a flood: {answer:?}");
    }
    cluster.pal("delete pod spins prints --grace-period 1").await.ok();
    cluster.stop().await;
}

#[tokio::test]
async fn readiness_gates_a_services_endpoints() {
    let cluster = pal().up(&[]).await;
    let manifest = "apiVersion: v1
kind: Pod
metadata: {name: never-ready, labels: {app: gated}}
spec:
  containers:
  - name: app
    image: ./tests/guests/service.wasm
    ports: [{containerPort: 8080}]
    readinessProbe: {httpGet: {path: /trap, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: gated}
spec: {type: NodePort, selector: {app: gated}, ports: [{port: 80, targetPort: 8080}]}
";
    cluster.apply(manifest).await.ok();
    until(&cluster, "never-ready", "/status/phase", "Running").await;
    let service = cluster.object("/api/v1/namespaces/default/services/gated").await.unwrap();
    let url = format!("http://{}:{}/ok", cluster.node_ip, service["spec"]["ports"][0]["nodePort"]);
    let answer = wait_until(LIMIT, "the node port is open", async || get(&url).await).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    let events = wait_until(LIMIT, "an event tells of the probe", async || {
        let events = cluster.pal("get events").await.stdout;
        if events.contains("Unhealthy") { Ok(events) } else { Err(events) }
    })
    .await;
    assert!(events.contains("never-ready"), "{events}");
    cluster.stop().await;
}
