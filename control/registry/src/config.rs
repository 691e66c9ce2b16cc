//! What a registry is told once, when it is made.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use pal_resources::Status;

/// A block of IPv4 addresses, as `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: u32,
    prefix: u8,
}

impl Cidr {
    /// The block of `prefix` leading bits that `address` lies in. At most 30 bits, so that there is something to give out.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = if prefix > 30 { 30 } else { prefix };
        let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - prefix as u32) };
        Self { network: address.to_bits() & mask, prefix }
    }

    /// Reads `10.96.0.0/16`.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let wrong = || Status::bad_request(format!("invalid CIDR address: {text}"));
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if prefix > 30 {
            return Err(wrong());
        }
        Ok(Self::new(address, prefix))
    }

    /// How many addresses can be given out: neither the network's own nor the broadcast address.
    pub const fn usable(self) -> u32 {
        // `prefix` is at most 30; a block of all addresses counts one short of what it has.
        (((1_u64 << (32 - self.prefix as u64)) - 2) & 0xffff_ffff) as u32
    }

    /// The address number `offset` (from 1) of the block.
    pub const fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.wrapping_add(offset))
    }

    /// Whether `address` can be given out from this block.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        let offset = address.to_bits().wrapping_sub(self.network);
        offset >= 1 && offset <= self.usable()
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.network), self.prefix)
    }
}

/// What a registry is told once, when it is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Services get their addresses from.
    pub service_cidr: Cidr,
    /// Where Services get their node ports from.
    pub node_ports: RangeInclusive<u16>,
    /// How long a pod tolerates a node that is not ready or not reachable, unless it says.
    pub toleration_seconds: i64,
    /// How long an Event is kept after it was last written.
    pub event_ttl: Duration,
    /// The DNS domain of the cluster.
    pub cluster_domain: String,
    /// The largest object that is stored, in bytes of JSON.
    pub object_limit_bytes: usize,
    /// How long the later pages of a list can be asked for.
    pub continue_ttl: Duration,
    /// For how many revisions later pages can be asked for at the same time.
    pub continue_snapshots: usize,
    /// How often a watch that asked for bookmarks gets one.
    pub bookmark_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_cidr: Cidr::new(Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: 30000..=32767,
            toleration_seconds: 3,
            event_ttl: Duration::from_secs(3600),
            cluster_domain: "cluster.local".to_owned(),
            object_limit_bytes: 1_572_864,
            continue_ttl: Duration::from_secs(300),
            continue_snapshots: 64,
            bookmark_interval: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_out_what_lies_between_its_ends() {
        fn check(block: &str, address: &str, expected: bool) {
            let block = Cidr::parse(block).expect("a block");
            assert_eq!(block.contains(address.parse().expect("an address")), expected, "{block} {address}");
        }
        check("10.96.0.0/16", "10.96.0.1", true);
        check("10.96.0.0/16", "10.96.0.0", false);
        check("10.96.0.0/16", "10.96.255.254", true);
        check("10.96.0.0/16", "10.96.255.255", false);
        check("10.96.0.0/16", "10.97.0.1", false);
        check("10.96.7.9/30", "10.96.7.9", true);
        check("10.96.7.9/30", "10.96.7.11", false);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in ["", "10.96.0.0", "10.96.0/16", "10.96.0.0/33", "10.96.0.0/31", "::1/64"] {
            assert_eq!(Cidr::parse(text).map_err(|status| status.code), Err(400), "{text}");
        }
    }
}
