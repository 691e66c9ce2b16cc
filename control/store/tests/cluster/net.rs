//! The network between the stores of one test: streams in memory, each direction of which can be cut.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

use pal_store::{BoxFuture, BoxedStream, Dial, Member, Peer, ServerId, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

const BUFFER: usize = 64 << 10;

/// Who cannot send to whom.
type Cuts = BTreeSet<(ServerId, ServerId)>;

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Shared>);

struct Shared {
    /// Who listens at each address.
    listening: Mutex<HashMap<String, (ServerId, Store)>>,
    cuts: watch::Sender<Cuts>,
    tasks: TaskTracker,
}

impl Net {
    pub fn new() -> Net {
        let shared = Shared { listening: Mutex::default(), cuts: watch::Sender::default(), tasks: TaskTracker::new() };
        Net(Arc::new(shared))
    }

    /// How server `me` reaches the others.
    pub fn dialer(&self, me: ServerId) -> Arc<dyn Dial> {
        Arc::new(Dialer { net: self.clone(), me })
    }

    /// `store` listens at this address.
    pub fn listen(&self, address: &str, id: ServerId, store: &Store) {
        self.0.listening.lock().unwrap().insert(address.to_owned(), (id, store.clone()));
    }

    /// Nobody listens there any more.
    pub fn leave(&self, address: &str) {
        self.0.listening.lock().unwrap().remove(address);
    }

    /// Nothing passes between these and the others any more, in either direction; new streams are not opened.
    pub fn isolate(&self, servers: &[ServerId], others: &[ServerId]) {
        self.0.cuts.send_modify(|cuts| {
            for server in servers {
                for other in others.iter().filter(|other| !servers.contains(other)) {
                    cuts.extend([(*server, *other), (*other, *server)]);
                }
            }
        });
    }

    /// What `from` sends to `to` is held back.
    pub fn cut(&self, from: ServerId, to: ServerId) {
        self.0.cuts.send_modify(|cuts| cuts.extend([(from, to)]));
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.0.cuts.send_modify(Cuts::clear);
    }

    async fn passable(&self, from: ServerId, to: ServerId) {
        // The sender lives as long as the network.
        let _ = self.0.cuts.subscribe().wait_for(|cuts| !cuts.contains(&(from, to))).await;
    }

    async fn carry(
        self,
        mut reader: ReadHalf<DuplexStream>,
        mut writer: WriteHalf<DuplexStream>,
        from: ServerId,
        to: ServerId,
    ) {
        let mut buffer = vec![0; BUFFER];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            self.passable(from, to).await;
            if writer.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    }
}

struct Dialer {
    net: Net,
    me: ServerId,
}

impl Dial for Dialer {
    fn dial(&self, to: &Member) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let (net, me, to) = (self.net.clone(), self.me, to.clone());
        Box::pin(async move {
            net.passable(me, to.id).await;
            net.passable(to.id, me).await;
            let listening = net.0.listening.lock().unwrap().get(&to.address).cloned();
            let Some((id, store)) = listening.filter(|(id, _)| *id == to.id) else {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens"));
            };
            let (near, near_relay) = tokio::io::duplex(BUFFER);
            let (far, far_relay) = tokio::io::duplex(BUFFER);
            let (near_reader, near_writer) = tokio::io::split(near_relay);
            let (far_reader, far_writer) = tokio::io::split(far_relay);
            let tasks = net.0.tasks.clone();
            tasks.spawn(net.clone().carry(near_reader, far_writer, me, id));
            tasks.spawn(net.carry(far_reader, near_writer, id, me));
            tasks.spawn(async move { store.accept(Peer::Server(me), far).await });
            Ok(Box::new(near) as BoxedStream)
        })
    }
}
