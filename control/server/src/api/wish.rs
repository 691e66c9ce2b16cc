//! What a client would like to get: the media types of its `Accept` header.

use http::HeaderMap;
use http::header::ACCEPT;

use super::accept::{Encoding, Form, Offers};

/// As many wishes as are put in order pair by pair.
pub(super) const FEW: usize = 12;

/// One of the media types in an `Accept` header.
#[derive(Default)]
pub(super) struct Wish<'a> {
    pub kind: &'a str,
    pub subkind: &'a str,
    /// What `as`, `g` and `v` say together, if any of them is there.
    pub target: Option<Target<'a>>,
    /// `stream` and `sv`: what is to be told as a stream, and in which version of Kubernetes' own types.
    stream: &'a str,
    version: &'a str,
    pub pretty: bool,
    quality: f32,
}

/// What an object is to be turned into.
#[derive(Clone, Copy, Default)]
pub(super) struct Target<'a> {
    pub kind: &'a str,
    pub group: &'a str,
    pub version: &'a str,
}

impl<'a> Wish<'a> {
    /// `None`: it is no media type.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().filter(|essence| !essence.is_empty())?;
        let (kind, subkind) = match essence.split_once('/') {
            Some((_, more)) if more.contains('/') => return None,
            Some((kind, subkind)) => (kind.trim(), subkind.trim()),
            None if essence == "*" => ("*", "*"),
            None => return None,
        };
        let mut wish = Self { kind, subkind, quality: 1.0, ..Self::default() };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let (key, value) = (key.trim(), value.trim());
            match key {
                "as" => wish.target.get_or_insert_default().kind = value,
                "g" => wish.target.get_or_insert_default().group = value,
                "v" => wish.target.get_or_insert_default().version = value,
                "stream" => wish.stream = value,
                "sv" => wish.version = value,
                "pretty" => wish.pretty = value == "1",
                "q" => wish.quality = value.parse().unwrap_or(0.0),
                _ => {}
            }
        }
        Some(wish)
    }

    /// Whether it goes before another one: the better loved, and what names more.
    fn precedes(&self, other: &Self) -> bool {
        self.quality > other.quality
            || self.kind != "*" && other.kind == "*"
            || self.subkind != "*" && other.subkind == "*"
    }

    pub(super) fn means(&self, encoding: Encoding) -> bool {
        let media = encoding.media().split_once('/').unwrap_or_default();
        match (self.kind, self.subkind) {
            ("*", "*") => true,
            (kind, "*") => kind == media.0,
            named => named == media,
        }
    }

    /// Whether it is for one answer, and none in a version of Kubernetes' own types.
    pub(super) fn is_of_one_answer(&self) -> bool {
        self.stream.is_empty() && self.version.is_empty()
    }

    /// What it asks for, if that can be had in the encoding.
    pub(super) fn form(&self, encoding: Encoding, offers: Offers) -> Option<Form> {
        let streams = self.stream.is_empty() || self.stream == "watch" && encoding.streams();
        let known = self.version.is_empty() || self.version == "v1" && offers != Offers::Documents;
        let form = self.target.map_or(Some(Form::Object), Target::form)?;
        (streams && known && offers.has(encoding, form)).then_some(form)
    }
}

impl Target<'_> {
    fn form(self) -> Option<Form> {
        let version = match (self.group, self.version) {
            ("meta.k8s.io", "v1") => "v1",
            ("meta.k8s.io", "v1beta1") => "v1beta1",
            _ => return None,
        };
        match self.kind {
            "Table" => Some(Form::Table(version)),
            "PartialObjectMetadata" => Some(Form::Partial(version)),
            "PartialObjectMetadataList" => Some(Form::Partials(version)),
            _ => None,
        }
    }
}

/// The wishes of an `Accept` header, the best first. `None`: there is no such header.
pub(super) fn wishes(headers: &HeaderMap) -> Option<Vec<Wish<'_>>> {
    let accept = headers.get(ACCEPT)?.to_str().unwrap_or_default();
    if accept.is_empty() {
        return None;
    }
    let mut wishes: Vec<Wish<'_>> = accept.split(',').filter_map(|wish| Wish::parse(wish.trim())).collect();
    if wishes.len() > FEW {
        wishes.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        return Some(wishes);
    }
    // What goes before what is no order (one may be loved better and name less), so nothing but this finds the same first one as
    // kube-apiserver.
    for at in 1..wishes.len() {
        let place = wishes[..at].iter().rposition(|before| !wishes[at].precedes(before)).map_or(0, |before| before + 1);
        wishes[place..=at].rotate_right(1);
    }
    Some(wishes)
}
