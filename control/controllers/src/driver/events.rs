//! Which Events are written: the same one again counts up, many of a kind become one, and nobody floods the store.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::action::{Note, Severity};
use crate::object::since;

/// Events alike in all but their message that are told one by one within [`ALIKE_FOR`].
const ALIKE: u32 = 10;
const ALIKE_FOR: Duration = Duration::from_secs(600);
/// Events about one object from one component that are told at once; one more in each [`REFILL`].
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(300);
/// Events, kinds and objects that are remembered; beyond that all is forgotten and begins anew.
const KEPT: usize = 4096;

/// An Event is the same when all of this is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    object: (Option<String>, Option<String>, Option<String>, Option<String>),
    component: &'static str,
    severity: Severity,
    reason: &'static str,
}

#[derive(Clone, Debug)]
struct Alike {
    messages: u32,
    last: Timestamp,
}

#[derive(Clone, Debug)]
struct Allowance {
    left: u32,
    since: Timestamp,
}

/// What is to be written for a note.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Writing {
    Create(Box<Event>),
    /// The Event of that name happened again.
    Count {
        namespace: String,
        name: String,
        count: i32,
        message: String,
        last: Timestamp,
    },
}

#[derive(Clone, Debug)]
struct Written {
    namespace: String,
    name: String,
    count: i32,
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub(super) struct Aggregator {
    written: HashMap<(Kind, String), Written>,
    alike: HashMap<Kind, Alike>,
    allowances: HashMap<(Option<String>, &'static str), Allowance>,
    number: u64,
}

impl Aggregator {
    /// What to write for a note, if anything.
    pub(super) fn admit(&mut self, note: Note, now: Timestamp) -> Option<Writing> {
        self.forget();
        let kind = kind(&note);
        let known = self.written.contains_key(&(kind.clone(), note.message.clone()));
        let combined = !known && self.is_one_of_many(&kind, now);
        // One Event stands for all further ones of its kind; the empty message is its key.
        let (key, message) = if combined {
            (String::new(), format!("(combined from similar events): {}", note.message))
        } else {
            (note.message.clone(), note.message.clone())
        };
        if !self.is_allowed(&note, now) {
            return None;
        }
        if let Some(written) = self.written.get_mut(&(kind.clone(), key.clone())) {
            written.count = written.count.saturating_add(1);
            return Some(Writing::Count {
                namespace: written.namespace.clone(),
                name: written.name.clone(),
                count: written.count,
                message,
                last: now,
            });
        }
        self.number += 1;
        let event = event(note, message, self.number, now);
        let written = Written {
            namespace: event.metadata.namespace.clone().unwrap_or_default(),
            name: event.metadata.name.clone().unwrap_or_default(),
            count: 1,
        };
        self.written.insert((kind, key), written);
        Some(Writing::Create(Box::new(event)))
    }

    /// An Event that was counted up is not there any more: the next one of it is made anew.
    pub(super) fn lost(&mut self, namespace: &str, name: &str) {
        self.written.retain(|_, written| written.name != name || written.namespace != namespace);
    }

    fn is_one_of_many(&mut self, kind: &Kind, now: Timestamp) -> bool {
        let alike = self.alike.entry(kind.clone()).or_insert(Alike { messages: 0, last: now });
        if since(now, alike.last) > ALIKE_FOR {
            alike.messages = 0;
        }
        alike.last = now;
        alike.messages = alike.messages.saturating_add(1);
        alike.messages > ALIKE
    }

    fn is_allowed(&mut self, note: &Note, now: Timestamp) -> bool {
        let key = (note.about.uid.clone().or_else(|| note.about.name.clone()), note.component);
        let allowance = self.allowances.entry(key).or_insert(Allowance { left: BURST, since: now });
        let refilled = since(now, allowance.since).as_secs() / REFILL.as_secs();
        if refilled > 0 {
            allowance.left = allowance.left.saturating_add(u32::try_from(refilled).unwrap_or(BURST)).min(BURST);
            allowance.since = now;
        }
        let allowed = allowance.left > 0;
        allowance.left = allowance.left.saturating_sub(1);
        allowed
    }

    fn forget(&mut self) {
        if self.written.len() >= KEPT {
            self.written.clear();
        }
        if self.alike.len() >= KEPT {
            self.alike.clear();
        }
        if self.allowances.len() >= KEPT {
            self.allowances.clear();
        }
    }
}

fn kind(note: &Note) -> Kind {
    let ObjectReference { kind, namespace, name, uid, .. } = &note.about;
    Kind {
        object: (kind.clone(), namespace.clone(), name.clone(), uid.clone()),
        component: note.component,
        severity: note.severity,
        reason: note.reason,
    }
}

fn event(note: Note, message: String, number: u64, now: Timestamp) -> Event {
    let namespace = note.about.namespace.clone().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let about = note.about.name.clone().unwrap_or_default();
    let nanoseconds = u64::try_from(now.as_nanosecond()).unwrap_or(0).wrapping_add(number);
    let severity = match note.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{about}.{nanoseconds:x}")),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: note.about,
        reason: Some(note.reason.to_owned()),
        message: Some(message),
        type_: Some(severity.to_owned()),
        source: Some(EventSource { component: Some(note.component.to_owned()), host: None }),
        reporting_component: Some(note.component.to_owned()),
        reporting_instance: Some(String::new()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn note(object: &str, message: &str) -> Note {
        Note {
            about: ObjectReference {
                kind: Some("Pod".into()),
                namespace: Some("a".into()),
                name: Some(object.into()),
                uid: Some(object.into()),
                ..ObjectReference::default()
            },
            component: "test",
            severity: Severity::Warning,
            reason: "Failed",
            message: message.into(),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn the_same_event_counts_up() {
        let mut aggregator = Aggregator::default();
        let Some(Writing::Create(first)) = aggregator.admit(note("p", "bad"), now()) else { panic!() };
        assert_eq!(first.count, Some(1));
        let again = aggregator.admit(note("p", "bad"), now());
        let Some(Writing::Count { name, count, .. }) = again else { panic!("{again:?}") };
        assert_eq!((Some(name), count), (first.metadata.name.clone(), 2));
        aggregator.lost("a", first.metadata.name.as_deref().unwrap());
        assert!(matches!(aggregator.admit(note("p", "bad"), now()), Some(Writing::Create(_))));
    }

    #[test]
    fn many_of_a_kind_become_one() {
        let mut aggregator = Aggregator::default();
        let mut messages = Vec::new();
        for index in 0..14 {
            match aggregator.admit(note("p", &format!("bad {index}")), now()) {
                Some(Writing::Create(event)) => messages.push(event.message.unwrap()),
                Some(Writing::Count { message, count, .. }) => messages.push(format!("{count} {message}")),
                None => messages.push("dropped".into()),
            }
        }
        assert_eq!(messages[9], "bad 9");
        assert_eq!(messages[10], "(combined from similar events): bad 10");
        assert_eq!(messages[13], "4 (combined from similar events): bad 13");
    }

    #[test]
    fn nobody_floods_the_store() {
        let mut aggregator = Aggregator::default();
        let told = |aggregator: &mut Aggregator, object: &str, now| {
            (0..100).filter(|_| aggregator.admit(note(object, "bad"), now).is_some()).count()
        };
        assert_eq!(told(&mut aggregator, "p", now()), 25);
        assert_eq!(told(&mut aggregator, "q", now()), 25);
        assert_eq!(told(&mut aggregator, "p", now() + SignedDuration::from_secs(601)), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut aggregator = Aggregator::default();
        for index in 0..10_000 {
            aggregator.admit(note(&format!("p{index}"), "bad"), now());
        }
        assert!(aggregator.written.len() <= KEPT);
        assert!(aggregator.allowances.len() <= KEPT);
    }
}
