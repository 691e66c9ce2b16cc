//! The shell and the tools that stand in for `busybox`: scripts, what they print, how they end.

use std::time::Duration;

use pal_engine::{Exit, InstanceSpec, Mount, Stdin};

use tokio::io::AsyncWriteExt as _;

use crate::harness::{LIMIT, Logged, logged, program};

/// Runs the words in a directory of their own at `/`, with that input.
async fn run(words: &[&str], input: &'static str, root: &std::path::Path) -> (Exit, String, String) {
    let Logged { mut spec, stdout, stderr } = logged();
    spec.args = words.iter().map(|word| (*word).to_owned()).collect();
    spec.stdin = Stdin::new(input.as_bytes());
    spec.mounts =
        vec![Mount { host: root.to_owned(), sub_path: Default::default(), guest: "/".into(), read_only: false }];
    let running = program("examples/images/busybox").await.run(spec).await.expect("the shell starts");
    let exit = tokio::time::timeout(LIMIT, running.wait()).await;
    let exit = exit.unwrap_or_else(|_| panic!("{words:?} goes on: {:?} {:?}", stdout.text(), stderr.text()));
    (exit, stdout.text(), stderr.text())
}

async fn check(script: &str, code: i32, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tmp")).unwrap();
    let (exit, out, err) = run(&["sh", "-c", script], "", dir.path()).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(code), expected), "{script}\n{err}");
}

