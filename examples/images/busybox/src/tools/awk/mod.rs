//! awk: its language without what would start other programs; `print | "command"` does at the end.

mod eval;
mod expr;
mod functions;
mod lex;
mod parse;
mod run;
mod syntax;
mod value;

use std::collections::VecDeque;

use super::{Call, Failure, Outcome, failed};
use crate::stream::{Fd, Lines};
use crate::task;
use run::{Flow, Machine};
use value::Value;

/// What is printed is let go once it is this long.
const PIECE: usize = 16 << 10;

pub async fn run(call: &Call) -> Outcome {
    let (mut text, mut settings) = (String::new(), Vec::new());
    let mut args = call.args.iter().cloned().peekable();
    while let Some(arg) = args.next_if(|arg| arg.len() > 1 && arg.starts_with('-')) {
        if arg == "--" {
            break;
        }
        let (flag, joined) = arg.split_at(2);
        let value = if joined.is_empty() { args.next().unwrap_or_default() } else { joined.to_owned() };
        match flag {
            "-F" => settings.push(("FS".to_owned(), if value == "t" { "\\t".to_owned() } else { value })),
            "-v" => match value.split_once('=') {
                Some((name, value)) => settings.push((name.to_owned(), value.to_owned())),
                None => return failed(format!("bad assignment '{value}'")),
            },
            "-f" => {
                let file = call.input(&value)?.read_all().await?;
                text.push_str(&String::from_utf8_lossy(&file));
                text.push('\n');
            }
            _ => return failed(format!("invalid option -- '{}'", &flag[1..])),
        }
    }
    if text.is_empty() {
        let Some(program) = args.next() else {
            return Err(Failure::Told(2, "usage: awk PROGRAM [FILE]...".to_owned()));
        };
        text = program;
    }
    let program = parse::parse(&text).map_err(|why| Failure::Told(2, why))?;
    let mut machine = Machine::new(call, &program);
    for (name, value) in settings {
        let value = String::from_utf8_lossy(&super::print::unescape(&value).0).into_owned();
        machine.set(&name, Value::input(value));
    }
    let operands: Vec<String> = args.collect();
    let argv = std::iter::once("awk".to_owned()).chain(operands.iter().cloned()).enumerate();
    machine.set("ARGC", Value::Number(operands.len() as f64 + 1.0));
    machine.array("ARGV").borrow_mut().extend(argv.map(|(i, arg)| (i.to_string(), Value::input(arg))));
    let outcome = all(&mut machine, operands).await;
    finish(machine, outcome).await
}

/// Whether the program goes on.
fn goes_on(done: Result<(), Flow>) -> Result<bool, Failure> {
    match done {
        Ok(()) | Err(Flow::Next | Flow::Break | Flow::Continue | Flow::Return(_)) => Ok(true),
        Err(Flow::Exit) => Ok(false),
        Err(Flow::Wrong(why)) => Err(Failure::Told(2, why)),
    }
}

async fn all(machine: &mut Machine<'_>, operands: Vec<String>) -> Result<(), Failure> {
    let program = machine.program;
    let mut running = true;
    if program.reads {
        let files: Vec<&String> = operands.iter().filter(|name| !name.contains('=')).collect();
        let standard = "-".to_owned();
        for name in if files.is_empty() { vec![&standard] } else { files } {
            let text = machine.call.input(name)?.read_all().await?;
            machine.ahead.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
    }
    for block in &program.begin {
        running = running && goes_on(machine.statement(block))?;
    }
    let reads = !program.rules.is_empty() || !program.end.is_empty();
    if running && reads && program.reads {
        while let (true, Some(record)) = (running, machine.ahead.pop_front()) {
            running = one(machine, &record).await?;
        }
    } else if running && reads {
        let mut any = false;
        for name in &operands {
            match name.split_once('=').filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
                Some((name, value)) => machine.set(name, Value::input(value)),
                None if running => {
                    any = true;
                    running = records(machine, name).await?;
                }
                None => {}
            }
        }
        if !any {
            running = records(machine, "-").await?;
        }
    }
    // An exit in a rule still runs what comes at the end, one there does not.
    for block in &program.end {
        if !goes_on(machine.statement(block))? {
            break;
        }
    }
    let _ = running;
    Ok(())
}

/// The records of one file; whether the program goes on.
async fn records(machine: &mut Machine<'_>, name: &str) -> Result<bool, Failure> {
    let input = machine.call.input(name)?;
    machine.set("FILENAME", Value::text(if name == "-" { "" } else { name }));
    machine.set("FNR", Value::Number(0.0));
    let separator = machine.get("RS").string();
    if &*separator != "\n" {
        let text = String::from_utf8_lossy(&input.read_all().await?).into_owned();
        let records: VecDeque<&str> = match &*separator {
            "" => text.split("\n\n").map(|part| part.trim_matches('\n')).filter(|part| !part.is_empty()).collect(),
            separator => text.strip_suffix('\n').unwrap_or(&text).split(separator).collect(),
        };
        for record in records {
            if !one(machine, record).await? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next().await? {
        let line = String::from_utf8_lossy(&line).into_owned();
        if !one(machine, line.strip_suffix('\n').unwrap_or(&line)).await? {
            return Ok(false);
        }
        if machine.out.len() > PIECE || !lines.has_more() {
            let out = std::mem::take(&mut machine.out);
            machine.call.print(out).await?;
        }
    }
    Ok(true)
}

async fn one(machine: &mut Machine<'_>, record: &str) -> Result<bool, Failure> {
    machine.take_record(record);
    let goes_on = goes_on(machine.rules())?;
    if machine.out.len() > PIECE {
        let out = std::mem::take(&mut machine.out);
        machine.call.print(out).await?;
        task::pause().await;
    }
    Ok(goes_on)
}

/// Lets go what was printed, gives the programs what they are to read, and says how it ended.
async fn finish(machine: Machine<'_>, outcome: Result<(), Failure>) -> Outcome {
    let Machine { call, out, pipes, status, .. } = machine;
    call.print(out).await?;
    for (command, bytes) in pipes {
        let mut shell = call.shell.clone();
        shell.put_fd(0, Fd::Text(std::rc::Rc::new(std::cell::RefCell::new(bytes.into()))));
        shell.file("awk".to_owned(), &command, &[]).await;
    }
    outcome.map(|()| status)
}
