//! What only the shell itself can do: change its variables, directory, descriptors and course.

use std::cell::Cell;

use super::run::quoted;
use super::{Flow, Shell, Variable, absolute, parse};
use crate::files;

type Result<T> = std::result::Result<T, Flow>;

const NAMES: [&str; 33] = [
    ":", ".", "source", "break", "continue", "cd", "command", "eval", "exit", "export", "getopts", "jobs", "kill",
    "local", "read", "readonly", "return", "set", "shift", "trap", "type", "ulimit", "umask", "unset", "wait", "hash",
    "alias", "unalias", "let", "declare", "typeset", "times", "shopt",
];

pub fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

/// A number for a job in the background, as a process would have.
pub fn next_job() -> u32 {
    thread_local!(static LAST: Cell<u32> = const { Cell::new(1) });
    LAST.set(LAST.get() + 1);
    LAST.get()
}

impl Shell {
    pub(super) async fn builtin(&mut self, words: Vec<String>) -> Result<i32> {
        let args = &words[1..];
        let number = |default: i32| args.first().map_or(Ok(default), |text| text.parse::<i32>());
        match words[0].as_str() {
            ":" | "hash" | "alias" | "unalias" | "ulimit" | "times" | "shopt" => Ok(0),
            "umask" => match args.is_empty() {
                true => self.say("0022\n").await,
                false => Ok(0),
            },
            "break" => Err(Flow::Break(number(1).unwrap_or(1).max(1) as usize)),
            "continue" => Err(Flow::Continue(number(1).unwrap_or(1).max(1) as usize)),
            name @ ("exit" | "return") => match number(self.status) {
                Ok(status) if name == "exit" => Err(Flow::Exit(status & 0xff)),
                Ok(status) => Err(Flow::Return(status & 0xff)),
                Err(_) => self.fail(&format!("{name}: Illegal number: {}", args[0]), Err(Flow::Exit(2))).await,
            },
            "eval" => Box::pin(self.script(&args.join(" "))).await,
            "." | "source" => self.source(args).await,
            "cd" => self.cd(args).await,
            "export" | "readonly" => self.export(&words).await,
            "local" | "declare" | "typeset" => self.local(args).await,
            "unset" => self.unset(args).await,
            "set" => self.set_options(args).await,
            "shift" => match number(1) {
                Ok(n) if n >= 0 && n as usize <= self.parameters.len() => {
                    self.parameters.drain(..n as usize);
                    Ok(0)
                }
                _ => self.fail("shift: can't shift that many", Ok(1)).await,
            },
            "read" => self.read(args).await,
            "trap" => self.trap(args).await,
            "wait" => self.wait(args).await,
            "kill" => self.kill(args).await,
            "jobs" => self.list_jobs().await,
            "let" => {
                let mut value = 0;
                for text in args {
                    match super::sum::evaluate(text, self) {
                        Ok(found) => value = found,
                        Err(why) => return self.fail(&format!("let: {why}"), Ok(1)).await,
                    }
                }
                Ok(i32::from(value == 0))
            }
            "getopts" => self.getopts(args).await,
            "type" => self.describe(args, true).await,
            "command" => match args.first().map(String::as_str) {
                Some("-v") => self.describe(&args[1..], false).await,
                Some("-V") => self.describe(&args[1..], true).await,
                Some("-p") if args.len() > 1 => Box::pin(self.plain(args[1..].to_vec())).await,
                Some(_) => Box::pin(self.plain(args.to_vec())).await,
                None => Ok(0),
            },
            _ => Ok(127),
        }
    }

    /// A command that is no function.
    async fn plain(&mut self, words: Vec<String>) -> Result<i32> {
        match is_one(&words[0]) {
            true => self.builtin(words).await,
            false => self.call(words, false).await,
        }
    }

    pub(super) async fn say(&self, text: &str) -> Result<i32> {
        match self.fd(1).write(text.as_bytes()).await {
            Ok(()) => Ok(0),
            Err(_) => Ok(1),
        }
    }

    pub(super) async fn fail(&self, message: &str, outcome: Result<i32>) -> Result<i32> {
        self.complain(message).await;
        outcome
    }

