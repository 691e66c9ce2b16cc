//! Whether a container that has ended is to run again: by the pod's policy, or by one of its own with rules for exit codes
//! (KEP-5307).

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule};

use crate::plan::RestartPolicy;

/// What is asked when a container has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restarts {
    policy: RestartPolicy,
    /// Exit codes after which it runs again whatever the policy says. Most containers have none.
    rules: Vec<Codes>,
}

/// These exit codes, or all but these.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Codes {
    within: bool,
    values: Vec<i32>,
}

impl Restarts {
    /// Of a container in a pod of that policy.
    pub(crate) fn of(container: &Container, pod: RestartPolicy) -> Self {
        let policy = container.restart_policy.as_deref().map_or(pod, RestartPolicy::of);
        let rules = container.restart_policy_rules.iter().flatten().filter_map(codes).collect();
        Self { policy, rules }
    }

    /// Whether it runs again after that exit code.
    pub(crate) fn again(&self, code: i32) -> bool {
        self.rules.iter().any(|rule| rule.values.contains(&code) == rule.within)
            || match self.policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => code != 0,
                RestartPolicy::Never => false,
            }
    }
}

fn codes(rule: &ContainerRestartRule) -> Option<Codes> {
    let codes = rule.exit_codes.as_ref().filter(|_| rule.action == "Restart")?;
    Some(Codes { within: codes.operator == "In", values: codes.values.clone().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rules_come_before_the_containers_policy_and_that_before_the_pods() {
        let check = |container: Value, pod: RestartPolicy, again: &[i32]| {
            let read: Container = serde_json::from_value(container.clone()).expect("a container");
            let restarts = Restarts::of(&read, pod);
            let found: Vec<i32> = [0, 1, 42].into_iter().filter(|code| restarts.again(*code)).collect();
            assert_eq!(found, again, "{container} {pod:?}");
        };
        let own = |policy: &str, operator: &str, values: &[i32]| {
            let rule = json!({"action": "Restart", "exitCodes": {"operator": operator, "values": values}});
            json!({"name": "c", "restartPolicy": policy, "restartPolicyRules": [rule]})
        };
        let plain = json!({"name": "c"});
        check(plain.clone(), RestartPolicy::Always, &[0, 1, 42]);
        check(plain.clone(), RestartPolicy::OnFailure, &[1, 42]);
        check(plain, RestartPolicy::Never, &[]);
        check(json!({"name": "c", "restartPolicy": "OnFailure"}), RestartPolicy::Never, &[1, 42]);
        check(own("Never", "In", &[42]), RestartPolicy::Always, &[42]);
        check(own("Never", "NotIn", &[0, 1]), RestartPolicy::Always, &[42]);
        check(own("OnFailure", "In", &[0]), RestartPolicy::Never, &[0, 1, 42]);
        check(own("Never", "In", &[7]), RestartPolicy::Always, &[]);
    }
}
