//! What servers ask of the leader, and are told, as bytes.

use bytes::Bytes;

use super::PeerError;
use super::frames::{numbers, write_numbers};
use crate::codec::{Reader, write_bytes};
use crate::proposals::{Context, Forward, Refusal, Why};

/// By their bytes.
const REASONS: [Why; 4] = [Why::Full, Why::QueueFull, Why::NotLeader, Why::Refused];

/// Appends a proposal.
pub(crate) fn write_forward(Forward { context, data }: &Forward, out: &mut Vec<u8>) {
    write_bytes(out, &context.encode());
    out.extend_from_slice(data);
}

/// The proposal that `write_forward` wrote.
pub(crate) fn read_forward(content: &Bytes) -> Result<Forward, PeerError> {
    let mut reader = Reader::new(content);
    let context = Context::decode(&reader.bytes()?)?;
    Ok(Forward { context, data: reader.rest() })
}

/// Appends a refusal.
pub(crate) fn write_refusal(Refusal { origin, seq, why }: &Refusal, out: &mut Vec<u8>) {
    let reason = REASONS.iter().position(|reason| reason == why).unwrap_or_default();
    write_numbers(out, &[*origin, *seq, reason as u64], &[]);
}

/// The refusal that `write_refusal` wrote.
pub(crate) fn read_refusal(content: &Bytes) -> Result<Refusal, PeerError> {
    let ([origin, seq, reason], _) = numbers::<3>(content)?;
    let why = usize::try_from(reason).ok().and_then(|reason| REASONS.get(reason));
    let why = *why.ok_or_else(|| PeerError::Protocol("a refusal for an unknown reason".to_owned()))?;
    Ok(Refusal { origin, seq, why })
}

/// Appends the answer to a question: the log entry at or before which everything lies that was ever answered, if that is
/// known.
pub(crate) fn write_told(number: u64, index: Option<u64>, out: &mut Vec<u8>) {
    // No entry has the number 0.
    write_numbers(out, &[number, index.unwrap_or(0)], &[]);
}

/// The question's number, and the answer that `write_told` wrote.
pub(crate) fn read_told(content: &Bytes) -> Result<(u64, Option<u64>), PeerError> {
    let ([number, index], _) = numbers::<2>(content)?;
    Ok((number, Some(index).filter(|index| *index != 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_encoding() {
        for index in [None, Some(1), Some(u64::MAX)] {
            let mut bytes = Vec::new();
            write_told(300, index, &mut bytes);
            assert_eq!(read_told(&bytes.into()).unwrap(), (300, index));
        }
    }

    #[test]
    fn proposals_and_refusals_survive_encoding() {
        let context = Context { origin: u64::MAX, seq: 300, low: 2, change: None };
        let forward = Forward { context, data: Bytes::from_static(b"data") };
        let mut bytes = Vec::new();
        write_forward(&forward, &mut bytes);
        assert_eq!(read_forward(&bytes.into()).unwrap(), forward);
        for why in REASONS {
            let refusal = Refusal { origin: 1, seq: 300, why };
            let mut bytes = Vec::new();
            write_refusal(&refusal, &mut bytes);
            assert_eq!(read_refusal(&bytes.into()).unwrap(), refusal);
        }
        assert!(read_refusal(&Bytes::from_static(&[1, 1, 9])).is_err());
        assert!(read_forward(&Bytes::from_static(&[9])).is_err());
    }
}
