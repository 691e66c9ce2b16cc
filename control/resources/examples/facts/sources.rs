//! Where the sources are.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders that the table is made from.
pub struct Sources {
    /// k8s-pb's `src`.
    pub protobuf: PathBuf,
    /// k8s-openapi's `src/v1_36`.
    pub openapi: PathBuf,
}

impl Sources {
    /// Asks cargo, which knows the versions in the lock file; nothing is downloaded.
    pub fn locate() -> io::Result<Self> {
        // Without the filter cargo would want the packages of all platforms.
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline", "--all-features", "--filter-platform", &platform])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(Self {
            protobuf: source_folder(&metadata, "k8s-pb")?,
            openapi: source_folder(&metadata, "k8s-openapi")?.join("v1_36"),
        })
    }
}

fn source_folder(metadata: &serde_json::Value, package: &str) -> io::Result<PathBuf> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|p| p["name"] == package)
        .find_map(|p| p["manifest_path"].as_str())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("the sources of {package} are not here")))?;
    Ok(Path::new(manifest).parent().unwrap_or(Path::new("/")).join("src"))
}

/// All Rust files below a folder, in a stable order.
pub fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
