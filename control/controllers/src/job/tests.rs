use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::indexes::Indexes;
use super::*;
use crate::action::ResourceId;
use crate::object::name;
use crate::world::World;

/// A world with one job, whose pods end as they are told.
struct Cluster {
    world: World,
    again: Option<Duration>,
}

impl Cluster {
    fn new(spec: Value) -> Self {
        let mut world = World::new();
        let mut job = json!({
            "metadata": {"name": "j", "namespace": "a"},
            "spec": {
                "selector": {"matchLabels": {"job": "j"}},
                "template": {
                    "metadata": {"labels": {"job": "j"}},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}
                }
            }
        });
        job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        world.create(ResourceId::of::<Job>(), job);
        Self { world, again: None }
    }

    /// Looks until nothing is to be done any more; Events are set aside.
    fn look(&mut self) {
        for _ in 0..20 {
            let job = self.world.list::<Job>().remove(0);
            let pods = self.world.list::<Pod>();
            let mut plan = reconcile(&View { job: &job, pods: &pods }, self.world.now);
            self.again = plan.again;
            plan.actions.retain(|action| !matches!(action, Action::Tell(_)));
            if plan.actions.is_empty() {
                return;
            }
            self.world.apply(plan);
        }
        panic!("no end: {:?}", self.world.objects);
    }

    fn active(&self) -> Vec<Arc<Pod>> {
        self.world.list::<Pod>().into_iter().filter(|pod| is_active(pod)).collect()
    }

    fn end(&mut self, phase: &str) {
        let end = json!({"state": {"terminated": {"exitCode": 0, "finishedAt": self.world.now}}});
        for pod in self.active() {
            let status = json!({"status": {"phase": phase, "containerStatuses": [end]}});
            self.world.edit_status::<Pod>("a", name(&pod.metadata), status);
        }
    }

    fn status(&self) -> Value {
        json!(self.world.list::<Job>()[0].status)
    }

    fn conditions(&self) -> Vec<String> {
        let conditions = self.status()["conditions"].clone();
        let text = |condition: &Value| format!("{} {}", condition["type"], condition["reason"]).replace('"', "");
        conditions.as_array().into_iter().flatten().map(text).collect()
    }
}

#[test]
fn as_many_pods_run_as_are_asked_for() {
    let check = |spec: Value, rounds: &[usize]| {
        let mut cluster = Cluster::new(spec.clone());
        for expected in rounds {
            cluster.look();
            assert_eq!(cluster.active().len(), *expected, "{spec}");
            cluster.end("Succeeded");
        }
        assert_eq!(cluster.conditions(), ["SuccessCriteriaMet CompletionsReached", "Complete CompletionsReached"]);
    };
    check(json!({"completions": 1, "parallelism": 1}), &[1, 0]);
    check(json!({"completions": 5, "parallelism": 2}), &[2, 2, 1, 0]);
    check(json!({"completions": 2, "parallelism": 9}), &[2, 0]);
    check(json!({"parallelism": 3}), &[3, 0]);
    check(json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"}), &[3, 1, 0]);
    check(json!({"completions": 0, "parallelism": 3}), &[0]);
}

#[test]
fn what_ended_is_counted_once_even_when_its_pod_is_gone() {
    let mut cluster = Cluster::new(json!({"completions": 3, "parallelism": 1}));
    for done in 0..3 {
        cluster.look();
        assert_eq!(cluster.status()["succeeded"].as_i64().unwrap_or(0), done);
        cluster.end("Succeeded");
        cluster.look();
        for pod in cluster.world.list::<Pod>().iter().filter(|pod| is_finished(pod)) {
            assert_eq!(pod.metadata.finalizers.as_deref().unwrap_or_default(), [""; 0], "it was let go");
            cluster.world.remove::<Pod>("a", name(&pod.metadata));
        }
    }
    assert_eq!(cluster.status()["succeeded"], 3);
    assert_eq!(cluster.status()["uncountedTerminatedPods"], json!({}));
    assert!(cluster.status()["completionTime"].is_string());
}

#[test]
fn failures_are_waited_for_longer_and_longer_until_there_are_too_many() {
    let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1, "backoffLimit": 2}));
    for wait in [10, 20] {
        cluster.look();
        assert_eq!(cluster.active().len(), 1);
        cluster.end("Failed");
        cluster.look();
        assert_eq!((cluster.active().len(), cluster.again), (0, Some(Duration::from_secs(wait))));
        cluster.world.pass(1000 * wait as i64);
    }
    cluster.look();
    cluster.end("Failed");
    cluster.look();
    assert_eq!(cluster.conditions(), ["FailureTarget BackoffLimitExceeded", "Failed BackoffLimitExceeded"]);
    assert_eq!(cluster.status()["failed"], 3);
}

