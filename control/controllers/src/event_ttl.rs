//! Events are kept for a while.

use std::time::Duration;

use jiff::Timestamp;

use crate::action::{Action, Plan, Target};
use crate::object::remaining;

/// Events that one look deletes at most.
const BATCH: usize = 200;
/// A look at least this often, so that clocks may jump.
const LONGEST: Duration = Duration::from_secs(60);

/// Deletes the events that have not happened again for `ttl`. `events` are in the order in which they last happened.
pub fn reconcile(events: impl Iterator<Item = (Timestamp, Target)>, ttl: Duration, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    for (last, target) in events {
        if let Some(rest) = remaining(last, ttl, now) {
            plan.look_again(rest.clamp(Duration::from_millis(100), LONGEST));
            break;
        }
        if plan.actions.len() == BATCH {
            plan.look_again(Duration::from_millis(100));
            break;
        }
        plan.push(Action::Delete { target, grace_seconds: None, propagation: None, announce: None });
    }
    plan
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::action::ResourceId;

    fn check(ages: &[i64], deleted: usize, again: Option<u64>) {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let events = ages.iter().map(|age| {
            let resource = ResourceId::of::<k8s_openapi::api::core::v1::Event>();
            let target = Target { resource, namespace: None, name: age.to_string(), uid: age.to_string() };
            (now - SignedDuration::from_secs(*age), target)
        });
        let plan = reconcile(events, Duration::from_secs(100), now);
        assert_eq!(plan.actions.len(), deleted, "{ages:?}");
        assert_eq!(plan.again, again.map(Duration::from_secs), "{ages:?}");
    }

    #[test]
    fn events_go_when_their_time_has_passed() {
        check(&[], 0, None);
        check(&[150, 100, 99, 5], 2, Some(1));
        check(&[5], 0, Some(60));
        check(&[200], 1, None);
    }
}
