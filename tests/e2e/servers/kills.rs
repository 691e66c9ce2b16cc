//! kill -9.

use pal_tests::Forming;

use super::faults::Fault;
use super::loaded;

#[tokio::test(flavor = "multi_thread")]
async fn leaders_followers_and_all_at_once_are_killed_and_nothing_is_lost() {
    let (mut servers, load, mut seed) = loaded("kills", 3, Forming::default()).await;
    for fault in [Fault::KillLeader, Fault::KillFollower, Fault::KillLeader, Fault::KillAll] {
        fault.inflict(&mut servers, &load, &mut seed).await;
    }
    load.check().await;
}
