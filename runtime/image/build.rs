//! Compresses the components that the crate carries in itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/images");
    let to = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write"));
    for name in ["busybox", "nginx"] {
        let file = from.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", file.display());
        let bytes = fs::read(&file).expect("built components are checked in");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&bytes).expect("memory takes it");
        let packed = gzip.finish().expect("memory takes it");
        fs::write(to.join(format!("{name}.wasm.gz")), packed).expect("the output directory can be written");
    }
}
