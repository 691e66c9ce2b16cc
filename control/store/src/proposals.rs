//! What is on its way into the log: proposals of this server's own users, and of other servers that this one leads.

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, write_number};
use crate::members::Change;

/// Says of a log entry whose it is, so that it is applied once and its origin can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The start of a server's process at which it was proposed: a random number.
    pub origin: u64,
    /// Which of that origin's proposals it is; a proposal that is handed in again keeps it.
    pub seq: u64,
    /// The origin waits for none of its proposals below this one.
    pub low: u64,
    /// The change of members that it is; without one it is a transaction.
    pub change: Option<Change>,
}

const TRANSACTION: u8 = 1;
const CHANGE: u8 = 2;

impl Context {
    /// The bytes, as the log entry and the frames between servers have them.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32);
        out.push(if self.change.is_some() { CHANGE } else { TRANSACTION });
        write_number(&mut out, self.origin);
        write_number(&mut out, self.seq);
        write_number(&mut out, self.low);
        if let Some(change) = &self.change {
            change.write(&mut out);
        }
        out.into()
    }

    /// The context that `encode` wrote.
    pub fn decode(bytes: &Bytes) -> Result<Context, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.byte()?;
        let (origin, seq, low) = (reader.number()?, reader.number()?, reader.number()?);
        let change = match kind {
            TRANSACTION => None,
            CHANGE => Some(Change::read(&mut reader)?),
            _ => return reader.fail("a context of an unknown kind"),
        };
        reader.end()?;
        Ok(Context { origin, seq, low, change })
    }
}

/// A proposal on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub context: Context,
    /// The transaction's bytes; empty for a change of members.
    pub data: Bytes,
}

/// A leader's word that it did not take a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub origin: u64,
    pub seq: u64,
    pub why: Why,
}

/// Why a leader did not take a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its disk is full.
    Full,
    /// Too much of this origin waits already.
    QueueFull,
    /// It does not lead, or not any more.
    NotLeader,
    /// The change of members makes no sense to it: the origin finds out why, as it knows the members too.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::ServerId;

    #[test]
    fn a_context_survives_encoding() {
        let check = |change: Option<Change>| {
            let context = Context { origin: u64::MAX, seq: 300, low: 2, change };
            assert_eq!(Context::decode(&context.encode()), Ok(context));
        };
        check(None);
        check(Some(Change::Remove(ServerId(7))));
        assert!(Context::decode(&Bytes::new()).is_err());
        assert!(Context::decode(&Bytes::from_static(&[9, 1, 1, 1])).is_err());
    }
}
