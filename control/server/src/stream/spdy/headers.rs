//! Blocks of headers, compressed: one zlib stream for each direction of a connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::dictionary::dictionary;
use super::frame::SpdyError;

/// Names, in small letters, and values.
pub(crate) type Headers = Vec<(String, String)>;

/// The most that a block may grow to.
const LONGEST: usize = 16 * 1024;

/// Reads the blocks of one direction.
pub(super) struct Inflate(Decompress);

/// Writes the blocks of one direction.
pub(super) struct Deflate {
    zlib: Compress,
    begun: bool,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// The headers of the next block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, SpdyError> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut plain = Vec::with_capacity(LONGEST);
        while !block.is_empty() {
            let (consumed, produced) = (self.0.total_in(), plain.len());
            let outcome = self.0.decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let consumed = usize::try_from(self.0.total_in() - consumed).unwrap_or(usize::MAX);
            block = block.get(consumed..).unwrap_or_default();
            match outcome {
                Ok(_) if plain.len() >= LONGEST => return Err(SpdyError::Headers),
                // What is left was of no use, and would be of none again.
                Ok(_) if consumed == 0 && plain.len() == produced => return Err(SpdyError::Headers),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| SpdyError::Headers)?;
                }
                Err(_) => return Err(SpdyError::Headers),
            }
        }
        Ok(plain)
    }
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self { zlib: Compress::new(Compression::fast(), true), begun: false }
    }

    /// A block of these headers.
    pub(super) fn write(&mut self, headers: &Headers) -> Result<Vec<u8>, SpdyError> {
        if !self.begun {
            self.zlib.set_dictionary(&dictionary()).map_err(|_| SpdyError::Headers)?;
            self.begun = true;
        }
        let plain = plain(headers);
        let mut block = Vec::with_capacity(plain.len() + 256);
        self.zlib.compress_vec(&plain, &mut block, FlushCompress::Sync).map_err(|_| SpdyError::Headers)?;
        Ok(block)
    }
}

fn plain(headers: &Headers) -> Vec<u8> {
    // Our own headers are few and short.
    let mut out = (headers.len() as u32).to_be_bytes().to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn parse(mut plain: &[u8]) -> Result<Headers, SpdyError> {
    let pairs = number(&mut plain)?;
    let mut headers = Headers::new();
    for _ in 0..pairs {
        let name = text(&mut plain)?;
        headers.push((name, text(&mut plain)?));
    }
    Ok(headers)
}

fn number(plain: &mut &[u8]) -> Result<u32, SpdyError> {
    let (number, rest) = plain.split_first_chunk::<4>().ok_or(SpdyError::Headers)?;
    *plain = rest;
    Ok(u32::from_be_bytes(*number))
}

fn text(plain: &mut &[u8]) -> Result<String, SpdyError> {
    let length = number(plain)? as usize;
    let (text, rest) = plain.split_at_checked(length).ok_or(SpdyError::Headers)?;
    *plain = rest;
    String::from_utf8(text.to_vec()).map_err(|_| SpdyError::Headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &str) -> Headers {
        [("streamtype", kind), ("port", "80"), ("requestid", "0")].map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec()
    }

    #[test]
    fn blocks_of_another_zlib_are_read_one_after_the_other() {
        let blocks = [
            (
                "error",
                "78f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a024cc64610024398b209198094adc8c0600000000ffff",
            ),
            ("data", "c2aa15540a2512d209000000ffff"),
        ];
        let mut inflate = Inflate::new();
        for (kind, block) in blocks {
            let block = hex::decode(block).expect("digits");
            assert_eq!(inflate.read(&block), Ok(headers(kind)));
        }
        assert_eq!(inflate.read(b"nonsense"), Err(SpdyError::Headers));
    }

    #[test]
    fn blocks_are_read_as_they_were_written() {
        let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
        for kind in ["error", "data", "data"] {
            let block = deflate.write(&headers(kind)).expect("a block");
            assert_eq!(inflate.read(&block), Ok(headers(kind)));
        }
    }

    #[test]
    fn a_block_that_grows_too_large_is_refused() {
        let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
        let bomb = deflate.write(&vec![("a".to_owned(), "x".repeat(LONGEST * 4))]).expect("a block");
        assert!(bomb.len() < 1024, "{}", bomb.len());
        assert_eq!(inflate.read(&bomb), Err(SpdyError::Headers));
    }
}
