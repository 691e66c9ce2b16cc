//! What the shell itself does about jobs, traps, options and names.

use super::run::quoted;
use super::{Flow, Shell, builtins::is_one};
use crate::files;
use crate::task;

type Result<T> = std::result::Result<T, Flow>;

impl Shell {
    pub(super) async fn trap(&mut self, args: &[String]) -> Result<i32> {
        let args: Vec<&String> = args.iter().filter(|arg| *arg != "--").collect();
        let signal = |text: &str| match text.trim_start_matches("SIG") {
            other if other.parse::<i32>().is_ok() => signal_name(other.parse().unwrap_or_default()),
            other => other.to_owned(),
        };
        match args.as_slice() {
            [] => {
                let lines = self.traps.iter().map(|(name, text)| format!("trap -- {} {name}\n", quoted(text)));
                self.say(&lines.collect::<String>()).await
            }
            [only] => {
                self.traps.remove(&signal(only));
                Ok(0)
            }
            [text, signals @ ..] => {
                for name in signals {
                    match text.as_str() {
                        "-" => drop(self.traps.remove(&signal(name))),
                        _ => drop(self.traps.insert(signal(name), (*text).clone())),
                    }
                }
                Ok(0)
            }
        }
    }

    pub(super) fn job(&self, text: &str) -> Option<super::Job> {
        match text.strip_prefix('%') {
            Some("" | "%" | "+") => self.jobs.last().cloned(),
            Some(n) => n.parse::<usize>().ok().and_then(|n| self.jobs.get(n.checked_sub(1)?).cloned()),
            None => self.jobs.iter().find(|job| Some(job.id) == text.parse().ok()).cloned(),
        }
    }

    pub(super) async fn wait(&mut self, args: &[String]) -> Result<i32> {
        let mut status = 0;
        if args.is_empty() {
            for job in std::mem::take(&mut self.jobs) {
                job.handle.wait().await;
            }
        }
        for text in args {
            status = match self.job(text) {
                Some(job) => job.handle.wait().await,
                None => 127,
            };
        }
        Ok(status)
    }

