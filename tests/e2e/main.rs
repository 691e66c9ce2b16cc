//! The product as its users see it: the real binary, real components, real clients.

mod bad_input;
mod clients;
mod customs;
mod durability;
mod hello;
mod hostile;
mod images;
mod kubectl;
mod nodes;
mod operations;
mod pods;
mod policies;
mod servers;
mod streams;
mod volumes;

use std::time::Duration;

use pal_tests::Pal;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

fn pal() -> Pal {
    Pal::new(env!("CARGO_BIN_EXE_pal"))
}

/// A path of the repository as text.
fn repository(path: &str) -> String {
    pal_tests::repository(path).to_str().expect("a path of plain text").to_owned()
}
