//! The shell: its state, and what it takes to run a script.

mod builtins;
mod compound;
mod expand;
mod jobs;
mod parse;
mod pattern;
mod redirect;
mod run;
mod sum;
mod syntax;
mod word;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

pub use pattern::{class, matches, set};
pub use run::quoted;

use crate::keys;
use crate::stream::Fd;
use crate::task::Handle;
use syntax::Command;

/// Descriptors by number.
pub type Fds = BTreeMap<u32, Fd>;

/// What ends more than a command.
#[derive(Debug)]
pub enum Flow {
    Break(usize),
    Continue(usize),
    Return(i32),
    Exit(i32),
}

#[derive(Clone)]
struct Variable {
    value: Option<String>,
    exported: bool,
    fixed: bool,
}

#[derive(Clone, Copy, Default)]
struct Options {
    errexit: bool,
    xtrace: bool,
    nounset: bool,
    noglob: bool,
    pipefail: bool,
    noexec: bool,
}

/// A command in the background.
#[derive(Clone)]
struct Job {
    id: u32,
    handle: Handle,
}

/// A shell; a clone is a subshell.
#[derive(Clone)]
pub struct Shell {
    variables: HashMap<String, Variable>,
    functions: HashMap<String, Rc<Command>>,
    /// `$0`.
    name: String,
    parameters: Vec<String>,
    /// `$?`.
    status: i32,
    /// `$!`.
    last_job: Option<u32>,
    jobs: Vec<Job>,
    cwd: String,
    options: Options,
    fds: Fds,
    traps: HashMap<String, String>,
    /// A failure is looked at by somebody, and ends nothing.
    tested: usize,
    loops: usize,
    /// Functions and scripts under way.
    calls: usize,
    /// What `local` has hidden in each function under way.
    hidden: Vec<Vec<(String, Option<Variable>)>>,
    /// Whether a person types the commands.
    pub interactive: bool,
    subshell: bool,
}

/// Where programs would be.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Shell {
    /// A shell with the component's environment.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>, cwd: &str, fds: Fds) -> Self {
        let mut variables: HashMap<String, Variable> = environment
            .into_iter()
            .map(|(name, value)| (name, Variable { value: Some(value), exported: true, fixed: false }))
            .collect();
        let own = |value: &str| Variable { value: Some(value.to_owned()), exported: false, fixed: false };
        variables.insert("IFS".to_owned(), own(" \t\n"));
        variables.insert("PPID".to_owned(), own("0"));
        for (name, value) in [("PS1", "\\w # "), ("PS2", "> "), ("PS4", "+ "), ("OPTIND", "1")] {
            variables.entry(name.to_owned()).or_insert_with(|| own(value));
        }
        variables.insert("PWD".to_owned(), Variable { value: Some(cwd.to_owned()), exported: true, fixed: false });
        Self {
            variables,
            functions: HashMap::new(),
            name: "sh".to_owned(),
            parameters: Vec::new(),
            status: 0,
            last_job: None,
            jobs: Vec::new(),
            cwd: cwd.to_owned(),
            options: Options::default(),
            fds,
            traps: HashMap::new(),
            tested: 0,
            loops: 0,
            calls: 0,
            hidden: Vec::new(),
            interactive: false,
            subshell: false,
        }
    }

    /// A shell of its own, for what must not change this one.
    fn subshell(&self) -> Self {
        let mut shell = self.clone();
        shell.jobs.clear();
        shell.subshell = true;
        shell.loops = 0;
        shell.traps.remove("EXIT");
        shell
    }

    /// What was under way was interrupted; what it had set up for its time is as it was before.
    pub fn interrupted(&mut self, before: Self) {
        let Self { fds, parameters, tested, loops, calls, hidden, .. } = before;
        (self.fds, self.parameters, self.hidden) = (fds, parameters, hidden);
        (self.tested, self.loops, self.calls) = (tested, loops, calls);
        self.status = keys::INTERRUPTED;
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.value.as_deref()
    }

    pub fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let exported = self.variables.get(name).is_some_and(|v| v.exported);
        if self.variables.get(name).is_some_and(|v| v.fixed) {
            return Err(format!("{name}: is read only"));
        }
        self.variables.insert(name.to_owned(), Variable { value: Some(value), exported, fixed: false });
        Ok(())
    }

    /// Sets a variable that programs see.
    pub fn export_variable(&mut self, name: &str, value: &str) {
        let variable = Variable { value: Some(value.to_owned()), exported: true, fixed: false };
        self.variables.insert(name.to_owned(), variable);
    }

    /// Programs see nothing of the environment any more.
    pub fn forget_environment(&mut self) {
        self.variables.retain(|_, v| !v.exported);
    }

    pub fn forget(&mut self, name: &str) {
        self.variables.remove(name);
    }

    pub fn set_parameters(&mut self, parameters: Vec<String>) {
        self.parameters = parameters;
    }

    pub fn last_status(&self) -> i32 {
        self.status
    }

    /// What programs see.
    pub fn environment(&self) -> Vec<(String, String)> {
        let exported = self.variables.iter().filter(|(_, v)| v.exported);
        let mut all: Vec<_> = exported.filter_map(|(name, v)| Some((name.clone(), v.value.clone()?))).collect();
        all.sort();
        all
    }

    pub fn cwd(&self) -> &str {
        &self.cwd
    }

    fn fd(&self, number: u32) -> Fd {
        self.fds.get(&number).cloned().unwrap_or(Fd::Null)
    }

    /// A message of the shell itself.
    async fn complain(&self, message: &str) {
        // Where nobody listens nobody misses it.
        let _ = self.fd(2).write(format!("{}: {message}\n", self.name).as_bytes()).await;
    }
}

impl sum::Variables for Shell {
    fn value(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn assign(&mut self, name: &str, value: String) -> Result<(), String> {
        self.set(name, value)
    }
}

/// The value of a sum without variables.
pub fn sum_of(text: &str) -> Result<i64, String> {
    struct None;
    impl sum::Variables for None {
        fn value(&self, _name: &str) -> Option<String> {
            Option::None
        }

        fn assign(&mut self, name: &str, _value: String) -> Result<(), String> {
            Err(format!("{name}: not a number"))
        }
    }
    sum::evaluate(text, &mut None)
}

/// A path from the root, without `.` and `..`.
pub fn absolute(cwd: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { cwd };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
