//! Pods: admission, binding, eviction.

use k8s_openapi::api::core::v1::Pod;
use pal_registry::{Binding, DeleteOptions, Preconditions, Read, WriteOptions};
use pal_resources::{ResourceVersion, Uid};
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_test, pod};

#[tokio::test]
async fn a_pod_is_admitted_with_account_and_priority() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await.expect("created");
    let spec = cluster.value("pods", "a").await["spec"].clone();
    assert_eq!((&spec["serviceAccountName"], &spec["priority"]), (&json!("default"), &json!(0)));
    let mut body = pod("b");
    body["spec"]["priorityClassName"] = "gold".into();
    let status = cluster.create("pods", body).await.expect_err("no such class");
    let words = "pods \"b\" is forbidden: no PriorityClass with name gold was found";
    assert_eq!((status.code, status.message.as_str()), (403, words));
}

#[tokio::test]
async fn a_pod_names_an_account_that_there_is() {
    let cluster = Cluster::start().await;
    let mut body = pod("a");
    body["spec"]["serviceAccountName"] = "robot".into();
    let status = cluster.create("pods", body.clone()).await.expect_err("no such account");
    let words = "pods \"a\" is forbidden: error looking up service account default/robot: \
                 serviceaccount \"robot\" not found";
    assert_eq!((status.code, status.message.as_str()), (403, words));
    cluster.create("serviceaccounts", json!({"metadata": {"name": "robot"}})).await.expect("an account");
    cluster.create("pods", body).await.expect("created");
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::start().await;
    let created = cluster.create("pods", pod("a")).await.expect("created");
    let bind = async |binding: Binding| cluster.registry.bind("default", "a", &binding, &by_test()).await;
    let other = Binding { uid: Some(Uid("another".to_owned())), ..Binding::to("n1") };
    assert_eq!(bind(other).await.expect_err("another pod").code, 409);
    let older = Binding { version: Some("1".to_owned()), ..Binding::to("n1") };
    let words = format!(
        "Operation cannot be fulfilled on pods/binding \"a\": StorageError: invalid object, Code: 4, Key: \
         /registry/pods/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: ResourceVersion in \
         precondition: 1, ResourceVersion in object meta: {}",
        created.version()
    );
    assert_eq!(bind(older).await.expect_err("another version").message, words);
    let binding = Binding {
        uid: Some(created.index().uid.clone()),
        version: Some(created.version().to_string()),
        annotations: vec![("x/y".to_owned(), "z".to_owned())],
        ..Binding::to("n1")
    };
    let bound = bind(binding).await.expect("bound").value().expect("parses");
    assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["annotations"]["x/y"]), (&json!("n1"), &json!("z")));
    let scheduled = bound["status"]["conditions"].as_array().expect("conditions").iter();
    let scheduled: Vec<_> = scheduled.filter(|condition| condition["type"] == "PodScheduled").collect();
    assert_eq!((scheduled.len(), &scheduled[0]["status"]), (1, &json!("True")));
    let status = bind(Binding::to("n2")).await.expect_err("bound already");
    let words = "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\"";
    assert_eq!((status.code, status.message.as_str()), (409, words));
    assert_eq!(status.details.map(|details| details.kind).as_deref(), Some("pods/binding"));

    cluster.delete("pods", "a", &Default::default()).await.expect("marked");
    let status = bind(Binding::to("n2")).await.expect_err("going");
    assert!(status.message.ends_with("pod a is being deleted, cannot be assigned to a host"), "{}", status.message);
}

