//! Quotas, limits and what else in the cluster has a say in a write.

use std::time::Duration;

use pal_registry::{DeleteOptions, Registry, Warnings, WriteOptions};
use pal_store::{Store, StoreConfig};
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_test, config_map, of, pod};

fn quota(hard: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
}

fn sized(name: &str, cpu: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

async fn used(cluster: &Cluster) -> Value {
    cluster.value("resourcequotas", "q").await["status"]["used"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creates_at_once_as_many_happen_as_fit() {
    let cluster = Cluster::start().await;
    // Two quotas, of which one transaction tells one its numbers.
    cluster.create("resourcequotas", quota(json!({"count/configmaps": "10"}))).await.expect("created");
    let mut other = quota(json!({"configmaps": "7", "pods": "3"}));
    other["metadata"]["name"] = "r".into();
    cluster.create("resourcequotas", other).await.expect("created");
    let creates = (0..40).map(|index| {
        let registry = cluster.registry.clone();
        tokio::spawn(async move {
            let body = config_map(&format!("c{index}"), "1");
            registry.create(&of("configmaps"), Some("default"), body, &by_test()).await
        })
    });
    let mut made = 0;
    for create in creates.collect::<Vec<_>>() {
        match create.await.expect("no panic") {
            Ok(_) => made += 1,
            Err(status) => {
                let refusal = "is forbidden: exceeded quota: r, requested: configmaps=1, used: configmaps=7, limited: \
                               configmaps=7";
                assert!(status.message.ends_with(refusal), "{}", status.message);
            }
        }
    }
    assert_eq!(made, 7);
    assert_eq!(used(&cluster).await, json!({"count/configmaps": "7"}));
    // What is deleted makes room at once, also before it is counted.
    let gone = (0..40).map(|index| format!("c{index}"));
    let mut left = 0;
    for name in gone {
        let deleted = cluster.delete("configmaps", &name, &DeleteOptions::default()).await;
        left += usize::from(deleted.is_ok());
        if left == 1 {
            break;
        }
    }
    cluster.create("configmaps", config_map("again", "1")).await.expect("there is room");
    let status = cluster.create("configmaps", config_map("more", "1")).await.expect_err("there is no more");
    assert_eq!(status.code, 403);
}

#[tokio::test]
async fn a_quota_counts_what_was_there_and_what_grows() {
    let cluster = Cluster::start().await;
    cluster.create("pods", sized("before", "1")).await.expect("created");
    cluster.create("pods", pod("mute")).await.expect("created");
    cluster.create("resourcequotas", quota(json!({"pods": "3", "requests.cpu": "2"}))).await.expect("created");
    // What was there before and says nothing may change, as long as it takes no more.
    let debugger = json!({"spec": {"ephemeralContainers": [
        {"name": "d", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}
    ]}});
    cluster.merge("pods", Some("ephemeralcontainers"), "mute", debugger).await.expect("changed");
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    cluster.delete("pods", "mute", &now).await.expect("deleted");
    let refused = |status: pal_resources::Status| status.message;
    let outcome = cluster.create("pods", pod("silent")).await.map(drop).map_err(refused);
    let refusal = "pods \"silent\" is forbidden: failed quota: q: must specify requests.cpu for: main";
    assert_eq!(outcome, Err(refusal.to_owned()));
    cluster.create("pods", sized("fits", "750m")).await.expect("fits");
    assert_eq!(used(&cluster).await, json!({"pods": "2", "requests.cpu": "1750m"}));
    let outcome = cluster.create("pods", sized("big", "500m")).await.map(drop).map_err(refused);
    let refusal = "pods \"big\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: \
                   requests.cpu=1750m, limited: requests.cpu=2";
    assert_eq!(outcome, Err(refusal.to_owned()));

    // Raising the quota, and deleting what counts, are seen at once.
    let wider = json!({"spec": {"hard": {"requests.cpu": "4", "services.nodeports": "1"}}});
    cluster.merge("resourcequotas", None, "q", wider).await.expect("changed");
    cluster.create("pods", sized("big", "500m")).await.expect("fits now");
    cluster.delete("pods", "before", &now).await.expect("deleted");
    cluster.registry.recount_quotas("default").await.expect("counted");
    assert_eq!(used(&cluster).await, json!({"pods": "2", "requests.cpu": "1250m", "services.nodeports": "0"}));

    // An update that takes more is charged.
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}]}});
    cluster.create("services", service).await.expect("created");
    let opened = cluster.merge("services", None, "s", json!({"spec": {"type": "NodePort"}})).await;
    let refusal = "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: \
                   services.nodeports=0, limited: services.nodeports=1";
    assert_eq!(opened.map(drop).map_err(refused), Err(refusal.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_that_comes_meanwhile_is_not_overlooked() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = StoreConfig { dir: dir.path().to_owned(), ..StoreConfig::default() };
    let registry = Registry::new(Store::open(store).await.expect("the store opens"), Default::default());
    let namespace = json!({"metadata": {"name": "default"}});
    registry.create(&of("namespaces"), None, namespace, &by_test()).await.expect("a namespace");
    let creates = (0..30).map(|index| {
        let registry = registry.clone();
        tokio::spawn(async move {
            let (plural, body) = match index {
                10 => ("resourcequotas", quota(json!({"configmaps": "5"}))),
                _ => ("configmaps", config_map(&format!("c{index}"), "1")),
            };
            registry.create(&of(plural), Some("default"), body, &by_test()).await
        })
    });
    for create in creates.collect::<Vec<_>>() {
        let _ = create.await.expect("no panic");
    }
    tokio::time::timeout(Duration::from_secs(20), registry.recount_quotas("default"))
        .await
        .expect("in time")
        .expect("counted");
    let list = registry.list(&of("configmaps"), Some("default"), Default::default()).await.expect("a list");
    let quota = registry.get(&of("resourcequotas"), Some("default"), "q", Default::default()).await.expect("stored");
    let used = quota.value().expect("parses")["status"]["used"]["configmaps"].clone();
    assert_eq!(used, json!(list.items.len().to_string()));
    // Those that came before it may be more than it allows; none comes after.
    if list.items.len() >= 5 {
        let more = registry.create(&of("configmaps"), Some("default"), config_map("more", "1"), &by_test()).await;
        assert_eq!(more.map(drop).map_err(|status| status.code), Err(403));
    }
}

#[tokio::test]
async fn the_cluster_has_its_say_in_a_pod() {
    let cluster = Cluster::start().await;
    let limits =
        json!([{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "2"}}]);
    cluster
        .create("limitranges", json!({"metadata": {"name": "l"}, "spec": {"limits": limits}}))
        .await
        .expect("created");
    let class = json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
    cluster.create("priorityclasses", class).await.expect("created");
    let account = json!({"metadata": {"name": "a"}, "imagePullSecrets": [{"name": "s"}]});
    cluster.create("serviceaccounts", account).await.expect("created");

    let mut body = pod("p");
    body["spec"]["priorityClassName"] = "high".into();
    body["spec"]["serviceAccountName"] = "a".into();
    cluster.create("pods", body.clone()).await.expect("created");
    let stored = cluster.value("pods", "p").await;
    let spec = &stored["spec"];
    assert_eq!(spec["containers"][0]["resources"], json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}));
    let note = "LimitRanger plugin set: cpu request for container main; cpu limit for container main";
    assert_eq!(stored["metadata"]["annotations"]["kubernetes.io/limit-ranger"], note);
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(1000), &json!("Never")));
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));

    let check = async |change: Value, expected: &str| {
        let mut body = pod("x");
        body["spec"].as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let status = cluster.create("pods", body).await.expect_err("refused");
        assert_eq!((status.code, status.message), (403, format!("pods \"x\" is forbidden: {expected}")));
    };
    let greedy = json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "3"}}}]});
    check(greedy, "maximum cpu usage per Container is 2, but limit is 3").await;
    check(json!({"priorityClassName": "none"}), "no PriorityClass with name none was found").await;
    check(json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found").await;
    let missing = "error looking up service account default/none: serviceaccount \"none\" not found";
    check(json!({"serviceAccountName": "none"}), missing).await;
}

