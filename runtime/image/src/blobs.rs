//! Content on disk, by digest.
//!
//! ```text
//! DIR/blobs/sha256/<hex>                         content
//! DIR/uploads/<id>                               content on its way in
//! DIR/repositories/<name>/_manifests/<hex>       the media type of a manifest that the repository holds
//! DIR/repositories/<name>/_tags/<tag>            the digest that a tag means, and when it was pushed
//! DIR/notes/<sha256 of a reference>              what a reference that was pulled means
//! ```
//!
//! A file appears under its final name whole and flushed, or not at all.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

use crate::digest::Digest;
use crate::siblings::{Record, Tagged};

/// A folder of content; clones share it.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: Arc<Path>,
}

/// What can go wrong with content on disk.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the content's digest is {actual}, not {expected}")]
    Mismatch { expected: Digest, actual: Digest },
    #[error("the content is larger than {limit} bytes")]
    TooLarge { limit: u64 },
}

impl BlobError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

impl Blobs {
    /// Opens the folder, making it where there is none, and drops uploads that an earlier process left unfinished.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let root = root.into();
        let uploads = root.join("uploads");
        if let Err(source) = fs::remove_dir_all(&uploads).await
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(BlobError::Io { path: uploads, source });
        }
        for dir in [root.join("blobs/sha256"), uploads, root.join("repositories")] {
            private_dir(&dir).await.map_err(BlobError::io(&dir))?;
        }
        Ok(Self { root: root.into() })
    }

    /// Where content of that digest lies, or would lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The size in bytes of content that is here.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        match fs::metadata(&path).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BlobError::Io { path, source }),
        }
    }

    /// Reads content whole. For documents, which are small.
    pub async fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError> {
        read_optional(&self.path(digest)).await
    }

    /// Starts to take content in.
    pub async fn begin(&self, limit: u64) -> Result<Incoming, BlobError> {
        let id = uuid::Uuid::new_v4().to_string();
        let path = self.root.join("uploads").join(&id);
        let file = File::create(&path).await.map_err(BlobError::io(&path))?;
        Ok(Incoming { id, path, file, hash: Sha256::new(), size: 0, limit, blobs: self.clone(), done: false })
    }

    /// Stores content that is in memory; returns its digest.
    pub async fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let mut incoming = self.begin(u64::MAX).await?;
        incoming.write(bytes).await?;
        incoming.finish(None).await
    }

    /// What was noted under a name of any form.
    pub(crate) async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, BlobError> {
        read_optional(&self.root.join("notes").join(Digest::of(name.as_bytes()).hex())).await
    }

    /// Notes a text under a name of any form.
    pub(crate) async fn set_note(&self, name: &str, text: &str) -> Result<(), BlobError> {
        self.write_note(&self.root.join("notes"), Digest::of(name.as_bytes()).hex(), text).await
    }

    /// Notes that a repository holds a manifest.
    pub(crate) async fn record(&self, repository: &str, digest: &Digest, media_type: &str) -> Result<(), BlobError> {
        self.write_note(&self.repository(repository).join("_manifests"), digest.hex(), media_type).await
    }

    /// Makes a tag mean what was pushed, unless a newer push is known.
    pub(crate) async fn tag_as(&self, repository: &str, tag: &str, tagged: &Tagged) -> Result<(), BlobError> {
        if self.tag(repository, tag).await?.is_some_and(|known| known >= *tagged) {
            return Ok(());
        }
        let text = format!("{}\n{}", tagged.digest, tagged.at);
        self.write_note(&self.repository(repository).join("_tags"), tag, &text).await
    }

    /// The media type of a manifest that the repository holds.
    pub(crate) async fn manifest_type(&self, repository: &str, digest: &Digest) -> Result<Option<String>, BlobError> {
        let path = self.repository(repository).join("_manifests").join(digest.hex());
        Ok(read_optional(&path).await?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// What a tag means.
    pub(crate) async fn tag(&self, repository: &str, tag: &str) -> Result<Option<Tagged>, BlobError> {
        let path = self.repository(repository).join("_tags").join(tag);
        let Some(bytes) = read_optional(&path).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let Some(digest) = lines.next().and_then(|line| line.parse().ok()) else { return Ok(None) };
        // Files of earlier versions do not say when.
        let at = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        Ok(Some(Tagged { at, digest }))
    }

    /// All manifests, with the tags that mean them.
    pub(crate) async fn records(&self) -> Result<Vec<Record>, BlobError> {
        let top = self.root.join("repositories");
        let mut records = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for name in names(&top.join(&folder)).await? {
                match name.as_str() {
                    "_manifests" => self.records_of(&folder, &mut records).await?,
                    _ if name.starts_with('_') => {}
                    _ if folder.is_empty() => folders.push(name),
                    _ => folders.push(format!("{folder}/{name}")),
                }
            }
        }
        Ok(records)
    }

    async fn records_of(&self, repository: &str, records: &mut Vec<Record>) -> Result<(), BlobError> {
        let folder = self.repository(repository);
        let mut tags: HashMap<Digest, Vec<(String, u64)>> = HashMap::new();
        for tag in names(&folder.join("_tags")).await? {
            if let Some(Tagged { at, digest }) = self.tag(repository, &tag).await? {
                tags.entry(digest).or_default().push((tag, at));
            }
        }
        for hex in names(&folder.join("_manifests")).await? {
            let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
            let tags = tags.remove(&digest).unwrap_or_default();
            records.push(Record { repository: repository.to_owned(), digest, tags });
        }
        Ok(())
    }

    /// The repository's tags in order; `None` where there is no such repository.
    pub(crate) async fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, BlobError> {
        let repository = self.repository(repository);
        if !fs::try_exists(&repository).await.map_err(BlobError::io(&repository))? {
            return Ok(None);
        }
        let mut tags = names(&repository.join("_tags")).await?;
        tags.sort();
        Ok(Some(tags))
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.root.join("repositories").join(name)
    }

    async fn write_note(&self, dir: &Path, name: &str, text: &str) -> Result<(), BlobError> {
        private_dir(dir).await.map_err(BlobError::io(dir))?;
        let temporary = self.root.join("uploads").join(uuid::Uuid::new_v4().to_string());
        let mut file = File::create(&temporary).await.map_err(BlobError::io(&temporary))?;
        file.write_all(text.as_bytes()).await.map_err(BlobError::io(&temporary))?;
        file.sync_data().await.map_err(BlobError::io(&temporary))?;
        let path = dir.join(name);
        fs::rename(&temporary, &path).await.map_err(BlobError::io(&path))?;
        sync_folder(dir).await
    }
}

