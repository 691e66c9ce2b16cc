//! How long it takes to read a pod: `cargo run --release -p pal-resources --example speed`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pal_resources::codec::{FieldValidation, Media, conform, decode, to_protobuf};
use pal_resources::resource::find;

const POD: &[u8] = include_bytes!("../tests/pod.json");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let pods = find("", "v1", "pods").ok_or("pods are not served")?;
    let decoded = decode(Media::Json, POD, Some(&pods), FieldValidation::Strict)?;
    println!("{:>24} {:?}", "first (reads the table)", start.elapsed());
    let binary = to_protobuf(&decoded.value).ok_or("pods have no protobuf form")?;
    let read = |media, body: &[u8]| decode(media, body, Some(&pods), FieldValidation::Strict);
    report("JSON", || drop(black_box(read(Media::Json, POD))));
    report("JSON without a schema", || drop(black_box(serde_json::from_slice::<serde_json::Value>(POD))));
    report("YAML", || drop(black_box(read(Media::Yaml, POD))));
    report("protobuf", || drop(black_box(read(Media::Protobuf, &binary))));
    report("clone", || drop(black_box(decoded.value.clone())));
    report("clone and conform", || {
        drop(black_box(conform(decoded.value.clone(), ("", "v1", "Pod"), FieldValidation::Strict)));
    });
    Ok(())
}

/// Prints the best of some runs.
fn report(name: &str, work: impl Fn()) {
    const TIMES: u32 = 2_000;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        (0..TIMES).for_each(|_| work());
        best = best.min(start.elapsed() / TIMES);
    }
    println!("{name:>24} {best:?}");
}