    pub(super) async fn kill(&mut self, args: &[String]) -> Result<i32> {
        let (mut signal, mut status) = (15, 0);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let named = match arg.as_str() {
                "-l" => return self.say("HUP INT QUIT KILL USR1 USR2 TERM\n").await,
                "-s" => args.next().cloned(),
                "--" => continue,
                other => other.strip_prefix('-').map(str::to_owned),
            };
            if let Some(name) = named {
                signal = signal_number(&name);
                continue;
            }
            match self.job(arg) {
                Some(job) if signal == 0 => status |= i32::from(job.handle.status().is_some()),
                Some(job) => job.handle.kill(128 + signal),
                // The shell is the first process of all.
                None if arg == "1" && signal == 0 => {}
                None if arg == "1" || arg == "0" => self.signalled(signal).await?,
                None => status = self.fail(&format!("kill: can't kill pid {arg}: No such process"), Ok(1)).await?,
            }
        }
        Ok(status)
    }

    /// A signal to the shell itself: what was set for it is done, else the shell ends.
    async fn signalled(&mut self, signal: i32) -> Result<()> {
        let trap = self.traps.get(&signal_name(signal)).filter(|_| signal != KILL).cloned();
        let Some(trap) = trap else { return Err(Flow::Exit(128 + signal)) };
        let status = self.status;
        Box::pin(self.script(&trap)).await?;
        self.status = status;
        Ok(())
    }

    pub(super) async fn list_jobs(&mut self) -> Result<i32> {
        self.jobs.retain(|job| job.handle.status().is_none());
        let lines = self.jobs.iter().enumerate().map(|(i, job)| format!("[{}]  Running  {}\n", i + 1, job.id));
        let text: String = lines.collect();
        task::pause().await;
        self.say(&text).await
    }

    pub(super) async fn getopts(&mut self, args: &[String]) -> Result<i32> {
        let [spec, name, rest @ ..] = args else {
            return self.fail("getopts: usage: getopts optstring var [arg...]", Ok(2)).await;
        };
        let given = if rest.is_empty() { self.parameters.clone() } else { rest.to_vec() };
        let index: usize = self.get("OPTIND").and_then(|t| t.parse().ok()).unwrap_or(1).max(1);
        // Where in a group like `-abc`; it belongs to the argument at which it was left.
        let inner = self.get("__OPT").and_then(|t| t.split_once(':')).filter(|(at, _)| *at == index.to_string());
        let inner: usize = inner.and_then(|(_, n)| n.parse().ok()).unwrap_or(1);
        let arg = given.get(index - 1).filter(|arg| arg.len() > 1 && arg.starts_with('-') && *arg != "--");
        let Some(arg) = arg.cloned() else {
            if given.get(index - 1).is_some_and(|arg| arg == "--") {
                self.assign("OPTIND", (index + 1).to_string()).await?;
            }
            self.assign(name, "?".to_owned()).await?;
            return Ok(1);
        };
        let chars: Vec<char> = arg.chars().collect();
        let flag = chars[inner.min(chars.len() - 1)];
        let known = spec.find(flag).filter(|_| flag != ':');
        let takes = known.is_some_and(|at| spec[at + flag.len_utf8()..].starts_with(':'));
        let (mut next, mut found) = (index, flag.to_string());
        self.variables.remove("OPTARG");
        if takes {
            next += 1;
            let rest: String = chars[inner + 1..].iter().collect();
            let value = if rest.is_empty() { given.get(index).cloned().inspect(|_| next += 1) } else { Some(rest) };
            match value {
                Some(value) => self.assign("OPTARG", value).await?,
                None => {
                    self.complain(&format!("option requires an argument -- {flag}")).await;
                    found = "?".to_owned();
                }
            }
        } else if inner + 1 < chars.len() {
            self.assign("__OPT", format!("{index}:{}", inner + 1)).await?;
        } else {
            next += 1;
        }
        if known.is_none() {
            if !spec.starts_with(':') {
                self.complain(&format!("Illegal option -{flag}")).await;
            }
            self.assign("OPTARG", flag.to_string()).await?;
            found = "?".to_owned();
        }
        self.assign("OPTIND", next.to_string()).await?;
        self.assign(name, found).await?;
        Ok(0)
    }

    pub(super) async fn describe(&mut self, names: &[String], long: bool) -> Result<i32> {
        let mut status = 0;
        for name in names {
            let (short, text) = if self.functions.contains_key(name) {
                (name.clone(), format!("{name} is a function"))
            } else if is_one(name) {
                (name.clone(), format!("{name} is a shell builtin"))
            } else {
                match files::find_program(name, self.get("PATH"), &self.cwd) {
                    files::Program::Tool(tool) => (format!("/bin/{tool}"), format!("{name} is /bin/{tool}")),
                    files::Program::Script(path, _) => (path.clone(), format!("{name} is {path}")),
                    _ => {
                        status = 127;
                        (String::new(), format!("{name}: not found"))
                    }
                }
            };
            match (long, status) {
                (true, _) => self.say(&format!("{text}\n")).await?,
                (false, 0) => self.say(&format!("{short}\n")).await?,
                _ => 0,
            };
        }
        Ok(status)
    }
}

const KILL: i32 = 9;
const SIGNALS: [(i32, &str); 8] =
    [(0, "EXIT"), (1, "HUP"), (2, "INT"), (3, "QUIT"), (KILL, "KILL"), (10, "USR1"), (12, "USR2"), (15, "TERM")];

fn signal_number(name: &str) -> i32 {
    let name = name.trim_start_matches("SIG");
    let known = SIGNALS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number);
    known.unwrap_or_else(|| name.parse().unwrap_or(15))
}

fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
