use serde_json::Value;

use super::*;
use crate::world::World;

struct Cluster {
    world: World,
    again: Option<Duration>,
    told: Vec<&'static str>,
}

impl Cluster {
    /// The world begins at 2027-01-15T08:00:00Z.
    fn new(spec: Value) -> Self {
        let mut world = World::new();
        let mut cron_job = json!({
            "metadata": {"name": "c", "namespace": "a"},
            "spec": {"schedule": "*/10 * * * *", "jobTemplate": {
                "metadata": {"labels": {"l": "1"}, "annotations": {"x": "y"}},
                "spec": {"template": {"spec": {"containers": []}}}}}
        });
        cron_job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        world.create(ResourceId::of::<CronJob>(), cron_job);
        Self { world, again: None, told: Vec::new() }
    }

    /// Looks until nothing is to be done any more.
    fn look(&mut self) {
        self.told.clear();
        for _ in 0..20 {
            let cron_job = self.world.list::<CronJob>().remove(0);
            let jobs = self.world.list::<Job>();
            let taken = |wanted: &str| jobs.iter().any(|job| name(&job.metadata) == wanted);
            let mut plan = reconcile(&View { cron_job: &cron_job, jobs: &jobs, taken: &taken }, self.world.now);
            self.again = plan.again;
            plan.actions.retain(|action| match action {
                Action::Tell(note) => {
                    self.told.push(note.reason);
                    false
                }
                _ => true,
            });
            if plan.actions.is_empty() {
                return;
            }
            self.world.apply(plan);
        }
        panic!("no end: {:?}", self.world.objects);
    }

    fn pass(&mut self, minutes: i64) -> Vec<String> {
        self.world.pass(minutes * 60_000);
        self.look();
        self.jobs()
    }

    fn jobs(&self) -> Vec<String> {
        self.world.list::<Job>().iter().map(|job| name(&job.metadata).to_owned()).collect()
    }

    fn end(&mut self, job: &str, condition: &str) {
        let done = (condition == "Complete").then_some(self.world.now);
        let status = json!({"status": {"completionTime": done, "startTime": self.world.now, "conditions": [
            {"type": condition, "status": "True", "lastTransitionTime": self.world.now}]}});
        self.world.edit_status::<Job>("a", job, status);
        self.look();
    }

    fn status(&self) -> Value {
        json!(self.world.list::<CronJob>()[0].status)
    }
}

const FIRST: &str = "c-30000010";
const SECOND: &str = "c-30000020";

#[test]
fn a_job_is_made_when_it_is_due_and_followed() {
    let mut cluster = Cluster::new(json!({}));
    cluster.look();
    assert_eq!((cluster.jobs().len(), cluster.again), (0, Some(Duration::from_secs(600))));
    assert_eq!(cluster.pass(10), [FIRST]);
    let job = cluster.world.list::<Job>().remove(0);
    let annotations = json!({"x": "y", SCHEDULED: "2027-01-15T08:10:00Z"});
    assert_eq!((json!(job.metadata.labels), json!(job.metadata.annotations)), (json!({"l": "1"}), annotations));
    let owner = &job.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.controller), ("CronJob", Some(true)));
    let status = cluster.status();
    assert_eq!(
        (&status["active"][0]["name"], &status["lastScheduleTime"]),
        (&json!(FIRST), &json!("2027-01-15T08:10:00Z"))
    );
    cluster.world.pass(1000);
    cluster.end(FIRST, "Complete");
    assert_eq!(cluster.told, ["SawCompletedJob"]);
    let status = cluster.status();
    assert_eq!((&status["active"], &status["lastSuccessfulTime"]), (&Value::Null, &json!("2027-01-15T08:10:01Z")));
    cluster.world.remove::<Job>("a", FIRST);
    cluster.look();
    assert_eq!(cluster.jobs().len(), 0, "what was made once is not made again");
    assert_eq!(cluster.pass(25), ["c-30000030"], "of several missed times the last counts");
    cluster.world.remove::<Job>("a", "c-30000030");
    cluster.look();
    assert_eq!((cluster.told.as_slice(), &cluster.status()["active"]), (["MissingJob"].as_slice(), &Value::Null));
}

#[test]
fn a_job_that_still_runs_is_dealt_with_as_is_asked_for() {
    let check = |policy: &str, expected: &[&str], told: &[&str], after_end: &[&str]| {
        let mut cluster = Cluster::new(json!({"concurrencyPolicy": policy}));
        cluster.pass(10);
        assert_eq!(cluster.pass(10), expected, "{policy}");
        assert_eq!(cluster.told, told, "{policy}");
        if expected.contains(&FIRST) {
            cluster.end(FIRST, "Complete");
        }
        assert_eq!(cluster.jobs(), after_end, "{policy}");
    };
    check("Allow", &[FIRST, SECOND], &[], &[FIRST, SECOND]);
    check("Forbid", &[FIRST], &["JobAlreadyActive"], &[FIRST, SECOND]);
    check("Replace", &[SECOND], &["MissingJob"], &[SECOND]);
}

#[test]
fn what_cannot_or_must_not_start_does_not() {
    let check = |spec: Value, minutes: i64, expected: &[&str], told: &[&str]| {
        let mut cluster = Cluster::new(spec.clone());
        assert_eq!(cluster.pass(minutes), expected, "{spec}");
        assert_eq!(cluster.told, told, "{spec}");
    };
    check(json!({"suspend": true}), 30, &[], &[]);
    check(json!({"timeZone": "Mars/Olympus"}), 30, &[], &["UnknownTimeZone"]);
    check(json!({"schedule": "x"}), 30, &[], &["UnparseableSchedule"]);
    check(json!({"startingDeadlineSeconds": 30}), 11, &[], &[]);
    check(json!({"startingDeadlineSeconds": 61}), 11, &[FIRST], &[]);
    check(json!({"schedule": "* * * * *"}), 100, &["c-30000100"], &[]);
    check(json!({"schedule": "* * * * *"}), 101, &["c-30000101"], &["TooManyMissedTimes"]);
    check(json!({"schedule": "40 13 * * *", "timeZone": "Asia/Kolkata"}), 10, &[FIRST], &[]);
    let mut cluster = Cluster::new(json!({"schedule": "40 13 * * *", "timeZone": "Asia/Kolkata"}));
    cluster.pass(10);
    let scheduled = annotation(&cluster.world.list::<Job>()[0].metadata, SCHEDULED).map(str::to_owned);
    assert_eq!(scheduled.as_deref(), Some("2027-01-15T13:40:00+05:30"));
}

#[test]
fn a_few_jobs_that_ended_are_kept() {
    let mut cluster = Cluster::new(json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0}));
    for condition in ["Complete", "Complete", "Complete", "Failed"] {
        let made = cluster.pass(10).pop().expect("a job");
        cluster.end(&made, condition);
    }
    assert_eq!(cluster.jobs(), [SECOND, "c-30000030"]);
}

#[test]
fn jobs_of_somebody_else_are_not_counted() {
    let mut cluster = Cluster::new(json!({"concurrencyPolicy": "Allow"}));
    let owner = crate::object::controlled_by::<CronJob>(&cluster.world.list::<CronJob>()[0].metadata);
    let job = json!({"metadata": {"name": "by-hand", "namespace": "a", "ownerReferences": [owner]}, "spec": {}});
    cluster.world.create(ResourceId::of::<Job>(), job);
    cluster.look();
    assert_eq!((cluster.told.as_slice(), cluster.status()), (["UnexpectedJob"].as_slice(), Value::Null));
}
