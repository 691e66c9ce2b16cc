//! How many requests are worked on at once, so that no client starves the others.
//!
//! Three levels, as Kubernetes' priority and fairness has them in small: health checks and the other servers pass; nodes have
//! places of their own, so that no user keeps them from reporting; everybody else shares the rest. Within a level each client
//! has a share (see [`super::fair`]). Who finds no place waits a little in its own queue and is then told to come again. The
//! controllers are in the server's process and do not come by here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pal_resources::Status;
use tokio::sync::oneshot;

use super::fair::{Places, Turn};
use crate::auth::User;
use crate::pki::SERVERS;

/// Answers below this size are not counted.
const SMALL: u64 = 64 * 1024;
const MIB: u64 = 1024 * 1024;
/// How long a request may wait for a place.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nodes have this part of the others' places for themselves, beside those.
const NODES_PART: usize = 2;
/// What tells whether the server lives, and is asked most when it is full.
const HEALTH: &[&str] = &["/livez", "/readyz", "/healthz"];

/// Whose share a request counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Nobody's.
    Exempt,
    Node(Arc<str>),
    User(Arc<str>),
    /// Who did not say who it is.
    Stranger(IpAddr),
}

impl Client {
    /// Whose request it is.
    pub(crate) fn of(user: &User, from: IpAddr, path: &str) -> Self {
        if user.is_in(SERVERS) || HEALTH.iter().any(|health| path.starts_with(health)) {
            return Self::Exempt;
        }
        if user.is_in("system:unauthenticated") {
            return Self::Stranger(network(from));
        }
        match user.node() {
            Some(node) => Self::Node(node.into()),
            None => Self::User(user.name.as_str().into()),
        }
    }
}

/// The part of an address that one host cannot choose.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        four => four,
    }
}

/// Bounds on what is in flight.
pub(crate) struct Gate {
    /// How long a request may wait for a place.
    patience: Duration,
    users: Arc<Level>,
    nodes: Arc<Level>,
    streams: Arc<Level>,
    /// A place for each mebibyte of answers that are not read yet, however many requests and connections there are.
    answers: Arc<Level>,
}

/// Places, and who waits for them.
struct Level(Mutex<State>);

struct State {
    places: Places<Client>,
    waiting: HashMap<u64, oneshot::Sender<()>>,
}

/// The right to be worked on; given back when it is dropped.
pub(crate) struct Ticket(Option<(Arc<Level>, Client)>);

impl Gate {
    pub(crate) fn new(requests: usize, streams: usize, answers_mib: usize) -> Self {
        let nodes = (requests / NODES_PART).max(1);
        let (users, nodes, streams) = (Level::new(requests), Level::new(nodes), Level::new(streams));
        Self { patience: PATIENCE, users, nodes, streams, answers: Level::new(answers_mib) }
    }

    /// For a request that is answered at once. Waits a little for its turn.
    pub(crate) async fn request(&self, client: &Client) -> Result<Ticket, Status> {
        match client {
            Client::Exempt => Ok(Ticket(None)),
            Client::Node(_) => self.nodes.enter(client, self.patience).await,
            Client::User(_) | Client::Stranger(_) => self.users.enter(client, self.patience).await,
        }
    }

    /// For a watch or a followed log. These last, so that there is nothing to wait for.
    pub(crate) fn stream(&self, client: &Client) -> Result<Ticket, Status> {
        let taken = self.streams.lock().places.take(client);
        if taken { Ok(Ticket(Some((self.streams.clone(), client.clone())))) } else { Err(busy()) }
    }

    /// For an answer of that size, until it is read. `None` is one that is made while it is read:
    /// it counts little.
    pub(crate) async fn answer(&self, client: &Client, size: Option<u64>) -> Result<Vec<Ticket>, Status> {
        let wanted = match size {
            _ if *client == Client::Exempt => 0,
            Some(..SMALL) => 0,
            Some(size) => size.div_ceil(MIB),
            None => 1,
        };
        let mut tickets = Vec::new();
        for _ in 0..wanted {
            tickets.push(self.answers.enter(client, self.patience).await?);
        }
        Ok(tickets)
    }

    /// Places for users' requests that nobody has.
    pub(crate) fn free_requests(&self) -> usize {
        self.users.lock().places.free()
    }

    /// Streams that could still be taken.
    pub(crate) fn free_streams(&self) -> usize {
        self.streams.lock().places.free()
    }
}

