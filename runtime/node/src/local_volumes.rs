//! Directories that are volumes: those that the node makes for claims, and those of an operator that it was told to offer.
//!
//! The node's own are below one directory of its data, each by the name of its volume, and nothing else is there. What a pod
//! is shown is one of these, or below a directory that the node was started with (`--local-volumes`): any other path of a
//! `local` volume is refused, for whoever writes volumes would reach all that the node's user does.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use pal_engine::open_beneath;
use pal_resources::Status;

use crate::disk;
use crate::error::NodeError;

/// Beside the volumes, while they are removed: no volume is called so.
const REMOVED: &str = ".removed-";

/// See the module.
pub(crate) struct LocalVolumes {
    /// Where the node's own are.
    dir: PathBuf,
    /// Below which others may be.
    offered: Vec<PathBuf>,
}

impl LocalVolumes {
    /// Opens the directory, and removes what was being removed when the node stopped.
    pub(crate) fn open(dir: &Path, offered: &[PathBuf]) -> Result<Self, NodeError> {
        let dir = std::path::absolute(dir).map_err(NodeError::io(dir))?;
        disk::private_dir(&dir).map_err(NodeError::io(&dir))?;
        for entry in fs::read_dir(&dir).map_err(NodeError::io(&dir))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(REMOVED) {
                disk::remove_tree(&entry.path()).map_err(NodeError::io(entry.path()))?;
            }
        }
        Ok(Self { dir, offered: offered.to_vec() })
    }

    /// Makes the directory of a volume, if it is not there: its path.
    pub(crate) fn make(&self, volume: &str) -> Result<PathBuf, Status> {
        let path = self.dir.join(name(volume)?);
        disk::private_dir(&path).map_err(|error| Status::internal(format!("mkdir {}: {error}", path.display())))?;
        Ok(path)
    }

    /// Removes the directory of a volume and all that is in it, if it is there.
    pub(crate) fn remove(&self, volume: &str) -> Result<(), Status> {
        let name = name(volume)?;
        let (path, away) = (self.dir.join(name), self.dir.join(format!("{REMOVED}{name}")));
        // Nobody comes upon half of it, and what is left of it after a crash goes at the next start.
        let moved = match fs::rename(&path, &away) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        let removed = moved.and_then(|()| disk::remove_tree(&away));
        removed.map_err(|error| Status::internal(format!("rmdir {}: {error}", path.display())))
    }

    /// Where a volume is: that of the node's own with that name, or the directory at that path. An error says why it cannot
    /// be shown to pods.
    pub(crate) fn find(&self, place: &Path) -> Result<PathBuf, String> {
        let own = self.dir.join(place);
        if let Ok(name) = own.strip_prefix(&self.dir) {
            if name.components().count() != 1 {
                return Err(format!("path {place:?} is in another volume"));
            }
            return there(&self.dir, name);
        }
        let offered = self.offered.iter().find_map(|root| Some((root, place.strip_prefix(root).ok()?)));
        match offered {
            Some((root, below)) => there(root, below),
            None => Err(format!(
                "path {place:?} is not below a directory that this node offers for local volumes (pal agent --local-volumes)"
            )),
        }
    }
}

fn name(volume: &str) -> Result<&str, Status> {
    let mut parts = Path::new(volume).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) if !volume.starts_with('.') => Ok(volume),
        _ => Err(Status::bad_request(format!("{volume:?} is not the name of a volume"))),
    }
}

/// The directory below another, to which no link leads.
fn there(root: &Path, below: &Path) -> Result<PathBuf, String> {
    let path = root.join(below);
    let found = open_beneath(root, below, false).and_then(|place| fs::File::from(place).metadata());
    match found {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(format!("path {path:?} is not a directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("path {path:?} does not exist")),
        Err(error) => Err(format!("path {path:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn directories_are_made_and_removed_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = LocalVolumes::open(&dir.path().join("claims"), &[]).unwrap();
        let path = volumes.make("pvc-1").unwrap();
        fs::write(path.join("file"), "kept").unwrap();
        assert_eq!(volumes.make("pvc-1").unwrap(), path);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "kept");
        for bad in ["", ".", "..", "a/b", "/", "../x", ".removed-x"] {
            assert_eq!(
                (volumes.make(bad).unwrap_err().code, volumes.remove(bad).unwrap_err().code),
                (400, 400),
                "{bad}"
            );
        }
        volumes.remove("pvc-1").unwrap();
        volumes.remove("pvc-1").unwrap();
        assert_eq!(fs::read_dir(dir.path().join("claims")).unwrap().count(), 0);
        // What a crash left of a removal goes.
        fs::create_dir(dir.path().join("claims/.removed-pvc-2")).unwrap();
        LocalVolumes::open(&dir.path().join("claims"), &[]).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("claims")).unwrap().count(), 0);
    }

    #[test]
    fn only_directories_that_are_offered_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for made in ["claims", "disks/one/deep", "other"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        symlink(at("other"), at("disks/link")).unwrap();
        fs::write(at("disks/file"), "").unwrap();
        let volumes = LocalVolumes::open(&at("claims"), &[at("disks")]).unwrap();
        volumes.make("pvc-1").unwrap();
        fs::create_dir(at("claims/pvc-1/inner")).unwrap();
        let check = |path: PathBuf, expected: Result<&str, &str>| match (volumes.find(&path), expected) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, at(wanted)),
            (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
            (found, expected) => panic!("{path:?}: {found:?}, expected {expected:?}"),
        };
        check("pvc-1".into(), Ok("claims/pvc-1"));
        check(at("claims/pvc-1"), Ok("claims/pvc-1"));
        check("pvc-2".into(), Err("does not exist"));
        check(at("claims/pvc-1/inner"), Err("is in another volume"));
        check(at("claims"), Err("is in another volume"));
        check(at("disks"), Ok("disks"));
        check(at("disks/one/deep"), Ok("disks/one/deep"));
        check(at("disks/none"), Err("does not exist"));
        check(at("disks/file"), Err("is not a directory"));
        check(at("disks/link"), Err("links are not followed"));
        check(at("disks/../other"), Err("leaves the volume"));
        check(at("other"), Err("is not below a directory that this node offers"));
        check("/".into(), Err("is not below a directory that this node offers"));
    }
}
