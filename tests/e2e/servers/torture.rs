//! All faults in turn, for as long as is wanted.

use std::time::{Duration, Instant};

use super::faults::Fault;
use super::{loaded, relayed};

/// Without `PAL_TORTURE`.
const SHORT: Duration = Duration::from_secs(15);
/// What is judged at once: the history of one cluster under so many faults.
const FAULTS: usize = 25;

/// `90`, `90s`, `30m` or `2h`.
fn wanted() -> Duration {
    let Ok(text) = std::env::var("PAL_TORTURE") else { return SHORT };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => panic!("PAL_TORTURE is a time as 90s, 30m or 2h: {other:?} is no unit"),
    };
    Duration::from_secs(digits.parse::<u64>().expect("PAL_TORTURE begins with a number") * unit)
}

#[tokio::test(flavor = "multi_thread")]
async fn torture() {
    let (begun, time) = (Instant::now(), wanted());
    while begun.elapsed() < time {
        let (mut servers, load, mut seed) = loaded("torture", 3, relayed()).await;
        for number in 0..FAULTS {
            if begun.elapsed() >= time {
                break;
            }
            let fault = Fault::ALL[seed.below(Fault::ALL.len())];
            eprintln!("{:>7.1} s, fault {number}: {fault:?}", begun.elapsed().as_secs_f64());
            fault.inflict(&mut servers, &load, &mut seed).await;
        }
        load.check().await;
    }
}
