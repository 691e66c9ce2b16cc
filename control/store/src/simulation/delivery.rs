//! How parcels leave, get lost and arrive.

use tokio::sync::oneshot;

use super::MS;
use super::machine::State;
use super::parcel::Parcel;
use super::world::{Event, World};
use crate::error::StoreError;
use crate::replica::Arrival;

/// A whole state on its way, whose sender is to be told what became of it.
pub(crate) struct Sending {
    from: (u64, u64),
    to: (u64, u64),
    reply: oneshot::Receiver<Result<(), StoreError>>,
}

impl World {
    pub(super) fn take_outbox(&mut self, server: u64) {
        let now = self.now;
        let slow = self.machines[&server].slow;
        for (to, parcel) in self.machine(server).take_outbox() {
            let numbers = [&[6, server, to], &parcel.numbers()[..]].concat();
            self.trace.note(now, &numbers, || format!("{server} -> {to}: {}", parcel.words()));
            let arrivals = self.network.arrivals(now + slow, (server, to), parcel.size(), parcel.may_repeat());
            if arrivals.is_empty() {
                self.lose(server, to, &parcel);
            }
            for at in arrivals {
                self.at(at, Event::Arrive { from: server, to, parcel: Box::new(parcel.clone()) });
            }
        }
    }

    /// The sender's connection breaks some time after a parcel was lost.
    fn lose(&mut self, from: u64, to: u64, parcel: &Parcel) {
        let life = self.machines[&from].life;
        let at = self.now + self.random.within(MS..200 * MS);
        if matches!(parcel, Parcel::Snapshot(_)) {
            self.at(at, Event::Tell { server: from, life, arrival: Arrival::SnapshotSent { to, ok: false } });
        } else if self.random.permille(100) {
            self.at(at, Event::Tell { server: from, life, arrival: Arrival::Unreachable { to } });
            let again = at + self.random.within(MS..50 * MS);
            self.at(again, Event::Tell { server: from, life, arrival: Arrival::Reachable { to } });
        }
    }

    pub(super) fn arrive(&mut self, from: u64, to: u64, parcel: Parcel) {
        let now = self.now;
        let Some(machine) = self.machines.get(&to) else { return };
        let State::Up(process) = &machine.state else {
            self.lose(from, to, &parcel);
            return;
        };
        if process.refuses(from) {
            // The peers' layer tells a removed server so when it connects.
            let life = self.machines[&from].life;
            self.at(now + MS, Event::Tell { server: from, life, arrival: Arrival::Removed });
            return;
        }
        let arrival = match parcel {
            Parcel::Ask(_) | Parcel::Told(..) => return self.hand_in_question(to, from, parcel),
            Parcel::Message(message) => Arrival::Messages(vec![message]),
            Parcel::Forward(proposals) => Arrival::Forwarded { from, proposals },
            Parcel::Refuse(refusals) => Arrival::Refused { from, refusals },
            Parcel::Snapshot(whole) => {
                let (message, image) = *whole;
                let (reply, answer) = oneshot::channel();
                let lives = (self.machines[&from].life, machine.life);
                self.sendings.push(Sending { from: (from, lives.0), to: (to, lives.1), reply: answer });
                Arrival::Received { message: Box::new(message), image: Box::new(image), reply }
            }
        };
        if matches!(arrival, Arrival::Received { .. })
            && let Some(changes) = self.faults.strikes_install()
        {
            self.machine(to).light_fuse(changes);
        }
        self.hand_in(to, arrival);
    }

    pub(super) fn poll_sendings(&mut self) {
        let mut at = 0;
        while let Some(sending) = self.sendings.get_mut(at) {
            let ok = match sending.reply.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => {
                    at += 1;
                    continue;
                }
                Ok(Ok(())) => {
                    self.installs += 1;
                    true
                }
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => false,
            };
            let Sending { from: (server, life), to: (to, _), .. } = self.sendings.swap_remove(at);
            let when = self.now + MS;
            self.at(when, Event::Tell { server, life, arrival: Arrival::SnapshotSent { to, ok } });
        }
    }
}
