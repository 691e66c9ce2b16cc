//! What only the server that leads does: the cluster's first objects, the controllers, and telling where the servers are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pal_controllers::{Controllers, Options};
use pal_registry::Registry;
use pal_server::Tunnels;
use pal_store::Role;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::publish::Published;
use crate::bridge::Liveness;

/// How often the members are compared with what is published of them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What could not be written is tried again after this time.
const TRY_AGAIN: Duration = Duration::from_millis(300);

/// What the duties need.
pub struct Duties {
    pub registry: Registry,
    pub tunnels: Arc<Tunnels>,
    /// The controllers' options, but for the liveness of nodes, which begins anew each time.
    pub options: Options,
    pub root_pem: String,
    /// `host:port` of this server.
    pub address: String,
}

/// The task that takes up the duties when this server comes to lead, and lays them down when another does.
pub struct Leadership {
    stop: CancellationToken,
    failed: CancellationToken,
    at_work: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Leadership {
    /// Starts the task.
    pub fn start(duties: Duties) -> Self {
        let (stop, failed) = (CancellationToken::new(), CancellationToken::new());
        let (working, at_work) = watch::channel(false);
        let watcher = Watcher { duties, working, stop: stop.clone() };
        let sentinel = failed.clone().drop_guard();
        let task = tokio::spawn(async move {
            if watcher.run().await.is_ok() {
                sentinel.disarm();
            }
        });
        Self { stop, failed, at_work, task }
    }

    /// Returns when the duties can no longer be done here.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Whether the duties are being done here.
    pub fn at_work(&self) -> watch::Receiver<bool> {
        self.at_work.clone()
    }

    /// Lays the duties down, and returns when that is done.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        // A fault in it was told by `failed`.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The controllers have stopped by themselves.
struct Failed;

struct Watcher {
    duties: Duties,
    working: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Watcher {
    async fn run(self) -> Result<(), Failed> {
        let mut roles = self.duties.registry.store().roles();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                leads = roles.wait_for(|role| *role == Role::Leader) => if leads.is_err() {
                    // The store is closed, which is told elsewhere.
                    return Ok(());
                },
            }
            tracing::info!("this server leads");
            let over = async {
                tokio::select! {
                    () = self.stop.cancelled() => {}
                    // It is closed, or another leads.
                    _ = roles.wait_for(|role| *role != Role::Leader) => {}
                }
            };
            let outcome = self.lead(over).await;
            self.working.send_replace(false);
            outcome?;
            tracing::info!("this server leads no more");
        }
    }

    /// Does the duties until they are over.
    async fn lead(&self, over: impl Future<Output = ()>) -> Result<(), Failed> {
        tokio::pin!(over);
        let published = tokio::select! {
            biased;
            () = &mut over => return Ok(()),
            published = self.prepare() => published,
        };
        let controllers = self.controllers()?;
        self.working.send_replace(true);
        let outcome = tokio::select! {
            biased;
            () = &mut over => Ok(()),
            () = controllers.failed() => Err(Failed),
            never = self.keep_published(published) => match never {},
        };
        controllers.stop().await;
        outcome
    }

    fn published(&self) -> Published {
        Published::of(&self.duties.registry, &self.duties.root_pem, &self.duties.address)
    }

    /// What must be there before anything else is done.
    async fn prepare(&self) -> Published {
        loop {
            let published = self.published();
            match published.bootstrap(&self.duties.registry).await {
                Ok(()) => return published,
                Err(status) => tracing::warn!(%status, "the cluster's first objects could not be written"),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    fn controllers(&self) -> Result<Controllers, Failed> {
        // How long a node was silent counts from now: while this server did not lead, nobody here listened.
        let liveness = Liveness { tunnels: self.duties.tunnels.clone(), since: Instant::now() };
        let options = Options { liveness: Arc::new(liveness), ..self.duties.options.clone() };
        pal_controllers::start(self.duties.registry.clone(), options, CancellationToken::new()).map_err(|error| {
            tracing::error!(%error, "the controllers do not start");
            Failed
        })
    }

    /// Publishes the servers' addresses as they change.
    async fn keep_published(&self, mut published: Published) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.published();
            if now == published {
                continue;
            }
            match now.publish(&self.duties.registry).await {
                Ok(()) => published = now,
                Err(status) => tracing::warn!(%status, "the servers' addresses could not be published"),
            }
        }
    }
}
