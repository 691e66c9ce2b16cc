//! mounttest: what is in a volume, and how it is mounted, as far as components are told.

use std::fs;
use std::io::Error;

use super::Flags;
use crate::files::why;
use crate::task;
use crate::tools::{Call, Failure, Outcome, list};

const NEW: &str = "mount-tester new file\n";

/// Each as it is asked for, and always in this order; whether all went well.
pub async fn run(call: &Call, flags: &Flags<'_>) -> Outcome {
    let mut good = true;
    if let Some(path) = flags.get("fs_type") {
        let kind = if memory(path) { "tmpfs" } else { "61267" };
        good &=
            told(call, fs::metadata(path).map(|_| format!("mount type of {path:?}: {kind}\n")), "statfs", path).await?;
    }
    for (name, bits) in
        [("new_file_0644", 0o644), ("new_file_0666", 0o666), ("new_file_0660", 0o660), ("new_file_0777", 0o777)]
    {
        let Some(path) = flags.get(name) else { continue };
        good &= match fs::write(path, NEW) {
            Ok(()) => {
                list::set_bits(path, bits);
                content(call, path).await?
            }
            Err(error) => {
                call.print(format!("error writing new file {path:?}: open {path}: {}\n", words(&error))).await?;
                false
            }
        };
    }
    if let Some(path) = flags.get("file_mode") {
        good &= told(call, list::mode_of(path).map(|mode| format!("mode of file {path:?}: {mode}\n")), "Stat", path)
            .await?;
    }
    if let Some(path) = flags.get("file_perm") {
        let perms = list::mode_of(path).map(|mode| format!("perms of file {path:?}: -{}\n", &mode[1..]));
        good &= told(call, perms, "Stat", path).await?;
    }
    if let Some(path) = flags.get("file_owner") {
        let (uid, gid) = list::owner(path);
        let owner = fs::metadata(path).map(|_| format!("owner UID of {path:?}: {uid}\nowner GID of {path:?}: {gid}\n"));
        good &= told(call, owner, "stat", path).await?;
    }
    if let Some(path) = flags.get("file_content") {
        good &= content(call, path).await?;
    }
    if let Some(path) = flags.get("file_content_in_loop") {
        good &= again_and_again(call, flags, path).await?;
    }
    Ok(i32::from(!good))
}

/// Whether the volume there lies in memory, as far as its mount says.
fn memory(path: &str) -> bool {
    let mounts = crate::files::read_text("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        (fields.next(), fields.next()) == (Some("tmpfs"), Some(path))
    })
}

fn words(error: &Error) -> String {
    let text = why(error);
    text[..1].to_lowercase() + &text[1..]
}

async fn told(call: &Call, found: Result<String, Error>, what: &str, path: &str) -> Result<bool, Failure> {
    let good = found.is_ok();
    let text = found.unwrap_or_else(|error| format!("error from {what}({path:?}): {}\n", words(&error)));
    call.print(text).await?;
    Ok(good)
}

async fn content(call: &Call, path: &str) -> Result<bool, Failure> {
    match crate::files::read_text(path) {
        Ok(text) => call.print(format!("content of file {path:?}: {text}\n")).await.map(|()| true),
        Err(error) => {
            let text = format!("error reading file content for {path:?}: open {path}: {}\n", words(&error));
            call.print(text).await.map(|()| false)
        }
    }
}

async fn again_and_again(call: &Call, flags: &Flags<'_>, path: &str) -> Result<bool, Failure> {
    let limit: f64 = flags.get("retry_time").and_then(|text| text.parse().ok()).unwrap_or(180.0);
    let until_expected = flags.get("break_on_expected_content") != Some("false");
    let begun = wasip2::clocks::monotonic_clock::now();
    let mut good = true;
    while ((wasip2::clocks::monotonic_clock::now() - begun) as f64) < limit * 1e9 {
        match crate::files::read_text(path) {
            Ok(text) => {
                good = true;
                call.print(format!("content of file {path:?}: {text}\n")).await?;
                if until_expected && text == NEW {
                    break;
                }
            }
            Err(error) => {
                good = false;
                call.print(format!("Error reading file {path}: open {path}: {}, retrying\n", words(&error))).await?;
            }
        }
        task::sleep(2.0).await;
    }
    Ok(good)
}
