//! Event objects: repeated ones counted, their rate bounded, never in the way of anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Notes that wait to be written; more than that are dropped.
const QUEUE: usize = 2048;
/// Distinct events whose repetitions are counted.
const REMEMBERED: usize = 4096;
/// Writes a second, and at once.
const RATE: f64 = 50.0;
const BURST: f64 = 100.0;
/// Repetitions that are written at once of what is told of one object, and how often they are after that: a pod that fails
/// every second is told of no oftener than a kubelet tells.
const REPEATS: f64 = 25.0;
const REPEAT_EVERY: Duration = Duration::from_secs(300);
/// Events wait this long, so that the status, which somebody waits for, goes first.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that is worth an Event.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    pub(crate) about: Arc<ObjectReference>,
    /// `spec.containers{name}`, for what concerns one container.
    pub(crate) field_path: Option<String>,
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
}

/// Takes occurrences; clones share the queue.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<Occurrence>);

impl Recorder {
    /// The recorder, and the task that writes what it takes.
    pub(crate) fn new(
        client: kube::Client,
        node: String,
        cancel: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (known, allowances) = (HashMap::new(), HashMap::new());
        let writer = Writer { client, node, known, allowances, named: 0, budget: BURST };
        (Self(sender), writer.run(receiver, cancel))
    }

    pub(crate) fn record(&self, occurrence: Occurrence) {
        if self.0.try_send(occurrence).is_err() {
            tracing::debug!("too many events; one was dropped");
        }
    }
}

/// What makes an occurrence a repetition of another.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    field_path: Option<String>,
    reason: &'static str,
    message: String,
}

impl Key {
    fn of(o: &Occurrence) -> Self {
        let uid = o.about.uid.clone().unwrap_or_default();
        Self { uid, field_path: o.field_path.clone(), reason: o.reason, message: o.message.clone() }
    }
}

struct Known {
    name: String,
    count: i32,
}

/// How many repetitions may still be written of what is told of an object.
struct Allowance {
    left: f64,
    counted: Timestamp,
}

impl Allowance {
    fn new(at: Timestamp) -> Self {
        Self { left: REPEATS, counted: at }
    }

    /// Whether one may be written now.
    fn take(&mut self, at: Timestamp) -> bool {
        let passed = Duration::try_from(self.counted.duration_until(at)).unwrap_or_default();
        self.left = (self.left + passed.as_secs_f64() / REPEAT_EVERY.as_secs_f64()).min(REPEATS);
        self.counted = at;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

struct Writer {
    client: kube::Client,
    node: String,
    known: HashMap<Key, Known>,
    /// By the object's uid.
    allowances: HashMap<String, Allowance>,
    /// The number in the last Event's name, nanoseconds since 1970: names sort as what happened.
    named: u64,
    budget: f64,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Occurrence>, cancel: CancellationToken) {
        let mut batch = Vec::new();
        let mut filled = tokio::time::Instant::now();
        loop {
            let got = tokio::select! {
                n = receiver.recv_many(&mut batch, 64) => n,
                () = cancel.cancelled() => return,
            };
            if got == 0 {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = cancel.cancelled() => return,
            }
            for occurrence in batch.drain(..) {
                let now = tokio::time::Instant::now();
                self.budget = (self.budget + (now - filled).as_secs_f64() * RATE).min(BURST);
                filled = now;
                if self.budget < 1.0 {
                    tokio::time::sleep(Duration::from_secs_f64(1.0 / RATE)).await;
                }
                self.budget -= 1.0;
                let limit = tokio::time::timeout(Duration::from_secs(5), self.write(occurrence));
                match limit.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "event not written"),
                    Err(_) => tracing::debug!("event not written in time"),
                }
            }
        }
    }

    async fn write(&mut self, o: Occurrence) -> Result<(), kube::Error> {
        let key = Key::of(&o);
        let namespace = o.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if let Some(known) = self.known.get_mut(&key) {
            known.count = known.count.saturating_add(1);
            let allowance = self.allowances.entry(key.uid.clone()).or_insert_with(|| Allowance::new(o.at));
            if !allowance.take(o.at) {
                return Ok(());
            }
            let patch = serde_json::json!({"count": known.count, "lastTimestamp": Time(o.at)});
            match api.patch(&known.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                // Its time was over; it is written anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other.map(|_| ()),
            }
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
            self.allowances.clear();
        }
        self.named = number_after(self.named, o.at);
        let event = self.object(&o, &namespace);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.known.insert(key, Known { name, count: 1 });
        Ok(())
    }

    fn object(&self, o: &Occurrence, namespace: &str) -> Event {
        let about = o.about.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{about}.{:x}", self.named)),
                namespace: Some(namespace.to_owned()),
                labels: None::<BTreeMap<_, _>>,
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference { field_path: o.field_path.clone(), ..(*o.about).clone() },
            type_: Some(if o.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(o.reason.to_owned()),
            message: Some(o.message.clone()),
            count: Some(1),
            first_timestamp: Some(Time(o.at)),
            last_timestamp: Some(Time(o.at)),
            source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(self.node.clone()) }),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        }
    }
}

/// The number that names what happened at a time: that time, but later than the one before.
fn number_after(before: u64, at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0).max(before.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_two_containers_is_counted_apart() {
        let told = |uid: &str, container: &str, message: &str| Occurrence {
            about: Arc::new(ObjectReference { uid: Some(uid.to_owned()), ..ObjectReference::default() }),
            field_path: Some(format!("spec.containers{{{container}}}")),
            warning: false,
            reason: "Created",
            message: message.to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        let first = told("u", "a", "Container created");
        let check = |other: Occurrence, same| assert_eq!(Key::of(&first) == Key::of(&other), same, "{other:?}");
        check(told("u", "a", "Container created"), true);
        check(told("u", "b", "Container created"), false);
        check(told("v", "a", "Container created"), false);
        check(told("u", "a", "another"), false);
    }

    #[test]
    fn repetitions_are_written_at_once_until_they_are_many_and_then_from_time_to_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut allowance = Allowance::new(at(0));
        let mut written = |seconds: std::ops::Range<i64>| seconds.filter(|second| allowance.take(at(*second))).count();
        assert_eq!(written(0..25), 25);
        assert_eq!(written(25..300), 0);
        assert_eq!(written(300..1500), 4);
        assert_eq!(written(10_000..10_030), 25);
        assert_eq!(written(0..10), 0, "a clock that was set back");
    }

    #[test]
    fn names_sort_as_what_happened_even_within_a_moment() {
        let at = |nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap();
        let check = |before, now, expected| assert_eq!(number_after(before, at(now)), expected);
        check(0, 1_700, 1_700);
        check(1_700, 1_700, 1_701);
        check(1_701, 1_650, 1_702);
        check(1_702, 1_800, 1_800);
        check(0, -5, 1);
    }
}