#[tokio::test]
async fn namespaces_say_which_pods_they_take() {
    let cluster = Cluster::start().await;
    let mut host = pod("host");
    host["spec"]["hostNetwork"] = true.into();
    cluster.create("pods", host.clone()).await.expect("nothing forbids it yet");
    let options = WriteOptions { warnings: Some(Warnings::default()), ..by_test() };
    let warned = || options.warnings.as_ref().expect("given").take();
    let namespaces = of("namespaces");
    let label = |level: &'static str| {
        let change = move |mut namespace: Value| {
            namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = level.into();
            Ok(namespace)
        };
        cluster.registry.modify(&namespaces, None, None, "default", change, &options)
    };
    label("baseline").await.expect("labelled");
    let head = "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"";
    assert_eq!(warned(), [head, "host: host namespaces"]);
    assert_eq!(label("strict").await.map(drop).map_err(|status| status.code), Err(422));

    host["metadata"]["name"] = "other".into();
    let why = "violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    let status = cluster.create("pods", host.clone()).await.expect_err("refused");
    assert_eq!(status.message, format!("pods \"other\" is forbidden: {why}"));
    let labels = json!({"app": "a"});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": host["spec"]}}});
    cluster.registry.create(&of("deployments"), Some("default"), deployment, &options).await.expect("only warned of");
    assert_eq!(warned(), [format!("would {}", why.replacen("violates", "violate", 1))]);
}
