//! `pal` processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::kubectl::{Kubectl, Ran};
use crate::wait::wait_until;

/// How long a process may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The program under test.
#[derive(Clone, Debug)]
pub struct Pal {
    program: PathBuf,
}

/// A `pal` that goes on until it is stopped, with what it prints. Dropped, it is killed.
pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: JoinSet<()>,
}

/// One process that serves a cluster (`pal up` or `pal server`) on a data directory of its own.
pub struct Cluster {
    pub process: Process,
    pub dir: TempDir,
    /// Where the ports of Services listen with `pal up`: an address of the loopback that no other cluster has.
    pub node_ip: String,
    pal: Pal,
}

impl Pal {
    /// The program at that path: `env!("CARGO_BIN_EXE_pal")`.
    pub fn new(program: &str) -> Self {
        Self { program: PathBuf::from(program) }
    }

    /// A command line of the program; nothing of the user's environment leads it to another cluster.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env_remove("KUBECONFIG").env_remove("PAL_DATA_DIR").env_remove("PAL_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command that ends by itself.
    pub async fn run(&self, words: &[&str]) -> Ran {
        let child = self.command(words).spawn().expect("pal starts");
        let output = tokio::time::timeout(Duration::from_secs(120), child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("pal {}: no end", words.join(" ")))
            .expect("pal ran");
        Ran {
            command: format!("pal {}", words.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a command that goes on.
    pub fn start(&self, words: &[&str]) -> Process {
        self.start_with(words, &[])
    }

    /// The same with further environment variables.
    pub fn start_with(&self, words: &[&str], environment: &[(String, String)]) -> Process {
        let mut command = self.command(words);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().expect("pal starts");
        let output = Arc::new(Mutex::new(String::new()));
        let mut readers = JoinSet::new();
        readers.spawn(keep(child.stdout.take().expect("piped"), output.clone()));
        readers.spawn(keep(child.stderr.take().expect("piped"), output.clone()));
        Process { child, output, readers }
    }

    /// Starts `pal up` with further arguments, and waits until all that it was to bring up is there.
    pub async fn up(&self, more: &[&str]) -> Cluster {
        let dir = tempfile::tempdir().expect("a temporary directory");
        self.up_in(dir, &loopback(), more).await
    }

    /// The same on a directory that is there already, with the node's address of the time before.
    pub async fn up_in(&self, dir: TempDir, node_ip: &str, more: &[&str]) -> Cluster {
        let data = text(dir.path());
        let mut words = vec!["up", "--listen", "127.0.0.1:0", "--data-dir", &data, "--node-ip", node_ip];
        words.extend(more);
        let mut process = self.start(&words);
        process.until("Ctrl-C stops it").await;
        Cluster { process, dir, node_ip: node_ip.to_owned(), pal: self.clone() }
    }

    /// Starts `pal server` with further arguments, and waits until it serves.
    pub async fn server(&self, more: &[&str]) -> Cluster {
        self.server_in(tempfile::tempdir().expect("a temporary directory"), more).await
    }

    /// The same on a directory that is there already.
    pub async fn server_in(&self, dir: TempDir, more: &[&str]) -> Cluster {
        let data = text(dir.path());
        let mut words = vec!["server", "--listen", "127.0.0.1:0", "--data-dir", &data];
        words.extend(more);
        let mut process = self.start(&words);
        process.until("kubeconfig: ").await;
        Cluster { process, dir, node_ip: String::new(), pal: self.clone() }
    }
}

/// An address of the loopback network, drawn at random: many clusters run on one machine, each with node ports of its own.
pub fn loopback() -> String {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let mut bits = u64::from(std::process::id()) ^ (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits ^= bits >> 29;
    let octet = |shift: u32| (bits >> shift) % 254 + 1;
    format!("127.{}.{}.{}", octet(8), octet(24), octet(40))
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of plain text").to_owned()
}

async fn keep(stream: impl AsyncRead + Unpin, output: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut output = output.lock().expect("no reader panics");
        output.push_str(&line);
        output.push('\n');
    }
}

impl Process {
    /// What it has printed so far, on both streams.
    pub fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }

    /// Waits until it has printed a text; panics with its output if it ends first.
    pub async fn until(&mut self, text: &str) {
        wait_until(START_LIMIT, &format!("{text:?} in the output"), async || {
            let output = self.output();
            if output.contains(text) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("pal ended ({status}) before it printed {text:?}:\n{}", self.output());
            }
            Err(output)
        })
        .await;
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Ctrl-C, and waiting until it has ended; whether it ended well.
    pub async fn interrupt(&mut self) -> bool {
        self.signal("INT").await;
        self.ended().await
    }

    /// Sends a signal by name.
    pub async fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().await;
        assert!(status.is_ok_and(|status| status.success()), "cannot send SIG{name}");
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process is ours");
    }

    /// Waits until it has ended by itself and all that it printed is known; whether it ended well.
    pub async fn ended(&mut self) -> bool {
        let end = async {
            let status = self.child.wait().await;
            while self.readers.join_next().await.is_some() {}
            status
        };
        match tokio::time::timeout(STOP_LIMIT, end).await {
            Ok(status) => status.expect("the process is ours").success(),
            Err(_) => panic!("pal did not end within {} s:\n{}", STOP_LIMIT.as_secs(), self.output()),
        }
    }
}

impl Cluster {
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// kubectl for this cluster, where there is one on this machine.
    pub fn kubectl(&self) -> Option<Kubectl> {
        Kubectl::find(self.kubeconfig())
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> kube::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .await
            .expect("a usable kubeconfig");
        kube::Client::try_from(config).expect("a client")
    }

    /// Runs `pal` as a client of this cluster; words are split at spaces.
    pub async fn pal(&self, line: &str) -> Ran {
        let kubeconfig = text(&self.kubeconfig());
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.extend(["--kubeconfig", &kubeconfig]);
        self.pal.run(&words).await
    }

    /// Applies a manifest by `pal apply`; local images are resolved against the repository's root.
    pub async fn apply(&self, manifest: &str) -> Ran {
        let file = self.dir.path().join(format!("manifest-{}.yaml", manifest.len()));
        let root = text(&crate::repository("."));
        std::fs::write(&file, manifest.replace("image: ./", &format!("image: {root}/")))
            .expect("a manifest is written");
        self.pal(&format!("apply -f {}", file.display())).await
    }

    /// One object as JSON, by the path of the API.
    pub async fn object(&self, path: &str) -> Result<serde_json::Value, String> {
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
        self.client().await.request(request).await.map_err(|error| error.to_string())
    }

    /// Stops it with Ctrl-C; the directory, for a next time.
    pub async fn stop(mut self) -> TempDir {
        assert!(self.process.interrupt().await, "pal did not end well:\n{}", self.process.output());
        self.dir
    }

    /// Joins a node of that name at that address; it has its own data directory.
    pub async fn join(&self, name: &str, node_ip: &str) -> (Process, TempDir) {
        self.join_with(name, node_ip, &[]).await
    }

    /// The same with further arguments.
    pub async fn join_with(&self, name: &str, node_ip: &str, more: &[&str]) -> (Process, TempDir) {
        let line = self.pal("token create --role node").await.ok();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = text(dir.path());
        let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
        words.extend(["--name", name, "--node-ip", node_ip, "--data-dir", &data]);
        words.extend(more);
        let mut process = self.pal.start(&words);
        process.until("is running").await;
        (process, dir)
    }
}
