//! wasmtime's settings: those that shape machine code, which every process of one build shares, and the pool's.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::EngineConfig;

/// Mappings that one slot of the pool and a live instance in it take at most (measured: 2 and 4).
const MAPPINGS_PER_INSTANCE: u64 = 6;

/// The largest linear memory with 32-bit addresses.
const MAX_MEMORY_BYTES: u64 = 4 << 30;

/// What stays resident of a memory between two instances in a slot, so that the next one takes no page faults for it.
const KEEP_RESIDENT_BYTES: usize = 96 << 10;

/// Instances of core modules that a component may have.
pub(crate) const MAX_CORE_INSTANCES: u32 = 32;

/// Linear memories that a component may have.
pub(crate) const MAX_MEMORIES: u32 = 8;

/// Tables that a component may have.
pub(crate) const MAX_TABLES: u32 = 32;

/// Tables that each slot of the pool has room for.
const TABLES_PER_SLOT: u32 = 4;

/// The slots of the pool that an instance with so many memories and tables takes.
pub(crate) fn slots_of(memories: u32, tables: u32) -> u32 {
    memories.max(tables.div_ceil(TABLES_PER_SLOT)).max(1)
}

/// The settings that shape machine code.
pub(crate) fn code() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // Only native debuggers would read it.
        .native_unwind_info(false);
    config
}

/// The settings of an engine that runs instances in a pool of `slots`.
pub(crate) fn pooled(config: &EngineConfig, slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // A component has the module itself and up to three small ones around it, an adapter and shims; one that was composed
    // has more. Core instances are only counted, while memories and tables are reserved: an instance takes as many slots
    // as it needs of them.
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(MAX_CORE_INSTANCES))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(TABLES_PER_SLOT))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .total_stacks(slots.saturating_mul(2))
        .total_gc_heaps(slots.div_ceil(16))
        .max_memory_size(config.max_memory_bytes.min(MAX_MEMORY_BYTES) as usize)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(8 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut settings = code();
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    settings
}

/// How many slots the pool gets: as many as wanted, and no more than three quarters of the kernel's mappings allow.
pub(crate) fn slots(wanted: u32, max_map_count: u64) -> u32 {
    let allowed = max_map_count / 4 * 3 / MAPPINGS_PER_INSTANCE;
    wanted.min(u32::try_from(allowed).unwrap_or(u32::MAX)).max(1)
}

/// The kernel's limit on mappings of a process.
pub(crate) fn max_map_count() -> u64 {
    // What kernels have had for decades, should the file be hidden.
    const USUAL: u64 = 65_530;
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(USUAL)
}

/// Raised when this crate makes another component of the same core module.
const ADAPTATION: u32 = 1;

/// A name for all that machine code depends on beside its source: wasmtime's version, target and settings, and how core
/// modules are adapted.
pub(crate) fn fingerprint(engine: &wasmtime::Engine) -> String {
    let mut hasher = ShaHasher(Sha256::new());
    hasher.write_u32(ADAPTATION);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let mut name = hex::encode(hasher.0.finalize());
    name.truncate(32);
    name
}

/// std's hashers promise nothing about other builds, SHA-256 does.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked for: the digest is taken as a whole.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compile;

    #[test]
    fn the_pool_stays_within_the_kernels_mappings() {
        let check = |wanted, maps, expected| assert_eq!(slots(wanted, maps), expected);
        check(4096, 65_530, 4096);
        check(20_000, 65_530, 8191);
        check(4096, 1_048_576, 4096);
        check(4096, 8000, 1000);
        check(4096, 0, 1);
    }

    #[test]
    fn an_instance_takes_the_slots_that_it_needs() {
        let check = |memories, tables, expected| assert_eq!(slots_of(memories, tables), expected);
        check(0, 0, 1);
        check(1, 2, 1);
        check(1, 5, 2);
        check(8, 32, 8);
    }

    #[test]
    fn code_is_interchangeable_between_the_pool_and_the_compiler() {
        let config = EngineConfig::new("unused".into(), Compile::InProcess);
        let pool = wasmtime::Engine::new(&pooled(&config, 2)).unwrap();
        let compiler = wasmtime::Engine::new(&code()).unwrap();
        assert_eq!(fingerprint(&pool), fingerprint(&compiler));
    }
}
