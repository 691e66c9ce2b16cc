//! Our servers, and a client of one of them that speaks to the store as servers speak to each other.

use bytes::Bytes;
use futures::future::BoxFuture;
use pal_store::peer::Client;
use pal_store::{Key, Op, Txn};
use pal_tests::{Access, Forming, Pal, Servers};

use crate::puts::{Conn, Side};

/// A running cluster.
pub struct Ours {
    pub servers: Servers,
    /// The one that is asked.
    pub asked: usize,
}

impl Ours {
    /// Starts so many servers, and finds one to ask: with several, one that does not lead.
    pub async fn start(pal: &Pal, count: usize) -> Self {
        let servers = Servers::form(pal, count, Forming { quiet: true, ..Forming::default() }).await;
        let leader = servers.leader().await;
        let asked = if count == 1 { 0 } else { (leader + 1) % count };
        Self { servers, asked }
    }

    /// A connection to the server that is asked.
    pub async fn client(&self) -> Client {
        client(self.servers.all()[self.asked].access()).await.expect("a connection")
    }
}

/// A connection to a server's store.
pub async fn client(access: &Access) -> Result<Client, String> {
    let stream = access.stream(b"pal-peer/1").await?;
    Client::connect(stream, None).await.map_err(|error| error.to_string())
}

/// A transaction that gives one key a value.
pub fn put(key: String, value: Bytes) -> Txn {
    Txn::of(vec![Op::Put { key: Key::new(key), value, revision_at: None }])
}

impl Side for Ours {
    fn connect(&self) -> BoxFuture<'_, Box<dyn Conn>> {
        Box::pin(async { Box::new(Connected(self.client().await)) as Box<dyn Conn> })
    }

    fn processes(&self) -> Vec<u32> {
        self.servers.all().iter().filter_map(pal_tests::Server::process_id).collect()
    }
}

struct Connected(Client);

impl Conn for Connected {
    fn put(&self, key: String, value: Bytes) -> BoxFuture<'static, bool> {
        let client = self.0.clone();
        Box::pin(async move { client.commit(put(key, value)).await.is_ok() })
    }

    fn get(&self, key: String) -> BoxFuture<'static, bool> {
        let client = self.0.clone();
        Box::pin(async move { client.get(Key::new(key)).await.is_ok_and(|found| found.is_some()) })
    }
}
