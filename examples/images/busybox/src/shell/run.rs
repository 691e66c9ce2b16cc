//! Running what was read.

use std::rc::Rc;

use super::syntax::{Command, Compound, List, Part, Redirect, Simple, Word};
use super::{Fds, Flow, Job, Shell, Variable, builtins, parse};
use crate::files;
use crate::keys;
use crate::stream::{Fd, pipe};
use crate::task::{self, Handle};
use crate::tools::{self, Call};

type Result<T> = std::result::Result<T, Flow>;

/// Calls of functions and scripts in each other.
const MAX_CALLS: usize = 64;

/// The status of what was ended because nobody reads what it writes.
pub const BROKEN_PIPE: i32 = 141;

/// The stages of a pipe; they end with who waits for them.
struct Stages(Vec<Handle>);

impl Drop for Stages {
    fn drop(&mut self) {
        // Those that have ended are left as they are.
        self.0.iter().for_each(|stage| stage.kill(keys::INTERRUPTED));
    }
}

impl Shell {
    /// Reads and runs a text.
    pub async fn script(&mut self, text: &str) -> std::result::Result<i32, Flow> {
        match parse::parse(text) {
            Ok(_) if self.options.noexec => Ok(0),
            Ok(list) => Box::pin(self.list(&list)).await,
            Err(wrong) => {
                let message = match wrong {
                    parse::Wrong::Unfinished => "syntax error: unexpected end of file".to_owned(),
                    parse::Wrong::Syntax(line, why) => format!("line {line}: syntax error: {why}"),
                };
                self.complain(&message).await;
                self.status = 2;
                if self.interactive { Ok(2) } else { Err(Flow::Exit(2)) }
            }
        }
    }

    /// Whether the text is a whole script or goes on.
    pub fn is_whole(text: &str) -> bool {
        !matches!(parse::parse(text), Err(parse::Wrong::Unfinished))
    }

    /// Runs the commands and is done.
    pub(super) async fn finish(mut self, list: List) -> i32 {
        let outcome = self.list(&list).await;
        self.leave(outcome).await
    }

    /// The status that the shell ends with, once its trap for that is done.
    pub async fn leave(&mut self, outcome: Result<i32>) -> i32 {
        let status = match outcome {
            Ok(status) | Err(Flow::Exit(status) | Flow::Return(status)) => status,
            Err(Flow::Break(_) | Flow::Continue(_)) => self.status,
        };
        let Some(trap) = self.traps.remove("EXIT") else { return status };
        self.status = status;
        match Box::pin(self.script(&trap)).await {
            Err(Flow::Exit(status)) => status,
            _ => status,
        }
    }

    pub(super) async fn list(&mut self, list: &List) -> Result<i32> {
        let mut status = 0;
        for item in list.iter() {
            status = match item.background {
                true => self.background(item.command.clone()),
                false => Box::pin(self.command(&item.command)).await?,
            };
            self.status = status;
        }
        Ok(status)
    }

    fn background(&mut self, command: Rc<Command>) -> i32 {
        let mut shell = self.subshell();
        shell.fds.insert(0, Fd::Null);
        let id = builtins::next_job();
        self.jobs.push(Job { id, handle: task::spawn(shell.stage(command)) });
        self.last_job = Some(id);
        0
    }

    /// A command as a subshell of its own.
    async fn stage(mut self, command: Rc<Command>) -> i32 {
        let outcome = self.command(&command).await;
        self.leave(outcome).await
    }

    async fn command(&mut self, command: &Rc<Command>) -> Result<i32> {
        let (status, counts) = match &**command {
            Command::Simple(simple) => (self.simple(simple).await?, true),
            Command::Pipeline(not, stages) => {
                self.tested += usize::from(*not);
                let status = self.pipeline(stages).await;
                self.tested -= usize::from(*not);
                let status = status?;
                (if *not { i32::from(status == 0) } else { status }, !*not)
            }
            Command::And(left, right) | Command::Or(left, right) => {
                let status = self.test(left).await?;
                self.status = status;
                let go_on = (status == 0) == matches!(**command, Command::And(..));
                return if go_on { Box::pin(self.command(right)).await } else { Ok(status) };
            }
            Command::Function(name, body) => {
                self.functions.insert(name.clone(), body.clone());
                (0, false)
            }
            Command::Compound(compound, redirects) => {
                let status = self.with(redirects, async |shell| shell.compound(compound).await).await?;
                (status, matches!(compound, Compound::Subshell(_)))
            }
        };
        self.status = status;
        if counts && status != 0 && self.options.errexit && self.tested == 0 {
            return Err(Flow::Exit(status));
        }
        Ok(status)
    }

    /// Runs a command whose failure is looked at.
    async fn test(&mut self, command: &Rc<Command>) -> Result<i32> {
        self.tested += 1;
        let status = Box::pin(self.command(command)).await;
        self.tested -= 1;
        status
    }

