mod cluster;
mod customs;
mod nodes;
mod preemption;
mod volumes;
mod workloads;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount, Toleration,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::pods::{condition, is_ready, node};
use cluster::Cluster;

const NS: Option<&str> = Some("default");

fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "pal.local/a:1",
                    "ports": [{"name": "http", "containerPort": 8080}]}]}
            }
        }
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "pal.local/a:1"}]}
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}
    })
}

fn told(events: &[Event], reason: &str) -> Vec<String> {
    let of = events.iter().filter(|event| event.reason.as_deref() == Some(reason));
    of.filter_map(|event| event.message.clone()).collect()
}

fn ready_addresses(slices: &[EndpointSlice]) -> usize {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    endpoints.filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true)).count()
}

#[tokio::test]
async fn a_namespace_gets_its_account_and_the_root_certificate() {
    let cluster = Cluster::start().await;
    cluster
        .until::<ServiceAccount>("the default account", NS, |found| {
            found.iter().any(|account| account.metadata.name.as_deref() == Some("default"))
        })
        .await;
    cluster
        .until::<ConfigMap>("the certificate", NS, |found| {
            found.iter().any(|map| map.data.as_ref().is_some_and(|data| data["ca.crt"] == "ROOT"))
        })
        .await;
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "token", "namespace": "default",
                "annotations": {"kubernetes.io/service-account.name": "default"}},
        }))
        .await;
    cluster
        .until::<Secret>("a token", NS, |found| {
            let data = found.first().and_then(|secret| secret.data.as_ref());
            let token = data.and_then(|data| data.get("token"));
            token.is_some_and(|token| token.0.starts_with(b"default of ")) && data.is_some_and(|data| data.len() == 3)
        })
        .await;
    cluster.delete::<ServiceAccount>(NS, "default").await;
    cluster.until::<Secret>("no token of an account that is gone", NS, <[_]>::is_empty).await;
    cluster.until::<ServiceAccount>("the account again", NS, |found| found.len() == 1).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_deployment_runs_is_served_and_goes_with_all_that_it_owns() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.add_node("n2").await;
    cluster.create(service("web")).await;
    cluster.create(deployment("web", 4)).await;
    cluster
        .until::<Deployment>("four available", NS, |found| {
            found[0].status.as_ref().and_then(|status| status.available_replicas) == Some(4)
        })
        .await;
    let pods = cluster.list::<Pod>(NS).await;
    assert_eq!(pods.len(), 4);
    assert_eq!(pods.iter().filter(|pod| node(pod) == Some("n1")).count(), 2, "spread");
    cluster.until::<EndpointSlice>("four endpoints", NS, |found| ready_addresses(found) == 4).await;
    let addresses = |found: &[Endpoints]| {
        let subsets = found.iter().flat_map(|found| found.subsets.iter().flatten());
        subsets.map(|subset| subset.addresses.iter().flatten().count()).collect::<Vec<_>>()
    };
    cluster.until::<Endpoints>("the same in one object", NS, |found| addresses(found) == [4]).await;
    let events = cluster
        .until::<Event>("events", NS, |events| {
            told(events, "Scheduled").len() == 4 && told(events, "SuccessfulCreate").len() == 4
        })
        .await;
    let scaled = told(&events, "ScalingReplicaSet");
    assert_eq!(scaled.len(), 1);
    assert!(scaled[0].starts_with("Scaled up replica set web-") && scaled[0].ends_with("from 0 to 4"));
    let scheduled = told(&events, "Scheduled");
    assert!(scheduled[0].starts_with("Successfully assigned default/web-"), "{scheduled:?}");

    cluster.delete::<Deployment>(NS, "web").await;
    cluster.until::<ReplicaSet>("no sets", NS, <[_]>::is_empty).await;
    cluster.until::<Pod>("no pods", NS, <[_]>::is_empty).await;
    cluster.until::<EndpointSlice>("no endpoints", NS, |found| ready_addresses(found) == 0).await;
    cluster.until::<Endpoints>("no addresses", NS, |found| addresses(found).is_empty()).await;
    let by_hand = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "100.64.0.9"}], "ports": [{"port": 5432}]}]});
    cluster.create(by_hand).await;
    let mut db = service("db");
    db["spec"] = json!({"ports": [{"port": 5432}]});
    cluster.create(db).await;
    cluster.until::<EndpointSlice>("the mirror", NS, |found| ready_addresses(found) == 1).await;
    cluster.delete::<Service>(NS, "web").await;
    cluster.delete::<Service>(NS, "db").await;
    cluster.until::<Endpoints>("all gone with their Services", NS, <[_]>::is_empty).await;
    cluster.until::<EndpointSlice>("and no slices", NS, <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_new_template_rolls_out_and_the_old_set_is_kept_for_an_undo() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(deployment("web", 3)).await;
    let complete = |found: &[Deployment], revision: &str| {
        let status = found[0].status.as_ref();
        let annotations = found[0].metadata.annotations.as_ref();
        status.and_then(|status| status.updated_replicas) == Some(3)
            && status.and_then(|status| status.available_replicas) == Some(3)
            && status.and_then(|status| status.replicas) == Some(3)
            && status.and_then(|status| status.observed_generation) == found[0].metadata.generation
            && annotations.is_some_and(|all| all["deployment.kubernetes.io/revision"] == revision)
    };
    cluster.until::<Deployment>("the first", NS, |found| complete(found, "1")).await;
    let deployments = cluster.registry.client::<Deployment>();
    let image =
        |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
    deployments.patch_merge(None, NS, "web", image("pal.local/a:2")).await.expect("a patch");
    cluster.until::<Deployment>("the second", NS, |found| complete(found, "2")).await;
    let sets = cluster.until::<ReplicaSet>("two sets", NS, |found| found.len() == 2).await;
    let sizes: Vec<i32> = sets.iter().map(crate::replicaset::wanted).collect();
    assert_eq!(sizes.iter().sum::<i32>(), 3);
    // What `kubectl rollout undo` does: the old set's template, without its hash.
    let old = sets.iter().find(|set| crate::replicaset::wanted(set) == 0).expect("an old set");
    let mut template = old.spec.as_ref().and_then(|spec| spec.template.clone()).expect("a template");
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove("pod-template-hash");
    }
    let undo = move |deployment: &mut Deployment| {
        deployment.spec.get_or_insert_default().template = template.clone();
        Ok(())
    };
    deployments.modify(None, NS, "web", undo).await.expect("an undo");
    cluster.until::<Deployment>("the undo", NS, |found| complete(found, "3")).await;
    assert_eq!(cluster.list::<ReplicaSet>(NS).await.len(), 2, "the old set was used again");
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_and_is_placed_when_there_is_room() {
    let cluster = Cluster::start().await;
    cluster.create(pod("a")).await;
    let pods = cluster.until::<Pod>("a reason", NS, |pods| condition(&pods[0], "PodScheduled").is_some()).await;
    let scheduled = condition(&pods[0], "PodScheduled").expect("a condition");
    assert_eq!(
        (scheduled.status.as_str(), scheduled.reason.as_deref(), scheduled.message.as_deref()),
        ("False", Some("Unschedulable"), Some("no nodes available to schedule pods"))
    );
    cluster
        .until::<Event>("an event", NS, |events| {
            told(events, "FailedScheduling").contains(&"no nodes available to schedule pods".to_owned())
        })
        .await;
    cluster.add_node("n1").await;
    cluster.until::<Pod>("placed", NS, |pods| node(&pods[0]) == Some("n1") && is_ready(&pods[0])).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_is_tried_again_only_when_that_may_help() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let mut picky = pod("picky");
    picky["spec"]["nodeSelector"] = json!({"kind": "large"});
    cluster.create(picky).await;
    let mut scared = pod("scared");
    scared["spec"]["nodeSelector"] = json!({"kind": "small"});
    cluster.create(scared).await;
    let mut lonely = pod("lonely");
    let friends = json!([{"labelSelector": {"matchLabels": {"is": "a-friend"}}, "topologyKey": "kind"}]);
    lonely["spec"]["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": friends}});
    cluster.create(lonely).await;
    let failed = |events: &[Event]| -> Vec<i32> {
        let of = events.iter().filter(|event| event.reason.as_deref() == Some("FailedScheduling"));
        of.filter_map(|event| event.count).collect()
    };
    cluster.until::<Event>("all are told", NS, |events| failed(events).len() == 3).await;
    for round in 0..3 {
        let name = format!("other-{round}");
        cluster.create(pod(&name)).await;
        cluster.until::<Pod>("it runs", NS, |pods| pods.iter().any(is_ready)).await;
        cluster.delete::<Pod>(NS, &name).await;
        cluster.until::<Pod>("it is gone", NS, |pods| pods.len() == 3).await;
    }
    assert_eq!(failed(&cluster.list::<Event>(NS).await), [1, 1, 1]);
    let nodes = cluster.registry.client::<Node>();
    nodes.patch_merge(None, None, "n1", json!({"metadata": {"labels": {"kind": "small"}}})).await.expect("a label");
    let placed = |pods: &[Pod], name: &str| {
        pods.iter().any(|pod| pod.metadata.name.as_deref() == Some(name) && node(pod) == Some("n1"))
    };
    cluster.until::<Pod>("the one that it helps", NS, |pods| placed(pods, "scared")).await;
    assert!(!placed(&cluster.list::<Pod>(NS).await, "picky"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_asks_for_less_is_tried_again() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let nodes = cluster.registry.client::<Node>();
    let taint = json!({"spec": {"taints": [{"key": "own", "effect": "NoSchedule"}]}});
    nodes.patch_merge(None, None, "n1", taint).await.expect("a taint");
    cluster.create(pod("a")).await;
    cluster.until::<Pod>("it is refused", NS, |pods| condition(&pods[0], "PodScheduled").is_some()).await;
    let pods = cluster.registry.client::<Pod>();
    let tolerate = |pod: &mut Pod| {
        let toleration: Toleration =
            serde_json::from_value(json!({"key": "own", "operator": "Exists"})).expect("it is one");
        pod.spec.get_or_insert_default().tolerations.get_or_insert_default().push(toleration);
        Ok(())
    };
    pods.modify(None, NS, "a", tolerate).await.expect("a toleration");
    cluster.until::<Pod>("it is placed", NS, |pods| node(&pods[0]) == Some("n1")).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_waits_for_the_company_that_it_wants() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.add_node("n2").await;
    let mut guest = pod("guest");
    let term = json!({"labelSelector": {"matchLabels": {"app": "host"}}, "topologyKey": "kubernetes.io/hostname"});
    guest["spec"]["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    cluster.create(guest).await;
    let message = |pods: &[Pod]| condition(&pods[0], "PodScheduled").and_then(|scheduled| scheduled.message.clone());
    cluster
        .until::<Pod>("a reason", NS, |pods| {
            message(pods).is_some_and(|text| text.contains("2 node(s) didn't match pod affinity rules"))
        })
        .await;
    let mut host = pod("host");
    host["metadata"]["labels"] = json!({"app": "host"});
    cluster.create(host).await;
    cluster
        .until::<Pod>("together", NS, |pods| {
            pods.len() == 2 && node(&pods[0]).is_some() && node(&pods[0]) == node(&pods[1])
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})).await;
    let mut body = deployment("web", 3);
    body["metadata"]["namespace"] = json!("a");
    cluster.create(body).await;
    cluster.until::<Pod>("ready", Some("a"), |pods| pods.len() == 3 && pods.iter().all(is_ready)).await;
    cluster.delete::<Namespace>(None, "a").await;
    cluster
        .until::<Namespace>("gone", None, |found| {
            found.iter().all(|namespace| namespace.metadata.name.as_deref() != Some("a"))
        })
        .await;
    assert!(cluster.list::<Pod>(Some("a")).await.is_empty());
    assert!(cluster.list::<ServiceAccount>(Some("a")).await.is_empty());
    assert!(cluster.list::<Event>(Some("a")).await.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn a_namespace_that_cannot_go_says_why() {
    let cluster = Cluster::start().await;
    cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})).await;
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kept", "namespace": "a", "finalizers": ["example.com/keep"]}
        }))
        .await;
    cluster.delete::<Namespace>(None, "a").await;
    let message = |found: &[Namespace], kind: &str| {
        let namespace = found.iter().find(|namespace| namespace.metadata.name.as_deref() == Some("a"))?;
        let conditions = namespace.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|c| c.type_ == kind && c.status == "True")?.message.clone()
    };
    let remaining = "Some resources are remaining: configmaps. has 1 resource instances";
    let found = cluster
        .until::<Namespace>("a reason", None, |found| {
            message(found, "NamespaceContentRemaining").as_deref() == Some(remaining)
        })
        .await;
    assert_eq!(
        message(&found, "NamespaceFinalizersRemaining").as_deref(),
        Some("Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances")
    );
    let free = json!({"metadata": {"finalizers": null}});
    cluster.registry.client::<ConfigMap>().patch_merge(None, Some("a"), "kept", free).await.expect("it exists");
    cluster
        .until::<Namespace>("gone", None, |found| {
            found.iter().all(|namespace| namespace.metadata.name.as_deref() != Some("a"))
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_orphaning_delete_leaves_the_pods_to_the_next_owner() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(deployment("web", 2)).await;
    cluster.until::<Pod>("ready", NS, |pods| pods.len() == 2 && pods.iter().all(is_ready)).await;
    let before = cluster.list::<ReplicaSet>(NS).await;
    let options = pal_registry::DeleteOptions {
        propagation: Some(pal_registry::Propagation::Orphan),
        ..pal_registry::DeleteOptions::system("test")
    };
    let deployments = cluster.registry.client::<Deployment>();
    deployments.delete(NS, "web", &options).await.expect("it exists");
    cluster.until::<Deployment>("gone", NS, <[_]>::is_empty).await;
    let left = cluster
        .until::<ReplicaSet>("free", NS, |sets| {
            sets.len() == 1 && sets[0].metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
        })
        .await;
    assert_eq!(left[0].metadata.uid, before[0].metadata.uid);
    cluster.create(deployment("web", 2)).await;
    cluster
        .until::<ReplicaSet>("adopted", NS, |sets| {
            sets.len() == 1 && sets[0].metadata.owner_references.as_ref().is_some_and(|all| all.len() == 1)
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_foreground_delete_waits_for_what_is_owned() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(deployment("web", 2)).await;
    cluster.until::<Pod>("ready", NS, |pods| pods.len() == 2 && pods.iter().all(is_ready)).await;
    let options = pal_registry::DeleteOptions {
        propagation: Some(pal_registry::Propagation::Foreground),
        ..pal_registry::DeleteOptions::system("test")
    };
    let deployments = cluster.registry.client::<Deployment>();
    deployments.delete(NS, "web", &options).await.expect("it exists");
    cluster.until::<Deployment>("gone", NS, <[_]>::is_empty).await;
    assert!(cluster.list::<ReplicaSet>(NS).await.is_empty(), "the sets went first");
    assert!(cluster.list::<Pod>(NS).await.is_empty(), "the pods went first");
    cluster.stop().await;
}

#[tokio::test]
async fn an_object_stays_gone_in_whatever_order_its_last_writes_are_heard_of() {
    let cluster = Cluster::start().await;
    let resource = pal_resources::resource::find("", "v1", "configmaps").unwrap();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": "default"}});
    let made = cluster.create(body).await;
    let options = pal_registry::WriteOptions::system("test");
    let change = |mut value: Value| {
        value["data"] = json!({"a": "b"});
        Ok(value)
    };
    let changed = cluster.registry.modify(&resource, None, NS, "late", change, &options).await.unwrap();
    let deleted = pal_registry::DeleteOptions::system("test");
    let deleted = cluster.registry.delete(&resource, NS, "late", &deleted).await.unwrap();
    assert!(deleted.gone);

    let mut cache = super::cache::Cache::new(&[resource], Default::default());
    cache.told(0, &made, false);
    assert!(cache.wrote(0, &deleted.object, true).is_some(), "the deletion is heard of first");
    assert!(cache.wrote(0, &changed, false).is_none(), "then the write before it");
    cache.told(0, &changed, false);
    cache.told(0, &deleted.object, true);
    assert_eq!(cache.all(0, None).count(), 0);
    cluster.stop().await;
}

#[tokio::test]
async fn a_task_that_ends_by_itself_is_told_and_one_that_was_stopped_is_not() {
    let check = async |stopped: bool| {
        let tracker = tokio_util::task::TaskTracker::new();
        let (stop, failed) = Default::default();
        let tasks = super::Tasks { tracker: &tracker, stop: &stop, failed: &failed };
        tasks.spawn({
            let stop = stop.clone();
            async move {
                if stopped {
                    stop.cancelled().await;
                } else {
                    panic!("as the test wants");
                }
            }
        });
        if stopped {
            stop.cancel();
        }
        tracker.close();
        tracker.wait().await;
        assert_eq!(failed.is_cancelled(), !stopped);
    };
    check(true).await;
    check(false).await;
}
