//! Which server is asked: one as long as it answers, else the next. A decision over values; the clock is an argument.

use std::time::Duration;

use crate::connect::ServerAddress;

/// A server that failed is not preferred to others for this time.
const SHUNNED: Duration = Duration::from_secs(10);
/// How long a connection may take to come up where there is another server to try.
const IMPATIENT: Duration = Duration::from_secs(2);
/// How long it may take at most: over a slow link every server needs longer.
const PATIENT: Duration = Duration::from_secs(10);

/// The servers, and what became of asking them.
#[derive(Debug)]
pub(crate) struct Choice {
    servers: Vec<Server>,
    /// The one that is asked.
    current: Option<ServerAddress>,
    patience: Duration,
}

#[derive(Clone, Debug)]
struct Server {
    address: ServerAddress,
    failed: Option<Duration>,
}

impl Choice {
    /// A choice among these, best first.
    pub(crate) fn new(addresses: Vec<ServerAddress>) -> Self {
        let mut choice = Self { servers: Vec::new(), current: None, patience: PATIENT };
        choice.set(addresses);
        choice
    }

    /// Other servers than before; what is known of those that stay is kept.
    pub(crate) fn set(&mut self, addresses: Vec<ServerAddress>) {
        let before = std::mem::take(&mut self.servers);
        let known = |address: &ServerAddress| before.iter().find(|server| server.address == *address)?.failed;
        self.servers = addresses.into_iter().map(|address| Server { failed: known(&address), address }).collect();
        if before.len() != self.servers.len() {
            self.patience = if self.is_plural() { IMPATIENT } else { PATIENT };
        }
        self.current = self.current.take().filter(|current| self.position(current).is_some());
    }

    /// The server to ask now, of those that were not `tried` for this request: the one that was asked before, unless it
    /// failed lately, else the next one; where all failed, the one whose failure is longest ago.
    pub(crate) fn pick(&mut self, now: Duration, tried: &[ServerAddress]) -> Option<ServerAddress> {
        let start = self.current.as_ref().and_then(|current| self.position(current)).unwrap_or(0);
        let count = self.servers.len();
        let rotated = (0..count).map(|step| &self.servers[(start + step) % count]);
        let picked = rotated.filter(|server| !tried.contains(&server.address)).min_by_key(|server| server.rank(now))?;
        let picked = picked.address.clone();
        self.current = Some(picked.clone());
        Some(picked)
    }

    /// A server has answered.
    pub(crate) fn worked(&mut self, address: &ServerAddress) {
        if let Some(at) = self.position(address) {
            self.servers[at].failed = None;
        }
        if self.is_plural() {
            self.patience = IMPATIENT;
        }
    }

    /// A server did not answer, or cannot serve.
    pub(crate) fn failed(&mut self, address: &ServerAddress, now: Duration) {
        if let Some(at) = self.position(address) {
            self.servers[at].failed = Some(now);
        }
        if self.servers.iter().all(|server| server.rank(now).is_some()) {
            // None is reached: the link may be slow rather than the servers gone.
            self.patience = (self.patience * 2).min(PATIENT);
        }
    }

    /// How long a connection may take to come up.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether there is more than one.
    pub(crate) fn is_plural(&self) -> bool {
        self.servers.len() > 1
    }

    fn position(&self, address: &ServerAddress) -> Option<usize> {
        self.servers.iter().position(|server| server.address == *address)
    }
}

impl Server {
    /// Since when the server is shunned; `None`, which comes first, when it is not.
    fn rank(&self, now: Duration) -> Option<Duration> {
        self.failed.filter(|failed| now.saturating_sub(*failed) < SHUNNED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str) -> ServerAddress {
        ServerAddress { host: host.to_owned(), port: 1 }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn choice(hosts: &str) -> Choice {
        Choice::new(hosts.split_whitespace().map(address).collect())
    }

    #[track_caller]
    fn check(choice: &mut Choice, now: u64, tried: &str, expected: &str) {
        let tried: Vec<ServerAddress> = tried.split_whitespace().map(address).collect();
        let picked = choice.pick(seconds(now), &tried).map(|address| address.host).unwrap_or_default();
        assert_eq!(picked, expected, "{choice:?}");
    }

    #[test]
    fn one_server_is_asked_until_it_fails_and_then_the_next() {
        let mut choice = choice("a b c");
        check(&mut choice, 100, "", "a");
        choice.failed(&address("a"), seconds(100));
        check(&mut choice, 100, "a", "b");
        check(&mut choice, 100, "", "b");
        check(&mut choice, 200, "", "b");
        choice.failed(&address("b"), seconds(200));
        check(&mut choice, 200, "", "c");
        choice.failed(&address("c"), seconds(201));
        check(&mut choice, 202, "", "a");
        choice.failed(&address("a"), seconds(202));
        check(&mut choice, 203, "", "b");
        check(&mut choice, 203, "b", "c");
        check(&mut choice, 203, "a b c", "");
    }

    #[test]
    fn the_only_server_is_asked_whatever_it_did() {
        let mut choice = choice("a");
        choice.failed(&address("a"), seconds(0));
        check(&mut choice, 0, "", "a");
        assert_eq!(choice.patience(), PATIENT);
        self::check(&mut self::choice(""), 0, "", "");
    }

    #[test]
    fn patience_grows_where_no_server_is_reached() {
        let mut choice = choice("a b");
        assert_eq!(choice.patience(), IMPATIENT);
        choice.failed(&address("a"), seconds(1));
        assert_eq!(choice.patience(), IMPATIENT);
        for round in 2..6 {
            choice.failed(&address("b"), seconds(round));
        }
        assert_eq!(choice.patience(), PATIENT);
        choice.worked(&address("a"));
        assert_eq!(choice.patience(), IMPATIENT);
    }

    #[test]
    fn a_server_that_is_gone_from_the_list_is_not_asked_and_a_new_one_does_not_take_over() {
        let mut choice = choice("a b");
        check(&mut choice, 1, "", "a");
        choice.set(["c", "a", "b"].map(address).to_vec());
        check(&mut choice, 1, "", "a");
        choice.failed(&address("b"), seconds(1));
        choice.set(["b", "c"].map(address).to_vec());
        check(&mut choice, 2, "", "c");
    }
}
