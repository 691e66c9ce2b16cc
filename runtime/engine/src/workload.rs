//! What the instances of one workload have in common, and what each of them starts with.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::budget::{Budget, Share};
use crate::engine::Engine;
use crate::hooks::Hooks;
use crate::output::{Output, Throttle};
use crate::{InstanceSpec, Mount, StartError};

/// One workload: a pod's container, and all of its live instances.
pub(crate) struct Workload {
    pub(crate) engine: Engine,
    pub(crate) spec: InstanceSpec,
    pub(crate) budget: Arc<Budget>,
    throttle: Arc<Throttle>,
}

impl Workload {
    /// Checks the mounts and sets up what the instances share.
    pub(crate) fn new(engine: Engine, mut spec: InstanceSpec) -> Result<Arc<Self>, StartError> {
        spec.env = last_of_each(spec.env);
        for mount in &spec.mounts {
            check_mount(mount)?;
        }
        Ok(Arc::new(Self {
            budget: Budget::workload(
                engine.memory().clone(),
                spec.memory_limit,
                engine.config().unlimited_instance_bytes,
            ),
            throttle: Arc::new(Throttle::new(Instant::now())),
            engine,
            spec,
        }))
    }

    /// A store for a new instance.
    pub(crate) fn store(self: &Arc<Self>) -> Store<Guest> {
        let guest = Guest {
            table: ResourceTable::new(),
            wasi: None,
            http: WasiHttpCtx::new(),
            hooks: Hooks::new(self.clone()),
            share: Share::new(self.budget.clone()),
            workload: self.clone(),
        };
        let mut store = Store::new(self.engine.wasm(), guest);
        store.limiter(|guest| &mut guest.share);
        // At each tick a guest lets others run, and whoever waits for its end can look at the clock.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store
    }

    /// Writes a line of the engine's own to the workload's stderr.
    pub(crate) fn report(&self, line: &str) {
        let mut line = line.replace('\n', " ");
        line.push('\n');
        self.spec.stderr.write(line.as_bytes());
    }

    fn wasi(&self) -> WasiCtx {
        let mut builder = WasiCtxBuilder::new();
        builder
            .args(&self.spec.args)
            .envs(&self.spec.env)
            .stdout(Output::new(self.spec.stdout.clone(), self.throttle.clone()))
            .stderr(Output::new(self.spec.stderr.clone(), self.throttle.clone()))
            // The interfaces can be linked, but nothing can be done with them.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        for mount in &self.spec.mounts {
            let perms = if mount.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            if let Err(why) = builder.preopened_dir(&mount.host, &mount.guest, perms) {
                // It was there at the start. The guest finds it missing, and the log says why.
                self.report(&format!("mount {}: {why:#}", mount.guest));
            }
        }
        builder.build()
    }
}

/// Of several variables with one name the last counts, as in a shell.
fn last_of_each(env: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = env.into_iter().rev().filter(|(name, _)| seen.insert(name.clone())).collect();
    kept.reverse();
    kept
}

fn check_mount(mount: &Mount) -> Result<(), StartError> {
    let refused = |why: String| StartError::Mount { guest: mount.guest.clone(), host: mount.host.clone(), why };
    if !mount.guest.starts_with('/') {
        return Err(refused("the guest's path must be absolute".into()));
    }
    match std::fs::metadata(&mount.host) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(refused("not a directory".into())),
        Err(e) => Err(refused(e.to_string())),
    }
}

/// What a store holds: the host's side of one instance.
pub(crate) struct Guest {
    table: ResourceTable,
    /// Made when the guest first asks for it, as many requests never do.
    wasi: Option<WasiCtx>,
    http: WasiHttpCtx,
    hooks: Hooks,
    pub(crate) share: Share,
    workload: Arc<Workload>,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.get_or_insert_with(|| self.workload.wasi()), table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_variables_with_one_name_the_last_counts() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let check = |given: &[(&str, &str)], expected: &[(&str, &str)]| {
            assert_eq!(last_of_each(pairs(given)), pairs(expected));
        };
        check(&[], &[]);
        check(&[("A", "1"), ("B", "2")], &[("A", "1"), ("B", "2")]);
        check(&[("A", "1"), ("B", "2"), ("A", "3")], &[("B", "2"), ("A", "3")]);
    }

    #[test]
    fn a_mount_that_is_no_directory_is_refused_by_name() {
        let check = |host: &str, guest: &str, expected: &str| {
            let error = check_mount(&Mount { host: host.into(), guest: guest.into(), read_only: true })
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected) && error.contains(guest), "{error}");
        };
        check("/nonexistent", "/data", "No such file");
        check("/proc/version", "/data", "not a directory");
        check("/tmp", "data", "absolute");
    }
}
