//! Programs that run others: sh, env, xargs, timeout, nohup, time, which, busybox.

use super::{Call, Failure, Outcome, failed};
use crate::shell::{Flow, Shell};
use crate::task;
use crate::{files, keys};

pub async fn run(call: &mut Call) -> Outcome {
    match call.name {
        "env" => env(call).await,
        "xargs" => xargs(call).await,
        "timeout" => timeout(call).await,
        "which" => which(call).await,
        "busybox" => {
            let mut names: Vec<&str> = super::names().collect();
            names.sort_unstable();
            call.print(format!(
                "BusyBox-like tools of Palinurus, in one WebAssembly component.\n\n{}\n",
                names.join(", ")
            ))
            .await?;
            Ok(0)
        }
        name => {
            let args: Vec<String> = call.args.iter().skip_while(|arg| arg.starts_with('-')).cloned().collect();
            if args.is_empty() {
                return Ok(0);
            }
            let begun = wasip2::clocks::monotonic_clock::now();
            let status = start(&mut call.shell, args).await;
            if name == "time" {
                let took = (wasip2::clocks::monotonic_clock::now() - begun) as f64 / 1e9;
                let text = format!("real\t{}m {:.2}s\nuser\t0m 0.00s\nsys\t0m 0.00s\n", took as u64 / 60, took % 60.0);
                let _ = call.fd(2).write(text.as_bytes()).await;
            }
            Ok(status)
        }
    }
}

/// Runs a program that is no function.
async fn start(shell: &mut Shell, words: Vec<String>) -> i32 {
    match Box::pin(shell.call(words, false)).await {
        Ok(status) | Err(Flow::Exit(status)) => status,
        Err(_) => 1,
    }
}

/// `sh`: a text, a file, or what comes from stdin.
pub async fn shell(call: &mut Call) -> Outcome {
    let mut shell = call.shell.clone();
    let mut args = call.args.clone();
    let mut text = None;
    let mut flags = Vec::new();
    let mut from_stdin = false;
    while let Some(arg) = args.first().filter(|arg| arg.len() > 1 && arg.starts_with(['-', '+'])).cloned() {
        args.remove(0);
        if arg == "--" {
            break;
        }
        if arg.starts_with("--") {
            continue;
        }
        if arg == "-o" || arg == "+o" {
            flags.push(arg);
            if !args.is_empty() {
                flags.push(args.remove(0));
            }
            continue;
        }
        from_stdin |= arg.contains('s');
        if arg.starts_with('-') && arg.contains('c') {
            if args.is_empty() {
                return Err(Failure::Told(2, "-c requires an argument".to_owned()));
            }
            text = Some(String::new());
        }
        let rest: String = arg.chars().filter(|c| !"csl".contains(*c)).collect();
        if rest.len() > 1 {
            flags.push(rest);
        }
    }
    if text.is_some() {
        text = Some(args.remove(0));
    }
    shell.options(&flags).map_err(|why| Failure::Told(2, why))?;
    if let Some(text) = text {
        let name = if args.is_empty() { "sh".to_owned() } else { args.remove(0) };
        return Ok(shell.file(name, &text, &args).await);
    }
    if let Some(file) = args.first().filter(|_| !from_stdin).cloned() {
        return match files::read_text(&call.path(&file)) {
            Ok(text) => Ok(shell.file(file, &text, &args[1..]).await),
            Err(error) => Err(Failure::Told(127, format!("can't open '{file}': {}", files::why(&error)))),
        };
    }
    shell.set_parameters(args);
    shell.interactive |= call.fd(0).is_terminal();
    Ok(converse(call, shell).await)
}

/// The work, which in a shell that somebody types to ends with an interrupt.
async fn heeding<T>(interactive: bool, work: impl Future<Output = T>) -> Option<T> {
    match interactive {
        true => keys::until_interrupted(work).await,
        false => Some(work.await),
    }
}

/// Runs what comes line by line.
async fn converse(call: &Call, mut shell: Shell) -> i32 {
    let input = call.fd(0);
    let mut text = String::new();
    loop {
        let before = shell.clone();
        if shell.interactive {
            let prompt =
                shell.get(if text.is_empty() { "PS1" } else { "PS2" }).unwrap_or("# ").replace("\\w", shell.cwd());
            let _ = call.fd(2).write(prompt.as_bytes()).await;
        }
        let Some((line, ended)) = heeding(shell.interactive, files::line(&input, true, usize::MAX)).await else {
            text.clear();
            shell.interrupted(before);
            continue;
        };
        text.push_str(&line);
        text.push('\n');
        if !ended && !Shell::is_whole(&text) {
            continue;
        }
        let script = std::mem::take(&mut text);
        let Some(outcome) = heeding(shell.interactive, shell.script(&script)).await else {
            shell.interrupted(before);
            continue;
        };
        let status = match outcome {
            Err(Flow::Exit(status)) => return shell.leave(Ok(status)).await,
            Ok(status) | Err(Flow::Return(status)) => status,
            Err(_) => 0,
        };
        if ended {
            if shell.interactive {
                let _ = call.fd(2).write(b"\n").await;
            }
            let status = if line.is_empty() { shell.last_status() } else { status };
            return shell.leave(Ok(status)).await;
        }
    }
}

