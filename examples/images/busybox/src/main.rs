//! A shell and the usual small programs in one component, as the image `busybox` has them.
//!
//! The name under which it is called says which program is meant: `sh`, `/bin/cat`. A component can start no others, so
//! that a script has what is in here, functions, and other scripts.

mod files;
mod keys;
mod regex;
mod shell;
mod stream;
mod task;
mod tools;

use shell::{Fds, Flow, PATH, Shell};
use stream::Fd;

fn main() {
    let status = task::run(async {
        if Fd::Stdin.is_terminal() {
            keys::follow();
        }
        keys::until_interrupted(start()).await.unwrap_or(keys::INTERRUPTED)
    });
    wasip2::cli::exit::exit_with_code((status & 0xff) as u8);
}

async fn start() -> i32 {
    let mut args: Vec<String> = std::env::args().collect();
    if args.first().is_some_and(|name| tools::base(name) == "busybox") && args.len() > 1 {
        args.remove(0);
    }
    let Some(name) = args.first().cloned() else { return 127 };
    let fds = Fds::from([(0, Fd::Stdin), (1, Fd::Stdout), (2, Fd::Stderr)]);
    let mut environment: Vec<(String, String)> = std::env::vars().collect();
    for (name, value) in [("PATH", PATH), ("HOME", "/root")] {
        if environment.iter().all(|(known, _)| known != name) {
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    let cwd = environment.iter().find(|(name, _)| name == "PWD").map_or("/", |(_, dir)| dir.as_str()).to_owned();
    let cwd = if std::fs::metadata(&cwd).is_ok_and(|found| found.is_dir()) { cwd } else { "/".to_owned() };
    let mut shell = Shell::new(environment, &cwd, fds.clone());
    match files::find_program(&name, None, "/") {
        files::Program::None => {
            let text = format!("exec: \"{name}\": executable file not found in $PATH\n");
            let _ = fds[&2].write(text.as_bytes()).await;
            127
        }
        _ => match shell.call(args, false).await {
            Ok(status) | Err(Flow::Exit(status)) => status,
            Err(_) => 1,
        },
    }
}
