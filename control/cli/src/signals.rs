//! Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::CliError;

/// Exit code of a process that a second Ctrl-C ended (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels. Must be called within the runtime.
pub fn stop_on_signal() -> Result<CancellationToken, CliError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::other)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::other)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    // Lives as long as the process: it is what ends it.
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stopped.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            stopped.cancel();
        }
    });
    Ok(stop)
}
