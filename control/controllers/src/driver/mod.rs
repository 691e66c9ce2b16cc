//! The one place that watches, queues and writes.
//!
//! One task owns all state: the cache, the work queue, the scheduler. What others do (watch a resource, carry out a plan,
//! write a binding) comes to it as an event. It looks at what a change concerns, through the pure reconciles, and hands
//! out the writes; what was written is in its cache before the same key is looked at again.

mod cache;
mod claims;
mod contents;
mod customs;
mod directories;
mod events;
mod execute;
mod forget;
mod job;
mod key;
mod known;
mod look;
mod measure;
mod place;
mod positions;
mod preempt;
mod queue;
mod recorder;
mod services;
mod storage;
mod watch;
mod workloads;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pal_registry::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::node::condition;
use crate::node::disruption::Disruption;
use crate::node::registration;
use crate::node::taints::Noticed;
use crate::object::name;
use cache::{Cache, Change};
use customs::Customs;
use execute::Executor;
use job::{Done, Jobs, Subject};
use key::{Key, Wanted, node_of, wanted};
use known::Whole;
use look::{Looker, Moment};
use place::{Next, Placer};
use positions::Positions;
use queue::{Named, WorkQueue};
use watch::Told;

pub use positions::MissingResource;

/// Changes that wait to be taken in; a machine waits when there are more.
const CHANGES: usize = 1024;
/// Changes that are taken in before anything else is done.
const TAKEN_AT_ONCE: usize = 128;
/// How often old Events are looked for, how many are purged at once, and how soon again when there were as many.
const PURGE_EVERY: Duration = Duration::from_secs(30);
const PURGE_MOST: usize = 500;
const PURGE_AGAIN: Duration = Duration::from_millis(500);

/// Where tasks belong, and how they end.
pub(crate) struct Tasks<'a> {
    pub tracker: &'a TaskTracker,
    /// Ends them.
    pub stop: &'a CancellationToken,
    /// Cancelled when one ends by itself.
    pub failed: &'a CancellationToken,
}

impl Tasks<'_> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let sentinel = Sentinel { stop: self.stop.clone(), failed: self.failed.clone() };
        self.tracker.spawn(async move {
            let _sentinel = sentinel;
            task.await;
        });
    }
}

/// Tells when its task is over although nobody stopped it: by a panic, mostly, which would go unnoticed.
struct Sentinel {
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            tracing::error!("a task of the controllers has ended, which should go on");
            self.failed.cancel();
        }
    }
}

/// Starts all tasks.
pub(crate) fn start(registry: Registry, options: Options, tasks: &Tasks<'_>) -> Result<(), MissingResource> {
    let stop = tasks.stop;
    let resources = positions::watched();
    let at = Positions::of(&resources)?;
    let (sender, changes) = mpsc::channel(CHANGES);
    for (position, resource) in resources.iter().enumerate() {
        tasks.spawn(watch::run(registry.clone(), resource.clone(), position, sender.clone(), stop.clone()));
    }
    let (recorder, writer) = recorder::recorder(registry.clone());
    tasks.spawn(writer.run(stop.clone()));
    let options = Arc::new(options);
    let driver = Driver {
        cache: Cache::new(&resources, registry.made().clone()),
        queue: WorkQueue::new(options.figures.clone()),
        placer: Placer::new(registry.clone(), recorder.clone(), options.figures.clone()),
        looker: Looker {
            at,
            registry: registry.clone(),
            options: options.clone(),
            started: Timestamp::now(),
            failures: HashMap::new(),
            missing: HashMap::new(),
            said: HashMap::new(),
            autoscalers: HashMap::new(),
            daemon_failures: HashMap::new(),
            disruption: Disruption::default(),
            noticed: Noticed::default(),
            resumed: false,
        },
        executor: Executor {
            registry,
            signer: options.signer.clone(),
            tokens: options.tokens.clone(),
            metrics: options.metrics.clone(),
            directories: options.directories.clone(),
            recorder,
        },
        unlisted: resources.len(),
        listed: vec![false; resources.len()],
        jobs: Jobs::default(),
        liveness: options.liveness.changed(),
        changes,
        customs: Customs::new(tasks, sender),
        stop: stop.clone(),
    };
    tasks.spawn(driver.run());
    Ok(())
}

struct Driver {
    cache: Cache,
    queue: WorkQueue<Key>,
    placer: Placer,
    looker: Looker,
    executor: Executor,
    /// Resources that have not been listed yet: until they are, nothing is looked at.
    unlisted: usize,
    listed: Vec<bool>,
    jobs: Jobs,
    liveness: tokio::sync::watch::Receiver<u64>,
    changes: mpsc::Receiver<Told>,
    customs: Customs,
    stop: CancellationToken,
}

impl Driver {
    async fn run(mut self) {
        self.queue.add(Key::Events);
        self.queue.add(Key::Terminated);
        let mut liveness_open = true;
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(done) = self.jobs.next() => self.done(done),
                told = self.changes.recv() => match told {
                    Some(told) => self.take_in(told),
                    None => break,
                },
                changed = self.liveness.changed(), if liveness_open => match changed {
                    Ok(()) => self.look_at_all_nodes(),
                    Err(_) => liveness_open = false,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            if self.unlisted == 0 {
                self.place_pods();
                self.look();
            }
        }
        // Writes that were begun are seen through by the store; nobody waits for them here.
        self.jobs.shutdown().await;
    }

    fn next_wake(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        if self.unlisted > 0 {
            return far;
        }
        let plans = if self.jobs.has_room_for_plan() { self.queue.next_wake() } else { None };
        let pods = if self.jobs.has_room_for_binding() { self.placer.next_wake() } else { None };
        plans.into_iter().chain(pods).fold(far, Instant::min)
    }

