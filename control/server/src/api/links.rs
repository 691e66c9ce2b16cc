//! The links of pages that come through `proxy`: those to the page's own host lead through the proxy too, as
//! kube-apiserver has them (apimachinery `util/proxy/transport`).
//!
//! A page is rewritten as it comes. What is held back is a tag that has not ended yet.

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::StreamBody;

use crate::Body;

/// A tag that is longer is passed on as it is.
const LONGEST_TAG: usize = 64 * 1024;
/// Attributes whose value is a link, by the tags that have them.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Where a page came from, and where its client finds it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The path before that of the page.
    pub(super) prefix: String,
    /// The page's host and port.
    pub(super) host: String,
}

impl Place {
    /// A link as the client has to follow it; `None` when it may stay as it is.
    pub(super) fn link(&self, link: &str) -> Option<String> {
        let path = match link.strip_prefix("http://").and_then(|rest| rest.strip_prefix(self.host.as_str())) {
            Some(path) => path,
            None => link,
        };
        let absolute = path.starts_with('/') && !path.starts_with("//") && !path.starts_with(self.prefix.as_str());
        absolute.then(|| format!("{}{path}", self.prefix))
    }

    /// A page with its links rewritten.
    pub(super) fn rewritten(self, page: Body) -> Body {
        let begun = Some((page, Page { place: self, held: Vec::new(), within: None }));
        let stream = futures::stream::unfold(begun, |state| async move {
            let (mut body, mut page) = state?;
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        let out = page.push(&data);
                        if !out.is_empty() {
                            return Some((Ok(Frame::data(Bytes::from(out))), Some((body, page))));
                        }
                    }
                    Some(Err(error)) => return Some((Err(error), None)),
                    None => return Some((Ok(Frame::data(Bytes::from(page.held))), None)),
                }
            }
        });
        StreamBody::new(stream).boxed_unsync()
    }
}

/// A page that is being rewritten.
struct Page {
    place: Place,
    /// The beginning of a tag.
    held: Vec<u8>,
    /// In the text of a script or a style, where nothing is a tag but the one that ends it.
    within: Option<&'static str>,
}

impl Page {
    /// Takes the next piece in and gives what is ready.
    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let held = std::mem::take(&mut self.held);
        let (mut out, mut rest) = (Vec::with_capacity(held.len()), held.as_slice());
        while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let length = match tag_length(rest, self.within) {
                Found::Tag(length) => length,
                Found::Text => {
                    out.push(b'<');
                    rest = &rest[1..];
                    continue;
                }
                Found::Unfinished if rest.len() <= LONGEST_TAG => {
                    self.held = rest.to_vec();
                    return out;
                }
                Found::Unfinished => break,
            };
            let (tag, after) = rest.split_at(length);
            self.tag(tag, &mut out);
            rest = after;
        }
        out.extend_from_slice(rest);
        out
    }

    fn tag(&mut self, tag: &[u8], out: &mut Vec<u8>) {
        let name = name_of(tag);
        self.within = match name.as_str() {
            "script" => Some("/script"),
            "style" => Some("/style"),
            _ => None,
        };
        let links = LINKS.iter().find(|(of, _)| *of == name).map(|(_, links)| *links).unwrap_or_default();
        let mut done = 0;
        for (attribute, from, to) in attributes(tag) {
            let value = std::str::from_utf8(&tag[from..to]).ok().filter(|_| links.contains(&attribute.as_str()));
            if let Some(link) = value.and_then(|value| self.place.link(value)) {
                out.extend_from_slice(&tag[done..from]);
                out.extend_from_slice(link.as_bytes());
                done = to;
            }
        }
        out.extend_from_slice(&tag[done..]);
    }
}

enum Found {
    /// A tag of that many bytes.
    Tag(usize),
    Text,
    /// More has to come before it is known.
    Unfinished,
}

