//! For libFuzzer: the target that the environment variable `PAL_FUZZ` names.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pal_fuzz::{Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("PAL_FUZZ").expect("PAL_FUZZ names a target");
    target(&name).unwrap_or_else(|| panic!("{name} is no target"))
});

fuzz_target!(|input: &[u8]| TARGET(input));
