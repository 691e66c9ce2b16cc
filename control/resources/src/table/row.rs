//! A row that waits for the time at which it is looked at.

use jiff::Timestamp;
use serde_json::Value;

use super::duration::{MARK, elapsed, marked};

/// The cells of a row as JSON, with gaps for ages.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What stands before each age.
    parts: Box<[(Box<str>, Timestamp)]>,
    end: Box<str>,
}

impl Row {
    /// From cells whose ages are marks.
    pub(super) fn new(cells: &[Value]) -> Self {
        let (mut parts, mut text) = (Vec::new(), String::from("["));
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            match cell.as_str().filter(|cell| cell.contains(MARK)) {
                None => text.push_str(&cell.to_string()),
                Some(cell) => {
                    text.push('"');
                    split(cell, &mut text, &mut parts);
                    text.push('"');
                }
            }
        }
        text.push(']');
        Self { parts: parts.into(), end: text.into() }
    }

    /// Writes the cells as they are at that time: a JSON list.
    pub fn write(&self, now: Timestamp, out: &mut Vec<u8>) {
        for (text, time) in &self.parts {
            out.extend_from_slice(text.as_bytes());
            // An age is of letters and digits, or a word in angle brackets: nothing to escape.
            out.extend_from_slice(elapsed(*time, now).as_bytes());
        }
        out.extend_from_slice(self.end.as_bytes());
    }
}

/// A cell with marks in it, without its quotes.
fn split(cell: &str, text: &mut String, parts: &mut Vec<(Box<str>, Timestamp)>) {
    let mut rest = cell;
    while let Some((before, after)) = rest.split_once(MARK) {
        push_escaped(text, before);
        match after.split_once(MARK).and_then(|(time, after)| Some((marked(time)?, after))) {
            Some((time, after)) => {
                parts.push((std::mem::take(text).into(), time));
                rest = after;
            }
            // Somebody's own text.
            None => {
                push_escaped(text, "\0");
                rest = after;
            }
        }
    }
    push_escaped(text, rest);
}

fn push_escaped(text: &mut String, plain: &str) {
    let quoted = Value::from(plain).to_string();
    text.push_str(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_fills_in_its_ages_when_it_is_written() {
        let mut cells =
            vec![json!("a\"b"), json!(3), json!("1 (\u{0}-1000000000\u{0} ago)"), json!("\u{0}4000000000\u{0}")];
        let check = |cells: &[Value], expected: Value| {
            let mut out = Vec::new();
            Row::new(cells).write(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(64), &mut out);
            assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), expected);
        };
        check(&cells, json!(["a\"b", 3, "1 (65s ago)", "60s"]));
        cells.push(json!("odd \0 text \0 of \"somebody"));
        check(&cells, json!(["a\"b", 3, "1 (65s ago)", "60s", "odd \0 text \0 of \"somebody"]));
        check(&[json!("\\u0000")], json!(["\\u0000"]));
        check(&[], json!([]));
    }
}
