//! What is no longer remembered when an object is gone.

use super::Driver;
use super::cache::Address;
use super::key::Key;
use super::known::{Known, Whole};
use crate::volume::ephemeral;

impl Driver {
    /// Forgets what was remembered of an object that is gone.
    pub(super) fn forget(&mut self, address: &Address, known: &Known) {
        let place = address.1.clone();
        let key = match &known.whole {
            Whole::ReplicaSet(_) => Key::ReplicaSet(place),
            Whole::Controller(_) => Key::Controller(place),
            Whole::Deployment(_) => Key::Deployment(place),
            Whole::DaemonSet(_) => {
                self.looker.daemon_failures.remove(&place);
                Key::DaemonSet(place)
            }
            Whole::StatefulSet(_) => Key::StatefulSet(place),
            Whole::Job(_) => Key::Job(place),
            Whole::CronJob(_) => Key::CronJob(place),
            Whole::Service(_) => {
                self.queue.forget(&Key::Addresses(place.clone()));
                Key::Service(place)
            }
            Whole::Address(_) => Key::Address(place.1),
            Whole::Endpoints(_) => Key::Endpoints(place),
            Whole::AccountToken(_) => Key::AccountToken(place),
            Whole::Autoscaler(_) => {
                self.looker.autoscalers.remove(&place);
                Key::Autoscaler(place)
            }
            Whole::Node(_) => Key::Node(place.1),
            Whole::Pod(pod) => {
                if ephemeral::volumes(pod).next().is_some() {
                    self.queue.forget(&Key::Ephemeral(place.clone()));
                }
                Key::Pod(place)
            }
            Whole::Request(_) => Key::Request(place.1),
            Whole::Definition(_) => Key::Definition(place.1),
            Whole::Volume(_) => Key::Volume(place.1),
            Whole::Claim(_) => Key::Claim(place),
            Whole::Namespace(_) => {
                self.looker.said.remove(&place.1);
                return;
            }
            _ => return,
        };
        self.looker.failures.remove(&key);
        self.queue.forget(&key);
        self.queue.forget(&Key::Garbage(known.uid().to_owned()));
    }
}
