//! What an issuer's token says of a user, once its signature is known to be the issuer's. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::config::{IssuerConfig, Mapping};
use super::expressions;
use crate::auth::{AUTHENTICATED, CREDENTIAL_ID, User};

/// Clocks may differ by this many seconds.
const LEEWAY: u64 = 10;

/// The user, or why the token proves none, in kube-apiserver's words.
pub(super) fn user(config: &IssuerConfig, claims: &Map<String, Value>, now: SystemTime) -> Result<User, String> {
    check_times(claims, now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())?;
    check_audience(config, claims)?;
    let by_expression = &config.expressions;
    let whole = expressions::whole(claims);
    let name = match &by_expression.username {
        Some(expression) => match expressions::text(expression, &whole, "username claim")? {
            name if name.is_empty() => return Err("oidc: the username expression came to nothing".to_owned()),
            name => name,
        },
        None => username(&config.username, claims)?,
    };
    let mut groups = match (&by_expression.groups, &config.groups) {
        (Some(expression), _) => expressions::texts(expression, &whole, "group claim")?,
        (None, Some(mapping)) => groups(mapping, claims)?,
        (None, None) => Vec::new(),
    };
    for rule in &config.rules {
        let claim = &rule.claim;
        let Some(value) = claims.get(claim) else {
            return Err(format!("oidc: required claim {claim} not present in ID token"));
        };
        let Some(value) = value.as_str() else {
            return Err(format!("oidc: parse claim {claim}: the value is no string"));
        };
        if value != rule.required_value {
            let wanted = &rule.required_value;
            return Err(format!("oidc: required claim {claim} value does not match. Got = {value}, want = {wanted}"));
        }
    }
    by_expression.check_claims(&whole)?;
    let mut user = User { name, extra: by_expression.extra(&whole)?, ..User::default() };
    if let Some(expression) = &by_expression.uid {
        user.uid = expressions::text(expression, &whole, "uid claim")?;
    } else if let Some(claim) = &config.uid {
        user.uid = text(claims, claim).map_err(|why| format!("oidc: parse uid claim {claim:?}: {why}"))?;
    }
    if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    user.groups = groups;
    by_expression.check_user(&user)?;
    Ok(user)
}

fn check_times(claims: &Map<String, Value>, now: u64) -> Result<(), String> {
    let time = |claim: &str| claims.get(claim).and_then(Value::as_f64).map(|seconds| seconds.max(0.0) as u64);
    let Some(expires) = time("exp") else {
        return Err("oidc: verify token: the token does not say when it expires".to_owned());
    };
    if now >= expires.saturating_add(LEEWAY) {
        return Err(format!("oidc: verify token: oidc: token is expired (Token Expiry: {expires})"));
    }
    if time("nbf").is_some_and(|from| now.saturating_add(LEEWAY) < from) {
        return Err("oidc: verify token: oidc: current time is before the nbf (not before) time".to_owned());
    }
    Ok(())
}

fn check_audience(config: &IssuerConfig, claims: &Map<String, Value>) -> Result<(), String> {
    let meant_for = strings(claims.get("aud").unwrap_or(&Value::Null)).unwrap_or_default();
    if meant_for.iter().any(|audience| config.audiences.contains(audience)) {
        return Ok(());
    }
    let quoted = crate::auth::quoted;
    let (wanted, got) = (quoted(&config.audiences), quoted(&meant_for));
    Err(format!("oidc: verify token: oidc: expected audience in {wanted} got {got}"))
}

fn username(mapping: &Mapping, claims: &Map<String, Value>) -> Result<String, String> {
    let claim = &mapping.claim;
    let name = text(claims, claim).map_err(|why| format!("oidc: parse username claims {claim:?}: {why}"))?;
    // An address that nobody has verified is whatever its owner says.
    match claims.get("email_verified").filter(|_| claim == "email") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err("oidc: email not verified".to_owned()),
        Some(_) => return Err("oidc: parse 'email_verified' claim: the value is no boolean".to_owned()),
    }
    if name.is_empty() {
        return Err(format!("oidc: parse username claims {claim:?}: the value is empty"));
    }
    Ok(format!("{}{name}", mapping.prefix))
}

/// The groups; a token without the claim has none.
fn groups(mapping: &Mapping, claims: &Map<String, Value>) -> Result<Vec<String>, String> {
    let claim = &mapping.claim;
    let Some(value) = claims.get(claim).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let Some(groups) = strings(value) else {
        return Err(format!("oidc: parse groups claim {claim:?}: neither a string nor a list of strings"));
    };
    Ok(groups.into_iter().map(|group| format!("{}{group}", mapping.prefix)).collect())
}

fn text(claims: &Map<String, Value>, claim: &str) -> Result<String, &'static str> {
    match claims.get(claim) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("the value is no string"),
        None => Err("claim not present"),
    }
}

