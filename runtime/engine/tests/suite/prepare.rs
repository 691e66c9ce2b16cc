//! From files to programs, and what is refused.

use std::sync::Arc;

use pal_engine::{Compile, Engine, EngineConfig, HttpVersion, PrepareError, ProgramKind, StartError, inspect};

use crate::harness::{digest, engine, path, program};

const P2: ProgramKind = ProgramKind::HttpService { version: HttpVersion::P2 };
const P3: ProgramKind = ProgramKind::HttpService { version: HttpVersion::P3 };

async fn prepare_bytes(bytes: &[u8]) -> Result<ProgramKind, PrepareError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, bytes).unwrap();
    let program = engine().prepare(file.path(), &digest(bytes)).await?;
    Ok(program.kind())
}

#[tokio::test]
async fn each_example_is_the_kind_of_program_that_it_should_be() {
    for (name, kind, core) in [
        ("examples/hello/hello", P2, false),
        ("examples/hello-p3/hello-p3", P3, false),
        ("examples/guestbook/frontend", P2, false),
        ("examples/guestbook/backend", P2, false),
        ("examples/ticker/ticker", ProgramKind::Command, false),
        ("examples/greeter-c/greeter", ProgramKind::Command, true),
    ] {
        let found = inspect(&std::fs::read(path(name)).unwrap()).unwrap();
        assert_eq!((found.kind, found.is_core_module), (kind, core), "{name}");
        assert!(!found.imports.is_empty() && !found.exports.is_empty(), "{name}");
        assert_eq!(program(name).await.kind(), kind, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let broken = {
        let mut bytes = std::fs::read(path("examples/hello/hello")).unwrap();
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    for (bytes, expected) in [
        (&b"#!/bin/sh\n"[..], "not WebAssembly"),
        (b"", "not WebAssembly"),
        (b"\0asm\x01\0\0\0", "without an entry point"),
        (b"\0asm\x0d\0\x01\0", "library component"),
        (&broken, "malformed"),
    ] {
        let error = prepare_bytes(bytes).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // One empty core module, and forty instances of it.
    let mut many = b"\0asm\x0d\0\x01\0\x01\x08\0asm\x01\0\0\0\x02\x79\x28".to_vec();
    many.extend([0; 120]);
    assert_eq!(
        prepare_bytes(&many).await,
        Err(PrepareError::Unsupported { what: "a component with 40 core instances (at most 32)".into() })
    );
    let needy = std::fs::read(path("tests/guests/needs-import")).unwrap();
    assert_eq!(
        prepare_bytes(&needy).await,
        Err(PrepareError::MissingImports(vec!["acme:tax/vat@1.0.0".into(), "acme:tax/duty@1.0.0".into(),]))
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_and_may_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = dir.path().join("later.wasm");
    let mut config = EngineConfig::new(dir.path().into(), Compile::InProcess);
    config.max_instances = 2;
    let engine = Engine::new(config).unwrap();
    let error = engine.prepare(&wasm, "sha256:x").await.unwrap_err();
    assert!(error.to_string().contains("later.wasm"), "{error}");
    std::fs::copy(path("tests/guests/start-trap"), &wasm).unwrap();
    assert!(engine.prepare(&wasm, "sha256:x").await.is_ok());
}

#[tokio::test]
async fn a_component_that_is_too_large_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = EngineConfig::new(dir.path().into(), Compile::InProcess);
    config.max_component_bytes = 1 << 10;
    config.max_instances = 2;
    let engine = Engine::new(config).unwrap();
    let error = engine.prepare(&path("examples/hello/hello"), "sha256:x").await.unwrap_err();
    assert!(matches!(error, PrepareError::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn one_digest_is_one_program_while_it_is_in_use() {
    let (first, second) = tokio::join!(program("examples/ticker/ticker"), program("examples/ticker/ticker"));
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn code_outlives_the_engine_that_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = EngineConfig::new(dir.path().into(), Compile::InProcess);
    config.max_instances = 2;
    let start_trap = path("tests/guests/start-trap");
    let first = Engine::new(config.clone()).unwrap();
    first.prepare(&start_trap, "sha256:x").await.unwrap();
    drop(first);
    // It is loaded by its digest: the source is not asked for again.
    let second = Engine::new(config.clone()).unwrap();
    let gone = dir.path().join("gone.wasm");
    assert!(second.prepare(&gone, "sha256:x").await.is_ok());
    assert!(second.prepare(&gone, "sha256:y").await.is_err());
    drop(second);

    // Damaged code is built again.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        for file in std::fs::read_dir(entry.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|suffix| suffix == "cwasm") {
                std::fs::write(file, b"damaged").unwrap();
            }
        }
    }
    let third = Engine::new(config).unwrap();
    assert!(third.prepare(&gone, "sha256:x").await.is_err());
    assert!(third.prepare(&start_trap, "sha256:x").await.is_ok());
}

#[tokio::test]
async fn a_program_is_started_only_as_what_it_is() {
    let service = program("tests/guests/service").await;
    let error = service.run(Default::default()).await.unwrap_err();
    assert!(matches!(error, StartError::WrongKind { .. }), "{error}");
    let command = program("tests/guests/command").await;
    let error = command.serve(Default::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the component is a command, not an HTTP service");
}
