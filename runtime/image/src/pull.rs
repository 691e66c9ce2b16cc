//! Bringing an artifact here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::MAX_BLOB_BYTES;
use crate::arrival::Arrival;
use crate::artifact::{Content, Defaults, Descriptor, Manifest};
use crate::blobs::{BlobError, Blobs};
use crate::client::RegistryClient;
use crate::digest::Digest;
use crate::reference::{Reference, ReferenceError};
use crate::site::{ClientError, ClusterRegistry};

/// What a puller works with.
#[derive(Clone, Debug)]
pub struct PullerConfig {
    /// Where artifacts are kept.
    pub cache: Blobs,
    /// What `pal.local` means.
    pub cluster: Option<ClusterRegistry>,
    /// Hosts (with ports) that are spoken to without TLS, beside the loopback's.
    pub plain_http: Vec<String>,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// A Wasm file that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What to show as `imageID`: the repository at the manifest's digest.
    pub image_id: String,
    /// The digest of the Wasm file itself.
    pub digest: Digest,
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// Whether nothing had to be fetched.
    pub cached: bool,
    /// What is run where a container does not say it.
    pub defaults: Option<Defaults>,
}

/// Why an artifact could not be brought here.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(transparent)]
    BadReference(#[from] ReferenceError),
    #[error("image {0} is not found")]
    NotFound(String),
    #[error("image {image} is a Linux container image; Palinurus runs Wasm: build the program for wasm32-wasip2")]
    LinuxImage { image: String },
    #[error("image {image} holds no Wasm: its content is of type {media_type:?}, not application/wasm")]
    NotWasm { image: String, media_type: String },
    #[error("access to image {image} was denied: {why}")]
    Denied { image: String, why: String },
    #[error("image {0} is not present with pull policy of Never")]
    NotPresent(String),
    #[error("image {image} does not have the content that its digest names: {why}")]
    DigestMismatch { image: String, why: String },
    #[error("the manifest of image {image} cannot be read: {why}")]
    BadManifest { image: String, why: String },
    #[error("image {image} is larger than {limit} bytes")]
    TooLarge { image: String, limit: u64 },
    #[error("image {image} cannot be pulled: {why}")]
    Unreachable { image: String, why: String },
    #[error("image {image} cannot be stored: {source}")]
    Storage { image: String, source: BlobError },
}

impl PullError {
    /// Whether trying again with the same reference may help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::BadReference(_) | Self::LinuxImage { .. } | Self::NotWasm { .. } | Self::NotPresent(_))
    }
}

/// What a reference was found to mean, kept so that a node can go on without its servers.
#[derive(Serialize, Deserialize)]
struct Found {
    manifest: Digest,
    wasm: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    defaults: Option<Defaults>,
}

/// Pulls artifacts into a cache; concurrent pulls of one reference share the work. Clones share all.
#[derive(Clone)]
pub struct Puller {
    cache: Blobs,
    client: RegistryClient,
    running: Arc<Mutex<HashMap<String, Weak<Mutex<()>>>>>,
}

impl Puller {
    /// A puller. Fails where the system's root certificates cannot be read.
    pub fn new(config: PullerConfig) -> Result<Self, ClientError> {
        let client = RegistryClient::new(config.cluster, config.plain_http)?;
        Ok(Self { cache: config.cache, client, running: Arc::default() })
    }

    /// Brings the artifact that `image` names into the cache, as the policy says.
    pub async fn pull(&self, image: &str, policy: PullPolicy) -> Result<Artifact, PullError> {
        let mut reference: Reference = image.parse()?;
        if self.client.has_cluster()
            && let Some(stand_in) = reference.stand_in()
        {
            reference = stand_in;
        }
        let turn = self.turn(&reference.to_string()).await;
        let _turn = turn.lock().await;
        // A digest means the same for ever, so that there is nothing to ask for again.
        let may_use_cache = policy != PullPolicy::Always || reference.digest().is_some();
        if may_use_cache && let Some(artifact) = self.cached(&reference).await? {
            return Ok(artifact);
        }
        if policy == PullPolicy::Never {
            return Err(PullError::NotPresent(image.to_owned()));
        }
        match self.fetch(&reference).await {
            // A server may go while it sends; the next one has the same.
            Err(PullError::Unreachable { .. }) if reference.in_cluster() => self.fetch(&reference).await,
            outcome => outcome,
        }
    }

    /// The shell and the tools, which every node has with it: the Wasm file and its digest.
    pub async fn tools(&self) -> Result<(Digest, PathBuf), BlobError> {
        let digest = self.cache.put(&crate::standin::tools()?).await?;
        let path = self.cache.path(&digest);
        Ok((digest, path))
    }

