//! kubectl, driven as its users drive it.

use std::time::Duration;

use pal_tests::{Cluster, Kubectl, get, wait_until};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{LIMIT, pal, repository};

/// A cluster and a kubectl for it; none where there is no kubectl, which was said then.
pub async fn cluster() -> Option<(Cluster, Kubectl)> {
    Kubectl::find("nowhere".into())?;
    let cluster = pal().up(&[]).await;
    let kubectl = cluster.kubectl()?;
    Some((cluster, kubectl))
}

pub fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

/// A Deployment of the example as plain kubectl can send it: its image is in the cluster's registry already.
async fn deployment(cluster: &Cluster, name: &str, replicas: u32) -> String {
    let app = repository("examples/hello/hello.wasm");
    cluster.pal(&format!("run image-source --image {app}")).await.ok();
    let source = cluster.object("/apis/apps/v1/namespaces/default/deployments/image-source").await.unwrap();
    let image = source["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: web, image: \"{image}\", ports: [{{containerPort: 8080}}]}}]
"
    )
}

#[tokio::test]
async fn reading_and_discovery() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    has(&kubectl.ok("version").await, &["Server Version: v1.36.", "+pal"]);
    let resources = kubectl.ok("api-resources").await;
    for line in ["pods", "services", "deployments", "endpointslices", "leases", "certificatesigningrequests", "events"]
    {
        has(&resources, &[line]);
    }
    has(&kubectl.ok("get nodes").await, &["Ready", "v1.36."]);
    has(&kubectl.ok("get nodes -o wide").await, &["INTERNAL-IP"]);
    has(&kubectl.ok("get ns").await, &["default", "kube-system", "kube-public", "kube-node-lease"]);
    has(&kubectl.ok("get svc kubernetes -o jsonpath={.spec.clusterIP}").await, &["10.96.0.1"]);
    let shown = "get pods -n kube-system -l tier=control-plane --no-headers --field-selector=status.phase=Running";
    let both = until(&kubectl, shown, "metrics-server-").await;
    let own = until(&kubectl, shown, "palinurus-").await;
    has(&both, &["1/1", "Running"]);
    let name = own.split_whitespace().find(|word| word.starts_with("palinurus-")).expect("a name").to_owned();
    let uid = format!("get pod -n kube-system {name} -o jsonpath={{.metadata.uid}}");
    let first = kubectl.ok(&uid).await;
    kubectl.ok(&format!("delete pod -n kube-system {name}")).await;
    until(&kubectl, shown, &format!("{name} ")).await;
    assert_ne!(kubectl.ok(&uid).await, first, "the process runs, so it is shown again");
    has(&kubectl.ok(&format!("logs -n kube-system {name}")).await, &["control plane is ready at https://"]);
    has(&kubectl.ok(&format!("logs -n kube-system {name} --tail=1 --timestamps")).await, &["Z node ", " is running"]);
    has(
        &kubectl.run(&format!("logs -n kube-system {name} --previous")).await.refused(),
        &["previous terminated container \"palinurus\""],
    );
    has(&kubectl.run(&format!("exec -n kube-system {name} -- ls")).await.refused(), &["runs no other programs"]);
    has(&kubectl.run(&format!("port-forward -n kube-system {name} :80")).await.refused(), &["nothing to forward to"]);
    for kind in "ns,no,po,svc,endpointslices,cm,secrets,sa,events,leases,deploy,rs,csr".split(',') {
        for format in ["", "-o wide", "-o yaml", "-o json", "-o name"] {
            kubectl.ok(&format!("get {kind} -A {format}")).await;
        }
    }
    wait_until(LIMIT, "the default service account", async || {
        let run = kubectl.run("get sa default").await;
        if run.code == Some(0) { Ok(()) } else { Err(run.stderr) }
    })
    .await;
    has(&kubectl.ok("get cm kube-root-ca.crt -o yaml").await, &["BEGIN CERTIFICATE"]);
    has(&kubectl.run("get pod nothing").await.refused(), &["pods \"nothing\" not found"]);
    has(&kubectl.ok("cluster-info").await, &["is running at"]);
    cluster.stop().await;
}

