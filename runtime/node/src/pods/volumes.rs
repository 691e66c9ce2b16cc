//! A pod's volumes as directories, and what of them a container sees where.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeMount, VolumeProjection,
};
use pal_engine::{Mount, open_beneath};
use pal_resources::volumes::claim_of;
use rustix::fs::{AtFlags, CWD, linkat};

use super::claims;
use super::env::expand;
use super::fields::Facts;
use super::sources::{Data, SourceName, Sources, TOKEN};
use super::tokens::TokenName;
use crate::disk;
use crate::local_volumes::LocalVolumes;

/// A file of a volume.
#[derive(Debug, PartialEq, Eq)]
struct FileContent {
    bytes: Vec<u8>,
    mode: u32,
}

type Files = BTreeMap<PathBuf, FileContent>;

/// Makes the pod's volumes, or brings those up to date that show objects.
pub(crate) fn set_up(dir: &Path, facts: &Facts<'_>, sources: &Sources, local: &LocalVolumes) -> Result<(), String> {
    let volumes = facts.pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    for volume in volumes {
        let told = |why: String| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name);
        let target = dir.join(&volume.name);
        if volume.empty_dir.is_some() {
            disk::private_dir(&target).map_err(|e| told(e.to_string()))?;
        } else if let Some(claim) = claim_of(facts.pod, volume) {
            let place = sources.get(&SourceName::Claim(claim)).and_then(claims::found).map_err(told)?;
            let place = local.find(Path::new(&place)).map_err(told)?;
            lead(&target, &place).map_err(|e| told(e.to_string()))?;
        } else {
            let files = files_of(volume, facts, sources).map_err(told)?;
            write_files(&target, &files).map_err(|e| told(e.to_string()))?;
        }
    }
    Ok(())
}

/// Whether guests may write to a volume.
pub(super) fn is_theirs(volume: &Volume) -> bool {
    volume.empty_dir.is_some() || volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
}

/// Has a name of the pod's volumes lead to a directory that outlives the pod.
fn lead(target: &Path, place: &Path) -> io::Result<()> {
    if fs::read_link(target).is_ok_and(|before| before == place) {
        return Ok(());
    }
    if let Some(dir) = target.parent() {
        disk::private_dir(dir)?;
    }
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(place, target),
    }
}

fn files_of(volume: &Volume, facts: &Facts<'_>, sources: &Sources) -> Result<Files, String> {
    let mut files = Files::new();
    if let Some(v) = &volume.config_map {
        let name = SourceName::ConfigMap(v.name.clone());
        add_keys(&mut files, sources, &name, v.items.as_deref(), v.default_mode, v.optional)?;
    } else if let Some(v) = &volume.secret {
        let name = SourceName::Secret(v.secret_name.clone().unwrap_or_default());
        add_keys(&mut files, sources, &name, v.items.as_deref(), v.default_mode, v.optional)?;
    } else if let Some(v) = &volume.downward_api {
        add_fields(&mut files, facts, v.items.as_deref(), v.default_mode)?;
    } else if let Some(v) = &volume.projected {
        for projection in v.sources.iter().flatten() {
            add_projection(&mut files, facts, sources, projection, v.default_mode)?;
        }
    } else {
        let kind = serde_json::to_value(volume).ok();
        let kind = kind.as_ref().and_then(|v| v.as_object()).and_then(|v| v.keys().find(|k| *k != "name"));
        let kind = kind.map_or("its kind", String::as_str);
        let supported = "emptyDir, persistentVolumeClaim, ephemeral, configMap, secret, downwardAPI and projected are";
        return Err(format!("{kind} is not supported; {supported}"));
    }
    Ok(files)
}

fn add_projection(
    files: &mut Files,
    facts: &Facts<'_>,
    sources: &Sources,
    projection: &VolumeProjection,
    mode: Option<i32>,
) -> Result<(), String> {
    if let Some(v) = &projection.config_map {
        add_keys(files, sources, &SourceName::ConfigMap(v.name.clone()), v.items.as_deref(), mode, v.optional)
    } else if let Some(v) = &projection.secret {
        add_keys(files, sources, &SourceName::Secret(v.name.clone()), v.items.as_deref(), mode, v.optional)
    } else if let Some(v) = &projection.downward_api {
        add_fields(files, facts, v.items.as_deref(), mode)
    } else if let Some(v) = &projection.service_account_token {
        let name = SourceName::Token(TokenName::new(facts.pod, v));
        let bytes = sources.get(&name)?.get(TOKEN).cloned().unwrap_or_default();
        files.insert(inside(&v.path)?, FileContent { bytes, mode: mode_of(mode, 0o644) });
        Ok(())
    } else {
        let supported = "configMap, secret, downwardAPI and serviceAccountToken are";
        Err(format!("a projected source is not supported; {supported}"))
    }
}

