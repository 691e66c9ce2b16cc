//! A cluster of stores, and waiting for what it is to come to.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pal_store::{
    Key, Member, Op, Outcome, Revision, Role, ServerId, Standing, Start, Store, StoreConfig, StoreError, Txn,
};
use tempfile::TempDir;

use crate::net::Net;

/// No wait of a test lasts longer.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A server of the cluster, running or not.
pub struct Server {
    pub member: Member,
    pub store: Option<Store>,
    dir: PathBuf,
}

/// Servers that are named `a`, `b`, `c` and so on.
pub struct Cluster {
    pub net: Net,
    pub servers: Vec<Server>,
    cluster: String,
    dir: TempDir,
    change: fn(StoreConfig) -> StoreConfig,
}

impl Cluster {
    /// A cluster of `count` voters.
    pub async fn of(count: usize) -> Cluster {
        Cluster::with(count, |config| config).await
    }

    /// A cluster of `count` voters with other settings than usual.
    pub async fn with(count: usize, change: fn(StoreConfig) -> StoreConfig) -> Cluster {
        let mut cluster = Cluster {
            net: Net::new(),
            servers: Vec::new(),
            cluster: String::new(),
            dir: tempfile::tempdir().unwrap(),
            change,
        };
        // The dialler must know whose it is, so the founder is opened twice.
        let (dir, address) = (cluster.dir_of("a"), "a:1".to_owned());
        let nobody = Member { id: ServerId::default(), name: "a".to_owned(), address };
        let founder = Store::open(cluster.config(&nobody, &dir)).await.unwrap();
        let identity = founder.identity().clone();
        founder.close().await;
        drop(founder);
        cluster.cluster = identity.cluster;
        let member = Member { id: identity.server, ..nobody };
        cluster.servers.push(Server { member, store: None, dir });
        cluster.start(0).await;
        for _ in 1..count {
            cluster.join().await;
        }
        cluster
    }

    fn dir_of(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, member: &Member, dir: &Path) -> StoreConfig {
        let start = match member.name.as_str() {
            "a" => Start::Found,
            _ => Start::Join { cluster: self.cluster.clone(), server: member.id },
        };
        (self.change)(StoreConfig {
            dir: dir.to_owned(),
            name: member.name.clone(),
            address: member.address.clone(),
            start,
            dialer: Some(self.net.dialer(member.id)),
            ..StoreConfig::default()
        })
    }

    /// Starts a server that is not running.
    pub async fn start(&mut self, which: usize) -> &Store {
        self.try_start(which).await.unwrap();
        self.store(which)
    }

    /// Starts a server that may refuse to.
    pub async fn try_start(&mut self, which: usize) -> Result<(), StoreError> {
        let Server { member, dir, .. } = &self.servers[which];
        let store = Store::open(self.config(member, dir)).await?;
        self.net.listen(&member.address, member.id, &store);
        self.servers[which].store = Some(store);
        Ok(())
    }

    /// A server that is not yet a member.
    pub async fn newcomer(&mut self) -> usize {
        let name = char::from(b'a' + self.servers.len() as u8).to_string();
        let member = Member { id: ServerId::random(), address: format!("{name}:1"), name: name.clone() };
        self.servers.push(Server { member, store: None, dir: self.dir_of(&name) });
        let which = self.servers.len() - 1;
        self.start(which).await;
        which
    }

    /// Adds a server, and waits until it votes.
    pub async fn join(&mut self) -> usize {
        let which = self.newcomer().await;
        let member = self.servers[which].member.clone();
        self.running().next().unwrap().add_member(member).await.unwrap();
        self.await_voter(which).await;
        which
    }

