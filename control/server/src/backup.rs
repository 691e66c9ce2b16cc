//! A cluster in a file: a line that says what it is, a line with the cluster's keys, the store's own backup, and the
//! SHA-256 of all that. Whoever has the file is the cluster, so it is written for its owner's eyes alone.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Take};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ClusterKeys;

const MAGIC: &str = "palinurus-snapshot";
const FORMAT: u32 = 1;
const CHECKSUM: u64 = 32;
/// A few keys are short.
const LONGEST_HEAD: u64 = 1 << 20;

/// What a backup holds beside the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// What nodes' certificates and kubeconfigs go on with.
    pub keys: ClusterKeys,
}

/// Why a file is no backup that could be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is no snapshot of a cluster: `pal snapshot save` makes one")]
    Foreign { path: PathBuf },
    #[error(
        "{path}: format {found} is newer than this program's ({FORMAT}); use the version that wrote it, or a later one"
    )]
    TooNew { path: PathBuf, found: String },
    #[error("{path} is damaged: {why}; use another snapshot, or a copy of this one")]
    Damaged { path: PathBuf, why: String },
}

/// A backup whose checksum holds.
pub struct Opened {
    pub head: Head,
    /// The store's own backup.
    pub store: Take<BufReader<File>>,
    /// Of the whole file, in bytes.
    pub size: u64,
}

/// The pieces of a backup's file, in order.
pub(crate) struct Pieces<I> {
    head: Option<Bytes>,
    store: I,
    /// Until it was given out.
    checksum: Option<Sha256>,
}

impl<I: Iterator<Item = Bytes>> Pieces<I> {
    pub(crate) fn new(head: &Head, store: I) -> Result<Self, serde_json::Error> {
        let mut text = format!("{MAGIC} {FORMAT}\n");
        text.push_str(&serde_json::to_string(head)?);
        text.push('\n');
        Ok(Self { head: Some(text.into()), store, checksum: Some(Sha256::new()) })
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Pieces<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let checksum = self.checksum.as_mut()?;
        if let Some(piece) = self.head.take().or_else(|| self.store.next()) {
            checksum.update(&piece);
            return Some(piece);
        }
        let whole = self.checksum.take()?;
        Some(Bytes::copy_from_slice(&whole.finalize()))
    }
}

/// Opens a backup, all of which is read once to check it.
pub fn open(path: &Path) -> Result<Opened, BackupError> {
    let at = |source| BackupError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(at)?;
    let size = file.metadata().map_err(at)?.len();
    let mut reader = BufReader::new(&mut file);
    let mut first = String::new();
    let foreign = || BackupError::Foreign { path: path.to_owned() };
    // What is no text is no backup either.
    reader.by_ref().take(64).read_line(&mut first).map_err(|_| foreign())?;
    let format = first.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(foreign)?.trim();
    if format != FORMAT.to_string() {
        return Err(BackupError::TooNew { path: path.to_owned(), found: format.to_owned() });
    }
    let damaged = |why: &str| BackupError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let whole = size.checked_sub(CHECKSUM).ok_or_else(|| damaged("it ends too soon"))?;
    drop(reader);
    check(&mut file, whole).map_err(at)?.then_some(()).ok_or_else(|| damaged("its checksum does not hold"))?;
    file.seek(SeekFrom::Start(first.len() as u64)).map_err(at)?;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    reader.by_ref().take(LONGEST_HEAD).read_line(&mut line).map_err(|_| damaged("its head is no text"))?;
    let head = serde_json::from_str(&line).map_err(|error| damaged(&format!("its head cannot be read ({error})")))?;
    let rest = whole.checked_sub((first.len() + line.len()) as u64).ok_or_else(|| damaged("it ends too soon"))?;
    Ok(Opened { head, store: reader.take(rest), size })
}

/// Whether the first `whole` bytes have the checksum that follows them.
fn check(file: &mut File, whole: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut content = file.take(whole);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let mut expected = [0; CHECKSUM as usize];
    content.into_inner().read_exact(&mut expected)?;
    Ok(hasher.finalize()[..] == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let keys = ClusterKeys {
            ca_certificate: "certificate".to_owned(),
            ca_key: "key".to_owned(),
            service_account_key: "accounts".to_owned(),
        };
        Head { keys }
    }

    fn written(store: &[&'static [u8]]) -> Vec<u8> {
        let store = store.iter().map(|piece| Bytes::from_static(piece));
        Pieces::new(&head(), store).expect("a head").flat_map(|piece| piece.to_vec()).collect()
    }

    fn opened(bytes: &[u8]) -> Result<(Head, Vec<u8>), BackupError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("backup");
        std::fs::write(&path, bytes).expect("written");
        let mut opened = open(&path)?;
        let mut store = Vec::new();
        opened.store.read_to_end(&mut store).expect("read");
        Ok((opened.head, store))
    }

    #[test]
    fn what_was_saved_comes_back() {
        let check = |store: &[&'static [u8]]| {
            let (found, bytes) = opened(&written(store)).expect("a backup");
            assert_eq!((found, bytes), (head(), store.concat()));
        };
        check(&[]);
        check(&[b"one\n", b"\n\0two"]);
        check(&[b"", &[7; 100_000]]);
    }

    #[test]
    fn what_was_damaged_is_refused_wherever_it_was() {
        let good = written(&[b"some bytes of the store"]);
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x20;
            assert!(opened(&bad).is_err(), "a changed byte at {place}");
            assert!(opened(&good[..place]).is_err(), "cut at {place}");
        }
        let mut longer = good;
        longer.push(0);
        assert!(opened(&longer).is_err());
    }

    #[test]
    fn refusals_say_what_the_file_is() {
        let check = |bytes: &[u8], part: &str| {
            let error = opened(bytes).expect_err("a refusal").to_string();
            assert!(error.contains(part), "{error}");
        };
        check(b"", "no snapshot");
        check(b"\xff\xfe\xfd", "no snapshot");
        check(b"palinurus-snapshot 2\n{}\n", "newer");
        check(b"palinurus-snapshot 1\n", "ends too soon");
    }
}
