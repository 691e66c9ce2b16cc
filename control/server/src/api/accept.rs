//! Which form of an answer a client takes.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use pal_resources::status::{Reason, Status, StatusDetails};

use super::wish::{Wish, wishes};

/// Kubernetes' protobuf.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What the router of kube-apiserver asks for before anything is negotiated.
const ANYTHING: &str = "*/*";
/// How streams of events are named.
const STREAMS: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
/// What the router knows of objects, of lists, which may be streams, and of the version.
pub(crate) const OF_OBJECTS: &[&str] = &["application/json", "application/yaml", PROTOBUF];
pub(crate) const OF_LISTS: &[&str] = &["application/json", "application/yaml", PROTOBUF, STREAMS[0], STREAMS[1]];
pub(crate) const OF_VERSION: &[&str] = &["application/json"];

/// What an answer shows of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    #[default]
    Object,
    /// In the version of `meta.k8s.io` that was asked for.
    Table(&'static str),
    /// The metadata of one object.
    Partial(&'static str),
    /// The metadata of the objects of a list.
    Partials(&'static str),
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

impl Encoding {
    /// In the order in which a wildcard means them.
    const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Protobuf];

    pub(super) fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => PROTOBUF,
        }
    }

    /// Whether events can be told in it.
    pub(super) fn streams(self) -> bool {
        self != Self::Yaml
    }
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

/// What there is to choose from; a wish for what is not there falls through to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offers {
    Objects,
    /// Custom resources, which have no messages in protobuf; their metadata has.
    Customs,
    /// What is answered and not kept: reviews, which are no rows of anything.
    Answers,
    Documents,
}

impl Offers {
    pub(super) fn has(self, encoding: Encoding, form: Form) -> bool {
        let binary = encoding == Encoding::Protobuf;
        match form {
            Form::Object => match self {
                Self::Objects | Self::Answers | Self::Documents => true,
                Self::Customs => !binary,
            },
            Form::Table(_) => matches!(self, Self::Objects | Self::Customs) && !binary,
            Form::Partial(_) | Form::Partials(_) => matches!(self, Self::Objects | Self::Customs),
        }
    }
}

/// The best of what the client takes; 406 when it takes nothing that is offered. `pretty` is the query's word.
pub(crate) fn accept(headers: &HeaderMap, pretty: Option<bool>, offers: Offers) -> Result<Accepted, Status> {
    let accepted = unasked(headers, pretty);
    let Some(wishes) = wishes(headers) else { return Ok(accepted) };
    let offered = |wish| Encoding::ALL.into_iter().filter_map(move |encoding| choice(wish, encoding, offers));
    let choices: Vec<(Encoding, Form, bool)> = wishes.iter().flat_map(offered).collect();
    let Some(&first) = choices.first() else { return Err(not_among(&Encoding::ALL.map(Encoding::media))) };
    // The same as text, if the client takes that too.
    let text = choices.iter().find(|(encoding, form, _)| *encoding != Encoding::Protobuf && *form == first.1);
    let (encoding, form, indented) = *text.unwrap_or(&first);
    Ok(Accepted { encoding, form, pretty: accepted.pretty || indented, ..accepted })
}

fn choice(wish: &Wish<'_>, encoding: Encoding, offers: Offers) -> Option<(Encoding, Form, bool)> {
    let form = wish.means(encoding).then(|| wish.form(encoding, offers))??;
    Some((encoding, form, wish.pretty))
}

/// Refuses who names none of the media types that there are, by their full names. The router of kube-apiserver does that for
/// all that is built in, before what the types mean is looked at.
pub(crate) fn routed(headers: &HeaderMap, available: &[&str]) -> Result<(), Status> {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).filter(|accept| !accept.is_empty());
    let mut named = accept.unwrap_or(ANYTHING).split(',').map(|wish| wish.split(';').next().unwrap_or_default().trim());
    if named.any(|media| media == ANYTHING || available.contains(&media)) {
        return Ok(());
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", available.join(", "));
    let mut status = Status::new(406, Reason::NotAcceptable, message);
    status.details = Some(StatusDetails::default());
    Err(status)
}

/// JSON for everybody, whatever they take.
pub(crate) fn unasked(headers: &HeaderMap, pretty: Option<bool>) -> Accepted {
    Accepted { gzip: takes_gzip(headers), pretty: self::pretty(headers, pretty), ..Accepted::default() }
}

/// Whether the client takes JSON, in whatever form.
pub(crate) fn takes_json(headers: &HeaderMap) -> bool {
    wishes(headers).is_none_or(|wishes| wishes.iter().any(|wish| wish.means(Encoding::Json)))
}

/// Refuses who takes objects in a form in which events cannot be told.
pub(crate) fn streamed(accepted: Accepted) -> Result<(), Status> {
    if accepted.encoding.streams() { Ok(()) } else { Err(not_among(&STREAMS)) }
}

