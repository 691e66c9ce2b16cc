//! Which of several endpoints takes the next request.

/// Picks one of `len` endpoints by "the power of two choices" (Mitzenmacher 2001): of two drawn at random, the one with
/// fewer requests under way. `random` is the draw; `None` where there is no endpoint.
pub fn pick(len: usize, load: impl Fn(usize) -> u32, random: u64) -> Option<usize> {
    match len {
        0 => None,
        1 => Some(0),
        _ => {
            let len = len as u64;
            let first = (random & 0xffff_ffff) % len;
            // The second draw is one of the others, so that two different ones are compared.
            let second = (first + 1 + (random >> 32) % (len - 1)) % len;
            let (first, second) = (first as usize, second as usize);
            Some(if load(second) < load(first) { second } else { first })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reproducible sequence of draws (SplitMix64).
    fn draws(count: usize) -> impl Iterator<Item = u64> {
        let mut state = 7_u64;
        (0..count).map(move |_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    #[test]
    fn nothing_is_picked_from_nothing_and_the_one_from_one() {
        assert_eq!(pick(0, |_| 0, 5), None);
        assert_eq!(pick(1, |_| 9, u64::MAX), Some(0));
    }

    #[test]
    fn equal_endpoints_get_equal_shares() {
        let mut counts = [0_u32; 5];
        for random in draws(10_000) {
            counts[pick(5, |_| 0, random).unwrap()] += 1;
        }
        assert!(counts.iter().all(|c| (1_700..2_300).contains(c)), "{counts:?}");
    }

    #[test]
    fn the_busiest_endpoint_is_never_picked_over_a_less_busy_one() {
        for random in draws(1_000) {
            assert_ne!(pick(4, |i| if i == 2 { 10 } else { 1 }, random), Some(2));
        }
    }
}
