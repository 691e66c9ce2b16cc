//! What the controllers and the scheduler count, under Kubernetes' names.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pal_resources::metrics::{Histogram, head, sample};

/// Upper bounds in seconds, as client-go's work queues have them.
static WORK: [f64; 10] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0];
/// As kube-scheduler has them for an attempt.
static ATTEMPT: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
/// As kube-scheduler has them for a pod.
static POD: [f64; 20] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36,
    1310.72, 2621.44, 5242.88,
];
const PROFILE: &str = "profile=\"default-scheduler\"";

/// What became of an attempt to place a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attempt {
    Scheduled,
    Unschedulable,
    Error,
}

impl Attempt {
    fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unschedulable => "unschedulable",
            Self::Error => "error",
        }
    }
}

/// How many pods wait, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) active: usize,
    pub(crate) backoff: usize,
    pub(crate) unschedulable: usize,
}

/// Counters since the program started, of all times when its controllers ran.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    queues: BTreeMap<&'static str, Queue>,
    attempts: BTreeMap<Attempt, Histogram>,
    pods: BTreeMap<u32, Histogram>,
    pending: Pending,
}

#[derive(Debug)]
struct Queue {
    added: u64,
    taken: u64,
    retried: u64,
    took: Histogram,
}

impl Figures {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, name: &'static str, change: impl FnOnce(&mut Queue)) {
        let empty = || Queue { added: 0, taken: 0, retried: 0, took: Histogram::new(&WORK) };
        change(self.lock().queues.entry(name).or_insert_with(empty));
    }

    /// Something is to be looked at.
    pub(crate) fn added(&self, queue: &'static str) {
        self.queue(queue, |queue| queue.added += 1);
    }

    /// It is looked at.
    pub(crate) fn taken(&self, queue: &'static str) {
        self.queue(queue, |queue| queue.taken += 1);
    }

    /// It failed, and is looked at again.
    pub(crate) fn retried(&self, queue: &'static str) {
        self.queue(queue, |queue| queue.retried += 1);
    }

    /// What followed from a look took that long.
    pub(crate) fn worked(&self, queue: &'static str, took: Duration) {
        self.queue(queue, |queue| queue.took.observe(took));
    }

    /// The queues are new ones; what lay in the old ones is gone.
    pub(crate) fn begin(&self) {
        let mut counts = self.lock();
        counts.queues.values_mut().for_each(|queue| queue.taken = queue.added);
        counts.pending = Pending::default();
    }

    /// An attempt to place a pod was made.
    pub(crate) fn attempted(&self, what: Attempt, took: Duration) {
        let mut counts = self.lock();
        counts.attempts.entry(what).or_insert_with(|| Histogram::new(&ATTEMPT)).observe(took);
    }

    /// A pod got its node after that long and so many attempts.
    pub(crate) fn placed(&self, attempts: u32, waited: Duration) {
        // More are counted with the last, so that this does not grow with what pods go through.
        let attempts = attempts.min(16);
        self.lock().pods.entry(attempts).or_insert_with(|| Histogram::new(&POD)).observe(waited);
    }

    /// So many wait now.
    pub(crate) fn wait(&self, pending: Pending) {
        self.lock().pending = pending;
    }

    /// Adds what was counted, in the text form that Prometheus reads.
    pub fn told(&self, text: &mut String) {
        let counts = self.lock();
        queues(&counts, text);
        scheduler(&counts, text);
    }
}

fn queues(counts: &Counts, text: &mut String) {
    let each = || counts.queues.iter().map(|(name, queue)| (format!("name=\"{name}\""), queue));
    type Of = fn(&Queue) -> u64;
    let simple: [(&str, &str, &str, Of); 3] = [
        ("workqueue_adds_total", "counter", "Total number of adds handled by workqueue", |queue| queue.added),
        ("workqueue_depth", "gauge", "Current depth of workqueue", |queue| queue.added.saturating_sub(queue.taken)),
        ("workqueue_retries_total", "counter", "Total number of retries handled by workqueue", |queue| queue.retried),
    ];
    for (name, kind, help, of) in simple {
        head(text, name, kind, help);
        each().for_each(|(labels, queue)| sample(text, name, &labels, of(queue)));
    }
    let name = "workqueue_work_duration_seconds";
    head(text, name, "histogram", "How long in seconds processing an item from workqueue takes.");
    each().for_each(|(labels, queue)| queue.took.told(text, name, &labels));
}

fn scheduler(counts: &Counts, text: &mut String) {
    let each = || counts.attempts.iter().map(|(what, took)| (format!("{PROFILE},result=\"{}\"", what.as_str()), took));
    let name = "scheduler_schedule_attempts_total";
    head(text, name, "counter", "Number of attempts to schedule pods, by the result.");
    each().for_each(|(labels, took)| sample(text, name, &labels, took.count()));
    let name = "scheduler_scheduling_attempt_duration_seconds";
    head(text, name, "histogram", "Scheduling attempt latency in seconds (scheduling algorithm + binding)");
    each().for_each(|(labels, took)| took.told(text, name, &labels));
    let name = "scheduler_pod_scheduling_sli_duration_seconds";
    head(
        text,
        name,
        "histogram",
        "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue.",
    );
    for (attempts, waited) in &counts.pods {
        waited.told(text, name, &format!("attempts=\"{attempts}\""));
    }
    let name = "scheduler_pending_pods";
    head(text, name, "gauge", "Number of pending pods, by the queue type.");
    let Pending { active, backoff, unschedulable } = counts.pending;
    for (queue, count) in [("active", active), ("backoff", backoff), ("unschedulable", unschedulable)] {
        sample(text, name, &format!("queue=\"{queue}\""), count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_under_the_names_of_kubernetes() {
        let figures = Figures::default();
        for _ in 0..3 {
            figures.added("deployment");
        }
        figures.taken("deployment");
        figures.retried("deployment");
        figures.worked("deployment", Duration::from_millis(2));
        figures.attempted(Attempt::Unschedulable, Duration::from_millis(2));
        figures.attempted(Attempt::Scheduled, Duration::from_millis(2));
        figures.placed(2, Duration::from_secs(1));
        figures.wait(Pending { active: 1, backoff: 2, unschedulable: 3 });
        let mut text = String::new();
        figures.told(&mut text);
        for line in [
            "workqueue_adds_total{name=\"deployment\"} 3",
            "workqueue_depth{name=\"deployment\"} 2",
            "workqueue_retries_total{name=\"deployment\"} 1",
            "workqueue_work_duration_seconds_bucket{name=\"deployment\",le=\"0.01\"} 1",
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} 1",
            "scheduler_scheduling_attempt_duration_seconds_count{profile=\"default-scheduler\",result=\"scheduled\"} 1",
            "scheduler_pod_scheduling_sli_duration_seconds_bucket{attempts=\"2\",le=\"1.28\"} 1",
            "scheduler_pending_pods{queue=\"unschedulable\"} 3",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        figures.begin();
        let mut text = String::new();
        figures.told(&mut text);
        assert!(text.contains("workqueue_depth{name=\"deployment\"} 0\n"), "{text}");
    }
}