/// Content on its way in; dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    id: String,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
    limit: u64,
    blobs: Blobs,
    done: bool,
}

impl Incoming {
    /// The name of the upload.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// How many bytes have come.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).await.map_err(BlobError::io(&self.path))
    }

    /// Puts the content in its place, if its digest is the one expected.
    pub async fn finish(mut self, expected: Option<&Digest>) -> Result<Digest, BlobError> {
        let actual = Digest::from_hash(self.hash.clone());
        if let Some(expected) = expected
            && *expected != actual
        {
            return Err(BlobError::Mismatch { expected: expected.clone(), actual });
        }
        self.file.flush().await.map_err(BlobError::io(&self.path))?;
        self.file.sync_data().await.map_err(BlobError::io(&self.path))?;
        let path = self.blobs.path(&actual);
        fs::rename(&self.path, &path).await.map_err(BlobError::io(&path))?;
        self.done = true;
        if let Some(dir) = path.parent() {
            sync_folder(dir).await?;
        }
        Ok(actual)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed now goes at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What a folder holds; nothing where there is none.
async fn names(path: &Path) -> Result<Vec<String>, BlobError> {
    let mut names = Vec::new();
    let mut entries = match fs::read_dir(path).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        Err(source) => return Err(BlobError::Io { path: path.to_owned(), source }),
    };
    while let Some(entry) = entries.next_entry().await.map_err(BlobError::io(path))? {
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Makes a folder that only its owner can enter: images may be secret.
async fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).await
}

async fn sync_folder(dir: &Path) -> Result<(), BlobError> {
    let folder = File::open(dir).await.map_err(BlobError::io(dir))?;
    folder.sync_all().await.map_err(BlobError::io(dir))
}

pub(crate) async fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, BlobError> {
    match fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BlobError::Io { path: path.to_owned(), source }),
    }
}
