//! gzip, gunzip, zcat, base64; and streams that are compressed on their way.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};

use super::{Call, Failure, Outcome, failed};
use crate::files::How;
use crate::stream::Fd;

const PIECE: usize = 32 << 10;

/// What is read, decompressed if it is compressed.
pub struct Source {
    fd: Fd,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    bytes: Vec<u8>,
    at: usize,
    begun: bool,
    ended: bool,
}

impl Source {
    pub fn new(fd: Fd) -> Self {
        Self { fd, gzip: None, bytes: Vec::new(), at: 0, begun: false, ended: false }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let mut piece = vec![0; PIECE];
        let mut count = self.fd.read(&mut piece).await?;
        while !self.begun && count == 1 {
            let more = self.fd.read(&mut piece[1..]).await?;
            count += more;
            self.begun = more == 0;
        }
        if !std::mem::replace(&mut self.begun, true) && piece[..count].starts_with(&[0x1f, 0x8b]) {
            self.gzip = Some(MultiGzDecoder::new(Vec::new()));
        }
        self.ended = count == 0;
        match &mut self.gzip {
            None => self.bytes.extend_from_slice(&piece[..count]),
            Some(gzip) => {
                let broken = |_| Failure::Told(1, "corrupted data".to_owned());
                gzip.write_all(&piece[..count]).map_err(broken)?;
                if self.ended {
                    gzip.try_finish().map_err(broken)?;
                }
                self.bytes.append(gzip.get_mut());
            }
        }
        Ok(())
    }

    /// Something, at most so much; nothing at the end.
    pub async fn some(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        while self.at == self.bytes.len() && !self.ended {
            self.fill().await?;
        }
        let count = most.min(self.bytes.len() - self.at);
        self.at += count;
        Ok(self.bytes[self.at - count..self.at].to_vec())
    }

    /// Exactly so much; less at the end.
    pub async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while all.len() < count {
            let piece = self.some(count - all.len()).await?;
            if piece.is_empty() {
                break;
            }
            all.extend(piece);
        }
        Ok(all)
    }
}

/// What is written, compressed if wanted.
pub struct Sink {
    fd: Fd,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Sink {
    pub fn new(fd: Fd, compressed: bool) -> Self {
        Self { fd, gzip: compressed.then(|| GzEncoder::new(Vec::new(), Compression::default())) }
    }

    pub async fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(gzip) = &mut self.gzip else { return Ok(self.fd.write(bytes).await?) };
        gzip.write_all(bytes)?;
        let out = std::mem::take(gzip.get_mut());
        Ok(self.fd.write(&out).await?)
    }

    pub async fn end(mut self) -> Result<(), Failure> {
        match self.gzip.take() {
            Some(gzip) => Ok(self.fd.write(&gzip.finish()?).await?),
            None => Ok(()),
        }
    }
}

pub async fn run(call: &Call) -> Outcome {
    if call.name == "base64" {
        return base64(call).await;
    }
    let options = call.options("cdfkqvtn123456789", "")?;
    let decompress = call.name != "gzip" || options.has('d') || options.has('t');
    for name in options.inputs() {
        let to_stdout = name == "-" || options.has('c') || call.name == "zcat";
        let input = call.input(&name)?;
        let target = match decompress {
            true => name
                .strip_suffix(".gz")
                .map(str::to_owned)
                .or_else(|| Some(format!("{}.tar", name.strip_suffix(".tgz")?))),
            false => Some(format!("{name}.gz")),
        };
        let output = match (to_stdout, target) {
            _ if options.has('t') => Fd::Null,
            (true, _) => call.fd(1),
            (false, Some(target)) => call.open(&target, How::Write)?,
            (false, None) => return failed(format!("{name}: unknown suffix - ignored")),
        };
        if decompress {
            let mut source = Source::new(input);
            loop {
                let piece = source.some(PIECE).await?;
                if source.begun && source.gzip.is_none() && !(piece.is_empty() && source.ended && name != "-") {
                    return failed("invalid magic");
                }
                if piece.is_empty() {
                    break;
                }
                output.write(&piece).await?;
            }
        } else {
            let (mut sink, mut piece) = (Sink::new(output, true), vec![0; PIECE]);
            loop {
                match input.read(&mut piece).await? {
                    0 => break,
                    count => sink.put(&piece[..count]).await?,
                }
            }
            sink.end().await?;
        }
        if !to_stdout && !options.has('k') && !options.has('t') {
            std::fs::remove_file(call.path(&name))?;
        }
    }
    Ok(0)
}

const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

async fn base64(call: &Call) -> Outcome {
    let options = call.options("di", "w")?;
    let decode = options.has('d') || options.long.iter().any(|long| long == "decode");
    let all = call.input(options.inputs()[0].as_str())?.read_all().await?;
    if decode {
        let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
        for byte in all.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'=') {
            let Some(value) = SIGNS.iter().position(|sign| sign == byte) else { return failed("truncated input") };
            bits = bits << 6 | value as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
            }
        }
        call.print(out).await?;
        return Ok(0);
    }
    let width = options.value('w').and_then(|w| w.parse().ok()).unwrap_or(76);
    let mut out = Vec::new();
    for piece in all.chunks(3) {
        let word = piece.iter().enumerate().fold(0_u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        let sign = |i: usize| if i <= piece.len() { SIGNS[(word >> (18 - 6 * i)) as usize & 63] } else { b'=' };
        out.extend((0..4).map(sign));
    }
    let text = match width {
        0 => out,
        width => out.chunks(width).flat_map(|line| line.iter().copied().chain([b'\n'])).collect(),
    };
    call.print(text).await?;
    Ok(0)
}