    async fn source(&mut self, args: &[String]) -> Result<i32> {
        let Some(name) = args.first() else { return self.fail(".: filename argument required", Ok(2)).await };
        match files::read_text(&absolute(&self.cwd, name)) {
            Ok(text) => {
                let outcome = Box::pin(self.script(&text)).await;
                if let Err(Flow::Return(status)) = outcome { Ok(status) } else { outcome }
            }
            Err(error) => {
                self.fail(&format!(".: can't open '{name}': {}", files::why(&error)), Err(Flow::Exit(2))).await
            }
        }
    }

    async fn cd(&mut self, args: &[String]) -> Result<i32> {
        let wanted = args.iter().find(|arg| !matches!(arg.as_str(), "-P" | "-L" | "--"));
        let back = wanted.is_some_and(|w| w == "-");
        let target = match wanted.map(String::as_str) {
            None => self.get("HOME").unwrap_or("/").to_owned(),
            Some("-") => self.get("OLDPWD").unwrap_or("/").to_owned(),
            Some(target) => target.to_owned(),
        };
        let path = absolute(&self.cwd, &target);
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return self.fail(&format!("cd: can't cd to {target}: Not a directory"), Ok(2)).await,
            Err(error) => return self.fail(&format!("cd: can't cd to {target}: {}", files::why(&error)), Ok(2)).await,
        }
        let before = std::mem::replace(&mut self.cwd, path.clone());
        self.assign("OLDPWD", before).await?;
        self.assign("PWD", path.clone()).await?;
        if back { self.say(&format!("{path}\n")).await } else { Ok(0) }
    }

    async fn export(&mut self, words: &[String]) -> Result<i32> {
        let fix = words[0] == "readonly";
        let names: Vec<&String> = words[1..].iter().filter(|arg| !arg.starts_with('-')).collect();
        if names.is_empty() {
            let mut lines: Vec<String> = self
                .variables
                .iter()
                .filter(|(_, v)| if fix { v.fixed } else { v.exported })
                .map(|(name, v)| format!("{} {name}={}\n", words[0], quoted(v.value.as_deref().unwrap_or_default())))
                .collect();
            lines.sort();
            return self.say(&lines.concat()).await;
        }
        for text in names {
            let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(n, v)| (n, Some(v)));
            if !parse::is_name(name) {
                return self.fail(&format!("{}: {name}: bad variable name", words[0]), Err(Flow::Exit(2))).await;
            }
            if let Some(value) = value {
                self.assign(name, value.to_owned()).await?;
            }
            let none = Variable { value: None, exported: false, fixed: false };
            let variable = self.variables.entry(name.to_owned()).or_insert(none);
            variable.exported |= !fix;
            variable.fixed |= fix;
        }
        Ok(0)
    }

    async fn local(&mut self, args: &[String]) -> Result<i32> {
        for text in args.iter().filter(|arg| !arg.starts_with('-')) {
            let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(n, v)| (n, Some(v)));
            if !parse::is_name(name) {
                return self.fail(&format!("local: {name}: bad variable name"), Ok(1)).await;
            }
            let before = self.variables.get(name).cloned();
            if let Some(hidden) = self.hidden.last_mut() {
                hidden.push((name.to_owned(), before));
                self.variables.remove(name);
            }
            self.assign(name, value.unwrap_or_default().to_owned()).await?;
        }
        Ok(0)
    }

    async fn unset(&mut self, args: &[String]) -> Result<i32> {
        let functions = args.first().is_some_and(|a| a == "-f");
        for name in args.iter().filter(|arg| !arg.starts_with('-')) {
            if self.variables.get(name).is_some_and(|v| v.fixed) {
                return self.fail(&format!("unset: {name}: is read only"), Ok(1)).await;
            }
            if functions || self.variables.remove(name).is_none() {
                self.functions.remove(name);
            }
        }
        Ok(0)
    }

    async fn set_options(&mut self, args: &[String]) -> Result<i32> {
        if args.is_empty() {
            let mut lines: Vec<String> = self
                .variables
                .iter()
                .filter_map(|(name, v)| Some(format!("{name}={}\n", quoted(v.value.as_deref()?))))
                .collect();
            lines.sort();
            return self.say(&lines.concat()).await;
        }
        match self.options(args) {
            Ok(used) => {
                if used < args.len() || args.iter().any(|a| a == "--") {
                    self.parameters = args[used..].to_vec();
                }
                Ok(0)
            }
            Err(why) => self.fail(&format!("set: {why}"), Err(Flow::Exit(2))).await,
        }
    }

    /// Takes options like `-e`, `+x` and `-o pipefail` in; returns how many arguments they were.
    pub fn options(&mut self, args: &[String]) -> std::result::Result<usize, String> {
        let mut used = 0;
        while let Some(arg) = args.get(used) {
            if arg == "--" {
                return Ok(used + 1);
            }
            let on = match arg.chars().next() {
                Some('-') if arg.len() > 1 => true,
                Some('+') if arg.len() > 1 => false,
                _ => break,
            };
            used += 1;
            for flag in arg[1..].chars() {
                if flag == 'o' {
                    let Some(name) = args.get(used) else { return Ok(used) };
                    used += 1;
                    self.option(name, on)?;
                } else {
                    self.option(&flag.to_string(), on)?;
                }
            }
        }
        Ok(used)
    }

    fn option(&mut self, name: &str, on: bool) -> std::result::Result<(), String> {
        let options = &mut self.options;
        match name {
            "e" | "errexit" => options.errexit = on,
            "x" | "xtrace" => options.xtrace = on,
            "u" | "nounset" => options.nounset = on,
            "f" | "noglob" => options.noglob = on,
            "n" | "noexec" => options.noexec = on,
            "pipefail" => options.pipefail = on,
            "i" => self.interactive = on,
            // They change nothing here.
            "a" | "b" | "C" | "h" | "l" | "m" | "s" | "v" | "allexport" | "notify" | "monitor" | "verbose" | "vi"
            | "emacs" | "noclobber" | "posix" => {}
            other => return Err(format!("illegal option -{other}")),
        }
        Ok(())
    }

    async fn read(&mut self, args: &[String]) -> Result<i32> {
        let (mut raw, mut names, mut limit, mut most) = (false, Vec::new(), None, usize::MAX);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-r" => raw = true,
                "-s" => {}
                "-p" => {
                    let prompt = args.next().cloned().unwrap_or_default();
                    let _ = self.fd(2).write(prompt.as_bytes()).await;
                }
                "-t" => limit = args.next().and_then(|text| text.parse::<f64>().ok()),
                "-n" => most = args.next().and_then(|text| text.parse().ok()).unwrap_or(1),
                name => names.push(name.to_owned()),
            }
        }
        let input = self.fd(0);
        let (line, ended) = match limit {
            Some(seconds) => match files::within(seconds, files::line(&input, raw, most)).await {
                Some(found) => found,
                None => return Ok(142),
            },
            None => files::line(&input, raw, most).await,
        };
        if names.is_empty() {
            names.push("REPLY".to_owned());
        }
        let ifs: Vec<char> = self.get("IFS").unwrap_or(" \t\n").chars().collect();
        let values = fields_of(&line, &ifs, names.len(), names[0] == "REPLY");
        for (name, value) in names.into_iter().zip(values) {
            self.assign(&name, value).await?;
        }
        Ok(i32::from(ended))
    }
}

/// A line's fields for that many variables, of which the last gets the rest.
fn fields_of(line: &str, ifs: &[char], count: usize, whole: bool) -> Vec<String> {
    let blank = |c: char| c.is_whitespace() && ifs.contains(&c);
    if whole {
        return vec![line.to_owned()];
    }
    let mut rest = line.trim_matches(blank);
    let mut fields = Vec::new();
    while fields.len() + 1 < count {
        match rest.find(|c| ifs.contains(&c)) {
            Some(end) => {
                fields.push(rest[..end].to_owned());
                rest = rest[end..].trim_start_matches(blank);
                let other = rest.chars().next().filter(|c| ifs.contains(c));
                rest = other.map_or(rest, |c| rest[c.len_utf8()..].trim_start_matches(blank));
            }
            None => fields.push(std::mem::take(&mut rest).to_owned()),
        }
    }
    fields.push(rest.to_owned());
    fields
}
