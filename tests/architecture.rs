//! The house's plan, held: which room may lean on which, and which rooms touch nothing but values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What each crate may use of the others, in what it is built from (its tests may use more).
const ALLOWED: &[(&str, &[&str])] = &[
    ("pal-resources", &[]),
    ("pal-patch", &["pal-resources"]),
    ("pal-custom", &["pal-resources"]),
    // Its simulation judges with it; what is shipped does not hold it.
    ("pal-store", &["pal-checker"]),
    ("pal-registry", &["pal-resources", "pal-patch", "pal-custom", "pal-store"]),
    ("pal-scheduler", &["pal-resources"]),
    ("pal-controllers", &["pal-resources", "pal-custom", "pal-registry", "pal-scheduler"]),
    ("pal-server", &["pal-custom", "pal-resources", "pal-registry", "pal-store"]),
    ("pal-lifecycle", &[]),
    ("pal-proxy", &[]),
    ("pal-network", &["pal-proxy"]),
    ("pal-image", &[]),
    ("pal-engine", &[]),
    ("pal-node", &["pal-resources", "pal-lifecycle", "pal-proxy", "pal-network", "pal-image", "pal-engine"]),
    ("pal-checker", &[]),
    ("pal-tests", &["pal-checker"]),
    ("pal-fuzz", &["pal-resources", "pal-patch", "pal-custom", "pal-store", "pal-registry", "pal-server"]),
    (
        "palinurus",
        &[
            "pal-resources",
            "pal-store",
            "pal-registry",
            "pal-controllers",
            "pal-server",
            "pal-image",
            "pal-engine",
            "pal-node",
        ],
    ),
];

/// Crates that decide and do nothing else: values in, values out.
const PURE: &[&str] = &["pal-resources", "pal-patch", "pal-custom", "pal-scheduler", "pal-lifecycle", "pal-checker"];

/// What brings the world in: run times, sockets, files, clocks, randomness.
const WORLDLY: &[&str] =
    &["tokio", "hyper", "hyper-util", "h2", "rustls", "kube", "sled", "raft", "wasmtime", "rand", "getrandom"];

/// The same in the source of a pure crate.
const WORLDLY_WORDS: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "async fn",
];

/// Only one crate knows each of these.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("wasmtime", &["pal-engine"]),
    ("raft", &["pal-store"]),
    ("sled", &["pal-store"]),
    ("kube", &["pal-node", "palinurus", "pal-tests"]),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .other_options(["--offline".to_owned()])
        .no_deps()
        .exec()
        .expect("cargo metadata")
}

fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let of = |package: &cargo_metadata::Package| {
        let normal = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        (package.name.to_string(), normal.map(|d| d.name.clone()).collect())
    };
    metadata.packages.iter().map(of).collect()
}

#[test]
fn every_crate_leans_only_on_those_that_the_plan_allows() {
    let metadata = metadata();
    let all = dependencies(&metadata);
    let names: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    let planned: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, planned, "the plan names the workspace's crates");
    for (name, allowed) in ALLOWED {
        for dependency in all[*name].iter().filter(|d| names.contains(d.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn a_pure_crate_depends_on_nothing_that_touches_the_world() {
    let all = dependencies(&metadata());
    for name in PURE {
        for dependency in &all[*name] {
            assert!(!WORLDLY.contains(&dependency.as_str()), "{name} is pure and must not use {dependency}");
        }
    }
}

#[test]
fn a_pure_crate_reads_no_clock_no_file_and_no_environment() {
    let metadata = metadata();
    for package in metadata.packages.iter().filter(|p| PURE.contains(&p.name.as_str())) {
        let source = package.manifest_path.parent().expect("a manifest has a folder").join("src");
        let mut seen = 0;
        each_source(source.as_std_path(), &mut |file, text| {
            seen += 1;
            // Tests may read what they test with.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let found: Vec<_> = WORLDLY_WORDS.iter().filter(|word| code.contains(**word)).collect();
            assert!(found.is_empty(), "{}: {found:?} in a pure crate", file.display());
        });
        assert!(seen > 0, "{source} holds no source");
    }
}

/// Wall clocks jump; what the store decides must not hang on them.
#[test]
fn the_store_reads_no_wall_clock() {
    let mut seen = 0;
    each_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/store/src"), &mut |file, text| {
        seen += 1;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in ["SystemTime", "UNIX_EPOCH", "Timestamp"] {
            assert!(!code.contains(word), "{}: {word}", file.display());
        }
    });
    assert!(seen > 0, "the store has sources");
}

#[test]
fn what_one_room_owns_no_other_uses() {
    let all = dependencies(&metadata());
    for (dependency, owners) in ONLY_IN {
        for (name, uses) in &all {
            assert!(!uses.contains(*dependency) || owners.contains(&name.as_str()), "{name} must not use {dependency}");
        }
    }
}

fn each_source(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).expect("a folder of source") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            each_source(&path, look);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            look(&path, &std::fs::read_to_string(&path).expect("source is text"));
        }
    }
}
