//! What two sides say first, and whether they go on.

use bytes::Bytes;

use super::{Peer, Refused};
use crate::codec::{DecodeError, Reader, write_bytes, write_number};
use crate::membership::{Member, ServerId};

/// The protocol's version. Servers that differ in it do not speak with each other.
pub(crate) const VERSION: u64 = 2;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Raft's messages, and transactions for the leader.
    Member,
    /// One snapshot.
    Snapshot,
    /// A tool's requests.
    Client,
}

/// The dialling side's first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub version: u64,
    pub purpose: Purpose,
    /// The cluster; empty when a tool does not care.
    pub cluster: String,
    /// Who dials; not of a tool.
    pub from: Member,
    /// Whom it means to reach; not of a tool.
    pub to: ServerId,
    /// Whether the sender has no state at all.
    pub blank: bool,
}

/// The answer of a side that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub version: u64,
    pub cluster: String,
    pub server: ServerId,
    /// Whether the sender has no state at all.
    pub blank: bool,
}

/// What a server knows of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquaintance {
    /// Nothing; it may have been added without this server having heard of it yet.
    None,
    /// A member.
    Member {
        /// It has had state: it votes, or has acknowledged some.
        had_state: bool,
    },
    /// It was removed.
    Removed,
}

/// Who a server is, for whom it judges.
pub(crate) struct Judge<'a> {
    pub cluster: &'a str,
    pub me: ServerId,
}

impl Judge<'_> {
    /// Whether to go on with who dials.
    pub fn admit(&self, peer: &Peer, hello: &Hello, known: Acquaintance) -> Result<(), Refused> {
        if hello.version != VERSION {
            return Err(Refused::Version);
        }
        match (peer, hello.purpose) {
            (Peer::Client(_), Purpose::Client) if hello.cluster.is_empty() || hello.cluster == self.cluster => Ok(()),
            (Peer::Client(_), Purpose::Client) => Err(Refused::OtherCluster),
            (Peer::Server(id), Purpose::Member | Purpose::Snapshot) => {
                if hello.cluster != self.cluster {
                    return Err(Refused::OtherCluster);
                }
                if hello.from.id != *id {
                    return Err(Refused::Forbidden);
                }
                if hello.to != self.me || *id == self.me {
                    return Err(Refused::Unknown);
                }
                admit_state(hello.blank, known)
            }
            _ => Err(Refused::Forbidden),
        }
    }

    /// Whether to go on with the one who was dialled as `to`.
    pub fn accept(&self, to: ServerId, welcome: &Welcome, known: Acquaintance) -> Result<(), Refused> {
        if welcome.version != VERSION {
            return Err(Refused::Version);
        }
        if welcome.cluster != self.cluster {
            return Err(Refused::OtherCluster);
        }
        if welcome.server != to {
            return Err(Refused::Unknown);
        }
        admit_state(welcome.blank, known)
    }
}

/// A server that lost its state has forgotten its votes and what it acknowledged, and would undo both if it went on. That
/// it ever had some is known of those who vote: nobody becomes a voter without.
fn admit_state(blank: bool, known: Acquaintance) -> Result<(), Refused> {
    match known {
        Acquaintance::Removed => Err(Refused::Removed),
        Acquaintance::Member { had_state: true } if blank => Err(Refused::Wiped),
        Acquaintance::None | Acquaintance::Member { .. } => Ok(()),
    }
}

impl Hello {
    pub fn write(&self, out: &mut Vec<u8>) {
        write_number(out, self.version);
        out.push(match self.purpose {
            Purpose::Member => 0,
            Purpose::Snapshot => 1,
            Purpose::Client => 2,
        });
        write_bytes(out, self.cluster.as_bytes());
        write_number(out, self.from.id.0);
        write_bytes(out, self.from.name.as_bytes());
        write_bytes(out, self.from.address.as_bytes());
        write_number(out, self.to.0);
        out.push(u8::from(self.blank));
    }

    pub fn read(content: &Bytes) -> Result<Hello, DecodeError> {
        let mut reader = Reader::new(content);
        let version = reader.number()?;
        let purpose = match reader.byte()? {
            0 => Purpose::Member,
            1 => Purpose::Snapshot,
            2 => Purpose::Client,
            _ => return reader.fail("an unknown purpose"),
        };
        let cluster = text(&mut reader)?;
        let id = ServerId(reader.number()?);
        let from = Member { id, name: text(&mut reader)?, address: text(&mut reader)? };
        let to = ServerId(reader.number()?);
        // A later version may add to it.
        let blank = reader.byte()? != 0;
        Ok(Hello { version, purpose, cluster, from, to, blank })
    }
}

impl Welcome {
    pub fn write(&self, out: &mut Vec<u8>) {
        write_number(out, self.version);
        write_bytes(out, self.cluster.as_bytes());
        write_number(out, self.server.0);
        out.push(u8::from(self.blank));
    }

