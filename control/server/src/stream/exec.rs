//! Programs' streams: a client's packets to the node and the node's to the client.

use std::time::Duration;

use bytes::Bytes;
use futures::future;
use http_body_util::BodyExt as _;
use pal_resources::Status;
use pal_resources::channel::{CLOSE, ERROR, Ending, Packet, Packets, RESIZE, STDERR, STDIN, STDOUT};
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::{Client, Said, Wire, pair, words};
use super::limits::{IDLE, Idle};
use super::spdy::{self, Outgoing, Session, Stream};
use super::{Chosen, Conversation, websocket};

/// The streams that a client has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

impl Programs {
    /// The channel on which clients of WebSocket are greeted: the lowest that the server writes.
    fn greeting(self) -> u8 {
        match (self.stdout, self.stderr) {
            (true, _) => STDOUT,
            (false, true) => STDERR,
            (false, false) => ERROR,
        }
    }
}

/// How long a program goes on whose client is gone: what that has sent reaches it, and then the end of its input. (By kubelet it
/// goes on for as long as it likes.)
const FAREWELL: Duration = Duration::from_secs(10);

/// Carries a program's streams until it has ended, or some time after the client is gone. Where there is no program, the client
/// is told why.
pub(crate) async fn run<T>(io: T, chosen: Chosen, wanted: Programs, program: Result<Conversation, Status>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let idle = Idle::new();
    let (client, wire) = pair();
    let joined = async {
        match program {
            Ok(conversation) => join(conversation, client).await,
            Err(status) => refuse(client, status).await,
        }
    };
    tokio::pin!(joined);
    let mut ended = false;
    let speaking = async {
        match chosen {
            Chosen::Channels { protocol, .. } => {
                websocket::channels(io, protocol, Some(wanted.greeting()), wire, &idle).await;
            }
            Chosen::Spdy { protocol } => speak_spdy(io, protocol, wanted, wire, &idle).await,
            // Only port-forward is offered that.
            Chosen::Tunnelled { .. } => {}
        }
    };
    tokio::select! {
        () = speaking => {}
        () = async {
            joined.as_mut().await;
            ended = true;
            // The client is told the end.
            future::pending().await
        } => {}
        () = idle.over(IDLE) => return tracing::debug!("a program's streams were idle for too long"),
    }
    if !ended && tokio::time::timeout(FAREWELL, joined).await.is_err() {
        tracing::debug!("a program goes on without its client, and is stopped");
    }
}

/// Tells the client why there is no program. A client that is gone need not hear it.
async fn refuse(client: Client, status: Status) {
    let _ = client.said.send(Said::Ending(Ending::Failed(status).to_json())).await;
}