#[test]
fn a_job_that_takes_too_long_fails_and_its_pods_go() {
    let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1, "activeDeadlineSeconds": 60}));
    cluster.look();
    assert_eq!(cluster.again, Some(Duration::from_secs(60)));
    cluster.world.pass(60_000);
    cluster.look();
    assert_eq!(cluster.world.list::<Pod>().len(), 0);
    assert_eq!(cluster.conditions(), ["FailureTarget DeadlineExceeded", "Failed DeadlineExceeded"]);
}

#[test]
fn a_suspended_job_has_no_pods_and_goes_on_when_it_may() {
    let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1, "suspend": true}));
    cluster.look();
    assert_eq!((cluster.active().len(), cluster.conditions()), (0, vec!["Suspended JobSuspended".to_owned()]));
    assert_eq!(cluster.status()["startTime"], Value::Null);
    cluster.world.edit::<Job>("a", "j", json!({"spec": {"suspend": false}}));
    cluster.look();
    assert_eq!((cluster.active().len(), cluster.conditions()), (1, vec!["Suspended JobResumed".to_owned()]));
    cluster.world.edit::<Job>("a", "j", json!({"spec": {"suspend": true}}));
    cluster.look();
    assert_eq!(cluster.active().len(), 0);
    assert_eq!(cluster.status()["failed"], Value::Null, "what the job deletes itself is no failure");
}

#[test]
fn a_job_that_ended_is_deleted_after_its_time_to_live() {
    let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1, "ttlSecondsAfterFinished": 100}));
    cluster.look();
    cluster.end("Succeeded");
    cluster.look();
    assert_eq!(cluster.again, Some(Duration::from_secs(100)));
    cluster.world.pass(100_000);
    let job = cluster.world.list::<Job>().remove(0);
    let plan = reconcile(&View { job: &job, pods: &cluster.world.list::<Pod>() }, cluster.world.now);
    assert!(matches!(plan.actions.as_slice(), [Action::Delete { propagation: Some(Propagation::Foreground), .. }]));
}

#[test]
fn pods_with_numbers_know_them() {
    let mut cluster = Cluster::new(json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"}));
    cluster.look();
    let pods = cluster.active();
    let first = pods.iter().find(|pod| indexes::of(pod) == Some(0)).expect("the first");
    assert!(name(&first.metadata).starts_with("j-0-"), "{first:?}");
    let spec = first.spec.as_ref().unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("j-0"));
    assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].name, "JOB_COMPLETION_INDEX");
    cluster.end("Succeeded");
    cluster.look();
    assert_eq!(cluster.status()["completedIndexes"], "0,1");
}

#[test]
fn indexes_are_written_in_ranges() {
    for text in ["", "0", "0,1", "0-2", "1,3-5,7,8", "4-9"] {
        assert_eq!(Indexes::parse(text, 100).to_string(), text);
    }
    assert_eq!(Indexes::parse("0-4000000000,x", 3).len(), 3, "no more than there can be");
}

#[test]
fn pods_of_a_job_that_goes_are_let_go() {
    let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1}));
    cluster.look();
    let deleted = Timestamp::from_second(1_800_000_000).unwrap();
    cluster.world.edit::<Job>("a", "j", json!({"metadata": {"deletionTimestamp": deleted}}));
    cluster.look();
    assert_eq!(cluster.active()[0].metadata.finalizers, Some(Vec::new()));
}

