//! Wall clocks that jump. Elections, deadlines and leases of reads hang on the monotonic clock alone; a wall clock matters
//! where certificates and tokens begin and end.

use std::io::Write;
use std::path::PathBuf;

use pal_tests::{Forming, Load, Much, Seed, Servers};

use super::SOME;
use crate::pal;

/// libfaketime as `PAL_TEST_FAKETIME` names it. Without it the test has nothing to do; in CI that is a failure.
fn faketime() -> Option<PathBuf> {
    let named = std::env::var_os("PAL_TEST_FAKETIME").map(PathBuf::from).filter(|file| file.is_file());
    if named.is_none() {
        assert!(std::env::var_os("CI").is_none(), "PAL_TEST_FAKETIME names no libfaketime.so.1");
        // Past the test runner's capture, which would keep it from whoever runs the suites.
        let _ = writeln!(
            std::io::stderr(),
            "not run: PAL_TEST_FAKETIME names no libfaketime.so.1 (pip install libfaketime brings it)"
        );
    }
    named
}

#[tokio::test(flavor = "multi_thread")]
async fn wall_clocks_that_jump_ahead_and_back_stop_nothing_and_lose_nothing() {
    let Some(library) = faketime() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut seed = Seed::of_this_run("clocks");
    let mut servers = Servers::form(&pal(), 3, Forming::default()).await;
    // Each server gets a clock of its own, in a file that it looks at each time.
    let clock = |name: &str| dir.path().join(name);
    for place in 0..3 {
        let name = servers.all()[place].name.clone();
        std::fs::write(clock(&name), "+0").unwrap();
        let text = |path: PathBuf| path.to_str().expect("a path of plain text").to_owned();
        let environment = [
            ("LD_PRELOAD", text(library.clone())),
            ("FAKETIME_TIMESTAMP_FILE", text(clock(&name))),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        servers.server_mut(place).set_environment(environment);
        servers.stop(place).await;
        servers.start(place);
        servers.ready(place).await;
    }
    let load = Load::start(servers.endpoints(), &mut seed, Much::default()).await;
    load.goes_on(SOME).await;
    for jump in ["+3600", "-600", "+7200", "+0"] {
        let place = if seed.below(2) == 0 { servers.leader().await } else { seed.below(3) };
        let name = servers.all()[place].name.clone();
        eprintln!("the clock of {name}: {jump} s");
        std::fs::write(clock(&name), jump).unwrap();
        load.turn();
        load.goes_on(2 * SOME).await;
    }
    load.check().await;
}
