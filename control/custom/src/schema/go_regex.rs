//! Patterns as Go's `regexp` reads them, for a library that reads some of them otherwise. Both take linear time.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// How large a compiled pattern may be, in bytes: a bomb of nested repetitions is refused, not built.
const MAX_COMPILED_BYTES: usize = 1 << 19;

/// The same for patterns that are made while a rule is evaluated, perhaps a different one for each value.
const MAX_SMALL_BYTES: usize = 1 << 16;

/// How much of what it has seen a pattern may remember while it is matched, in bytes; it goes on slower then.
const MAX_REMEMBERED_BYTES: usize = 1 << 18;

/// Compiles one of many patterns, which together may take so many bytes; what it takes is taken off. Patterns do not tell how
/// large they are, but whether they are larger than that.
pub(crate) fn compile_of(pattern: &str, bytes: &mut usize) -> Result<Regex, String> {
    let mut compiled = Err("error parsing regexp: the patterns of the schema are too large".to_owned());
    for size in [1 << 14, 1 << 16, MAX_COMPILED_BYTES].into_iter().take_while(|size| size <= bytes) {
        compiled = compile_within(pattern, size);
        if compiled.is_ok() {
            *bytes -= size;
            break;
        }
    }
    compiled
}

/// Compiles a pattern of Go's syntax.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    compile_within(pattern, MAX_COMPILED_BYTES)
}

/// Compiles a pattern that takes little time to compile.
pub(crate) fn compile_small(pattern: &str) -> Result<Regex, String> {
    compile_within(pattern, MAX_SMALL_BYTES)
}

fn compile_within(pattern: &str, size: usize) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(&translate(pattern));
    let built = builder.size_limit(size).dfa_size_limit(MAX_REMEMBERED_BYTES).nest_limit(100).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        // The library shows the pattern over several lines; the last one says what is wrong.
        error => {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            in_go(why, pattern)
        }
    })
}

/// What is wrong with a pattern in Go's words, where both libraries refuse the same.
fn in_go(why: &str, pattern: &str) -> String {
    let (why, part) = match why {
        "unclosed group" => ("missing closing )", pattern),
        "unopened group" => ("unexpected )", pattern),
        why if why.starts_with("look-around") => {
            let begins = ["(?<", "(?!", "(?="].into_iter().find(|begin| pattern.contains(begin));
            ("invalid or unsupported Perl syntax", begins.unwrap_or(pattern))
        }
        why => (why, pattern),
    };
    format!("error parsing regexp: {why}: `{part}`")
}

/// In Go `\d`, `\w`, `\s` are ASCII, `[` is nothing special in a class, `{` is a letter where no repetition follows.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut class = Class::Outside;
    while let Some(first) = rest.chars().next() {
        rest = match (first, class) {
            ('\\', _) => escape(rest, class != Class::Outside, &mut out),
            ('[', Class::Outside) => {
                out.push('[');
                class = Class::Begun;
                let mut tail = &rest[1..];
                if let Some(after) = tail.strip_prefix('^') {
                    out.push('^');
                    tail = after;
                }
                // A bracket that closes nothing is a letter.
                if let Some(after) = tail.strip_prefix(']') {
                    out.push_str("\\]");
                    tail = after;
                }
                tail
            }
            (']', Class::Begun) => {
                out.push(']');
                class = Class::Outside;
                &rest[1..]
            }
            ('[', Class::Begun) => match rest.find(":]").filter(|_| rest.starts_with("[:")) {
                Some(end) => {
                    out.push_str(&rest[..end + 2]);
                    &rest[end + 2..]
                }
                None => {
                    out.push_str("\\[");
                    &rest[1..]
                }
            },
            ('&' | '~', Class::Begun) => {
                out.push('\\');
                out.push(first);
                &rest[1..]
            }
            ('-', Class::Begun) if rest.starts_with("--") => {
                out.push_str("\\-");
                &rest[1..]
            }
            ('{', Class::Outside) if !repeats(rest) => {
                out.push_str("\\{");
                &rest[1..]
            }
            (other, _) => {
                out.push(other);
                &rest[other.len_utf8()..]
            }
        };
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Outside,
    Begun,
}

