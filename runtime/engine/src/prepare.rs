//! From a file to a program: adapt, check, compile or load, link; each digest once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::component::Component;

use crate::engine::Engine;
use crate::inspect::{Inspection, Parts, component_kind};
use crate::program::Pre;
use crate::{HttpVersion, PrepareError, Program, ProgramKind, adapt, compile, imports, inspect, settings};

/// Digests that are remembered before those of programs no longer in use are forgotten.
const REMEMBERED: usize = 1024;

/// What is known of a digest.
#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    /// The program lives as long as somebody uses it.
    Program(Weak<Program>),
    /// It will fail again: the same bytes are as bad as they were.
    Bad(PrepareError),
}

type Slot = Arc<tokio::sync::Mutex<Known>>;

/// The programs of an engine, by digest.
#[derive(Default)]
pub(crate) struct Programs {
    slots: Mutex<HashMap<String, Slot>>,
}

impl Programs {
    pub(crate) async fn prepare(
        &self,
        engine: &Engine,
        wasm: &Path,
        digest: &str,
    ) -> Result<Arc<Program>, PrepareError> {
        let slot = self.slot(digest);
        // Whoever comes second waits here for the first and finds its result.
        let mut known = slot.lock().await;
        match &*known {
            Known::Program(program) => {
                if let Some(program) = program.upgrade() {
                    return Ok(program);
                }
            }
            Known::Bad(error) => return Err(error.clone()),
            Known::Nothing => {}
        }
        let made = make(engine, wasm, digest).await;
        *known = match &made {
            Ok(program) => Known::Program(Arc::downgrade(program)),
            Err(PrepareError::Io(_) | PrepareError::Timeout(_)) => Known::Nothing,
            Err(error) => Known::Bad(error.clone()),
        };
        made
    }

    fn slot(&self, digest: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= REMEMBERED {
            slots.retain(|_, slot| in_use(slot));
        }
        slots.entry(digest.to_owned()).or_default().clone()
    }
}

fn in_use(slot: &Slot) -> bool {
    // A locked slot is being worked on.
    slot.try_lock().map_or(true, |known| matches!(&*known, Known::Program(weak) if weak.strong_count() > 0))
}

async fn make(engine: &Engine, wasm: &Path, digest: &str) -> Result<Arc<Program>, PrepareError> {
    let cached = blocking({
        let (engine, digest) = (engine.clone(), digest.to_owned());
        move || Ok(engine.cache().load(engine.wasm(), &digest))
    })
    .await?;
    let component = match cached {
        Some(component) => component,
        None => build(engine, wasm, digest).await?,
    };
    blocking({
        let (engine, digest) = (engine.clone(), digest.to_owned());
        move || link(&engine, component, digest)
    })
    .await
}

/// Compiles what is not in the cache, and loads it from there.
async fn build(engine: &Engine, wasm: &Path, digest: &str) -> Result<Component, PrepareError> {
    let limit = engine.config().max_component_bytes;
    let path = wasm.to_owned();
    let io = |e: std::io::Error| PrepareError::Io(format!("compile cache: {e}"));
    let draft = engine.cache().draft().map_err(io)?;
    {
        // Whoever waits for a turn does not hold the component in memory meanwhile.
        let _turn = engine.compiling().acquire().await.map_err(|e| PrepareError::Io(e.to_string()))?;
        let component = blocking(move || read(path, limit)).await?;
        compile::compile(engine.config(), engine.wasm(), component, &draft).await?;
    }
    let (engine, digest) = (engine.clone(), digest.to_owned());
    blocking(move || {
        engine.cache().keep(&digest, draft).map_err(io)?;
        engine
            .cache()
            .load(engine.wasm(), &digest)
            .ok_or_else(|| refused(&engine.cache().refusal(engine.wasm(), &digest)))
    })
    .await
}

/// What it means that code does not load that was just written.
fn refused(why: &str) -> PrepareError {
    if why.contains("pooling allocator") {
        return PrepareError::Unsupported { what: format!("a component of this extent ({why})") };
    }
    PrepareError::Io(format!("compile cache: what was just written does not load: {why}"))
}

