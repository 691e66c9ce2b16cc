//! The rows of the other workloads: DaemonSets, StatefulSets, Jobs, CronJobs and what is of their kind.

use jiff::Timestamp;
use serde_json::Value;

use super::Column;
use super::access::{age, items, joined, labels, name, number, text, text_or_none};
use super::columns::{AGE, NAME, number as count, text as column, wide};
use super::duration::{Clock, human_duration, since};
use super::workload::{selector, template_cells};

const CONTAINERS: Column = wide("Containers", "Names of each container in the template.");
const IMAGES: Column = wide("Images", "Images referenced by each container in the template.");

pub(super) const DAEMON_SET: &[Column] = &[
    NAME,
    count("Desired", "Number of nodes that should run the pod."),
    count("Current", "Number of nodes that run the pod and should."),
    count("Ready", "Number of nodes whose pod is ready."),
    count("Up-to-date", "Number of nodes whose pod has the wanted template."),
    count("Available", "Number of nodes whose pod has been ready for long enough."),
    column("Node Selector", "Which nodes are to run the pod."),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", "Which pods are this daemon set's."),
];

pub(super) fn daemon_set(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let mut cells = vec![name(object)];
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    cells.extend(counts.map(|field| Value::from(number(&status[field]))));
    cells.push(labels(&spec["template"]["spec"]["nodeSelector"]).into());
    cells.push(age(object, now));
    cells.extend(template_cells(spec));
    cells
}

pub(super) const STATEFUL_SET: &[Column] =
    &[NAME, column("Ready", "Number of the pod with ready state"), AGE, CONTAINERS, IMAGES];

pub(super) fn stateful_set(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let ready = format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]));
    let [containers, images, _] = template_cells(spec);
    vec![name(object), ready.into(), age(object, now), containers, images]
}

pub(super) const REVISION: &[Column] = &[
    NAME,
    column("Controller", "The object whose history this is of."),
    column("Revision", "Its place in the history."),
    AGE,
];

pub(super) fn revision(object: &Value, now: Clock) -> Vec<Value> {
    let owners = items(&object["metadata"]["ownerReferences"]);
    let owner = owners.iter().find(|owner| owner["controller"] == true);
    let shown = owner.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let group = text(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
            let kind = text(&owner["kind"]).to_lowercase();
            let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
            format!("{kind}/{}", text(&owner["name"]))
        },
    );
    vec![name(object), shown.into(), number(&object["revision"]).into(), age(object, now)]
}

pub(super) const JOB: &[Column] = &[
    NAME,
    column("Status", "Status of the job."),
    column("Completions", "How many pods have succeeded, of how many that should."),
    column("Duration", "How long the job took, or has taken so far."),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", "Which pods are this job's."),
];

pub(super) fn job(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let succeeded = number(&status["succeeded"]);
    let completions = match (spec["completions"].as_i64(), number(&spec["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let mut cells = vec![
        name(object),
        job_state(object).into(),
        completions.into(),
        job_duration(status, now).into(),
        age(object, now),
    ];
    cells.extend(template_cells(spec));
    cells
}

fn job_state(job: &Value) -> &'static str {
    let has = |kind: &str| {
        let conditions = items(&job["status"]["conditions"]).iter();
        conditions.into_iter().any(|condition| text(&condition["type"]) == kind && text(&condition["status"]) == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if !job["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_duration(status: &Value, now: Clock) -> String {
    let time = |field: &str| status[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match (time("startTime"), time("completionTime")) {
        (Some(start), Some(end)) => human_duration(end.duration_since(start).as_secs()),
        (Some(_), None) => since(&status["startTime"], now).unwrap_or_default(),
        (None, _) => String::new(),
    }
}

pub(super) const CRON_JOB: &[Column] = &[
    NAME,
    column("Schedule", "When jobs are made, as cron writes it."),
    column("Timezone", "The time zone of the schedule."),
    Column { kind: "boolean", ..column("Suspend", "Whether no jobs are made now.") },
    count("Active", "Number of jobs that run now."),
    column("Last Schedule", "When the last job was made."),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", "Which pods are the jobs'."),
];

pub(super) fn cron_job(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let last = since(&status["lastScheduleTime"], now).unwrap_or_else(|| "<none>".to_owned());
    let mut cells = vec![
        name(object),
        text(&spec["schedule"]).into(),
        text_or_none(&spec["timeZone"]).into(),
        (if spec["suspend"] == true { "True" } else { "False" }).into(),
        items(&status["active"]).len().into(),
        last.into(),
        age(object, now),
    ];
    let job = &spec["jobTemplate"]["spec"];
    let [containers, images, _] = template_cells(job);
    let selected = if job["selector"].is_null() { joined(&[], ",") } else { selector(&job["selector"]) };
    cells.extend([containers, images, selected.into()]);
    cells
}

pub(super) const CONTROLLER: &[Column] = &[
    NAME,
    count("Desired", "Number of pods wanted."),
    count("Current", "Number of pods there are."),
    count("Ready", "Number of pods that are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", "Which pods are this controller's."),
];

pub(super) fn replication_controller(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images, _] = template_cells(spec);
    vec![
        name(object),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age(object, now),
        containers,
        images,
        labels(&spec["selector"]).into(),
    ]
}

pub(super) const POD_TEMPLATE: &[Column] = &[
    NAME,
    column("Containers", "Names of each container in the template."),
    column("Images", "Images referenced by each container in the template."),
    column("Pod Labels", "The labels of the pods."),
];

pub(super) fn pod_template(object: &Value, _now: Clock) -> Vec<Value> {
    let [containers, images, _] = template_cells(object);
    vec![name(object), containers, images, labels(&object["template"]["metadata"]["labels"]).into()]
}
