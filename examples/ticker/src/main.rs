//! A command that logs a line again and again: what a worker, a batch job or a cron task looks like.
//!
//! INTERVAL_MS is the time between two lines (1000), COUNT the number of lines (without end).

use std::thread::sleep;
use std::time::Duration;

fn main() -> Result<(), String> {
    let interval = number("INTERVAL_MS")?.unwrap_or(1000);
    let count = number("COUNT")?;
    let name = std::env::var("HOSTNAME").unwrap_or_else(|_| "ticker".into());
    let mut tick = 0_u64;
    while count.is_none_or(|count| tick < count) {
        if tick > 0 {
            sleep(Duration::from_millis(interval));
        }
        tick += 1;
        println!("{name}: tick {tick}");
    }
    eprintln!("{name}: done after {tick} ticks");
    Ok(())
}

/// The number in the environment variable `name`, if it is set.
fn number(name: &str) -> Result<Option<u64>, String> {
    let Ok(text) = std::env::var(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(format!("{name} is no whole number: {text:?}")),
    }
}