fn add_keys(
    files: &mut Files,
    sources: &Sources,
    name: &SourceName,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: Option<bool>,
) -> Result<(), String> {
    let optional = optional == Some(true);
    let data: &Data = match sources.get(name) {
        Err(_) if optional => return Ok(()),
        other => other?,
    };
    let mode = mode_of(mode, 0o644);
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, bytes) in data {
            files.insert(inside(key)?, FileContent { bytes: bytes.clone(), mode });
        }
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                let content = FileContent { bytes: bytes.clone(), mode: mode_of(item.mode, mode) };
                files.insert(inside(&item.path)?, content);
            }
            None if optional => {}
            None => return Err(format!("references non-existent key of {name}: {}", item.key)),
        }
    }
    Ok(())
}

fn add_fields(
    files: &mut Files,
    facts: &Facts<'_>,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: Option<i32>,
) -> Result<(), String> {
    let spec = facts.pod.spec.as_ref();
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => facts.field(&field.field_path)?,
            (None, Some(resource)) => {
                let any = spec.and_then(|s| s.containers.first()).ok_or("the pod has no containers")?;
                facts.resource(resource, any)?
            }
            (None, None) => return Err(format!("item {:?} refers to nothing", item.path)),
        };
        let mode = mode_of(item.mode, mode_of(mode, 0o644));
        files.insert(inside(&item.path)?, FileContent { bytes: text.into_bytes(), mode });
    }
    Ok(())
}

fn mode_of(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(default) & 0o777
}

/// A relative path that does not leave its directory.
fn inside(path: &str) -> Result<PathBuf, String> {
    let path = Path::new(path);
    let good = path.components().all(|c| matches!(c, Component::Normal(_)));
    if good && path.components().next().is_some() {
        Ok(path.to_owned())
    } else {
        Err(format!("path {path:?} leaves the volume"))
    }
}

/// Puts the files there all at once: `..data` leads to a fresh directory, and each name leads through `..data`.
fn write_files(target: &Path, files: &Files) -> io::Result<()> {
    disk::private_dir(target)?;
    let data = target.join("..data");
    let current = fs::read_link(&data).ok();
    if current.as_ref().is_some_and(|c| same(&target.join(c), files)) {
        return Ok(());
    }
    let version = (0u32..).map(|n| format!("..v{n}")).find(|v| !target.join(v).exists()).unwrap_or_default();
    let fresh = target.join(&version);
    for (path, content) in files {
        let path = fresh.join(path);
        disk::private_dir(path.parent().unwrap_or(&fresh))?;
        fs::write(&path, &content.bytes)?;
        // The node itself has to be able to read and replace what it wrote.
        fs::set_permissions(&path, fs::Permissions::from_mode(content.mode | 0o400))?;
    }
    disk::private_dir(&fresh)?;
    let next = target.join("..data.new");
    let _ = fs::remove_file(&next);
    symlink(&version, &next)?;
    fs::rename(&next, &data)?;
    let tops: std::collections::BTreeSet<&std::ffi::OsStr> = files.keys().filter_map(|p| p.iter().next()).collect();
    for top in &tops {
        let link = target.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), &link)?;
        }
    }
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b"..");
        if !hidden && !tops.contains(name.as_os_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    match current {
        Some(old) => disk::remove_tree(&target.join(old)),
        None => Ok(()),
    }
}

fn same(dir: &Path, files: &Files) -> bool {
    count(dir).is_ok_and(|n| n == files.len())
        && files.iter().all(|(path, content)| fs::read(dir.join(path)).is_ok_and(|bytes| bytes == content.bytes))
}

fn count(dir: &Path) -> io::Result<usize> {
    let mut n = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        n += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(n)
}

/// What a container sees of its pod's volumes.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) mounts: Vec<Mount>,
    /// What has its place among the container's own files.
    pub(crate) files: Vec<ShownFile>,
}

/// A single file of a volume.
#[derive(Debug)]
pub(crate) struct ShownFile {
    pub(crate) file: OwnedFd,
    /// Where the container sees it.
    pub(crate) guest: PathBuf,
    /// Whether what the container writes is the volume's.
    theirs: bool,
}

