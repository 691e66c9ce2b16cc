//! find.

use std::fs;

use super::{Call, Failure, Outcome};
use crate::files::why;
use crate::shell::{Flow, matches};
use crate::task;

enum Test {
    Name(Vec<char>, bool, bool),
    Kind(char),
    Size(String),
    Newer(i64),
    MinutesOld(String),
    Empty,
    Print(char),
    Delete,
    Prune,
    Exec(Vec<String>),
    True,
    Not(Box<Test>),
    Or(Vec<Vec<Test>>),
}

struct Reader<'a> {
    call: &'a Call,
    args: &'a [String],
    at: usize,
    max_depth: usize,
    min_depth: usize,
    acts: bool,
}

fn wrong<T>(why: String) -> Result<T, Failure> {
    Err(Failure::Told(1, why))
}

impl Reader<'_> {
    fn value(&mut self, name: &str) -> Result<String, Failure> {
        self.at += 1;
        match self.args.get(self.at - 1) {
            Some(value) => Ok(value.clone()),
            None => wrong(format!("{name}: requires an argument")),
        }
    }

    fn branches(&mut self) -> Result<Vec<Vec<Test>>, Failure> {
        let mut branches = vec![Vec::new()];
        while let Some(arg) = self.args.get(self.at).cloned() {
            if arg == ")" {
                break;
            }
            self.at += 1;
            match arg.as_str() {
                "-o" | "-or" => branches.push(Vec::new()),
                "-a" | "-and" => {}
                _ => {
                    let test = self.test(&arg)?;
                    if let Some(branch) = branches.last_mut() {
                        branch.push(test);
                    }
                }
            }
        }
        Ok(branches)
    }

    fn test(&mut self, arg: &str) -> Result<Test, Failure> {
        Ok(match arg {
            "!" | "-not" => {
                let next = self.value(arg)?;
                Test::Not(Box::new(self.test(&next)?))
            }
            "(" => {
                let branches = self.branches()?;
                self.at += 1;
                Test::Or(branches)
            }
            "-name" | "-iname" | "-path" => {
                let value = self.value(arg)?;
                let fold = arg == "-iname";
                let value = if fold { value.to_lowercase() } else { value };
                Test::Name(value.chars().collect(), arg == "-path", fold)
            }
            "-type" => Test::Kind(self.value(arg)?.chars().next().unwrap_or('f')),
            "-size" => Test::Size(self.value(arg)?),
            "-mmin" => Test::MinutesOld(self.value(arg)?),
            "-mtime" => Test::MinutesOld(self.value(arg).map(|text| scaled(&text, 1440))?),
            "-newer" => {
                let name = self.value(arg)?;
                Test::Newer(fs::metadata(self.call.path(&name)).map_or(0, |m| super::list::seconds(&m)))
            }
            "-empty" => Test::Empty,
            "-true" => Test::True,
            "-prune" => Test::Prune,
            "-maxdepth" | "-mindepth" => {
                let text = self.value(arg)?;
                let Ok(depth) = text.parse() else { return wrong(format!("invalid number '{text}'")) };
                match arg {
                    "-maxdepth" => self.max_depth = depth,
                    _ => self.min_depth = depth,
                }
                Test::True
            }
            "-print" | "-print0" | "-delete" | "-exec" => {
                self.acts = true;
                match arg {
                    "-print" => Test::Print('\n'),
                    "-print0" => Test::Print('\0'),
                    "-delete" => Test::Delete,
                    _ => {
                        let end = self.args[self.at..].iter().position(|arg| arg == ";" || arg == "+");
                        let Some(end) = end else { return wrong("-exec: missing ;".to_owned()) };
                        let words = self.args[self.at..self.at + end].to_vec();
                        self.at += end + 1;
                        Test::Exec(words)
                    }
                }
            }
            other => return wrong(format!("unrecognized: {other}")),
        })
    }
}

fn scaled(text: &str, by: i64) -> String {
    let sign: String = text.chars().take_while(|c| "+-".contains(*c)).collect();
    format!("{sign}{}", text[sign.len()..].parse::<i64>().unwrap_or(0) * by)
}

/// `+3`, `-3`, `3`.
fn compares(text: &str, value: i64) -> bool {
    let number = text.trim_start_matches(['+', '-']).parse().unwrap_or(0);
    match text.chars().next() {
        Some('+') => value > number,
        Some('-') => value < number,
        _ => value == number,
    }
}

