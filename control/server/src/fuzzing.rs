//! What is read of clients' requests and of an administrator's files, for fuzzing: each takes any bytes, and fails where a
//! promise does not hold.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};

use crate::api::{accept, query, route};
use crate::audit::policy::{Level, Policy};
use crate::audit::{Asked, Object};
use crate::auth::{StaticTokens, User, jose, oidc};
use crate::pki::ClusterCa;
use crate::tokens;

pub use crate::stream::fuzzing::{spdy, websocket};

/// The file of an audit policy, and what it decides.
pub fn audit_policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(policy) = Policy::parse(text) else { return };
    let pod = Object { version: "v1".to_owned(), resource: "pods".to_owned(), ..Object::default() };
    let objects = [None, Some(Object { namespace: "n".to_owned(), ..pod.clone() }), Some(pod)];
    for object in objects {
        let asked = Asked { verb: "get".to_owned(), path: "/healthz".to_owned(), object };
        let nobody = policy.decide(None, &asked);
        let somebody = policy.decide(Some(&User::new("u", &["g"])), &asked);
        assert!(nobody.level <= Level::RequestResponse && somebody.level <= Level::RequestResponse);
    }
}

/// An AuthenticationConfiguration.
pub fn authentication(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(configured) = oidc::from_file(text) {
        assert!(configured.issuers.iter().all(|issuer| !issuer.url.is_empty() && !issuer.audiences.is_empty()));
        assert_eq!(oidc::from_file(text), Ok(configured), "read again it is another");
    }
}

/// What proves who somebody is: bearer tokens, sets of keys, files of tokens, signing requests.
pub fn credentials(input: &[u8]) {
    let _ = ClusterCa::subject(input);
    let _ = jose::key_set(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(token) = jose::Token::parse(text) {
        let _ = (token.issuer(), token.claims::<serde_json::Value>());
    }
    let _ = StaticTokens::parse(text);
    let _ = text.parse::<tokens::TokenText>();
}

/// The first line is a path with its query, every further one an `Accept` header.
pub fn requests(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let asked = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let (path, words) = asked.split_once('?').unwrap_or((&*asked, ""));
    let found = route::Route::parse(path);
    assert_eq!(route::Route::parse(path), found);
    if let route::Route::Resource(resource) = &found {
        assert!(!resource.plural.is_empty(), "a resource has a name");
    }
    let query = query::Query::parse(Some(words));
    let _ =
        (query.list().is_ok(), query.watch().is_ok(), query.write("CreateOptions").is_ok(), query.timeout().is_ok());
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = http::HeaderValue::from_bytes(line) {
            headers.append(ACCEPT, value.clone());
            headers.append(ACCEPT_ENCODING, value);
        }
    }
    let _ = (accept::routed(&headers, accept::OF_LISTS).is_ok(), accept::of_failure(&headers, query.pretty()));
    use accept::Offers::{Answers, Customs, Documents, Objects};
    for offers in [Objects, Customs, Answers, Documents] {
        let accepted = accept::accept(&headers, query.pretty(), offers);
        let plain = |form: accept::Form| matches!(offers, Objects | Customs) || form == accept::Form::Object;
        assert!(accepted.is_err() || accepted.is_ok_and(|it| plain(it.form)), "only objects have tables");
    }
    let _ = (accept::aggregated(&headers), accept::names(&headers, "application/json"));
}
