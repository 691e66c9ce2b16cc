//! md5sum and sha256sum.

use super::{Call, Outcome};
use crate::files::How;

pub async fn run(call: &Call) -> Outcome {
    let options = call.options("cbts", "")?;
    let digest = |bytes: &[u8]| if call.name == "md5sum" { md5(bytes) } else { sha256(bytes) };
    let mut status = 0;
    for name in options.inputs() {
        let bytes = call.input(&name)?.read_all().await?;
        if !options.has('c') {
            call.print(format!("{}  {name}\n", digest(&bytes))).await?;
            continue;
        }
        for line in String::from_utf8_lossy(&bytes).lines() {
            let Some((wanted, file)) = line.split_once("  ") else { continue };
            let found = match call.open(file, How::Read) {
                Ok(fd) => digest(&fd.read_all().await?),
                Err(_) => String::new(),
            };
            let good = found == wanted;
            status |= i32::from(!good);
            if !options.has('s') {
                call.print(format!("{file}: {}\n", if good { "OK" } else { "FAILED" })).await?;
            }
        }
    }
    Ok(status)
}

fn hex(words: impl Iterator<Item = u8>) -> String {
    words.map(|byte| format!("{byte:02x}")).collect()
}

/// The message with its end mark and its length in bits, which makes it whole blocks of 64 bytes.
fn padded(bytes: &[u8], length: [u8; 8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.push(0x80);
    all.resize(all.len().next_multiple_of(64), 0);
    if all.len() - bytes.len() < 9 {
        all.resize(all.len() + 64, 0);
    }
    let end = all.len() - 8;
    all[end..].copy_from_slice(&length);
    all
}

/// RFC 1321.
fn md5(bytes: &[u8]) -> String {
    const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded(bytes, (bytes.len() as u64 * 8).to_le_bytes()).chunks_exact(64) {
        let word = |i: usize| u32::from_le_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64_usize {
            let (mixed, place) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), 7 * i % 16),
            };
            let constant = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(word(place));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(TURNS[i / 16][i % 4])));
        }
        for (whole, part) in state.iter_mut().zip([a, b, c, d]) {
            *whole = whole.wrapping_add(part);
        }
    }
    hex(state.iter().flat_map(|word| word.to_le_bytes()))
}

/// The first bits behind the point of the square or cube roots of the first primes, which SHA-256 takes its constants from.
fn roots(count: usize, root: impl Fn(f64) -> f64) -> Vec<u32> {
    let primes = (2_u32..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0));
    primes.take(count).map(|prime| (root(f64::from(prime)).fract() * 4_294_967_296.0) as u32).collect()
}

/// FIPS 180-4.
pub fn sha256(bytes: &[u8]) -> String {
    let (mut state, constants) = (roots(8, f64::sqrt), roots(64, f64::cbrt));
    for block in padded(bytes, (bytes.len() as u64 * 8).to_be_bytes()).chunks_exact(64) {
        let mut words: Vec<u32> = block.chunks_exact(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect();
        for i in 16..64 {
            let (early, late) = (words[i - 15], words[i - 2]);
            let first = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
            let second = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
            words.push(words[i - 16].wrapping_add(first).wrapping_add(words[i - 7]).wrapping_add(second));
        }
        let mut s = state.clone();
        for i in 0..64 {
            let high = s[4].rotate_right(6) ^ s[4].rotate_right(11) ^ s[4].rotate_right(25);
            let choice = (s[4] & s[5]) ^ (!s[4] & s[6]);
            let sum = s[7].wrapping_add(high).wrapping_add(choice).wrapping_add(constants[i]).wrapping_add(words[i]);
            let low = s[0].rotate_right(2) ^ s[0].rotate_right(13) ^ s[0].rotate_right(22);
            let majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            s.rotate_right(1);
            s[4] = s[4].wrapping_add(sum);
            s[0] = sum.wrapping_add(low).wrapping_add(majority);
        }
        for (whole, part) in state.iter_mut().zip(s) {
            *whole = whole.wrapping_add(part);
        }
    }
    hex(state.iter().flat_map(|word| word.to_be_bytes()))
}
