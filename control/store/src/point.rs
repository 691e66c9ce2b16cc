//! What a stored state says of itself, beside its objects.

use std::sync::Arc;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::ConfState;

use crate::codec::{DecodeError, Reader, write_bytes, write_number};
use crate::key::Revision;
use crate::members::Members;
use crate::sessions::Sessions;

/// The bytes' version. The first one had neither members nor sessions.
const VERSION: u8 = 2;

/// Where in the log a state stands, and what of it is small.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub index: u64,
    pub term: u64,
    pub revision: Revision,
    pub conf_state: ConfState,
    pub members: Arc<Members>,
    pub sessions: Sessions,
}

impl Point {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        write_number(&mut out, self.index);
        write_number(&mut out, self.term);
        write_number(&mut out, self.revision.0);
        // Writing a message of integers into memory cannot fail; an empty one would be refused on loading.
        let conf_state = self.conf_state.write_to_bytes().unwrap_or_default();
        write_bytes(&mut out, &conf_state);
        self.members.write(&mut out);
        self.sessions.write(&mut out);
        out
    }

    /// The point that `encode` wrote, by this version or an earlier one, for a server that has members.
    pub fn decode(bytes: &[u8]) -> Result<Point, String> {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut reader = Reader::new(&bytes);
        let point = Point::read(&mut reader).and_then(|point| reader.end().map(|()| point));
        let point = point.map_err(|error| format!("the applied index: {error}"))?;
        if point.conf_state.voters.is_empty() {
            return Err("the members: there are none".to_owned());
        }
        Ok(point)
    }

    /// The point that `encode` wrote, whatever follows it.
    pub fn read(reader: &mut Reader<'_>) -> Result<Point, DecodeError> {
        let version = reader.byte()?;
        if !(1..=VERSION).contains(&version) {
            return reader.fail("the version is not known");
        }
        let (index, term, revision) = (reader.number()?, reader.number()?, Revision(reader.number()?));
        let conf_state = if version == 1 { reader.rest() } else { reader.bytes()? };
        let Ok(conf_state) = ConfState::parse_from_bytes(&conf_state) else {
            return reader.fail("the members make no sense");
        };
        let point = Point { index, term, revision, conf_state, ..Point::default() };
        if version == 1 {
            return Ok(point);
        }
        Ok(Point { members: Arc::new(Members::read(reader)?), sessions: Sessions::read(reader)?, ..point })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Change;
    use crate::membership::{Member, ServerId};

    fn conf_state() -> ConfState {
        ConfState { voters: vec![1, 2], learners: vec![3], ..ConfState::default() }
    }

    #[test]
    fn a_point_survives_encoding() {
        let mut members = Members::default();
        members.apply(&Change::Add(Member { id: ServerId(1), name: "a".to_owned(), address: "a:1".to_owned() }));
        members.apply(&Change::Remove(ServerId(2)));
        let mut sessions = Sessions::default();
        sessions.admit(5, 6, 6, 300);
        let point = Point {
            index: 300,
            term: 4,
            revision: Revision(200),
            conf_state: conf_state(),
            members: Arc::new(members),
            sessions,
        };
        assert_eq!(Point::decode(&point.encode()), Ok(point));
    }

    #[test]
    fn the_first_version_is_understood_and_nonsense_is_not() {
        let mut first = vec![1, 7, 2, 5];
        first.extend_from_slice(&conf_state().write_to_bytes().unwrap());
        let point = Point { index: 7, term: 2, revision: Revision(5), conf_state: conf_state(), ..Point::default() };
        assert_eq!(Point::decode(&first), Ok(point));
        assert_eq!(Point::decode(&[1, 7, 2, 5]), Err("the members: there are none".to_owned()));
        assert_eq!(
            Point::decode(&[3, 7, 2, 5]),
            Err("the applied index: at byte 1: the version is not known".to_owned())
        );
        assert_eq!(Point::decode(&[]), Err("the applied index: at byte 0: it ends too early".to_owned()));
    }
}
