//! The programs that every container has: a shell and the usual small tools, in one component.

/// Their names, as the component itself has them: a test holds the two lists together.
const NAMES: &[&str] = &[
    "[",
    "[[",
    "agnhost",
    "ash",
    "awk",
    "base64",
    "basename",
    "bash",
    "busybox",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "cp",
    "curl",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "false",
    "fgrep",
    "find",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hexdump",
    "hostname",
    "id",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "mount",
    "mv",
    "nc",
    "nl",
    "nohup",
    "nproc",
    "od",
    "pause",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rev",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "sync",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "time",
    "timeout",
    "touch",
    "tr",
    "true",
    "tty",
    "uname",
    "uniq",
    "uptime",
    "usleep",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
    "zcat",
];

const DIRS: [&str; 6] = ["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Whether a program of that name, or at that path, is one of them.
pub(crate) fn provide(program: &str) -> bool {
    match program.rsplit_once('/') {
        Some((dir, name)) => DIRS.contains(&dir) && NAMES.contains(&name),
        None => NAMES.contains(&program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_has_the_same_programs() {
        let source = include_str!("../../../../examples/images/busybox/src/tools/mod.rs");
        let (_, list) = source.split_once("const NAMES: &[&str] = &[").expect("its list");
        let (list, _) = list.split_once("];").expect("the end of its list");
        let names: Vec<&str> = list.split(',').map(|name| name.trim().trim_matches('"')).collect();
        assert_eq!(names.split_last(), Some((&"", NAMES)));
    }

    #[test]
    fn programs_are_found_by_name_and_where_they_would_be() {
        let check = |program: &str, expected: bool| assert_eq!(provide(program), expected, "{program}");
        check("sh", true);
        check("/bin/sh", true);
        check("/usr/bin/env", true);
        check("/opt/sh", false);
        check("./sh", false);
        check("postgres", false);
        check("", false);
    }
}
