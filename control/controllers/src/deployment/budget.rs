//! How many pods a rollout may have at most and must have at least.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The numbers that bound a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) replicas: i32,
    /// Pods beyond `replicas` that may exist.
    pub(super) surge: i32,
    /// Pods below `replicas` that may be unavailable.
    pub(super) unavailable: i32,
    /// Whether all old pods go before the first new one comes.
    pub(super) recreate: bool,
}

impl Budget {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1).max(0);
        let strategy = spec.and_then(|spec| spec.strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            return Self { replicas, surge: 0, unavailable: 0, recreate: true };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".to_owned());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
        let surge = scaled(surge, replicas, Rounding::Up);
        let mut unavailable = scaled(unavailable, replicas, Rounding::Down);
        if surge == 0 && unavailable == 0 {
            // Percents of few replicas may come to nothing; without any slack no rollout could move.
            unavailable = 1;
        }
        Self { replicas, surge, unavailable: unavailable.min(replicas), recreate: false }
    }

    /// The most pods that may be asked for.
    pub(super) fn most(&self) -> i32 {
        self.replicas.saturating_add(self.surge)
    }

    /// The fewest pods that must be available.
    pub(super) fn least_available(&self) -> i32 {
        self.replicas - self.unavailable
    }
}

pub(crate) enum Rounding {
    Up,
    Down,
}

/// A number, or a percentage of the replicas. What is neither was refused when it was written.
pub(crate) fn scaled(value: &IntOrString, replicas: i32, rounding: Rounding) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let product = percent.max(0).saturating_mul(i64::from(replicas));
            let whole = match rounding {
                Rounding::Up => product.saturating_add(99) / 100,
                Rounding::Down => product / 100,
            };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_percents_bound_a_rollout() {
        let check = |replicas: i32, surge: serde_json::Value, unavailable: serde_json::Value, most: i32, least: i32| {
            let deployment: Deployment = serde_json::from_value(json!({
                "metadata": {},
                "spec": {
                    "replicas": replicas,
                    "selector": {},
                    "template": {},
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {
                        "maxSurge": surge, "maxUnavailable": unavailable
                    }}
                }
            }))
            .unwrap();
            let budget = Budget::of(&deployment);
            assert_eq!((budget.most(), budget.least_available()), (most, least), "{replicas}");
        };
        check(10, json!("25%"), json!("25%"), 13, 8);
        check(4, json!("25%"), json!("25%"), 5, 3);
        check(1, json!("25%"), json!("25%"), 2, 1);
        check(3, json!(0), json!("10%"), 3, 2);
        check(3, json!(0), json!(0), 3, 2);
        check(3, json!(1), json!(0), 4, 3);
        check(3, json!(0), json!(10), 3, 0);
        check(0, json!("25%"), json!("25%"), 0, 0);
    }
}