#[tokio::test]
async fn words_are_expanded_as_posix_says() {
    for (script, expected) in [
        (r#"echo "a  b" 'c $x' d\ e"#, "a  b c $x d e\n"),
        (r#"x=hello; echo ${x%l*} ${x##*l} ${#x} ${y:-def} ${y:=set} $y ${x+yes}"#, "hel o 5 def set set yes\n"),
        (
            r#"set -- a "b c" d; echo $# "$@"; for a; do echo "[$a]"; done; shift; echo $1"#,
            "3 a b c d\n[a]\n[b c]\n[d]\nb c\n",
        ),
        (r#"x="a b"; for w in $x; do echo "<$w>"; done; for w in "$x"; do echo "<$w>"; done"#, "<a>\n<b>\n<a b>\n"),
        ("echo $(echo nested $(echo deep)) `echo back`", "nested deep back\n"),
        (r#"echo "$(printf 'x\n\n\n')end""#, "xend\n"),
        ("n=5; echo $((n>3 ? 10 : 20)) $((n%3)) $((2<<3)) $((~0)) $((0x10)) $((n+=2)) $n", "10 2 16 -1 16 7 7\n"),
        ("f() { echo $#; }; f; f ''; f \"$@\"; f \"a b\" c", "0\n1\n0\n2\n"),
        (
            "mkdir gg; touch gg/a.txt gg/b.txt gg/.h; echo gg/*.txt gg/* '*' gg/*.no",
            "gg/a.txt gg/b.txt gg/a.txt gg/b.txt * gg/*.no\n",
        ),
        (
            "x=abc; case $x in [a-b]*) echo range;; *) echo no;; esac; case '' in ?*) ;; '') echo empty;; esac",
            "range\nempty\n",
        ),
        (
            "cat <<EOF\nv=$((1+2)) $(echo sub)\nEOF\ncat <<'EOF'\n$x\nEOF\ncat <<-X\n\ttabs\n\tX\n",
            "v=3 sub\n$x\ntabs\n",
        ),
    ] {
        check(script, 0, expected).await;
    }
}

#[tokio::test]
async fn commands_follow_each_other_as_posix_says() {
    for (script, code, expected) in [
        ("exit 3", 3, ""),
        (
            "true && echo and || echo or; false || echo or2; ! false && echo not; (exit 4); echo $?",
            0,
            "and\nor2\nnot\n4\n",
        ),
        ("if false; then echo a; elif true; then echo b; else echo c; fi", 0, "b\n"),
        (
            "i=0; while [ $i -lt 5 ]; do i=$((i+1)); [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done",
            0,
            "1\n3\n",
        ),
        ("for i in 1 2; do for j in a b; do [ $j = b ] && continue 2; echo $i$j; done; done", 0, "1a\n2a\n"),
        ("f() { local v=1; echo $v $1; return 4; }; v=0; f x; echo $? $v", 0, "1 x\n4 0\n"),
        ("set -e; false || true; if false; then :; fi; echo still; false; echo never", 1, "still\n"),
        ("set -u; echo ${nope:-ok}; echo $nope; echo never", 2, "ok\n"),
        ("trap 'echo bye' EXIT; echo hi; exit 5", 5, "hi\nbye\n"),
        ("trap 'echo got $?; exit 4' TERM; false; kill $$; echo never", 4, "got 1\n"),
        ("trap 'echo one' USR1; trap '' 15; kill -USR1 $$; kill -s TERM $$; echo on; kill -9 $$", 137, "one\non\n"),
        ("trap 'echo no' KILL; kill -KILL 1; echo never", 137, ""),
        ("nosuch; echo $?; sh -c 'exit 42'; echo $?; exec sh -c 'echo in; exit 7'", 7, "127\n42\nin\n"),
        (
            "echo one >f; echo two >>f; cat <f; { echo x; echo y; } >f 2>&1; wc -l <f; exec 3>f; echo z >&3; cat f",
            0,
            "one\ntwo\n2\nz\n",
        ),
        (
            "read a b <<X\n1 2 3\nX\necho \"$a|$b\"; echo a:b:c | while IFS=: read x y z; do echo $z$y$x; done",
            0,
            "1|2 3\ncba\n",
        ),
        ("while getopts ab: o -a -b val rest; do echo $o$OPTARG; done; echo $OPTIND", 0, "a\nbval\n4\n"),
        (
            "A=1 sh -c 'echo $A'; echo ${A:-none}; export B=2; sh -c 'echo $B $0 $1' name arg",
            0,
            "1\nnone\n2 name arg\n",
        ),
        ("eval 'x=5; echo $x'; cd /tmp && pwd; (cd /; pwd); pwd; cd - >/dev/null; pwd", 0, "5\n/tmp\n/\n/tmp\n/\n"),
        ("if", 2, ""),
    ] {
        check(script, code, expected).await;
    }
}

#[tokio::test]
async fn pipes_and_jobs_run_beside_each_other() {
    for (script, code, expected) in [
        ("yes | head -n 2", 0, "y\ny\n"),
        ("(while true; do echo tick; sleep 0.01; done) | head -n 3", 0, "tick\ntick\ntick\n"),
        ("sleep 60 & echo started; kill $!; wait $!; echo $?", 0, "started\n143\n"),
        ("(sleep 0.02; echo second) & echo first; wait", 0, "first\nsecond\n"),
        ("timeout 0.02 sleep 60; echo $?", 0, "143\n"),
        ("false | true; echo $?; set -o pipefail; false | true; echo $?", 0, "0\n1\n"),
        (
            "seq -s, 3; seq -s ' ' 2; mkdir -p etc; echo '10.1.2.3 a me' >etc/hosts; HOSTNAME=me; hostname -i",
            0,
            "1,2,3\n1 2\n10.1.2.3\n",
        ),
        ("seq 100000 | sort -n | tail -n 1 | tr -d '\\n' | wc -c", 0, "6\n"),
    ] {
        check(script, code, expected).await;
    }
}

#[tokio::test]
async fn tools_do_what_their_names_say() {
    for (script, code, expected) in [
        ("printf '%s-%03d-%.2f|%5s|%-3s|\\n' x 7 3.14159 ab c; printf '%s\\n' a b", 0, "x-007-3.14|   ab|c  |\na\nb\n"),
        (
            "printf 'b\\na\\nb\\n' | sort | uniq -c | tr -s ' '; echo a,b,c | cut -d, -f2,3; echo abc | tr a-c A-C",
            0,
            " 1 a\n 2 b\nb,c\nABC\n",
        ),
        (
            "printf 'one\\ntwo\\nthree\\n' | grep -n t; printf 'a1\\nb\\n' | grep -cE '^[a-z][0-9]+$'; echo x | grep -q y",
            1,
            "2:two\n3:three\n1\n",
        ),
        (
            "echo hello world | sed -e 's/o/0/g' -e 's/\\(h\\)\\(e\\)/\\2\\1/'; seq 5 | sed -n '2,3p;$p'; echo a/b | sed 's|/|:|'",
            0,
            "ehll0 w0rld\n2\n3\n5\na:b\n",
        ),
        (
            "mkdir -p k/s; echo x >k/f; ln -s /k/f /k/s/l; cat k/s/l; readlink k/s/l; ln -s /k k/s; cat k/s/k/f; ls -l k/s | tail -n 2 | cut -c1-10",
            0,
            "x\n../f\nx\nlrwxrwxrwx\nlrwxrwxrwx\n",
        ),
        (
            "mkdir -p d/s; echo x >d/f; ln -s f d/l; cp -r d e; ls e; cat e/l; mv e g; rm -r d; ls; rm d",
            1,
            "f\nl\ns\nx\ng\ntmp\n",
        ),
        (
            "mkdir -p d/s; echo deep >d/s/f; tar czf a.tgz d; rm -r d; tar tzf a.tgz; tar xzf a.tgz -C tmp; cat tmp/d/s/f",
            0,
            "d/\nd/s/\nd/s/f\ndeep\n",
        ),
        (
            "echo zipped | gzip | gunzip; echo hi | base64; echo aGkK | base64 -d; seq 3 | wc -l; echo a b | wc -w",
            0,
            "zipped\naGkK\nhi\n3\n2\n",
        ),
        (
            "touch a.x b.y; find . -name '*.x' -type f; find . -name '*.y' -exec echo got {} \\;; echo 1 2 | xargs -n 1 echo n",
            0,
            "./a.x\ngot ./b.y\nn 1\nn 2\n",
        ),
        (
            "date -u -d @86400 '+%F %T %a'; date -d '2026-11-22 01:02:03' +%s; basename /a/b.c .c; dirname /a/b",
            0,
            "1970-01-02 00:00:00 Fri\n1795309323\nb\n/a\n",
        ),
        (
            "a='x y'; touch f; [[ $a = 'x y' ]] && [[ -r f ]] && [[ -z $none ]] && echo yes; [[ a == b ]] || echo no",
            0,
            "yes\nno\n",
        ),
        (
            "[ -f nope ] || echo no; test -d tmp && [ 3 -gt 2 -a a != b ] && echo yes; [ -z '' ] && [ ! -e nope ]",
            0,
            "no\nyes\n",
        ),
        (
            "cat nope; echo $?; cat /dev/null; head -c 3 /dev/zero | wc -c; echo gone >/dev/null; command -v ls",
            0,
            "1\n3\n/bin/ls\n",
        ),
        (
            "env -i A=1 sh -c 'echo $A'; env | grep -c ^PATH=; id -u; hostname; echo x | tee f; cat f",
            0,
            "1\n1\n0\nlocalhost\nx\nx\n",
        ),
        (
            "expr 2 + 3; expr abc : 'a\\(.\\)'; seq 1 2 5 | head -n 2; printf 'a\\nb\\nc\\n' | tail -n +2; echo abc | rev",
            0,
            "5\nb\n1\n3\nb\nc\ncba\n",
        ),
    ] {
        check(script, code, expected).await;
    }
}

#[tokio::test]
async fn a_shell_without_a_script_reads_one() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, out, _) =
        run(&["sh"], "echo one\nfor i in 1 2\ndo echo $i\ndone\nread x\ntaken\necho $x\nexit 6\n", dir.path()).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(6), "one\n1\n2\ntaken\n"));
    let (exit, out, _) = run(&["/bin/cat"], "from stdin", dir.path()).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "from stdin"));
    std::fs::write(dir.path().join("run.sh"), "#!/bin/sh\necho script $1\n").unwrap();
    let (exit, out, _) = run(&["/run.sh", "arg"], "", dir.path()).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "script arg\n"));
    let (exit, _, err) = run(&["nosuch"], "", dir.path()).await;
    assert_eq!((exit, err.as_str()), (Exit::Code(127), "exec: \"nosuch\": executable file not found in $PATH\n"));
}

