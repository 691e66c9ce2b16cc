use super::*;

/// So many seeds are run each time.
const SEEDS: u64 = 60;

/// A planted bug is found among so many.
const PLANTED_SEEDS: u64 = 60;

#[test]
fn a_number_of_seeds_holds() {
    for seed in 0..SEEDS {
        if let Err(failure) = run(Options::of(seed)) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in [3, 4] {
        let first = run(Options::of(seed)).map_err(|failure| failure.to_string());
        let second = run(Options::of(seed)).map_err(|failure| failure.to_string());
        assert_eq!(first, second);
    }
}

fn is_found(planted: Planted) {
    let betrayal = planted == Planted::LongLease;
    let of = |seed| Options { planted: Some(planted), betrayal, ..Options::of(seed) };
    let failure = (0..PLANTED_SEEDS).find_map(|seed| run(of(seed)).err());
    let failure = failure.unwrap_or_else(|| panic!("{planted} went unnoticed in {PLANTED_SEEDS} seeds"));
    assert!(!failure.trace.is_empty() && !failure.why.contains("not when it was run again"), "{failure}");
}

#[test]
fn acknowledging_before_the_flush_is_found() {
    is_found(Planted::AcknowledgeBeforeFlush);
}

#[test]
fn reading_without_asking_the_leader_is_found() {
    is_found(Planted::SkipReadIndex);
}

#[test]
fn giving_a_revision_twice_is_found() {
    is_found(Planted::ReuseRevision);
}

#[test]
fn applying_a_retried_write_twice_is_found() {
    is_found(Planted::SkipDedup);
}

#[test]
fn a_lease_that_is_too_long_is_found() {
    is_found(Planted::LongLease);
}

#[test]
fn forgetting_the_vote_is_found() {
    is_found(Planted::ForgetVote);
}
