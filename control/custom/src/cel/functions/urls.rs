//! URLs (Kubernetes' `urls`).

use std::collections::BTreeMap;
use std::rc::Rc;

use url::Url;

use super::super::meter::{Fail, Meter};
use super::super::value::{Key, V};
use super::Outcome;

/// What stands before a path without a host: a URL is needed to resolve it.
const NOWHERE: &str = "nowhere:";

pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Option<Outcome<'a>> {
    Some(match (name, args) {
        ("url", [V::Text(text)]) => parse(text).map(|url| V::Url(Rc::new(url))),
        ("isURL", [V::Text(text)]) => Ok(V::Bool(parse(text).is_ok())),
        ("getScheme", [V::Url(url)]) => Ok(V::text(if is_path(url) { "" } else { url.scheme() })),
        ("getHost", [V::Url(url)]) => Ok(V::text(match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        })),
        ("getHostname", [V::Url(url)]) => {
            Ok(V::text(url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')))
        }
        ("getPort", [V::Url(url)]) => Ok(V::text(url.port().map_or(String::new(), |port| port.to_string()))),
        ("getEscapedPath", [V::Url(url)]) => Ok(V::text(url.path())),
        ("getQuery", [V::Url(url)]) => query(url, meter),
        _ => return None,
    })
}

/// As Go's `url.ParseRequestURI`: with a scheme, or a path.
fn parse(text: &str) -> Result<Url, Fail> {
    let wrong = || {
        Fail::error(format!("URL parse error during conversion from string: parse {text:?}: invalid URI for request"))
    };
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(wrong());
    }
    let whole = if text.starts_with('/') { format!("{NOWHERE}{text}") } else { text.to_owned() };
    Url::parse(&whole).map_err(|_| wrong())
}

fn is_path(url: &Url) -> bool {
    url.as_str().starts_with(NOWHERE)
}

fn query<'a>(url: &Url, meter: &mut Meter) -> Outcome<'a> {
    let mut found: BTreeMap<Key, Vec<V<'a>>> = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        meter.charge(1)?;
        found.entry(Key::Text((*name).into())).or_default().push(V::text(&*value));
    }
    Ok(V::Map(Rc::new(found.into_iter().map(|(name, values)| (name, V::list(values))).collect())))
}
