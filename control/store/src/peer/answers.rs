//! What tools ask and are told, as bytes.

use std::path::PathBuf;

use bytes::Bytes;

use super::frames::{numbers, write_numbers};
use crate::codec::DecodeError;
use crate::error::StoreError;
use crate::key::Revision;
use crate::membership::ServerId;

const COMMITTED: u64 = 0;
const GUARDED: u64 = 1;
const FOUND: u64 = 2;
const ABSENT: u64 = 3;
const FAILED: u64 = 4;

/// What a server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The transaction was applied at this revision.
    Committed(Revision),
    /// The guard at this position did not hold.
    Guarded(u64),
    /// The key's value and the revision that made it.
    Found(Revision, Bytes),
    /// There is no such key.
    Absent,
    /// It could not be done.
    Failed(StoreError),
}

impl Answer {
    /// Appends the answer to request `seq`.
    pub fn write(&self, seq: u64, out: &mut Vec<u8>) {
        match self {
            Answer::Committed(revision) => write_numbers(out, &[seq, COMMITTED, revision.0], &[]),
            Answer::Guarded(guard) => write_numbers(out, &[seq, GUARDED, *guard], &[]),
            Answer::Found(modified, value) => write_numbers(out, &[seq, FOUND, modified.0], value),
            Answer::Absent => write_numbers(out, &[seq, ABSENT, 0], &[]),
            Answer::Failed(error) => {
                let (code, text) = error_code(error);
                write_numbers(out, &[seq, FAILED, code], text.as_bytes());
            }
        }
    }

    /// The request's number and the answer.
    pub fn read(content: &Bytes) -> Result<(u64, Answer), DecodeError> {
        let ([seq, kind, number], rest) = numbers::<3>(content)?;
        let answer = match kind {
            COMMITTED => Answer::Committed(Revision(number)),
            GUARDED => Answer::Guarded(number),
            FOUND => Answer::Found(Revision(number), rest),
            ABSENT => Answer::Absent,
            FAILED => Answer::Failed(error_of(number, &rest)),
            _ => return Err(DecodeError { at: 0, what: "an answer of an unknown kind" }),
        };
        Ok((seq, answer))
    }
}

/// The errors that a tool can act on keep their kind; the others keep their words.
fn error_code(error: &StoreError) -> (u64, String) {
    let text = match error {
        StoreError::Full { path } => path.display().to_string(),
        StoreError::Invalid(text) | StoreError::Failed(text) => text.clone(),
        StoreError::TooLarge { size, limit } => format!("{size} {limit}"),
        StoreError::NotMember(id) => id.to_string(),
        other => other.to_string(),
    };
    let code = match error {
        StoreError::QueueFull => 1,
        StoreError::NoLeader => 2,
        StoreError::Unknown => 3,
        StoreError::Full { .. } => 4,
        StoreError::TooLarge { .. } => 5,
        StoreError::Invalid(_) => 6,
        StoreError::Closed => 7,
        StoreError::Removed => 8,
        StoreError::NotMember(_) => 9,
        _ => 0,
    };
    (code, text)
}

fn error_of(code: u64, text: &[u8]) -> StoreError {
    let text = String::from_utf8_lossy(text).into_owned();
    let sizes = || text.split_once(' ').and_then(|(size, limit)| Some((size.parse().ok()?, limit.parse().ok()?)));
    match code {
        1 => StoreError::QueueFull,
        2 => StoreError::NoLeader,
        3 => StoreError::Unknown,
        4 => StoreError::Full { path: PathBuf::from(text) },
        5 if let Some((size, limit)) = sizes() => StoreError::TooLarge { size, limit },
        6 => StoreError::Invalid(text),
        7 => StoreError::Closed,
        8 => StoreError::Removed,
        9 if let Ok(id) = text.parse::<ServerId>() => StoreError::NotMember(id),
        _ => StoreError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_encoding() {
        fn check(answer: Answer) {
            let mut bytes = Vec::new();
            answer.write(300, &mut bytes);
            let (seq, found) = Answer::read(&bytes.into()).unwrap();
            assert_eq!((seq, format!("{found:?}")), (300, format!("{answer:?}")));
        }
        check(Answer::Committed(Revision(u64::MAX)));
        check(Answer::Guarded(2));
        check(Answer::Found(Revision(7), Bytes::from_static(b"value")));
        check(Answer::Absent);
        for error in [
            StoreError::QueueFull,
            StoreError::NoLeader,
            StoreError::Unknown,
            StoreError::Full { path: "log/1".into() },
            StoreError::TooLarge { size: 9, limit: 8 },
            StoreError::Invalid("a key is empty".to_owned()),
            StoreError::Closed,
            StoreError::Removed,
            StoreError::NotMember(ServerId(9)),
            StoreError::Failed("the disk is broken".to_owned()),
        ] {
            check(Answer::Failed(error));
        }
    }

    #[test]
    fn foreign_bytes_are_an_error() {
        assert!(Answer::read(&Bytes::from_static(&[1, 9, 0])).is_err());
        assert!(Answer::read(&Bytes::from_static(&[1])).is_err());
        let mut bytes = Vec::new();
        write_numbers(&mut bytes, &[1, FAILED, 5], b"x");
        let (_, answer) = Answer::read(&bytes.into()).unwrap();
        assert!(matches!(answer, Answer::Failed(StoreError::Failed(_))));
    }
}