/// Carries packets in both directions until the node says that the program has ended. From a client that is gone nothing more
/// comes, and what is said to it is heard by nobody.
async fn join(conversation: Conversation, client: Client) {
    let Conversation { send, mut answer } = conversation;
    let Client { mut heard, said } = client;
    let up = async move {
        while let Some(packet) = heard.recv().await {
            if matches!(packet.channel, STDIN | RESIZE | CLOSE) && send.send(packet.encode().into()).await.is_err() {
                break;
            }
        }
        drop(send);
        future::pending::<()>().await;
    };
    let down = async {
        let mut packets = Packets::default();
        while let Some(Ok(frame)) = answer.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            packets.push(&data);
            loop {
                let packet = match packets.take() {
                    Ok(Some(packet)) => packet,
                    Ok(None) => break,
                    Err(error) => return tracing::warn!(%error, "what a node sends is out of order"),
                };
                let last = packet.channel == ERROR;
                let message = if last { Said::Ending(packet.data) } else { Said::Packet(packet) };
                let _ = said.send(message).await;
                if last {
                    return;
                }
            }
        }
        let lost = Ending::Failed(Status::internal("the connection to the node was lost"));
        // A client that is gone as well need not hear it.
        let _ = said.send(Said::Ending(lost.to_json())).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// The streams of a program, as a client of SPDY has opened them.
#[derive(Default)]
struct Opened {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Opened {
    /// Puts a stream into its place; gives back one that has none.
    fn put(&mut self, stream: Stream) -> Option<Stream> {
        let kind = stream.header("streamtype").unwrap_or_default().to_owned();
        let place = match kind.as_str() {
            "error" => &mut self.error,
            "stdin" => &mut self.stdin,
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            "resize" => &mut self.resize,
            _ => return Some(stream),
        };
        place.replace(stream)
    }

    fn is_whole(&self, wanted: Programs, resizes: bool) -> bool {
        let there = |wanted: bool, stream: &Option<Stream>| !wanted || stream.is_some();
        self.error.is_some()
            && there(wanted.stdin, &self.stdin)
            && there(wanted.stdout, &self.stdout)
            && there(wanted.stderr && !wanted.tty, &self.stderr)
            && there(wanted.tty && resizes, &self.resize)
    }
}

async fn speak_spdy<T>(io: T, protocol: &'static str, wanted: Programs, wire: Wire, idle: &Idle)
where
    T: AsyncRead + AsyncWrite + Send,
{
    let (mut session, driving) = spdy::start(io, idle);
    tokio::pin!(driving);
    // Before v3 a terminal's size was not told, and before v4 a program's end only in words.
    let (version4, version3) = (matches!(protocol, "v5.channel.k8s.io" | "v4.channel.k8s.io"), "v3.channel.k8s.io");
    let resizes = version4 || protocol == version3;
    let talking = async {
        let opened = tokio::time::timeout(spdy::OPENING, gather(&mut session, wanted, resizes));
        match opened.await {
            Ok(Some(opened)) => talk(opened, wire, version4).await,
            Ok(None) | Err(_) => tracing::debug!("a client did not open its streams"),
        }
        drop(session);
    };
    tokio::select! {
        () = driving.as_mut() => return,
        () = talking => {}
    }
    driving.await;
}

async fn gather(session: &mut Session, wanted: Programs, resizes: bool) -> Option<Opened> {
    let mut opened = Opened::default();
    while !opened.is_whole(wanted, resizes) {
        if let Some(odd) = opened.put(session.open().await?) {
            odd.outgoing.reset().await;
        }
    }
    Some(opened)
}

async fn talk(opened: Opened, wire: Wire, status: bool) {
    let Wire { heard, mut said } = wire;
    let Opened { error, stdin, stdout, stderr, resize } = opened;
    let outgoing = |stream: &Option<Stream>| stream.as_ref().map(|stream| stream.outgoing.clone());
    let (error, stdout, stderr) = (outgoing(&error), outgoing(&stdout), outgoing(&stderr));
    let listen = async |channel: u8, stream: Option<Stream>| {
        let Some(mut stream) = stream else { return };
        while let Some(bytes) = stream.incoming.recv().await {
            if heard.send(Packet::new(channel, bytes)).await.is_err() {
                return;
            }
        }
        // Nobody listens to the end of a program that has ended.
        let _ = heard.send(Packet::close(channel)).await;
    };
    let listening = async {
        tokio::join!(listen(STDIN, stdin), listen(RESIZE, resize));
        future::pending::<()>().await;
    };
    let speaking = async {
        while let Some(message) = said.recv().await {
            let (to, data) = match message {
                Said::Packet(packet) => {
                    (if packet.channel == STDERR { &stderr } else { &stdout }, Bytes::from(packet.data))
                }
                Said::Ending(ending) if status => (&error, Bytes::from(ending)),
                Said::Ending(ending) => (&error, Bytes::from(words(&ending).unwrap_or_default())),
            };
            if let Some(to) = to
                && to.send(data).await.is_err()
            {
                return;
            }
        }
        for stream in [&stdout, &stderr, &error].into_iter().flatten() {
            Outgoing::end(stream).await;
        }
    };
    tokio::select! {
        () = listening => {}
        () = speaking => {}
    }
}
