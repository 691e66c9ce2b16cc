//! How long a server waits for a leader before it stands for election.
//!
//! raft-rs draws this from a generator that nobody can seed, so a run could not be repeated. Here raft's own timeout is fixed
//! at twice the least one, and it is made to run out earlier. The span between is divided among the voters by the order of
//! their ids: two that lose their leader at the same moment do not stand at the same moment, which would split the vote and
//! cost a second timeout. (raft-rs's priorities are no way to that: a server refuses a candidate of lower priority whose log
//! is newer but not longer, while that candidate refuses it for its older log, and nobody is elected.)

use raft::StateRole;

/// Draws the waiting times.
pub(crate) struct Patience {
    random: u64,
    election_ticks: usize,
    ticks: usize,
}

impl Patience {
    pub fn new(seed: u64, election_ticks: usize) -> Patience {
        Patience { random: seed, election_ticks, ticks: 2 * election_ticks }
    }

    /// After so many ticks without a leader it stands.
    pub fn ticks(&self) -> usize {
        self.ticks
    }

    /// Draws a new time for the voter at `rank` among `voters`.
    pub fn draw(&mut self, role: StateRole, rank: usize, voters: usize) {
        let least = self.election_ticks;
        let random = self.next();
        self.ticks = if role == StateRole::PreCandidate {
            // It was asked whether others would vote, which binds nobody and needs no disk: it is soon asked again.
            least / 2 + 2 * rank + random % 2
        } else {
            let slot = (least / voters.max(1)).max(2);
            // Those who heard the leader a moment later than this one are to be ready for its question.
            const MARGIN: usize = 2;
            (least + MARGIN + rank * slot + random % (slot - 1)).min(2 * least)
        };
    }

    /// The next of a sequence (splitmix64).
    fn next(&mut self) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as u32 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_voters_wait_for_different_times_within_two_timeouts() {
        for voters in [1, 2, 3, 5, 7] {
            let mut spans: Vec<(usize, usize)> = Vec::new();
            for rank in 0..voters {
                let mut patience = Patience::new(rank as u64, 15);
                let drawn: Vec<usize> = (0..100)
                    .map(|_| {
                        patience.draw(StateRole::Follower, rank, voters);
                        patience.ticks()
                    })
                    .collect();
                spans.push((*drawn.iter().min().unwrap(), *drawn.iter().max().unwrap()));
            }
            assert!(spans.iter().all(|(least, most)| *least > 15 && *most <= 30), "{voters}: {spans:?}");
            assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "{voters}: {spans:?}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed: u64| {
            let mut patience = Patience::new(seed, 15);
            let drawn = (0..20).map(|_| {
                patience.draw(StateRole::Follower, 0, 1);
                patience.ticks()
            });
            drawn.collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
