//! Serving tools: each connection's requests are taken as they come and answered as they are done.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, Stream};
use tokio::io::{AsyncRead, AsyncWrite};

use super::PeerError;
use super::answers::Answer;
use super::eager::{Eager, Lately};
use super::frames::{Frame, Kind, numbers};
use super::outbox::{Outbox, Room};
use super::peers::ALIVE_EVERY;
use super::wire::{FrameReader, unexpected};
use crate::codec::decode_txn;
use crate::error::StoreError;
use crate::store::{Receipt, Store};
use crate::txn::Outcome;

/// A tool that is silent for so long is gone, and so is one that does not take its answers.
const SILENCE: Duration = Duration::from_secs(10);
/// So many requests of one connection may be under way. What more comes stays in the stream.
const UNDER_WAY: usize = 4096;
/// When so many answers wait to be read, no further request is taken.
const ANSWERS: Room = Room { frames: 2 * UNDER_WAY, bytes: 16 << 20 };

type Answers = Vec<(u64, Answer)>;
type Working<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Answers> + Send + 'a>>>;

/// Serves a tool until it goes.
pub(crate) async fn client<R, W>(
    store: &Store,
    lately: &Lately,
    reader: &mut FrameReader<R>,
    writer: &mut W,
) -> Result<(), PeerError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let outbox = Outbox::own(ANSWERS);
    let _open = outbox.open();
    outbox.flow_beside(writer, ALIVE_EVERY, work(store, lately, reader, &outbox)).await?
}

async fn work<R: AsyncRead + Unpin>(
    store: &Store,
    lately: &Lately,
    reader: &mut FrameReader<R>,
    outbox: &Outbox,
) -> Result<(), PeerError> {
    let mut working = Working::new();
    let mut under_way = 0;
    let mut eager = Eager::of(lately, Instant::now());
    loop {
        tokio::select! {
            frame = next(reader, outbox), if under_way < UNDER_WAY => {
                let Some(frame) = frame? else { return Ok(()) };
                eager.came(Instant::now());
                under_way += take(store, frame, reader, &working)?;
            }
            answers = done(&mut working), if under_way > 0 => {
                under_way -= answers.len();
                let mut adding = outbox.adding();
                for (seq, answer) in answers {
                    if !adding.add_anyway(Kind::Answer, |out| answer.write(seq, out)) {
                        return Err(PeerError::Closed);
                    }
                }
                drop(adding);
                if under_way == 0 {
                    eager.rests(Instant::now());
                }
            }
            () = eager.look(Instant::now()), if under_way == 0 => {}
        }
    }
}

async fn next<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>, outbox: &Outbox) -> Result<Option<Frame>, PeerError> {
    let room = tokio::time::timeout(SILENCE, outbox.has_room()).await;
    room.map_err(|_| PeerError::Silent(SILENCE))?;
    reader.next(SILENCE).await
}

/// Begins everything that one read brought, and returns how many requests that is.
fn take<'a, R: AsyncRead + Unpin>(
    store: &'a Store,
    first: Frame,
    reader: &mut FrameReader<R>,
    working: &Working<'a>,
) -> Result<usize, PeerError> {
    let mut reads = Vec::new();
    let mut count = 0;
    let mut next = Some(first);
    while let Some(frame) = next {
        match frame.kind {
            Kind::Alive => {}
            Kind::Commit => {
                let ([seq], data) = numbers::<1>(&frame.content)?;
                count += 1;
                let receipt = begin(store, data);
                working.push(Box::pin(async move { vec![(seq, committed(receipt).await)] }));
            }
            Kind::Read => {
                let ([seq], key) = numbers::<1>(&frame.content)?;
                count += 1;
                reads.push((seq, key));
            }
            _ => return Err(unexpected(&frame)),
        }
        next = reader.buffered()?;
    }
    if !reads.is_empty() {
        // All of them came before the snapshot is asked for, so one serves them all.
        working.push(Box::pin(read(store, reads)));
    }
    Ok(count)
}

fn begin(store: &Store, data: Bytes) -> Result<Receipt, StoreError> {
    let txn = decode_txn(&data).map_err(|error| StoreError::Invalid(error.to_string()))?;
    txn.validate()?;
    store.submit(data, None)
}

async fn committed(receipt: Result<Receipt, StoreError>) -> Answer {
    let outcome = match receipt {
        Ok(receipt) => receipt.outcome().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Outcome::Committed { revision, .. }) => Answer::Committed(revision),
        Ok(Outcome::Refused { guard, .. }) => Answer::Guarded(guard as u64),
        Err(error) => Answer::Failed(error),
    }
}

async fn read(store: &Store, reads: Vec<(u64, Bytes)>) -> Answers {
    let snapshot = store.consistent().await;
    let answer = |key: &Bytes| match (&snapshot, std::str::from_utf8(key)) {
        (Err(error), _) => Answer::Failed(error.clone()),
        (_, Err(_)) => Answer::Failed(StoreError::Invalid("a key is not UTF-8".to_owned())),
        (Ok(snapshot), Ok(key)) => match snapshot.get(key) {
            Some(entry) => Answer::Found(entry.modified(), entry.value().clone()),
            None => Answer::Absent,
        },
    };
    reads.iter().map(|(seq, key)| (*seq, answer(key))).collect()
}

/// The answers that are there, of which there is at least one: they leave in one write.
async fn done(working: &mut Working<'_>) -> Answers {
    let mut answers = Answers::new();
    poll_fn(|context| {
        while let Poll::Ready(Some(more)) = Pin::new(&mut *working).poll_next(context) {
            answers.extend(more);
        }
        if answers.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers
}