/// Reads a component, or makes one of a core module, and checks what can be checked before it is compiled.
fn read(path: PathBuf, limit: u64) -> Result<Vec<u8>, PrepareError> {
    let io = |e: std::io::Error| PrepareError::Io(format!("{}: {e}", path.display()));
    let size = std::fs::metadata(&path).map_err(io)?.len();
    if size > limit {
        return Err(PrepareError::TooLarge(format!(
            "{} MiB, at most {} MiB are accepted",
            size.div_ceil(1 << 20),
            limit >> 20
        )));
    }
    let bytes = std::fs::read(&path).map_err(io)?;
    let outline = inspect(&bytes)?;
    let (bytes, outline) = if outline.is_core_module {
        let component = adapt::adapt(&bytes, &outline)?;
        let outline = inspect(&component)?;
        (component, outline)
    } else {
        (bytes, outline)
    };
    accept(&outline)?;
    Ok(bytes)
}

fn accept(outline: &Inspection) -> Result<(), PrepareError> {
    imports::check(outline.imports.iter().map(String::as_str))?;
    fits(&outline.parts)?;
    runnable(outline.kind)
}

/// Whether the pool can hold an instance. What is instantiated several times shows when the code is loaded.
fn fits(parts: &Parts) -> Result<(), PrepareError> {
    for (count, most, what) in [
        (parts.core_instances, settings::MAX_CORE_INSTANCES, "core instances"),
        (parts.memories, settings::MAX_MEMORIES, "memories"),
        (parts.tables, settings::MAX_TABLES, "tables"),
    ] {
        if count > most {
            return Err(PrepareError::Unsupported {
                what: format!("a component with {count} {what} (at most {most})"),
            });
        }
    }
    Ok(())
}

fn runnable(kind: ProgramKind) -> Result<(), PrepareError> {
    match kind {
        ProgramKind::Library => Err(PrepareError::Unsupported {
            what: "a library component (it exports neither wasi:cli/run nor a wasi:http handler)".into(),
        }),
        ProgramKind::Command | ProgramKind::HttpService { .. } => Ok(()),
    }
}

/// Resolves the imports of a component that was loaded.
fn link(engine: &Engine, component: Component, digest: String) -> Result<Arc<Program>, PrepareError> {
    let ty = component.component_type();
    let exports: Vec<String> = ty.exports(engine.wasm()).map(|(name, _)| name.to_owned()).collect();
    let kind = component_kind(&exports);
    runnable(kind)?;
    imports::check(ty.imports(engine.wasm()).map(|(name, _)| name))?;
    // A component of which nothing is known imports modules, which the imports' check has refused.
    let slots =
        component.resources_required().map_or(1, |needs| settings::slots_of(needs.num_memories, needs.num_tables));
    // The names are provided; what is left are functions or types in them that differ.
    let unlinked = |e: wasmtime::Error| PrepareError::MissingImports(vec![format!("{e:#}")]);
    let pre = engine.linker().instantiate_pre(&component).map_err(unlinked)?;
    let serves = matches!(kind, ProgramKind::HttpService { .. });
    let run = if serves { command(pre.clone()).ok() } else { None };
    let pre = match kind {
        ProgramKind::HttpService { version: HttpVersion::P2 } => {
            Pre::ServiceP2(wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre).map_err(unlinked)?)
        }
        ProgramKind::HttpService { version: HttpVersion::P3 } => {
            Pre::ServiceP3(wasmtime_wasi_http::p3::bindings::ServicePre::new(pre).map_err(unlinked)?)
        }
        ProgramKind::Command | ProgramKind::Library => command(pre)?,
    };
    Ok(Arc::new(Program::new(engine.clone(), kind, digest, slots, pre, run)))
}

fn command(pre: wasmtime::component::InstancePre<crate::workload::Guest>) -> Result<Pre, PrepareError> {
    if let Ok(command) = wasmtime_wasi::p2::bindings::CommandPre::new(pre.clone()) {
        return Ok(Pre::CommandP2(command));
    }
    wasmtime_wasi::p3::bindings::CommandPre::new(pre)
        .map(Pre::CommandP3)
        .map_err(|e| PrepareError::Malformed(format!("{e:#}")))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PrepareError> + Send + 'static,
) -> Result<T, PrepareError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(PrepareError::Io(e.to_string())))
}
