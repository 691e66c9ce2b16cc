//! Manifests as the world writes them: images `busybox`, `nginx` and `pause`, commands, probes and hooks.

use http::StatusCode;
use pal_tests::{Kubectl, get, wait_until};

use crate::pods::{pod, until};
use crate::{LIMIT, pal};

fn busybox(name: &str, fields: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: test
    image: busybox:1.36
{fields}---
"
    )
}

/// Fields and patterns, variables, functions and arrays, formats.
const AWK: &str = r#"printf 'a\nb\n' > /tmp/f; wc -l /tmp/f | awk {'print $1'}
printf 'a 3\nb 4\n' | awk '{ sum += $2 } /b/ { last = $1 } END { print sum, last }'
awk -F: 'function twice(n) { return n * 2 } BEGIN { split("x:y", p, ":"); print p[1], twice(4) }'
awk 'BEGIN { printf "%05d|%.2f\n", 42, 5 / 2 }'
"#;

/// Asks the API without a token and with the pod's own, which may not.
const API: &str = r#"wget -qO- https://kubernetes/version | grep -c gitVersion
token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)
curl -s -H "Authorization: Bearer $token" https://kubernetes.default.svc/api/v1/nodes | grep -c serviceaccount:default:default
"#;

/// Where volumes and files of them are mounted to be read.
const FIXED: &str = "    command: [sh, -c, 'df / | wc -l; touch /fixed/x; echo x > /ca.crt; rm /ca.crt']
    volumeMounts:
    - {name: own, mountPath: /fixed, readOnly: true}
    - {name: ca, mountPath: /ca.crt, subPath: ca.crt}
  volumes: [{name: own, emptyDir: {}}, {name: ca, configMap: {name: kube-root-ca.crt}}]
";

#[tokio::test]
async fn pods_with_a_shell_run_as_containers_do() {
    let cluster = pal().up(&[]).await;
    let all = [
        busybox("script", "    command: [sh, -c, 'echo hi from $HOSTNAME; cat /etc/hostname; exit 3']\n"),
        busybox("words", "    args: [echo, a, b]\n"),
        busybox("path", "    command: [/bin/sh]\n    args: [-c, 'touch /tmp/x && ls /tmp && seq 2']\n"),
        busybox("missing", "    command: [nosuch]\n"),
        busybox("nothing", ""),
        busybox("waits", "    command: [sleep, infinity]\n"),
        busybox("dir", "    command: [pwd]\n    workingDir: /work/deep\n"),
        busybox("asks", &format!("    command: [sh, -c, {}]\n", serde_json::json!(API))),
        busybox("awk", &format!("    command: [sh, -c, {}]\n", serde_json::json!(AWK))),
        busybox("fixed", FIXED),
        busybox(
            "dd",
            "    command: [sh, -c, 'dd if=/dev/zero bs=1k count=3 status=none | wc -c; printf abc | md5sum']\n",
        ),
    ];
    cluster.apply(&all.concat()).await.ok();
    for (name, phase, code, printed) in [
        ("script", "Failed", 3, "hi from script\nscript\n"),
        (
            "fixed",
            "Failed",
            1,
            "2\ntouch: '/fixed/x': Read-only file system\nsh: can't create /ca.crt: Read-only file system\n\
             rm: can't remove '/ca.crt': Device or resource busy\n",
        ),
        ("words", "Succeeded", 0, "a b\n"),
        ("path", "Succeeded", 0, "x\n1\n2\n"),
        ("missing", "Failed", 127, "exec: \"nosuch\": executable file not found in $PATH\n"),
        ("nothing", "Succeeded", 0, ""),
        ("dir", "Succeeded", 0, "/work/deep\n"),
        ("asks", "Succeeded", 0, "1\n1\n"),
        ("awk", "Succeeded", 0, "2\n7 b\nx 8\n00042|2.50\n"),
        ("dd", "Succeeded", 0, "3072\n900150983cd24fb0d6963f7d28e17f72  -\n"),
    ] {
        let ended = until(&cluster, name, "/status/phase", phase).await;
        assert_eq!(ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], code, "{ended}");
        assert_eq!(cluster.pal(&format!("logs {name}")).await.ok(), printed, "{name}");
    }
    let waits = until(&cluster, "waits", "/status/phase", "Running").await;
    let id = waits["status"]["containerStatuses"][0]["imageID"].as_str().unwrap_or_default().to_owned();
    assert!(id.starts_with("pal.local/busybox@sha256:"), "{id}");
    cluster.stop().await;
}

