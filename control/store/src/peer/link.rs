//! Keeping a stream open to another server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::frames::{Frame, Kind};
use super::handing::read_told;
use super::hello::Purpose;
use super::outbox::Outbox;
use super::peers::{ALIVE_EVERY, Peers, SILENCE};
use super::wire::{FrameReader, GREETING_LIMIT, farewell, greet, unexpected};
use super::{BoxedStream, PeerError, Refused};
use crate::driver::Arrival;
use crate::membership::Member;

/// Opening a stream takes no longer, TLS and all.
const DIAL_LIMIT: Duration = Duration::from_millis(1500);
/// Waits between tries: from the first to the last, doubled each time, each shortened by up to a half at random.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The next wait.
struct Backoff(Duration);

impl Backoff {
    fn next(&mut self, random: f64) -> Duration {
        let wait = self.0.mul_f64(1.0 - random / 2.0);
        self.0 = (self.0 * 2).min(LAST_WAIT);
        wait
    }
}

/// The reading and the writing half.
pub(crate) type Halves = (FrameReader<tokio::io::ReadHalf<BoxedStream>>, tokio::io::WriteHalf<BoxedStream>);

/// Keeps a stream open over which the outbox flows, and opens another one when it breaks, until it is cancelled or this
/// server is told that it was removed.
pub(crate) async fn keep(peers: Arc<Peers>, member: Member, outbox: Arc<Outbox>, nudge: Arc<Notify>) {
    let mut backoff = Backoff(FIRST_WAIT);
    let mut trouble = None;
    loop {
        let mut opened = None;
        let error = match dial(&peers, &member, Purpose::Member).await {
            Ok((reader, writer)) => {
                if trouble.take().is_some() {
                    tracing::info!(server = %member.id, name = member.name, "reached again");
                }
                opened = Some(Instant::now());
                flow(&peers, &member, &outbox, reader, writer).await
            }
            Err(error) => error,
        };
        peers.tell(Arrival::Unreachable { to: member.id.0 });
        peers.lost(member.id.0);
        match error {
            PeerError::Refused(Refused::Removed) => return peers.expelled(),
            PeerError::Refused(Refused::Wiped) => peers.wiped(),
            _ => {}
        }
        // Once for each kind of trouble, not for each try.
        let text = error.to_string();
        if trouble.as_ref() != Some(&text) {
            let Member { id, name, address } = &member;
            tracing::warn!(server = %id, name, address, error = text, "cannot reach another server; trying on");
            trouble = Some(text);
        }
        if opened.is_some_and(|opened| opened.elapsed() > LAST_WAIT) {
            backoff = Backoff(FIRST_WAIT);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next(rand::random())) => {}
            () = nudge.notified() => {}
        }
    }
}

async fn flow<R, W>(peers: &Peers, member: &Member, outbox: &Outbox, mut reader: FrameReader<R>, writer: W) -> PeerError
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let _open = outbox.open();
    peers.tell(Arrival::Reachable { to: member.id.0 });
    tokio::select! {
        Err(error) = outbox.flow(writer, ALIVE_EVERY) => error.into(),
        error = hear(peers, member, &mut reader) => error,
    }
}

/// Takes the answers to what was asked, until the other side ends the stream.
async fn hear<R: tokio::io::AsyncRead + Unpin>(
    peers: &Peers,
    member: &Member,
    reader: &mut FrameReader<R>,
) -> PeerError {
    loop {
        match reader.expect(SILENCE).await {
            Ok(Frame { kind: Kind::Alive, .. }) => {}
            Ok(Frame { kind: Kind::Told, content }) => match read_told(&content) {
                Ok((number, index)) => peers.told(member.id.0, number, index),
                Err(error) => return error,
            },
            Ok(frame) => return unexpected(&frame),
            Err(error) => return error,
        }
    }
}

/// Opens a stream to a server that is welcome, and is welcome there.
pub(crate) async fn dial(peers: &Peers, to: &Member, purpose: Purpose) -> Result<Halves, PeerError> {
    let Some(dialer) = &peers.config.dialer else {
        return Err(PeerError::Protocol("this server was started without a way to reach others".to_owned()));
    };
    let stream = match tokio::time::timeout(DIAL_LIMIT, dialer.dial(to)).await {
        Ok(stream) => stream?,
        Err(_) => return Err(PeerError::Silent(DIAL_LIMIT)),
    };
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(reader);
    let welcome = greet(&mut reader, &mut writer, &peers.hello(to.id, purpose)).await?;
    if let Err(why) = peers.judge().accept(to.id, &welcome, peers.acquaintance(to.id)) {
        tracing::debug!(server = %to.id, limit = ?GREETING_LIMIT, %why, "a server answered that is not wanted");
        let error = PeerError::Unwanted(why);
        farewell(&mut writer, &error).await;
        return Err(error);
    }
    Ok((reader, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_second_and_are_shortened_at_random() {
        let mut backoff = Backoff(FIRST_WAIT);
        let waits: Vec<u128> = (0..7).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(Backoff(FIRST_WAIT).next(1.0).as_millis(), 25);
    }
}
