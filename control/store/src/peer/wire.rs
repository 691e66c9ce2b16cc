//! Reading frames off a stream, the greeting, and the last word.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frames::{Frame, Kind, MAX_FRAME, MAX_GREETING, NoFrame, Splitter, write_frame};
use super::hello::{Hello, Welcome, reason_byte, reason_of};
use super::{PeerError, Refused};
use crate::codec::DecodeError;

/// The whole greeting takes no longer.
pub(crate) const GREETING_LIMIT: Duration = Duration::from_secs(2);
/// A last word takes no longer.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);
/// No last word is longer.
const FAREWELL_BYTES: usize = 1 << 10;

/// The reading half of a stream.
pub(crate) struct FrameReader<R> {
    stream: R,
    splitter: Splitter,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A stream that nothing was read of; only a short frame is taken until the greeting is over.
    pub fn new(stream: R) -> FrameReader<R> {
        FrameReader { stream, splitter: Splitter::new(MAX_GREETING) }
    }

    /// The next frame, or `None` where the stream ends. Nothing may be missing for longer than `silence`. Nothing is lost
    /// when the future is dropped.
    pub async fn next(&mut self, silence: Duration) -> Result<Option<Frame>, PeerError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            let read = self.stream.read_buf(self.splitter.room());
            let count = tokio::time::timeout(silence, read).await.map_err(|_| PeerError::Silent(silence))??;
            if count == 0 && self.splitter.is_amid() {
                return Err(PeerError::Protocol("the stream ended within a frame".to_owned()));
            }
            if count == 0 {
                return Ok(None);
            }
        }
    }

    /// The next frame if it has been read already.
    pub fn buffered(&mut self) -> Result<Option<Frame>, PeerError> {
        Ok(self.splitter.next()?)
    }

    /// The next frame of a side that has not said goodbye.
    pub async fn expect(&mut self, silence: Duration) -> Result<Frame, PeerError> {
        let frame = self.next(silence).await?.ok_or_else(PeerError::ended)?;
        match frame.kind {
            Kind::Goodbye => Err(unexpected(&frame)),
            Kind::Refused => Err(PeerError::Refused(reason_of(frame.content.first().copied().unwrap_or_default()))),
            _ => Ok(frame),
        }
    }

    /// Until the other side ends the stream, which says nothing but that it is there.
    #[cfg(test)]
    pub async fn listen(&mut self, silence: Duration) -> PeerError {
        loop {
            match self.expect(silence).await {
                Ok(Frame { kind: Kind::Alive, .. }) => {}
                Ok(frame) => return unexpected(&frame),
                Err(error) => return error,
            }
        }
    }
}

/// A frame that has no business here, or that says why the stream ends.
pub(crate) fn unexpected(frame: &Frame) -> PeerError {
    if frame.kind == Kind::Goodbye {
        return PeerError::Told(String::from_utf8_lossy(&frame.content).into_owned());
    }
    PeerError::Protocol(format!("a frame of kind {:?} does not belong here", frame.kind))
}

impl From<NoFrame> for PeerError {
    fn from(error: NoFrame) -> PeerError {
        PeerError::Protocol(error.to_string())
    }
}

impl From<DecodeError> for PeerError {
    fn from(error: DecodeError) -> PeerError {
        PeerError::Protocol(error.to_string())
    }
}

/// Says hello, and returns the answer of a side that wants to go on.
pub(crate) async fn greet<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    hello: &Hello,
) -> Result<Welcome, PeerError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let greeting = async {
        write(writer, Kind::Hello, |out| hello.write(out)).await?;
        let frame = reader.expect(GREETING_LIMIT).await?;
        if frame.kind != Kind::Welcome {
            return Err(unexpected(&frame));
        }
        Ok(Welcome::read(&frame.content)?)
    };
    let welcome = limited(greeting).await?;
    reader.splitter.limit(MAX_FRAME);
    Ok(welcome)
}

/// Waits for the other side's hello.
pub(crate) async fn greeted<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<Hello, PeerError> {
    let greeting = async {
        let frame = reader.next(GREETING_LIMIT).await?.ok_or_else(PeerError::ended)?;
        if frame.kind != Kind::Hello {
            return Err(unexpected(&frame));
        }
        Ok(Hello::read(&frame.content)?)
    };
    let hello = limited(greeting).await?;
    reader.splitter.limit(MAX_FRAME);
    Ok(hello)
}