    /// The lock under which this reference is pulled.
    async fn turn(&self, reference: &str) -> Arc<Mutex<()>> {
        let mut running = self.running.lock().await;
        if let Some(turn) = running.get(reference).and_then(Weak::upgrade) {
            return turn;
        }
        running.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Mutex::new(()));
        running.insert(reference.to_owned(), Arc::downgrade(&turn));
        turn
    }

    async fn cached(&self, reference: &Reference) -> Result<Option<Artifact>, PullError> {
        let storage = |source| PullError::Storage { image: reference.to_string(), source };
        let Some(note) = self.cache.note(&reference.to_string()).await.map_err(storage)? else { return Ok(None) };
        let Ok(found) = serde_json::from_slice::<Found>(&note) else { return Ok(None) };
        let size = self.cache.size(&found.wasm).await.map_err(storage)?;
        Ok((size == Some(found.size)).then(|| self.artifact(reference, &found, true)))
    }

    fn artifact(&self, reference: &Reference, found: &Found, cached: bool) -> Artifact {
        Artifact {
            image_id: reference.at(&found.manifest).to_string(),
            digest: found.wasm.clone(),
            path: self.cache.path(&found.wasm),
            size: found.size,
            cached,
            defaults: found.defaults.clone(),
        }
    }

    async fn fetch(&self, reference: &Reference) -> Result<Artifact, PullError> {
        let image = reference.to_string();
        let mut selector = reference.selector().to_owned();
        let mut pinned = reference.digest().cloned();
        // An index leads to a manifest, and no further.
        for _ in 0..2 {
            let bytes = self.client.manifest(reference, &selector).await.map_err(|e| refused(&image, e))?;
            let digest = Digest::of(&bytes);
            if let Some(pinned) = &pinned
                && *pinned != digest
            {
                let why = format!("the manifest's digest is {digest}");
                return Err(PullError::DigestMismatch { image, why });
            }
            let manifest: Manifest = serde_json::from_slice(&bytes)
                .map_err(|error| PullError::BadManifest { image: image.clone(), why: error.to_string() })?;
            match manifest.content() {
                Content::Entry(entry) => {
                    selector = entry.digest.to_string();
                    pinned = Some(entry.digest.clone());
                }
                Content::Wasm(layer) => {
                    return self.fetch_layer(reference, digest, layer, Defaults::of(&manifest)).await;
                }
                Content::Linux => return Err(PullError::LinuxImage { image }),
                Content::Other(media_type) => return Err(PullError::NotWasm { image, media_type }),
            }
        }
        Err(PullError::BadManifest { image, why: "an index leads to another index".to_owned() })
    }

    async fn fetch_layer(
        &self,
        reference: &Reference,
        manifest: Digest,
        layer: &Descriptor,
        defaults: Option<Defaults>,
    ) -> Result<Artifact, PullError> {
        let image = reference.to_string();
        let storage = |source| match source {
            BlobError::Mismatch { .. } => PullError::DigestMismatch { image: image.clone(), why: source.to_string() },
            BlobError::TooLarge { limit } => PullError::TooLarge { image: image.clone(), limit },
            source => PullError::Storage { image: image.clone(), source },
        };
        if layer.size > MAX_BLOB_BYTES {
            return Err(PullError::TooLarge { image, limit: MAX_BLOB_BYTES });
        }
        if self.cache.size(&layer.digest).await.map_err(storage)? != Some(layer.size) {
            let mut stream =
                Arrival::begin(&self.client, reference, layer.digest.as_str()).await.map_err(|e| refused(&image, e))?;
            let mut incoming = self.cache.begin(layer.size).await.map_err(storage)?;
            while let Some(bytes) = stream.next().await.map_err(|e| refused(&image, e))? {
                incoming.write(&bytes).await.map_err(storage)?;
            }
            incoming.finish(Some(&layer.digest)).await.map_err(storage)?;
        }
        let found = Found { manifest, wasm: layer.digest.clone(), size: layer.size, defaults };
        // A struct of strings and a number has no way to fail.
        let note = serde_json::to_string(&found).unwrap_or_default();
        self.cache.set_note(&image, &note).await.map_err(storage)?;
        Ok(self.artifact(reference, &found, false))
    }
}

fn refused(image: &str, error: ClientError) -> PullError {
    let image = image.to_owned();
    match error {
        ClientError::NotFound { .. } => PullError::NotFound(image),
        ClientError::Denied { .. } => PullError::Denied { image, why: error.to_string() },
        other => PullError::Unreachable { image, why: other.to_string() },
    }
}
