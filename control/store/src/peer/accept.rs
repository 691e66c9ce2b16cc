//! Streams that others opened.

use std::sync::Arc;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frames::{Frame, Kind, numbers};
use super::handing::{read_forward, read_refusal, write_told};
use super::hello::{Acquaintance, Purpose};
use super::outbox::{Outbox, Room};
use super::peers::{ALIVE_EVERY, Peers, SILENCE};
use super::wire::{FrameReader, farewell, greeted, unexpected, welcome};
use super::{Peer, PeerError, Refused, Stream, serve, snapshots};
use crate::driver::Arrival;
use crate::membership::{Member, ServerId};
use crate::proposals::{Forward, Refusal};
use crate::store::Store;

/// So many answers may wait to be written to another server.
const ANSWERS: Room = Room { frames: 64, bytes: 4 << 10 };

/// Serves a stream until it ends.
pub(crate) async fn accept(
    store: &Store,
    peers: &Arc<Peers>,
    peer: Peer,
    stream: impl Stream + 'static,
) -> Result<(), PeerError> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(reader);
    let served = async {
        let hello = greeted(&mut reader).await?;
        let known = match &peer {
            Peer::Server(id) => peers.acquaintance(*id),
            Peer::Client(_) => Acquaintance::None,
        };
        peers.judge().admit(&peer, &hello, known)?;
        welcome(&mut writer, &peers.welcome()).await?;
        match hello.purpose {
            Purpose::Member => member(peers, &hello.from, &mut reader, &mut writer).await,
            Purpose::Snapshot => snapshots::receive(peers, hello.from.id, &mut reader, &mut writer).await,
            Purpose::Client => {
                let _served = peers.begin_serving().ok_or(Refused::TooMany)?;
                serve::client(store, peers.lately(), &mut reader, &mut writer).await
            }
        }
    };
    let ended = peers.ending().run_until_cancelled(served).await.unwrap_or(Err(PeerError::Closed));
    if let Err(error) = &ended {
        tracing::debug!(%peer, %error, "a peer's stream ends");
        farewell(&mut writer, error).await;
    }
    ended
}

/// Hands what another server sends to the driver.
async fn member<R, W>(
    peers: &Arc<Peers>,
    from: &Member,
    reader: &mut FrameReader<R>,
    writer: &mut W,
) -> Result<(), PeerError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let current = peers.arrived(from);
    let answers = Outbox::own(ANSWERS);
    let _open = answers.open();
    let ended = tokio::select! {
        ended = answers.flow_beside(writer, ALIVE_EVERY, take(peers, from.id, reader, &answers)) => {
            ended.unwrap_or_else(|error| Err(error.into()))
        }
        () = current.cancelled() => {
            Err(match peers.acquaintance(from.id) {
                _ if peers.ending().is_cancelled() => PeerError::Closed,
                Acquaintance::Removed => Refused::Removed.into(),
                Acquaintance::None | Acquaintance::Member { .. } => PeerError::Superseded,
            })
        }
    };
    peers.left(from.id, &current);
    ended
}

async fn take<R: AsyncRead + Unpin>(
    peers: &Peers,
    from: ServerId,
    reader: &mut FrameReader<R>,
    answers: &Outbox,
) -> Result<(), PeerError> {
    let inbox = &peers.config.inbox;
    let mut arrivals = Arrivals::default();
    loop {
        inbox.has_room().await;
        let Some(frame) = reader.next(SILENCE).await? else { return Ok(()) };
        let mut next = Some(frame);
        let mut bytes = 0;
        while let Some(frame) = next {
            bytes += frame.content.len();
            match frame.kind {
                Kind::Ask => tell(peers, answers, &frame)?,
                _ => arrivals.add(from, peers.me(), frame)?,
            }
            next = reader.buffered()?;
        }
        let requests = arrivals.take(from);
        if !requests.is_empty() && !inbox.deliver(requests, bytes) {
            return Err(PeerError::Closed);
        }
    }
}

/// Tells how far everything is committed that was ever answered, at once, or that this server does not know.
fn tell(peers: &Peers, answers: &Outbox, asked: &Frame) -> Result<(), PeerError> {
    let ([number], _) = numbers::<1>(&asked.content)?;
    let index = peers.leased();
    // Who does not take its answers goes without.
    let _ = answers.adding().add(Kind::Told, |out| write_told(number, index, out));
    Ok(())
}

/// What one read brought, sorted.
#[derive(Default)]
struct Arrivals {
    messages: Vec<Message>,
    proposals: Vec<Forward>,
    refusals: Vec<Refusal>,
}

impl Arrivals {
    fn add(&mut self, from: ServerId, me: ServerId, frame: Frame) -> Result<(), PeerError> {
        match frame.kind {
            Kind::Alive => {}
            Kind::Message => {
                let message = Message::parse_from_carllerche_bytes(&frame.content)
                    .map_err(|error| PeerError::Protocol(format!("a message makes no sense: {error}")))?;
                if message.from != from.0 || message.to != me.0 || message.get_msg_type() == MessageType::MsgSnapshot {
                    let kind = message.get_msg_type();
                    let (sender, to) = (ServerId(message.from), ServerId(message.to));
                    let text = format!("a message {kind:?} from {sender} to {to} does not belong here");
                    return Err(PeerError::Protocol(text));
                }
                self.messages.push(message);
            }
            Kind::Forward => self.proposals.push(read_forward(&frame.content)?),
            Kind::Refusal => self.refusals.push(read_refusal(&frame.content)?),
            _ => return Err(unexpected(&frame)),
        }
        Ok(())
    }

    fn take(&mut self, from: ServerId) -> Vec<Arrival> {
        let Arrivals { messages, proposals, refusals } = std::mem::take(self);
        let from = from.0;
        let mut requests = Vec::new();
        if !messages.is_empty() {
            requests.push(Arrival::Messages(messages));
        }
        if !proposals.is_empty() {
            requests.push(Arrival::Forwarded { from, proposals });
        }
        if !refusals.is_empty() {
            requests.push(Arrival::Refused { from, refusals });
        }
        requests
    }
}