pub async fn run(call: &Call) -> Outcome {
    let roots = call.args.iter().take_while(|arg| !arg.starts_with(['-', '(', '!'])).count();
    let mut reader =
        Reader { call, args: &call.args[roots..], at: 0, max_depth: usize::MAX, min_depth: 0, acts: false };
    let branches = reader.branches()?;
    let (max_depth, min_depth, acts) = (reader.max_depth, reader.min_depth, reader.acts);
    let deletes = call.args.iter().any(|arg| arg == "-delete" || arg == "-depth");
    let mut stack: Vec<(String, usize, bool)> = match roots {
        0 => vec![(".".to_owned(), 0, false)],
        _ => call.args[..roots].iter().rev().map(|root| (root.clone(), 0, false)).collect(),
    };
    let mut status = 0;
    while let Some((name, depth, seen)) = stack.pop() {
        task::pause().await;
        let found = match fs::symlink_metadata(call.path(&name)) {
            Ok(found) => found,
            Err(error) => {
                call.complain(&format!("{name}: {}", why(&error))).await;
                status = 1;
                continue;
            }
        };
        if deletes && !seen && found.is_dir() {
            // What is inside comes first.
            stack.push((name.clone(), depth, true));
        } else if depth >= min_depth {
            let mut pruned = false;
            let matched = any(call, &branches, &name, &found, &mut pruned).await?;
            if matched && !acts {
                call.print(format!("{name}\n")).await?;
            }
            if pruned || deletes {
                continue;
            }
        }
        if found.is_dir() && depth < max_depth {
            let entries = fs::read_dir(call.path(&name)).into_iter().flatten().flatten();
            let mut inner: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            inner.sort();
            let join = |inner: String| (format!("{}/{inner}", name.trim_end_matches('/')), depth + 1, false);
            stack.extend(inner.into_iter().rev().map(join));
        }
    }
    Ok(status)
}

async fn any(
    call: &Call,
    branches: &[Vec<Test>],
    name: &str,
    found: &fs::Metadata,
    pruned: &mut bool,
) -> Result<bool, Failure> {
    for branch in branches {
        let mut all = true;
        for test in branch {
            if !Box::pin(meets(call, test, name, found, pruned)).await? {
                all = false;
                break;
            }
        }
        if all {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn meets(call: &Call, test: &Test, name: &str, found: &fs::Metadata, pruned: &mut bool) -> Result<bool, Failure> {
    Ok(match test {
        Test::Name(pattern, whole, fold) => {
            let text = if *whole { name } else { super::base(name) };
            let text = if *fold { text.to_lowercase() } else { text.to_owned() };
            matches(pattern, &text.chars().collect::<Vec<_>>())
        }
        Test::Kind(kind) => match kind {
            'd' => found.is_dir(),
            'l' => found.is_symlink(),
            'f' => found.is_file(),
            _ => false,
        },
        Test::Size(text) => {
            let unit = match text.chars().last() {
                Some('c') => 1,
                Some('k') => 1024,
                Some('M') => 1 << 20,
                _ => 512,
            };
            compares(text.trim_end_matches(|c: char| c.is_alphabetic()), found.len().div_ceil(unit) as i64)
        }
        Test::Newer(at) => super::list::seconds(found) > *at,
        Test::MinutesOld(text) => {
            let now = wasip2::clocks::wall_clock::now().seconds as i64;
            compares(text, (now - super::list::seconds(found)) / 60)
        }
        Test::Empty if found.is_dir() => {
            fs::read_dir(call.path(name)).is_ok_and(|mut entries| entries.next().is_none())
        }
        Test::Empty => found.len() == 0,
        Test::True => true,
        Test::Print(end) => {
            call.print(format!("{name}{end}")).await?;
            true
        }
        Test::Delete => {
            super::dir::remove(&call.path(name), false).or_else(|_| fs::remove_dir(call.path(name))).is_ok()
        }
        Test::Prune => {
            *pruned = true;
            true
        }
        Test::Exec(words) => {
            let words = words.iter().map(|word| word.replace("{}", name)).collect();
            let mut shell = call.shell.clone();
            match Box::pin(shell.call(words, false)).await {
                Ok(status) | Err(Flow::Exit(status)) => status == 0,
                Err(_) => false,
            }
        }
        Test::Not(test) => !Box::pin(meets(call, test, name, found, pruned)).await?,
        Test::Or(branches) => Box::pin(any(call, branches, name, found, pruned)).await?,
    })
}
