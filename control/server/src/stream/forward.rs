//! Forwarded connections: each is a conversation with the node, of plain bytes.
//!
//! In SPDY a client opens two streams for each, of data and of errors, which name the port and each other's number
//! (kubelet `cri/streaming/portforward`). In WebSocket's numbered channels each port has two of these, and is one
//! connection that begins at once.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future;
use futures::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::BodyExt as _;
use pal_resources::channel::Packet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::client::{Client, Said, pair};
use super::limits::{IDLE, Idle};
use super::node::NodeError;
use super::spdy::{self, Outgoing, Session, Stream};
use super::{Chosen, Conversation, Node, tunnelled, websocket};

/// Connections at a time of one client; more wait to be taken.
const CONNECTIONS: usize = 128;
/// Streams that wait for their other half.
const HALVES: usize = 64;
/// Pieces of one connection that wait for the node.
const QUEUE: usize = 8;

/// The pod to which connections are forwarded.
#[derive(Clone)]
pub(crate) struct Forwarding {
    pub(crate) node: Node,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) uid: String,
    /// For protocols that do not name a port with each connection.
    pub(crate) ports: Vec<u16>,
}

impl Forwarding {
    /// Whether the node has such a pod, and forwards to it.
    pub(crate) async fn ready(&self) -> Result<(), NodeError> {
        self.node.converse(&format!("/portForward/{}/{}", self.namespace, self.pod)).await.map(drop)
    }

    async fn connect(&self, port: u16) -> Result<Conversation, String> {
        let path = format!("/portForward/{}/{}?port={port}", self.namespace, self.pod);
        self.node.converse(&path).await.map_err(|error| {
            let why = match error {
                NodeError::Away(error) => error.to_string(),
                NodeError::Refused { message, .. } => message,
            };
            format!("error forwarding port {port} to pod {}, uid {}: {why}", self.pod, self.uid)
        })
    }
}

/// Forwards connections until the client is gone.
pub(crate) async fn run<T>(io: T, chosen: Chosen, forwarding: Forwarding)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let idle = Idle::new();
    let forwarded = async {
        match chosen {
            Chosen::Channels { protocol, .. } => {
                let (client, wire) = pair();
                tokio::select! {
                    () = websocket::channels(io, protocol, None, wire, &idle) => {}
                    () = async { channels(client, &forwarding).await; future::pending().await } => {}
                }
            }
            Chosen::Spdy { .. } => streams(io, &forwarding, &idle).await,
            Chosen::Tunnelled { .. } => {
                let (inner, carrying) = tunnelled::tunnel(io);
                tokio::pin!(carrying);
                tokio::select! {
                    () = carrying.as_mut() => return,
                    () = streams(inner, &forwarding, &idle) => {}
                }
                carrying.await;
            }
        }
    };
    tokio::select! {
        () = forwarded => {}
        () = idle.over(IDLE) => tracing::debug!("a port-forward was idle for too long"),
    }
}

/// What one connection sends to the client.
trait Sink {
    /// Sends; `false` when the client is gone.
    async fn send(&mut self, data: Bytes) -> bool;
}

