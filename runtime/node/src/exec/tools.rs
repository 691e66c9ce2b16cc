//! The programs that every container has: a shell and the usual small tools, in one component.

/// Their names; `busybox` prints the same list.
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
