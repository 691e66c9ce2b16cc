//! How fast, and how steadily, the number of pods follows what is recommended.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec};

use crate::object::since;

/// The longest time that a window or a policy may look back.
const LONGEST: Duration = Duration::from_secs(3600);
/// What is remembered at most, of each.
const MOST: usize = 1000;

/// What was recommended, and how the number of pods changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    recommended: Vec<(Timestamp, i32)>,
    changed: Vec<(Timestamp, i32)>,
}

/// What limits leave of a recommendation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) replicas: i32,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

/// The rules for one direction.
struct Rules {
    window: Duration,
    select: String,
    policies: Vec<HPAScalingPolicy>,
}

impl Rules {
    fn of(given: Option<&HPAScalingRules>, up: bool) -> Self {
        let policy = |kind: &str, value| HPAScalingPolicy { type_: kind.to_owned(), value, period_seconds: 15 };
        let usual = || {
            let fast = up.then(|| policy("Pods", 4));
            fast.into_iter().chain([policy("Percent", 100)]).collect()
        };
        let window = given.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(if up { 0 } else { 300 });
        Self {
            window: Duration::from_secs(u64::try_from(window).unwrap_or(0)),
            select: given.and_then(|rules| rules.select_policy.clone()).unwrap_or_else(|| "Max".to_owned()),
            policies: given.and_then(|rules| rules.policies.clone()).unwrap_or_else(usual),
        }
    }
}

fn rules(spec: &HorizontalPodAutoscalerSpec, up: bool) -> Rules {
    let behavior = spec.behavior.as_ref();
    Rules::of(behavior.and_then(|of| if up { of.scale_up.as_ref() } else { of.scale_down.as_ref() }), up)
}

impl History {
    /// What there is at first counts as recommended.
    pub(super) fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
    }

    /// Remembers a recommendation; what follows from it and the recent ones: no more than the least of those of the window
    /// for going up, no less than the most of those of the window for going down.
    pub(super) fn stabilize(
        &mut self,
        spec: &HorizontalPodAutoscalerSpec,
        current: i32,
        recommended: i32,
        now: Timestamp,
    ) -> i32 {
        let within = |window: Duration| {
            self.recommended.iter().filter(move |(at, _)| since(now, *at) < window).map(|(_, replicas)| *replicas)
        };
        let up = within(rules(spec, true).window).fold(recommended, i32::min);
        let down = within(rules(spec, false).window).fold(recommended, i32::max);
        keep(&mut self.recommended, (now, recommended), now);
        current.max(up).min(down)
    }

    /// Remembers a change of the number.
    pub(super) fn scaled(&mut self, change: i32, now: Timestamp) {
        keep(&mut self.changed, (now, change), now);
    }

    /// What the policies and the bounds leave of `wanted`.
    pub(super) fn limit(
        &self,
        spec: &HorizontalPodAutoscalerSpec,
        current: i32,
        wanted: i32,
        now: Timestamp,
    ) -> Limited {
        let limited = |replicas, reason, message| Limited { replicas, reason, message };
        if wanted > current {
            let limit = self.up_to(&rules(spec, true), current, now).max(current);
            let most = spec.max_replicas.min(limit);
            if wanted > most && most < spec.max_replicas {
                let message = "the desired replica count is increasing faster than the maximum scale rate";
                return limited(most, "ScaleUpLimit", message);
            }
            if wanted > most {
                let message = "the desired replica count is more than the maximum replica count";
                return limited(most, "TooManyReplicas", message);
            }
        }
        if wanted < current {
            let limit = self.down_to(&rules(spec, false), current, now).min(current);
            let bound = spec.min_replicas.unwrap_or(1);
            let least = bound.max(limit);
            if wanted < least && least > bound {
                let message = "the desired replica count is decreasing faster than the maximum scale rate";
                return limited(least, "ScaleDownLimit", message);
            }
            if wanted < least {
                let message = "the desired replica count is less than the minimum replica count";
                return limited(least, "TooFewReplicas", message);
            }
        }
        limited(wanted, "DesiredWithinRange", "the desired count is within the acceptable range")
    }

    fn up_to(&self, rules: &Rules, current: i32, now: Timestamp) -> i32 {
        let proposed = rules.policies.iter().map(|policy| {
            let start = self.at_start(policy, current, now);
            match policy.type_.as_str() {
                "Pods" => start.saturating_add(policy.value),
                _ => (f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
            }
        });
        match rules.select.as_str() {
            "Disabled" => current,
            "Min" => proposed.min().unwrap_or(current),
            _ => proposed.max().unwrap_or(current),
        }
    }

    fn down_to(&self, rules: &Rules, current: i32, now: Timestamp) -> i32 {
        let proposed = rules.policies.iter().map(|policy| {
            let start = self.at_start(policy, current, now);
            match policy.type_.as_str() {
                "Pods" => start.saturating_sub(policy.value),
                _ => (f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
            }
        });
        match rules.select.as_str() {
            "Disabled" => current,
            // The least change leaves the most.
            "Min" => proposed.max().unwrap_or(current),
            _ => proposed.min().unwrap_or(current),
        }
    }

    /// How many pods there were when the policy's period began.
    fn at_start(&self, policy: &HPAScalingPolicy, current: i32, now: Timestamp) -> i32 {
        let period = Duration::from_secs(u64::try_from(policy.period_seconds).unwrap_or(0));
        let changes = self.changed.iter().filter(|(at, _)| since(now, *at) < period).map(|(_, change)| *change);
        current - changes.sum::<i32>()
    }
}

/// Adds one, and forgets what is too old or too much.
fn keep(list: &mut Vec<(Timestamp, i32)>, one: (Timestamp, i32), now: Timestamp) {
    list.retain(|(at, _)| since(now, *at) < LONGEST);
    if list.len() >= MOST {
        list.remove(0);
    }
    list.push(one);
}
