//! Groups of Kubernetes' own community need an approval to be named in an annotation (apiextensions `apihelpers`).

use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

const ANNOTATION: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// Where the approval of a definition in a protected group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    Approved(String),
    Bypassed(String),
    Missing(String),
    Invalid(String),
}

/// `None` where the group needs none.
pub(super) fn of(crd: &Value) -> Option<Approval> {
    let group = crd["spec"]["group"].as_str().unwrap_or_default();
    let protected = ["k8s.io", "kubernetes.io"];
    if !protected.iter().any(|name| group == *name || group.ends_with(&format!(".{name}"))) {
        return None;
    }
    let given = crd["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default();
    let is_url = url::Url::parse(given).is_ok_and(|url| url.has_host());
    Some(if given.is_empty() {
        Approval::Missing(format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}"))
    } else if given.starts_with("unapproved") {
        Approval::Bypassed(format!("not approved: {given:?}"))
    } else if is_url {
        Approval::Approved(format!("approved in {given}"))
    } else {
        Approval::Invalid(format!(
            "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
        ))
    })
}

/// Refuses a definition without approval, unless it was so before.
pub(super) fn validate(crd: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(approval) = of(crd) else { return };
    if old.and_then(of).is_some_and(|old| std::mem::discriminant(&old) == std::mem::discriminant(&approval)) {
        return;
    }
    let path = FieldPath::new("metadata").child("annotations").key(ANNOTATION);
    match approval {
        Approval::Missing(why) => errors.push(FieldError::required(&path, &why)),
        Approval::Invalid(why) => {
            errors.push(FieldError::invalid(&path, crd["metadata"]["annotations"][ANNOTATION].clone(), &why));
        }
        Approval::Approved(_) | Approval::Bypassed(_) => {}
    }
}
