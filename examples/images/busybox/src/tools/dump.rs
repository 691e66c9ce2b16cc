//! hexdump and od: bytes as numbers.

use super::{Call, Outcome};

/// Bytes of a line.
const LINE: usize = 16;

pub async fn run(call: &Call) -> Outcome {
    let options = call.options("Cvcbxd", "nsAtNj")?;
    let number = |flag| options.value(flag).and_then(|text| text.parse::<usize>().ok());
    let mut all = Vec::new();
    for name in options.inputs() {
        all.extend(call.input(&name)?.read_all().await?);
    }
    let skipped = number('s').or(number('j')).unwrap_or(0).min(all.len());
    let most = number('n').or(number('N')).unwrap_or(usize::MAX);
    let shown = &all[skipped..skipped + most.min(all.len() - skipped)];
    let kind = match (call.name, options.value('t').and_then(|kind| kind.chars().next())) {
        ("hexdump", _) if options.has('C') => Kind::Canonical,
        ("od", Some('c')) => Kind::Characters,
        ("od", Some('x')) => Kind::Bytes,
        ("od", _) if options.has('c') => Kind::Characters,
        _ => Kind::Words,
    };
    // hexdump counts in hex, od in octal, where it counts at all.
    let place = |at: usize| match (call.name, options.value('A')) {
        ("hexdump", _) if kind == Kind::Canonical => format!("{at:08x}"),
        ("hexdump", _) | ("od", Some("x")) => format!("{at:07x}"),
        (_, Some("n")) => String::new(),
        (_, Some("d")) => format!("{at:07}"),
        _ => format!("{at:07o}"),
    };
    let mut out = String::new();
    for (i, bytes) in shown.chunks(LINE).enumerate() {
        out.push_str(&format!("{}{}\n", place(skipped + i * LINE), line(kind, bytes)));
    }
    let end = place(skipped + shown.len());
    if !end.is_empty() && !shown.is_empty() {
        out.push_str(&(end + "\n"));
    }
    call.print(out).await?;
    Ok(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bytes, and beside them what can be read.
    Canonical,
    Characters,
    Bytes,
    /// Two bytes each, the lower first.
    Words,
}

fn line(kind: Kind, bytes: &[u8]) -> String {
    match kind {
        Kind::Canonical => {
            let byte = |i: usize| bytes.get(i).map_or("  ".to_owned(), |byte| format!("{byte:02x}"));
            let half = |from: usize| (from..from + 8).map(byte).collect::<Vec<_>>().join(" ");
            let read = |byte: &u8| if (32..127).contains(byte) { char::from(*byte) } else { '.' };
            format!("  {}  {}  |{}|", half(0), half(8), bytes.iter().map(read).collect::<String>())
        }
        Kind::Characters => bytes.iter().map(|byte| format!(" {:>3}", shown(*byte))).collect(),
        Kind::Bytes => bytes.iter().map(|byte| format!(" {byte:02x}")).collect(),
        Kind::Words => bytes
            .chunks(2)
            .map(|pair| format!(" {:04x}", u16::from(pair[0]) | u16::from(*pair.get(1).unwrap_or(&0)) << 8))
            .collect(),
    }
}

fn shown(byte: u8) -> String {
    match byte {
        0 => "\\0".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'\r' => "\\r".to_owned(),
        32..=126 => char::from(byte).to_string(),
        other => format!("{other:03o}"),
    }
}
