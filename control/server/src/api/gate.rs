//! How many requests are worked on at once, so that no client starves the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pal_resources::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds on what is in flight.
pub(crate) struct Gate {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// The most that one user may have in flight.
    share: usize,
    users: Arc<Mutex<HashMap<String, usize>>>,
}

/// The right to be worked on; given back when it is dropped.
pub(crate) struct Ticket {
    user: String,
    users: Arc<Mutex<HashMap<String, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(requests: usize, streams: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            streams: Arc::new(Semaphore::new(streams)),
            // Some is always left for the others.
            share: requests - requests / 4,
            users: Arc::default(),
        }
    }

    /// For a request that is answered at once.
    pub(crate) fn request(&self, user: &str) -> Result<Ticket, Status> {
        let permit = self.requests.clone().try_acquire_owned().map_err(|_| busy())?;
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(user) {
            Some(count) if *count >= self.share => return Err(busy()),
            Some(count) => *count += 1,
            None => {
                users.insert(user.to_owned(), 1);
            }
        }
        Ok(Ticket { user: user.to_owned(), users: self.users.clone(), _permit: permit })
    }

    /// For a watch or a followed log.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.streams.clone().try_acquire_owned().map_err(|_| busy())
    }

    /// Requests that could still be taken.
    pub(crate) fn free_requests(&self) -> usize {
        self.requests.available_permits()
    }

    /// Streams that could still be taken.
    pub(crate) fn free_streams(&self) -> usize {
        self.streams.available_permits()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

fn busy() -> Status {
    Status::too_many_requests("Too many requests, please try again later.", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_every_place() {
        let gate = Gate::new(4, 1);
        let held: Vec<Ticket> = (0..3).map(|_| gate.request("greedy").expect("a place")).collect();
        assert_eq!(gate.request("greedy").err().map(|status| status.code), Some(429));
        let other = gate.request("other").expect("a place that was left");
        assert_eq!(gate.request("third").err().map(|status| status.code), Some(429));
        drop((held, other));
        assert_eq!((gate.free_requests(), gate.free_streams()), (4, 1));
        assert!(gate.users.lock().expect("not poisoned").is_empty());
        let stream = gate.stream().expect("a place");
        assert!(gate.stream().is_err());
        drop(stream);
        assert!(gate.stream().is_ok());
    }
}
