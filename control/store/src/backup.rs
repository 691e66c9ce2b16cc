//! Backups: all objects at one revision as a stream, and a new cluster made of one.
//!
//! A backup is an image with a label. What it says of the cluster's log and members means nothing to the cluster that is
//! made of it: that one has ids of its own, one server, and an empty log. Its revision is far ahead of the backup's, so
//! that no revision which clients saw after the backup was made is ever given again, and every watch from before is told
//! to begin anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::ConfState;

use crate::core::FOUNDED_AT;
use crate::directory;
use crate::error::StoreError;
use crate::files::sync_dir;
use crate::folders::{Current, Folders};
use crate::image::{Chunks, Image, ImageReader, Label};
use crate::key::Revision;
use crate::members::{Change, Members};
use crate::membership::Member;
use crate::mvcc::State;
use crate::point::Point;
use crate::snapshot::Snapshot;
use crate::store::{Identity, Store};
use crate::watch::EVERY_BUCKET;

/// More writes than a cluster can have made behind a backup's back: years at a thousand a second would be more, but a
/// backup that old is not what is restored.
const REVISIONS_AHEAD: u64 = 1_000_000_000;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// The id of the cluster that it was made of.
    pub cluster: String,
    /// When it was made, since 1970, as the caller said.
    pub saved_at: Duration,
    /// The revision of the last change that is in it.
    pub revision: Revision,
    /// How many objects there are.
    pub objects: usize,
    /// How many bytes their keys and values have.
    pub bytes: u64,
    /// The members that the cluster had, in the order of their ids.
    pub members: Vec<Member>,
}

/// A backup under way: its parts, in order. It holds on to one revision, and the store goes on.
pub struct Backup {
    info: BackupInfo,
    chunks: Chunks,
}

impl Backup {
    /// What it holds.
    pub fn info(&self) -> &BackupInfo {
        &self.info
    }
}

impl Iterator for Backup {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.chunks.next()
    }
}

impl Store {
    /// A backup that holds every write which was acknowledged, by any server, before this was called. It says that it was
    /// made at `now`, counted from 1970.
    ///
    /// # Errors
    /// [`StoreError::NoLeader`] when this server cannot find out what was acknowledged.
    pub async fn save(&self, now: Duration) -> Result<Backup, StoreError> {
        let snapshot = self.consistent().await?;
        let members = self.membership().members.into_iter().map(|status| status.member);
        let cluster = self.identity().cluster.clone();
        let saved_at = now.as_secs();
        let image = Image { state: saved_state(&snapshot, members), conf_state: ConfState::default() };
        let label = Label { cluster, saved_at };
        Ok(Backup { info: info(&image, &label), chunks: image.labelled_chunks(label) })
    }

    /// Makes a new cluster of a backup, in `dir`, which must be empty or not exist yet. Its only server is known by `name`
    /// and `address` (`host:port`; empty for a server that stays alone). After a failure there is nothing in `dir`.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] for the directory, [`StoreError::BadBackup`] for the backup, or what the disk says.
    pub fn restore(dir: &Path, name: &str, address: &str, reader: impl Read) -> Result<BackupInfo, StoreError> {
        check_empty(dir)?;
        let (image, info) = read(reader)?;
        let identity = Identity::founded();
        let me = Member { id: identity.server, name: name.to_owned(), address: address.to_owned() };
        write(dir, &identity, &restored(image, me))?;
        Ok(info)
    }

    /// Reads a backup to its end, and says what it holds.
    ///
    /// # Errors
    /// [`StoreError::BadBackup`].
    pub fn inspect(reader: impl Read) -> Result<BackupInfo, StoreError> {
        read(reader).map(|(_, info)| info)
    }
}

/// What of a state is saved. The histories' floors are not: a restored cluster has none of its own past.
fn saved_state(snapshot: &Snapshot, members: impl Iterator<Item = Member>) -> State {
    let point = Point { revision: snapshot.revision(), members: members_of(members), ..Point::default() };
    State::restored(snapshot.objects().clone(), BTreeMap::new(), &point)
}

fn members_of(members: impl Iterator<Item = Member>) -> Arc<Members> {
    let mut all = Members::default();
    members.for_each(|member| all.apply(&Change::Add(member)));
    Arc::new(all)
}

fn info(image: &Image, label: &Label) -> BackupInfo {
    let snapshot = image.state.snapshot();
    let size = |entry: &Arc<crate::Entry>| (entry.key().as_str().len() + entry.value().len()) as u64;
    BackupInfo {
        cluster: label.cluster.clone(),
        saved_at: Duration::from_secs(label.saved_at),
        revision: snapshot.revision(),
        objects: snapshot.len(),
        bytes: snapshot.range("", None).map(size).sum(),
        members: image.state.members().iter().cloned().collect(),
    }
}

fn read(mut reader: impl Read) -> Result<(Image, BackupInfo), StoreError> {
    const READ_BYTES: usize = 64 << 10;
    let bad = |error: &dyn std::fmt::Display| StoreError::BadBackup { why: error.to_string() };
    let mut images = ImageReader::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => images.push(&buffer[..read]).map_err(|error| bad(&error))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(bad(&error)),
        }
    }
    let read = images.finish_labelled().map_err(|error| bad(&error))?;
    let label = read.label.ok_or_else(|| bad(&"it is a state that servers exchange, and not a backup"))?;
    let info = info(&read.image, &label);
    Ok((read.image, info))
}

/// The state that a new cluster of one server begins with.
fn restored(image: Image, me: Member) -> Image {
    let revision = Revision(image.state.revision().0.saturating_add(REVISIONS_AHEAD));
    let conf_state = ConfState { voters: vec![me.id.0], ..ConfState::default() };
    let members = members_of(std::iter::once(me));
    let point = Point { index: FOUNDED_AT, term: 1, revision, members, ..Point::default() };
    let changed = [(EVERY_BUCKET.into(), revision)].into();
    Image { state: State::restored(image.state.into_parts().0, changed, &point), conf_state }
}

fn check_empty(dir: &Path) -> Result<(), StoreError> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io(dir, &error)),
    };
    if entries.next().is_none() { Ok(()) } else { Err(StoreError::NotEmpty { dir: dir.to_owned() }) }
}

/// Makes a store's directory: beside its place, and in it when all of it is durable.
fn write(dir: &Path, identity: &Identity, image: &Image) -> Result<(), StoreError> {
    // A path that ends in `..` names a directory that is there, and not empty.
    let name = dir.file_name().ok_or_else(|| StoreError::NotEmpty { dir: dir.to_owned() })?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = name.to_owned();
    temporary.push(".restoring");
    let temporary = parent.join(temporary);
    let failed = |error: io::Error| StoreError::io(dir, &error);
    fs::create_dir_all(parent).map_err(failed)?;
    remove(&temporary).map_err(failed)?;
    let written = directory::create(&temporary, identity)
        .and_then(|state| write_state(&state, image))
        .and_then(|()| put(&temporary, dir, parent).map_err(failed));
    if written.is_err() {
        // The error that matters is the first one, and the next try removes what is left.
        let _ = remove(&temporary);
    }
    written
}

fn write_state(dir: &Path, image: &Image) -> Result<(), StoreError> {
    let (folders, _) = Folders::open(dir)?;
    folders.make(1, image)?;
    folders.point(folders.prepare(Current::fresh(1, false))?)
}

/// Moves what is in a directory of `parent` to another name there, with all the names in it.
fn put(temporary: &Path, dir: &Path, parent: &Path) -> io::Result<()> {
    sync_dir(temporary)?;
    fs::rename(temporary, dir)?;
    sync_dir(parent)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
