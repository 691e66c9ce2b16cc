//! One tunnel to each server, so that whichever leads sees the node and whichever is asked reaches it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connect::ServerAddress;
use crate::kubelet::Kubelet;
use crate::servers::{List, Servers};
use crate::tunnel::Tunnel;

/// How long the members get to be reached before other ways are tried.
const MEMBERS_FIRST: Duration = Duration::from_secs(3);

/// Which tunnels are up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Up {
    /// How often any tunnel came up.
    pub(crate) times: u64,
    /// To whom there is one now.
    pub(crate) to: BTreeSet<ServerAddress>,
}

impl Up {
    /// Whether a server may not see this node, while another does.
    pub(crate) fn is_partial(&self, list: &List) -> bool {
        let members = list.members();
        members.len() > 1 && members.iter().any(|member| !self.to.contains(member))
    }
}

/// The addresses to which a tunnel is to be kept: the members; and the spares, where after a while no member is reached.
pub(crate) fn wanted(list: &List, up: &Up, waited: bool) -> Vec<ServerAddress> {
    let reached = list.members().iter().any(|member| up.to.contains(member));
    let spares = list.spares().filter(|_| waited && !reached);
    list.members().iter().chain(spares).cloned().collect()
}

/// Keeps the tunnels.
pub(crate) struct Tunnels {
    pub(crate) servers: Servers,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) up: watch::Sender<Up>,
}

impl Tunnels {
    /// Goes on until `cancel`.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let (mut list, mut up) = (self.servers.watch(), self.up.subscribe());
        let mut running: HashMap<ServerAddress, CancellationToken> = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut alone = Box::pin(tokio::time::sleep(MEMBERS_FIRST));
        loop {
            let (now_list, now_up) = (list.borrow_and_update().clone(), up.borrow_and_update().clone());
            if now_list.members().iter().any(|member| now_up.to.contains(member)) {
                alone.as_mut().reset(tokio::time::Instant::now() + MEMBERS_FIRST);
            }
            let wanted = wanted(&now_list, &now_up, alone.is_elapsed());
            running.retain(|address, stop| {
                let stays = wanted.contains(address);
                if !stays {
                    stop.cancel();
                }
                stays
            });
            for address in wanted {
                running.entry(address.clone()).or_insert_with(|| {
                    let stop = cancel.child_token();
                    tasks.spawn(self.tunnel(address).run(stop.clone()));
                    stop
                });
            }
            tokio::select! {
                Ok(()) = list.changed() => {}
                Ok(()) = up.changed() => {}
                () = alone.as_mut(), if !alone.is_elapsed() => {}
                Some(_) = tasks.join_next() => {}
                () = cancel.cancelled() => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    fn tunnel(&self, address: ServerAddress) -> Tunnel {
        Tunnel { address, tls: self.tls.clone(), kubelet: self.kubelet.clone(), up: self.up.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str) -> ServerAddress {
        ServerAddress { host: host.to_owned(), port: 6443 }
    }

    fn list(given: &str, learned: &str) -> List {
        let dir = tempfile::tempdir().unwrap();
        let urls = |text: &str| text.split_whitespace().map(|host| format!("https://{host}")).collect::<Vec<_>>();
        let servers = Servers::open(&urls(given), dir.path().join("servers.json")).unwrap();
        servers.learn(&urls(learned));
        servers.list()
    }

    fn up(hosts: &str) -> Up {
        Up { times: 0, to: hosts.split_whitespace().map(address).collect() }
    }

    #[test]
    fn each_member_has_a_tunnel_and_spares_only_where_no_member_is_reached() {
        let check = |given: &str, learned: &str, connected: &str, waited: bool, expected: &str| {
            let found = wanted(&list(given, learned), &up(connected), waited);
            let found: Vec<&str> = found.iter().map(|address| address.host.as_str()).collect();
            assert_eq!(found.join(" "), expected, "{given}, {learned}, {connected}, {waited}");
        };
        check("a", "", "", true, "a");
        check("a", "a b c", "", false, "a b c");
        check("a", "a b c", "", true, "a b c");
        check("lb", "a b c", "", false, "a b c");
        check("lb", "a b c", "", true, "a b c lb");
        check("lb", "a b c", "lb", true, "a b c lb");
        check("lb", "a b c", "lb b", true, "a b c");
    }

    #[test]
    fn a_node_is_seen_by_all_or_by_some() {
        let check = |learned: &str, connected: &str, expected: bool| {
            assert_eq!(up(connected).is_partial(&list("a", learned)), expected, "{learned}, {connected}");
        };
        check("a", "", false);
        check("a b c", "a b c", false);
        check("a b c", "a b", true);
        check("a b c", "", true);
    }
}
