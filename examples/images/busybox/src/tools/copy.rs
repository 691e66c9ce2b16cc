//! cp, mv, cmp.

use std::fs;

use super::{Call, Failure, Outcome, base, dir, failed};
use crate::files::{How, refused, why};
use crate::task;

pub async fn run(call: &Call) -> Outcome {
    if call.name == "cmp" {
        return cmp(call).await;
    }
    let mut options = call.options("rRafpdvniLPHTu", "t")?;
    let into = match options.value('t') {
        Some(dir) => dir.to_owned(),
        None if options.rest.len() > 1 => options.rest.pop().unwrap_or_default(),
        None => return failed("missing file operand"),
    };
    let is_dir = fs::metadata(call.path(&into)).is_ok_and(|m| m.is_dir()) && !options.has('T');
    if options.rest.len() > 1 && !is_dir {
        return failed(format!("target '{into}' is not a directory"));
    }
    let recursive = options.has('r') || options.has('R') || options.has('a');
    let mut status = 0;
    for name in &options.rest {
        let to = if is_dir { format!("{}/{}", into.trim_end_matches('/'), base(name)) } else { into.clone() };
        let done = match call.name {
            "mv" => rename(call, name, &to).await,
            _ => copy(call, name, &to, recursive, options.has('p') || options.has('a')).await,
        };
        match done {
            Err(Failure::Told(code, why)) => {
                call.complain(&why).await;
                status = code;
            }
            other => other?,
        }
    }
    Ok(status)
}

async fn copy(call: &Call, from: &str, to: &str, recursive: bool, times: bool) -> Result<(), Failure> {
    let (source, target) = (call.path(from), call.path(to));
    let told = |name: &str, what: &str| {
        let (name, what) = (name.to_owned(), what.to_owned());
        move |error: std::io::Error| Failure::Told(1, format!("{what} '{name}': {}", why(&error)))
    };
    let changing = |name: &str, what: &str| {
        let (path, told) = (target.clone(), told(name, what));
        move |error| told(refused(&path, error))
    };
    if crate::files::is_device(&source) {
        let bytes = call.input(from)?;
        let output = call.open(to, How::Write)?;
        return Ok(output.write(&bytes.read_all().await?).await?);
    }
    let found = if recursive { fs::symlink_metadata(&source) } else { fs::metadata(&source) };
    let found = found.map_err(told(from, "can't stat"))?;
    if found.is_symlink() {
        let link = fs::read_link(&source).map_err(told(from, "can't read link"))?;
        if fs::symlink_metadata(&target).is_ok() {
            fs::remove_file(&target).map_err(changing(to, "can't remove"))?;
        }
        return dir::symlink(&link.to_string_lossy(), &target);
    }
    if !found.is_dir() {
        if source == target {
            return failed(format!("'{from}' and '{to}' are the same file"));
        }
        fs::copy(&source, &target).map_err(changing(to, "can't create"))?;
        if times && let Ok(at) = found.modified() {
            // Where times cannot be set they are not.
            let _ = dir::set_modified(&target, at);
        }
        return Ok(());
    }
    if !recursive {
        return failed(format!("omitting directory '{from}'"));
    }
    if target.starts_with(&format!("{source}/")) {
        return failed(format!("can't copy '{from}' into itself"));
    }
    if fs::metadata(&target).is_err() {
        fs::create_dir(&target).map_err(changing(to, "can't create directory"))?;
    }
    for entry in fs::read_dir(&source).map_err(told(from, "can't open"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        task::pause().await;
        Box::pin(copy(call, &format!("{from}/{name}"), &format!("{to}/{name}"), true, times)).await?;
    }
    Ok(())
}

async fn rename(call: &Call, from: &str, to: &str) -> Result<(), Failure> {
    let (source, target) = (call.path(from), call.path(to));
    if let Err(error) = fs::symlink_metadata(&source) {
        return failed(format!("can't rename '{from}': {}", why(&error)));
    }
    if fs::rename(&source, &target).is_ok() {
        return Ok(());
    }
    // Into another volume.
    copy(call, from, to, true, true).await?;
    let removed = dir::remove(&source, true).map_err(|error| refused(&source, error));
    removed.map_err(|error| Failure::Told(1, format!("can't remove '{from}': {}", why(&error))))
}

async fn cmp(call: &Call) -> Outcome {
    let options = call.options("sl", "n")?;
    let [left, right] = options.rest.as_slice() else { return failed("usage: cmp [-s] FILE1 FILE2") };
    let (a, b) = (call.input(left)?.read_all().await?, call.input(right)?.read_all().await?);
    if a == b {
        return Ok(0);
    }
    if !options.has('s') {
        match a.iter().zip(&b).position(|(x, y)| x != y) {
            Some(at) => {
                let line = a[..at].iter().filter(|c| **c == b'\n').count() + 1;
                call.print(format!("{left} {right} differ: char {}, line {line}\n", at + 1)).await?;
            }
            None => call.complain(&format!("EOF on {}", if a.len() < b.len() { left } else { right })).await,
        }
    }
    Ok(1)
}
