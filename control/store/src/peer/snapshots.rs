//! Whole states on their way from one server to another, each on a stream of its own.

use std::sync::Arc;
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::frames::Kind;
use super::hello::Purpose;
use super::link::dial;
use super::outbox::{Outbox, Room};
use super::peers::{ALIVE_EVERY, Peers, write_message};
use super::wire::{FrameReader, unexpected, write};
use super::{PeerError, Refused};
use crate::driver::Arrival;
use crate::image::{Image, ImageError, ImageReader};
use crate::membership::{Member, ServerId};

/// Something must move within this time.
const STALLED: Duration = Duration::from_secs(10);
/// Writing the state to the receiver's disk takes no longer.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);

/// Sends a state, and returns when the other side has it on disk.
pub(crate) async fn send(peers: &Peers, to: &Member, message: &Message, image: Image) -> Result<(), PeerError> {
    let (mut reader, mut writer) = dial(peers, to, Purpose::Snapshot).await?;
    let stream = async {
        moving(write(&mut writer, Kind::Message, |out| write_message(message, out))).await?;
        for chunk in image.chunks() {
            moving(write(&mut writer, Kind::Chunk, |out| out.extend_from_slice(&chunk))).await?;
        }
        moving(write(&mut writer, Kind::End, |_| {})).await
    };
    // The other side says that it is there all the while.
    let done = async {
        loop {
            let frame = reader.expect(STALLED).await?;
            match frame.kind {
                Kind::Alive => {}
                Kind::Done => return Ok(()),
                _ => return Err(unexpected(&frame)),
            }
        }
    };
    let both = async { tokio::try_join!(stream, done) };
    both.await.map(|_| ())
}

async fn moving<T>(step: impl Future<Output = Result<T, PeerError>>) -> Result<T, PeerError> {
    tokio::time::timeout(STALLED, step).await.map_err(|_| PeerError::Silent(STALLED))?
}

/// Takes a state in from a server that greeted, and has it installed.
pub(crate) async fn receive<R, W>(
    peers: &Arc<Peers>,
    from: ServerId,
    reader: &mut FrameReader<R>,
    writer: &mut W,
) -> Result<(), PeerError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let _receiving = peers.begin_receiving().ok_or(Refused::TooMany)?;
    let signs = Outbox::new(Room { frames: 0, bytes: 0 });
    let taken = async {
        let (message, image) = read(peers, from, reader).await?;
        install(peers, message, image).await
    };
    tokio::select! {
        taken = taken => taken?,
        Err(error) = signs.flow(&mut *writer, ALIVE_EVERY) => return Err(error.into()),
    }
    write(writer, Kind::Done, |_| {}).await
}

async fn read<R: AsyncRead + Unpin>(
    peers: &Peers,
    from: ServerId,
    reader: &mut FrameReader<R>,
) -> Result<(Message, Image), PeerError> {
    let first = reader.expect(STALLED).await?;
    if first.kind != Kind::Message {
        return Err(unexpected(&first));
    }
    let message = Message::parse_from_carllerche_bytes(&first.content)
        .map_err(|error| PeerError::Protocol(format!("a message makes no sense: {error}")))?;
    let fits = message.from == from.0 && message.to == peers.me().0;
    if !fits || message.get_msg_type() != MessageType::MsgSnapshot {
        return Err(PeerError::Protocol("this is no snapshot for this server".to_owned()));
    }
    let mut image = ImageReader::default();
    loop {
        let frame = reader.expect(STALLED).await?;
        match frame.kind {
            Kind::Chunk => image.push(&frame.content).map_err(damaged)?,
            Kind::End => return Ok((message, image.finish().map_err(damaged)?)),
            _ => return Err(unexpected(&frame)),
        }
    }
}

fn damaged(error: ImageError) -> PeerError {
    PeerError::Protocol(format!("the state is damaged: {error}"))
}

async fn install(peers: &Peers, message: Message, image: Image) -> Result<(), PeerError> {
    let (reply, installed) = oneshot::channel();
    peers.tell(Arrival::Received { message: Box::new(message), image: Box::new(image), reply });
    match tokio::time::timeout(INSTALL_LIMIT, installed).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(PeerError::Protocol(format!("the state was not installed: {error}"))),
        Ok(Err(_)) => Err(PeerError::Closed),
        Err(_) => Err(PeerError::Silent(INSTALL_LIMIT)),
    }
}
