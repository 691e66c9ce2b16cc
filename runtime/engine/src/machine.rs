//! How much memory this process can count on.

use std::fs;
use std::path::{Path, PathBuf};

/// The machine's memory or, where that is less, what the process's control groups let it use.
pub(crate) fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(Path::new("/sys/fs/cgroup"), &groups).into_iter();
    let limits = limits.filter_map(|file| limit(&fs::read_to_string(file).ok()?));
    machine.into_iter().chain(limits).min()
}

/// `MemTotal` of `/proc/meminfo`.
fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that limit the groups of `/proc/self/cgroup`: of each group and of those that it is in.
fn limit_files(root: &Path, groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (dir, name) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            list if list.split(',').any(|c| c == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|part| dir.join(part).join(name)));
    }
    files
}

/// The content of such a file; `max` is no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        let check = |text: &str, expected| assert_eq!(mem_total(text), expected);
        check("MemTotal:       24684084 kB\nMemFree: 1 kB\n", Some(24_684_084 * 1024));
        check("MemFree: 1 kB\n", None);
        check("MemTotal: many kB\n", None);
    }

    #[test]
    fn limits_are_looked_for_in_a_group_and_those_around_it() {
        let check = |groups: &str, expected: &[&str]| {
            let files: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(limit_files(Path::new("/cg"), groups), files);
        };
        check("0::/a/b\n", &["/cg/a/b/memory.max", "/cg/a/memory.max", "/cg/memory.max"]);
        check("0::/\n", &["/cg/memory.max"]);
        check("5:cpu:/x\n4:memory:/x\n", &["/cg/memory/x/memory.limit_in_bytes", "/cg/memory/memory.limit_in_bytes"]);
        check("", &[]);
        assert_eq!((limit("max\n"), limit("1048576\n"), limit("0")), (None, Some(1 << 20), None));
    }
}