/// Ends pods of the given indexes with that exit code.
fn fail(cluster: &mut Cluster, indexes: &[u32], code: i32) {
    let end = json!({"name": "c", "state": {"terminated": {"exitCode": code, "finishedAt": cluster.world.now}}});
    for pod in cluster.active().iter().filter(|pod| indexes::of(pod).is_none_or(|index| indexes.contains(&index))) {
        let status = json!({"status": {"phase": "Failed", "containerStatuses": [end]}});
        cluster.world.edit_status::<Pod>("a", name(&pod.metadata), status);
    }
    cluster.look();
}

fn succeed(cluster: &mut Cluster, indexes: &[u32]) {
    for pod in cluster.active().iter().filter(|pod| indexes::of(pod).is_some_and(|index| indexes.contains(&index))) {
        cluster.world.edit_status::<Pod>("a", name(&pod.metadata), json!({"status": {"phase": "Succeeded"}}));
    }
    cluster.look();
}

#[test]
fn a_failure_is_what_the_policy_makes_of_it() {
    let check = |action: &str, operator: &str, failed: Value, conditions: &[&str]| {
        let rule = json!({"action": action, "onExitCodes": {"operator": operator, "values": [42]}});
        let policy =
            json!({"rules": [{"action": "Count", "onPodConditions": [{"type": "X", "status": "True"}]}, rule]});
        let spec = json!({"completions": 1, "parallelism": 1, "podFailurePolicy": policy,
            "podReplacementPolicy": "Failed"});
        let mut cluster = Cluster::new(spec);
        cluster.look();
        fail(&mut cluster, &[], 42);
        let status = cluster.status();
        assert_eq!(status["failed"], failed, "{action} {operator}: {status}");
        assert_eq!(cluster.conditions(), conditions, "{action} {operator}");
        if conditions.is_empty() {
            assert_eq!(cluster.again, Some(Duration::from_secs(10)), "{action} {operator}: it is tried again");
        }
    };
    check("Ignore", "In", Value::Null, &[]);
    check("Ignore", "NotIn", json!(1), &[]);
    check("Count", "In", json!(1), &[]);
    check("FailJob", "In", json!(1), &["FailureTarget PodFailurePolicy", "Failed PodFailurePolicy"]);
    check("FailJob", "NotIn", json!(1), &[]);
}

#[test]
fn the_words_of_a_failed_job_name_the_rule() {
    let rules = json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3], "containerName": "c"}}]);
    let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1, "podFailurePolicy": {"rules": rules}}));
    cluster.look();
    let pod = name(&cluster.active()[0].metadata).to_owned();
    fail(&mut cluster, &[], 3);
    let expected = format!("Container c for pod a/{pod} failed with exit code 3 matching FailJob rule at index 0");
    assert_eq!(cluster.status()["conditions"][1]["message"], expected);
}

#[test]
fn each_index_may_fail_so_often() {
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "backoffLimit": 1000});
    let mut cluster = Cluster::new(spec);
    cluster.look();
    fail(&mut cluster, &[0, 1], 1);
    assert_eq!((cluster.active().len(), cluster.again), (1, Some(Duration::from_secs(10))));
    cluster.world.pass(10_000);
    cluster.look();
    let counts: Vec<i32> = cluster.active().iter().map(|pod| indexes::failures(pod).counted).collect();
    assert_eq!(counts.iter().sum::<i32>(), 2, "both have failed once: {counts:?}");
    assert_eq!(cluster.status()["failed"], 2);
    fail(&mut cluster, &[0], 1);
    assert_eq!(cluster.status()["failedIndexes"], "0");
    succeed(&mut cluster, &[1, 2]);
    assert_eq!(cluster.conditions(), ["FailureTarget FailedIndexes", "Failed FailedIndexes"]);
    let status = cluster.status();
    assert_eq!((&status["completedIndexes"], &status["failed"]), (&json!("1,2"), &json!(3)));
}

