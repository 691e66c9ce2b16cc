//! What servers say to each other, and how it leaves a process.

use std::sync::{Arc, Mutex, PoisonError};

use protobuf::Message as _;
use raft::eraftpb::Message;

use crate::core::Transport;
use crate::image::Image;
use crate::members::Members;
use crate::memory_disk::MemoryDisk;
use crate::proposals::{Forward, Refusal};

/// What one server says to another.
#[derive(Clone)]
pub(crate) enum Parcel {
    Message(Message),
    Forward(Vec<Forward>),
    Refuse(Vec<Refusal>),
    Snapshot(Box<(Message, Image)>),
    /// How far is everything committed that was ever answered?
    Ask(u64),
    /// That far, if the asked one knows.
    Told(u64, Option<u64>),
}

impl Parcel {
    /// As numbers, for the hash.
    pub fn numbers(&self) -> [u64; 3] {
        match self {
            Parcel::Message(message) => {
                let bytes = message.write_to_bytes().unwrap_or_default();
                [message.term, message.index, u64::from(crc32fast::hash(&bytes))]
            }
            Parcel::Forward(proposals) => {
                [1, proposals.len() as u64, proposals.iter().map(|proposal| proposal.context.seq).sum()]
            }
            Parcel::Refuse(refusals) => [2, refusals.len() as u64, 0],
            Parcel::Snapshot(whole) => [3, whole.1.state.index(), whole.0.term],
            Parcel::Ask(number) => [4, *number, 0],
            Parcel::Told(number, index) => [5, *number, index.unwrap_or(0)],
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Parcel::Message(message) => format!(
                "{:?} term {} log ({}, {}) commit {} entries {}{}",
                message.get_msg_type(),
                message.term,
                message.index,
                message.log_term,
                message.commit,
                message.entries.len(),
                if message.reject { " reject" } else { "" }
            ),
            Parcel::Forward(proposals) => {
                let seqs: Vec<u64> = proposals.iter().map(|proposal| proposal.context.seq).collect();
                format!("forward {seqs:?}")
            }
            Parcel::Refuse(refusals) => format!("refuse {refusals:?}"),
            Parcel::Snapshot(whole) => format!("the state at {} for term {}", whole.1.state.index(), whole.0.term),
            Parcel::Ask(number) => format!("question {number}"),
            Parcel::Told(number, index) => format!("answer {number}: {index:?}"),
        }
    }

    /// Whether it may arrive twice. Raft stands that; proposals and whole states go over connections that do not do it.
    pub fn may_repeat(&self) -> bool {
        matches!(self, Parcel::Message(_))
    }

    /// How much longer than a message it takes.
    pub fn size(&self) -> u64 {
        match self {
            Parcel::Snapshot(_) => 20,
            Parcel::Message(message) => message.entries.len() as u64 / 20,
            _ => 0,
        }
    }
}

/// What a process gave to the network and the network has not taken yet.
#[derive(Clone)]
pub(crate) struct Outbox {
    sent: Arc<Mutex<Vec<(u64, Parcel)>>>,
    machine: MemoryDisk,
}

impl Outbox {
    /// That of a process on this machine.
    pub fn new(machine: MemoryDisk) -> Outbox {
        Outbox { sent: Arc::default(), machine }
    }

    pub fn put(&self, to: u64, parcel: Parcel) {
        // A dead machine sends nothing, whatever the code on it still believes.
        if !self.machine.is_dead() {
            self.sent.lock().unwrap_or_else(PoisonError::into_inner).push((to, parcel));
        }
    }

    /// Everything that was put in since this was asked last.
    pub fn take(&self) -> Vec<(u64, Parcel)> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transport for Outbox {
    fn send(&mut self, messages: Vec<Message>) {
        messages.into_iter().for_each(|message| self.put(message.to, Parcel::Message(message)));
    }

    fn forward(&mut self, to: u64, proposals: Vec<Forward>) {
        self.put(to, Parcel::Forward(proposals));
    }

    fn refuse(&mut self, to: u64, refusals: Vec<Refusal>) {
        self.put(to, Parcel::Refuse(refusals));
    }

    fn send_snapshot(&mut self, message: Message, image: Image) {
        self.put(message.to, Parcel::Snapshot(Box::new((message, image))));
    }

    fn members(&mut self, _: &Members) {}
}
