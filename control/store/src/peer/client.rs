//! A tool's side of a connection to a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::answers::Answer;
use super::frames::{Kind, LARGEST_TXN, write_numbers};
use super::hello::{Hello, Purpose, VERSION, Welcome};
use super::outbox::{Outbox, Room};
use super::peers::ALIVE_EVERY;
use super::wire::{FrameReader, greet, unexpected};
use super::{PeerError, Stream};
use crate::codec::encode_txn;
use crate::error::StoreError;
use crate::key::{Key, Revision};
use crate::membership::{Member, ServerId};
use crate::txn::Txn;

/// A server that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(3);
/// A server answers by itself long before this.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// So many requests are under way at once; further ones wait for their turn.
const UNDER_WAY: usize = 2048;
const REQUESTS: Room = Room { frames: 2 * UNDER_WAY, bytes: 64 << 20 };

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It was applied and is durable.
    At(Revision),
    /// The guard at this position did not hold; nothing was changed.
    Refused {
        /// Its position in [`Txn::guards`].
        guard: usize,
    },
}

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: Bytes,
    /// The revision of the write that made it.
    pub modified: Revision,
}

/// A connection to a server of a cluster. It is cheap to clone; many tasks can use one connection at once, and their
/// requests do not wait for each other. It is closed when its last clone goes.
#[derive(Clone)]
pub struct Client(Arc<Connection>);

struct Connection {
    shared: Arc<Shared>,
    turns: Semaphore,
    welcome: Welcome,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    outbox: Outbox,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    requests: HashMap<u64, oneshot::Sender<Answer>>,
    /// Why the connection ended.
    ended: Option<PeerError>,
}

impl Client {
    /// Greets the server at the other end of `stream`, and makes sure that it belongs to `cluster` if one is named. The
    /// stream must be that of an administrator, and should not hold small writes back (`TCP_NODELAY`).
    pub async fn connect(stream: impl Stream + 'static, cluster: Option<&str>) -> Result<Client, PeerError> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = FrameReader::new(reader);
        let hello = Hello {
            version: VERSION,
            purpose: Purpose::Client,
            cluster: cluster.unwrap_or_default().to_owned(),
            from: Member::default(),
            to: ServerId::default(),
            blank: false,
        };
        let welcome = greet(&mut reader, &mut writer, &hello).await?;
        let shared = Arc::new(Shared { outbox: Outbox::new(REQUESTS), waiting: Mutex::default() });
        let (ready, opened) = oneshot::channel();
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                let open = shared.outbox.open();
                // Nobody waits for it when the call of `connect` was dropped.
                let _ = ready.send(());
                let ended = tokio::select! {
                    Err(error) = shared.outbox.flow(writer, ALIVE_EVERY) => error.into(),
                    error = shared.listen(&mut reader) => error,
                };
                drop(open);
                shared.end(ended);
            }
        });
        opened.await.map_err(|_| PeerError::Closed)?;
        let turns = Semaphore::new(UNDER_WAY);
        Ok(Client(Arc::new(Connection { shared, turns, welcome, _task: AbortOnDropHandle::new(task) })))
    }

    /// The cluster that the server belongs to.
    pub fn cluster(&self) -> &str {
        &self.0.welcome.cluster
    }

    /// The server at the other end.
    pub fn server(&self) -> ServerId {
        self.0.welcome.server
    }

    /// Why the connection has ended, if it has.
    pub fn ended(&self) -> Option<PeerError> {
        self.0.shared.lock().ended.clone()
    }

    /// Carries out a transaction through the connected server, whether it leads or not. [`StoreError::Unknown`] when
    /// the connection ended before the answer came; [`StoreError::Unreachable`] when nothing was sent.
    pub async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        txn.validate()?;
        let data = encode_txn(&txn);
        let (size, limit) = (data.len(), LARGEST_TXN);
        if size > limit {
            return Err(StoreError::TooLarge { size, limit });
        }
        match self.ask(Kind::Commit, &data).await? {
            Some(Answer::Committed(revision)) => Ok(Committed::At(revision)),
            Some(Answer::Guarded(guard)) => Ok(Committed::Refused { guard: guard as usize }),
            Some(Answer::Failed(error)) => Err(error),
            Some(Answer::Found(..) | Answer::Absent) => Err(mismatch()),
            None => Err(StoreError::Unknown),
        }
    }

    /// Reads a key; the answer holds every write that was acknowledged, by any server, before the call.
    pub async fn get(&self, key: Key) -> Result<Option<Found>, StoreError> {
        match self.ask(Kind::Read, key.as_str().as_bytes()).await? {
            Some(Answer::Found(modified, value)) => Ok(Some(Found { value, modified })),
            Some(Answer::Absent) => Ok(None),
            Some(Answer::Failed(error)) => Err(error),
            Some(Answer::Committed(_) | Answer::Guarded(_)) => Err(mismatch()),
            None => Err(self.unreachable()),
        }
    }

    /// The answer, or `None` when it will not come. An error when the request was not sent.
    async fn ask(&self, kind: Kind, content: &[u8]) -> Result<Option<Answer>, StoreError> {
        let _turn = self.turn().await?;
        let Connection { shared, .. } = &*self.0;
        let (reply, answer) = oneshot::channel();
        let seq = {
            let mut waiting = shared.lock();
            if waiting.ended.is_some() {
                drop(waiting);
                return Err(self.unreachable());
            }
            waiting.next += 1;
            let seq = waiting.next;
            waiting.requests.insert(seq, reply);
            seq
        };
        let asked = Asked { shared, seq };
        if !shared.outbox.adding().add(kind, |out| write_numbers(out, &[seq], content)) {
            return Err(if shared.lock().ended.is_some() { self.unreachable() } else { StoreError::QueueFull });
        }
        let answer = tokio::time::timeout(ANSWER_LIMIT, answer).await;
        drop(asked);
        Ok(answer.ok().and_then(Result::ok))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let turn = tokio::time::timeout(ANSWER_LIMIT, self.0.turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or(StoreError::QueueFull)
    }

    fn unreachable(&self) -> StoreError {
        let ended = self.ended().map_or_else(|| "no answer came".to_owned(), |error| error.to_string());
        StoreError::Unreachable(ended)
    }
}

/// A request whose asker may go away.
struct Asked<'a> {
    shared: &'a Shared,
    seq: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.lock().requests.remove(&self.seq);
    }
}

impl Shared {
    async fn listen<R: tokio::io::AsyncRead + Unpin>(&self, reader: &mut FrameReader<R>) -> PeerError {
        loop {
            let frame = match reader.expect(SILENCE).await {
                Ok(frame) => frame,
                Err(error) => return error,
            };
            match frame.kind {
                Kind::Alive => {}
                Kind::Answer => match Answer::read(&frame.content) {
                    Ok((seq, answer)) => {
                        let asker = self.lock().requests.remove(&seq);
                        // Whoever asked may have gone.
                        let _ = asker.map(|asker| asker.send(answer));
                    }
                    Err(error) => return error.into(),
                },
                _ => return unexpected(&frame),
            }
        }
    }

    fn end(&self, error: PeerError) {
        let mut waiting = self.lock();
        waiting.ended = Some(error);
        // Dropped, they tell their askers that no answer comes.
        let requests = std::mem::take(&mut waiting.requests);
        drop(waiting);
        drop(requests);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change of it is one call.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mismatch() -> StoreError {
    StoreError::Failed("the server gave an answer of another kind".to_owned())
}
