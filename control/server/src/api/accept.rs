//! Which form of an answer a client takes.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use pal_resources::status::{Reason, Status};

/// Kubernetes' protobuf.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What an answer shows of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    #[default]
    Object,
    /// In the version of `meta.k8s.io` that was asked for.
    Table(&'static str),
    Partial(&'static str),
}

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    #[default]
    Json,
    Yaml,
    /// Kubernetes' own; only for those who take nothing else, because objects are stored as JSON.
    Protobuf,
}

/// The form that was agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub form: Form,
    pub encoding: Encoding,
    /// Indented for people.
    pub pretty: bool,
    /// Compressed when it is large.
    pub gzip: bool,
}

/// Whether the route has tables; on the others a wish for one falls through to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offers {
    Objects,
    /// What is answered and not kept: reviews, which are no rows of anything.
    Answers,
    Documents,
}

/// One of the media types in an `Accept` header.
struct Wish<'a> {
    essence: &'a str,
    as_kind: Option<&'a str>,
    version: Option<&'a str>,
    group: Option<&'a str>,
    quality: u16,
}

impl<'a> Wish<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut wish = Self {
            essence: parts.next().unwrap_or_default(),
            as_kind: None,
            version: None,
            group: None,
            quality: 1000,
        };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim() {
                "as" => wish.as_kind = Some(value.trim()),
                "v" => wish.version = Some(value.trim()),
                "g" => wish.group = Some(value.trim()),
                "q" => wish.quality = value.trim().parse::<f32>().map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16),
                _ => {}
            }
        }
        wish
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.essence {
            "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            PROTOBUF => Some(Encoding::Protobuf),
            _ => None,
        }
    }

    fn form(&self, offers: Offers) -> Option<Form> {
        let Some(kind) = self.as_kind else { return Some(Form::Object) };
        let version = match self.version {
            Some("v1") => "v1",
            Some("v1beta1") => "v1beta1",
            _ => return None,
        };
        if offers != Offers::Objects || self.group != Some("meta.k8s.io") {
            return None;
        }
        match kind {
            "Table" => Some(Form::Table(version)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Form::Partial(version)),
            _ => None,
        }
    }
}

/// The best of what the client takes; 406 when it takes nothing that is offered. `pretty` is the query's word.
pub(crate) fn accept(headers: &HeaderMap, pretty: Option<bool>, offers: Offers) -> Result<Accepted, Status> {
    let mut accepted = Accepted { gzip: takes_gzip(headers), ..Accepted::default() };
    let mut wishes: Vec<Wish<'_>> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|wish| !wish.is_empty())
        .map(Wish::parse)
        .collect();
    accepted.pretty = self::pretty(headers, pretty);
    if wishes.is_empty() {
        return Ok(accepted);
    }
    // Stable: of equals, the first.
    wishes.sort_by_key(|wish| std::cmp::Reverse(wish.quality));
    let offered =
        wishes.iter().filter(|wish| wish.quality > 0).filter_map(|wish| Some((wish.encoding()?, wish.form(offers)?)));
    let (binary, text): (Vec<_>, Vec<_>) = offered.partition(|(encoding, _)| *encoding == Encoding::Protobuf);
    let plain = |(_, form): &&(Encoding, Form)| offers != Offers::Documents && *form == Form::Object;
    let found = text.first().or_else(|| binary.iter().find(plain));
    let Some(&(encoding, form)) = found else { return Err(not_acceptable(offers)) };
    Ok(Accepted { encoding, form, ..accepted })
}

/// Whether the answer is indented: the query says so, or the client is one that people read.
pub(crate) fn pretty(headers: &HeaderMap, query: Option<bool>) -> bool {
    query.unwrap_or_else(|| reads_by_eye(headers))
}

fn not_acceptable(offers: Offers) -> Status {
    let mut message = "only the following media types are accepted: application/json, application/yaml".to_owned();
    if offers != Offers::Documents {
        message.push_str(", ");
        message.push_str(PROTOBUF);
    }
    Status::new(406, Reason::NotAcceptable, message)
}

/// Whether a wish is for aggregated discovery, in the version that is served.
pub(crate) fn aggregated(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|wish| Wish::parse(wish.trim())).any(|wish| {
        wish.group == Some("apidiscovery.k8s.io")
            && wish.version == Some("v2")
            && wish.as_kind == Some("APIGroupDiscoveryList")
    })
}

/// Whether the client names that media type.
pub(crate) fn names(headers: &HeaderMap, media: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|wish| Wish::parse(wish.trim()).essence == media)
}

/// kube-apiserver indents for these, so that what people see in a terminal is readable.
fn reads_by_eye(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0")
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|encoding| encoding.split(';').next().map(str::trim) == Some("gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECTL: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                           application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

    #[test]
    fn the_first_form_that_is_offered_is_taken() {
        let check = |header: &str, offers: Offers, expected: Option<(Form, Encoding)>| {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert(ACCEPT, header.parse().expect("a header"));
            }
            let found = accept(&headers, None, offers).ok().map(|accepted| (accepted.form, accepted.encoding));
            assert_eq!(found, expected, "{header}");
        };
        let json = Some((Form::Object, Encoding::Json));
        check("", Offers::Objects, json);
        check("*/*", Offers::Objects, json);
        check("application/json, */*", Offers::Objects, json);
        check(KUBECTL, Offers::Objects, Some((Form::Table("v1"), Encoding::Json)));
        check(KUBECTL, Offers::Documents, json);
        check("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Offers::Objects, json);
        check("application/json;as=Table;v=v9;g=meta.k8s.io", Offers::Objects, None);
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Offers::Objects,
            Some((Form::Partial("v1"), Encoding::Json)),
        );
        check("application/vnd.kubernetes.protobuf,application/json", Offers::Objects, json);
        check("application/vnd.kubernetes.protobuf, */*", Offers::Objects, json);
        check("application/vnd.kubernetes.protobuf", Offers::Objects, Some((Form::Object, Encoding::Protobuf)));
        check("application/vnd.kubernetes.protobuf", Offers::Documents, None);
        check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", Offers::Objects, None);
        check(KUBECTL, Offers::Answers, json);
        check("application/json;as=Table;v=v1;g=meta.k8s.io", Offers::Answers, None);
        check("application/yaml", Offers::Objects, Some((Form::Object, Encoding::Yaml)));
        check("application/yaml;q=0.5, application/json;q=0.9", Offers::Objects, json);
        check("text/html", Offers::Objects, None);
        check("application/json;q=0", Offers::Objects, None);
    }

    #[test]
    fn aggregated_discovery_is_asked_for_by_name() {
        let check = |header: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, header.parse().expect("a header"));
            assert_eq!(aggregated(&headers), expected, "{header}");
        };
        check("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", true);
        check("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json", false);
        check("application/json", false);
    }
}
