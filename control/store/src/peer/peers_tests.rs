use std::io;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::super::wire::{FrameReader, greeted, welcome};
use super::super::{BoxFuture, BoxedStream};
use super::*;
use crate::inbox;
use crate::lease::Clock;
use crate::members::Change;
use crate::snapshot::Snapshot;

const LIMIT: Duration = Duration::from_secs(20);
const OTHER: ServerId = ServerId(2);

/// Hands the far ends of its streams to the test.
struct Pipes(mpsc::Sender<DuplexStream>);

impl Dial for Pipes {
    fn dial(&self, _: &Member) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let far_ends = self.0.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(1 << 10);
            far_ends.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(near) as BoxedStream)
        })
    }
}

/// One side's links, with a member that the test plays.
struct Side {
    links: Links,
    inbox: Arc<Inbox<Request, Arrival>>,
    streams: mpsc::Receiver<DuplexStream>,
}

impl Side {
    fn new() -> Side {
        let (far_ends, streams) = mpsc::channel(1);
        let inbox = Arc::new(Inbox::new(inbox::Room { requests: 1, arrivals: 100, arrival_bytes: 100 }));
        let mut links = Links(Peers::new(PeersConfig {
            identity: Identity { cluster: "c".to_owned(), server: ServerId(1) },
            name: "a".to_owned(),
            address: "a:1".to_owned(),
            dialer: Some(Arc::new(Pipes(far_ends))),
            inbox: inbox.clone(),
            view: Arc::new(View::new(Snapshot::default())),
            clock: Clock::start(),
            runtime: Handle::current(),
        }));
        let mut members = Members::default();
        members.apply(&Change::Add(Member { id: OTHER, name: "b".to_owned(), address: "b:1".to_owned() }));
        links.members(&members);
        Side { links, inbox, streams }
    }

    /// Plays the member that is dialled, and waits until the link takes messages. From then on nothing is read.
    async fn greet(&mut self) -> DuplexStream {
        let mut stream = tokio::time::timeout(LIMIT, self.streams.recv()).await.unwrap().unwrap();
        greeted(&mut FrameReader::new(&mut stream)).await.unwrap();
        let answer = Welcome { version: VERSION, cluster: "c".to_owned(), server: OTHER, blank: false };
        welcome(&mut stream, &answer).await.unwrap();
        let until = Instant::now() + LIMIT;
        loop {
            self.arrivals();
            self.append();
            if self.arrivals().is_empty() {
                return stream;
            }
            assert!(Instant::now() < until, "the link was not opened");
            tokio::task::yield_now().await;
        }
    }

    /// What the driver would be told now.
    fn arrivals(&self) -> Vec<Arrival> {
        self.inbox.take(Some(Duration::ZERO), 1, inbox::Gather::default()).arrivals
    }

    fn append(&mut self) {
        let mut message = Message { from: 1, to: OTHER.0, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        self.links.send(vec![message]);
    }

    fn forward(&mut self, proposals: u64, bytes: usize) {
        let forward = |seq| {
            let context = Context { origin: 7, seq, low: 0, change: None };
            Forward { context, data: Bytes::from(vec![0; bytes]) }
        };
        self.links.forward(OTHER.0, (0..proposals).map(forward).collect());
    }
}

#[tokio::test]
async fn what_a_slow_leader_does_not_take_is_refused_and_what_nobody_takes_is_tried_again() {
    let mut side = Side::new();
    side.forward(3, 1);
    assert!(side.arrivals().is_empty(), "without a stream nobody is told");
    let _slow = side.greet().await;
    side.forward(40, 1 << 20);
    let arrivals = side.arrivals();
    let [Arrival::Refused { from: 2, refusals }] = arrivals.as_slice() else { panic!("{}", arrivals.len()) };
    // What was being written when they came does not count.
    assert!((7..=8).contains(&refusals.len()), "{}", refusals.len());
    assert!(refusals.iter().all(|refusal| refusal.origin == 7 && refusal.why == Why::QueueFull));
    assert_eq!(refusals.last().map(|refusal| refusal.seq), Some(39));
    side.append();
    assert!(matches!(side.arrivals().as_slice(), [Arrival::Unreachable { to: 2 }]));
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_dialled_anew() {
    let mut side = Side::new();
    let started = Instant::now();
    let _silent = side.greet().await;
    let _next = side.greet().await;
    let took = started.elapsed();
    assert!(took >= SILENCE && took < LIMIT, "{took:?}");
}

#[tokio::test]
async fn a_snapshot_for_nobody_is_reported_at_once() {
    let mut side = Side::new();
    side.links.send_snapshot(Message { to: 9, ..Message::default() }, Image::default());
    assert!(matches!(side.arrivals().as_slice(), [Arrival::SnapshotSent { to: 9, ok: false }]));
}

#[tokio::test]
async fn all_tasks_end_with_the_driver() {
    let mut side = Side::new();
    let _stream = side.greet().await;
    let peers = side.links.0.clone();
    drop(side.links);
    tokio::time::timeout(LIMIT, peers.ended()).await.unwrap();
}
