//! A network between servers that can be cut: each server is reached through a relay in the test's process.
//!
//! A server advertises its relay's address and dials the others from an address of its own, so a relay knows who dials.
//! What one server sends to another travels on the connection that the sender dialled, so a link is named by who dials and
//! who is dialled. Clients of the API do not go through a relay.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How a link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// It carries everything.
    #[default]
    Open,
    /// It accepts connections and carries nothing; what was sent waits, as with a network that comes back.
    Silent,
    /// Its connections end, and new ones end at once.
    Refused,
    /// It carries everything, each piece so much later.
    Slow(Duration),
}

type Links = BTreeMap<(IpAddr, IpAddr), Link>;

/// The links between the servers of one cluster.
#[derive(Clone)]
pub struct Network {
    links: Arc<watch::Sender<Links>>,
}

/// The way to one server. Dropped, it carries nothing any more.
pub struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    _accepting: Owned,
}

/// Ends a task with its owner.
struct Owned(AbortHandle);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Network {
    fn default() -> Self {
        Self { links: Arc::new(watch::Sender::new(Links::new())) }
    }
}

impl Network {
    /// Sets what happens to what `from` sends to `to`.
    pub fn set(&self, from: IpAddr, to: IpAddr, link: Link) {
        self.links.send_modify(|links| {
            links.insert((from, to), link);
        });
    }

    /// The same in both directions.
    pub fn set_both(&self, one: IpAddr, other: IpAddr, link: Link) {
        self.set(one, other, link);
        self.set(other, one, link);
    }

    /// Sets all links between the servers of one side and those of the other.
    pub fn part(&self, one_side: &[IpAddr], other_side: &[IpAddr], link: Link) {
        for one in one_side {
            for other in other_side.iter().filter(|other| *other != one) {
                self.set_both(*one, *other, link);
            }
        }
    }

    /// Opens all links.
    pub fn heal(&self) {
        self.links.send_modify(Links::clear);
    }

    /// Starts the way to the server that dials from `server`; where it listens is told later.
    pub async fn relay(&self, server: IpAddr) -> io::Result<Relay> {
        let listener = TcpListener::bind((server, 0)).await?;
        let address = listener.local_addr()?;
        let (target, targets) = watch::channel(None);
        let links = self.links.subscribe();
        let accepting = tokio::spawn(accept(listener, server, targets, links));
        Ok(Relay { address, target, _accepting: Owned(accepting.abort_handle()) })
    }
}

impl Relay {
    /// What the server advertises.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says where the server listens.
    pub fn leads_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }
}

async fn accept(
    listener: TcpListener,
    server: IpAddr,
    target: watch::Receiver<Option<SocketAddr>>,
    links: watch::Receiver<Links>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, dialler)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let gate = Gate { link: (dialler.ip(), server), links: links.clone() };
        let target = target.clone();
        connections.spawn(async move {
            // A connection that ends badly is what those at its ends see; nobody else asks.
            let _ = carry(stream, target, gate).await;
        });
    }
}

