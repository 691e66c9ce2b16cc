//! Commands: components that run from start to exit.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::budget::Budget;
use crate::failure::Failure;
use crate::meter::metered;
use crate::program::Pre;
use crate::workload::{Guest, Workload};
use crate::{Exit, Program, StartError};

/// A command that was started. Dropping it cancels it.
#[derive(Debug)]
pub struct Running {
    budget: Arc<Budget>,
    cancel: CancellationToken,
    exit: watch::Receiver<Option<Exit>>,
    _ends_with_this: DropGuard,
}

impl Running {
    /// Ends the command soon, wherever it is; [`wait`](Self::wait) tells when it is gone.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Another memory limit from now on; refused with the bytes that it has, where those are more.
    pub fn set_memory_limit(&self, bytes: u64) -> Result<(), u64> {
        self.budget.set_limit(bytes)
    }

    /// Waits until it has ended. It may be called again, and by several.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(Exit::Cancelled),
            // The engine's threads are gone, and the command with them.
            Err(_) => Exit::Cancelled,
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }
}

/// Starts the command; it ends when [`Running`] is dropped, and tells how through it.
pub(crate) fn start(program: Arc<Program>, workload: Arc<Workload>) -> Result<Running, StartError> {
    let room = workload
        .engine
        .room()
        .clone()
        .try_acquire_many_owned(program.slots())
        .map_err(|_| StartError::NoRoom("all slots are taken".into()))?;
    let cancel = CancellationToken::new();
    let (ended, exit) = watch::channel(None);
    let guests = workload.engine.guests().clone();
    let meter = workload.spec.meter.clone();
    let budget = workload.budget.clone();
    guests.spawn({
        let cancel = cancel.clone();
        metered(meter, async move {
            let exit = tokio::select! {
                exit = run(program, workload, room) => exit,
                () = cancel.cancelled() => Exit::Cancelled,
            };
            ended.send_replace(Some(exit));
        })
    });
    Ok(Running { budget, _ends_with_this: cancel.clone().drop_guard(), cancel, exit })
}

async fn run(program: Arc<Program>, workload: Arc<Workload>, room: OwnedSemaphorePermit) -> Exit {
    // Dropped after the store, whose slot in the pool the permit stands for.
    let _room = room;
    let _alive = workload.engine.alive();
    let mut store = workload.store();
    let returned = call(program.entry(), &mut store).await;
    match returned {
        Ok(Ok(())) => Exit::Code(0),
        Ok(Err(())) => Exit::Code(1),
        Err(error) => match Failure::of(&error, &store.data().share) {
            Failure::Exit(code) => Exit::Code(code),
            Failure::OutOfMemory | Failure::NodeOutOfMemory => Exit::OutOfMemory,
            Failure::NoRoom(why) | Failure::Trap(why) => Exit::Trap(why),
        },
    }
}

/// Calls the command's entry point.
async fn call(pre: &Pre, store: &mut wasmtime::Store<Guest>) -> wasmtime::Result<Result<(), ()>> {
    match pre {
        Pre::CommandP2(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            command.wasi_cli_run().call_run(store).await
        }
        Pre::CommandP3(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await?
        }
        // `Program::run` has checked the kind.
        Pre::ServiceP2(_) | Pre::ServiceP3(_) => wasmtime::bail!("a service is not a command"),
    }
}
