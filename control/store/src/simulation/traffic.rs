//! What the clients and watchers of the world do.

use bytes::Bytes;
use pal_checker::{Call, History, Operation, Outcome as Told, Returned, Watch};
use tokio::sync::oneshot;

use super::MS;
use super::client::{Reply, Waiting};
use super::machine::State;
use super::world::{Event, World};
use crate::codec::encode_txn;
use crate::driver::Request;

impl World {
    /// A client asks, or gives up.
    pub(super) fn turn(&mut self, client: usize) {
        let now = self.now;
        if self.clients[client].waiting.as_ref().is_some_and(|waiting| waiting.until > now) {
            return;
        }
        let gives_up = self.clients[client].waiting.take().is_some();
        if gives_up {
            self.trace.note(now, &[8, client as u64], || format!("client {client} gives up"));
        }
        if !self.busy {
            return;
        }
        let up: Vec<u64> =
            self.machines.values().filter(|machine| machine.serves()).map(|machine| machine.id).collect();
        let moves = self.clients[client].moves(gives_up);
        if moves || !up.contains(&self.clients[client].server) {
            let Some(server) = self.clients[client].random.pick(&up) else {
                self.at(now + 100 * MS, Event::Client(client));
                return;
            };
            self.clients[client].server = *server;
        }
        self.ask(client);
    }

    fn ask(&mut self, client: usize) {
        let now = self.now;
        let asking = &mut self.clients[client];
        let server = asking.server;
        let call = asking.next();
        let id = asking.id;
        self.trace.note(now, &[9, client as u64, server], || format!("client {id} at {server}: {call:?}"));
        let operation = self.history.operations.len();
        self.history.operations.push(Operation {
            client: id,
            server: server.to_string(),
            called: now,
            call: call.clone(),
            returned: None,
        });
        let (request, reply) = match &call {
            Call::Stale { keys } => {
                let told = self.machines[&server].view().map(|view| self.clients[client].look(keys, &view.snapshot()));
                self.answer(client, operation, told);
                return;
            }
            Call::Read { .. } => {
                let (reply, answer) = oneshot::channel();
                (Request::Read { reply }, Reply::Read(answer))
            }
            Call::Txn { guards, writes } => {
                let data = Bytes::from(encode_txn(&self.clients[client].txn(guards, writes)));
                let Some(Ok(share)) = self.machines[&server].share(data.len()) else {
                    self.answer(client, operation, Some(Told::Failed));
                    return;
                };
                let (reply, answer) = oneshot::channel();
                (Request::Commit { data, share, reply }, Reply::Commit(answer))
            }
        };
        let until = now + self.clients[client].patience();
        self.clients[client].waiting = Some(Waiting { operation, server, call, reply, until });
        self.at(until, Event::Client(client));
        self.request(server, request);
    }

    /// Looks whether a client has its answer.
    pub(super) fn hear(&mut self, client: usize) {
        if let Some((operation, told)) = self.clients[client].poll() {
            self.answer(client, operation, told);
        }
    }

    fn answer(&mut self, client: usize, operation: usize, told: Option<Told>) {
        let now = self.now;
        self.trace.note(now, &[10, client as u64, u64::from(told.is_some())], || format!("client {client}: {told:?}"));
        self.history.operations[operation].returned = told.map(|outcome| Returned { at: now, outcome });
        let again = now + self.clients[client].pause();
        self.at(again, Event::Client(client));
    }

    pub(super) fn watch(&mut self, at: usize) {
        let up: Vec<u64> =
            self.machines.values().filter(|machine| machine.serves()).map(|machine| machine.id).collect();
        let watcher = &mut self.watchers[at];
        if watcher.server.is_some() {
            watcher.read(false);
            if watcher.random.permille(40) {
                watcher.end();
            }
        } else if let Some(server) = watcher.random.pick(&up).copied()
            && let State::Up(process) = &self.machines[&server].state
        {
            watcher.start((server, self.machines[&server].life), &process.hub, &process.view);
        }
        let again = self.now + self.watchers[at].pause();
        self.at(again, Event::Watch(at));
    }

    /// Everybody who watches reads to the end, on a server that has everything.
    pub fn finish_watching(&mut self) {
        let newest = self.machines.values().filter(|machine| machine.leads()).map(|machine| machine.id).next();
        let Some(server) = newest else { return };
        let Some(State::Up(process)) = self.machines.get(&server).map(|machine| &machine.state) else { return };
        for watcher in &mut self.watchers {
            // The second time it lists.
            for _ in 0..2 {
                if watcher.server.is_none() {
                    watcher.start((server, 0), &process.hub, &process.view);
                }
                watcher.read(true);
            }
        }
    }

    /// The history that the checkers get.
    pub fn history(&mut self) -> History {
        let mut history = std::mem::take(&mut self.history);
        for (at, watcher) in self.watchers.iter_mut().enumerate() {
            let steps = std::mem::take(&mut watcher.steps);
            history.watches.push(Watch { watcher: at as u64, prefix: watcher.prefix.to_owned(), steps });
        }
        history
    }
}