/// Whether `{2}`, `{2,}` or `{2,5}` stands here.
fn repeats(rest: &str) -> bool {
    let Some(inner) = rest[1..].split_once('}').map(|(inner, _)| inner) else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inner.split_once(',') {
        None => number(inner),
        Some((low, high)) => number(low) && (high.is_empty() || number(high)),
    }
}

/// Writes what an escape means and returns what follows it.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(letter) = rest[1..].chars().next() else {
        out.push('\\');
        return "";
    };
    let after = &rest[1 + letter.len_utf8()..];
    let (inner, negated) = match letter.to_ascii_lowercase() {
        'd' => ("0-9", letter == 'D'),
        'w' => ("0-9A-Za-z_", letter == 'W'),
        's' => ("\\t\\n\\f\\r ", letter == 'S'),
        _ => ("", false),
    };
    match letter {
        _ if !inner.is_empty() && in_class && !negated => out.push_str(inner),
        // Writing to a string cannot fail.
        _ if !inner.is_empty() => drop(write!(out, "[{}{inner}]", if negated { "^" } else { "" })),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        '<' | '>' => out.push(letter),
        'Q' => {
            let (literal, after) = after.split_once("\\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(literal));
            return after;
        }
        // `\p{Greek}`, `\x{10FFFF}`: the braces belong to the escape.
        'p' | 'P' | 'x' if after.starts_with('{') => {
            out.push('\\');
            out.push(letter);
            let (name, after) = after.split_at(after.find('}').map_or(after.len(), |end| end + 1));
            out.push_str(name);
            return after;
        }
        _ => {
            out.push('\\');
            out.push(letter);
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let regex = compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            for text in yes {
                assert!(regex.is_match(text), "{pattern} matches {text}");
            }
            for text in no {
                assert!(!regex.is_match(text), "{pattern} does not match {text}");
            }
        };
        check(r"^\d+$", &["12"], &["\u{661}", "a"]);
        check(r"^\w+\s\S$", &["a_1 x"], &["ä b"]);
        check(r"^[\w.-]+$", &["a.b-c"], &["a/b"]);
        check(r"^[\D]$", &["a"], &["1"]);
        check(r"^[[a]$", &["[", "a"], &["b"]);
        check(r"^[[:alpha:]]+$", &["ab"], &["a1"]);
        check(r"^[a&&b]$", &["a", "&", "b"], &["c"]);
        check(r"^[]a]$", &["]", "a"], &["b"]);
        check(r"^{a}{2}$", &["{a}}"], &["{a}"]);
        check(r"^a{2,3}$", &["aa", "aaa"], &["a", "aaaa"]);
        check(r"^\Qa.b\E$", &["a.b"], &["axb"]);
        check(r"^\p{L}{2}\x{41}$", &["äßA"], &["a1A", "abB"]);
        check(r"\bend$", &["the end"], &["bend"]);
        check(r"^\<a\>$", &["<a>"], &["a"]);
        check(r"^(https?://)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", &["a.b"], &["-a"]);
    }

    #[test]
    fn many_patterns_take_only_so_much() {
        let mut left = 1 << 17;
        let small = (0..).take_while(|number| compile_of(&format!("^a{number}$"), &mut left).is_ok()).count();
        assert_eq!((small, left), (8, 0));
        let why = compile_of("a", &mut left).expect_err("nothing is left");
        assert_eq!(why, "error parsing regexp: the patterns of the schema are too large");
    }

    #[test]
    fn what_is_no_pattern_or_a_bomb_is_refused() {
        for pattern in ["(", "[a", r"\8", "(?=a)", "((((a{99}){99}){99}){99})", &"(".repeat(5000)] {
            let why = compile(pattern).expect_err(pattern);
            assert!(why.starts_with("error parsing regexp: "), "{why}");
        }
    }
}
