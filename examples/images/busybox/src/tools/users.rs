//! Who the program is: a component is nobody, and tells what the node left in `/proc/self/status` of the pod's word on it.

use super::{Call, Outcome};
use crate::files;

/// Numbers of the user, its group and the other groups.
#[derive(Default)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// The user of this program.
pub fn own() -> User {
    let text = files::read_text("/proc/self/status").unwrap_or_default();
    let numbers = |key: &str| -> Vec<u32> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    let first = |key| numbers(key).first().copied().unwrap_or_default();
    User { uid: first("Uid:"), gid: first("Gid:"), groups: numbers("Groups:") }
}

/// The name that a file of the form of `/etc/passwd` gives to a number.
fn named(file: &str, number: u32) -> Option<String> {
    let text = files::read_text(file).unwrap_or_default();
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.get(2) == Some(&&*number.to_string()))?.first().map(|name| (*name).to_owned())
}

pub fn user_name(uid: u32) -> Option<String> {
    named("/etc/passwd", uid)
}

pub fn group_name(gid: u32) -> Option<String> {
    named("/etc/group", gid)
}

/// The name, else the number.
pub fn shown(name: Option<String>, number: u32) -> String {
    name.unwrap_or_else(|| number.to_string())
}

/// id and whoami.
pub async fn run(call: &Call) -> Outcome {
    let User { uid, gid, groups } = own();
    if call.name == "whoami" {
        let Some(name) = user_name(uid) else { return super::failed(format!("unknown uid {uid}")) };
        call.print(name + "\n").await?;
        return Ok(0);
    }
    let options = call.options("ugGnr", "")?;
    let mut all = vec![gid];
    for group in groups {
        if !all.contains(&group) {
            all.push(group);
        }
    }
    let word =
        |name: Option<String>, number: u32| if options.has('n') { shown(name, number) } else { number.to_string() };
    let full = |name: Option<String>, number: u32| match name {
        Some(name) => format!("{number}({name})"),
        None => number.to_string(),
    };
    let joined = |sign: &str, form: &dyn Fn(Option<String>, u32) -> String| {
        all.iter().map(|group| form(group_name(*group), *group)).collect::<Vec<_>>().join(sign)
    };
    let text = if options.has('u') {
        word(user_name(uid), uid)
    } else if options.has('g') {
        word(group_name(gid), gid)
    } else if options.has('G') {
        joined(" ", &word)
    } else {
        let (user, group) = (full(user_name(uid), uid), full(group_name(gid), gid));
        format!("uid={user} gid={group} groups={}", joined(",", &full))
    };
    call.print(text + "\n").await?;
    Ok(0)
}