#[tokio::test]
async fn a_pod_says_where_its_node_is() {
    const ZONE: &str = "topology.kubernetes.io/zone";
    const REGION: &str = "topology.kubernetes.io/region";
    let cluster = Cluster::start().await;
    let labels = json!({ZONE: "z", REGION: "r", "disk": "fast"});
    cluster.create("nodes", json!({"metadata": {"name": "n1", "labels": labels}})).await.expect("a node");
    let mut body = pod("a");
    body["metadata"]["labels"] = json!({"app": "a", ZONE: "own"});
    let mut there = body.clone();
    there["metadata"]["name"] = "there".into();
    there["spec"]["nodeName"] = "n1".into();
    for body in [body, there] {
        cluster.create("pods", body).await.expect("created");
    }
    assert_eq!(cluster.value("pods", "a").await["metadata"]["labels"], json!({"app": "a", ZONE: "own"}));
    let expected = json!({"app": "a", ZONE: "z", REGION: "r"});
    assert_eq!(cluster.value("pods", "there").await["metadata"]["labels"], expected);

    // As the scheduler does it.
    let mut binding = Binding { labels: vec![("by".to_owned(), "me".to_owned())], ..Binding::to("n1") };
    cluster.registry.admit_binding("default", "a", &mut binding, &by_test()).expect("admitted");
    cluster.registry.bind("default", "a", &binding, &by_test()).await.expect("bound");
    let expected = json!({"app": "a", ZONE: "z", REGION: "r", "by": "me"});
    assert_eq!(cluster.value("pods", "a").await["metadata"]["labels"], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_bindings_at_once_one_holds() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await.expect("created");
    let bindings = (0..8).map(|index| {
        let registry = cluster.registry.clone();
        tokio::spawn(async move { registry.bind("default", "a", &Binding::to(format!("n{index}")), &by_test()).await })
    });
    let mut held = 0;
    for binding in bindings.collect::<Vec<_>>() {
        held += usize::from(binding.await.expect("no panic").is_ok());
    }
    assert_eq!(held, 1);
}

#[tokio::test]
async fn an_eviction_deletes_and_says_so() {
    let cluster = Cluster::start().await;
    let mut body = pod("a");
    body["spec"]["nodeName"] = "n1".into();
    cluster.create("pods", body).await.expect("created");
    let pods = pal_resources::resource::find("", "v1", "pods").expect("pods are built in");
    let made = cluster.registry.get(&pods, Some("default"), "a", Read::Consistent).await.expect("made");
    let seen = |version: ResourceVersion| Preconditions {
        resource_version: Some(version.to_string()),
        ..Preconditions::default()
    };
    let old = DeleteOptions { preconditions: seen(ResourceVersion(1)), ..DeleteOptions::default() };
    assert_eq!(cluster.registry.evict("default", "a", &old).await.expect_err("another version").code, 409);
    let options = DeleteOptions { preconditions: seen(made.version()), ..DeleteOptions::default() };
    let deletion = cluster.registry.evict("default", "a", &options).await.expect("evicted");
    assert!(!deletion.gone && deletion.object.index().deleting);
    let value = deletion.object.value().expect("JSON");
    let condition = value["status"]["conditions"].as_array().and_then(|all| all.last()).expect("a condition");
    assert_eq!(
        (&condition["type"], &condition["reason"], &condition["message"]),
        (&"DisruptionTarget".into(), &"EvictionByEvictionAPI".into(), &"Eviction API: evicting".into())
    );
    assert_eq!(cluster.registry.evict("default", "b", &options).await.expect_err("none").code, 404);
}

#[tokio::test]
async fn a_new_pod_shows_the_volume_with_its_token_stored_or_not() {
    let cluster = Cluster::start().await;
    let mut body = pod("a");
    body["metadata"]["namespace"] = "default".into();
    let pods = pal_resources::resource::find("", "v1", "pods").expect("pods are built in");
    let dry = WriteOptions { dry_run: true, ..by_test() };
    let dry = cluster.registry.create(&pods, Some("default"), body.clone(), &dry).await.expect("it would be made");
    let made = cluster.create("pods", body).await.expect("created");
    for object in [dry, made] {
        let spec = object.value().expect("JSON")["spec"].take();
        let volume = &spec["volumes"][0];
        assert_eq!(volume["projected"]["sources"][1]["configMap"]["name"], "kube-root-ca.crt", "{spec}");
        let mount = &spec["containers"][0]["volumeMounts"][0];
        assert_eq!((&mount["name"], &mount["readOnly"]), (&volume["name"], &json!(true)), "{spec}");
    }
}

#[tokio::test]
async fn a_new_pod_is_handed_on_once_as_what_its_text_says() {
    let cluster = Cluster::start().await;
    let body = |spec: Value| {
        let metadata = json!({"generateName": "web-", "labels": {"app": "web"}, "annotations": {"a": "b"}});
        let mut body = json!({"metadata": metadata, "spec": spec});
        body["spec"]["containers"] = json!([{
            "name": "web", "image": "web:v1", "ports": [{"containerPort": 80}],
            "resources": {"requests": {"cpu": "1500m"}, "limits": {"memory": "1Gi"}},
            "readinessProbe": {"httpGet": {"port": "web"}}
        }]);
        body
    };
    for spec in [
        json!({}),
        json!({"schedulingGates": [{"name": "example.com/wait"}], "restartPolicy": "Never"}),
        json!({"volumes": [{"name": "v", "emptyDir": {}}], "tolerations": [{"operator": "Exists"}]}),
    ] {
        let made = cluster.create("pods", body(spec.clone())).await.expect("a pod");
        let mut text: Pod = made.parse().expect("a pod");
        let mut taken: Pod = cluster.registry.made().take(&made).expect("it was not asked for yet");
        for pod in [&mut text, &mut taken] {
            let spec = pod.spec.as_mut().expect("a spec");
            let is_own = |name: &str| name.starts_with("kube-api-access-");
            spec.volumes.iter_mut().for_each(|volumes| volumes.retain(|volume| !is_own(&volume.name)));
            spec.volumes.take_if(|volumes| volumes.is_empty());
            spec.containers.iter_mut().for_each(|container| container.volume_mounts = None);
        }
        assert_eq!(taken, text, "{spec}");
        assert!(cluster.registry.made().take::<Pod>(&made).is_none(), "it is handed out once");
    }
    let made = cluster.create("pods", body(json!({}))).await.expect("a pod");
    let change = json!({"metadata": {"labels": {"app": "other"}}});
    let changed = cluster.merge("pods", None, made.name(), change).await.expect("a pod");
    assert!(cluster.registry.made().take::<Pod>(&changed).is_none(), "it is another one now");
}
