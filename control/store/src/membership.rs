//! Who belongs to a cluster, as a store's users see it.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use crate::key::Revision;

/// A server of a cluster. Written as 16 hexadecimal digits. Never 0, and never given twice in one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u64);

impl ServerId {
    /// An id that nobody has: 63 random bits.
    pub fn random() -> ServerId {
        // Never 0, which raft takes for "nobody".
        ServerId(uuid::Uuid::new_v4().as_u64_pair().0 | 1)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text that is no server's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a server's id: 16 hexadecimal digits, not all of them 0")]
pub struct NotAServerId {
    /// The text.
    pub text: String,
}

impl FromStr for ServerId {
    type Err = NotAServerId;

    fn from_str(text: &str) -> Result<ServerId, NotAServerId> {
        let refused = || NotAServerId { text: text.to_owned() };
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if is_hex { u64::from_str_radix(text, 16) } else { Ok(0) };
        match number.map_err(|_: ParseIntError| refused())? {
            0 => Err(refused()),
            number => Ok(ServerId(number)),
        }
    }
}

/// A server as the cluster's own record has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Which it is.
    pub id: ServerId,
    /// What people call it; no two members have the same.
    pub name: String,
    /// `host:port` under which the API and the other servers reach it; no two members have the same.
    pub address: String,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It votes, and its disk counts for a write's majority.
    Voter,
    /// It is catching up, and votes as soon as it has.
    Learner,
}

/// How far a member is, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last log entry that it is known to hold.
    pub matched: u64,
    /// Whether it was heard of lately.
    pub active: bool,
}

/// A member and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Who.
    pub member: Member,
    /// What it may do.
    pub standing: Standing,
    /// Whether it leads, as far as the server that was asked knows.
    pub leads: bool,
    /// How far it is; known to the leader only.
    pub progress: Option<Progress>,
}

/// The cluster as one server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The server that was asked.
    pub me: ServerId,
    /// Who leads, if that is known.
    pub leader: Option<ServerId>,
    /// All members, in the order of their ids.
    pub members: Vec<MemberStatus>,
    /// The last log entry that this server has applied.
    pub applied: u64,
    /// The revision of the last change that this server has applied.
    pub revision: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_sixteen_digits() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(text.parse::<ServerId>().ok().map(|id| id.0), expected, "{text:?}");
        }
        check("00000000000000ff", Some(255));
        check("FFFFFFFFFFFFFFFF", Some(u64::MAX));
        check("0000000000000000", None);
        check("ff", None);
        check("", None);
        check("+0000000000000ff", None);
        check("00000000000000fg", None);
        let id = ServerId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
