//! The servers of the cluster, as this node knows them: those it was given when it joined, and what the cluster itself says
//! since then, which is kept on disk for the next start.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connect::ServerAddress;
use crate::disk;
use crate::error::NodeError;

/// How often the servers are asked who they are. A server that is new gets its tunnel within this time.
const ASK_EVERY: Duration = Duration::from_secs(3);
/// How long the answer may take.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// A cluster has at most seven servers; a list longer than this is none.
const MOST: usize = 64;

/// The servers' addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    /// From the command line.
    given: Vec<ServerAddress>,
    /// From the cluster.
    learned: Vec<ServerAddress>,
}

impl List {
    /// The servers as far as they are known: a tunnel is kept to each.
    pub(crate) fn members(&self) -> &[ServerAddress] {
        if self.learned.is_empty() { &self.given } else { &self.learned }
    }

    /// Addresses that led to the cluster once and that it does not name: a balancer's perhaps, or a removed server's. They
    /// are used where no member is reached.
    pub(crate) fn spares(&self) -> impl Iterator<Item = &ServerAddress> {
        self.given.iter().filter(|given| !self.members().contains(given))
    }

    /// All of them, the members first.
    pub(crate) fn all(&self) -> Vec<ServerAddress> {
        self.members().iter().chain(self.spares()).cloned().collect()
    }
}

/// The list, which changes while the agent runs. Clones share it.
#[derive(Clone)]
pub(crate) struct Servers(Arc<Shared>);

struct Shared {
    list: watch::Sender<List>,
    /// Where what was learned is kept; `None` in a join, which keeps nothing.
    file: Option<PathBuf>,
    /// One write at a time.
    writing: Mutex<()>,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Kept {
    servers: Vec<String>,
}

impl Servers {
    /// The servers at these URLs, and those that `file` holds from an earlier run.
    pub(crate) fn open(given: &[String], file: PathBuf) -> Result<Self, NodeError> {
        let kept = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        // What cannot be read is learned again.
        let learned = kept.map(|kept| addresses(&kept.servers)).unwrap_or_default();
        Ok(Self::new(List { given: parsed(given)?, learned }, Some(file)))
    }

    /// These servers and no others.
    pub(crate) fn fixed(addresses: Vec<ServerAddress>) -> Self {
        Self::new(List { given: addresses, learned: Vec::new() }, None)
    }

    fn new(list: List, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared { list: watch::Sender::new(list), file, writing: Mutex::new(()) }))
    }

    /// The list as it is now.
    pub(crate) fn list(&self) -> List {
        self.0.list.borrow().clone()
    }

    /// The list and its changes.
    pub(crate) fn watch(&self) -> watch::Receiver<List> {
        self.0.list.subscribe()
    }

    /// Takes over what the cluster says. An empty list says nothing.
    pub(crate) fn learn(&self, urls: &[String]) {
        let learned = addresses(urls);
        if learned.is_empty() || learned.len() > MOST {
            return;
        }
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.0.list.send_if_modified(|list| {
            let same = list.learned == learned;
            list.learned = learned;
            !same
        });
        if changed && let Some(file) = &self.0.file {
            let kept = Kept { servers: self.list().learned.iter().map(ServerAddress::url).collect() };
            // A struct of strings has no way to fail.
            let text = serde_json::to_vec(&kept).unwrap_or_default();
            if let Err(error) = disk::replace(file, &text, 0o600) {
                tracing::warn!(file = %file.display(), %error, "the list of servers was not kept");
            }
        }
    }

    /// Asks who the servers are, for ever.
    pub(crate) async fn follow(self, client: kube::Client, cancel: CancellationToken) {
        loop {
            match tokio::time::timeout(ASK_LIMIT, ask(&client)).await {
                Ok(Ok(urls)) => self.learn(&urls),
                Ok(Err(error)) => tracing::debug!(%error, "the list of servers"),
                Err(_) => tracing::debug!("no list of servers in time"),
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY.mul_f64(rand::random_range(0.8..1.2))) => {}
                () = cancel.cancelled() => return,
            }
        }
    }
}

