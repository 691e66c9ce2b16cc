//! One client: it asks one thing after the other, of any server, and writes down what it asked and what came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use pal_checker::{Call, Found, Guard, Operation, Outcome, Returned, Value, Write};

use super::{KEYS, LIMIT, Object, REQUEST_LIMIT, Shared, keys};
use crate::api::{Access, Api, Json, NoAnswer};
use crate::seed::Seed;
use crate::wait::wait_until;

/// One in so many requests goes to another server than the one before.
const STAYS: usize = 6;
/// The client that looks once more when all is over.
const LAST: u64 = u32::MAX as u64;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Read,
    Stale,
    List,
    Create,
    Put,
    Swap(Start),
    Delete,
}

/// The object that a compare-and-set starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    value: Value,
    revision: u64,
}

struct Client {
    shared: Arc<Shared>,
    number: u64,
    seed: Seed,
    server: String,
    api: Api,
    /// What it last saw of each key.
    known: BTreeMap<String, Start>,
    written: u64,
    operations: Vec<Operation>,
}

/// Goes on until the load is stopped; everything that was asked.
pub(super) async fn run(shared: Arc<Shared>, number: u64, mut seed: Seed, pause: Duration) -> Vec<Operation> {
    let (server, access) = shared.endpoints.any(&mut seed);
    let (api, known, operations) = (access.api(), BTreeMap::new(), Vec::new());
    let mut client = Client { shared, number, seed, server, api, known, written: 0, operations };
    while !client.shared.stopped() {
        let answered = client.once().await;
        if !answered || client.seed.below(STAYS) == 0 {
            client.move_on();
        }
        tokio::time::sleep(pause).await;
    }
    client.operations
}

impl Client {
    fn move_on(&mut self) {
        let (server, access) = self.shared.endpoints.any(&mut self.seed);
        if server != self.server {
            self.api = access.api();
            self.server = server;
        }
    }

    /// Asks one thing; whether there was an answer.
    async fn once(&mut self) -> bool {
        let key = keys::name(self.shared.epoch.load(Ordering::Relaxed), self.seed.below(KEYS));
        let known = self.known.get(&key).copied();
        let ask = match (self.seed.below(20), known) {
            (0..5, _) => Ask::Read,
            (5..7, _) => Ask::Stale,
            (7, _) => Ask::List,
            (8..11, _) => Ask::Create,
            (11..14, _) => Ask::Put,
            (14..19, Some(known)) => Ask::Swap(known),
            (14..19, None) => Ask::Read,
            _ => Ask::Delete,
        };
        self.written += 1;
        let value = (self.number << 32) | self.written;
        let called = self.shared.now();
        let answer = send(&mut self.api, ask, &key, value).await;
        let at = self.shared.now();
        let call = call(ask, &key, value, self.shared.epoch.load(Ordering::Relaxed));
        let (call, outcome) = read_answer(ask, call, &answer);
        self.learn(&key, ask, value, &outcome);
        let answered = matches!(&outcome, Outcome::Read { .. } | Outcome::Committed { .. } | Outcome::Refused { .. });
        let returned = Some(Returned { at, outcome });
        let server = self.server.clone();
        self.operations.push(Operation { client: self.number, server, called, call, returned });
        answered
    }

    fn learn(&mut self, key: &str, ask: Ask, value: Value, outcome: &Outcome) {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let saw = match outcome {
            Outcome::Committed { revision: Some(revision) } => {
                count(&self.shared.written);
                (ask != Ask::Delete).then_some(Start { value, revision: *revision })
            }
            Outcome::Committed { revision: None } => {
                count(&self.shared.written);
                None
            }
            Outcome::Read { found, .. } if ask != Ask::List => {
                if ask == Ask::Read {
                    count(&self.shared.read);
                }
                found
                    .first()
                    .copied()
                    .flatten()
                    .and_then(|found| Some(Start { value: found.value, revision: found.modified? }))
            }
            Outcome::Read { .. } | Outcome::Failed => return,
            // What it knew may be wrong.
            Outcome::Refused { .. } | Outcome::Unknown => None,
        };
        match saw {
            Some(saw) => self.known.insert(key.to_owned(), saw),
            None => self.known.remove(key),
        };
    }
}