    pub fn read(content: &Bytes) -> Result<Welcome, DecodeError> {
        let mut reader = Reader::new(content);
        let version = reader.number()?;
        let cluster = text(&mut reader)?;
        let server = ServerId(reader.number()?);
        Ok(Welcome { version, cluster, server, blank: reader.byte()? != 0 })
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    match String::from_utf8(reader.bytes()?.to_vec()) {
        Ok(text) => Ok(text),
        Err(_) => reader.fail("a text is not UTF-8"),
    }
}

const REASONS: [Refused; 7] = [
    Refused::OtherCluster,
    Refused::Removed,
    Refused::Unknown,
    Refused::Version,
    Refused::TooMany,
    Refused::Forbidden,
    Refused::Wiped,
];

/// The byte that stands for a reason.
pub(crate) fn reason_byte(reason: Refused) -> u8 {
    REASONS.iter().position(|known| *known == reason).map_or(0, |position| position as u8 + 1)
}

/// The reason that a byte stands for; one that this version does not know is a matter of versions.
pub(crate) fn reason_of(byte: u8) -> Refused {
    usize::from(byte).checked_sub(1).and_then(|position| REASONS.get(position)).copied().unwrap_or(Refused::Version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ServerId = ServerId(1);
    const OTHER: ServerId = ServerId(2);
    const HAD_STATE: Acquaintance = Acquaintance::Member { had_state: true };

    fn hello() -> Hello {
        let from = Member { id: OTHER, name: "b".to_owned(), address: "b:1".to_owned() };
        Hello { version: VERSION, purpose: Purpose::Member, cluster: "c".to_owned(), from, to: ME, blank: false }
    }

    #[test]
    fn greetings_survive_encoding() {
        for purpose in [Purpose::Member, Purpose::Snapshot, Purpose::Client] {
            let hello = Hello { purpose, blank: purpose == Purpose::Member, ..hello() };
            let mut bytes = Vec::new();
            hello.write(&mut bytes);
            assert_eq!(Hello::read(&bytes.clone().into()), Ok(hello));
            assert!(Hello::read(&Bytes::copy_from_slice(&bytes[..bytes.len() - 1])).is_err());
        }
        let welcome = Welcome { version: 7, cluster: "c".to_owned(), server: OTHER, blank: true };
        let mut bytes = Vec::new();
        welcome.write(&mut bytes);
        assert_eq!(Welcome::read(&bytes.into()), Ok(welcome));
    }

    #[test]
    fn every_reason_has_its_byte() {
        for reason in REASONS {
            assert_eq!(reason_of(reason_byte(reason)), reason);
        }
        assert_eq!((reason_of(0), reason_of(200)), (Refused::Version, Refused::Version));
    }

    #[test]
    fn who_is_admitted() {
        fn check(peer: &Peer, hello: Hello, known: Acquaintance, expected: Result<(), Refused>) {
            let judge = Judge { cluster: "c", me: ME };
            assert_eq!(judge.admit(peer, &hello, known), expected, "{peer}: {hello:?}, {known:?}");
        }
        let server = Peer::Server(OTHER);
        let tool = Peer::Client("admin".to_owned());
        let blank = || Hello { blank: true, ..hello() };
        let other_cluster = || Hello { cluster: "d".to_owned(), ..hello() };
        let from_tool = || Hello { purpose: Purpose::Client, cluster: String::new(), ..hello() };
        check(&server, hello(), HAD_STATE, Ok(()));
        check(&server, hello(), Acquaintance::None, Ok(()));
        check(&server, hello(), Acquaintance::Removed, Err(Refused::Removed));
        check(&server, blank(), HAD_STATE, Err(Refused::Wiped));
        check(&server, blank(), Acquaintance::Member { had_state: false }, Ok(()));
        check(&server, blank(), Acquaintance::None, Ok(()));
        check(&server, other_cluster(), HAD_STATE, Err(Refused::OtherCluster));
        check(&server, Hello { to: ServerId(9), ..hello() }, HAD_STATE, Err(Refused::Unknown));
        check(&server, Hello { version: 9, ..hello() }, HAD_STATE, Err(Refused::Version));
        check(&Peer::Server(ServerId(3)), hello(), HAD_STATE, Err(Refused::Forbidden));
        check(&server, from_tool(), HAD_STATE, Err(Refused::Forbidden));
        check(&tool, hello(), Acquaintance::None, Err(Refused::Forbidden));
        check(&tool, from_tool(), Acquaintance::None, Ok(()));
        check(
            &tool,
            Hello { purpose: Purpose::Client, ..other_cluster() },
            Acquaintance::None,
            Err(Refused::OtherCluster),
        );
    }

    #[test]
    fn who_is_gone_on_with() {
        fn check(welcome: Welcome, known: Acquaintance, expected: Result<(), Refused>) {
            let judge = Judge { cluster: "c", me: ME };
            assert_eq!(judge.accept(OTHER, &welcome, known), expected, "{welcome:?}, {known:?}");
        }
        let welcome = || Welcome { version: VERSION, cluster: "c".to_owned(), server: OTHER, blank: false };
        check(welcome(), HAD_STATE, Ok(()));
        check(Welcome { blank: true, ..welcome() }, HAD_STATE, Err(Refused::Wiped));
        check(Welcome { blank: true, ..welcome() }, Acquaintance::Member { had_state: false }, Ok(()));
        check(Welcome { server: ServerId(3), ..welcome() }, HAD_STATE, Err(Refused::Unknown));
        check(Welcome { cluster: "d".to_owned(), ..welcome() }, HAD_STATE, Err(Refused::OtherCluster));
        check(Welcome { version: 9, ..welcome() }, HAD_STATE, Err(Refused::Version));
    }
}
