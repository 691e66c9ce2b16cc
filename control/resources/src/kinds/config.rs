//! ConfigMaps and Secrets.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::Env;
use super::kind::{Errors, Kind, has_meta};
use super::names;
use super::optional::{faults, fill, plain};
use crate::{FieldError, FieldPath, codec};

/// The most that a ConfigMap or a Secret holds.
const MAX_BYTES: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

impl Kind for ConfigMap {
    has_meta!();

    fn validate(&self, errors: &mut Errors) {
        let (data, binary) = (&self.data, &self.binary_data);
        let mut size = 0;
        for (key, value) in data.iter().flatten() {
            validate_key("data", key, errors);
            if binary.as_ref().is_some_and(|binary| binary.contains_key(key)) {
                let path = FieldPath::new("data").key(key);
                let why = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(&path, key.as_str(), why));
            }
            size += value.len();
        }
        for (key, value) in binary.iter().flatten() {
            validate_key("binaryData", key, errors);
            size += value.0.len();
        }
        if size > MAX_BYTES {
            // kube-apiserver names no field here, which reads so.
            errors.push(FieldError::too_long(&FieldPath::new("[]"), MAX_BYTES));
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if old.immutable != Some(true) {
            return;
        }
        frozen("immutable", self.immutable == Some(true), errors);
        frozen("data", same(&self.data, &old.data), errors);
        frozen("binaryData", same(&self.binary_data, &old.binary_data), errors);
    }
}

impl Kind for Secret {
    has_meta!();

    fn fill(&mut self) {
        fill(&mut self.type_, "Opaque");
        if let Some(texts) = self.string_data.take() {
            let data = self.data.get_or_insert_default();
            data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
        }
    }

    fn prepare_update(&mut self, _old: &Self, _env: &Env) {}

    fn validate(&self, errors: &mut Errors) {
        let mut size = 0;
        for (key, value) in self.data.iter().flatten() {
            validate_key("data", key, errors);
            size += value.0.len();
        }
        if size > MAX_BYTES {
            errors.push(FieldError::too_long(&FieldPath::new("data"), MAX_BYTES));
        }
        validate_type(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.type_ != old.type_ {
            let path = FieldPath::new("type");
            errors.push(FieldError::invalid(&path, plain(&self.type_), "field is immutable"));
        }
        if old.immutable == Some(true) {
            frozen("immutable", self.immutable == Some(true), errors);
            frozen("data", same(&self.data, &old.data), errors);
        }
    }
}

/// Two maps, of which one that is left out is as good as an empty one.
fn same<V: PartialEq>(a: &Option<BTreeMap<String, V>>, b: &Option<BTreeMap<String, V>>) -> bool {
    a.iter().flatten().eq(b.iter().flatten())
}

fn frozen(field: &str, same: bool, errors: &mut Errors) {
    if !same {
        errors.push(FieldError::forbidden(&FieldPath::new(field), FROZEN));
    }
}

fn validate_key(field: &str, key: &str, errors: &mut Errors) {
    faults(names::config_key(key), key, || FieldPath::new(field).key(key), errors);
}

/// The keys that a Secret of a known type must have.
fn validate_type(secret: &Secret, errors: &mut Errors) {
    let path = FieldPath::new("data");
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let mut demand = |key: &str| {
        if value(key).is_none() {
            errors.push(FieldError::required(&path.key(key), ""));
        }
    };
    match plain(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            let named = secret.metadata.annotations.as_ref().and_then(|all| all.get(ACCOUNT));
            if named.is_none_or(String::is_empty) {
                let path = FieldPath::new("metadata").child("annotations").key(ACCOUNT);
                errors.push(FieldError::required(&path, ""));
            }
        }
        "kubernetes.io/dockercfg" => {
            demand(".dockercfg");
            validate_json(secret, ".dockercfg", errors);
        }
        "kubernetes.io/dockerconfigjson" => {
            demand(".dockerconfigjson");
            validate_json(secret, ".dockerconfigjson", errors);
        }
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            demand("username");
            demand("password");
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.push(FieldError::required(&path.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            demand("tls.crt");
            demand("tls.key");
        }
        _ => {}
    }
}

fn validate_json(secret: &Secret, key: &str, errors: &mut Errors) {
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(key)) else { return };
    if let Err(why) = codec::check_json(&bytes.0) {
        let path = FieldPath::new("data").key(key);
        errors.push(FieldError::invalid(&path, "<secret contents redacted>", &why));
    }
}
