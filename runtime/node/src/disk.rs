//! Files that are either there as a whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a directory that only this user may enter, and those above it.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces `path` by `content`, through a neighbour that is renamed.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut neighbour = path.as_os_str().to_owned();
    neighbour.push(".new");
    let result = write(Path::new(&neighbour), content, mode).and_then(|()| fs::rename(&neighbour, path));
    if result.is_err() {
        // What is left of it would only be in the way; the first error is the one that counts.
        let _ = fs::remove_file(&neighbour);
    }
    result
}

/// [`replace`], and on disk when it returns.
pub(crate) fn replace_durably(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode)?;
    fs::File::open(path)?.sync_all()?;
    match path.parent() {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)
}

/// Removes a tree; that it is not there is as good.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