async fn carry(
    inner: TcpStream,
    mut target: watch::Receiver<Option<SocketAddr>>,
    mut gate: Gate,
) -> Result<(), io::Error> {
    gate.pass().await?;
    let address = *target.wait_for(Option::is_some).await.map_err(io::Error::other)?;
    let address = address.ok_or(io::ErrorKind::NotConnected)?;
    let outer = TcpStream::connect(address).await?;
    inner.set_nodelay(true)?;
    outer.set_nodelay(true)?;
    let (mut ended, mut there, mut back) = (gate.clone(), gate.clone(), gate);
    let (inner_read, inner_write) = inner.into_split();
    let (outer_read, outer_write) = outer.into_split();
    let both =
        async { tokio::try_join!(pump(inner_read, outer_write, &mut there), pump(outer_read, inner_write, &mut back)) };
    tokio::select! {
        done = both => done.map(drop),
        error = ended.refused() => Err(error),
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    gate: &mut Gate,
) -> Result<(), io::Error> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        gate.pass().await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

/// What one connection looks at before it carries anything.
#[derive(Clone)]
struct Gate {
    link: (IpAddr, IpAddr),
    links: watch::Receiver<Links>,
}

impl Gate {
    fn now(&mut self) -> Link {
        self.links.borrow_and_update().get(&self.link).copied().unwrap_or_default()
    }

    /// Returns when something may be carried.
    async fn pass(&mut self) -> Result<(), io::Error> {
        loop {
            match self.now() {
                Link::Open => return Ok(()),
                Link::Slow(by) => {
                    tokio::time::sleep(by).await;
                    return Ok(());
                }
                Link::Refused => return Err(io::ErrorKind::ConnectionReset.into()),
                Link::Silent => self.links.changed().await.map_err(io::Error::other)?,
            }
        }
    }

    /// Returns when the link refuses.
    async fn refused(&mut self) -> io::Error {
        while self.now() != Link::Refused {
            if self.links.changed().await.is_err() {
                break;
            }
        }
        io::ErrorKind::ConnectionReset.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A server that sends back what it gets.
    async fn echo() -> (SocketAddr, Owned) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                streams.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        (address, Owned(task.abort_handle()))
    }

    async fn dial(from: &str, to: SocketAddr) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(to).await.unwrap()
    }

    async fn says(stream: &mut TcpStream, word: &[u8]) -> io::Result<bool> {
        stream.write_all(word).await?;
        hears(stream, word).await
    }

    /// Whether the word comes; false where nothing does for a while.
    async fn hears(stream: &mut TcpStream, word: &[u8]) -> io::Result<bool> {
        let mut answer = vec![0; word.len()];
        match tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut answer)).await {
            Ok(done) => done.map(|_| answer == word),
            Err(_) => Ok(false),
        }
    }

    #[tokio::test]
    async fn a_silent_link_holds_what_was_sent_in_that_direction_alone_and_gives_it_when_it_is_healed() {
        let network = Network::default();
        let (one, other, server) = ("127.61.0.1", "127.61.0.2", "127.61.0.3".parse().unwrap());
        let relay = network.relay(server).await.unwrap();
        let (address, _echo) = echo().await;
        relay.leads_to(address);
        let (mut cut, mut open) = (dial(one, relay.address()).await, dial(other, relay.address()).await);
        assert!(says(&mut cut, b"before").await.unwrap());
        network.set(one.parse().unwrap(), server, Link::Silent);
        assert!(!says(&mut cut, b"during").await.unwrap());
        assert!(says(&mut open, b"during").await.unwrap());
        network.heal();
        let healed = crate::wait_until(LIMIT, "what was held", async || match hears(&mut cut, b"during").await {
            Ok(true) => Ok(true),
            other => Err(format!("{other:?}")),
        });
        assert!(healed.await);
    }

    #[tokio::test]
    async fn a_refusing_link_ends_connections_and_a_slow_one_delays_them() {
        let network = Network::default();
        let (one, server) = ("127.62.0.1", "127.62.0.3".parse().unwrap());
        let relay = network.relay(server).await.unwrap();
        let (address, _echo) = echo().await;
        relay.leads_to(address);
        let mut stream = dial(one, relay.address()).await;
        assert!(says(&mut stream, b"before").await.unwrap());
        network.part(&[one.parse().unwrap()], &[server], Link::Refused);
        let ended = tokio::time::timeout(LIMIT, stream.read(&mut [0; 1])).await.expect("it ends");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");

        let delay = Duration::from_millis(20);
        network.set(one.parse().unwrap(), server, Link::Slow(delay));
        let mut stream = dial(one, relay.address()).await;
        let begun = std::time::Instant::now();
        assert!(says(&mut stream, b"slow").await.unwrap());
        assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    }
}
