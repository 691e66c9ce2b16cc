//! One line of a log file.

use jiff::Timestamp;

/// The longest piece of a line in one record.
pub(crate) const MAX_TEXT: usize = 16 << 10;
/// `2026-11-21T18:26:00.123456789Z`
const TIME_LEN: usize = 30;

/// Where a guest wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A record, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// As text; texts of times compare like the times.
    pub(crate) time: &'a [u8],
    pub(crate) stream: Stream,
    /// Whether the line ends here.
    pub(crate) full: bool,
    pub(crate) text: &'a [u8],
}

/// The time as records have it.
pub(crate) fn time_text(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// Appends a record to `out`.
pub(crate) fn append(out: &mut Vec<u8>, time: &str, stream: Stream, full: bool, text: &[u8]) {
    out.extend_from_slice(time.as_bytes());
    out.push(b' ');
    out.extend_from_slice(stream.as_str().as_bytes());
    out.extend_from_slice(if full { b" F " } else { b" P " });
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Reads a record without its newline. What is none (a file that was torn) is `None`.
pub(crate) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let time = line.get(..TIME_LEN)?;
    let rest = line.get(TIME_LEN + 1..)?;
    let stream = match rest.get(..7)? {
        b"stdout " => Stream::Stdout,
        b"stderr " => Stream::Stderr,
        _ => return None,
    };
    let full = match rest.get(7..9)? {
        b"F " => true,
        b"P " => false,
        _ => return None,
    };
    Some(Record { time, stream, full, text: rest.get(9..)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let at: Timestamp = "2026-11-21T18:26:00.5Z".parse().unwrap();
        let time = time_text(at);
        assert_eq!(time, "2026-11-21T18:26:00.500000000Z");
        let mut out = Vec::new();
        append(&mut out, &time, Stream::Stderr, false, b"a b");
        assert_eq!(out, b"2026-11-21T18:26:00.500000000Z stderr P a b\n");
        let record = parse(&out[..out.len() - 1]).unwrap();
        assert_eq!(record, Record { time: time.as_bytes(), stream: Stream::Stderr, full: false, text: b"a b" });
        assert_eq!(parse(b"2026-11-21T18:26:00.500000000Z stdout F ").unwrap().text, b"");
        assert_eq!(parse(b"torn"), None);
        assert_eq!(parse(b"2026-11-21T18:26:00.500000000Z stdxut F x"), None);
    }
}