async fn send(api: &mut Api, ask: Ask, key: &str, value: Value) -> Result<Json, NoAnswer> {
    let (method, path, body) = match ask {
        Ask::Read => (Method::GET, keys::one(key), None),
        Ask::Stale => (Method::GET, format!("{}?resourceVersion=0", keys::one(key)), None),
        Ask::List => (Method::GET, keys::all(), None),
        Ask::Create => (Method::POST, keys::all(), Some(keys::body(key, value, None))),
        Ask::Put => (Method::PUT, keys::one(key), Some(keys::body(key, value, None))),
        Ask::Swap(from) => (Method::PUT, keys::one(key), Some(keys::body(key, value, Some(from.revision)))),
        Ask::Delete => (Method::DELETE, keys::one(key), None),
    };
    api.call(method, &path, body.as_ref(), REQUEST_LIMIT).await
}

/// What was asked, in the checker's words.
fn call(ask: Ask, key: &str, value: Value, epoch: u64) -> Call {
    let key = key.to_owned();
    let write = |guard: Guard, value: Option<Value>| {
        let writes = vec![Write { key: guard.key().to_owned(), value }];
        Call::Txn { guards: vec![guard], writes }
    };
    match ask {
        Ask::Read => Call::Read { keys: vec![key] },
        Ask::Stale => Call::Stale { keys: vec![key] },
        Ask::List => Call::Read { keys: (0..KEYS).map(|number| keys::name(epoch, number)).collect() },
        Ask::Create => write(Guard::Absent(key), Some(value)),
        Ask::Put => write(Guard::Present(key), Some(value)),
        Ask::Swap(from) => write(Guard::Is(key, from.value), Some(value)),
        Ask::Delete => write(Guard::Present(key), None),
    }
}

/// What an answer says. An answer that is none of those that a request like this has is unknown, with the request.
fn read_answer(ask: Ask, call: Call, answer: &Result<Json, NoAnswer>) -> (Call, Outcome) {
    let json = match answer {
        Ok(json) => json,
        Err(NoAnswer::NotSent(_)) => return (call, Outcome::Failed),
        Err(NoAnswer::Unknown(_)) => return (call, Outcome::Unknown),
    };
    let object = || Object::of(&json.value);
    let read = |found| Outcome::Read { found: vec![found], revision: None };
    let refused = |current| Outcome::Refused { guard: 0, current };
    let outcome = match (ask, json.status) {
        (Ask::List, StatusCode::OK) => listed(&call, &json.value),
        (Ask::Read | Ask::Stale, StatusCode::OK) => {
            object().map_or(Outcome::Unknown, |object| read(Some(object.found())))
        }
        (Ask::Read | Ask::Stale, StatusCode::NOT_FOUND) => read(None),
        (Ask::Create, StatusCode::CREATED) | (Ask::Put | Ask::Swap(_), StatusCode::OK) => {
            object().map_or(Outcome::Unknown, |object| Outcome::Committed { revision: Some(object.revision) })
        }
        (Ask::Delete, StatusCode::OK) => Outcome::Committed { revision: None },
        (Ask::Put | Ask::Swap(_) | Ask::Delete, StatusCode::NOT_FOUND) => refused(Some(None)),
        (Ask::Create | Ask::Swap(_), StatusCode::CONFLICT) => refused(None),
        // The server says that it did not take it.
        (_, StatusCode::TOO_MANY_REQUESTS) => Outcome::Failed,
        _ => Outcome::Unknown,
    };
    (call, outcome)
}

fn listed(call: &Call, list: &serde_json::Value) -> Outcome {
    let Call::Read { keys } = call else { return Outcome::Unknown };
    let Some(items) = list["items"].as_array() else { return Outcome::Unknown };
    let objects: Vec<Object> = items.iter().filter_map(Object::of).collect();
    let find = |key: &String| objects.iter().find(|object| object.key == *key).map(Object::found);
    let found: Vec<Option<Found>> = keys.iter().map(find).collect();
    Outcome::Read { found, revision: keys::revision(list) }
}

