//! Commits and reads a second of three servers in one process, joined by TCP without TLS, through a follower.
//!
//! `cargo run --release -p pal-store --example three [DIR]`; DIR should be on the disk that is to be measured.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pal_store::peer::Client;
use pal_store::{
    BoxFuture, BoxedStream, Dial, Key, Member, Op, Peer, Role, ServerId, Standing, Start, Store, StoreConfig, Txn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

const KEYS_PER_CLIENT: usize = 1000;
const LASTS: Duration = Duration::from_secs(3);
const FORMING_LIMIT: Duration = Duration::from_secs(30);

/// Says who dials in the first bytes; there are no certificates here.
struct Tcp(ServerId);

impl Dial for Tcp {
    fn dial(&self, to: &Member) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let (me, address) = (self.0, to.address.clone());
        Box::pin(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.write_u64(me.0).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

/// What the clients do.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// Puts of so many bytes, in this process.
    Puts(usize),
    /// The same over one TCP connection.
    RemotePuts(usize),
    /// Linearizable reads over one TCP connection.
    RemoteReads,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let mut servers = JoinSet::new();
    let stores = form(dir.path(), &mut servers).await?;
    let follower = stores.iter().find(|store| store.role() == Role::Follower).ok_or("nobody follows")?.clone();
    let (id, address) = (follower.identity().server, follower.membership());
    let address = address.members.iter().find(|status| status.member.id == id).ok_or("no address")?;
    let mut stream = TcpStream::connect(&address.member.address).await?;
    stream.set_nodelay(true)?;
    stream.write_u64(0).await?;
    let client = Client::connect(stream, None).await?;
    println!("{:>18} {:>8} {:>10} {:>9} {:>9} {:>9}", "load", "clients", "a second", "p50 us", "p99 us", "max us");
    for load in [Load::Puts(256), Load::Puts(1024), Load::RemotePuts(256), Load::RemotePuts(1024), Load::RemoteReads] {
        for clients in [1, 16, 64, 256, 1000] {
            measure(load, clients, &follower, &client).await?;
        }
    }
    for store in &stores {
        store.close().await;
    }
    Ok(())
}

/// Three voters.
async fn form(dir: &Path, servers: &mut JoinSet<io::Result<()>>) -> Result<Vec<Store>, Failure> {
    let mut stores: Vec<Store> = Vec::new();
    for name in ["a", "b", "c"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let member = Member { id: ServerId::random(), name: name.to_owned(), address };
        let config = |start: Start, id: ServerId| StoreConfig {
            dir: dir.join(name),
            name: name.to_owned(),
            address: member.address.clone(),
            start,
            dialer: Some(Arc::new(Tcp(id))),
            ..StoreConfig::default()
        };
        let store = match stores.first() {
            None => {
                // The founder's id is random too, and its dialler must know it.
                let founded = Store::open(config(Start::Found, member.id)).await?;
                let id = founded.identity().server;
                founded.close().await;
                drop(founded);
                Store::open(config(Start::Found, id)).await?
            }
            Some(first) => {
                let cluster = first.identity().cluster.clone();
                Store::open(config(Start::Join { cluster, server: member.id }, member.id)).await?
            }
        };
        servers.spawn(serve(listener, store.clone()));
        if let Some(first) = stores.first() {
            first.add_member(member.clone()).await?;
        }
        stores.push(store);
        await_voters(&stores).await?;
    }
    Ok(stores)
}

async fn await_voters(stores: &[Store]) -> Result<(), Failure> {
    let until = Instant::now() + FORMING_LIMIT;
    loop {
        let voters = |store: &Store| {
            let members = store.membership().members;
            members.iter().filter(|member| member.standing == Standing::Voter).count()
        };
        if stores.iter().all(|store| voters(store) == stores.len()) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("not formed: {:?}", stores.iter().map(Store::membership).collect::<Vec<_>>()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn serve(listener: TcpListener, store: Store) -> io::Result<()> {
    let mut streams = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await?;
        let store = store.clone();
        streams.spawn(async move {
            stream.set_nodelay(true)?;
            let peer = match stream.read_u64().await? {
                0 => Peer::Client("bench".to_owned()),
                id => Peer::Server(ServerId(id)),
            };
            // How it ends is the other side's business.
            let _ = store.accept(peer, stream).await;
            io::Result::Ok(())
        });
        while streams.try_join_next().is_some() {}
    }
}

async fn measure(load: Load, clients: usize, follower: &Store, remote: &Client) -> Result<(), Failure> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        tasks.spawn(client_loop(load, client, follower.clone(), remote.clone(), started + LASTS));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    let took = started.elapsed();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_micros();
    let rate = latencies.len() as f64 / took.as_secs_f64();
    let name = format!("{load:?}");
    println!("{name:>18} {clients:>8} {rate:>10.0} {:>9} {:>9} {:>9}", at(0.5), at(0.99), at(1.0));
    Ok(())
}

/// One request after another until the time is over.
async fn client_loop(
    load: Load,
    client: usize,
    store: Store,
    remote: Client,
    until: Instant,
) -> Result<Vec<Duration>, Failure> {
    let mut latencies = Vec::new();
    for turn in 0.. {
        let key: Key = format!("bench/{client}/{}", turn % KEYS_PER_CLIENT).into();
        let put = |bytes: usize| {
            Txn::of(vec![Op::Put { key: key.clone(), value: Bytes::from(vec![b'x'; bytes]), revision_at: None }])
        };
        let started = Instant::now();
        if started >= until {
            break;
        }
        match load {
            Load::Puts(bytes) => drop(store.commit(put(bytes)).await?),
            Load::RemotePuts(bytes) => drop(remote.commit(put(bytes)).await?),
            Load::RemoteReads => drop(remote.get(key).await?),
        }
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}
