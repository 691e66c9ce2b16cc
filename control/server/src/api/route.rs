//! What a path names.

use http::Method;
use http::request::Parts;
use pal_resources::status::Status;

use super::allow;
use super::query::Query;
use crate::audit::{Asked, Object};

/// A path, taken apart. Segments are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/api/v1/...` or `/apis/GROUP/VERSION/...` with a resource.
    Resource(ResourcePath),
    /// Everything else.
    Other(String),
}

/// The resource that a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    /// An empty one is none in particular: clients that look everywhere name it so.
    pub namespace: Option<String>,
    pub plural: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
    /// Whether something follows a subresource, which only `proxy` takes.
    pub rest: bool,
    /// The path itself asks for a watch, in the older form `/api/v1/watch/...`.
    pub watch: bool,
    /// What follows `proxy`, as it was sent.
    pub tail: String,
}

impl ResourcePath {
    /// Whether what is behind the subresource answers the client itself.
    pub(crate) fn connects(&self) -> bool {
        self.is_proxy() || matches!(self.subresource.as_deref(), Some("exec" | "attach" | "portforward"))
    }

    pub(crate) fn is_proxy(&self) -> bool {
        self.subresource.as_deref() == Some("proxy")
    }
}

impl Route {
    /// Takes a path apart.
    pub(crate) fn parse(path: &str) -> Self {
        Self::resource(path).map_or_else(|| Self::Other(decode(path)), Self::Resource)
    }

    fn resource(path: &str) -> Option<ResourcePath> {
        let (path, tail) = split_proxy(path);
        // Decoded before it is split: `%2F` parts segments, as in kube-apiserver.
        let path = decode(path);
        let mut segments = path.strip_prefix('/')?.trim_end_matches('/').split('/').map(str::to_owned);
        let mut route = ResourcePath::default();
        match segments.next()?.as_str() {
            "api" => {}
            "apis" => route.group = segments.next().filter(|group| !group.is_empty())?,
            _ => return None,
        }
        route.version = segments.next()?;
        let rest: Vec<String> = segments.collect();
        let mut rest = rest.as_slice();
        if let [first, below @ ..] = rest
            && first == "watch"
            && !below.is_empty()
        {
            route.watch = true;
            rest = below;
        }
        // `namespaces/NAME/status` is the namespace's own; `namespaces/NAME/PLURAL` lies in it.
        if let [first, namespace, plural, ..] = rest
            && first == "namespaces"
            && !(route.group.is_empty() && matches!(plural.as_str(), "status" | "finalize"))
        {
            route.namespace = Some(namespace.clone());
            rest = &rest[2..];
        }
        if rest.iter().any(String::is_empty) {
            return None;
        }
        let [plural, rest @ ..] = rest else { return None };
        route.plural = plural.clone();
        route.name = rest.first().cloned();
        route.subresource = rest.get(1).cloned();
        route.rest = rest.len() > 2;
        route.tail = tail.to_owned();
        Some(route)
    }
}

/// A path up to `proxy`, and what follows: a path of somebody else's, with rules of its own.
fn split_proxy(path: &str) -> (&str, &str) {
    const CORE: &str = "/api/v1/";
    const PROXY: &str = "proxy";
    let whole = (path, "");
    let Some(rest) = path.strip_prefix(CORE) else { return whole };
    let before = if rest.starts_with("namespaces/") { 4 } else { 2 };
    let mut at = CORE.len();
    for _ in 0..before {
        let Some(slash) = path[at..].find('/') else { return whole };
        at += slash + 1;
    }
    match path[at..].strip_prefix(PROXY) {
        Some(tail) if tail.is_empty() || tail.starts_with('/') => (&path[..at + PROXY.len()], tail),
        _ => whole,
    }
}

