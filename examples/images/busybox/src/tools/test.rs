//! test, [, [[.

use std::fs;

use super::{Call, Failure, Outcome};

pub async fn run(call: &Call) -> Outcome {
    let mut args: Vec<&str> = call.args.iter().map(String::as_str).collect();
    let end = match call.name {
        "[" => Some("]"),
        "[[" => Some("]]"),
        _ => None,
    };
    if let Some(end) = end
        && args.pop() != Some(end)
    {
        return wrong(format!("missing {end}"));
    }
    let mut test = Test { call, args: &args, at: 0 };
    let value = match args.as_slice() {
        [] => false,
        // With few words their number says what is meant, whatever they look like.
        [one] => !one.is_empty(),
        ["!", one] => one.is_empty(),
        [left, operator, right] if is_binary(operator) => binary(call, left, operator, right)?,
        _ => {
            let value = test.or()?;
            if test.at < args.len() {
                return wrong(format!("{}: unexpected operator", args[test.at]));
            }
            value
        }
    };
    Ok(i32::from(!value))
}

fn wrong<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Told(2, why.into()))
}

struct Test<'a> {
    call: &'a Call,
    args: &'a [&'a str],
    at: usize,
}

impl Test<'_> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.args.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<bool, Failure> {
        let mut value = self.and()?;
        while self.take("-o") {
            value |= self.and()?;
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<bool, Failure> {
        let mut value = self.not()?;
        while self.take("-a") {
            value &= self.not()?;
        }
        Ok(value)
    }

    fn not(&mut self) -> Result<bool, Failure> {
        let mut not = false;
        while self.args.len() > self.at + 1 && self.take("!") {
            not = !not;
        }
        Ok(self.primary()? != not)
    }

    fn primary(&mut self) -> Result<bool, Failure> {
        let rest = &self.args[self.at..];
        match rest {
            [left, operator, right, ..] if is_binary(operator) => {
                self.at += 3;
                binary(self.call, left, operator, right)
            }
            ["(", ..] => {
                self.at += 1;
                let value = self.or()?;
                if self.take(")") { Ok(value) } else { wrong("closing paren expected") }
            }
            [operator, operand, ..] if operator.len() == 2 && operator.starts_with('-') => {
                self.at += 2;
                unary(self.call, operator, operand)
            }
            [word, ..] => {
                self.at += 1;
                Ok(!word.is_empty())
            }
            [] => wrong("argument expected"),
        }
    }
}

fn unary(call: &Call, operator: &str, operand: &str) -> Result<bool, Failure> {
    let path = call.path(operand);
    let device = crate::files::is_device(&path);
    let found = || fs::metadata(&path).ok();
    Ok(match operator {
        "-z" => operand.is_empty(),
        "-n" => !operand.is_empty(),
        "-e" => device || found().is_some(),
        "-f" => found().is_some_and(|m| m.is_file()),
        "-d" => found().is_some_and(|m| m.is_dir()),
        "-s" => found().is_some_and(|m| m.len() > 0),
        "-h" | "-L" => fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()),
        // There are no modes; who sees a file may read it.
        "-r" | "-w" => device || found().is_some(),
        "-x" => {
            found().is_some() || !matches!(crate::files::find_program(&path, None, "/"), crate::files::Program::None)
        }
        "-c" => device,
        "-b" | "-p" | "-S" | "-u" | "-g" | "-k" => false,
        "-O" | "-G" => found().is_some(),
        "-t" => operand.parse().is_ok_and(|fd| call.fd(fd).is_terminal()),
        "-v" => call.shell.get(operand).is_some(),
        _ => return wrong(format!("{operator}: unknown operand")),
    })
}

fn is_binary(operator: &str) -> bool {
    matches!(
        operator,
        "=" | "==" | "!=" | "<" | ">" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-nt" | "-ot" | "-ef"
    )
}

fn binary(call: &Call, left: &str, operator: &str, right: &str) -> Result<bool, Failure> {
    let number = |text: &str| match text.trim().parse::<i64>() {
        Ok(number) => Ok(number),
        Err(_) => wrong(format!("{text}: bad number")),
    };
    let changed = |name: &str| fs::metadata(call.path(name)).and_then(|m| m.modified()).ok();
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-nt" => changed(left) > changed(right),
        "-ot" => changed(left) < changed(right),
        "-ef" => call.path(left) == call.path(right),
        "-eq" => number(left)? == number(right)?,
        "-ne" => number(left)? != number(right)?,
        "-lt" => number(left)? < number(right)?,
        "-le" => number(left)? <= number(right)?,
        "-gt" => number(left)? > number(right)?,
        _ => number(left)? >= number(right)?,
    })
}
