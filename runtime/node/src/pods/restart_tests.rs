//! Pods while no server answers, and after the agent was away.

use super::*;

#[tokio::test]
async fn a_container_gets_another_limit_while_it_runs() {
    let bench = Bench::new();
    let using = |memory: &'static str| {
        move |p: &mut Value| p["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": memory}})
    };
    bench.manager.apply(pod("web", 1, using("2000")));
    bench.api.until("ready", last_ready).await;
    bench.manager.apply(pod("web", 2, using("3000")));
    let limit = |a: &Api| {
        a.statuses
            .last()
            .map(|s| s["containerStatuses"][0]["resources"]["limits"]["memory"].clone())
            .unwrap_or_default()
    };
    bench.api.until("it has more", |a| limit(a) == "3000").await;
    assert_eq!(*bench.runtime.calls.lock().unwrap(), ["limit 3000"]);
    bench.manager.apply(pod("web", 3, using("10")));
    let api = bench
        .api
        .until("refused", |a| a.statuses.last().is_some_and(|s| !condition(s, "PodResizeInProgress").is_empty()));
    let status = api.await.statuses.pop().expect("a status");
    assert_eq!(status["containerStatuses"][0]["resources"]["limits"]["memory"], "3000");
    let conditions = status["conditions"].as_array().unwrap();
    let said = conditions.iter().find(|c| c["type"] == "PodResizeInProgress").unwrap();
    assert_eq!(said["message"], "attempting to set container memory limit (10) below current usage (1000)");
}

#[tokio::test]
async fn without_a_server_pods_run_and_are_reported_later() {
    let bench = Bench::new();
    bench.api.0.send_modify(|a| a.down = true);
    bench.manager.apply(pod("web", 1, |_| {}));
    let runtime = bench.runtime.clone();
    let launched = async {
        while runtime.launches() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), launched).await.unwrap();
    bench.api.0.send_modify(|a| a.down = false);
    bench.api.until("ready", last_ready).await;
}

#[tokio::test]
async fn after_a_restart_pods_run_again_with_their_address() {
    let bench = Bench::new();
    bench.manager.apply(pod("other", 1, |_| {}));
    bench.manager.apply(pod("web", 1, |_| {}));
    let both = |a: &Api| a.statuses.iter().filter(|s| condition(s, "Ready") == "True").count() == 2;
    let api = bench.api.until("ready", both).await;
    let ips = |api: &Api| {
        let mut ips: Vec<_> = api.statuses.iter().map(|s| s["podIP"].as_str().unwrap_or_default().to_owned()).collect();
        ips.sort();
        ips
    };
    let before = ips(&api);
    // The server is away: what is on disk has to do.
    let bench = bench.restart().await;
    bench.api.0.send_modify(|a| a.down = true);
    let runtime = bench.runtime.clone();
    let launched = async {
        while runtime.launches() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), launched).await.unwrap();
    bench.api.0.send_modify(|a| a.down = false);
    let api = bench.api.until("ready again", both).await;
    assert_eq!(ips(&api), before);
    let container = &api.statuses[0]["containerStatuses"][0];
    assert_eq!(
        (&container["restartCount"], &container["lastState"]["terminated"]["reason"]),
        (&json!(1), &json!("Unknown"))
    );
    // The server says that one of them was deleted meanwhile.
    bench.manager.forget_others(&["uid-web".to_owned()].into());
    let gone = async {
        while bench.manager.count() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(bench.files(), ["pods/uid-web.json", "logs/ns_web_uid-web", "volumes/uid-web"]);
}

#[tokio::test]
async fn a_grace_without_end_is_a_long_one() {
    let bench = Bench::new();
    let for_ever = |value: &mut Value| {
        value["spec"]["terminationGracePeriodSeconds"] = json!(i64::MAX);
        value["spec"]["activeDeadlineSeconds"] = json!(i64::MAX);
    };
    bench.manager.apply(pod("web", 1, for_ever));
    bench.api.until("ready", last_ready).await;
    bench.manager.apply(pod("web", 2, |value| {
        for_ever(value);
        deleted(value);
        value["metadata"]["deletionGracePeriodSeconds"] = json!(i64::MAX);
    }));
    // A worker that had panicked would have been forgotten without this.
    bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    bench.manager.gone("uid-web");
    bench.forgotten().await;
}

#[tokio::test]
async fn a_worker_that_panics_is_forgotten_and_the_next_news_make_another() {
    let bench = Bench::new();
    let shared = bench.shared.clone();
    bench.manager.apply(pod("web", 1, |value| {
        value["spec"]["containers"][0]["image"] = json!("panics");
        value["status"] = json!({"podIP": "100.64.0.9"});
    }));
    bench.forgotten().await;
    assert!(shared.addresses.reserve("100.64.0.9".parse().unwrap()), "its address is free again");
    bench.manager.apply(pod("web", 2, |_| {}));
    bench.api.until("ready", last_ready).await;
}
