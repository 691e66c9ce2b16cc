//! Hooks, as the pod's task carries them out.

use super::*;

async fn up(name: &str, hooks: Value) -> Bench {
    let bench = Bench::new();
    bench.manager.apply(pod(name, 1, |p| p["spec"]["containers"][0]["lifecycle"] = hooks));
    bench
}

fn calls(bench: &Bench) -> Vec<String> {
    bench.runtime.calls.lock().unwrap().clone()
}

#[tokio::test]
async fn a_service_is_told_before_it_is_stopped() {
    let hooks = json!({"postStart": {"httpGet": {"port": 8080, "path": "/hello"}},
        "preStop": {"httpGet": {"port": 8080, "path": "/bye"}}});
    let bench = up("web", hooks.clone()).await;
    bench.api.until("ready", last_ready).await;
    assert_eq!(calls(&bench), ["/hello"]);
    bench.manager.apply(pod("web", 2, |p| {
        deleted(p);
        p["spec"]["containers"][0]["lifecycle"] = hooks;
    }));
    bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    assert_eq!(calls(&bench), ["/hello", "/bye", "stop"]);
}

#[tokio::test]
async fn a_hook_that_fails_is_told_of_and_the_end_goes_on() {
    let hooks = json!({"preStop": {"httpGet": {"port": 8080, "path": "/bad"}}});
    let bench = up("web", hooks.clone()).await;
    bench.api.until("ready", last_ready).await;
    bench.manager.apply(pod("web", 2, |p| {
        deleted(p);
        p["spec"]["containers"][0]["lifecycle"] = hooks;
    }));
    bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    assert_eq!(calls(&bench), ["/bad", "stop"]);
    let failed = "FailedPreStopHook PreStopHook failed: the answer was 500 Internal Server Error";
    bench.api.until("told of", |a| a.events.iter().any(|e| e == failed)).await;
}

#[tokio::test]
async fn a_hook_has_the_grace_and_no_more() {
    let hooks = json!({"preStop": {"sleep": {"seconds": 3600}}});
    let bench = up("web", hooks.clone()).await;
    bench.api.until("ready", last_ready).await;
    let ends_within = |version: u32, seconds: u64| {
        pod("web", version, |p| {
            deleted(p);
            p["metadata"]["deletionGracePeriodSeconds"] = json!(seconds);
            p["spec"]["containers"][0]["lifecycle"] = hooks.clone();
        })
    };
    bench.manager.apply(ends_within(2, 3600));
    bench.api.until("killing", |a| a.events.iter().any(|e| e.starts_with("Killing"))).await;
    assert_eq!(calls(&bench), Vec::<String>::new(), "it is under way");
    bench.manager.apply(ends_within(3, 1));
    let over = "FailedPreStopHook PreStopHook failed: the grace period is over";
    bench.api.until("told of", |a| a.events.iter().any(|e| e == over)).await;
    bench.api.until("deleted", |a| !a.deletes.is_empty()).await;
    assert_eq!(calls(&bench), ["stop"]);
}

#[tokio::test]
async fn a_container_whose_start_hook_fails_is_restarted() {
    let bench = up("web", json!({"postStart": {"httpGet": {"port": 8080, "path": "/bad"}}})).await;
    let restarted = |a: &Api| a.statuses.last().is_some_and(|s| s["containerStatuses"][0]["restartCount"] != 0);
    bench.api.until("restarted", restarted).await;
    let failed = "FailedPostStartHook PostStartHook failed: the answer was 500 Internal Server Error";
    bench.api.until("told of", |a| a.events.iter().any(|e| e == failed)).await;
}
