//! Python and Node with the client libraries that the suites drive.

use std::io::Write as _;
use std::path::{Path, PathBuf};
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
            not_run(
                "PAL_TEST_PYTHON names no Python (python3 -m venv clients && \
                 clients/bin/pip install -r tests/clients/requirements.txt; PAL_TEST_PYTHON=clients/bin/python)",
            );
        }
        found.map(|program| Self { program })
    }

    /// Runs a script of `tests/clients` to its end.
    pub async fn run(&self, script: &str, words: &[&str]) -> Ran {
        run(&self.program, script, words).await
    }
}

/// A Node that has what `tests/clients/package.json` names.
#[derive(Clone, Debug)]
pub struct Node {
    program: PathBuf,
    modules: String,
}

impl Node {
    /// The Node that `PAL_TEST_NODE` names, with the modules in the folder that `PAL_TEST_NODE_MODULES` names. Without them
    /// it is as with [`Python::find`].
    pub fn find() -> Option<Self> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let found = named("PAL_TEST_NODE").zip(named("PAL_TEST_NODE_MODULES"));
        if found.is_none() {
            not_run(
                "PAL_TEST_NODE and PAL_TEST_NODE_MODULES name no Node with modules (npm install --prefix clients \
                 ./tests/clients; PAL_TEST_NODE=node PAL_TEST_NODE_MODULES=clients/node_modules)",
            );
        }
        found.map(|(program, modules)| Self { program, modules: modules.to_string_lossy().into_owned() })
    }

    /// Runs a script of `tests/clients` to its end. Its first word is the folder with the modules.
    pub async fn run(&self, script: &str, words: &[&str]) -> Ran {
        let words: Vec<&str> = [self.modules.as_str()].into_iter().chain(words.iter().copied()).collect();
        run(&self.program, script, &words).await
    }
}

/// Says past the test runner's capture that a suite was not run, and why; in CI that is a failure.
fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "not run: {why}");
    let _ = writeln!(std::io::stderr(), "not run: {why}");
}

async fn run(program: &Path, script: &str, words: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.arg(repository("tests/clients").join(script)).args(words).env_remove("KUBECONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{script}: no end"))
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    Ran {
        command: format!("{script} {}", words.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
