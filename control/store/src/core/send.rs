//! What goes to the other servers.

use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, StateRole};

use super::Core;
use crate::disk::Disk;
use crate::storage::Needed;

impl<D: Disk> Core<D> {
    /// Raft asks for a snapshot with metadata only; here it gets what the state is now.
    pub(super) fn send(&mut self, mut messages: Vec<Message>) {
        self.vouch(&mut messages);
        let states = messages.extract_if(.., |message| message.msg_type == MessageType::MsgSnapshot);
        for mut message in states.collect::<Vec<_>>() {
            let image = self.image();
            let metadata = message.mut_snapshot().mut_metadata();
            metadata.index = image.state.index();
            metadata.term = image.state.term();
            metadata.set_conf_state(image.conf_state.clone());
            self.transport.send_snapshot(message, image);
        }
        thin(&mut messages);
        if !messages.is_empty() {
            self.transport.send(messages);
        }
    }

    /// What the others lack of the log, as far as a leader knows.
    pub(super) fn needed(&self) -> Option<Needed> {
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader {
            return None;
        }
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
        others.fold(None, |needed, (_, progress)| {
            let snapshot = progress.state == ProgressState::Snapshot;
            let from = 1 + if snapshot { progress.pending_snapshot } else { progress.matched };
            let Needed { from: least, snapshot: any } = needed.unwrap_or(Needed { from, snapshot });
            Some(Needed { from: least.min(from), snapshot: any || snapshot })
        })
    }
}

/// Leaves out what a later message to the same server says too: how far the log is committed, how far it is held.
fn thin(messages: &mut Vec<Message>) {
    if messages.len() < 2 {
        return;
    }
    // The servers to which there is a later append, and those to which there is a later answer, with its index.
    let (mut appends, mut answers): (Vec<u64>, Vec<(u64, u64)>) = (Vec::new(), Vec::new());
    let mut kept = vec![true; messages.len()];
    for (message, kept) in messages.iter().zip(&mut kept).rev() {
        match message.msg_type {
            MessageType::MsgAppend if appends.contains(&message.to) => *kept = !message.entries.is_empty(),
            MessageType::MsgAppend => appends.push(message.to),
            MessageType::MsgAppendResponse if !message.reject => {
                *kept = !answers.iter().any(|(to, index)| *to == message.to && *index >= message.index);
                answers.push((message.to, message.index));
            }
            _ => {}
        }
    }
    let mut kept = kept.into_iter();
    messages.retain(|_| kept.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::*;

    #[test]
    fn what_a_later_message_says_too_is_left_out() {
        fn append(to: u64, entries: usize) -> Message {
            let mut message = Message { to, ..Message::default() };
            message.set_msg_type(MessageType::MsgAppend);
            message.set_entries(vec![Entry::default(); entries].into());
            message
        }
        fn answer(to: u64, index: u64, reject: bool) -> Message {
            let mut message = Message { to, index, reject, ..Message::default() };
            message.set_msg_type(MessageType::MsgAppendResponse);
            message
        }
        fn check(mut messages: Vec<Message>, expected: &[usize]) {
            let before = messages.clone();
            thin(&mut messages);
            let expected: Vec<Message> = expected.iter().map(|at| before[*at].clone()).collect();
            assert_eq!(messages, expected);
        }
        check(vec![], &[]);
        check(vec![append(1, 0)], &[0]);
        check(vec![append(1, 0), append(2, 0), append(1, 3), append(2, 0)], &[2, 3]);
        check(vec![append(1, 2), append(1, 0)], &[0, 1]);
        check(vec![answer(1, 5, false), answer(1, 9, false), answer(2, 1, false)], &[1, 2]);
        check(vec![answer(1, 5, true), answer(1, 9, false)], &[0, 1]);
        check(vec![answer(1, 9, false), answer(1, 5, true)], &[0, 1]);
        check(vec![answer(1, 9, false), answer(1, 7, false)], &[0, 1]);
    }
}