/// Carries one connection until the pod has ended it or the client is gone.
async fn carry(conversation: Conversation, mut incoming: mpsc::Receiver<Bytes>, sink: &mut impl Sink) {
    let Conversation { send, mut answer } = conversation;
    let up = async move {
        while let Some(data) = incoming.recv().await {
            if send.send(data).await.is_err() {
                break;
            }
        }
        // Dropped before the wait, which tells the pod that nothing more comes.
        drop((send, incoming));
        future::pending::<()>().await;
    };
    let down = async {
        while let Some(Ok(frame)) = answer.frame().await {
            if let Ok(data) = frame.into_data()
                && !sink.send(data).await
            {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

impl Sink for Outgoing {
    async fn send(&mut self, data: Bytes) -> bool {
        Self::send(self, data).await.is_ok()
    }
}

/// A connection whose client has opened one of its streams, or both.
#[derive(Default)]
struct Halves {
    port: Option<u16>,
    data: Option<Stream>,
    error: Option<Stream>,
}

/// Connections over the streams of SPDY.
async fn streams<T: AsyncRead + AsyncWrite + Send>(io: T, forwarding: &Forwarding, idle: &Idle) {
    let (session, driving) = spdy::start(io, idle);
    tokio::pin!(driving);
    tokio::select! {
        () = driving.as_mut() => return,
        () = accept(session, forwarding) => {}
    }
    driving.await;
}

async fn accept(mut session: Session, forwarding: &Forwarding) {
    let mut waiting: HashMap<String, Halves> = HashMap::new();
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            opened = session.open(), if connections.len() < CONNECTIONS => {
                let Some(stream) = opened else { break };
                if let Some((port, data, error)) = matched(&mut waiting, stream).await {
                    connections.push(connection(forwarding, port, data, error));
                }
            }
            Some(()) = connections.next() => {}
        }
    }
}

/// Puts a stream to the other of its connection. Both, when they are there.
async fn matched(waiting: &mut HashMap<String, Halves>, stream: Stream) -> Option<(u16, Stream, Stream)> {
    let port = stream.header("port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
    let kind = stream.header("streamtype").unwrap_or_default().to_owned();
    // Old clients give no number: of a connection's two streams the one of errors is opened first.
    let request = match stream.header("requestid") {
        Some(request) => request.to_owned(),
        None if kind == "data" => format!("stream {}", stream.id().saturating_sub(2)),
        None => format!("stream {}", stream.id()),
    };
    if port.is_none() || !matches!(kind.as_str(), "data" | "error") || waiting.len() >= HALVES {
        stream.outgoing.reset().await;
        return None;
    }
    let halves = waiting.entry(request.clone()).or_default();
    halves.port = port;
    let place = if kind == "data" { &mut halves.data } else { &mut halves.error };
    if let Some(before) = place.replace(stream) {
        before.outgoing.reset().await;
    }
    if halves.data.is_none() || halves.error.is_none() {
        return None;
    }
    let Halves { port, data, error } = waiting.remove(&request)?;
    Some((port?, data?, error?))
}

async fn connection(forwarding: &Forwarding, port: u16, data: Stream, error: Stream) {
    let Stream { incoming, outgoing: mut out, .. } = data;
    match forwarding.connect(port).await {
        Ok(conversation) => carry(conversation, incoming, &mut out).await,
        // A client that is gone need not hear it.
        Err(why) => drop(error.outgoing.send(why.into()).await),
    }
    out.end().await;
    error.outgoing.end().await;
}

/// A channel of a WebSocket.
struct Channel {
    number: u8,
    said: mpsc::Sender<Said>,
}

impl Sink for Channel {
    async fn send(&mut self, data: Bytes) -> bool {
        self.said.send(Said::Packet(Packet::new(self.number, data))).await.is_ok()
    }
}

/// One connection to each port, over two channels each.
async fn channels(client: Client, forwarding: &Forwarding) {
    let Client { mut heard, said } = client;
    let mut senders = Vec::new();
    let mut connections = FuturesUnordered::new();
    for (index, port) in forwarding.ports.iter().enumerate() {
        // More ports than there are channels were refused before.
        let Ok(number) = u8::try_from(index * 2) else { break };
        let (sender, incoming) = mpsc::channel(QUEUE);
        senders.push(Some(sender));
        let said = said.clone();
        connections.push(async move {
            let mut data = Channel { number, said: said.clone() };
            let mut error = Channel { number: number + 1, said };
            // Both channels begin with the port, the lower byte first.
            let port_bytes = Bytes::copy_from_slice(&port.to_le_bytes());
            if !data.send(port_bytes.clone()).await || !error.send(port_bytes).await {
                return;
            }
            match forwarding.connect(*port).await {
                Ok(conversation) => carry(conversation, incoming, &mut data).await,
                Err(why) => drop(error.send(why.into()).await),
            }
        });
    }
    drop(said);
    let listening = async {
        while let Some(packet) = heard.recv().await {
            let place = senders.get_mut(usize::from(packet.channel / 2)).filter(|_| packet.channel % 2 == 0);
            let Some(Some(sender)) = place else { continue };
            if sender.send(packet.data.into()).await.is_err() {
                // That connection has ended.
                senders[usize::from(packet.channel / 2)] = None;
            }
        }
        future::pending::<()>().await;
    };
    let ending = async { while connections.next().await.is_some() {} };
    tokio::select! {
        () = listening => {}
        () = ending => {}
    }
}