/// The API's verb for a method on a resource.
pub(crate) fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match *method {
        // One object is not watched: `watch` beside a name is overlooked, as kube-apiserver does.
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD if watch => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

/// Whether there is a tree of objects below such a path, as in kube-apiserver; elsewhere it is a plain web server, which says in plain
/// text that a page is not there.
pub(crate) fn tells_objects(path: &str, served: impl Fn(&str) -> bool) -> bool {
    let mut segments = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').split('/');
    match segments.next() {
        Some("api" | "version" | "cluster") => true,
        Some("apis") => segments.next().is_none_or(|group| !group.is_empty() && served(group)),
        _ => false,
    }
}

/// The request as the audit log tells it.
pub(crate) fn asked(parts: &Parts, query: &Query<'_>) -> Asked {
    let path = parts.uri.path();
    let Some(route) = Route::resource(path) else {
        return Asked { verb: parts.method.as_str().to_ascii_lowercase(), path: path.to_owned(), object: None };
    };
    let watch = route.watch || query.flag("watch");
    let verb = verb(&parts.method, route.name.is_some() && !route.watch, watch).to_owned();
    let selected = || allow::selected_name(query.get("fieldSelector").unwrap_or_default()).map(str::to_owned);
    // A namespace lies in itself, as kube-apiserver has it.
    let own = route.plural == "namespaces" && route.group.is_empty();
    let name = route.name.or_else(selected).unwrap_or_default();
    let namespace = if own { name.clone() } else { route.namespace.unwrap_or_default() };
    let object = Object {
        group: route.group,
        version: route.version,
        resource: route.plural,
        subresource: route.subresource.unwrap_or_default(),
        namespace,
        name,
    };
    Asked { verb, path: path.to_owned(), object: Some(object) }
}

/// Refuses what no object can be called, in the words of kube-apiserver. Other odd names are of objects that are not there.
pub(crate) fn check_name(name: &str) -> Result<(), Status> {
    let must_not = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('%') => "may not contain '%'".to_owned(),
        _ => return Ok(()),
    };
    Err(Status::bad_request(format!("Name parameter invalid: {name:?}: {must_not}")))
}

