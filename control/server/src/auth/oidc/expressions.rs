//! Expressions (CEL) of an AuthenticationConfiguration: what they may be, and what they make of claims. Pure.

use std::collections::BTreeMap;

use pal_custom::{Expression, Found, Wanted};
use serde_json::{Map, Value, json};

use super::file::{ClaimMapping, Jwt};
use crate::auth::User;

/// What one issuer's configuration says by expressions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expressions {
    pub username: Option<Expression>,
    pub groups: Option<Expression>,
    pub uid: Option<Expression>,
    /// By their keys.
    pub extra: Vec<(String, Expression)>,
    /// Of claims.
    pub claims: Vec<Check>,
    /// Of the user whom they make.
    pub users: Vec<Check>,
}

/// What must hold, and the words for when it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub expression: Expression,
    pub message: String,
}

/// Reads the expressions of an issuer.
pub(super) fn read(jwt: &Jwt) -> Result<Expressions, String> {
    let mappings = &jwt.claim_mappings;
    let mut read = Expressions {
        username: mapping("claimMappings.username", &mappings.username, Wanted::Text)?,
        groups: mapping("claimMappings.groups", &mappings.groups, Wanted::Texts)?,
        uid: mapping("claimMappings.uid", &mappings.uid, Wanted::Text)?,
        ..Expressions::default()
    };
    for (index, extra) in mappings.extra.iter().enumerate() {
        let at = format!("claimMappings.extra[{index}]");
        check_key(&extra.key, read.extra.iter().any(|(key, _)| *key == extra.key))
            .map_err(|why| format!("{at}.key: {why}"))?;
        if extra.value_expression.is_empty() {
            return Err(format!("{at}.valueExpression: Required value: valueExpression is required"));
        }
        let field = format!("{at}.valueExpression");
        read.extra.push((extra.key.clone(), compile(&field, &extra.value_expression, "claims", Wanted::Texts)?));
    }
    for (index, rule) in jwt.claim_validation_rules.iter().enumerate().filter(|(_, rule)| !rule.expression.is_empty()) {
        let at = format!("claimValidationRules[{index}]");
        if !rule.claim.is_empty() || !rule.required_value.is_empty() {
            return Err(format!("{at}: Invalid value: {:?}: claim and expression can't both be set", rule.claim));
        }
        let expression = compile(&format!("{at}.expression"), &rule.expression, "claims", Wanted::Bool)?;
        read.claims.push(Check { expression, message: rule.message.clone() });
    }
    for (index, rule) in jwt.user_validation_rules.iter().enumerate() {
        let field = format!("userValidationRules[{index}].expression");
        if rule.expression.is_empty() {
            return Err(format!("{field}: Required value: expression is required"));
        }
        let expression = compile(&field, &rule.expression, "user", Wanted::Bool)?;
        read.users.push(Check { expression, message: rule.message.clone() });
    }
    check_email(&read)?;
    Ok(read)
}

fn mapping(field: &str, mapping: &ClaimMapping, wanted: Wanted) -> Result<Option<Expression>, String> {
    if mapping.expression.is_empty() {
        return Ok(None);
    }
    if !mapping.claim.is_empty() {
        return Err(format!("{field}: Invalid value: \"\": claim and expression can't both be set"));
    }
    if mapping.prefix.is_some() {
        return Err(format!("{field}.prefix: Invalid value: non-nil: prefix can only be set when claim is set"));
    }
    compile(&format!("{field}.expression"), &mapping.expression, "claims", wanted).map(Some)
}

fn compile(field: &str, source: &str, variable: &'static str, wanted: Wanted) -> Result<Expression, String> {
    let compiled = Expression::compile(source, variable, wanted);
    compiled.map_err(|why| format!("{field}: Invalid value: {source:?}: {why}"))
}

