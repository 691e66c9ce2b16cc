//! Commands: components that run from start to exit.

use crate::Exit;

/// A command that was started. Dropping it cancels it.
pub struct Running {}

impl Running {
    /// Ends the command soon, wherever it is; [`wait`](Self::wait) tells when it is gone.
    pub fn cancel(&self) {}

    /// Waits until it has ended. It may be called again, and by several.
    pub async fn wait(&self) -> Exit {
        Exit::Cancelled
    }
}