#[tokio::test]
async fn tar_leaves_its_directory_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("in")).unwrap();
    // A name with `..`, as `printf` can write it into a header: 512 bytes whose sum is right.
    let script = "cd in; echo x >f; tar cf a.tar f; sed -i 's/^f/../' a.tar; tar xf a.tar; echo $?";
    let (_, out, err) = run(&["sh", "-c", script], "", dir.path()).await;
    assert_eq!(out, "1\n", "{err}");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["in"]);
}

#[tokio::test]
async fn scripts_without_end_are_bounded_and_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, _, err) = run(&["sh", "-c", "f() { f; }; f; echo never"], "", dir.path()).await;
    assert_eq!(exit, Exit::Code(2), "{err}");
    let Logged { spec, stdout, .. } = logged();
    let args = ["sh", "-c", "while :; do echo on; done"].map(str::to_owned).into();
    let spec = InstanceSpec { args, memory_limit: Some(32 << 20), ..spec };
    let running = program("examples/images/busybox").await.run(spec).await.unwrap();
    stdout.until_contains("on\non\n").await;
    running.cancel();
    let exit = tokio::time::timeout(Duration::from_secs(30), running.wait()).await.unwrap();
    assert_eq!(exit, Exit::Cancelled);
}

/// Prompts that were shown, what the output ends with, and what is typed then.
type Step = (usize, &'static str, &'static str);

