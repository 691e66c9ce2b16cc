//! One engine for all tests, guests by name, logs that can be waited for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use pal_engine::{Body, Compile, Engine, EngineConfig, Exit, InstanceSpec, LogSink, Program, Service};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

/// No test waits longer for anything.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The engine that tests share. It is made outside of any test's runtime, as it outlives them.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let mut config = EngineConfig::new(cache, Compile::InProcess);
        config.max_instances = 64;
        std::thread::spawn(|| Engine::new(config).expect("the engine starts")).join().expect("the engine starts")
    })
}

/// A component of the repository, as in `examples/hello/hello`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(format!("{name}.wasm"))
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The program of a component of the repository.
pub async fn program(name: &str) -> Arc<Program> {
    let path = path(name);
    let bytes = std::fs::read(&path).expect("built components are checked in");
    engine().prepare(&path, &digest(&bytes)).await.expect("the component is a program")
}

/// A log sink that tests read.
#[derive(Default)]
pub struct Log {
    bytes: Mutex<Vec<u8>>,
    grown: Notify,
}

impl LogSink for Log {
    fn write(&self, bytes: &[u8]) {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        self.grown.notify_waiters();
    }
}

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    pub fn len(&self) -> usize {
        self.bytes.lock().unwrap().len()
    }

    /// Waits until `done` holds of the text.
    pub async fn until(&self, done: impl Fn(&str) -> bool) -> String {
        let wait = async {
            loop {
                let grown = self.grown.notified();
                tokio::pin!(grown);
                grown.as_mut().enable();
                let text = self.text();
                if done(&text) {
                    return text;
                }
                grown.await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("the log never had it: {:?}", self.text()))
    }

    pub async fn until_contains(&self, needle: &str) -> String {
        self.until(|text| text.contains(needle)).await
    }
}

/// A specification whose output is kept.
pub struct Logged {
    pub spec: InstanceSpec,
    pub stdout: Arc<Log>,
    pub stderr: Arc<Log>,
}

pub fn logged() -> Logged {
    let (stdout, stderr) = (Arc::new(Log::default()), Arc::new(Log::default()));
    Logged {
        spec: InstanceSpec {
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            request_timeout: Duration::from_secs(20),
            ..Default::default()
        },
        stdout,
        stderr,
    }
}

/// Runs the command guest with `args` to its end.
pub async fn command(args: &[&str], mut logged: Logged) -> (Exit, String, String) {
    logged.spec.args = ["command"].iter().chain(args).map(|s| s.to_string()).collect();
    let running = program("tests/guests/command").await.run(logged.spec).await.expect("the command starts");
    let exit = tokio::time::timeout(LIMIT, running.wait()).await.expect("the command ends");
    (exit, logged.stdout.text(), logged.stderr.text())
}

/// Serves the service guest.
pub async fn service(spec: InstanceSpec) -> Service {
    program("tests/guests/service").await.serve(spec).await.expect("the service starts")
}

pub fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).header("host", "svc.test").body(full("")).expect("a valid request")
}

/// Sends a GET and reads all of the response.
pub async fn fetch(service: &Service, path: &str) -> (u16, String) {
    let response = tokio::time::timeout(LIMIT, service.handle(get(path))).await.expect("there is a response");
    read(response).await
}

pub async fn read(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = tokio::time::timeout(LIMIT, response.into_body().collect())
        .await
        .expect("the body ends")
        .expect("the body is whole")
        .to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Waits until nothing is being handled.
pub async fn idle(service: &Service) {
    tokio::time::timeout(LIMIT, service.drained()).await.expect("all instances end");
    assert_eq!(service.in_flight(), 0);
}
