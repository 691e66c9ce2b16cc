//! sleep, pwd, id, hostname, uname, printenv and others that tell of the container, and pause.

use super::{Call, Outcome, failed};
use crate::shell::sum_of;
use crate::task;

/// Seconds of `5`, `0.1`, `2m` or `infinity`.
pub fn seconds(text: &str) -> Option<f64> {
    if text == "infinity" || text == "inf" {
        return Some(f64::INFINITY);
    }
    let (number, unit) = match text.chars().last()? {
        's' => (&text[..text.len() - 1], 1.0),
        'm' => (&text[..text.len() - 1], 60.0),
        'h' => (&text[..text.len() - 1], 3600.0),
        'd' => (&text[..text.len() - 1], 86_400.0),
        _ => (text, 1.0),
    };
    number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n * unit)
}

pub async fn run(call: &Call) -> Outcome {
    let hostname = || call.shell.get("HOSTNAME").unwrap_or("localhost").to_owned();
    let text = match call.name {
        "sleep" => return sleep(call).await,
        "usleep" => {
            let micros: f64 = call.args.first().and_then(|text| text.parse().ok()).unwrap_or(0.0);
            task::sleep(micros / 1e6).await;
            return Ok(0);
        }
        "pause" => return pause().await,
        "pwd" => call.shell.cwd().to_owned(),
        "hostname" => match call.args.first().map(String::as_str) {
            Some("-i" | "-I") => address_of(&hostname()),
            Some("-s") => hostname().split('.').next().unwrap_or_default().to_owned(),
            _ => hostname(),
        },
        "uname" => uname(call, &hostname()),
        "nproc" => "1".to_owned(),
        "tty" => {
            let terminal = call.fd(0).is_terminal();
            call.print(if terminal { "/dev/tty\n" } else { "not a tty\n" }).await?;
            return Ok(i32::from(!terminal));
        }
        "ps" => "PID   USER     TIME  COMMAND\n    1 root      0:00 sh".to_owned(),
        "uptime" => {
            let up = wasip2::clocks::monotonic_clock::now() / 60_000_000_000;
            format!("up {up} min,  load average: 0.00, 0.00, 0.00")
        }
        "printenv" => return printenv(call).await,
        "expr" => return expr(call).await,
        other => return failed(format!("{other} is not provided")),
    };
    call.print(text + "\n").await?;
    Ok(0)
}

async fn sleep(call: &Call) -> Outcome {
    if call.args.is_empty() {
        return failed("missing operand");
    }
    let mut all = 0.0;
    for text in &call.args {
        match seconds(text) {
            Some(seconds) => all += seconds,
            None => return failed(format!("invalid number '{text}'")),
        }
    }
    task::sleep(all).await;
    Ok(0)
}

async fn pause() -> Outcome {
    loop {
        task::sleep(f64::INFINITY).await;
    }
}

/// What `/etc/hosts` says of a name.
fn address_of(name: &str) -> String {
    let hosts = crate::files::read_text("/etc/hosts").unwrap_or_default();
    let of = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?;
        words.any(|word| word == name).then(|| address.to_owned())
    };
    hosts.lines().find_map(of).unwrap_or_else(|| "127.0.0.1".to_owned())
}

fn uname(call: &Call, hostname: &str) -> String {
    let flags: String = call.args.iter().flat_map(|arg| arg.chars()).filter(|c| *c != '-').collect();
    let all = flags.contains('a');
    let version = "#1 Palinurus";
    let parts = [('s', "Linux"), ('n', hostname), ('r', "6.0.0-wasi"), ('v', version), ('m', "wasm32"), ('o', "WASI")];
    let chosen = parts.iter().filter(|(flag, _)| all || flags.contains(*flag) || flags.is_empty() && *flag == 's');
    chosen.map(|(_, text)| *text).collect::<Vec<_>>().join(" ")
}

async fn printenv(call: &Call) -> Outcome {
    let all = call.shell.environment();
    let names: Vec<&String> = call.args.iter().filter(|arg| !arg.starts_with('-')).collect();
    if names.is_empty() {
        call.print(all.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>()).await?;
        return Ok(0);
    }
    let mut status = 0;
    for name in names {
        match all.iter().find(|(known, _)| known == name) {
            Some((_, value)) => call.print(format!("{value}\n")).await?,
            None => status = 1,
        }
    }
    Ok(status)
}

async fn expr(call: &Call) -> Outcome {
    let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
    let value = match args.as_slice() {
        ["length", text] => text.chars().count().to_string(),
        [one] => (*one).to_owned(),
        [left, "=" | "==", right] => i32::from(left == right).to_string(),
        [left, "!=", right] => i32::from(left != right).to_string(),
        [text, ":", pattern] => {
            let regex = crate::regex::Regex::new(&format!("^{pattern}"), false, false);
            let regex = regex.or_else(failed)?;
            let chars: Vec<char> = text.chars().collect();
            match regex.find(&chars, 0) {
                Some(found) => match found.get(1).copied() {
                    Some(group) => group.map(|(from, to)| chars[from..to].iter().collect()).unwrap_or_default(),
                    None => found[0].map_or(0, |(from, to)| to - from).to_string(),
                },
                None => "0".to_owned(),
            }
        }
        _ => match sum_of(&args.join(" ")) {
            Ok(value) => value.to_string(),
            Err(why) => return Err(super::Failure::Told(2, why)),
        },
    };
    call.print(format!("{value}\n")).await?;
    Ok(i32::from(value.is_empty() || value == "0"))
}
