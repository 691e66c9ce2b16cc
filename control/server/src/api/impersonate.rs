//! Users who act as others (`kubectl --as`), as far as they may.

use http::HeaderMap;
use pal_resources::Status;

use super::Api;
use super::allow::{self, Decision};
use crate::auth::{AUTHENTICATED, Attributes, Target, User, forbidden};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The user that somebody wants to be for this request; refused unless they may `impersonate` each part of it.
pub(super) async fn user(api: &Api, user: &User, headers: &HeaderMap) -> Result<Option<User>, Status> {
    let Some(wanted) = wanted(headers)? else { return Ok(None) };
    for (group, resource, subresource, namespace, name) in parts(&wanted) {
        let target = Target { group, resource, subresource, namespace: &namespace, name: &name, ..Target::default() };
        let attributes = Attributes::Resource("impersonate", target);
        if let Decision::Refused(why) = allow::permitted(api, user, &attributes).await? {
            return Err(forbidden(user, &attributes, &why));
        }
    }
    Ok(Some(completed(wanted)))
}

/// The user that the headers name, as they name it.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let mut wanted = User {
        name: headers.get(USER).map(text).unwrap_or_default(),
        uid: headers.get(UID).map(text).unwrap_or_default(),
        groups: headers.get_all(GROUP).iter().map(text).collect(),
        ..User::default()
    };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            wanted.extra.entry(unescaped(key)).or_default().push(text(value));
        }
    }
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == User::default() {
        return Ok(None);
    }
    Err(Status::bad_request(format!("requested {} without impersonating a user name", in_go(&wanted))))
}

/// Who has no name, as Go shows its value.
fn in_go(user: &User) -> String {
    let list = |texts: &[String]| match texts {
        [] => "[]string(nil)".to_owned(),
        texts => format!("[]string{{{}}}", texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")),
    };
    let extra: Vec<String> = user.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
    let extra = if extra.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", extra.join(", ")) };
    let (uid, groups) = (&user.uid, list(&user.groups));
    format!("&user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:{groups}, Extra:map[string][]string{extra}}}")
}

/// Keys of extra fields may hold what header names may not, escaped with per cent signs.
fn unescaped(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What must be allowed, as group, resource, subresource, namespace and name.
fn parts(wanted: &User) -> Vec<(&'static str, &'static str, &str, String, String)> {
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let mut parts = Vec::new();
    match service_account(&wanted.name) {
        Some((namespace, name)) => parts.push(("", "serviceaccounts", "", namespace.to_owned(), name.to_owned())),
        None => parts.push(("", "users", "", String::new(), wanted.name.clone())),
    }
    parts.extend(wanted.groups.iter().map(|group| ("", "groups", "", String::new(), group.clone())));
    if !wanted.uid.is_empty() {
        parts.push((AUTHENTICATION, "uids", "", String::new(), wanted.uid.clone()));
    }
    for (key, values) in &wanted.extra {
        parts.extend(
            values.iter().map(|value| (AUTHENTICATION, "userextras", key.as_str(), String::new(), value.clone())),
        );
    }
    parts
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// The user with the groups that everybody of that kind is in.
fn completed(mut user: User) -> User {
    if user.groups.is_empty()
        && let Some((namespace, _)) = service_account(&user.name)
    {
        user.groups.extend(["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]);
    }
    let everybody = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(everybody.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn headers_name_a_user_with_all_that_belongs_to_it() {
        let check = |pairs: &[(&'static str, &str)], name: &str, groups: &[&str], asked: &[&str]| {
            let wanted = wanted(&headers(pairs)).expect("sensible headers").expect("a user");
            let needed: Vec<String> = parts(&wanted)
                .into_iter()
                .map(|(group, resource, sub, namespace, name)| format!("{group}/{resource}/{sub} {namespace} {name}"))
                .collect();
            assert_eq!(needed, asked);
            let user = completed(wanted);
            assert_eq!((user.name.as_str(), user.groups), (name, groups.iter().map(|g| (*g).to_owned()).collect()));
        };
        check(&[(USER, "jane")], "jane", &[AUTHENTICATED], &["/users/  jane"]);
        check(
            &[(USER, "jane"), (GROUP, "dev"), (GROUP, "ops")],
            "jane",
            &["dev", "ops", AUTHENTICATED],
            &["/users/  jane", "/groups/  dev", "/groups/  ops"],
        );
        check(
            &[(USER, "system:serviceaccount:a:bot")],
            "system:serviceaccount:a:bot",
            &["system:serviceaccounts", "system:serviceaccounts:a", AUTHENTICATED],
            &["/serviceaccounts/ a bot"],
        );
        check(&[(USER, ANONYMOUS)], ANONYMOUS, &[UNAUTHENTICATED], &["/users/  system:anonymous"]);
        check(
            &[(USER, "jane"), (UID, "7"), ("impersonate-extra-a%2fb", "x")],
            "jane",
            &[AUTHENTICATED],
            &["/users/  jane", "authentication.k8s.io/uids/  7", "authentication.k8s.io/userextras/a/b  x"],
        );
    }

    #[test]
    fn without_a_user_nobody_is_impersonated() {
        assert_eq!(wanted(&HeaderMap::new()).map_err(|status| status.code), Ok(None));
        let refused =
            |pairs: &[(&'static str, &str)]| wanted(&headers(pairs)).map_err(|status| (status.code, status.message));
        let who = |value: &str| {
            format!("requested &user.DefaultInfo{{Name:\"\", {value}}} without impersonating a user name")
        };
        let check = |pairs: &[(&'static str, &str)], value: &str| assert_eq!(refused(pairs), Err((400, who(value))));
        check(
            &[(GROUP, "dev"), (GROUP, "ops")],
            "UID:\"\", Groups:[]string{\"dev\", \"ops\"}, Extra:map[string][]string(nil)",
        );
        check(
            &[(UID, "7"), ("impersonate-extra-a", "x")],
            "UID:\"7\", Groups:[]string(nil), Extra:map[string][]string{\"a\":[]string{\"x\"}}",
        );
    }
}