/// How a failure is told: in the encoding that the client takes for objects as they are. `None`: it takes none.
pub(crate) fn of_failure(headers: &HeaderMap, pretty: Option<bool>) -> Option<Accepted> {
    let plain = accept(headers, pretty, Offers::Answers).ok()?;
    Some(Accepted { gzip: false, ..plain })
}

/// Whether the answer is indented: the query says so, or the client is one that people read.
pub(crate) fn pretty(headers: &HeaderMap, query: Option<bool>) -> bool {
    query.unwrap_or_else(|| reads_by_eye(headers))
}

/// The answer to who takes none of these media types.
pub(crate) fn not_among(media: &[&str]) -> Status {
    let message = format!("only the following media types are accepted: {}", media.join(", "));
    Status::new(406, Reason::NotAcceptable, message)
}

/// Whether a wish is for aggregated discovery, in the version that is served.
pub(crate) fn aggregated(headers: &HeaderMap) -> bool {
    wishes(headers).into_iter().flatten().filter_map(|wish| wish.target).any(|target| {
        (target.group, target.version, target.kind) == ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")
    })
}

/// Whether the client names that media type.
pub(crate) fn names(headers: &HeaderMap, media: &str) -> bool {
    wishes(headers).into_iter().flatten().any(|wish| media.split_once('/') == Some((wish.kind, wish.subkind)))
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
    use crate::api::wish::FEW;

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
            Some((Form::Partials("v1"), Encoding::Json)),
        );
        check(
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1",
            Offers::Customs,
            Some((Form::Partial("v1beta1"), Encoding::Json)),
        );
        check("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Offers::Documents, None);
        check("application/json;as=Table;g=meta;v=v1", Offers::Objects, None);
        check("application/json;as=Pod;g=meta.k8s.io;v=v1", Offers::Objects, None);
        check("application/json;v=v1", Offers::Objects, None);
        check("application/json;g=meta.k8s.io", Offers::Objects, None);
        check("application/json;charset=utf-8;x=y", Offers::Objects, json);
        check("application/json;stream=watch", Offers::Objects, json);
        check("application/json;stream=other", Offers::Objects, None);
        check("application/yaml;stream=watch", Offers::Objects, None);
        check("application/json;sv=v1", Offers::Objects, json);
        check("application/json;sv=v2", Offers::Objects, None);
        check("*", Offers::Objects, json);
        check("application/*", Offers::Objects, json);
        check("application", Offers::Objects, None);
        check("application/json/x", Offers::Objects, None);
        check(",", Offers::Objects, None);
        check("application/vnd.kubernetes.protobuf,application/json", Offers::Objects, json);
        check("application/vnd.kubernetes.protobuf, */*", Offers::Objects, json);
        check("application/vnd.kubernetes.protobuf", Offers::Objects, Some((Form::Object, Encoding::Protobuf)));
        check("application/vnd.kubernetes.protobuf", Offers::Documents, Some((Form::Object, Encoding::Protobuf)));
        check("application/vnd.kubernetes.protobuf", Offers::Customs, None);
        let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        check(partial, Offers::Customs, Some((Form::Partial("v1"), Encoding::Protobuf)));
        check(&format!("{partial},application/json"), Offers::Objects, Some((Form::Partial("v1"), Encoding::Protobuf)));
        check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", Offers::Objects, None);
        check(KUBECTL, Offers::Answers, json);
        check("application/json;as=Table;v=v1;g=meta.k8s.io", Offers::Answers, None);
        check("application/yaml", Offers::Objects, Some((Form::Object, Encoding::Yaml)));
        check("application/yaml;q=0.5, application/json;q=0.9", Offers::Objects, json);
        check("*/*, application/yaml", Offers::Objects, Some((Form::Object, Encoding::Yaml)));
        check("*/*;q=0.9, application/yaml;q=0.5", Offers::Objects, Some((Form::Object, Encoding::Yaml)));
        check("application/yaml;q=x, application/json;q=0.1", Offers::Objects, json);
        check("text/html", Offers::Objects, None);
        check("application/json;q=0", Offers::Objects, json);
        check(&"text/html, ".repeat(FEW), Offers::Objects, None);
        check(&format!("{}application/yaml;q=0.5, application/json", "a/b, ".repeat(FEW)), Offers::Objects, json);
    }

    #[test]
    fn who_names_nothing_that_there_is_does_not_pass_the_router() {
        let check = |header: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, header.parse().expect("a header"));
            assert_eq!(routed(&headers, OF_OBJECTS).is_ok(), expected, "{header}");
        };
        check("", true);
        check("text/html, */*;q=0.1", true);
        check("application/json;as=Nothing", true);
        check("text/html, application/yaml", true);
        check("application/*", false);
        check("*", false);
        check("text/html", false);
        assert!(routed(&HeaderMap::new(), OF_VERSION).is_ok());
    }

    #[test]
    fn a_wish_may_be_for_what_people_read() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "text/html, application/json;pretty=1".parse().expect("a header"));
        assert!(accept(&headers, None, Offers::Objects).is_ok_and(|accepted| accepted.pretty));
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