async fn ask(client: &kube::Client) -> Result<Vec<String>, kube::Error> {
    let request = http::Request::get("/cluster-info").header(http::header::ACCEPT, "application/json");
    let request = request.body(Vec::new()).map_err(kube::Error::HttpError)?;
    let text = client.request_text(request).await?;
    Ok(urls(&text))
}

/// The servers' URLs in an answer of `/cluster-info`; none where it names none.
fn urls(text: &str) -> Vec<String> {
    /// A server may be told as its URL alone or with more about it.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Url(String),
        Server { url: String },
    }
    #[derive(Deserialize)]
    struct Answer {
        servers: Vec<Told>,
    }
    let Ok(answer) = serde_json::from_str::<Answer>(text) else { return Vec::new() };
    let url = |told| match told {
        Told::Url(url) | Told::Server { url } => url,
    };
    answer.servers.into_iter().map(url).collect()
}

/// The addresses, each once; what is none is left out.
fn addresses(urls: &[String]) -> Vec<ServerAddress> {
    let mut addresses = Vec::new();
    for address in urls.iter().filter_map(|url| ServerAddress::parse(url).ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The addresses of URLs that a user gave.
pub(crate) fn parsed(urls: &[String]) -> Result<Vec<ServerAddress>, NodeError> {
    for url in urls {
        ServerAddress::parse(url)?;
    }
    match addresses(urls) {
        none if none.is_empty() => {
            Err(NodeError::ServerUrl { url: String::new(), why: "no server is named; --join names one".to_owned() })
        }
        some => Ok(some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(addresses: impl IntoIterator<Item = &'a ServerAddress>) -> String {
        let hosts: Vec<&str> = addresses.into_iter().map(|address| address.host.as_str()).collect();
        hosts.join(" ")
    }

    #[test]
    fn what_the_cluster_says_comes_first_and_what_was_given_stays_as_a_spare() {
        let check = |given: &str, learned: &str, members: &str, spares: &str| {
            let list = |text: &str| -> Vec<ServerAddress> {
                addresses(&text.split_whitespace().map(|host| format!("https://{host}")).collect::<Vec<_>>())
            };
            let list = List { given: list(given), learned: list(learned) };
            assert_eq!((texts(list.members()), texts(list.spares())), (members.to_owned(), spares.to_owned()));
        };
        check("a", "", "a", "");
        check("a b", "", "a b", "");
        check("a", "a", "a", "");
        check("a", "a b c", "a b c", "");
        check("lb", "a b c", "a b c", "lb");
        check("a", "b c", "b c", "a");
    }

    #[test]
    fn the_answer_names_the_servers_in_either_form() {
        let check = |text: &str, expected: &str| assert_eq!(urls(text).join(" "), expected, "{text}");
        check(r#"{"servers":["https://a:1","https://b:1"]}"#, "https://a:1 https://b:1");
        check(r#"{"servers":[{"name":"x","url":"https://a:1"}],"ca":"..."}"#, "https://a:1");
        check("-----BEGIN CERTIFICATE-----", "");
        check("{}", "");
    }

    #[test]
    fn what_was_learned_is_there_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("servers.json");
        let given = ["https://a:6443".to_owned()];
        let servers = Servers::open(&given, file.clone()).unwrap();
        servers.learn(&[]);
        assert_eq!(texts(servers.list().members()), "a");
        servers.learn(&["https://b:1".to_owned(), "https://b:1".to_owned(), "nonsense".to_owned()]);
        assert_eq!(texts(Servers::open(&given, file.clone()).unwrap().list().members()), "b");
        std::fs::write(&file, "half").unwrap();
        assert_eq!(texts(Servers::open(&given, file.clone()).unwrap().list().members()), "a");
        assert!(Servers::open(&[], file.clone()).is_err());
        assert!(Servers::open(&["ftp://a".to_owned()], file).is_err());
    }
}