/// Keys of what is extra begin with a domain that is not Kubernetes' own.
fn check_key(key: &str, known: bool) -> Result<(), String> {
    let invalid = |why: &str| Err(format!("Invalid value: {key:?}: {why}"));
    if key.is_empty() {
        return Err("Required value".to_owned());
    }
    if key.chars().any(char::is_uppercase) {
        return invalid("key must be lowercase");
    }
    let parts = key.split_once('/').filter(|(domain, path)| domain.contains('.') && !path.is_empty());
    let Some((domain, _)) = parts else {
        return invalid("must be a domain-prefixed path (such as \"acme.io/foo\")");
    };
    let reserved = |own: &str| domain == own || domain.ends_with(&format!(".{own}"));
    if reserved("k8s.io") || reserved("kubernetes.io") {
        return invalid("k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    }
    if known { Err(format!("Duplicate value: {key:?}")) } else { Ok(()) }
}

/// An address that nobody has verified is whatever its owner says: who takes it for the name looks at that.
fn check_email(read: &Expressions) -> Result<(), String> {
    let Some(username) = &read.username else { return Ok(()) };
    let others = read.extra.iter().map(|(_, expression)| expression);
    let others = others.chain(read.claims.iter().map(|check| &check.expression));
    let verified = [username].into_iter().chain(others).any(|expression| speaks_of(expression, "email_verified"));
    if !speaks_of(username, "email") || verified {
        return Ok(());
    }
    Err(format!(
        "claimMappings.username.expression: Invalid value: {:?}: claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
        username.source()
    ))
}

fn speaks_of(expression: &Expression, claim: &str) -> bool {
    let wordy = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = expression.source().split(|c: char| !wordy(c));
    words.any(|word| word == claim)
}

impl Expressions {
    /// Checks claims.
    pub(super) fn check_claims(&self, claims: &Value) -> Result<(), String> {
        check(&self.claims, claims, "claim validation expression")
    }

    /// Checks whom the claims make.
    pub(super) fn check_user(&self, user: &User) -> Result<(), String> {
        if self.users.is_empty() {
            return Ok(());
        }
        let User { name, uid, groups, extra } = user;
        let value = json!({"username": name, "uid": uid, "groups": groups, "extra": extra});
        check(&self.users, &value, "user info validation rule")
    }

    /// What is extra of a user.
    pub(super) fn extra(&self, claims: &Value) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut all = BTreeMap::new();
        for (key, expression) in &self.extra {
            let values = texts(expression, claims, "extra claim")?;
            if !values.is_empty() {
                all.insert(key.clone(), values);
            }
        }
        Ok(all)
    }
}

fn check(checks: &[Check], value: &Value, what: &str) -> Result<(), String> {
    for Check { expression, message } in checks {
        let failed = |why: String| format!("oidc: error evaluating {what}: {why}");
        match expression.evaluate(value).map_err(failed)? {
            Found::Bool(true) => {}
            Found::Bool(false) => {
                return Err(failed(format!("validation expression '{}' failed: {message}", expression.source())));
            }
            _ => return Err(failed("validation expression must return a bool".to_owned())),
        }
    }
    Ok(())
}

/// The one text that an expression comes to.
pub(super) fn text(expression: &Expression, claims: &Value, what: &str) -> Result<String, String> {
    let failed = |why: String| format!("oidc: error evaluating {what} expression: {why}");
    match expression.evaluate(claims).map_err(failed)? {
        Found::Text(text) => Ok(text),
        _ => Err(failed(format!("{what} expression must return a string"))),
    }
}

/// The texts that an expression comes to; null and what is empty are none.
pub(super) fn texts(expression: &Expression, claims: &Value, what: &str) -> Result<Vec<String>, String> {
    let failed = |why: String| format!("oidc: error evaluating {what} expression: {why}");
    match expression.evaluate(claims).map_err(failed)? {
        Found::Null => Ok(Vec::new()),
        Found::Text(text) if text.is_empty() => Ok(Vec::new()),
        Found::Text(text) => Ok(vec![text]),
        Found::Texts(texts) => Ok(texts.into_iter().filter(|text| !text.is_empty()).collect()),
        _ => Err(failed("expression must return a string or a list of strings".to_owned())),
    }
}

/// The claims as expressions see them.
pub(super) fn whole(claims: &Map<String, Value>) -> Value {
    Value::Object(claims.clone())
}