    async fn condition(&mut self, list: &List) -> Result<bool> {
        self.tested += 1;
        let status = Box::pin(self.list(list)).await;
        self.tested -= 1;
        Ok(status? == 0)
    }

    async fn pipeline(&mut self, stages: &[Rc<Command>]) -> Result<i32> {
        if let [only] = stages {
            return Box::pin(self.command(only)).await;
        }
        let mut handles = Stages(Vec::new());
        let mut input = None;
        for (i, stage) in stages.iter().enumerate() {
            let mut shell = self.subshell();
            if let Some(input) = input.take() {
                shell.fds.insert(0, input);
            }
            if i + 1 < stages.len() {
                let (source, drain) = pipe();
                shell.fds.insert(1, drain);
                input = Some(source);
            }
            handles.0.push(task::spawn(shell.stage(stage.clone())));
        }
        let (mut last, mut failed) = (0, 0);
        for handle in &handles.0 {
            last = handle.wait().await;
            failed = if last != 0 { last } else { failed };
        }
        Ok(if self.options.pipefail { failed } else { last })
    }

    async fn compound(&mut self, compound: &Compound) -> Result<i32> {
        match compound {
            Compound::Group(list) => Box::pin(self.list(list)).await,
            Compound::Subshell(list) => Ok(Box::pin(self.subshell().finish(list.clone())).await),
            Compound::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.condition(condition).await? {
                        return Box::pin(self.list(body)).await;
                    }
                }
                match otherwise {
                    Some(body) => Box::pin(self.list(body)).await,
                    None => Ok(0),
                }
            }
            Compound::For(name, words, body) => {
                let values = match words {
                    Some(words) => self.fields(words).await?,
                    None => self.parameters.clone(),
                };
                let mut values = values.into_iter();
                let name = name.clone();
                self.repeat(body, async |shell| match values.next() {
                    Some(value) => shell.assign(&name, value).await.map(|()| true),
                    None => Ok(false),
                })
                .await
            }
            Compound::Loop { until, condition, body } => {
                self.repeat(body, async |shell| Ok(shell.condition(condition).await? != *until)).await
            }
            Compound::Case(subject, branches) => {
                let subject: Vec<char> = self.text(subject).await?.chars().collect();
                for branch in branches {
                    for pattern in &branch.patterns {
                        let pattern = self.pattern(pattern).await?;
                        if super::matches(&pattern, &subject) {
                            return Box::pin(self.list(&branch.body)).await;
                        }
                    }
                }
                Ok(0)
            }
        }
    }

    async fn repeat(&mut self, body: &List, mut again: impl AsyncFnMut(&mut Self) -> Result<bool>) -> Result<i32> {
        self.loops += 1;
        let mut outcome = Ok(0);
        loop {
            // Others have a turn, however long this goes on.
            task::pause().await;
            match again(self).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(flow) => {
                    outcome = Err(flow);
                    break;
                }
            }
            match Box::pin(self.list(body)).await {
                Ok(status) => outcome = Ok(status),
                Err(Flow::Break(n)) => {
                    outcome = if n > 1 && self.loops > 1 { Err(Flow::Break(n - 1)) } else { Ok(0) };
                    break;
                }
                Err(Flow::Continue(n)) if n > 1 && self.loops > 1 => {
                    outcome = Err(Flow::Continue(n - 1));
                    break;
                }
                Err(Flow::Continue(_)) => {}
                Err(flow) => {
                    outcome = Err(flow);
                    break;
                }
            }
        }
        self.loops -= 1;
        outcome
    }

    pub(super) async fn assign(&mut self, name: &str, value: String) -> Result<()> {
        match self.set(name, value) {
            Ok(()) => Ok(()),
            Err(why) => {
                self.complain(&why).await;
                Err(Flow::Exit(2))
            }
        }
    }

    async fn simple(&mut self, simple: &Simple) -> Result<i32> {
        let words = self.fields(&simple.words).await?;
        let mut assigns = Vec::new();
        let before = self.status;
        for (name, word) in &simple.assigns {
            let value = self.text(word).await?;
            if words.is_empty() {
                self.assign(name, value.clone()).await?;
            }
            assigns.push((name.clone(), value));
        }
        let ran = simple.assigns.iter().any(|(_, word)| word.iter().any(runs_commands))
            || simple.words.iter().any(|w| w.iter().any(runs_commands));
        if self.options.xtrace {
            self.trace(&assigns, &words).await;
        }
        let Some(name) = words.first().cloned() else {
            let opened = self.with(&simple.redirects, async |_| Ok(0)).await?;
            return Ok(if opened != 0 {
                opened
            } else if ran {
                self.status
            } else {
                0
            });
        };
        self.status = before;
        if name == "exec" {
            return self.exec(&simple.redirects, words, assigns).await;
        }
        self.with(&simple.redirects, async |shell| {
            let hidden = shell.lend(assigns);
            let outcome = shell.call(words, true).await;
            for (name, before) in hidden {
                shell.restore(name, before);
            }
            outcome
        })
        .await
    }

    /// `exec`: the descriptors stay changed, and a command takes the shell's place.
    async fn exec(
        &mut self,
        redirects: &[Redirect],
        mut words: Vec<String>,
        assigns: Vec<(String, String)>,
    ) -> Result<i32> {
        if !self.redirect(redirects).await? {
            return Err(Flow::Exit(1));
        }
        words.remove(0);
        if words.is_empty() {
            return Ok(0);
        }
        self.lend(assigns);
        let status = self.call(words, false).await?;
        Err(Flow::Exit(status))
    }

    /// Sets variables for one command; returns what they were.
    fn lend(&mut self, assigns: Vec<(String, String)>) -> Vec<(String, Option<Variable>)> {
        let lent = assigns.into_iter().map(|(name, value)| {
            let before =
                self.variables.insert(name.clone(), Variable { value: Some(value), exported: true, fixed: false });
            (name, before)
        });
        lent.collect()
    }

    pub(super) fn restore(&mut self, name: String, before: Option<Variable>) {
        match before {
            Some(variable) => drop(self.variables.insert(name, variable)),
            None => drop(self.variables.remove(&name)),
        }
    }

    async fn trace(&self, assigns: &[(String, String)], words: &[String]) {
        let mut line = self.get("PS4").unwrap_or("+ ").to_owned();
        let assigns = assigns.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        line.push_str(&assigns.chain(words.iter().map(|word| quoted(word))).collect::<Vec<_>>().join(" "));
        line.push('\n');
        let _ = self.fd(2).write(line.as_bytes()).await;
    }

    /// Runs a command by its words: a function, something of the shell itself, a tool or a script.
    pub async fn call(&mut self, words: Vec<String>, functions: bool) -> Result<i32> {
        let name = words[0].clone();
        if functions && let Some(body) = self.functions.get(&name).cloned() {
            return self.function(body, words).await;
        }
        if functions && builtins::is_one(&name) {
            return Box::pin(self.builtin(words)).await;
        }
        let found = files::find_program(&name, self.get("PATH"), &self.cwd);
        match found {
            files::Program::Tool(tool) => {
                let shell = self.subshell();
                let mut call = Call { name: tool, args: words[1..].to_vec(), shell };
                let status = tools::run(&mut call).await;
                match status {
                    // Nobody listens any more; that ends what goes on talking.
                    BROKEN_PIPE if self.subshell => Err(Flow::Exit(status)),
                    status => Ok(status),
                }
            }
            files::Program::Script(path, text) => Ok(Box::pin(self.subshell().file(path, &text, &words[1..])).await),
            files::Program::Unfit(why) => {
                self.complain(&format!("{name}: {why}")).await;
                Ok(126)
            }
            files::Program::None => {
                self.complain(&format!("{name}: not found")).await;
                Ok(127)
            }
        }
    }

    /// Runs a script with its own parameters, and is done.
    pub async fn file(mut self, name: String, text: &str, parameters: &[String]) -> i32 {
        if self.calls >= MAX_CALLS {
            self.complain(&format!("{name}: scripts call each other without end")).await;
            return 2;
        }
        self.calls += 1;
        self.variables.retain(|_, v| v.exported || v.fixed || v.value.is_some());
        self.functions.clear();
        self.name = name;
        self.parameters = parameters.to_vec();
        let outcome = self.script(text).await;
        self.leave(outcome).await
    }

    async fn function(&mut self, body: Rc<Command>, words: Vec<String>) -> Result<i32> {
        if self.calls >= MAX_CALLS {
            self.complain(&format!("{}: functions call each other without end", words[0])).await;
            return Err(Flow::Exit(2));
        }
        self.calls += 1;
        let parameters = std::mem::replace(&mut self.parameters, words[1..].to_vec());
        let loops = std::mem::take(&mut self.loops);
        self.hidden.push(Vec::new());
        let outcome = Box::pin(self.command(&body)).await;
        for (name, before) in self.hidden.pop().into_iter().flatten().rev() {
            self.restore(name, before);
        }
        (self.parameters, self.loops) = (parameters, loops);
        self.calls -= 1;
        match outcome {
            Err(Flow::Return(status)) => {
                self.status = status;
                Ok(status)
            }
            other => other,
        }
    }

    pub(crate) fn fds(&self) -> &Fds {
        &self.fds
    }

    pub(crate) fn put_fd(&mut self, number: u32, fd: Fd) {
        self.fds.insert(number, fd);
    }
}

fn runs_commands(part: &Part) -> bool {
    let any = |word: &Word| word.iter().any(runs_commands);
    match part {
        Part::Output(_) => true,
        Part::Double(word) => any(word),
        _ => false,
    }
}

/// A word as it could be typed.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,+@%^".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
