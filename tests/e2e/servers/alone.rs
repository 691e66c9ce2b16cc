//! One server: what holds for several holds for it too.

use pal_tests::{Access, Endpoints, Load, Much, Seed};

use super::SOME;
use crate::pal;

#[tokio::test(flavor = "multi_thread")]
async fn one_server_that_is_killed_under_load_loses_nothing_and_its_watches_go_on() {
    let mut seed = Seed::of_this_run("alone");
    let mut server = pal().server(&[]).await;
    let endpoints = Endpoints::default();
    endpoints.put("alone", Access::from_kubeconfig(&server.kubeconfig()).await.unwrap());
    let load = Load::start(endpoints, &mut seed, Much::default()).await;
    for _ in 0..3 {
        load.goes_on(2 * SOME).await;
        load.turn();
        server.process.kill().await;
        server = pal().server_in(server.dir, &[]).await;
    }
    load.check().await;
}
