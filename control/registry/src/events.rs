//! Events are kept for a time and no longer.

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use pal_resources::{Status, resource};

use crate::key;
use crate::object::index_of;
use crate::registry::Registry;

/// How many Events are deleted at the same time: they share the store's flushes.
const TOGETHER: usize = 64;

impl Registry {
    /// Deletes the Events that nothing was added to for as long as they are kept, at most `most` of them. How many it
    /// deleted. A controller calls this from time to time.
    pub async fn purge_events(&self, now: Timestamp, most: usize) -> Result<usize, Status> {
        let events = resource::find("", "v1", "events").ok_or_else(Status::unknown_path)?;
        let ttl = SignedDuration::try_from(self.config().event_ttl).unwrap_or(SignedDuration::MAX);
        let Ok(oldest) = now.checked_sub(ttl) else { return Ok(0) };
        let snapshot = self.shared.store.applied();
        let prefix = key::prefix(&events, None);
        let expired: Vec<_> = snapshot
            .range(&prefix, None)
            .filter(|entry| {
                let index = index_of(entry);
                // Clients write when an Event was last seen; a time to come is no reason to keep it for ever.
                let seen = index.last_seen.filter(|&seen| seen <= now).max(index.created);
                seen.is_none_or(|seen| seen < oldest)
            })
            .take(most)
            .cloned()
            .collect();
        let events = &events;
        let mut removals = futures::stream::iter(expired)
            .map(|entry| async move { self.remove(events, &entry, None, false).await })
            .buffer_unordered(TOGETHER);
        let mut count = 0;
        while let Some(removed) = removals.next().await {
            // One that was written meanwhile has been seen again.
            count += usize::from(removed?.is_some());
        }
        Ok(count)
    }
}
