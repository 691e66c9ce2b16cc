//! A command that does what its first argument says, good or bad.

use std::io::Write;
use std::time::Duration;
use std::{env, fs, process, thread};

fn main() -> Result<(), String> {
    let args: Vec<String> = env::args().collect();
    let arg = |i: usize| args.get(i).map_or("", String::as_str);
    match arg(1) {
        "args" => println!("{}", args.join("|")),
        "env" => env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "exit" => process::exit(arg(2).parse().expect("a number")),
        "fail" => return Err("failed as told".into()),
        "trap" => panic!("trapped as told"),
        "loop" => spin(),
        "alloc" => alloc(),
        "print" => loop {
            println!("{}", "x".repeat(100));
        },
        "print-partial" => {
            print!("no newline");
            std::io::stdout().flush().expect("stdout takes it");
        }
        "cat" => print!("{}", fs::read_to_string(arg(2)).map_err(|e| e.to_string())?),
        "put" => fs::write(arg(2), arg(3)).map_err(|e| e.to_string())?,
        "ls" => {
            for entry in fs::read_dir(arg(2)).map_err(|e| e.to_string())? {
                println!("{}", entry.map_err(|e| e.to_string())?.path().display());
            }
        }
        "sleep" => {
            println!("asleep");
            thread::sleep(Duration::from_millis(arg(2).parse().expect("a number")));
            println!("awake");
        }
        "count" => {
            // Work between two lines, for tests of fairness.
            for n in 0..arg(2).parse::<u64>().expect("a number") {
                println!("{n}");
            }
        }
        other => return Err(format!("no such thing: {other:?}")),
    }
    Ok(())
}

fn spin() -> ! {
    println!("spinning");
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn alloc() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![1; 1 << 20]);
        std::hint::black_box(&kept);
    }
}