#[tokio::test]
async fn probes_and_hooks_run_programs_in_the_container() {
    let cluster = pal().up(&[]).await;
    let probed = "    command: [sh, -c, 'touch /tmp/healthy; sleep 3; rm /tmp/healthy; sleep 600']
    livenessProbe:
      exec: {command: [cat, /tmp/healthy]}
      periodSeconds: 1
      failureThreshold: 1
      timeoutSeconds: 30
    lifecycle:
      postStart: {exec: {command: [sh, -c, 'echo $HOSTNAME > /shared/started']}}
      preStop: {exec: {command: [sh, -c, 'echo bye > /shared/stopped']}}
    volumeMounts: [{name: shared, mountPath: /shared}]
  - name: looks
    image: alpine
    command: [sh, -c, 'until [ -f /shared/started ]; do sleep 0.1; done; cat /shared/started; until [ -f /shared/stopped ]; do sleep 0.1; done; cat /shared/stopped; sleep 600']
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
";
    let manifest = busybox("probed", probed).replace("Never", "Always");
    cluster.apply(&manifest).await.ok();
    wait_until(LIMIT, "the container is restarted", async || {
        let pod = pod(&cluster, "probed").await?;
        let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let test = statuses.iter().find(|c| c["name"] == "test");
        match test.and_then(|c| c["restartCount"].as_i64()) {
            Some(1..) => Ok(()),
            _ => Err(pod["status"].to_string()),
        }
    })
    .await;
    wait_until(LIMIT, "both hooks have run", async || {
        let logs = cluster.pal("logs probed -c looks").await.ok();
        if logs == "probed\nbye\n" { Ok(()) } else { Err(logs) }
    })
    .await;
    let told = "Liveness probe failed: cat: can't open '/tmp/healthy': No such file or directory";
    wait_until(LIMIT, "the event is there", async || {
        let events = cluster.pal("get events").await.ok();
        if events.contains(told) { Ok(()) } else { Err(events) }
    })
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn nginx_serves_its_welcome_page_and_what_a_volume_puts_in_its_place() {
    let cluster = pal().up(&[]).await;
    let server = |name: &str, more: &str| {
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
      - {{name: nginx, image: 'nginx:1.29'{more}}}
      volumes: [{{name: page, configMap: {{name: page}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: NodePort, selector: {{app: {name}}}, ports: [{{port: 80}}]}}
---
"
        )
    };
    let page = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page}\ndata: {index.html: <h1>own</h1>}\n---\n";
    let mounted = ", volumeMounts: [{name: page, mountPath: /usr/share/nginx/html}]";
    let asks =
        busybox("asks", "    command: [sh, -c, 'until wget -qO- http://plain | grep title; do sleep 0.2; done']\n");
    let pause = busybox("idle", "").replace("busybox:1.36", "registry.k8s.io/pause:3.10");
    cluster.apply(&[page, &server("plain", ""), &server("own", mounted), &asks, &pause].concat()).await.ok();
    for (name, text) in [("plain", "<title>Welcome to nginx!</title>"), ("own", "<h1>own</h1>")] {
        let service = cluster.object(&format!("/api/v1/namespaces/default/services/{name}")).await.unwrap();
        let url = format!("http://{}:{}", cluster.node_ip, service["spec"]["ports"][0]["nodePort"]);
        wait_until(LIMIT, "the page", async || match get(&url).await {
            Ok(answer) if answer.status == StatusCode::OK && answer.body.contains(text) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let missing = get(&format!("{url}/nope")).await.unwrap();
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
    }
    until(&cluster, "asks", "/status/phase", "Succeeded").await;
    let logs = cluster.pal("logs asks").await.ok();
    assert_eq!(logs.trim(), "<title>Welcome to nginx!</title>");
    until(&cluster, "idle", "/status/phase", "Running").await;
    cluster.stop().await;
}

#[tokio::test]
async fn what_kubernetes_own_tests_run_in_pods_runs() {
    let cluster = pal().up(&[]).await;
    let agnhost = |name: &str, args: &str, more: &str| {
        let image = busybox(name, &format!("    args: [{args}]\n{more}"));
        image.replace("busybox:1.36", "registry.k8s.io/e2e-test-images/agnhost:2.53")
    };
    let mounted = "    volumeMounts: [{name: v, mountPath: /v}]\n  volumes:\n  - name: v\n    configMap: {name: c, defaultMode: 0400}\n";
    let memory = "    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, emptyDir: {medium: Memory}}]\n";
    let asks = "    command: [sh, -c, 'until curl -sf http://net:8080/hostname; do sleep 0.2; done; \
                curl -s \"http://net:8080/echo?msg=hi&code=404\"; nc -z net 8080 && nc -z net 81 2>/dev/null || echo shut; \
                printf \"GET /hostname HTTP/1.1\\r\\n\\r\\n\" | nc net 8080 | tail -n 1; \
                echo hi | nc net 8080 | head -n 1; curl -s http://net:8080/exit?code=4']\n";
    let all = [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: value}\n---\n".to_owned(),
        "apiVersion: v1\nkind: Service\nmetadata: {name: net}\nspec: {selector: {app: net}, ports: [{port: 8080}]}\n---\n"
            .to_owned(),
        agnhost("mode", "mounttest, --file_content=/v/k, --file_mode=/v/k", mounted),
        agnhost("memory", "mounttest, --fs_type=/v, --new_file_0666=/v/f, --file_perm=/v/f", memory),
        agnhost("words", "entrypoint-tester, a, b", ""),
        agnhost("net", "netexec", "    ports: [{containerPort: 8080}]\n").replace("{name: net}", "{name: net, labels: {app: net}}"),
        busybox("asks", asks),
    ];
    cluster.apply(&all.concat()).await.ok();
    for (name, code, printed) in [
        ("mode", 0, "mode of file \"/v/k\": -r--------\ncontent of file \"/v/k\": value\n"),
        (
            "memory",
            0,
            "mount type of \"/v\": tmpfs\ncontent of file \"/v/f\": mount-tester new file\n\nperms of file \"/v/f\": -rw-rw-rw-\n",
        ),
        ("words", 0, "[/agnhost entrypoint-tester a b]\n"),
        ("asks", 0, "nethishut\nnetHTTP/1.1 400 Bad Request"),
        ("net", 4, "Started netexec on port 8080\n"),
    ] {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let ended = until(&cluster, name, "/status/phase", phase).await;
        assert_eq!(ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], code, "{ended}");
        let logs = cluster.pal(&format!("logs {name}")).await.ok();
        assert!(logs.starts_with(printed), "{name}: {logs}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn kubectl_runs_programs_in_containers_and_copies_files() {
    if Kubectl::find("nowhere".into()).is_none() {
        return;
    }
    let cluster = pal().up(&[]).await;
    let kubectl = cluster.kubectl().expect("it was found");
    cluster.apply(&busybox("waits", "    command: [sh, -c, 'echo up; sleep infinity']\n")).await.ok();
    until(&cluster, "waits", "/status/phase", "Running").await;

    let script = ["exec", "waits", "--", "sh", "-c", "echo out; echo err >&2; exit 3"];
    let ran = kubectl.words(&script, "").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "out\n"), "{ran:?}");
    assert!(ran.stderr.starts_with("err\n") && ran.stderr.contains("exit code 3"), "{ran:?}");
    let typed = ["exec", "-i", "waits", "--", "sh", "-c", "cat > /tmp/in; wc -c < /tmp/in"];
    assert_eq!(kubectl.words(&typed, "hello").await.stdout, "5\n");
    let none = kubectl.words(&["exec", "waits", "--", "nosuch"], "").await;
    assert!(none.code != Some(0), "{none:?}");
    assert!(none.stderr.contains("exec: \"nosuch\": executable file not found in $PATH"), "{none:?}");

    let dir = tempfile::tempdir().expect("a directory");
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    std::fs::write(&there, "copied\n").expect("a file");
    let path = |path: &std::path::Path| path.to_str().expect("plain text").to_owned();
    kubectl.ok(&format!("cp {} waits:/tmp/copied", path(&there))).await;
    assert_eq!(kubectl.ok("exec waits -- cat /tmp/copied").await, "copied\n");
    kubectl.ok(&format!("cp waits:/tmp/copied {}", path(&back))).await;
    assert_eq!(std::fs::read_to_string(&back).expect("it came back"), "copied\n");

    // A container that comes later sees the other one's files.
    let look = "head -n 1; cat /proc/1/root/tmp/copied; exit 4";
    let debug = ["debug", "waits", "-iq", "--image=busybox", "--target=test", "-c", "later", "--", "sh", "-c", look];
    assert_eq!(kubectl.words(&debug, "typed\n").await.ok(), "typed\ncopied\n");
    let pod = until(&cluster, "waits", "/status/ephemeralContainerStatuses/0/state/terminated/exitCode", "4").await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(kubectl.ok("logs waits -c later").await, "typed\ncopied\n");
    cluster.stop().await;
}
