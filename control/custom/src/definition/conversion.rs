//! How objects become other versions' objects. Webhooks are taken as definitions have them; they are not called.

use std::collections::BTreeSet;

use pal_resources::kinds::names;
use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use super::validate::text;

const WEBHOOK: &str = "webhookClientConfig";

pub(super) fn validate(conversion: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if conversion.is_null() {
        return;
    }
    let webhook = &conversion["webhook"];
    let client = &webhook["clientConfig"];
    let reviews = webhook["conversionReviewVersions"].as_array().map(Vec::as_slice).unwrap_or_default();
    match text(&conversion["strategy"]) {
        "Webhook" => {
            validate_client(client, &path.child(WEBHOOK), errors);
            validate_reviews(reviews, &path.child("conversionReviewVersions"), errors);
        }
        strategy => {
            match strategy {
                "None" => {}
                "" => errors.push(FieldError::required(&path.child("strategy"), "")),
                other => errors.push(FieldError::not_supported(&path.child("strategy"), other, &["None", "Webhook"])),
            }
            let why = "should not be set when strategy is not set to Webhook";
            if !client.is_null() {
                errors.push(FieldError::forbidden(&path.child(WEBHOOK), why));
            }
            if !reviews.is_empty() {
                errors.push(FieldError::forbidden(&path.child("conversionReviewVersions"), why));
            }
        }
    }
}

fn validate_client(client: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if client.is_null() {
        errors.push(FieldError::required(path, "required when strategy is set to Webhook"));
        return;
    }
    match (client["url"].as_str(), &client["service"]) {
        (Some(url), Value::Null) => validate_url(url, &path.child("url"), errors),
        (None, service) if !service.is_null() => {
            let at = path.child("service");
            for field in ["name", "namespace"] {
                if text(&service[field]).is_empty() {
                    errors.push(FieldError::required(&at.child(field), ""));
                }
            }
            let port = service["port"].as_i64().unwrap_or(443);
            if !(1..=65535).contains(&port) {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(&at.child("port"), port, why));
            }
            let webhook_path = text(&service["path"]);
            if !webhook_path.is_empty() && !webhook_path.starts_with('/') {
                errors.push(FieldError::invalid(&at.child("path"), webhook_path, "must start with a '/'"));
            }
        }
        _ => errors.push(FieldError::required(path, "exactly one of url or service is required")),
    }
}

fn validate_url(given: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let url = match url::Url::parse(given) {
        Ok(url) => url,
        Err(_) => {
            return errors.push(FieldError::required(path, &format!("url must be a valid URL: {given}{FORM}")));
        }
    };
    let mut refuse = |wrong: bool, shown: &str, why: &str| {
        if wrong {
            errors.push(FieldError::invalid(path, shown, why));
        }
    };
    refuse(url.scheme() != "https", url.scheme(), &format!("'https' is the only allowed URL scheme{FORM}"));
    refuse(!url.has_host(), "", &format!("host must be specified{FORM}"));
    refuse(!url.username().is_empty(), url.username(), "user information is not permitted in the URL");
    refuse(url.fragment().is_some(), url.fragment().unwrap_or_default(), "fragments are not permitted in the URL");
    refuse(url.query().is_some(), url.query().unwrap_or_default(), "query parameters are not permitted in the URL");
}

fn validate_reviews(reviews: &[Value], path: &FieldPath, errors: &mut Vec<FieldError>) {
    if reviews.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, version) in reviews.iter().enumerate() {
        let at = path.index(index);
        if !seen.insert(text(version)) {
            errors.push(FieldError::invalid(&at, version.clone(), "duplicate version"));
            continue;
        }
        for fault in names::dns1035_label(text(version)) {
            errors.push(FieldError::invalid(&at, version.clone(), &fault));
        }
    }
    if !reviews.iter().any(|version| version == "v1" || version == "v1beta1") {
        errors.push(FieldError::invalid(path, reviews.to_vec(), "must include at least one of v1, v1beta1"));
    }
}
