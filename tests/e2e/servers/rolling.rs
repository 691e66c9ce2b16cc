//! What operators do to all servers, one after the other.

use pal_tests::Forming;

use super::faults::{replace, restart_each};
use super::{SOME, loaded};

#[tokio::test(flavor = "multi_thread")]
async fn all_servers_are_restarted_and_then_replaced_in_turn_under_load() {
    let (mut servers, load, _seed) = loaded("rolling", 3, Forming::default()).await;
    restart_each(&mut servers, &load).await;
    for _ in 0..3 {
        load.turn();
        replace(&mut servers, 0).await;
        load.goes_on(SOME).await;
    }
    let names: Vec<&str> = servers.all().iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["s4", "s5", "s6"]);
    load.check().await;
}
