//! Which issuers a file trusts (AuthenticationConfiguration of `apiserver.config.k8s.io`). Pure: a text in, values out.

use serde::Deserialize;

use super::config::{Anonymous, Configured, IssuerConfig, Mapping, Rule, check_url};
use super::expressions;
use crate::auth::jose::Algorithm;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    jwt: Vec<Jwt>,
    #[serde(default)]
    anonymous: Option<AnonymousConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Jwt {
    #[serde(default)]
    issuer: Issuer,
    #[serde(default)]
    pub(super) claim_validation_rules: Vec<ClaimRule>,
    #[serde(default)]
    pub(super) claim_mappings: ClaimMappings,
    #[serde(default)]
    pub(super) user_validation_rules: Vec<UserRule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Issuer {
    #[serde(default)]
    url: String,
    #[serde(default, rename = "discoveryURL")]
    discovery_url: String,
    #[serde(default)]
    certificate_authority: String,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    audience_match_policy: String,
    #[serde(default)]
    egress_selector_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimRule {
    #[serde(default)]
    pub(super) claim: String,
    #[serde(default)]
    pub(super) required_value: String,
    #[serde(default)]
    pub(super) expression: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserRule {
    #[serde(default)]
    pub(super) expression: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExtraMapping {
    #[serde(default)]
    pub(super) key: String,
    #[serde(default)]
    pub(super) value_expression: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimMappings {
    #[serde(default)]
    pub(super) username: ClaimMapping,
    #[serde(default)]
    pub(super) groups: ClaimMapping,
    #[serde(default)]
    pub(super) uid: ClaimMapping,
    #[serde(default)]
    pub(super) extra: Vec<ExtraMapping>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimMapping {
    #[serde(default)]
    pub(super) claim: String,
    #[serde(default)]
    pub(super) prefix: Option<String>,
    #[serde(default)]
    pub(super) expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnonymousConfig {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    path: String,
}

/// What the text of an AuthenticationConfiguration says.
pub(crate) fn from_file(text: &str) -> Result<Configured, String> {
    const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let version = file.api_version.strip_prefix("apiserver.config.k8s.io/");
    if file.kind != "AuthenticationConfiguration" || !version.is_some_and(|version| VERSIONS.contains(&version)) {
        return Err(format!(
            "apiVersion, kind: {} {} is not AuthenticationConfiguration of apiserver.config.k8s.io/v1",
            file.api_version, file.kind
        ));
    }
    let mut configured = Configured::default();
    for (index, jwt) in file.jwt.iter().enumerate() {
        let issuer = issuer(jwt).map_err(|why| format!("jwt[{index}].{why}"))?;
        if configured.issuers.iter().any(|other| other.url == issuer.url) {
            return Err(format!("jwt[{index}].issuer.url: Duplicate value: {:?}", issuer.url));
        }
        configured.issuers.push(issuer);
    }
    if let Some(anonymous) = file.anonymous {
        if !anonymous.enabled && !anonymous.conditions.is_empty() {
            return Err(
                "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined"
                    .to_owned(),
            );
        }
        if !anonymous.enabled || !anonymous.conditions.is_empty() {
            configured.anonymous = Anonymous::Paths(anonymous.conditions.into_iter().map(|c| c.path).collect());
        }
    }
    Ok(configured)
}

fn issuer(jwt: &Jwt) -> Result<IssuerConfig, String> {
    let issuer = &jwt.issuer;
    if issuer.url.is_empty() {
        return Err("issuer.url: Required value: URL is required".to_owned());
    }
    check_url("issuer.url", &issuer.url)?;
    if !issuer.discovery_url.is_empty() {
        check_url("issuer.discoveryURL", &issuer.discovery_url)?;
        if issuer.discovery_url.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            let given = &issuer.discovery_url;
            return Err(format!(
                "issuer.discoveryURL: Invalid value: {given:?}: discoveryURL must be different from URL"
            ));
        }
    }
    if issuer.audiences.is_empty() {
        return Err("issuer.audiences: Required value: at least one issuer.audiences is required".to_owned());
    }
    if let Some(index) = issuer.audiences.iter().position(String::is_empty) {
        return Err(format!("issuer.audiences[{index}]: Required value: audience can't be empty"));
    }
    match (issuer.audiences.len(), issuer.audience_match_policy.as_str()) {
        (1, "") | (_, "MatchAny") => {}
        (1, other) => {
            return Err(format!(
                "issuer.audienceMatchPolicy: Invalid value: {other:?}: must be empty or MatchAny for single audience"
            ));
        }
        (_, other) => {
            return Err(format!(
                "issuer.audienceMatchPolicy: Invalid value: {other:?}: must be MatchAny for multiple audiences"
            ));
        }
    }
    if !issuer.egress_selector_type.is_empty() {
        return Err("issuer.egressSelectorType: Forbidden: there are no egress selectors here".to_owned());
    }
    let (mappings, expressions) = (&jwt.claim_mappings, expressions::read(jwt)?);
    let username = mapping("claimMappings.username", &mappings.username)?;
    if username.is_none() && expressions.username.is_none() {
        return Err("claimMappings.username: Required value: claim or expression is required".to_owned());
    }
    let by_claim = jwt.claim_validation_rules.iter().enumerate().filter(|(_, rule)| rule.expression.is_empty());
    let rules = by_claim.map(|(index, rule)| {
        if rule.claim.is_empty() {
            return Err(format!("claimValidationRules[{index}]: Required value: claim or expression is required"));
        }
        Ok(Rule { claim: rule.claim.clone(), required_value: rule.required_value.clone() })
    });
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(IssuerConfig {
        url: issuer.url.clone(),
        discovery_url: given(&issuer.discovery_url),
        ca_pem: given(&issuer.certificate_authority),
        audiences: issuer.audiences.clone(),
        algorithms: Algorithm::ALL.iter().map(|(_, algorithm)| *algorithm).collect(),
        username: username.unwrap_or_default(),
        groups: mapping("claimMappings.groups", &mappings.groups)?,
        uid: given(&mappings.uid.claim),
        rules: rules.collect::<Result<_, _>>()?,
        expressions,
    })
}

/// A mapping that may not be there at all; one with a claim must say its prefix, if only that there is none.
fn mapping(field: &str, mapping: &ClaimMapping) -> Result<Option<Mapping>, String> {
    match (mapping.claim.is_empty(), &mapping.prefix) {
        (true, None) => Ok(None),
        (true, Some(_)) => {
            Err(format!("{field}.prefix: Invalid value: non-nil: prefix can only be set when claim is set"))
        }
        (false, None) => Err(format!(
            "{field}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing"
        )),
        (false, Some(prefix)) => Ok(Some(Mapping { claim: mapping.claim.clone(), prefix: prefix.clone() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(jwt: &str) -> String {
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- {jwt}")
    }

    const ISSUER: &str = "issuer: {url: 'https://a', audiences: [k]}";

    #[test]
    fn a_file_says_issuers() {
        let text = file(&format!(
            "{ISSUER}\n  claimMappings: {{username: {{claim: sub, prefix: ''}}, groups: {{claim: g, prefix: 'x:'}}, uid: {{claim: u}}}}\n  \
             claimValidationRules: [{{claim: t, requiredValue: v}}]\nanonymous: {{enabled: true, conditions: [{{path: /livez}}]}}"
        ));
        let configured = from_file(&text).expect("a configuration");
        let expected = IssuerConfig {
            url: "https://a".to_owned(),
            audiences: vec!["k".to_owned()],
            algorithms: Algorithm::ALL.iter().map(|(_, algorithm)| *algorithm).collect(),
            username: Mapping { claim: "sub".to_owned(), prefix: String::new() },
            groups: Some(Mapping { claim: "g".to_owned(), prefix: "x:".to_owned() }),
            uid: Some("u".to_owned()),
            rules: vec![Rule { claim: "t".to_owned(), required_value: "v".to_owned() }],
            ..IssuerConfig::default()
        };
        assert_eq!(configured.issuers, [expected]);
        let expressions = from_file(&file(&format!(
            "{ISSUER}\n  claimMappings: {{username: {{expression: \"'x:' + claims.sub\"}}, uid: {{expression: claims.id}}}}"
        )));
        let expressions = expressions.expect("a configuration").issuers.remove(0).expressions;
        assert_eq!(expressions.username.expect("an expression").source(), "'x:' + claims.sub");
        assert!(expressions.uid.is_some() && expressions.groups.is_none());
        assert!(configured.anonymous.allows("/livez") && !configured.anonymous.allows("/version"));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        let check = |jwt: &str, expected: &str| {
            let error = from_file(&file(jwt)).expect_err(jwt);
            assert!(error.contains(expected), "{jwt}: {error}");
        };
        let named = "claimMappings: {username: {claim: sub, prefix: ''}}";
        check("issuer: {}", "jwt[0].issuer.url: Required value: URL is required");
        check("issuer: {url: 'http://a', audiences: [k]}", "jwt[0].issuer.url: Invalid value: \"http://a\"");
        check("issuer: {url: 'https://a'}", "jwt[0].issuer.audiences: Required value");
        check("issuer: {url: 'https://a', audiences: [k, l]}", "jwt[0].issuer.audienceMatchPolicy");
        check(ISSUER, "jwt[0].claimMappings.username: Required value");
        check(
            &format!("{ISSUER}\n  claimMappings: {{username: {{claim: sub}}}}"),
            "claimMappings.username.prefix: Required",
        );
        let username = |fields: &str| format!("{ISSUER}\n  claimMappings: {{username: {{{fields}}}}}");
        let at = "jwt[0].claimMappings.username";
        check(&username("expression: claims., "), &format!("{at}.expression: Invalid value: \"claims.\": compilation"));
        check(&username("expression: '1'"), "must evaluate to string");
        check(&username("expression: claims.sub, claim: sub"), &format!("{at}: Invalid value"));
        check(&username("expression: claims.sub, prefix: x"), &format!("{at}.prefix: Invalid value"));
        check(&username("expression: claims.email"), "claims.email_verified must be used");
        let more = |text: &str| format!("{ISSUER}\n  {named}\n  {text}");
        check(&more("claimValidationRules: [{expression: '1'}]"), "claimValidationRules[0].expression: Invalid value");
        check(
            &more("claimValidationRules: [{expression: 'true', claim: a}]"),
            "claim and expression can't both be set",
        );
        check(&more("userValidationRules: [{expression: claims.sub}]"), "undeclared reference to 'claims'");
        let extra = |key: &str| {
            let mappings = "username: {claim: sub, prefix: ''}";
            format!("{ISSUER}\n  claimMappings: {{{mappings}, extra: [{{key: {key}, valueExpression: claims.a}}]}}")
        };
        check(&extra("a"), "extra[0].key: Invalid value: \"a\": must be a domain-prefixed path");
        check(&extra("A.io/x"), "key must be lowercase");
        check(&extra("x.k8s.io/x"), "reserved for Kubernetes use");
        check(
            &format!("{ISSUER}\n  {named}\n- {ISSUER}\n  {named}"),
            "jwt[1].issuer.url: Duplicate value: \"https://a\"",
        );
        check(&format!("{ISSUER}\n  {named}\n  colour: red"), "colour");
        assert!(from_file("apiVersion: v1\nkind: Pod").is_err());
    }
}
