//! Folds functions whose machine code is the same, in what is shipped: a sixth of the program are copies of a few
//! generic functions. Only the linker that comes with Rust on this target is known to be able to do it.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    let other_linker = env::var_os("RUSTC_LINKER").is_some()
        || env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("link"));
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") && !other_linker && has_lld() {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

/// Whether the compiler brings the linker that it then uses by itself.
fn has_lld() -> bool {
    let (Some(rustc), Ok(host)) = (env::var_os("RUSTC"), env::var("HOST")) else { return false };
    let Ok(printed) = Command::new(rustc).args(["--print", "sysroot"]).output() else { return false };
    let root = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
    Path::new(&root).join("lib/rustlib").join(host).join("bin/gcc-ld/ld.lld").is_file()
}
