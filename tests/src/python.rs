//! Python with the client libraries that the suites drive.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::kubectl::Ran;
use crate::repository;

/// How long a script may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// A Python that has what `tests/clients/requirements.txt` names.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// The Python that `PAL_TEST_PYTHON` names. Without it the caller's test has nothing to do: it is told how to get one,
    /// and in CI that is a failure.
    pub fn find() -> Option<Self> {
        let found = std::env::var_os("PAL_TEST_PYTHON").map(PathBuf::from);
        if found.is_none() {
            assert!(std::env::var_os("CI").is_none(), "PAL_TEST_PYTHON is not set");
            // Past the test runner's capture, which would keep it from whoever runs the suites.
            let _ = writeln!(
                std::io::stderr(),
                "not run: PAL_TEST_PYTHON names no Python (python3 -m venv clients && \
                 clients/bin/pip install -r tests/clients/requirements.txt; PAL_TEST_PYTHON=clients/bin/python)"
            );
        }
        found.map(|program| Self { program })
    }

    /// A script of `tests/clients` as a process to start, for those that go on.
    pub fn command(&self, script: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(repository("tests/clients").join(script)).args(words).env_remove("KUBECONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a script of `tests/clients` to its end.
    pub async fn run(&self, script: &str, words: &[&str]) -> Ran {
        let child = self.command(script, words).spawn().expect("Python starts");
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("{script}: no end"))
            .expect("Python ran");
        Ran {
            command: format!("{script} {}", words.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
