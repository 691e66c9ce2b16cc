//! Programs whose streams go to a client: what runs them, as an interface, and its other side, the server's requests.

mod forward;
#[cfg(test)]
mod refusing;
mod request;
mod session;
mod streams;

use async_trait::async_trait;
use pal_resources::Status;

pub(crate) use forward::forward;
#[cfg(test)]
pub(crate) use refusing::Refusing;
pub(crate) use request::Request;
pub(crate) use session::serve;
pub(crate) use streams::{Size, Streams};

/// A container on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

/// Runs programs in containers, and joins those that run.
#[async_trait]
pub(crate) trait Exec: Send + Sync + 'static {
    /// Finds the container and makes ready what is to run in it; nothing has run yet. What is refused here the client is
    /// told before its connection becomes streams: [`container_not_found`], or why there is no such command.
    async fn exec(&self, target: &Target, command: Vec<String>) -> Result<Box<dyn Session>, Status>;

    /// Finds the container that runs, or refuses: [`nothing_to_join`].
    async fn attach(&self, target: &Target) -> Result<Box<dyn Session>, Status>;
}

/// A program that is about to be streamed.
#[async_trait]
pub(crate) trait Session: Send {
    /// Carries the streams until the program has ended, and says with which exit code; or why it could not run. Output that
    /// was written is on its way when this returns. When it is dropped the client is gone: what exec started ends with it,
    /// what was attached to goes on.
    async fn run(self: Box<Self>, streams: Streams) -> Result<i32, String>;
}

/// There is no such container to run something in, or it does not run: in kubelet's words.
pub(crate) fn container_not_found(target: &Target) -> Status {
    absent(format!("container not found ({:?})", target.container))
}

/// The same to who would join it.
pub(crate) fn nothing_to_join(target: &Target) -> Status {
    absent(format!("container {} not found in pod {}_{}", target.container, target.pod, target.namespace))
}

fn absent(message: String) -> Status {
    Status { code: 500, reason: None, message, details: None }
}
