//! Patterns with `*`, `?` and `[…]`, and the files that they match.

use std::fs;

/// Whether all of the text matches. A backslash takes the meaning of what follows it.
pub fn matches(pattern: &[char], text: &[char]) -> bool {
    // Where to go on when the last star has to take one more.
    let (mut p, mut t, mut retry) = (0, 0, None);
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => (p, t) = (p + used, t + 1),
            None => match &mut retry {
                Some((after, taken)) => {
                    *taken += 1;
                    (p, t) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
}

/// How much of the pattern matches this sign, if its beginning does.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '\\' if pattern.len() > 1 => (pattern[1] == c).then_some(2),
        '[' => match set(&pattern[1..], c) {
            Some((found, used)) => found.then_some(used + 1),
            None => (c == '[').then_some(1),
        },
        same => (*same == c).then_some(1),
    }
}

/// Whether a set holds the sign, and how long the set is with its `]`; nothing if it has no end.
pub fn set(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let not = matches!(pattern.first(), Some('!' | '^'));
    let mut i = usize::from(not);
    let (mut found, first) = (false, i);
    loop {
        let at = *pattern.get(i)?;
        if at == ']' && i > first {
            return Some((found != not, i + 1));
        }
        if at == '[' && pattern.get(i + 1) == Some(&':') {
            let name: String = pattern[i + 2..].iter().take_while(|c| **c != ':').collect();
            if pattern.get(i + 3 + name.len()) == Some(&']') {
                found |= class(&name, c);
                i += name.len() + 4;
                continue;
            }
        }
        let low = if at == '\\' && i + 1 < pattern.len() && pattern[i + 1] != ']' {
            i += 1;
            pattern[i]
        } else {
            at
        };
        i += 1;
        if pattern.get(i) == Some(&'-') && pattern.get(i + 1).is_some_and(|c| *c != ']') {
            found |= (low..=pattern[i + 1]).contains(&c);
            i += 2;
        } else {
            found |= low == c;
        }
    }
}

/// The character classes of POSIX.
pub fn class(name: &str, c: char) -> bool {
    match name {
        "alpha" => c.is_alphabetic(),
        "digit" => c.is_ascii_digit(),
        "alnum" => c.is_alphanumeric(),
        "space" => c.is_whitespace(),
        "blank" => c == ' ' || c == '\t',
        "upper" => c.is_uppercase(),
        "lower" => c.is_lowercase(),
        "punct" => c.is_ascii_punctuation(),
        "xdigit" => c.is_ascii_hexdigit(),
        "cntrl" => c.is_control(),
        "print" => !c.is_control(),
        "graph" => !c.is_control() && c != ' ',
        _ => false,
    }
}

/// Whether a text has signs in it that make it a pattern.
pub fn is_pattern(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// A pattern that matches this text alone.
pub fn literal(text: &str) -> String {
    text.chars().flat_map(|c| "\\*?[".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// What a pattern without meaning stands for.
pub fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

/// The files that a pattern names, in order; relative ones below `cwd`.
pub fn files(pattern: &str, cwd: &str) -> Vec<String> {
    let mut found = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for (i, part) in parts.iter().enumerate() {
        let more = i + 1 < parts.len() || pattern.ends_with('/');
        let mut next = Vec::new();
        for base in &found {
            let dir = super::absolute(cwd, base);
            let join = |name: &str| {
                if base.is_empty() { name.to_owned() } else { format!("{}/{name}", base.trim_end_matches('/')) }
            };
            if !is_pattern(part) {
                let path = join(&unescaped(part));
                if fs::symlink_metadata(super::absolute(cwd, &path)).is_ok() {
                    next.push(path);
                }
                continue;
            }
            let chars: Vec<char> = part.chars().collect();
            let names = fs::read_dir(dir).into_iter().flatten().flatten();
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            next.extend(
                names
                    .filter(|name| {
                        (!name.starts_with('.') || part.starts_with('.'))
                            && matches(&chars, &name.chars().collect::<Vec<_>>())
                    })
                    .map(|name| join(&name))
                    .filter(|path| !more || fs::metadata(super::absolute(cwd, path)).is_ok_and(|m| m.is_dir())),
            );
        }
        found = next;
    }
    if pattern.ends_with('/') && pattern.len() > 1 {
        found.iter_mut().for_each(|path| path.push('/'));
    }
    found.sort();
    found
}
