//! Files and directories of a volume, found without following the links that guests may have put there.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, fstat, mkdirat, open, openat};
use rustix::io::Errno;

/// A descriptor that stands for a place and can neither be read nor written.
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the directory or regular file `sub` below the directory `root`. The path to the root is the host's own; what is
/// below it belongs to guests, who can exchange any part of it at any time. So each name is opened in the descriptor of
/// the directory before it, and links lead nowhere. With `create`, directories that are missing are made.
///
/// What the descriptor stands for remains the same, whatever happens to its name.
pub fn open_beneath(root: &Path, sub: &Path, create: bool) -> io::Result<OwnedFd> {
    let mut place = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for part in sub.components() {
        let Component::Normal(name) = part else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path that leaves the volume"));
        };
        let next = match openat(&place, name, PLACE, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                match mkdirat(&place, name, Mode::RWXU) {
                    // Somebody else was faster.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
                openat(&place, name, PLACE, Mode::empty())?
            }
            other => other?,
        };
        place = next;
        // A link is a place of its own here.
        match FileType::from_raw_mode(fstat(&place)?.st_mode) {
            FileType::Directory | FileType::RegularFile => {}
            _ => return Err(io::Error::other("neither a directory nor a file; links are not followed")),
        }
    }
    Ok(place)
}

/// [`open_beneath`] for what has to be a directory that is there.
pub(crate) fn directory(root: &Path, sub: &Path) -> io::Result<OwnedFd> {
    let found = open_beneath(root, sub, false)?;
    // Of a file this says that it is none.
    Ok(openat(&found, ".", PLACE | OFlags::DIRECTORY, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_of_the_root_is_found_or_made() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink("real", root.join("near")).unwrap();
        let check = |sub: &str, create: bool, expected: Result<(), &str>| {
            let found = open_beneath(&root, Path::new(sub), create).map(drop).map_err(|e| e.to_string());
            match expected {
                Ok(()) => assert_eq!(found, Ok(()), "{sub}"),
                Err(why) => assert!(found.as_ref().is_err_and(|e| e.contains(why)), "{sub}: {found:?}"),
            }
        };
        check("", false, Ok(()));
        check("real/deep", false, Ok(()));
        check("file", false, Ok(()));
        check("real/new", false, Err("No such file"));
        check("real/new/newer", true, Ok(()));
        check("link", true, Err("links are not followed"));
        check("link/x", true, Err("links are not followed"));
        check("near/deep", false, Err("links are not followed"));
        check("file/x", true, Err("Not a directory"));
        check("real/../..", true, Err("leaves the volume"));
        check("/etc", true, Err("leaves the volume"));
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        assert!(root.join("real/new/newer").is_dir());
    }
}
