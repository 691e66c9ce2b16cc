//! The words of an awk program.

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Number(f64),
    Text(String),
    Regex(String),
    /// A keyword, a variable or a function that is built in.
    Name(String),
    /// A name with its bracket: a call of a function.
    Called(String),
    Op(&'static str),
    Newline,
    End,
}

/// The longest first.
const OPS: [&str; 43] = [
    "**=", "&&", "||", "==", "!=", "<=", ">=", "++", "--", "+=", "-=", "*=", "/=", "%=", "^=", ">>", "**", "!~", "|",
    "{", "}", "(", ")", "[", "]", ";", ",", "+", "-", "*", "/", "%", "^", "!", "<", ">", "?", ":", "~", "$", "=", "&",
    "@",
];

pub const KEYWORDS: [&str; 20] = [
    "BEGIN", "END", "function", "func", "if", "else", "while", "for", "do", "break", "continue", "next", "exit",
    "return", "delete", "in", "getline", "print", "printf", "nextfile",
];

/// Takes the program apart.
pub fn tokens(program: &str) -> Result<Vec<Token>, String> {
    let text: Vec<char> = program.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(&c) = text.get(at) {
        match c {
            ' ' | '\t' | '\r' => at += 1,
            '\\' if text.get(at + 1) == Some(&'\n') => at += 2,
            '#' => at += text[at..].iter().take_while(|c| **c != '\n').count(),
            '\n' => {
                found.push(Token::Newline);
                at += 1;
            }
            '"' => {
                let (inner, used) = until(&text[at + 1..], '"').ok_or("unterminated string")?;
                found.push(Token::Text(unescaped(&inner)));
                at += 1 + used;
            }
            '/' if may_divide(found.last()) => at += operator(&text[at..], &mut found)?,
            '/' => {
                let (inner, used) = until(&text[at + 1..], '/').ok_or("unterminated regexp")?;
                found.push(Token::Regex(inner.replace("\\/", "/")));
                at += 1 + used;
            }
            c if c.is_ascii_digit() || c == '.' && text.get(at + 1).is_some_and(char::is_ascii_digit) => {
                let rest: String = text[at..].iter().collect();
                let (value, used) = number(&rest);
                found.push(Token::Number(value));
                at += used;
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let name: String = text[at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
                at += name.len();
                let called = text.get(at) == Some(&'(') && !KEYWORDS.contains(&name.as_str());
                found.push(if called { Token::Called(name) } else { Token::Name(name) });
            }
            _ => at += operator(&text[at..], &mut found)?,
        }
    }
    found.push(Token::End);
    Ok(found)
}

fn operator(text: &[char], found: &mut Vec<Token>) -> Result<usize, String> {
    let op = OPS.into_iter().find(|op| op.chars().enumerate().all(|(i, c)| text.get(i) == Some(&c)));
    let op = op.ok_or_else(|| format!("unexpected {:?}", text[0]))?;
    found.push(Token::Op(match op {
        "**" => "^",
        "**=" => "^=",
        op => op,
    }));
    Ok(op.len())
}

/// Whether a slash behind this divides; else it begins an expression.
fn may_divide(before: Option<&Token>) -> bool {
    match before {
        Some(Token::Number(_) | Token::Text(_)) => true,
        Some(Token::Name(name)) => !KEYWORDS.contains(&name.as_str()),
        Some(Token::Op(op)) => matches!(*op, ")" | "]" | "$" | "++" | "--"),
        _ => false,
    }
}

/// What comes before the closing sign, as it is written, and how many signs that is with it.
fn until(text: &[char], end: char) -> Option<(String, usize)> {
    let (mut inner, mut at) = (String::new(), 0);
    loop {
        match *text.get(at)? {
            '\n' => return None,
            c if c == end => return Some((inner, at + 1)),
            '\\' => {
                inner.push('\\');
                inner.push(*text.get(at + 1)?);
                at += 2;
            }
            c => {
                inner.push(c);
                at += 1;
            }
        }
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some(c @ ('"' | '/' | '\\')) => out.push(c),
            Some(c) if c.is_digit(8) => {
                let mut value = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    chars.next();
                }
                out.extend(char::from_u32(value & 0xff));
            }
            Some('\n') => {}
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

/// The number that a text begins with, and how many bytes that is.
pub fn number(text: &str) -> (f64, usize) {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(sign);
    let mut end = sign + whole;
    let mut any = whole > 0;
    if bytes.get(end) == Some(&b'.') {
        let part = digits(end + 1);
        any |= part > 0;
        end += 1 + part;
    }
    if !any {
        return (0.0, 0);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let power = if bytes.len() > end + 1 + sign { digits(end + 1 + sign) } else { 0 };
        end += if power > 0 { 1 + sign + power } else { 0 };
    }
    (text[..end].parse().unwrap_or(0.0), end)
}
