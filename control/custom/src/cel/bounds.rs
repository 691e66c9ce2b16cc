//! How large and how deep an expression may be, judged before it is parsed: parsers, walks and drops are recursive.

/// As in Kubernetes, in bytes.
const MAX_BYTES: usize = 100_000;

/// Operators, selections and brackets that may stand within one another.
const MAX_DEPTH: usize = 150;

/// An expression's tokens at one level of brackets.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators and selections in a row: `a.b.c`, `1 + 2 + 3`.
    chain: usize,
    /// The longest row before a comma.
    longest: usize,
    /// How deep the brackets at this level go.
    inner: usize,
}

impl Level {
    fn depth(self) -> usize {
        self.chain.max(self.longest) + self.inner + 1
    }
}

/// How deep it is at most; refuses what is too large or too deep.
pub(super) fn check(source: &str) -> Result<usize, String> {
    if source.len() > MAX_BYTES {
        return Err(format!("expression code point size exceeds limit: size: {}, limit {MAX_BYTES}", source.len()));
    }
    let mut levels = vec![Level::default()];
    let mut deepest = 0;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let mut step = first.len_utf8();
        let open = levels.len();
        // There is always the outermost level.
        let Some(level) = levels.last_mut() else { break };
        match first {
            '"' | '\'' => step = literal(rest, raw(source, source.len() - rest.len())),
            '/' if rest.starts_with("//") => step = rest.find('\n').unwrap_or(rest.len()),
            '(' | '[' | '{' => {
                level.chain += 1;
                levels.push(Level::default());
            }
            ')' | ']' | '}' if open > 1 => {
                let depth = levels.pop().map_or(0, Level::depth);
                if let Some(outer) = levels.last_mut() {
                    outer.inner = outer.inner.max(depth);
                }
            }
            ',' => {
                level.longest = level.longest.max(level.chain);
                level.chain = 0;
            }
            // The parser balances these, so that long rows of them are not deep.
            '&' | '|' => {
                level.longest = level.longest.max(level.chain);
                level.chain = 0;
            }
            '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '?' | ':' => level.chain += 1,
            'i' if rest.starts_with("in") && !word(rest[2..].chars().next()) => level.chain += 1,
            _ => {}
        }
        let nested: usize = levels.iter().map(|level| level.depth()).sum();
        deepest = deepest.max(nested);
        if deepest > MAX_DEPTH {
            return Err(format!("expression recursion limit exceeded: {MAX_DEPTH}"));
        }
        rest = &rest[step..];
    }
    Ok(deepest)
}

fn word(next: Option<char>) -> bool {
    next.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Whether the literal that begins there is one in which backslashes are letters: `r'\d'`.
fn raw(source: &str, at: usize) -> bool {
    let before = &source.as_bytes()[..at];
    let prefix = before.iter().rev().take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B')).count();
    let wordy = before.len().checked_sub(prefix + 1).is_some_and(|at| word(Some(char::from(before[at]))));
    !wordy && before[before.len() - prefix..].iter().any(|b| matches!(b, b'r' | b'R'))
}

/// How long the literal at the beginning is.
fn literal(rest: &str, raw: bool) -> usize {
    let quote = &rest[..1];
    let triple = quote.repeat(3);
    let (open, close) = if rest.starts_with(&triple) { (3, triple.as_str()) } else { (1, quote) };
    let mut at = open;
    while at < rest.len() {
        if rest[at..].starts_with(close) {
            return at + close.len();
        }
        let c = rest[at..].chars().next().map_or(1, char::len_utf8);
        let skip = !raw && rest[at..].starts_with('\\');
        at += c;
        if skip {
            at += rest[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn bombs_are_refused_before_they_are_parsed() {
        let deep = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
        for bomb in [
            deep("(", ")", 100_000 / 2 - 1),
            deep("[", "]", 5000),
            deep("(", "", 5000),
            deep("-", "", 5000),
            deep("!", "", 5000),
            format!("self{}", ".a".repeat(5000)),
            format!("1{}", "+1".repeat(5000)),
            format!("self{}", "[0]".repeat(5000)),
            format!("{}1", "true?1:".repeat(5000)),
            "x".repeat(100_001),
        ] {
            assert!(check(&bomb).is_err(), "{}...", &bomb[..20]);
        }
        for plain in [
            "self.a.b == '((((((' && self.c.exists(x, x.d == \"\\\"\")",
            r"self.matches(r'\') || self.x",
            &format!("[{}1]", "1,".repeat(5000)),
            &format!("true{}", " && self.a == 1".repeat(300)),
            &format!("'{}' == ''", "(".repeat(50_000)),
        ] {
            assert!(check(plain).is_ok_and(|depth| depth <= super::MAX_DEPTH), "{}", &plain[..20]);
        }
    }
}
