//! What is wrong with a container's own restart policy and its rules for exit codes (KEP-5307).

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule};

use crate::kinds::kind::Errors;
use crate::kinds::optional::{items, one_of};
use crate::{FieldError, FieldPath};

const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

pub(super) fn validate(container: &Container, path: &FieldPath, errors: &mut Errors) {
    let rules = items(&container.restart_policy_rules);
    match container.restart_policy.as_deref() {
        Some(policy) => one_of(policy, &["Always", "Never", "OnFailure"], || path.child("restartPolicy"), errors),
        None if rules.is_empty() => return,
        None => {
            let why = "must specify restartPolicy when restart rules are used";
            errors.push(FieldError::required(&path.child("restartPolicy"), why));
        }
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > MAX_RULES {
        errors.push(FieldError::too_many(&path, rules.len(), MAX_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        validate_rule(rule, &path.index(index), errors);
    }
}

fn validate_rule(rule: &ContainerRestartRule, path: &FieldPath, errors: &mut Errors) {
    one_of(&rule.action, &["Restart"], || path.child("action"), errors);
    let Some(codes) = &rule.exit_codes else {
        errors.push(FieldError::required(&path.child("exitCodes"), "must be specified"));
        return;
    };
    let path = path.child("exitCodes");
    one_of(&codes.operator, &["In", "NotIn"], || path.child("operator"), errors);
    let values = items(&codes.values);
    if values.len() > MAX_CODES {
        errors.push(FieldError::too_many(&path.child("values"), values.len(), MAX_CODES));
    }
}