#[test]
fn too_many_failed_indexes_end_a_job() {
    let rules = json!([{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [7]}}]);
    let spec = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 5,
        "maxFailedIndexes": 1, "backoffLimit": 1000, "podFailurePolicy": {"rules": rules}});
    let mut cluster = Cluster::new(spec);
    cluster.look();
    fail(&mut cluster, &[3], 7);
    assert_eq!((cluster.conditions().len(), cluster.active().len()), (0, 3), "one may");
    fail(&mut cluster, &[0], 7);
    let expected = ["FailureTarget MaxFailedIndexesExceeded", "Failed MaxFailedIndexesExceeded"];
    assert_eq!((cluster.conditions(), cluster.active().len()), (expected.map(str::to_owned).to_vec(), 0));
    assert_eq!(cluster.status()["failedIndexes"], "0,3");
}

#[test]
fn a_job_succeeds_when_its_policy_says_so() {
    let check = |rules: Value, succeeded: &[u32], met: bool| {
        let spec = json!({"completions": 5, "parallelism": 5, "completionMode": "Indexed",
            "successPolicy": {"rules": rules}});
        let mut cluster = Cluster::new(spec);
        cluster.look();
        succeed(&mut cluster, succeeded);
        let expected: &[&str] = if met { &["SuccessCriteriaMet SuccessPolicy", "Complete SuccessPolicy"] } else { &[] };
        assert_eq!(cluster.conditions(), expected, "{rules} {succeeded:?}");
        assert_eq!(cluster.active().is_empty(), met, "{rules} {succeeded:?}");
    };
    check(json!([{"succeededIndexes": "0"}]), &[1, 2], false);
    check(json!([{"succeededIndexes": "0"}]), &[0], true);
    check(json!([{"succeededIndexes": "0-2"}]), &[0, 1], false);
    check(json!([{"succeededIndexes": "0-2", "succeededCount": 2}]), &[0, 2], true);
    check(json!([{"succeededIndexes": "0-2", "succeededCount": 2}]), &[0, 3, 4], false);
    check(json!([{"succeededCount": 3}]), &[0, 3], false);
    check(json!([{"succeededIndexes": "4"}, {"succeededCount": 2}]), &[0, 3], true);
}

#[test]
fn a_pod_that_is_going_is_replaced_when_that_is_asked_for() {
    let check = |policy: &str, replaced: bool| {
        let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1, "podReplacementPolicy": policy}));
        cluster.look();
        let pod = name(&cluster.active()[0].metadata).to_owned();
        let deleted = cluster.world.now;
        cluster.world.edit_status::<Pod>("a", &pod, json!({"metadata": {"deletionTimestamp": deleted}}));
        cluster.look();
        cluster.world.pass(20_000);
        cluster.look();
        assert_eq!(cluster.active().len(), usize::from(replaced), "{policy}");
        assert_eq!(cluster.status()["terminating"], 1, "{policy}");
    };
    check("TerminatingOrFailed", true);
    check("Failed", false);
}

#[test]
fn what_a_job_takes_is_tracked_and_what_it_lets_go_is_not() {
    let mut cluster = Cluster::new(json!({"completions": 1, "parallelism": 1}));
    cluster.look();
    let pod = cluster.active().remove(0);
    assert!(is_tracked(&pod) && !is_orphan(&pod));
    let relabel = |cluster: &mut Cluster, label: &str| {
        let edit = json!({"metadata": {"labels": {"job": label}}});
        cluster.world.edit::<Pod>("a", name(&pod.metadata), edit);
        cluster.look();
        let pods = cluster.world.list::<Pod>();
        pods.into_iter().find(|other| name(&other.metadata) == name(&pod.metadata)).expect("it stays")
    };
    let released = relabel(&mut cluster, "other");
    assert!(!is_tracked(&released));
    assert_eq!(released.metadata.owner_references, None);
    cluster.world.edit::<Job>("a", "j", json!({"spec": {"completions": 2, "parallelism": 2}}));
    let taken = relabel(&mut cluster, "j");
    assert!(is_tracked(&taken) && !is_orphan(&taken));
}