#[tokio::test]
async fn an_interrupt_ends_what_runs_and_the_shell_goes_on() {
    const ETX: &str = "\x03";
    let conversation: &[Step] = &[
        (1, "", "x=1; echo up; sleep 1000 | cat\n"),
        (1, "up\n", ETX),
        (2, "", "echo $? $x\n"),
        (3, "130 1\n", "while true; do echo again; done\n"),
        (3, "again\n", ETX),
        (4, "", "f() { echo in $1; cat; }; f y\n"),
        (4, "in y\n", ETX),
        (5, "", ETX),
        (6, "", "echo $?$1; exit 4\n"),
    ];
    let rows: &[(&[&str], &[Step], i32)] = &[
        (&["sh"], conversation, 4),
        (&["sh", "-c", "echo up; sleep 1000; echo never"], &[(0, "up\n", ETX)], 130),
        (&["cat"], &[(0, "", "a\n"), (0, "a\n", ETX)], 130),
    ];
    for (words, steps, code) in rows {
        let dir = tempfile::tempdir().unwrap();
        let Logged { mut spec, stdout, stderr } = logged();
        spec.args = words.iter().map(|word| (*word).to_owned()).collect();
        let (mut keys, stdin) = tokio::io::duplex(1 << 12);
        (spec.stdin, spec.terminal) = (Stdin::new(stdin), true);
        let host = dir.path().to_owned();
        spec.mounts = vec![Mount { host, sub_path: Default::default(), guest: "/".into(), read_only: false }];
        let running = program("examples/images/busybox").await.run(spec).await.expect("the shell starts");
        for (prompts, said, typed) in *steps {
            stderr.until(|text| text.matches("# ").count() >= *prompts).await;
            stdout.until(|text| text.ends_with(said)).await;
            keys.write_all(typed.as_bytes()).await.unwrap();
        }
        let exit = tokio::time::timeout(LIMIT, running.wait()).await;
        let exit = exit.unwrap_or_else(|_| panic!("{words:?} goes on: {:?} {:?}", stdout.text(), stderr.text()));
        assert_eq!(exit, Exit::Code(*code), "{words:?}: {:?} {:?}", stdout.text(), stderr.text());
        assert!(!stdout.text().contains("never"), "{}", stdout.text());
        assert!(words.len() > 1 || words[0] != "sh" || stdout.text().ends_with("130\n"), "{}", stdout.text());
    }
}
