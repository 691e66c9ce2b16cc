//! The one way in which the agent watches the API: list, watch, and both again after errors, for ever.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use tokio_util::sync::CancellationToken;

use crate::join::root_cause;
use crate::retry::Retry;

/// The pauses between attempts.
struct Pauses(Retry);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0.pause())
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Tells `take` of all that happens, until `cancel`.
pub(crate) async fn observe<K>(
    api: Api<K>,
    config: watcher::Config,
    cancel: CancellationToken,
    mut take: impl FnMut(Event<K>),
) where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let pauses = Pauses(Retry::new(Duration::from_millis(200), Duration::from_secs(5)));
    let stream = kube::runtime::watcher(api, config).backoff(pauses);
    let mut stream = std::pin::pin!(stream);
    loop {
        tokio::select! {
            event = stream.next() => match event {
                Some(Ok(event)) => take(event),
                Some(Err(error)) => {
                    tracing::debug!(kind = %K::kind(&()), error = root_cause(&error), "watch interrupted");
                }
                None => return,
            },
            () = cancel.cancelled() => return,
        }
    }
}
