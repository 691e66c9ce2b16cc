//! The compile cache: machine code on disk, by the digest of its source.
//!
//! `DIR/FINGERPRINT/KEY.cwasm` is the code, `KEY.sum` its SHA-256. Both are renamed into place, the sum last; code without
//! a sum that fits is built again. Code of other versions or settings is removed at the start.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use wasmtime::component::Component;

/// The cache of one engine.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens the cache in `root` for code with `fingerprint`.
    pub(crate) fn open(root: &Path, fingerprint: &str) -> io::Result<Self> {
        let dir = root.join(fingerprint);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        // What is in here is executed: it belongs to this user alone, also if the directory was there before.
        for path in [root, &dir] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path != dir && path.is_dir() {
                fs::remove_dir_all(path)?;
            }
        }
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|suffix| suffix == "tmp") {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { dir })
    }

    /// A file for code to be written to before it is [kept](Self::keep).
    pub(crate) fn draft(&self) -> io::Result<TempPath> {
        let file = tempfile::Builder::new().suffix(".tmp").tempfile_in(&self.dir)?;
        Ok(file.into_temp_path())
    }

    /// Takes over the code in `draft` for the source with `digest`.
    pub(crate) fn keep(&self, digest: &str, draft: TempPath) -> io::Result<()> {
        let sum = sum_of(&draft)?;
        draft.persist(self.code(digest)).map_err(|e| e.error)?;
        let mut file = tempfile::Builder::new().suffix(".tmp").tempfile_in(&self.dir)?;
        file.write_all(sum.as_bytes())?;
        self.place(file, &self.sum(digest))
    }

    fn place(&self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        file.persist(path).map(drop).map_err(|e| e.error)
    }

    /// The code for the source with `digest`, if it is here and whole.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, digest: &str) -> Option<Component> {
        let path = self.code(digest);
        let expected = fs::read_to_string(self.sum(digest)).ok()?;
        match sum_of(&path) {
            Ok(found) if found == expected => {}
            Ok(_) => {
                tracing::warn!(digest, "code in the compile cache is damaged and is built again");
                return None;
            }
            Err(e) => {
                tracing::warn!(digest, error = %e, "code in the compile cache cannot be read");
                return None;
            }
        }
        match load_code(engine, &path) {
            Ok(component) => Some(component),
            Err(e) => {
                tracing::warn!(digest, error = %e, "code in the compile cache does not load");
                None
            }
        }
    }

    /// Why code that was just kept does not load.
    pub(crate) fn refusal(&self, engine: &wasmtime::Engine, digest: &str) -> String {
        load_code(engine, &self.code(digest)).err().map_or_else(|| "it is gone".to_owned(), |e| format!("{e:#}"))
    }

    fn code(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{}.cwasm", key(digest)))
    }

    fn sum(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{}.sum", key(digest)))
    }
}

/// A file name for any digest, however it is written.
fn key(digest: &str) -> String {
    hex::encode(Sha256::digest(digest.as_bytes()))
}

fn sum_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Maps machine code into memory.
#[allow(unsafe_code)]
fn load_code(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file is trusted to be code that wasmtime made, and not to change while it is mapped. It lies in a
    // directory that only this user can write to (mode 0700, set when the cache is opened) and that nothing but this
    // module writes to; what it writes comes from wasmtime's compiler, is renamed into place as a whole and never
    // modified there (a newer file of the same name is another inode). The checksum, compared just before, catches what a
    // crash or a disk may have done to it; wasmtime itself checks version, target and settings.
    unsafe { Component::deserialize_file(engine, path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn engine() -> wasmtime::Engine {
        wasmtime::Engine::new(&settings::code()).unwrap()
    }

    /// Keeps the code of an empty component.
    fn keep(cache: &Cache, engine: &wasmtime::Engine, digest: &str) {
        let code = engine.precompile_component(b"\0asm\x0d\0\x01\0").expect("an empty component compiles");
        let draft = cache.draft().unwrap();
        fs::write(&draft, code).unwrap();
        cache.keep(digest, draft).unwrap();
    }

    #[test]
    fn what_is_kept_is_loaded_and_what_is_damaged_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine();
        let cache = Cache::open(dir.path(), "one").unwrap();
        assert!(cache.load(&engine, "sha256:a").is_none());
        keep(&cache, &engine, "sha256:a");
        assert!(cache.load(&engine, "sha256:a").is_some());
        assert!(cache.load(&engine, "sha256:b").is_none());

        let path = cache.code("sha256:a");
        let mut code = fs::read(&path).unwrap();
        let middle = code.len() / 2;
        code[middle] ^= 1;
        fs::write(&path, &code).unwrap();
        assert!(cache.load(&engine, "sha256:a").is_none());
        fs::write(&path, &code[..middle]).unwrap();
        assert!(cache.load(&engine, "sha256:a").is_none());
        keep(&cache, &engine, "sha256:a");
        assert!(cache.load(&engine, "sha256:a").is_some());
    }

    #[test]
    fn another_engines_code_and_drafts_of_a_crash_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine();
        let old = Cache::open(dir.path(), "old").unwrap();
        keep(&old, &engine, "sha256:a");
        let new = Cache::open(dir.path(), "new").unwrap();
        assert!(!old.dir.exists());
        let draft = new.draft().unwrap().keep().unwrap();
        let again = Cache::open(dir.path(), "new").unwrap();
        assert!(!draft.exists());
        assert_eq!(fs::metadata(&again.dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