/// Reads all keys of all times once more on every server, as soon as each answers.
pub(super) async fn last_look(shared: &Shared) -> Vec<Operation> {
    let mut operations = Vec::new();
    let epochs = shared.epoch.load(Ordering::Relaxed) + 1;
    let keys: Vec<String> =
        (0..epochs).flat_map(|epoch| (0..KEYS).map(move |number| keys::name(epoch, number))).collect();
    for (server, access) in shared.endpoints.all() {
        let what = format!("{server} answers");
        let operation = wait_until(LIMIT, &what, async || {
            let call = Call::Read { keys: keys.clone() };
            look(shared, &access, call).await.map(|(called, call, returned)| Operation {
                client: LAST,
                server: server.clone(),
                called,
                call,
                returned: Some(returned),
            })
        });
        operations.push(operation.await);
    }
    operations
}

async fn look(shared: &Shared, access: &Access, call: Call) -> Result<(u64, Call, Returned), String> {
    let called = shared.now();
    let list = access.api().get(&keys::all(), REQUEST_LIMIT).await?;
    let outcome = listed(&call, &list);
    if outcome == Outcome::Unknown {
        return Err(format!("no list: {list}"));
    }
    Ok((called, call, Returned { at: shared.now(), outcome }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: u64, revision: u64) -> serde_json::Value {
        let mut object = keys::body("k-0-1", value, Some(revision));
        object["kind"] = "ConfigMap".into();
        object
    }

    #[test]
    fn an_answer_says_what_it_can_be_held_to_and_no_more() {
        let check = |ask: Ask, answer: Result<(u16, serde_json::Value), NoAnswer>, expected: Outcome| {
            let answer = answer.map(|(status, value)| Json { status: StatusCode::from_u16(status).unwrap(), value });
            let outcome = read_answer(ask, call(ask, "k-0-1", 7, 0), &answer).1;
            assert_eq!(outcome, expected, "{ask:?}: {answer:?}");
        };
        let swap = Ask::Swap(Start { value: 5, revision: 3 });
        let (ok, status) = (|revision| Ok((200, object(7, revision))), || json!({ "kind": "Status" }));
        let committed = |revision| Outcome::Committed { revision };
        let refused = |current| Outcome::Refused { guard: 0, current };
        let read = |found| Outcome::Read { found: vec![found], revision: None };
        check(Ask::Read, ok(9), read(Some(Found { value: 7, modified: Some(9) })));
        check(Ask::Stale, Ok((404, status())), read(None));
        check(Ask::Create, Ok((201, object(7, 9))), committed(Some(9)));
        check(Ask::Create, Ok((409, status())), refused(None));
        check(Ask::Put, ok(9), committed(Some(9)));
        check(Ask::Put, Ok((404, status())), refused(Some(None)));
        check(swap, ok(9), committed(Some(9)));
        check(swap, Ok((409, status())), refused(None));
        check(Ask::Delete, Ok((200, status())), committed(None));
        check(Ask::Delete, Ok((404, status())), refused(Some(None)));
        // Whether these were carried out nobody can tell.
        for code in [500, 503, 504, 507] {
            check(swap, Ok((code, status())), Outcome::Unknown);
        }
        check(Ask::Put, Err(NoAnswer::Unknown(String::new())), Outcome::Unknown);
        check(Ask::Put, Ok((429, status())), Outcome::Failed);
        check(Ask::Put, Err(NoAnswer::NotSent(String::new())), Outcome::Failed);
    }

    #[test]
    fn a_list_shows_keys_that_are_absent_too() {
        let list = json!({ "metadata": { "resourceVersion": "12" }, "items": [object(7, 9), { "metadata": { "name": "other" } }] });
        let call = Call::Read { keys: vec!["k-0-0".to_owned(), "k-0-1".to_owned()] };
        let found = vec![None, Some(Found { value: 7, modified: Some(9) })];
        assert_eq!(listed(&call, &list), Outcome::Read { found, revision: Some(12) });
        assert_eq!(listed(&call, &json!({ "kind": "Status" })), Outcome::Unknown);
    }
}
