//! Compilation in a child process, which is this very program: so it has a `main` of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use pal_engine::{Compile, Engine, EngineConfig, PrepareError, compile_worker_main};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "compile-worker") {
        return compile_worker_main();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        a_child_compiles().await;
        a_child_has_its_limits().await;
        a_program_that_is_no_compiler_is_an_error().await;
    });
    println!("test result: ok");
    ExitCode::SUCCESS
}

fn hello() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/hello.wasm")
}

fn config(dir: &Path) -> EngineConfig {
    let exe = std::env::current_exe().expect("this program has a path");
    EngineConfig { max_instances: 2, ..EngineConfig::new(dir.into(), Compile::Child { exe }) }
}

async fn prepare(config: EngineConfig, wasm: &Path) -> Result<(), PrepareError> {
    let engine = Engine::new(config).expect("the engine starts");
    engine.prepare(wasm, "sha256:x").await.map(drop)
}

async fn a_child_compiles() {
    let dir = tempfile::tempdir().unwrap();
    prepare(config(dir.path()), &hello()).await.unwrap();
    // A component that is not valid is refused by the compiler itself.
    let broken = dir.path().join("broken.wasm");
    std::fs::write(&broken, {
        let mut bytes = std::fs::read(hello()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xff);
        bytes
    })
    .unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let error = prepare(config(fresh.path()), &broken).await.unwrap_err();
    assert!(matches!(error, PrepareError::CompileFailed(_) | PrepareError::Malformed(_)), "{error}");
    println!("test a_child_compiles ... ok");
}

async fn a_child_has_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = config(dir.path());
    small.compile_memory_bytes = 64 << 20;
    let error = prepare(small, &hello()).await.unwrap_err();
    assert!(matches!(error, PrepareError::TooLarge(_)), "{error}");
    let mut quick = config(dir.path());
    quick.compile_timeout = Duration::from_millis(1);
    let error = prepare(quick, &hello()).await.unwrap_err();
    assert!(matches!(error, PrepareError::Timeout(_)), "{error}");
    println!("test a_child_has_its_limits ... ok");
}

async fn a_program_that_is_no_compiler_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for (exe, expected) in [("/nonexistent/pal", "No such file"), ("/bin/false", "ended with")] {
        let mut other = config(dir.path());
        other.compile = Compile::Child { exe: exe.into() };
        let error = prepare(other, &hello()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    println!("test a_program_that_is_no_compiler_is_an_error ... ok");
}
