//! What the API was told of a pod, and what it is to be told when.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use pal_lifecycle::{Urgency, urgency};
use tokio::time::Instant;

use super::Shared;
use super::records::Kept;
use super::report::{self, SharedStatus, Written};
use crate::retry::Retry;

/// How long changes that nobody waits for are collected before they are reported.
const COLLECT: Duration = Duration::from_millis(150);

/// The reports of one pod: one at a time, the latest status only.
pub(super) struct Reporting {
    latest: Option<SharedStatus>,
    /// Nothing at first: what the server has may be older than what is on disk.
    written: Option<SharedStatus>,
    /// The version of the object that `written` made.
    written_version: u64,
    under_way: bool,
    due: Option<Instant>,
    not_before: Option<Instant>,
    retry: Retry,
    /// The object is to be deleted.
    remove: bool,
    kept: Kept,
}

/// How a report ended.
pub(super) enum Reported {
    Status(SharedStatus, Written),
    Removal(Written),
}

impl Reporting {
    pub(super) fn new() -> Self {
        Self {
            latest: None,
            written: None,
            written_version: 0,
            under_way: false,
            due: None,
            not_before: None,
            retry: Retry::new(Duration::from_millis(500), Duration::from_secs(10)),
            remove: false,
            kept: Kept::default(),
        }
    }

    /// Whether the pod is kept on disk.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The object is to be deleted, after the last status where somebody may want to see it.
    pub(super) fn remove(&mut self) {
        self.remove = true;
    }

    /// Takes the present status of a pod in, which may be meant to end, and decides when it is written.
    pub(super) fn plan(&mut self, status: SharedStatus, ends: bool) {
        let last = if self.under_way { self.latest.as_ref() } else { self.written.as_ref() };
        let now = Instant::now();
        self.due = match urgency(last.map(|s| &**s), &status, ends) {
            Urgency::None => None,
            Urgency::Soon => Some(self.due.unwrap_or(now + COLLECT)),
            // The time runs from when it came to be so.
            Urgency::Later if self.latest.as_ref() == Some(&status) => Some(self.due.unwrap_or(now)),
            Urgency::Later => Some(now + COLLECT),
            Urgency::Now => Some(now),
        };
        self.latest = Some(status);
    }

    /// Somebody else may have written what is not so, as a controller does when a node seems to be away: then what is so
    /// is written again.
    pub(super) fn compare(&mut self, pod: &Pod) {
        let later = report::version(&pod.metadata) > self.written_version;
        if let (false, true, Some(written), Some(told)) = (self.under_way, later, &self.written, &pod.status)
            && !report::agree(written, told)
        {
            self.written = None;
        }
    }

    /// When to ask [`next`](Self::next) again.
    pub(super) fn wake(&self) -> Option<Instant> {
        let due = self.due.filter(|_| !self.under_way)?;
        Some(self.not_before.map_or(due, |at| at.max(due)))
    }

    /// The write that is due, if one is.
    pub(super) fn next(&mut self, shared: &Arc<Shared>, pod: &Arc<Pod>) -> Option<BoxFuture<'static, Reported>> {
        let now = Instant::now();
        if self.under_way || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let (shared, pod) = (shared.clone(), pod.clone());
        if self.remove && (self.due.is_none() || !self.has_last_word(&pod)) {
            self.under_way = true;
            return Some(Box::pin(async move { Reported::Removal(report::remove(&shared, &pod).await) }));
        }
        let status = self.latest.clone().filter(|_| self.due.is_some_and(|due| due <= now))?;
        let (before, kept) = (self.written.clone(), self.kept.clone());
        (self.under_way, self.due) = (true, None);
        Some(Box::pin(async move {
            let written = report::write_status(&shared, &pod, &status, before.as_deref()).await;
            save(&shared, &kept, pod, &status).await;
            Reported::Status(status, written)
        }))
    }

    /// Whether the status is to be written before the object goes: how the pod ended, for those who count that, and all
    /// of it where a finalizer's owner may want it.
    fn has_last_word(&self, pod: &Pod) -> bool {
        let phase = |status: &Option<SharedStatus>| status.as_ref().and_then(|status| status.phase.clone());
        let ended = phase(&self.latest).filter(|phase| matches!(phase.as_str(), "Succeeded" | "Failed"));
        let finalizers = pod.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        finalizers || ended.is_some() && ended != phase(&self.written)
    }

    /// Takes the end of a write in. True when it turned out that the object is gone.
    pub(super) fn done(&mut self, reported: Reported, pod: &Pod) -> bool {
        self.under_way = false;
        let name = pod.metadata.name.as_deref();
        match reported {
            Reported::Status(status, Written::Done(version)) => {
                self.retry.reset();
                (self.not_before, self.written, self.written_version) = (None, Some(status), version);
                // A server that tells no version cannot be compared with.
                if version > 0 {
                    self.compare(pod);
                }
            }
            // It has gone, of which the watch will tell.
            Reported::Status(status, Written::NoSuchPod) => self.written = Some(status),
            Reported::Status(status, Written::Refused(why)) => {
                tracing::warn!(pod = name, namespace = pod.metadata.namespace, why, "status refused");
                self.written = Some(status);
            }
            Reported::Status(_, Written::Failed(why)) => {
                tracing::debug!(pod = name, why, "status not written");
                self.not_before = Some(Instant::now() + self.retry.pause());
            }
            Reported::Removal(Written::Done(_)) => (self.remove, self.due) = (false, None),
            Reported::Removal(Written::NoSuchPod) => {
                self.remove = false;
                return true;
            }
            Reported::Removal(Written::Refused(why) | Written::Failed(why)) => {
                tracing::debug!(pod = name, why, "pod not deleted");
                let at = Instant::now() + self.retry.pause();
                (self.not_before, self.due) = (Some(at), Some(at));
            }
        }
        false
    }
}

/// Keeps the pod with that status on disk.
pub(super) async fn save(shared: &Arc<Shared>, kept: &Kept, pod: Arc<Pod>, status: &SharedStatus) {
    let (records, kept, status) = (shared.records.clone(), kept.clone(), status.clone());
    match tokio::task::spawn_blocking(move || records.save(&kept, &pod, Some(&status))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "pod not kept on disk"),
        Err(error) => tracing::warn!(%error, "pod not kept on disk"),
    }
}
