//! What the instances of one workload have in common, and what each of them starts with.

use std::collections::HashSet;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::beneath;
use crate::budget::{Budget, Share};
use crate::engine::Engine;
use crate::hooks::Hooks;
use crate::input::Input;
use crate::output::{Output, Throttle};
use crate::{InstanceSpec, Mount, StartError};

/// Bytes of one set of headers that a guest makes: they are the host's memory, which no budget counts.
const MAX_FIELDS_BYTES: usize = 16 << 10;

/// One workload: a pod's container, and all of its live instances.
pub(crate) struct Workload {
    pub(crate) engine: Engine,
    pub(crate) spec: InstanceSpec,
    pub(crate) budget: Arc<Budget>,
    /// The mounts' directories, in their order. Paths would lead elsewhere once a guest has exchanged a part of them.
    dirs: Vec<OwnedFd>,
    /// Handles of the host's (files, streams, headers) that an instance may have at a time.
    max_handles: usize,
    throttle: Arc<Throttle>,
}

impl Workload {
    /// Checks the mounts and sets up what the instances share.
    pub(crate) fn new(engine: Engine, mut spec: InstanceSpec, max_handles: usize) -> Result<Arc<Self>, StartError> {
        spec.env = last_of_each(spec.env);
        let dirs = spec.mounts.iter().map(open_mount).collect::<Result<_, _>>()?;
        let budget =
            Budget::workload(engine.memory().clone(), spec.memory_limit, engine.config().unlimited_instance_bytes);
        spec.meter.tell(&budget);
        Ok(Arc::new(Self {
            budget,
            dirs,
            max_handles,
            throttle: Arc::new(Throttle::new(Instant::now())),
            engine,
            spec,
        }))
    }

    /// A store for a new instance.
    pub(crate) fn store(self: &Arc<Self>) -> Store<Guest> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(self.max_handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        let guest = Guest {
            table,
            wasi: None,
            files: None,
            http,
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
            .stdout(Output::new(self.spec.stdout.clone(), self.throttle.clone(), self.spec.terminal))
            .stderr(Output::new(self.spec.stderr.clone(), self.throttle.clone(), self.spec.terminal))
            // The interfaces can be linked, but nothing can be done with them.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(reader) = self.spec.stdin.take() {
            builder.stdin(Input::new(reader, self.spec.terminal));
        }
        builder.build()
    }

    /// The mounts, opened for one instance.
    fn files(&self) -> WasiCtx {
        let mut builder = WasiCtxBuilder::new();
        for (mount, dir) in self.spec.mounts.iter().zip(&self.dirs) {
            let perms = if mount.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            if let Err(why) = builder.preopened_dir(same_directory(dir), &mount.guest, perms) {
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

/// A path to what the descriptor stands for, whatever has become of its name.
fn same_directory(dir: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", dir.as_raw_fd())
}

fn open_mount(mount: &Mount) -> Result<OwnedFd, StartError> {
    let host = mount.host.join(&mount.sub_path);
    let refused = |why: String| StartError::Mount { guest: mount.guest.clone(), host, why };
    if !mount.guest.starts_with('/') {
        return Err(refused("the guest's path must be absolute".into()));
    }
    beneath::directory(&mount.host, &mount.sub_path).map_err(|e| refused(e.to_string()))
}

/// What a store holds: the host's side of one instance.
pub(crate) struct Guest {
    table: ResourceTable,
    /// Made when the guest first asks for it, as many requests never do.
    wasi: Option<WasiCtx>,
    /// The same for its files, of which nothing else is asked: to open them costs more than many a request.
    files: Option<WasiCtx>,
    http: WasiHttpCtx,
    hooks: Hooks,
    pub(crate) share: Share,
    workload: Arc<Workload>,
}

impl Guest {
    /// What a guest finds when it asks which directories it has.
    pub(crate) fn preopens(&mut self) -> WasiFilesystemCtxView<'_> {
        let ctx = self.files.get_or_insert_with(|| self.workload.files()).filesystem();
        WasiFilesystemCtxView { ctx, table: &mut self.table }
    }
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
            let mount = Mount { host: host.into(), sub_path: Default::default(), guest: guest.into(), read_only: true };
            let error = open_mount(&mount).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(guest), "{error}");
        };
        check("/nonexistent", "/data", "No such file");
        check("/proc/version", "/data", "Not a directory");
        check("/tmp", "data", "absolute");
    }
}
