//! YAML bodies.

use serde::de::DeserializeSeed;
use serde_json::Value;
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};

use super::problem::{Context, MAX_DEPTH};
use super::raw::RawSeed;

/// How many nodes the expansion of aliases may add to a document.
const MAX_ALIAS_NODES: usize = 100_000;

/// The first document of the text as a value.
pub(super) fn value(body: &[u8], cx: &mut Context) -> Result<Value, String> {
    let text = std::str::from_utf8(body).map_err(|_| "yaml: invalid UTF-8".to_owned())?;
    let document = documents(text).next().unwrap_or_default();
    let mut limits = AliasLimits::default();
    limits.max_total_replayed_events = MAX_ALIAS_NODES;
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        alias_limits: limits,
        with_snippet: false,
        // `y` and `no` are text, as in YAML 1.2.
        strict_booleans: true,
        // The modes of files are written `0644`.
        legacy_octal_numbers: true,
        // The depth limit of the walk tells it better; this one guards what the walk passes over.
        budget: serde_saphyr::budget! { max_depth: 4 * MAX_DEPTH },
    };
    let seed = |deserializer: serde_saphyr::Deserializer<'_, '_>| RawSeed { cx: &mut *cx }.deserialize(deserializer);
    let result = serde_saphyr::with_deserializer_from_str_with_options(document, options, seed);
    result.map_err(|error| cx.failure.take().unwrap_or_else(|| format!("yaml: {error}")))
}

/// The documents of a YAML text, in order, those with nothing but comments left out.
pub fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let end = separator(text);
            let document = &text[..end.map_or(text.len(), |(start, _)| start)];
            rest = end.map(|(_, next)| &text[next..]);
            if has_content(document) {
                return Some(document);
            }
        }
    })
}

/// Where the next `---` line starts, and where what follows it starts.
fn separator(text: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(after) = line.strip_prefix("---")
            && (after.is_empty() || after.starts_with([' ', '\t', '\r', '\n']))
        {
            return Some((at, at + 3));
        }
        at += line.len();
    }
    None
}

fn has_content(document: &str) -> bool {
    document.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with(['#', '%']) && line != "...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_at_their_marks() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<&str> = documents(text).map(str::trim).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("a: 1", &["a: 1"]);
        check("---\na: 1\n---\n# nothing\n---\nb: 2\n", &["a: 1", "b: 2"]);
        check("# top\n---\na: |\n  ---x\n", &["a: |\n  ---x"]);
        check("--- {a: 1}\n", &["{a: 1}"]);
        check("", &[]);
    }

    #[test]
    fn scalars_have_their_json_types() {
        let text = b"s: abc\nq: \"1\"\ni: 12\nf: 1.5\nt: true\nn: null\ne:\nl: [1, x]\n80: p\ny: no\nm: 0644\no: 0o644\nd: 089\n";
        let value = value(text, &mut Context::default()).expect("it is YAML");
        let expected = serde_json::json!({
            "s": "abc", "q": "1", "i": 12, "f": 1.5, "t": true, "n": null, "e": null, "l": [1, "x"], "80": "p", "y": "no",
            "m": 420, "o": 420, "d": 89.0,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn aliases_are_expanded_within_bounds() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let inner = vec![format!("*a{}", level - 1); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert!(value(text.as_bytes(), &mut Context::default()).is_err_and(|e| e.starts_with("yaml: ")));
        let small = value(b"a: &x {k: v}\nb: *x\n", &mut Context::default());
        assert_eq!(small, Ok(serde_json::json!({"a": {"k": "v"}, "b": {"k": "v"}})));
    }
}
