//! The pods' addresses: one out of the node's blocks for each, not given again soon after it was freed.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A block of addresses, `100.64.3.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Block {
    first: u32,
    bits: u32,
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.bits)
    }
}

impl From<Block> for String {
    fn from(block: Block) -> Self {
        block.to_string()
    }
}

impl TryFrom<String> for Block {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no block of addresses"))
    }
}

impl Block {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits) = (address.parse::<Ipv4Addr>().ok()?, bits.parse::<u32>().ok()?);
        let first = u32::from(address);
        let mask = u32::MAX.checked_shl(32 - bits).filter(|_| (8..=30).contains(&bits))?;
        (first & !mask == 0).then_some(Self { first, bits })
    }

    fn size(self) -> u32 {
        1 << (32 - self.bits)
    }

    fn contains(self, ip: u32) -> bool {
        ip.wrapping_sub(self.first) < self.size()
    }

    /// The first three octets of each /24 in it; of a smaller block, of the one that it is in.
    pub(crate) fn thirds(self) -> impl Iterator<Item = [u8; 3]> {
        let count = (self.size() / 256).max(1);
        (0..count).map(move |n| {
            let [a, b, c, _] = (self.first + n * 256).to_be_bytes();
            [a, b, c]
        })
    }
}

#[derive(Default)]
struct Pool {
    used: HashSet<u32>,
    /// Freed ones, the longest free first.
    freed: VecDeque<u32>,
    /// How many were handed out of each block from its beginning.
    next: u32,
}

/// Hands out addresses.
pub(crate) struct Addresses {
    blocks: watch::Sender<Vec<Block>>,
    pool: Mutex<Pool>,
}

impl Addresses {
    pub(crate) fn new(blocks: Vec<Block>) -> Self {
        Self { blocks: watch::Sender::new(blocks), pool: Mutex::default() }
    }

    /// The node has these blocks now. Returns whether that is news.
    pub(crate) fn set_blocks(&self, blocks: Vec<Block>) -> bool {
        self.blocks.send_if_modified(|old| {
            let news = *old != blocks;
            if news {
                *old = blocks;
            }
            news
        })
    }

    /// Keeps an address that a pod has had since before; false if it cannot have it any more.
    pub(crate) fn reserve(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        let ip = u32::from(ip);
        let blocks = self.blocks.borrow();
        let known = blocks.is_empty() || blocks.iter().any(|b| b.contains(ip));
        known && self.pool.lock().unwrap_or_else(PoisonError::into_inner).used.insert(ip)
    }

    /// An address, once the node has a block.
    pub(crate) async fn allocate(&self, limit: Duration) -> Result<Ipv4Addr, String> {
        let mut blocks = self.blocks.subscribe();
        let there = tokio::time::timeout(limit, blocks.wait_for(|blocks| !blocks.is_empty())).await;
        let blocks = match there {
            Ok(Ok(blocks)) => blocks.clone(),
            _ => return Err("the node has no block of pod addresses yet (Node.spec.podCIDR)".to_owned()),
        };
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.take(&blocks).map(Ipv4Addr::from).ok_or_else(|| "all addresses of the node's blocks are in use".to_owned())
    }

    pub(crate) fn release(&self, ip: IpAddr) {
        if let IpAddr::V4(ip) = ip {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.used.remove(&ip.into()) {
                pool.freed.push_back(ip.into());
            }
        }
    }
}

impl Pool {
    fn take(&mut self, blocks: &[Block]) -> Option<u32> {
        let total: u32 = blocks.iter().map(|b| b.size()).sum();
        while self.next < total {
            let ip = nth(blocks, self.next)?;
            self.next += 1;
            let last = ip & 0xff;
            // The first and last of a block have meanings elsewhere.
            if last != 0 && last != 255 && self.used.insert(ip) {
                return Some(ip);
            }
        }
        while let Some(ip) = self.freed.pop_front() {
            if blocks.iter().any(|b| b.contains(ip)) && self.used.insert(ip) {
                return Some(ip);
            }
        }
        None
    }
}

fn nth(blocks: &[Block], mut n: u32) -> Option<u32> {
    for block in blocks {
        if n < block.size() {
            return Some(block.first + n);
        }
        n -= block.size();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn addresses_are_unique_and_reused_last() {
        let blocks = ["100.64.0.0/30", "100.64.9.252/30"].map(|b| Block::parse(b).unwrap());
        let addresses = Addresses::new(blocks.to_vec());
        assert!(addresses.reserve(ip("100.64.0.2")));
        assert!(!addresses.reserve(ip("100.64.0.2")));
        assert!(!addresses.reserve(ip("10.0.0.1")));
        let mut taken = Vec::new();
        while let Ok(ip) = addresses.allocate(Duration::ZERO).await {
            taken.push(ip.to_string());
            if taken.len() == 2 {
                addresses.release(ip.into());
            }
        }
        assert_eq!(taken, ["100.64.0.1", "100.64.0.3", "100.64.9.252", "100.64.9.253", "100.64.9.254", "100.64.0.3"]);
    }

    #[tokio::test]
    async fn without_a_block_the_pod_waits_and_is_told_why() {
        let addresses = Addresses::new(Vec::new());
        let why = addresses.allocate(Duration::ZERO).await.unwrap_err();
        assert!(why.contains("podCIDR"), "{why}");
        assert!(addresses.set_blocks(vec![Block::parse("100.64.3.0/24").unwrap()]));
        assert_eq!(addresses.allocate(Duration::ZERO).await.unwrap().to_string(), "100.64.3.1");
    }

    #[test]
    fn a_block_is_whole_and_not_too_large() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(Block::parse(text).map(|b| b.thirds().count()), expected, "{text}")
        };
        check("100.64.3.0/24", Some(1));
        check("100.64.16.0/20", Some(16));
        check("100.64.3.128/25", Some(1));
        check("100.64.3.1/24", None);
        check("100.64.3.0", None);
        check("0.0.0.0/0", None);
        check("fd00::/64", None);
    }
}