/// What the container sees of the volumes in `volumes`. Guests see directories: a single file is put among the container's
/// own ones. Where that cannot be, since a volume is there or the file may only be read, its directory is one below `files`
/// that holds such files alone.
pub(crate) fn show(
    volumes: &Path,
    files: &Path,
    pod: &Pod,
    container: &Container,
    env: &[(String, String)],
) -> Result<Shown, String> {
    let list = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let mut mounts: Vec<Mount> = Vec::new();
    let mut single = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume =
            list.iter().find(|v| v.name == mount.name).ok_or_else(|| format!("volume {:?} not found", mount.name))?;
        let root = volumes.join(&volume.name);
        let claimed = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only);
        let read_only = mount.read_only == Some(true) || claimed == Some(true) || !is_theirs(volume);
        let sub = sub_path(mount, env)?.unwrap_or_default();
        let theirs = is_theirs(volume);
        let (sub, found) = below(&root, sub, theirs).map_err(|e| format!("volumeMount {}: {e}", mount.mount_path))?;
        match found {
            Found::Directory => {
                mounts.push(Mount { host: root, sub_path: sub, guest: mount.mount_path.clone(), read_only });
            }
            Found::File(file) => {
                single.push((ShownFile { file, guest: PathBuf::from(&mount.mount_path), theirs }, read_only));
            }
        }
    }
    let mut own = Vec::new();
    let volumes = mounts.len();
    for (shown, read_only) in single {
        let covered = mounts[..volumes].iter().any(|mount| shown.guest.starts_with(&mount.guest));
        if covered || (shown.theirs && read_only) {
            link_alone(files, &shown, read_only, &mut mounts)?;
        } else {
            own.push(shown);
        }
    }
    Ok(Shown { mounts, files: own })
}

fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<Option<PathBuf>, String> {
    let lookup = |name: &str| env.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.clone());
    let text = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => path.clone(),
        (_, Some(path)) if !path.is_empty() => expand(path, lookup),
        _ => return Ok(None),
    };
    inside(&text).map(Some)
}

/// What a path in a volume leads to.
enum Found {
    /// The engine opens it once more, as carefully.
    Directory,
    File(OwnedFd),
}

/// The path below the root without links in it, and what is there. Guests may write to a volume that is `theirs`: links in
/// it are refused, and directories that are missing are made. The links in others are the node's own.
fn below(root: &Path, sub: PathBuf, theirs: bool) -> Result<(PathBuf, Found), String> {
    let sub = if theirs { sub } else { resolved(root, &sub)? };
    let place = open_beneath(root, &sub, theirs).map_err(|e| format!("subPath {}: {e}", sub.display()))?;
    let place = fs::File::from(place);
    let found = if place.metadata().map_err(|e| e.to_string())?.is_dir() {
        Found::Directory
    } else {
        Found::File(place.into())
    };
    Ok((sub, found))
}

fn resolved(root: &Path, sub: &Path) -> Result<PathBuf, String> {
    let real = |path: &Path| path.canonicalize().map_err(|e| format!("subPath {}: {e}", sub.display()));
    let (root, path) = (real(root)?, real(&root.join(sub))?);
    path.strip_prefix(&root).map(Path::to_owned).map_err(|_| "subPath leads out of the volume".to_owned())
}

/// A single file in a directory that holds such files alone.
fn link_alone(files: &Path, shown: &ShownFile, read_only: bool, mounts: &mut Vec<Mount>) -> Result<(), String> {
    let guest = &shown.guest;
    let (Some(dir), Some(name)) = (guest.parent().and_then(Path::to_str), guest.file_name()) else {
        return Err(format!("a file cannot be mounted at {}", guest.display()));
    };
    let told = |e: io::Error| format!("file for {}: {e}", guest.display());
    let place = match mounts.iter_mut().find(|m| m.guest == dir && m.host.starts_with(files)) {
        Some(mount) => {
            mount.read_only &= read_only;
            mount.host.clone()
        }
        None => {
            let place = files.join(mounts.len().to_string());
            // What an earlier run left there is of no use.
            disk::remove_tree(&place).map_err(told)?;
            disk::private_dir(&place).map_err(told)?;
            mounts.push(Mount { host: place.clone(), sub_path: PathBuf::new(), guest: dir.to_owned(), read_only });
            place
        }
    };
    link(&shown.file, &place.join(name)).map_err(told)
}

/// The file that was found, even if its name stands for another one by now.
fn link(file: &OwnedFd, place: &Path) -> io::Result<()> {
    let found = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, &found, CWD, place, AtFlags::SYMLINK_FOLLOW).or_else(|_| fs::copy(&found, place).map(|_| ()))
}

impl ShownFile {
    /// Puts the file at its place in the directory that the container sees as its root. What is not the container's to
    /// write is copied: it would write to what others see, and no change of the object is to be seen here.
    pub(crate) fn put_below(&self, root: &Path) -> io::Result<()> {
        let place = root.join(super::root::inside(&self.guest));
        if let Some(dir) = place.parent() {
            disk::private_dir(dir)?;
        }
        if place.is_file() {
            fs::remove_file(&place)?;
        }
        if self.theirs {
            link(&self.file, &place)
        } else {
            fs::copy(format!("/proc/self/fd/{}", self.file.as_raw_fd()), &place)?;
            // Nobody writes to it, as far as the host keeps its own user from that.
            fs::set_permissions(&place, fs::Permissions::from_mode(0o444))
        }
    }
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
