//! The work that the driver hands out, and what follows when it is over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};

use super::execute::{Failed, Outcome, Wrote};
use super::key::Key;
use super::place::{Bound, ToBind};
use super::{Driver, PURGE_AGAIN, PURGE_EVERY, PURGE_MOST};

/// Plans that are carried out at once, and bindings that are written at once.
const PLANS: usize = 32;
const BINDINGS: usize = 128;
/// How long a job may take. What it wrote by then is told by the watch.
const LIMIT: Duration = Duration::from_secs(60);

/// What a job is about.
pub(super) enum Subject {
    Plan(Key),
    /// The status of a pod that fits nowhere.
    Report,
    Binding(ToBind),
}

/// What a job says when it is over.
pub(super) enum Done {
    Plan {
        again: Option<Duration>,
        outcome: Outcome,
    },
    Report(Outcome),
    Bound(Bound),
    /// So many old Events were deleted.
    Purged(usize),
}

/// The running jobs.
#[derive(Default)]
pub(super) struct Jobs {
    set: JoinSet<Option<Done>>,
    subjects: HashMap<Id, Subject>,
    plans: usize,
    bindings: usize,
}

/// A job that is over; `done` is `None` when it did not come to an end.
pub(super) struct Over {
    subject: Subject,
    done: Option<Done>,
}

impl Jobs {
    pub(super) fn spawn(&mut self, subject: Subject, work: impl Future<Output = Done> + Send + 'static) {
        *self.count(&subject) += 1;
        let handle = self.set.spawn(async move { tokio::time::timeout(LIMIT, work).await.ok() });
        self.subjects.insert(handle.id(), subject);
    }

    /// The next job that is over; `None` when none is running.
    pub(super) async fn next(&mut self) -> Option<Over> {
        loop {
            let joined: Result<(Id, Option<Done>), JoinError> = self.set.join_next_with_id().await?;
            let (id, done) = match joined {
                Ok(joined) => joined,
                Err(error) => {
                    tracing::error!(%error, "a controller's job failed");
                    (error.id(), None)
                }
            };
            // Every job was given its subject when it was spawned.
            let Some(subject) = self.subjects.remove(&id) else { continue };
            *self.count(&subject) -= 1;
            return Some(Over { subject, done });
        }
    }

    pub(super) fn has_room_for_plan(&self) -> bool {
        self.plans < PLANS
    }

    pub(super) fn has_room_for_binding(&self) -> bool {
        self.bindings < BINDINGS
    }

    pub(super) async fn shutdown(&mut self) {
        self.set.shutdown().await;
    }

    fn count(&mut self, subject: &Subject) -> &mut usize {
        match subject {
            Subject::Plan(_) => &mut self.plans,
            Subject::Report | Subject::Binding(_) => &mut self.bindings,
        }
    }
}

impl Driver {
    pub(super) fn done(&mut self, over: Over) {
        match (over.subject, over.done) {
            (Subject::Plan(key), Some(Done::Plan { again, outcome })) => self.plan_done(key, again, outcome),
            (Subject::Plan(key), Some(Done::Purged(count))) => {
                self.queue.done(&key);
                let after = if count == PURGE_MOST { PURGE_AGAIN } else { PURGE_EVERY };
                self.look_again(key, Some(after));
            }
            (Subject::Plan(key), _) => {
                tracing::warn!(?key, "a controller did not finish its work, will try again");
                self.queue.failed(&key, Instant::now());
            }
            (Subject::Binding(_), Some(Done::Bound(bound))) => {
                self.placer.bound(&bound, Instant::now());
                if let Ok(object) = &bound.result {
                    let change = self.cache.wrote(self.looker.at.pods, object, false);
                    change.iter().for_each(|change| self.changed(change));
                }
            }
            (Subject::Binding(to_bind), _) => self.placer.lost(to_bind, Instant::now()),
            (Subject::Report, Some(Done::Report(outcome))) => {
                if outcome.failure.is_some() {
                    self.placer.not_written();
                }
                self.take_in_written(outcome.wrote);
            }
            (Subject::Report, _) => {}
        }
    }

    fn plan_done(&mut self, key: Key, again: Option<Duration>, mut outcome: Outcome) {
        // First what was written, so that no look misses it.
        self.take_in_written(std::mem::take(&mut outcome.wrote));
        let verified = !outcome.absent.is_empty();
        for uid in outcome.absent.drain(..) {
            self.cache.is_absent(uid);
        }
        let measured = outcome.measured.take();
        let verified = verified || measured.is_some();
        if let Some((place, found)) = measured {
            self.looker.autoscalers.entry(place).or_default().0 = Some(found);
        }
        self.remember_failure(&key, &mut outcome);
        match outcome.failure {
            None => {
                self.queue.done(&key);
                if verified {
                    self.queue.add(key);
                } else {
                    self.look_again(key, again);
                }
            }
            Some(failure) => self.plan_failed(&key, &failure),
        }
    }

    fn plan_failed(&mut self, key: &Key, failure: &Failed) {
        if failure.is_usual() {
            tracing::debug!(?key, %failure, "will look again");
        } else {
            tracing::warn!(?key, %failure, "a controller could not do its work, will try again");
        }
        self.queue.failed(key, Instant::now());
    }

    /// A set's failure to create or delete pods shows in its status until it succeeds.
    fn remember_failure(&mut self, key: &Key, outcome: &mut Outcome) {
        if !matches!(key, Key::ReplicaSet(_) | Key::Controller(_)) {
            return;
        }
        let failures = &mut self.looker.failures;
        match outcome.replicas.take() {
            Some(failure) => {
                failures.insert(key.clone(), failure);
            }
            None if outcome.failure.is_none() && failures.remove(key).is_some() => {
                self.queue.add(key.clone());
            }
            None => {}
        }
    }

    fn take_in_written(&mut self, wrote: Vec<Wrote>) {
        for Wrote { resource, object, gone } in wrote {
            let Some(position) = self.cache.position(&resource) else { continue };
            if let Some(change) = self.cache.wrote(position, &object, gone) {
                self.changed(&change);
            }
        }
    }
}