/// One string or several.
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::config::Rule;
    use super::*;

    fn config() -> IssuerConfig {
        IssuerConfig {
            url: "https://issuer".to_owned(),
            audiences: vec!["kubernetes".to_owned()],
            username: Mapping { claim: "email".to_owned(), prefix: "oidc:".to_owned() },
            groups: Some(Mapping { claim: "groups".to_owned(), prefix: "of:".to_owned() }),
            uid: Some("sub".to_owned()),
            rules: vec![Rule { claim: "tenant".to_owned(), required_value: "a".to_owned() }],
            ..IssuerConfig::default()
        }
    }

    fn check(change: Value, expected: Result<(&str, &[&str]), &str>) {
        let mut claims = json!({
            "aud": "kubernetes", "exp": 2_000, "sub": "7", "email": "jane@x", "tenant": "a", "jti": "j",
        });
        for (key, value) in change.as_object().expect("claims") {
            match value {
                Value::Null => claims.as_object_mut().expect("claims").remove(key),
                value => claims.as_object_mut().expect("claims").insert(key.clone(), value.clone()),
            };
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        match (user(&config(), claims.as_object().expect("claims"), now), expected) {
            (Ok(user), Ok((name, groups))) => {
                let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
                groups.push(AUTHENTICATED.to_owned());
                assert_eq!((user.name.as_str(), user.uid.as_str(), &user.groups), (name, "7", &groups), "{change}");
                let id = &user.extra["authentication.kubernetes.io/credential-id"];
                assert_eq!(id, &["JTI=j".to_owned()]);
            }
            (Err(why), Err(words)) => assert!(why.contains(words), "{change}: {why}"),
            (got, _) => panic!("{change}: {got:?}"),
        }
    }

    #[test]
    fn claims_are_a_user() {
        check(json!({}), Ok(("oidc:jane@x", &[])));
        check(json!({"groups": ["dev", "ops"]}), Ok(("oidc:jane@x", &["of:dev", "of:ops"])));
        check(json!({"groups": "dev"}), Ok(("oidc:jane@x", &["of:dev"])));
        check(json!({"groups": []}), Ok(("oidc:jane@x", &[])));
        check(json!({"email_verified": true, "aud": ["x", "kubernetes"]}), Ok(("oidc:jane@x", &[])));
        check(json!({"exp": 995, "nbf": 1_005}), Ok(("oidc:jane@x", &[])));
    }

    #[test]
    fn expressions_make_a_user_of_claims() {
        let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n\
            - issuer: {url: 'https://a', audiences: [k]}\n  claimMappings:\n    username: {expression: \"'x:' + claims.sub\"}\n\
            \x20   groups: {expression: 'claims.roles.map(r, \"of:\" + r)'}\n    uid: {expression: claims.sub}\n\
            \x20   extra: [{key: example.com/tenant, valueExpression: claims.tenant}]\n\
            \x20 claimValidationRules: [{expression: 'claims.exp - claims.nbf <= 3600', message: too long}]\n\
            \x20 userValidationRules: [{expression: \"!user.username.startsWith('x:system')\", message: reserved}]\n";
        let config = super::super::from_file(text).expect("a configuration").issuers.remove(0);
        let check = |sub: Value, nbf: u64, expected: Result<&str, &str>| {
            let claims = json!({"aud": "k", "exp": 2_000, "nbf": nbf, "sub": sub, "roles": ["a", ""], "tenant": "t"});
            let claims = claims.as_object().expect("claims").clone();
            match (user(&config, &claims, UNIX_EPOCH + Duration::from_secs(1_500)), expected) {
                (Ok(user), Ok(name)) => {
                    assert_eq!((user.name.as_str(), user.uid.as_str()), (name, &name[2..]));
                    assert_eq!(user.groups, ["of:a", "of:", AUTHENTICATED]);
                    assert_eq!(user.extra["example.com/tenant"], ["t"]);
                }
                (Err(why), Err(words)) => assert!(why.contains(words), "{sub}: {why}"),
                (got, _) => panic!("{sub}: {got:?}"),
            }
        };
        check(json!("jane"), 1_000, Ok("x:jane"));
        check(json!(5), 1_000, Err("oidc: error evaluating username claim expression: no such overload"));
        check(json!("system:x"), 1_000, Err("user info validation rule: validation expression '!user.username"));
        check(json!("jane"), 0, Ok("x:jane"));
    }

    #[test]
    fn claims_that_prove_nothing_say_why() {
        check(json!({"exp": 900}), Err("oidc: verify token: oidc: token is expired"));
        check(json!({"exp": null}), Err("does not say when it expires"));
        check(json!({"nbf": 1_100}), Err("before the nbf"));
        check(json!({"aud": "other"}), Err(r#"oidc: expected audience in ["kubernetes"] got ["other"]"#));
        check(json!({"aud": null}), Err(r#"got []"#));
        check(json!({"email": null}), Err(r#"oidc: parse username claims "email": claim not present"#));
        check(json!({"email": ""}), Err("the value is empty"));
        check(json!({"email": 5}), Err("no string"));
        check(json!({"email_verified": false}), Err("oidc: email not verified"));
        check(json!({"email_verified": "true"}), Err("oidc: parse 'email_verified' claim"));
        check(json!({"groups": [5]}), Err(r#"oidc: parse groups claim "groups""#));
        check(json!({"tenant": null}), Err("oidc: required claim tenant not present in ID token"));
        let words = "oidc: required claim tenant value does not match. Got = b, want = a";
        check(json!({"tenant": "b"}), Err(words));
    }
}