/// Answers a hello.
pub(crate) async fn welcome<W: AsyncWrite + Unpin>(writer: &mut W, welcome: &Welcome) -> Result<(), PeerError> {
    limited(write(writer, Kind::Welcome, |out| welcome.write(out))).await
}

async fn limited<T>(greeting: impl Future<Output = Result<T, PeerError>>) -> Result<T, PeerError> {
    tokio::time::timeout(GREETING_LIMIT, greeting).await.map_err(|_| PeerError::Silent(GREETING_LIMIT))?
}

/// Writes one frame.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    kind: Kind,
    content: impl FnOnce(&mut Vec<u8>),
) -> Result<(), PeerError> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, kind, content);
    writer.write_all(&bytes).await?;
    Ok(writer.flush().await?)
}

/// Ends a stream with what went wrong, so that the other side can say so. The stream may have broken, so nothing depends
/// on it.
pub(crate) async fn farewell<W: AsyncWrite + Unpin>(writer: &mut W, error: &PeerError) {
    let word = async {
        match error {
            PeerError::Refused(why) => write(writer, Kind::Refused, |out| out.push(reason_byte(*why))).await?,
            PeerError::Io { .. } | PeerError::Told(_) => return Ok(()),
            other => {
                let text = other.to_string();
                let text = &text.as_bytes()[..text.len().min(FAREWELL_BYTES)];
                write(writer, Kind::Goodbye, |out| out.extend_from_slice(text)).await?;
            }
        }
        writer.shutdown().await.map_err(PeerError::from)
    };
    let _ = tokio::time::timeout(FAREWELL_LIMIT, word).await;
}

impl PeerError {
    /// The other side closed the stream.
    pub(crate) fn ended() -> PeerError {
        PeerError::from(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the other side closed the stream"))
    }
}

impl From<Refused> for PeerError {
    fn from(why: Refused) -> PeerError {
        PeerError::Refused(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_millis(20);

    async fn read(bytes: &[u8], ends: bool) -> Result<Option<Kind>, String> {
        let (mut near, far) = tokio::io::duplex(1000);
        near.write_all(bytes).await.unwrap();
        let mut reader = FrameReader::new(far);
        if ends {
            drop(near);
        }
        let frame = reader.next(SILENCE).await;
        frame.map(|frame| frame.map(|frame| frame.kind)).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_can_come_of_a_read() {
        let silent = || Err("nothing came for 20 ms".to_owned());
        assert_eq!(read(b"", true).await, Ok(None));
        assert_eq!(read(b"", false).await, silent());
        assert_eq!(read(b"\x01\0\0\0\x04", false).await, Ok(Some(Kind::Alive)));
        assert_eq!(read(b"\x01\0\0\0\x04", true).await, Ok(Some(Kind::Alive)));
        assert_eq!(read(b"\x02\0\0\0\x04", false).await, silent());
        let cut = "at odds with the protocol: the stream ended within a frame";
        assert_eq!(read(b"\x02\0\0\0\x04", true).await, Err(cut.to_owned()));
        let long = "at odds with the protocol: a frame of 542393671 bytes is over the limit of 4096";
        assert_eq!(read(b"GET / HTTP/1.1\r\n", false).await, Err(long.to_owned()));
    }

    #[tokio::test]
    async fn a_last_word_is_understood() {
        async fn check(error: PeerError, expected: &str) {
            let (mut near, far) = tokio::io::duplex(10_000);
            farewell(&mut near, &error).await;
            let mut reader = FrameReader::new(far);
            assert_eq!(reader.listen(SILENCE).await.to_string(), expected);
        }
        check(PeerError::Refused(Refused::Removed), &PeerError::Refused(Refused::Removed).to_string()).await;
        check(PeerError::Closed, "the other side: the store is closed").await;
        check(
            PeerError::Protocol("x".repeat(9000)),
            &format!("the other side: {}", &PeerError::Protocol("x".repeat(9000)).to_string()[..1024]),
        )
        .await;
        check(PeerError::ended(), "nothing came for 20 ms").await;
    }
}
