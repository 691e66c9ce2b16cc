//! Which endpoint a client had last, for Services that keep their clients where they are (`sessionAffinity: ClientIP`). Pure.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that one port remembers; those beyond are balanced as if there were no affinity.
const MAX_CLIENTS: usize = 20_000;

/// The memory of one port of a Service.
#[derive(Debug)]
pub(crate) struct Affinity {
    /// How long after its last request a client is remembered.
    pub timeout: Duration,
    clients: Mutex<HashMap<IpAddr, (SocketAddrV4, Instant)>>,
}

impl Affinity {
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, clients: Mutex::default() }
    }

    /// Where the client was last, if that is not too long ago.
    pub fn of(&self, client: IpAddr, now: Instant) -> Option<SocketAddrV4> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let (endpoint, at) = clients.get(&client)?;
        (now.saturating_duration_since(*at) < self.timeout).then_some(*endpoint)
    }

    /// Notes where the client is now.
    pub fn note(&self, client: IpAddr, endpoint: SocketAddrV4, now: Instant) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, (_, at)| now.saturating_duration_since(*at) < self.timeout);
            if clients.len() >= MAX_CLIENTS {
                return;
            }
        }
        clients.insert(client, (endpoint, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_remembered_until_it_has_been_away_for_too_long() {
        let affinity = Affinity::new(Duration::from_secs(10));
        let (client, other) = (IpAddr::from([100, 64, 0, 1]), IpAddr::from([100, 64, 0, 2]));
        let endpoint = SocketAddrV4::new([100, 64, 0, 9].into(), 80);
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        affinity.note(client, endpoint, after(0));
        assert_eq!(affinity.of(client, after(9)), Some(endpoint));
        assert_eq!(affinity.of(other, after(9)), None);
        affinity.note(client, endpoint, after(9));
        assert_eq!(affinity.of(client, after(18)), Some(endpoint), "each request begins the time anew");
        assert_eq!(affinity.of(client, after(19)), None);
    }

    #[test]
    fn no_more_clients_are_remembered_than_there_is_room_for() {
        let affinity = Affinity::new(Duration::from_secs(10));
        let endpoint = SocketAddrV4::new([100, 64, 0, 9].into(), 80);
        let client = |n: usize| IpAddr::from(u32::try_from(n).expect("few clients").to_be_bytes());
        let start = Instant::now();
        for n in 0..=MAX_CLIENTS {
            affinity.note(client(n), endpoint, start);
        }
        assert_eq!(affinity.of(client(0), start), Some(endpoint));
        assert_eq!(affinity.of(client(MAX_CLIENTS), start), None);
        let later = start + Duration::from_secs(10);
        affinity.note(client(MAX_CLIENTS), endpoint, later);
        assert_eq!(affinity.of(client(MAX_CLIENTS), later), Some(endpoint), "who was away too long makes room");
    }
}