    /// Waits until all running servers know this one as a voter.
    pub async fn await_voter(&self, which: usize) {
        let id = self.id(which);
        eventually("a voter", || {
            let seen: Vec<_> = self.running().map(Store::membership).collect();
            let votes = |membership: &pal_store::Membership| {
                membership.members.iter().any(|known| known.member.id == id && known.standing == Standing::Voter)
            };
            if seen.iter().all(votes) { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// Closes a server, which nobody reaches from now on.
    pub async fn close(&mut self, which: usize) {
        let server = &mut self.servers[which];
        let store = server.store.take().unwrap();
        self.net.leave(&server.member.address);
        store.close().await;
    }

    pub fn store(&self, which: usize) -> &Store {
        self.servers[which].store.as_ref().unwrap()
    }

    pub fn id(&self, which: usize) -> ServerId {
        self.servers[which].member.id
    }

    pub fn ids(&self) -> Vec<ServerId> {
        self.servers.iter().map(|server| server.member.id).collect()
    }

    pub fn dir(&self, which: usize) -> &Path {
        &self.servers[which].dir
    }

    pub fn running(&self) -> impl Iterator<Item = &Store> {
        self.servers.iter().filter_map(|server| server.store.as_ref())
    }

    /// Cuts a server off from all others.
    pub fn isolate(&self, which: usize) {
        self.net.isolate(&[self.id(which)], &self.ids());
    }

    /// The server that leads among `among`, as soon as one does.
    pub async fn leader_among(&self, among: &[usize]) -> usize {
        eventually("a leader", || {
            let roles: Vec<_> = among.iter().map(|which| (*which, self.store(*which).role())).collect();
            let mut leaders = roles.iter().filter(|(_, role)| *role == Role::Leader);
            match (leaders.next(), leaders.next()) {
                (Some((which, _)), None) => Ok(*which),
                _ => Err(roles),
            }
        })
        .await
    }

    /// The server that leads.
    pub async fn leader(&self) -> usize {
        let all: Vec<usize> = (0..self.servers.len()).filter(|which| self.servers[*which].store.is_some()).collect();
        self.leader_among(&all).await
    }

    /// A server that follows.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.servers.len()).find(|which| *which != leader && self.servers[*which].store.is_some()).unwrap()
    }

    /// Waits until these servers hold the same, and returns the revision.
    pub async fn agree(&self, among: &[usize]) -> Revision {
        eventually("the same content", || {
            let revisions: Vec<_> = among.iter().map(|which| self.store(*which).applied().revision()).collect();
            if revisions.iter().all(|revision| *revision == revisions[0]) { Ok(revisions[0]) } else { Err(revisions) }
        })
        .await
    }
}

/// Waits until `look` returns something.
pub async fn eventually<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() > until => panic!("{what} did not come about: {last:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

pub fn put(key: &str, value: &str) -> Op {
    Op::Put { key: Key::from(key), value: Bytes::copy_from_slice(value.as_bytes()), revision_at: None }
}

/// Commits until it is known that it was done; what is tried may be done twice.
pub async fn commit(store: &Store, key: &str, value: &str) -> Revision {
    let until = Instant::now() + LIMIT;
    loop {
        match store.commit(Txn::of(vec![put(key, value)])).await {
            Ok(Outcome::Committed { revision, .. }) => return revision,
            Ok(Outcome::Refused { .. }) => panic!("refused without a guard"),
            Err(error) if Instant::now() > until => panic!("{key} could not be written: {error}"),
            Err(StoreError::NoLeader | StoreError::Unknown | StoreError::QueueFull) => tokio::task::yield_now().await,
            Err(error) => panic!("{key}: {error}"),
        }
    }
}

/// What a linearizable read finds; tries until there is a leader.
pub async fn read(store: &Store, key: &str) -> Option<String> {
    let until = Instant::now() + LIMIT;
    loop {
        match store.consistent().await {
            Ok(snapshot) => {
                return snapshot.get(key).map(|entry| String::from_utf8_lossy(entry.value()).into_owned());
            }
            Err(StoreError::NoLeader) if Instant::now() < until => tokio::task::yield_now().await,
            Err(error) => panic!("{key} could not be read: {error}"),
        }
    }
}