/// What begins with `<`. `within` is the only tag that is looked for.
fn tag_length(text: &[u8], within: Option<&str>) -> Found {
    let end = within.unwrap_or_default().as_bytes();
    let begun = text[1..].iter().zip(end).all(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted));
    match text.get(1) {
        _ if !begun => return Found::Text,
        _ if text.len() <= end.len() => return Found::Unfinished,
        None => return Found::Unfinished,
        Some(first) if !first.is_ascii_alphabetic() && *first != b'/' => return Found::Text,
        Some(_) => {}
    }
    let mut quote = None;
    for (at, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Found::Tag(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    Found::Unfinished
}

fn name_of(tag: &[u8]) -> String {
    let name = tag[1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'/');
    name.map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// The attributes of a tag: their names, and where their values begin and end.
fn attributes(tag: &[u8]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let skip = |from: usize, wanted: &dyn Fn(u8) -> bool| {
        tag[from..].iter().position(|byte| !wanted(*byte)).map_or(tag.len(), |more| from + more)
    };
    let named = |byte: u8| !byte.is_ascii_whitespace() && !matches!(byte, b'=' | b'>' | b'/');
    let mut at = skip(1, &named);
    while at < tag.len() {
        let from = skip(at, &|byte| byte.is_ascii_whitespace() || byte == b'/');
        let to = skip(from, &named);
        let name = String::from_utf8_lossy(&tag[from..to]).to_ascii_lowercase();
        at = skip(to, &|byte| byte.is_ascii_whitespace());
        if tag.get(at) != Some(&b'=') {
            // No value; what is no name either is stepped over.
            at = at.max(from + 1);
            continue;
        }
        let begin = skip(at + 1, &|byte| byte.is_ascii_whitespace());
        let (begin, end) = match tag.get(begin) {
            Some(quote @ (b'"' | b'\'')) => (begin + 1, skip(begin + 1, &|byte| byte != *quote)),
            _ => (begin, skip(begin, &|byte| !byte.is_ascii_whitespace() && byte != b'>')),
        };
        found.push((name, begin, end));
        at = end + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let place = Place { prefix: "/p/proxy".to_owned(), host: "1.2.3.4:80".to_owned() };
        Page { place, held: Vec::new(), within: None }
    }

    fn rewrite(pieces: &[&[u8]]) -> Vec<u8> {
        let mut page = page();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| page.push(piece)).collect();
        out.extend(page.held);
        out
    }

    #[test]
    fn links_to_the_pages_host_lead_through_the_proxy() {
        let check = |html: &str, expected: &str| {
            let whole = rewrite(&[html.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&whole), expected);
            let bytes: Vec<&[u8]> = html.as_bytes().chunks(1).collect();
            assert_eq!(rewrite(&bytes), whole, "{html}");
        };
        check("<a href=\"/rewriteme\">test</a>", "<a href=\"/p/proxy/rewriteme\">test</a>");
        check("<A class=x HREF='/a?b=/c' >/d</A>", "<A class=x HREF='/p/proxy/a?b=/c' >/d</A>");
        check("<img src=/a.png><p>", "<img src=/p/proxy/a.png><p>");
        check("<img alt = \"<a href='/no'>\" src= /a />", "<img alt = \"<a href='/no'>\" src= /p/proxy/a />");
        check("<a href=\"http://1.2.3.4:80/a\">", "<a href=\"/p/proxy/a\">");
        for same in [
            "<a href=\"a/b\">",
            "<a href=\"//other/a\">",
            "<a href=\"https://other/a\">",
            "<a href=\"/p/proxy/a\">",
            "<p href=\"/a\">",
            "<a data-href=\"/a\" disabled>",
            "1 < 2 and <",
            "<script>var s = '<a href=\"/a\">' </script>",
            "<!-- it's --><b",
        ] {
            check(same, same);
        }
        check("<style></style><link href='/a.css'>", "<style></style><link href='/p/proxy/a.css'>");
    }

    #[test]
    fn a_tag_without_an_end_is_not_held_for_ever() {
        let mut page = page();
        let long = [b"<a ".as_slice(), &[b'x'; LONGEST_TAG]].concat();
        assert_eq!((page.push(&long), page.held.len()), (long, 0));
    }
}
