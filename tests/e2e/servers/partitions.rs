//! Networks that are cut.

use pal_tests::Link;

use super::faults::Fault;
use super::{SOME, loaded, relayed};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_in_either_direction_or_both_leaves_nothing_stale_and_nothing_lost() {
    let (mut servers, load, mut seed) = loaded("cuts", 3, relayed()).await;
    for fault in [Fault::CutLeaderOff, Fault::MuteLeader, Fault::DeafenLeader, Fault::RefuseAll, Fault::SlowLinks] {
        fault.inflict(&mut servers, &load, &mut seed).await;
    }
    load.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_majority_of_five_goes_on_without_the_minority_and_so_does_a_bridge() {
    let (mut servers, load, mut seed) = loaded("five", 5, relayed()).await;
    let leader = servers.leader().await;
    let follower = (leader + 1) % 5;
    let majority: Vec<usize> = (0..5).filter(|place| *place != leader && *place != follower).collect();
    servers.network().part(&servers.ips(&[leader, follower]), &servers.ips(&majority), Link::Silent);
    servers.leader_among(&majority).await;
    load.goes_on(SOME).await;
    servers.network().heal();
    load.goes_on(SOME).await;
    Fault::Bridge.inflict(&mut servers, &load, &mut seed).await;
    load.check().await;
}
