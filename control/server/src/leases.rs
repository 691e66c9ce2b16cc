//! Follows the Leases of nodes: a renewal at any server is a sign of life that this one sees.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pal_registry::{Registry, Watch, WatchEvent, WatchOptions};
use pal_resources::{ResourceVersion, Status, resource};
use tokio_util::sync::CancellationToken;

use crate::Tunnels;

/// Where nodes keep their Leases, each under its own name.
const NAMESPACE: &str = "kube-node-lease";
/// A watch that could not be begun is tried again after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// Tells the tunnels of every renewal, until `stop`.
pub(crate) async fn follow(registry: Registry, tunnels: Arc<Tunnels>, stop: CancellationToken) {
    let following = async {
        loop {
            match begin(&registry).await {
                Ok(mut watch) => {
                    while let Some(event) = watch.next().await {
                        take(&tunnels, &event);
                    }
                }
                Err(error) => tracing::debug!(%error, "the leases of nodes cannot be followed"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = following => {}
        () = stop.cancelled() => {}
    }
}

/// What happens from now on. What there is already may be as old as it likes, and says nothing.
async fn begin(registry: &Registry) -> Result<Watch, Status> {
    let leases = resource::find("coordination.k8s.io", "v1", "leases").ok_or_else(Status::unknown_path)?;
    let now = registry.store().applied().revision();
    let options = WatchOptions { after: Some(ResourceVersion(now.0)), ..WatchOptions::default() };
    registry.watch(&leases, Some(NAMESPACE), options).await
}

fn take(tunnels: &Tunnels, event: &WatchEvent) {
    match event {
        WatchEvent::Added(lease) | WatchEvent::Modified(lease) => tunnels.renewed(lease.name(), Instant::now()),
        WatchEvent::Deleted(lease) => tunnels.forget(lease.name()),
        // The watch ends, and the next one begins with what happens then.
        WatchEvent::Error(_) | WatchEvent::Bookmark { .. } => {}
    }
}
