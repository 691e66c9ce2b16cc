//! One registry in several servers: each keeps its own files, and what one lacks it gets from the others.
//!
//! - A push is offered to the others at once; they fetch its blobs.
//! - What is asked for and not here is fetched from a server that has it, checked, stored and served.
//! - From time to time each server fetches all that it lacks. So a server that is new, or was away, comes to have everything.
//! - Of a tag that was pushed to two servers, the later push holds, by the clocks of the servers that took the pushes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::MAX_BLOB_BYTES;
use crate::artifact::Manifest;
use crate::blobs::{BlobError, Blobs};
use crate::digest::Digest;
use crate::siblings::{Offer, Record, Sibling, Siblings, Tagged};

/// A push waits this long for the others to take it over; they go on after that.
const OFFER_WAIT: Duration = Duration::from_secs(2);
/// Offers under way. What does not fit is fetched by the others later.
const OFFERS_AT_ONCE: usize = 64;
/// How long the others may take to say what a tag means to them.
const TAG_LIMIT: Duration = Duration::from_millis(1500);
/// How often all that is lacking is fetched.
const FILL_EVERY: Duration = Duration::from_secs(20);
/// The first time, sooner: a new server should have everything soon.
const FIRST_FILL: Duration = Duration::from_secs(2);

/// What one server's registry has of the others. Clones share it; its tasks end with the last one.
#[derive(Clone)]
pub(crate) struct Share {
    others: Arc<Others>,
    tasks: Arc<StdMutex<JoinSet<()>>>,
}

/// What the tasks need.
struct Others {
    blobs: Blobs,
    siblings: Arc<dyn Siblings>,
    turns: Mutex<HashMap<Digest, Weak<Mutex<()>>>>,
    offers: Arc<Semaphore>,
}

impl Share {
    /// Shares that folder with the others, beginning now.
    pub fn start(blobs: Blobs, siblings: Arc<dyn Siblings>) -> Self {
        let offers = Arc::new(Semaphore::new(OFFERS_AT_ONCE));
        let others = Arc::new(Others { blobs, siblings, turns: Mutex::default(), offers });
        let mut tasks = JoinSet::new();
        tasks.spawn(others.clone().fill());
        Self { others, tasks: Arc::new(StdMutex::new(tasks)) }
    }

    /// Tells the others of a push, and waits a little for them.
    pub async fn offer(&self, offer: Offer) {
        let names = self.others.siblings.others();
        let (told, mut done) = mpsc::channel::<()>(1);
        {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            for name in names {
                let Ok(permit) = self.others.offers.clone().try_acquire_owned() else { break };
                let (others, offer, told) = (self.others.clone(), offer.clone(), told.clone());
                tasks.spawn(async move {
                    if !others.sibling(&name).offer(&offer).await {
                        tracing::info!(server = name, repository = offer.repository, "a push was not taken over yet");
                    }
                    drop((permit, told));
                });
            }
        }
        drop(told);
        // Nothing is ever sent: the channel closes when the last of them is done.
        let _ = timeout(OFFER_WAIT, done.recv()).await;
    }

    /// What a tag means: the newest push of those that this server and the others know.
    pub async fn tag(&self, repository: &str, tag: &str, here: Option<Tagged>) -> Result<Option<Tagged>, BlobError> {
        let names = self.others.siblings.others();
        let asked: FuturesUnordered<_> = names
            .iter()
            .map(|name| async move { (name, timeout(TAG_LIMIT, self.others.sibling(name).tag(repository, tag)).await) })
            .collect();
        let answers = asked.filter_map(|(name, found)| async move { Some((found.ok()??, name)) });
        let answers: Vec<(Tagged, &String)> = answers.collect().await;
        let newest = answers.into_iter().max();
        match newest {
            Some((there, name)) if here.as_ref().is_none_or(|here| there > *here) => {
                if self.others.take(name, repository, &there.digest).await? {
                    self.others.blobs.tag_as(repository, tag, &there).await?;
                    return Ok(Some(there));
                }
                Ok(here)
            }
            _ => Ok(here),
        }
    }

    /// Fetches a manifest that is not here; whether it is now.
    pub async fn manifest(&self, repository: &str, digest: &Digest) -> Result<bool, BlobError> {
        for name in self.others.siblings.others() {
            if self.others.take(&name, repository, digest).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fetches a blob that is not here; whether it is now.
    pub async fn blob(&self, repository: &str, digest: &Digest) -> Result<bool, BlobError> {
        self.others.blob(repository, digest).await
    }
}

impl Others {
    fn sibling<'a>(&'a self, name: &'a str) -> Sibling<'a> {
        Sibling { siblings: &*self.siblings, name }
    }

    /// Takes a manifest over from a server that has it.
    async fn take(&self, name: &str, repository: &str, digest: &Digest) -> Result<bool, BlobError> {
        if self.blobs.manifest_type(repository, digest).await?.is_some() {
            return Ok(true);
        }
        let Some(remote) = self.sibling(name).manifest(repository, digest).await else { return Ok(false) };
        self.blobs.put(&remote.bytes).await?;
        self.blobs.record(repository, digest, &remote.media_type).await?;
        Ok(true)
    }

    async fn blob(&self, repository: &str, digest: &Digest) -> Result<bool, BlobError> {
        let turn = self.turn(digest).await;
        let _turn = turn.lock().await;
        if self.blobs.size(digest).await?.is_some() {
            return Ok(true);
        }
        for name in self.siblings.others() {
            let incoming = self.blobs.begin(MAX_BLOB_BYTES).await?;
            if self.sibling(&name).blob(repository, digest, incoming).await {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The lock under which this blob is fetched: many may ask for it at once.
    async fn turn(&self, digest: &Digest) -> Arc<Mutex<()>> {
        let mut turns = self.turns.lock().await;
        if let Some(turn) = turns.get(digest).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Mutex::new(()));
        turns.insert(digest.clone(), Arc::downgrade(&turn));
        turn
    }

    /// Fetches what is lacking, for ever.
    async fn fill(self: Arc<Self>) {
        let mut pause = FIRST_FILL;
        loop {
            tokio::time::sleep(pause).await;
            pause = FILL_EVERY;
            for name in self.siblings.others() {
                for record in self.sibling(&name).catalog().await.unwrap_or_default() {
                    if let Err(error) = self.adopt(&name, &record).await {
                        tracing::warn!(%error, "an artifact of another server was not stored");
                    }
                }
            }
        }
    }

    /// Comes to have what another server told of.
    async fn adopt(&self, name: &str, record: &Record) -> Result<(), BlobError> {
        let Record { repository, digest, tags } = record;
        if !crate::reference::is_repository(repository) || !self.take(name, repository, digest).await? {
            return Ok(());
        }
        let bytes = self.blobs.read(digest).await?.unwrap_or_default();
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(()) };
        for descriptor in manifest.config.iter().chain(&manifest.layers) {
            if self.blobs.size(&descriptor.digest).await?.is_none() {
                self.blob(repository, &descriptor.digest).await?;
            }
        }
        for (tag, at) in tags.iter().filter(|(tag, _)| crate::reference::is_tag(tag)) {
            self.blobs.tag_as(repository, tag, &Tagged { at: *at, digest: digest.clone() }).await?;
        }
        Ok(())
    }
}
