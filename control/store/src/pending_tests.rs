use tokio::sync::oneshot;

use super::*;
use crate::membership::ServerId;

const SECOND: Duration = Duration::from_secs(1);

type Answer = oneshot::Receiver<Result<Outcome, StoreError>>;

fn add(pending: &mut PendingProposals, now: Duration) -> Answer {
    let (reply, answer) = oneshot::channel();
    pending.add(Bytes::new(), None, Asker::Writer { reply, share: None }, now);
    answer
}

fn seqs(pending: &mut PendingProposals, now: Duration) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| pending.next_fresh(now).map(|(context, _)| (context.seq, context.low))).collect()
}

#[test]
fn all_are_handed_to_each_new_leader_and_the_first_unfinished_is_named() {
    let mut pending = PendingProposals::new(7);
    let _answers: Vec<Answer> = (0..4).map(|_| add(&mut pending, SECOND)).collect();
    assert_eq!(seqs(&mut pending, SECOND), [(0, 0), (1, 0), (2, 0), (3, 0)]);
    assert_eq!(seqs(&mut pending, SECOND), []);
    pending.finish(0);
    pending.finish(2);
    pending.start_over();
    assert_eq!(seqs(&mut pending, SECOND), [(1, 1), (3, 1)]);
    pending.step_back(3);
    assert_eq!(seqs(&mut pending, SECOND), [(3, 1)]);
    assert!(pending.finish(2).is_none() && pending.finish(9).is_none());
    pending.finish(1);
    let _another = add(&mut pending, SECOND);
    assert_eq!(seqs(&mut pending, SECOND), [(4, 3)]);
}

#[test]
fn what_was_handed_on_is_handed_on_again_ever_more_rarely() {
    let mut pending = PendingProposals::new(7);
    let _answer = add(&mut pending, Duration::ZERO);
    seqs(&mut pending, Duration::ZERO);
    let mut tries = Vec::new();
    for half in 1..20 {
        let now = half * SECOND / 2;
        for seq in pending.overdue(now) {
            assert!(pending.hand(seq, now).is_some());
            tries.push(half);
        }
    }
    assert_eq!(tries, [1, 3, 7, 15]);
}

#[test]
fn at_the_end_of_its_time_a_proposal_has_failed_or_nobody_knows() {
    let mut pending = PendingProposals::new(7);
    let mut handed = add(&mut pending, Duration::ZERO);
    seqs(&mut pending, Duration::ZERO);
    let mut later = add(&mut pending, SECOND);
    let (reply, mut moved) = oneshot::channel();
    pending.add(Bytes::new(), Some(Change::Lead(ServerId(1))), Asker::Operator(reply), SECOND);
    seqs(&mut pending, SECOND);
    let mut kept = add(&mut pending, SECOND);
    pending.expire(SECOND + LEADERLESS - SECOND / 100);
    assert!(kept.try_recv().is_err());
    pending.expire(SECOND + LEADERLESS);
    assert!(matches!(kept.try_recv(), Ok(Err(StoreError::NoLeader))));
    pending.expire(LIMIT - SECOND);
    assert!(handed.try_recv().is_err());
    pending.expire(LIMIT);
    assert!(matches!(handed.try_recv(), Ok(Err(StoreError::Unknown))));
    assert!(later.try_recv().is_err());
    pending.expire(LIMIT + SECOND);
    assert!(matches!(later.try_recv(), Ok(Err(StoreError::Unknown))));
    assert!(matches!(moved.try_recv(), Ok(Err(StoreError::CannotLead { .. }))));
    assert!(!pending.has_fresh());
}

#[test]
fn a_refusal_is_the_answer_to_a_first_try_only() {
    let full = || StoreError::Full { path: "log".into() };
    let mut pending = PendingProposals::new(7);
    let mut first = add(&mut pending, SECOND);
    let mut second = add(&mut pending, SECOND);
    seqs(&mut pending, SECOND);
    pending.refused(0, Why::NotLeader, full);
    assert!(first.try_recv().is_err());
    pending.refused(0, Why::Full, full);
    assert!(matches!(first.try_recv(), Ok(Err(StoreError::Full { .. }))));
    pending.start_over();
    seqs(&mut pending, SECOND);
    pending.refused(1, Why::QueueFull, full);
    assert!(second.try_recv().is_err(), "an earlier try may have been taken");
}

#[test]
fn a_share_is_held_until_the_write_is_answered() {
    let budget = Budget::new(2, 100);
    let large = budget.take(1000).unwrap();
    assert!(matches!(budget.take(1), Err(StoreError::QueueFull)));
    drop(large);
    let shares = [budget.take(50).unwrap(), budget.take(50).unwrap()];
    assert!(matches!(budget.take(0), Err(StoreError::QueueFull)), "no more writes");
    drop(shares);
    let mut pending = PendingProposals::new(7);
    let (reply, answer) = oneshot::channel();
    let share = Some(budget.take(100).unwrap());
    pending.add(Bytes::new(), None, Asker::Writer { reply, share }, SECOND);
    drop(answer);
    assert!(matches!(budget.take(1), Err(StoreError::QueueFull)), "the write is still on its way");
    pending.finish(0);
    assert!(budget.take(1).is_ok());
}