impl Level {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { places: Places::new(places), waiting: HashMap::new() })))
    }

    async fn enter(self: &Arc<Self>, client: &Client, patience: Duration) -> Result<Ticket, Status> {
        let (called, call) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            match state.places.arrive(client) {
                Turn::Now => return Ok(Ticket(Some((self.clone(), client.clone())))),
                Turn::Never => return Err(busy()),
                Turn::Wait(number) => {
                    state.waiting.insert(number, called);
                    number
                }
            }
        };
        let waiting = Waiting { level: self, client, number: Some(number) };
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(())) => Ok(waiting.called()),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    fn leave(&self, client: &Client) {
        let mut state = self.lock();
        for number in state.places.leave(client) {
            if let Some(called) = state.waiting.remove(&number) {
                // Who went away meanwhile gives the place back itself.
                let _ = called.send(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is a single step, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits. Dropped, it does not wait any more, and leaves no place taken.
struct Waiting<'a> {
    level: &'a Arc<Level>,
    client: &'a Client,
    number: Option<u64>,
}

impl Waiting<'_> {
    /// Its turn has come.
    fn called(mut self) -> Ticket {
        self.number = None;
        Ticket(Some((self.level.clone(), self.client.clone())))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let waited = {
            let mut state = self.level.lock();
            state.waiting.remove(&number);
            state.places.withdraw(self.client, number)
        };
        if !waited {
            self.level.leave(self.client);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((level, client)) = self.0.take() {
            level.leave(&client);
        }
    }
}

fn busy() -> Status {
    Status::too_many_requests("Too many requests, please try again later.", 1)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::auth::AUTHENTICATED;

    fn user(name: &str) -> Client {
        Client::User(name.into())
    }

    const SHORT: Duration = Duration::from_millis(20);

    async fn enter(gate: &Gate, name: &str) -> Result<Ticket, u16> {
        gate.request(&user(name)).await.map_err(|status| status.code)
    }

    #[tokio::test]
    async fn one_user_cannot_take_every_place() {
        let gate = Gate { patience: SHORT, ..Gate::new(4, 1, 1) };
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(enter(&gate, "greedy").await.expect("a place"));
        }
        let began = std::time::Instant::now();
        assert_eq!(enter(&gate, "greedy").await.err(), Some(429));
        assert!(began.elapsed() >= SHORT, "it waited");
        let other = enter(&gate, "other").await.expect("a place that was left");
        assert_eq!(enter(&gate, "third").await.err(), Some(429));
        let node = gate.request(&Client::Node("n1".into())).await.expect("nodes have their own");
        gate.request(&Client::Exempt).await.map(drop).expect("health is always told");
        drop((held, other, node));
        assert_eq!((gate.free_requests(), gate.free_streams()), (4, 1));
        let stream = gate.stream(&user("a")).expect("a place");
        assert!(gate.stream(&user("b")).is_err());
        drop(stream);
        assert!(gate.stream(&user("b")).is_ok());
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_left_and_who_goes_leaves_none_taken() {
        let gate = Gate::new(1, 1, 1);
        let held = enter(&gate, "a").await.expect("a place");
        let (impatient, patient) = (enter(&gate, "b"), enter(&gate, "c"));
        tokio::pin!(impatient, patient);
        assert!(futures::poll!(&mut impatient).is_pending() && futures::poll!(&mut patient).is_pending());
        drop(held);
        // b was called and goes away without having looked.
        impatient.set(enter(&gate, "x"));
        let ticket = patient.await.expect("the place");
        drop(ticket);
        assert_eq!(gate.free_requests(), 1);
    }

    #[tokio::test]
    async fn answers_that_are_not_read_are_counted_by_their_size() {
        let gate = Gate { patience: SHORT, ..Gate::new(1, 1, 8) };
        let answer = async |client: &Client, size: Option<u64>| {
            gate.answer(client, size).await.map(|tickets| (tickets.len(), tickets)).map_err(|status| status.code)
        };
        let greedy = user("greedy");
        let mut held = Vec::new();
        for (size, expected) in [(Some(SMALL - 1), 0), (Some(SMALL), 1), (Some(3 * MIB + 1), 4), (None, 1)] {
            let (places, tickets) = answer(&greedy, size).await.expect("there is room");
            assert_eq!(places, expected, "{size:?}");
            held.push(tickets);
        }
        assert_eq!(answer(&greedy, Some(MIB)).await.map(drop), Err(429));
        assert_eq!(answer(&greedy, Some(10)).await.map(drop), Ok(()), "small ones pass");
        assert_eq!(answer(&Client::Exempt, Some(MIB)).await.map(drop), Ok(()));
        assert_eq!(answer(&user("other"), Some(MIB)).await.map(drop), Ok(()), "there is something for others");
        held.clear();
        assert_eq!(answer(&greedy, Some(MIB)).await.map(drop), Ok(()), "they were read");
    }

    #[test]
    fn requests_count_against_who_sends_them() {
        let node = User::new("system:node:n1", &["system:nodes", AUTHENTICATED]);
        let server = User::new("system:server:1", &[SERVERS, AUTHENTICATED]);
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let check = |user: &User, from: IpAddr, path: &str, expected: Client| {
            assert_eq!(Client::of(user, from, path), expected, "{} {path}", user.name);
        };
        check(&node, address, "/api/v1/pods", Client::Node("n1".into()));
        check(&User::new("jane", &[AUTHENTICATED]), address, "/api/v1/pods", user("jane"));
        check(&User::anonymous(), address, "/version", Client::Stranger(address));
        check(&User::anonymous(), "::ffff:127.0.0.1".parse().expect("one"), "/version", Client::Stranger(address));
        let six: IpAddr = "2001:db8:1:2:3:4:5:6".parse().expect("an address");
        check(&User::anonymous(), six, "/version", Client::Stranger("2001:db8:1:2::".parse().expect("an address")));
        check(&User::anonymous(), address, "/livez/ping", Client::Exempt);
        check(&server, address, "/v2/a/manifests/b", Client::Exempt);
    }
}
