//! YAML bodies.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};

use super::problem::{Context, MAX_DEPTH};
use super::raw::{KeySeed, RawSeed};

/// How many nodes the expansion of aliases may add to a document.
const MAX_ALIAS_NODES: usize = 100_000;

/// The first document of the text as a value.
pub(super) fn value(body: &[u8], cx: &mut Context) -> Result<Value, String> {
    let text = std::str::from_utf8(body).map_err(|_| "yaml: invalid UTF-8".to_owned())?;
    let document = documents(text).next().unwrap_or_default();
    let seed = |deserializer: serde_saphyr::Deserializer<'_, '_>| RawSeed { cx: &mut *cx }.deserialize(deserializer);
    let result = serde_saphyr::with_deserializer_from_str_with_options(document, options(), seed);
    let value = result.map_err(|error| cx.failure.take().unwrap_or_else(|| format!("yaml: {error}")))?;
    if !cx.strict.is_empty() {
        // A document of no characters has no duplicates: it is a part of the text.
        let before = document.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        cx.strict = duplicates(document, text[..before].matches('\n').count()).into_iter().collect();
    }
    // Its keys are sorted, as in the JSON that Kubernetes makes of it and reads: so problems are told in that order.
    Ok(value)
}

/// What of strict decoding is told of duplicate keys in YAML begins with this; a line for each follows.
pub(super) const DUPLICATES: &str = "yaml: unmarshal errors:\n";

/// Duplicate keys are listed up to this many.
const LISTED: usize = 100;

/// The keys that stand twice in a mapping of the document, with the lines of their values, in the words of Go's reader of
/// YAML. `before` is how many lines the text has before the document.
fn duplicates(document: &str, before: usize) -> Option<String> {
    let found = serde_saphyr::from_str_with_options::<Twice>(document, options()).ok()?.0;
    let lines: Vec<String> = found
        .into_iter()
        .map(|(line, key)| format!("  line {}: key {key} already set in map", line + before as u64))
        .collect();
    (!lines.is_empty()).then(|| format!("{DUPLICATES}{}", lines.join("\n")))
}

/// Keys that are there already: the lines of their values, and they as Go quotes them.
#[derive(Default)]
struct Twice(Vec<(u64, String)>);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TwiceVisitor)
    }
}

struct TwiceVisitor;

impl<'de> Visitor<'de> for TwiceVisitor {
    type Value = Twice;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_none<E>(self) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Twice, E> {
        Ok(Twice::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Twice, A::Error> {
        let mut found = Twice::default();
        while let Some(item) = items.next_element::<Twice>()? {
            found.0.extend(item.0);
            found.0.truncate(LISTED);
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Twice, A::Error> {
        let (mut found, mut keys) = (Twice::default(), HashSet::new());
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            let value = entries.next_value::<Spanned<Twice>>()?;
            found.0.extend(value.value.0);
            if !keys.insert(key.to_string()) {
                found.0.push((value.referenced.line(), format!("{key:?}")));
            }
            found.0.truncate(LISTED);
        }
        Ok(found)
    }
}

fn options() -> serde_saphyr::Options {
    let mut limits = AliasLimits::default();
    limits.max_total_replayed_events = MAX_ALIAS_NODES;
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        alias_limits: limits,
        with_snippet: false,
        // `y` and `no` are words for true and false, as in the YAML that Kubernetes reads.
        strict_booleans: false,
        // The modes of files are written `0644`.
        legacy_octal_numbers: true,
        // The depth limit of the walk tells it better; this one guards what the walk passes over.
        budget: serde_saphyr::budget! { max_depth: 4 * MAX_DEPTH },
    }
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
        let text = b"s: abc\nq: \"1\"\ni: 12\nf: 1.5\nt: true\nn: null\ne:\nl: [1, x]\n80: p\ny: no\nu: \"no\"\nw: [On, off, Yes]\nm: 0644\no: 0o644\nd: 089\n";
        let value = value(text, &mut Context::default()).expect("it is YAML");
        let expected = serde_json::json!({
            "s": "abc", "q": "1", "i": 12, "f": 1.5, "t": true, "false": null, "e": null, "l": [1, "x"], "80": "p",
            "true": false, "u": "no", "w": [true, false, true], "m": 420, "o": 420, "d": 89.0,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn keys_that_stand_twice_are_told_by_the_lines_of_their_values() {
        let check = |text: &str, expected: &str| {
            let mut cx = Context::new(true);
            value(text.as_bytes(), &mut cx).expect("it is YAML");
            assert_eq!(cx.strict.join(", "), expected, "{text:?}");
        };
        check("a: 1\nb: 2\n", "");
        check("a: 1\na: 2\n", "yaml: unmarshal errors:\n  line 2: key \"a\" already set in map");
        check(
            "# first\n---\na:\n  k: 1\n  k: [x]\na:\n  l: 1\nb: {c: 1, c: 2}\n",
            "yaml: unmarshal errors:\n  line 5: key \"k\" already set in map\n  line 7: key \"a\" already set in map\n  \
             line 8: key \"c\" already set in map",
        );
        check("{\n\"a\":\n1,\n\"a\":\n2}", "yaml: unmarshal errors:\n  line 5: key \"a\" already set in map");
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
