//! Secrets of the type `kubernetes.io/service-account-token`: filled with a token of the account that they name, and gone
//! with it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::action::{Action, Plan, Target};
use crate::object::{annotation, as_seen, created, is_deleting, remaining};

/// The type.
pub const TYPE: &str = "kubernetes.io/service-account-token";
/// The annotations that name the account.
pub const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// How old a Secret is before an account that is not there is believed to be none: it may be told of a little later.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything that such a Secret's content follows from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub secret: &'a Secret,
    /// The uid of the account that the Secret names, if that is there.
    pub account: Option<&'a str>,
    /// The cluster's root certificate; empty when there is none.
    pub root_ca_pem: &'a str,
}

/// Fills in what the Secret lacks; deletes one whose account is gone.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let meta = &view.secret.metadata;
    if is_deleting(meta) {
        return plan;
    }
    let target = Target::of(view.secret);
    let same = |uid: &&str| annotation(meta, ACCOUNT_UID).is_none_or(|known| known.is_empty() || known == *uid);
    let Some(uid) = view.account.filter(same) else {
        match remaining(created(meta), PATIENCE, now) {
            Some(wait) => plan.look_again(wait),
            None => plan.push(Action::Delete { target, grace_seconds: None, propagation: None, announce: None }),
        }
        return plan;
    };
    let has = |key: &str| view.secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let mut data = json!({});
    if !view.root_ca_pem.is_empty() && has("ca.crt") != Some(view.root_ca_pem.as_bytes()) {
        data["ca.crt"] = json!(ByteString(view.root_ca_pem.as_bytes().to_vec()));
    }
    if has("namespace").is_none_or(<[u8]>::is_empty) {
        let namespace = meta.namespace.clone().unwrap_or_default();
        data["namespace"] = json!(ByteString(namespace.into_bytes()));
    }
    let wants_token = has("token").is_none_or(<[u8]>::is_empty);
    let empty = data.as_object().is_some_and(serde_json::Map::is_empty);
    if !wants_token && empty && annotation(meta, ACCOUNT_UID) == Some(uid) {
        return plan;
    }
    let mut metadata = as_seen(meta);
    metadata["annotations"][ACCOUNT_UID] = json!(uid);
    let patch = json!({ "metadata": metadata, "data": data });
    plan.push(if wants_token {
        let account = annotation(meta, ACCOUNT).unwrap_or_default().to_owned();
        Action::IssueToken { target, account, uid: uid.to_owned(), patch }
    } else {
        Action::Patch { target, subresource: None, patch, announce: None }
    });
    plan
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_secret_gets_what_it_lacks_while_its_account_is_there() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let check = |annotations: Value, data: Value, age: i64, account: Option<&str>, expected: &str| {
            let secret: Secret = serde_json::from_value(json!({
                "metadata": {"name": "s", "namespace": "a", "uid": "u", "annotations": annotations,
                    "creationTimestamp": now - jiff::SignedDuration::from_secs(age)},
                "type": TYPE, "data": data,
            }))
            .unwrap();
            let plan = reconcile(&View { secret: &secret, account, root_ca_pem: "PEM" }, now);
            let keys = |patch: &Value| patch["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(",");
            let got = match plan.actions.first() {
                None if plan.again.is_some() => "waits".to_owned(),
                None => String::new(),
                Some(Action::Delete { .. }) => "deleted".to_owned(),
                Some(Action::IssueToken { uid, patch, .. }) => {
                    assert_eq!(patch["metadata"]["annotations"][ACCOUNT_UID], uid.as_str());
                    format!("token,{}", keys(patch))
                }
                Some(Action::Patch { patch, .. }) => keys(patch),
                other => panic!("{other:?}"),
            };
            assert_eq!(got, expected, "{annotations} {data} {age} {account:?}");
        };
        let named = json!({ACCOUNT: "bot"});
        let known = json!({ACCOUNT: "bot", ACCOUNT_UID: "1"});
        let full = json!({"ca.crt": "UEVN", "namespace": "YQ==", "token": "eA=="});
        check(named.clone(), json!({}), 0, Some("1"), "token,ca.crt,namespace");
        check(json!({ACCOUNT: "bot", ACCOUNT_UID: ""}), full.clone(), 9, None, "deleted");
        check(known.clone(), full.clone(), 0, Some("1"), "");
        check(known.clone(), json!({"ca.crt": "eA==", "namespace": "YQ==", "token": "eA=="}), 0, Some("1"), "ca.crt");
        check(known.clone(), json!({"ca.crt": "UEVN", "namespace": "YQ=="}), 0, Some("1"), "token,");
        check(known.clone(), full.clone(), 5, Some("2"), "deleted");
        check(known, full, 5, None, "deleted");
        check(named, json!({}), 1, None, "waits");
    }
}