/// Percent-decoding of a path; what does not decode to text stays as it is.
fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.filter(|_| bytes[at] == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        // group version namespace plural name subresource, with - for nothing
        let check = |path: &str, expected: &str| {
            let found = match Route::parse(path) {
                Route::Other(path) => format!("other {path}"),
                Route::Resource(route) => {
                    let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                    let group = if route.group.is_empty() { "-".to_owned() } else { route.group };
                    format!(
                        "{group} {} {} {} {} {}{}{}",
                        route.version,
                        or(route.namespace),
                        route.plural,
                        or(route.name),
                        or(route.subresource),
                        if route.rest { " +".to_owned() } else { route.tail },
                        if route.watch { " watch" } else { "" }
                    )
                }
            };
            assert_eq!(found, expected, "{path}");
        };
        check("/api/v1/pods", "- v1 - pods - -");
        check("/api/v1/namespaces", "- v1 - namespaces - -");
        check("/api/v1/namespaces/default", "- v1 - namespaces default -");
        check("/api/v1/namespaces/default/status", "- v1 - namespaces default status");
        check("/api/v1/namespaces/default/finalize", "- v1 - namespaces default finalize");
        check("/api/v1/namespaces/default/pods", "- v1 default pods - -");
        check("/api/v1/namespaces/default/pods/a/log", "- v1 default pods a log");
        check("/api/v1/namespaces/default/pods/a/proxy/x/y", "- v1 default pods a proxy/x/y");
        check("/api/v1/namespaces/default/services/http:a:web/proxy", "- v1 default services http:a:web proxy");
        check("/api/v1/nodes/n/proxy/", "- v1 - nodes n proxy/");
        check("/api/v1/namespaces/default/pods/a/proxy//a%2Fb/../", "- v1 default pods a proxy//a%2Fb/../");
        check("/api/v1/namespaces/default/pods/proxy/log", "- v1 default pods proxy log");
        check("/api/v1/namespaces/default/pods/a/log/x", "- v1 default pods a log +");
        check("/apis/apps/v1/namespaces/x/deployments/d/scale", "apps v1 x deployments d scale");
        check("/apis/apps/v1/deployments/", "apps v1 - deployments - -");
        check("/api/v1/watch/namespaces", "- v1 - namespaces - - watch");
        check("/apis/apps/v1/watch/namespaces/x/deployments/d", "apps v1 x deployments d - watch");
        check("/api/v1/watch", "- v1 - watch - -");
        check("/api/v1/nodes/system%3Anode", "- v1 - nodes system:node -");
        check("/api/v1/nodes/100%", "- v1 - nodes 100% -");
        check("/api/v1/namespaces//pods", "- v1  pods - -");
        check("/apis/apps/v1/watch/namespaces//deployments", "apps v1  deployments - - watch");
        check("/api/v1/namespaces//status", "other /api/v1/namespaces//status");
        check("/api/v1/namespaces/a//b", "other /api/v1/namespaces/a//b");
        check("/api/v1/namespaces/a/pods//log", "other /api/v1/namespaces/a/pods//log");
        check("//api/v1/pods", "other //api/v1/pods");
        check("/apis//v1/pods", "other /apis//v1/pods");
        check("/api/v1/namespaces/a%2Fpods/b", "- v1 a pods b -");
        check("/api/v1/namespaces/%2e%2e/pods", "- v1 .. pods - -");
        check("/api/v1/nodes/%00", "- v1 - nodes \0 -");
        check("/api/v1/nodes/%FF", "- v1 - nodes %FF -");
        check("/apis/apps/v1/%2F/pods", "other /apis/apps/v1///pods");
        check("/api/v1", "other /api/v1");
        check("/apis/apps", "other /apis/apps");
        check("/apis/apps/v1", "other /apis/apps/v1");
        check("/livez", "other /livez");
        check("/", "other /");
        check("/v2/x/blobs/y", "other /v2/x/blobs/y");
    }

    #[test]
    fn names_that_no_object_has_are_refused() {
        for (name, expected) in [
            ("web", None),
            ("http:web:80", None),
            ("\u{19}", None),
            ("...", None),
            (".", Some("Name parameter invalid: \".\": may not be '.'")),
            ("..", Some("Name parameter invalid: \"..\": may not be '..'")),
            ("100%", Some("Name parameter invalid: \"100%\": may not contain '%'")),
        ] {
            let refused = check_name(name).err();
            assert_eq!(refused.as_ref().map(|status| status.code), expected.map(|_| 400), "{name}");
            assert_eq!(refused.map(|status| status.message).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn objects_are_told_of_below_some_paths() {
        for (path, expected) in [
            ("/api/v2", true),
            ("/apis", true),
            ("/apis/apps/v7/pods", true),
            ("/apis/none/v1/pods", false),
            ("/version/x", true),
            ("/livez/x", false),
            ("/openapi/v3/x", false),
            ("/", false),
            ("//api", false),
            ("/apis//v1/pods", false),
        ] {
            assert_eq!(tells_objects(path, |group| group == "apps"), expected, "{path}");
        }
    }

    #[test]
    fn methods_are_verbs() {
        let check = |method: Method, named: bool, watch: bool, expected: &str| {
            assert_eq!(verb(&method, named, watch), expected);
        };
        check(Method::GET, true, false, "get");
        check(Method::GET, true, true, "get");
        check(Method::GET, false, false, "list");
        check(Method::GET, false, true, "watch");
        check(Method::POST, false, false, "create");
        check(Method::PUT, true, false, "update");
        check(Method::PATCH, true, false, "patch");
        check(Method::DELETE, true, false, "delete");
        check(Method::DELETE, false, false, "deletecollection");
        check(Method::OPTIONS, false, false, "");
    }
}