    /// Takes in a change and those that wait behind it.
    fn take_in(&mut self, told: Told) {
        self.take_in_one(told);
        for _ in 1..TAKEN_AT_ONCE {
            match self.changes.try_recv() {
                Ok(told) => self.take_in_one(told),
                Err(_) => return,
            }
        }
    }

    fn take_in_one(&mut self, told: Told) {
        if self.customs.is_over(&told) {
            return;
        }
        // What was there before these controllers began is no news.
        let is_news = matches!(told, Told::Changed { .. } | Told::Deleted { .. });
        let changes: Vec<Change> = match told {
            Told::Changed { resource, object } => self.cache.told(resource, &object, false).into_iter().collect(),
            Told::Deleted { resource, object } => self.cache.told(resource, &object, true).into_iter().collect(),
            Told::All { resource, version, objects } => {
                self.customs.listed(resource).into_iter().for_each(|key| self.queue.add(key));
                if let Some(listed) = self.listed.get_mut(resource)
                    && !std::mem::replace(listed, true)
                {
                    self.unlisted -= 1;
                }
                self.cache.told_all(resource, version, &objects)
            }
        };
        for change in changes {
            if is_news
                && let Some(note) = registration(node_of(&change.before).as_deref(), node_of(&change.after).as_deref())
            {
                self.executor.recorder.tell(note);
            }
            self.changed(&change);
        }
    }

    /// What follows from a change of the cache.
    fn changed(&mut self, change: &Change) {
        self.placer.changed(change);
        let address = &change.address;
        if address.0 == self.looker.at.definitions {
            self.follow_customs();
        }
        match (&change.before, &change.after) {
            (_, Some(known)) if matches!(known.whole, Whole::Node(_)) => {
                self.looker.missing.remove(&address.1.1);
            }
            (Some(known), None) => {
                self.forget(address, known);
                if matches!(known.whole, Whole::Node(_)) {
                    // The others may be too few now, or enough.
                    self.look_at_all_nodes();
                }
            }
            _ => {}
        }
        let now = Instant::now();
        for Wanted { key, within } in wanted(&self.cache, &self.looker.at, change) {
            if within.is_zero() {
                self.queue.add(key);
            } else {
                self.queue.add_at(key, now + within);
            }
        }
    }

    fn look_at_all_nodes(&mut self) {
        for name in self.looker.node_names(&self.cache) {
            self.queue.add(Key::Node(name));
        }
    }

    /// Looks at the pods that a disruption kept where they are.
    fn look_at_pods_of_lost_nodes(&mut self) {
        for node in self.looker.nodes(&self.cache) {
            if condition(&node, "Ready").is_none_or(|ready| ready.status != "True") {
                for place in self.cache.pods_on(name(&node.metadata)) {
                    self.queue.add(Key::Pod(place.clone()));
                }
            }
        }
    }

    /// Deals with pods that want a node, before anything else: somebody waits for them.
    fn place_pods(&mut self) {
        let now = Instant::now();
        self.place_pods_while_there_is_room(now);
        self.placer.tell_pending();
    }

    fn place_pods_while_there_is_room(&mut self, now: Instant) {
        while self.jobs.has_room_for_binding() {
            let (cache, pods) = (&self.cache, self.looker.at.pods);
            let pod_at = |place: &cache::Place| match cache.get(&(pods, place.clone()))?.whole {
                Whole::Pod(ref pod) => Some(pod.clone()),
                _ => None,
            };
            match self.placer.next(now, pod_at) {
                None => return,
                Some(Next::Bind(to_bind)) => {
                    let subject = Subject::Binding(to_bind.clone());
                    let bind = self.placer.bind(to_bind);
                    self.jobs.spawn(subject, async move { Done::Bound(bind.await) });
                }
                Some(Next::Report(actions)) => {
                    let executor = self.executor.clone();
                    self.jobs.spawn(Subject::Report, async move { Done::Report(executor.execute(actions).await) });
                }
            }
        }
    }

    /// Looks at what wants it, and hands out what is to be written.
    fn look(&mut self) {
        while self.jobs.has_room_for_plan() {
            let now = Moment::now();
            let Some(key) = self.queue.pop(now.monotonic) else { return };
            if key == Key::Events {
                self.purge();
                continue;
            }
            let plan = self.looker.look(&self.cache, &key, now);
            if std::mem::take(&mut self.looker.resumed) {
                self.look_at_pods_of_lost_nodes();
            }
            let (name, figures) = (key.name(), &self.looker.options.figures);
            if plan.actions.is_empty() {
                figures.worked(name, now.monotonic.elapsed());
                self.queue.done(&key);
                self.look_again(key, plan.again);
                continue;
            }
            let (executor, figures) = (self.executor.clone(), figures.clone());
            self.jobs.spawn(Subject::Plan(key), async move {
                let outcome = executor.execute(plan.actions).await;
                figures.worked(name, now.monotonic.elapsed());
                Done::Plan { again: plan.again, outcome }
            });
        }
    }

    fn purge(&mut self) {
        let registry = self.executor.registry.clone();
        self.jobs.spawn(Subject::Plan(Key::Events), async move {
            let purged = registry.purge_events(Timestamp::now(), PURGE_MOST).await;
            Done::Purged(purged.unwrap_or_else(|status| {
                tracing::warn!(%status, "old events could not be deleted");
                0
            }))
        });
    }

    fn look_again(&mut self, key: Key, after: Option<Duration>) {
        if let Some(after) = after {
            self.queue.add_at(key, Instant::now() + after);
        }
    }
}
