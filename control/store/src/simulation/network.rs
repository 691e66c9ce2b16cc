//! The simulated network: what happens to a parcel between two servers.

use std::collections::{BTreeMap, BTreeSet};

use super::MS;
use super::random::Random;

/// How one direction between two servers behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Link {
    /// Lost, of a thousand.
    pub loss: u64,
    /// Delivered twice, of a thousand.
    pub twice: u64,
    /// Overtaken by later ones, of a thousand.
    pub late: u64,
    /// The least and the most time that it takes, in nanoseconds.
    pub delay: (u64, u64),
}

/// A good link in one rack.
pub(crate) const GOOD: Link = Link { loss: 0, twice: 0, late: 0, delay: (MS / 20, MS) };

/// All links.
pub(crate) struct Network {
    random: Random,
    usual: Link,
    special: BTreeMap<(u64, u64), Link>,
    cut: BTreeSet<(u64, u64)>,
    /// When the last parcel of each link arrives: usually none overtakes another.
    last: BTreeMap<(u64, u64), u64>,
}

impl Network {
    pub fn new(random: Random) -> Network {
        let (special, cut, last) = Default::default();
        Network { random, usual: GOOD, special, cut, last }
    }

    /// How links behave from now on.
    pub fn behave(&mut self, usual: Link) {
        self.usual = usual;
    }

    /// How one direction behaves from now on.
    pub fn special(&mut self, from: u64, to: u64, link: Link) {
        self.special.insert((from, to), link);
    }

    /// Nothing passes in this direction any more.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    /// Everything passes, as it should.
    pub fn heal(&mut self) {
        self.usual = GOOD;
        self.special.clear();
        self.cut.clear();
    }

    /// Whether something can pass in this direction.
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.contains(&(from, to))
    }

    /// When a parcel that is sent now arrives: never, once or, if it may be, twice. `size` slows it down.
    pub fn arrivals(&mut self, now: u64, (from, to): (u64, u64), size: u64, may_repeat: bool) -> Vec<u64> {
        let link = self.special.get(&(from, to)).copied().unwrap_or(self.usual);
        // Drawn in any case, so that a cut does not shift what the others draw.
        let lost = self.random.permille(link.loss);
        let times = 1 + u64::from(self.random.permille(link.twice) && may_repeat);
        let mut arrivals = Vec::new();
        for _ in 0..times {
            let delay = self.random.within(link.delay.0..link.delay.1 + 1) * (1 + size);
            let late = self.random.permille(link.late);
            let last = self.last.entry((from, to)).or_default();
            let at = if late { now + delay * 20 } else { (now + delay).max(*last) };
            if !late {
                *last = at;
            }
            arrivals.push(at);
        }
        if lost || self.is_cut(from, to) { Vec::new() } else { arrivals }
    }
}