async fn env(call: &mut Call) -> Outcome {
    let mut args = call.args.iter().peekable();
    let mut shell = call.shell.clone();
    while let Some(arg) = args.peek() {
        match arg.as_str() {
            "-i" | "-" => shell.forget_environment(),
            "-u" => {
                args.next();
                if let Some(name) = args.peek() {
                    shell.forget(name);
                }
            }
            "-0" => {}
            "--" => {
                args.next();
                break;
            }
            other => match other.split_once('=') {
                Some((name, value)) => shell.export_variable(name, value),
                None => break,
            },
        }
        args.next();
    }
    let words: Vec<String> = args.cloned().collect();
    if words.is_empty() {
        let text: String = shell.environment().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        call.print(text).await?;
        return Ok(0);
    }
    Ok(start(&mut shell, words).await)
}

async fn xargs(call: &mut Call) -> Outcome {
    let (mut most, mut replace, mut zeros, mut not_empty) = (usize::MAX, None, false, false);
    let mut args = call.args.iter().cloned();
    let mut words: Vec<String> = Vec::new();
    while let Some(arg) = args.next() {
        let value = |joined: &str, args: &mut dyn Iterator<Item = String>| match joined {
            "" => args.next().unwrap_or_default(),
            joined => joined.to_owned(),
        };
        match arg.get(..2).unwrap_or(&arg) {
            "-n" | "-L" => most = value(&arg[2..], &mut args).parse().unwrap_or(1),
            "-I" => replace = Some(value(&arg[2..], &mut args)),
            // One after the other all the same.
            "-P" => drop(value(&arg[2..], &mut args)),
            "-0" => zeros = true,
            "-r" => not_empty = true,
            "-t" => {}
            _ => {
                words.push(arg);
                words.extend(args.by_ref());
            }
        }
    }
    if words.is_empty() {
        words.push("echo".to_owned());
    }
    let all = String::from_utf8_lossy(&call.fd(0).read_all().await?).into_owned();
    let items: Vec<String> = match (&replace, zeros) {
        (_, true) => all.split('\0').filter(|item| !item.is_empty()).map(str::to_owned).collect(),
        (Some(_), _) => all.lines().map(|line| line.trim_start().to_owned()).filter(|line| !line.is_empty()).collect(),
        (None, _) => all.split_whitespace().map(|item| item.trim_matches(['"', '\'']).to_owned()).collect(),
    };
    if items.is_empty() && (not_empty || replace.is_some()) {
        return Ok(0);
    }
    let calls: Vec<Vec<String>> = match &replace {
        Some(mark) => items.iter().map(|item| words.iter().map(|word| word.replace(mark, item)).collect()).collect(),
        None if items.is_empty() => vec![words],
        None => items.chunks(most.clamp(1, 5000)).map(|some| words.iter().chain(some).cloned().collect()).collect(),
    };
    let mut status = 0;
    for words in calls {
        let mut shell = call.shell.clone();
        status = match start(&mut shell, words).await {
            0 => status,
            127 => return Ok(127),
            _ => 123,
        };
        task::pause().await;
    }
    Ok(status)
}

async fn timeout(call: &mut Call) -> Outcome {
    let mut args = call.args.iter().peekable();
    let mut status = 143;
    while let Some(flag) = args.next_if(|arg| arg.starts_with('-')) {
        match flag.as_str() {
            "-s" => status = if args.next().is_some_and(|s| s.contains("KILL") || s == "9") { 137 } else { 143 },
            "-k" | "-t" => drop(args.next()),
            _ => {}
        }
    }
    let Some(limit) = args.next() else { return failed("usage: timeout SECS PROG [ARGS]") };
    let Some(seconds) = super::system::seconds(limit) else { return failed(format!("invalid number '{limit}'")) };
    let words: Vec<String> = args.cloned().collect();
    if words.is_empty() {
        return failed("usage: timeout SECS PROG [ARGS]");
    }
    let mut shell = call.shell.clone();
    Ok(files::within(seconds, start(&mut shell, words)).await.unwrap_or(status))
}

async fn which(call: &Call) -> Outcome {
    let mut status = i32::from(call.args.is_empty());
    for name in call.args.iter().filter(|arg| !arg.starts_with('-')) {
        match files::find_program(name, call.shell.get("PATH"), call.shell.cwd()) {
            files::Program::Tool(tool) => call.print(format!("/bin/{tool}\n")).await?,
            files::Program::Script(path, _) => call.print(path + "\n").await?,
            _ => status = 1,
        }
    }
    Ok(status)
}