#[tokio::test]
async fn generators_send_protobuf_and_are_understood() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    for line in [
        "create namespace made",
        "create configmap cm --from-literal=a=1 --from-literal=b=2",
        "create secret generic s --from-literal=word=sesame",
        "create serviceaccount sa",
        "create deployment d --image=pal.local/none --replicas=0 --port=80",
        "create service clusterip cip --tcp=80:8080",
        "create service nodeport np --tcp=80:8080",
    ] {
        has(&kubectl.ok(line).await, &["created"]);
    }
    assert_eq!(kubectl.ok("get cm cm -o jsonpath={.data.a}{.data.b}").await, "12");
    assert_eq!(kubectl.ok("get secret s -o jsonpath={.data.word}").await, "c2VzYW1l");
    assert_eq!(
        kubectl.ok("get deploy d -o jsonpath={.spec.template.spec.containers[0].ports[0].containerPort}").await,
        "80"
    );
    has(&kubectl.run("create configmap cm").await.refused(), &["configmaps \"cm\" already exists"]);
    has(&kubectl.ok("delete ns made").await, &["deleted"]);
    cluster.stop().await;
}

/// A server without nodes, for what needs none.
async fn server() -> Option<(Cluster, Kubectl)> {
    let cluster = pal().server(&[]).await;
    let kubectl = cluster.kubectl()?;
    Some((cluster, kubectl))
}

