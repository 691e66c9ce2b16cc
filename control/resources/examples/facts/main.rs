//! Writes the schema's table anew from the sources of the crates k8s-pb and k8s-openapi:
//! `cargo run -p pal-resources --example facts`.

mod generate;
mod openapi;
mod protobuf;
mod sources;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sources = sources::Sources::locate()?;
    let tables = generate::tables(&sources)?;
    for note in &tables.notes {
        eprintln!("{note}");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema");
    std::fs::write(folder.join("facts.txt"), &tables.facts)?;
    std::fs::write(folder.join("descriptions.txt"), &tables.descriptions)?;
    println!("{} bytes of facts, {} of descriptions", tables.facts.len(), tables.descriptions.len());
    Ok(())
}