#[tokio::test]
async fn every_generator_makes_its_object_and_every_kind_is_explained() {
    let Some((cluster, kubectl)) = server().await else { return };
    for line in [
        "clusterrole reader --verb=get,list --resource=pods,deployments.apps",
        "clusterrolebinding readers --clusterrole=reader --user=jane",
        "role reader --verb=get --resource=pods --resource-name=a",
        "rolebinding readers --role=reader --serviceaccount=default:default",
        "cronjob often --image=pal.local/none --schedule=*/5_*_*_*_*",
        "job once --image=pal.local/none -- true",
        "ingress front --rule=example.org/path=web:80",
        "poddisruptionbudget budget --selector=a=b --min-available=1",
        "priorityclass high --value=100",
        "quota few --hard=pods=20",
        "secret docker-registry login --docker-server=example.org --docker-username=a --docker-password=b",
        "service externalname other --external-name=example.org",
        "service loadbalancer balanced --tcp=80",
        "deployment web --image=pal.local/none",
    ] {
        let words: Vec<String> =
            format!("create {line}").split_whitespace().map(|word| word.replace('_', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        has(&kubectl.words(&words, "").await.ok(), &["created"]);
    }
    has(&kubectl.ok("autoscale deploy web --max=3 --cpu=50%").await, &["autoscaled"]);
    assert_eq!(kubectl.ok("create token default").await.matches('.').count(), 2);
    for kind in kubectl.ok("api-resources --no-headers -o name").await.lines() {
        // A name that the core group has too is taken for that, and what follows for a field.
        let line = match kind {
            "events.events.k8s.io" => "events --api-version=events.k8s.io/v1",
            "nodes.metrics.k8s.io" => "nodes --api-version=metrics.k8s.io/v1beta1",
            "pods.metrics.k8s.io" => "pods --api-version=metrics.k8s.io/v1beta1",
            kind => kind,
        };
        has(&kubectl.ok(&format!("explain {line} --recursive")).await, &["KIND:", "VERSION:", "FIELDS:", "metadata"]);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn what_nodes_use_is_shown_and_described() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    wait_until(LIMIT, "the node says what it uses", async || {
        let run = kubectl.run("get nodes.metrics.k8s.io").await;
        if run.stdout.contains("CPU") { Ok(()) } else { Err(format!("{run:?}")) }
    })
    .await;
    let table = kubectl.ok("get nodes.metrics.k8s.io").await;
    has(&table, &["NAME", "CPU", "MEMORY", "WINDOW", "Ki"]);
    has(
        &kubectl.ok("get --raw /apis/metrics.k8s.io/v1beta1/nodes").await,
        &["NodeMetricsList", "\"usage\"", "\"window\""],
    );
    has(&kubectl.ok("top nodes").await, &["CPU(cores)", "MEMORY(bytes)"]);
    let described = kubectl.ok("get --raw /openapi/v3/apis/metrics.k8s.io/v1beta1").await;
    has(
        &described,
        &["io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", "/apis/metrics.k8s.io/v1beta1/nodes/{name}"],
    );
    has(&kubectl.ok("get --raw /openapi/v2").await, &["io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetricsList"]);
    cluster.stop().await;
}

#[tokio::test]
async fn edit_diff_set_taint_replace_prune_and_kustomize() {
    let Some((cluster, kubectl)) = server().await else { return };
    let config = |name: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: x}}}}\ndata: {{a: {value:?}}}\n---\n"
        )
    };
    let prune = "apply --prune -l set=x --prune-allowlist=core/v1/ConfigMap";
    kubectl.with_manifest(prune, &(config("one", "1") + &config("two", "1"))).await;
    has(&kubectl.with_manifest(prune, &config("one", "1")).await, &["configmap/one unchanged", "configmap/two pruned"]);

    let diff = kubectl.words(&["diff", "-f", "-"], &config("one", "2")).await;
    assert_eq!(diff.code, Some(1), "{}", diff.stderr);
    has(&diff.stdout, &["-  a: \"1\"", "+  a: \"2\""]);
    let mut edit = kubectl.command("edit configmap one");
    let editor = r#"sed -i 's/a: "1"/a: "3"/'"#;
    let edited = edit.env("KUBE_EDITOR", editor).output().await.expect("kubectl runs");
    has(&String::from_utf8_lossy(&edited.stdout), &["configmap/one edited"]);
    assert_eq!(kubectl.ok("get configmap one -o jsonpath={.data.a}").await, "3");
    let before = kubectl.ok("get configmap one -o jsonpath={.metadata.uid}").await;
    has(&kubectl.with_manifest("replace --force", &config("one", "4")).await, &["replaced"]);
    assert_ne!(kubectl.ok("get configmap one -o jsonpath={.metadata.uid}").await, before);

    kubectl.ok("create deployment web --image=pal.local/none --replicas=0").await;
    for (line, said) in [
        ("set image deploy/web none=pal.local/other", "image updated"),
        ("set env deploy/web COLOUR=blue", "env updated"),
        ("set resources deploy/web --limits=memory=64Mi", "resource requirements updated"),
        ("set serviceaccount deploy/web default", "serviceaccount updated"),
        ("rollout pause deploy/web", "paused"),
        ("rollout resume deploy/web", "resumed"),
    ] {
        has(&kubectl.ok(line).await, &[said]);
    }
    let container = "get deploy web -o jsonpath={.spec.template.spec.containers[0]";
    assert_eq!(kubectl.ok(&format!("{container}.image}}")).await, "pal.local/other");
    assert_eq!(kubectl.ok(&format!("{container}.env[0].value}}")).await, "blue");
    let node = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "far"}}"#;
    kubectl.with_manifest("create", node).await;
    has(&kubectl.ok("taint node far colour=blue:NoSchedule").await, &["tainted"]);
    has(&kubectl.run("taint node far colour=red:NoSchedule").await.refused(), &["already has colour taint(s)"]);
    has(&kubectl.ok("taint node far colour-").await, &["untainted"]);

    let kustomization = cluster.dir.path().join("kustomization");
    std::fs::create_dir(&kustomization).expect("a directory");
    let text = "namePrefix: my-\nconfigMapGenerator: [{name: made, literals: [a=b]}]\n";
    std::fs::write(kustomization.join("kustomization.yaml"), text).expect("written");
    has(&kubectl.ok(&format!("apply -k {}", kustomization.display())).await, &["configmap/my-made-", "created"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_rollout_from_apply_to_undo() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    let manifest = deployment(&cluster, "web", 3).await;
    has(&kubectl.with_manifest("apply", &manifest).await, &["deployment.apps/web created"]);
    has(&kubectl.ok("rollout status deploy/web --timeout=60s").await, &["successfully rolled out"]);
    has(&kubectl.with_manifest("apply", &manifest).await, &["deployment.apps/web unchanged"]);
    has(&kubectl.ok("get deploy web").await, &["3/3"]);
    has(&kubectl.ok("get pods -l app=web -o wide").await, &["Running", "100.64."]);
    has(&kubectl.ok("get pods -l app=web --field-selector=status.phase=Running -o name").await, &["pod/web-"]);

    has(&kubectl.ok("scale deploy/web --replicas=5").await, &["scaled"]);
    has(&kubectl.ok("wait --for=jsonpath={.status.readyReplicas}=5 deploy/web --timeout=60s").await, &["met"]);
    has(&kubectl.ok("rollout restart deploy/web").await, &["restarted"]);
    has(&kubectl.ok("rollout status deploy/web --timeout=60s").await, &["successfully rolled out"]);
    let changed = manifest.replace("ports: [", "env: [{name: GENERATION, value: two}], ports: [");
    has(&kubectl.with_manifest("apply", &changed).await, &["configured"]);
    kubectl.ok("rollout status deploy/web --timeout=60s").await;
    has(&kubectl.ok("rollout history deploy/web").await, &["REVISION", "3"]);
    has(&kubectl.ok("get deploy web -o yaml").await, &["GENERATION"]);
    has(&kubectl.ok("rollout undo deploy/web").await, &["rolled back"]);
    kubectl.ok("rollout status deploy/web --timeout=60s").await;
    assert!(!kubectl.ok("get deploy web -o jsonpath={.spec.template}").await.contains("GENERATION"));
    has(&kubectl.ok("describe deploy web").await, &["RollingUpdate", "ScalingReplicaSet", "NewReplicaSet"]);
    has(&kubectl.ok("expose deploy web --port=80 --target-port=8080").await, &["exposed"]);
    wait_until(LIMIT, "endpoints of the Service", async || {
        let text = kubectl
            .ok("get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].addresses}")
            .await;
        if text.contains("100.64.") { Ok(()) } else { Err(text) }
    })
    .await;
    has(&kubectl.ok("describe svc web").await, &["Endpoints", "10.96."]);

    has(&kubectl.ok("delete deploy web --cascade=orphan").await, &["deleted"]);
    has(&kubectl.ok("get rs -l app=web -o name").await, &["replicaset.apps/web-"]);
    kubectl.ok("delete rs -l app=web").await;
    wait_until(LIMIT, "the garbage collector took the pods", async || {
        let left = kubectl.ok("get pods -l app=web -o name").await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    cluster.stop().await;
}

/// Waits until kubectl prints that.
async fn until(kubectl: &Kubectl, line: &str, part: &str) -> String {
    wait_until(LIMIT, &format!("{part} of kubectl {line}"), async || {
        let ran = kubectl.run(line).await;
        if ran.stdout.contains(part) { Ok(ran.stdout) } else { Err(format!("{}{}", ran.stdout, ran.stderr)) }
    })
    .await
}

#[tokio::test]
async fn endpoints_by_hand_jobs_that_come_due_and_a_token_in_a_secret() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    let manifest = deployment(&cluster, "web", 1).await;
    kubectl.with_manifest("apply", &manifest).await;
    kubectl.ok("expose deploy web --port=80 --target-port=8080").await;
    until(&kubectl, "get endpoints web", ":8080").await;
    let ip = kubectl.ok("get pods -l app=web -o jsonpath={.items[0].status.podIP}").await;
    let by_hand = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: by-hand}}
spec: {{type: NodePort, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: by-hand}}
subsets: [{{addresses: [{{ip: {ip}}}], ports: [{{port: 8080}}]}}]
"
    );
    kubectl.with_manifest("apply", &by_hand).await;
    until(&kubectl, "get endpointslices -l kubernetes.io/service-name=by-hand", "8080").await;
    let port = kubectl.ok("get svc by-hand -o jsonpath={.spec.ports[0].nodePort}").await;
    let url = format!("http://{}:{port}/", cluster.node_ip);
    wait_until(LIMIT, "the pod answers behind the Endpoints written by hand", async || {
        let answer = get(&url).await?;
        if answer.status.is_success() { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    kubectl.ok("delete svc web by-hand").await;
    // One Service is of the Deployment that brought the image.
    until(&kubectl, "get endpoints -o jsonpath=({.items[*].metadata.name})", "(image-source kubernetes)").await;

    kubectl
        .words(&["create", "cronjob", "tick", "--image=busybox", "--schedule=@every 1s", "--", "true"], "")
        .await
        .ok();
    until(&kubectl, "get jobs", "Complete").await;
    has(&kubectl.ok("get cronjobs").await, &["@every 1s"]);
    kubectl.ok("create job --from=cronjob/tick once").await;
    kubectl.ok("wait --for=condition=complete job/once --timeout=60s").await;
    has(&kubectl.ok("describe cronjob tick").await, &["SuccessfulCreate", "Last Schedule Time"]);
    kubectl.ok("delete cronjob tick").await;

    kubectl.ok("create serviceaccount bot").await;
    let secret = "apiVersion: v1
kind: Secret
metadata: {name: bot, annotations: {kubernetes.io/service-account.name: bot}}
type: kubernetes.io/service-account-token
";
    kubectl.with_manifest("apply", secret).await;
    let token = until(&kubectl, "get secret bot -o go-template={{.data.token|base64decode}}", "ey").await;
    // A token counts only where no certificate does.
    let server = kubectl.ok("config view -o jsonpath={.clusters[0].cluster.server}").await;
    let as_bot = format!("--kubeconfig=/dev/null --server={server} --insecure-skip-tls-verify --token={token}");
    has(&kubectl.ok(&format!("auth whoami {as_bot}")).await, &["system:serviceaccount:default:bot"]);
    has(&kubectl.ok("auth whoami").await, &["authentication.kubernetes.io/credential-id", "[X509SHA256="]);
    has(&kubectl.ok("get secret bot -o jsonpath={.metadata.labels}").await, &["kubernetes.io/legacy-token-last-used"]);
    kubectl.ok("delete serviceaccount bot").await;
    until(&kubectl, "get secrets -o jsonpath=({.items[*].metadata.name})", "()").await;
    cluster.stop().await;
}

#[tokio::test]
async fn small_changes_by_every_verb() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    kubectl.ok("create configmap c --from-literal=a=1").await;
    has(&kubectl.ok("label cm c colour=blue").await, &["labeled"]);
    has(&kubectl.ok("annotate cm c note=x").await, &["annotated"]);
    has(&kubectl.ok("get cm -l colour=blue -o name").await, &["configmap/c"]);
    has(&kubectl.words(&["patch", "cm", "c", "-p", r#"{"data":{"b":"2"}}"#], "").await.ok(), &["patched"]);
    has(
        &kubectl.words(&["patch", "cm", "c", "--type=merge", "-p", r#"{"data":{"a":null}}"#], "").await.ok(),
        &["patched"],
    );
    let json = r#"[{"op":"add","path":"/data/c","value":"3"}]"#;
    has(&kubectl.words(&["patch", "cm", "c", "--type=json", "-p", json], "").await.ok(), &["patched"]);
    assert_eq!(kubectl.ok("get cm c -o jsonpath={.data}").await, r#"{"b":"2","c":"3"}"#);
    let whole = kubectl.ok("get cm c -o yaml").await;
    has(&kubectl.with_manifest("replace", &whole.replace("\"3\"", "\"4\"")).await, &["replaced"]);
    has(&kubectl.words(&["replace", "-f", "-"], &whole).await.refused(), &["the object has been modified"]);
    kubectl.ok("delete cm c").await;

    let node = kubectl.ok("get nodes -o jsonpath={.items[0].metadata.name}").await;
    has(&kubectl.ok(&format!("cordon {node}")).await, &["cordoned"]);
    has(&kubectl.ok("get nodes").await, &["SchedulingDisabled"]);
    has(&kubectl.ok("run lonely --image=pal.local/none").await, &["created"]);
    wait_until(LIMIT, "an event says why the pod does not fit", async || {
        let events = kubectl.ok("events").await;
        if events.contains("0/1 nodes are available") && events.contains("unschedulable") {
            Ok(())
        } else {
            Err(events)
        }
    })
    .await;
    has(&kubectl.ok("describe pod lonely").await, &["FailedScheduling"]);
    has(&kubectl.ok(&format!("uncordon {node}")).await, &["uncordoned"]);
    has(&kubectl.run("exec lonely -- ls").await.refused(), &["not"]);
    has(&kubectl.ok("delete pod lonely --wait=true --timeout=60s").await, &["deleted"]);
    cluster.stop().await;
}

#[tokio::test]
async fn logs_follow_tail_and_look_back() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    cluster.pal(&format!("apply -f {} --wait", repository("examples/ticker/ticker.yaml"))).await.ok();
    let mut follow = kubectl.command("logs -f deploy/ticker").spawn().expect("kubectl starts");
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines();
    for _ in 0..3 {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.expect("a line in time");
        assert!(line.expect("text").is_some(), "the log goes on");
    }
    follow.kill().await.expect("kubectl is ours");
    assert_eq!(kubectl.ok("logs deploy/ticker --tail=2").await.lines().count(), 2);
    let stamped = kubectl.ok("logs deploy/ticker --tail=1 --timestamps").await;
    assert!(stamped.starts_with("20") && stamped.contains('T'), "{stamped}");
    kubectl.ok("logs deploy/ticker --since=1h").await;
    has(&kubectl.run("logs deploy/ticker --previous").await.refused(), &["previous terminated container"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_shows_changes_as_they_happen() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    let mut watch = kubectl.command("get cm -w --no-headers -o name").spawn().expect("kubectl starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    kubectl.ok("create configmap seen").await;
    let seen = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line == "configmap/seen" {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), seen).await.expect("in time"));
    watch.kill().await.expect("kubectl is ours");
    cluster.stop().await;
}
