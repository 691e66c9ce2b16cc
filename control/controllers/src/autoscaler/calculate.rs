//! From what pods use to how many there should be (the documentation's "algorithm details").

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use pal_resources::quantity::Quantity;

use super::{Measured, PodUsage};
use crate::object::{is_deleting, name, since};
use crate::pods::{condition, phase};

/// What is used may differ from what is aimed at by that share.
const TOLERANCE: f64 = 0.1;
/// A pod may use more CPU in its beginning, and be unready for longer, than it does later.
const BEGINNING: Duration = Duration::from_secs(300);
const FIRST_UNREADINESS: Duration = Duration::from_secs(30);

/// How many pods a metric asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// The metric, as events name it.
    pub(super) metric: String,
}

/// Why a metric cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// The reason of its event.
    pub(super) reason: &'static str,
    /// What could not be found out.
    pub(super) what: String,
    pub(super) why: String,
}

/// What is measured: a resource of pods, or of one container of each.
struct Source<'a> {
    resource: &'a str,
    container: Option<&'a str>,
    target: &'a MetricTarget,
}

/// What follows from one metric.
pub(super) fn propose(
    metric: &MetricSpec,
    found: &Measured,
    pods: &[Arc<Pod>],
    current: i32,
    now: Timestamp,
) -> Result<(Proposal, MetricStatus), Unknown> {
    let source = match (&metric.resource, &metric.container_resource) {
        (Some(of), _) => Source { resource: &of.name, container: None, target: &of.target },
        (None, Some(of)) => Source { resource: &of.name, container: Some(&of.container), target: &of.target },
        (None, None) => return Err(elsewhere(&metric.type_)),
    };
    let Source { resource, container, target } = &source;
    let reason = if container.is_none() { "FailedGetResourceMetric" } else { "FailedGetContainerResourceMetric" };
    let what = if container.is_none() { "resource" } else { "container" };
    let unknown = |why: String| Unknown { reason, what: format!("{resource} {what} metric value"), why };
    let fail = |how: &str, why: String| unknown(format!("failed to get {resource} {how}: {why}"));
    let (replicas, value, metric_name) = match (target.average_utilization, &target.average_value) {
        (Some(share), _) => {
            let (replicas, value) =
                source.shares(found, pods, current, share, now).map_err(|why| fail("utilization", why))?;
            let of = if container.is_none() { "resource" } else { "container resource" };
            (replicas, value, format!("{resource} {of} utilization (percentage of request)"))
        }
        (None, Some(wanted)) => {
            let wanted = read(wanted).map_err(|why| fail("usage", why))?;
            let (replicas, average) =
                source.averages(found, pods, current, wanted, now).map_err(|why| fail("usage", why))?;
            let value = MetricValueStatus { average_value: Some(millis(average)), ..MetricValueStatus::default() };
            (
                replicas,
                value,
                format!("{resource} {}", if container.is_none() { "resource" } else { "container resource" }),
            )
        }
        (None, None) => {
            let why = "invalid resource metric source: neither an average utilization target nor an average value \
                       (usage) target was set";
            return Err(unknown(why.to_owned()));
        }
    };
    Ok((Proposal { replicas, metric: metric_name }, source.status(&metric.type_, value)))
}

/// A metric that nobody here serves.
fn elsewhere(kind: &str) -> Unknown {
    let (reason, api) = match kind {
        "External" => ("FailedGetExternalMetric", "external"),
        "Object" => ("FailedGetObjectMetric", "custom"),
        _ => ("FailedGetPodsMetric", "custom"),
    };
    let why = format!(
        "unable to get metrics: unable to fetch metrics from {api} metrics API: no {api} metrics API \
         ({api}.metrics.k8s.io) registered"
    );
    Unknown { reason, what: format!("{} metric value", kind.to_lowercase()), why }
}

fn read(written: &Written) -> Result<i64, String> {
    let quantity: Quantity = written.0.parse().map_err(|error| format!("{error}"))?;
    Ok(quantity.millis())
}

fn millis(value: i64) -> Written {
    Written(Quantity::from_millis(value).to_string())
}

/// The pods by what is known of them, and thousandths that those use of which that is known.
struct Groups<'a> {
    ready: usize,
    /// Not counted yet: their use says nothing.
    ignored: Vec<&'a str>,
    missing: Vec<&'a str>,
    used: BTreeMap<&'a str, i64>,
}

impl Source<'_> {
    fn status(&self, kind: &str, current: MetricValueStatus) -> MetricStatus {
        let mut status = MetricStatus { type_: kind.to_owned(), ..MetricStatus::default() };
        let name = self.resource.to_owned();
        match self.container {
            None => status.resource = Some(ResourceMetricStatus { name, current }),
            Some(container) => {
                let container = container.to_owned();
                status.container_resource = Some(ContainerResourceMetricStatus { name, container, current });
            }
        }
        status
    }

    /// Pods for a share of what they request, in percent.
    fn shares(
        &self,
        found: &Measured,
        pods: &[Arc<Pod>],
        current: i32,
        target: i32,
        now: Timestamp,
    ) -> Result<(i32, MetricValueStatus), String> {
        let groups = self.group(found, pods, now)?;
        let requests = self.requests(pods)?;
        let share = |used: &BTreeMap<&str, i64>| {
            let known = used.iter().filter_map(|(pod, used)| Some((*used, *requests.get(pod)?)));
            let (used, asked) = known.fold((0_i64, 0_i64), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            if asked == 0 {
                return Err("no metrics returned matched known pods".to_owned());
            }
            Ok(used * 100 / asked)
        };
        let percent = share(&groups.used)?;
        let average = groups.used.values().sum::<i64>() / i64::try_from(groups.used.len()).unwrap_or(1).max(1);
        let value = MetricValueStatus {
            average_utilization: Some(i32::try_from(percent).unwrap_or(i32::MAX)),
            average_value: Some(millis(average)),
            ..MetricValueStatus::default()
        };
        let ratio = |percent: i64| percent as f64 / f64::from(target);
        let replicas = groups.decide(
            current,
            ratio(percent),
            |pod| requests.get(pod).copied().unwrap_or(0),
            |used| share(used).map(ratio),
        )?;
        Ok((replicas, value))
    }

    /// Pods for an average, in thousandths; and the average that there is.
    fn averages(
        &self,
        found: &Measured,
        pods: &[Arc<Pod>],
        current: i32,
        target: i64,
        now: Timestamp,
    ) -> Result<(i32, i64), String> {
        let groups = self.group(found, pods, now)?;
        let average =
            |used: &BTreeMap<&str, i64>| used.values().sum::<i64>() / i64::try_from(used.len()).unwrap_or(1).max(1);
        let ratio = |used: &BTreeMap<&str, i64>| average(used) as f64 / target.max(1) as f64;
        let now_used = average(&groups.used);
        let first = ratio(&groups.used);
        Ok((groups.decide(current, first, |_| target, |used| Ok(ratio(used)))?, now_used))
    }

    fn group<'p>(&self, found: &Measured, pods: &'p [Arc<Pod>], now: Timestamp) -> Result<Groups<'p>, String> {
        let mut groups = Groups { ready: 0, ignored: Vec::new(), missing: Vec::new(), used: BTreeMap::new() };
        if found.usage.is_empty() {
            let resource = self.resource;
            return Err(format!(
                "unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
            ));
        }
        if pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".to_owned());
        }
        for pod in pods.iter().filter(|pod| !is_deleting(&pod.metadata) && phase(pod) != "Failed") {
            let own = name(&pod.metadata);
            let usage = found.usage.get(own);
            match usage.and_then(|usage| Some((usage, self.used(usage)?))) {
                _ if phase(pod) == "Pending" => groups.ignored.push(own),
                None => groups.missing.push(own),
                Some((usage, _)) if self.resource == "cpu" && is_beginning(pod, usage, now) => groups.ignored.push(own),
                Some((_, used)) => {
                    groups.ready += 1;
                    groups.used.insert(own, used);
                }
            }
        }
        if groups.used.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
        }
        Ok(groups)
    }

    /// Thousandths that a pod uses, or its container.
    fn used(&self, usage: &PodUsage) -> Option<i64> {
        let mut meant =
            usage.containers.iter().filter(|one| self.container.is_none_or(|name| name == one.name)).peekable();
        meant.peek()?;
        let of = |nanos: u64, bytes: u64| match self.resource {
            "cpu" => i64::try_from(nanos.div_ceil(1_000_000)).ok(),
            "memory" => i64::try_from(bytes).ok()?.checked_mul(1000),
            _ => None,
        };
        meant.map(|one| of(one.cpu_nanos, one.memory_bytes)).sum()
    }

    /// Thousandths that each pod requests.
    fn requests<'p>(&self, pods: &'p [Arc<Pod>]) -> Result<BTreeMap<&'p str, i64>, String> {
        let mut all = BTreeMap::new();
        for pod in pods {
            let own = name(&pod.metadata);
            let Some(spec) = &pod.spec else { continue };
            let sidecar = |one: &&Container| one.restart_policy.as_deref() == Some("Always");
            let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(sidecar));
            let mut sum = 0_i64;
            for container in containers.filter(|one| self.container.is_none_or(|name| name == one.name)) {
                let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
                let Some(request) = requests.and_then(|requests| requests.get(self.resource)) else {
                    let resource = self.resource;
                    return Err(format!("missing request for {resource} in container {} of Pod {own}", container.name));
                };
                sum = sum.saturating_add(read(request)?);
            }
            all.insert(own, sum);
        }
        Ok(all)
    }
}

/// Whether what a pod uses of the CPU says nothing yet.
fn is_beginning(pod: &Pod, usage: &PodUsage, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (condition(pod, "Ready"), started) else { return true };
    let changed = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let unready = ready.status == "False";
    if since(now, started.0) < BEGINNING {
        return unready || usage.at < changed + usage.window;
    }
    unready && changed < started.0 + FIRST_UNREADINESS
}

impl Groups<'_> {
    /// How many pods that ratio of use to target asks for. Pods of which nothing is known are thought to change it as
    /// little as can be: `full` of them when it is low, nothing when it is high.
    fn decide(
        &self,
        current: i32,
        ratio: f64,
        full: impl Fn(&str) -> i64,
        again: impl Fn(&BTreeMap<&str, i64>) -> Result<f64, String>,
    ) -> Result<i32, String> {
        let close = |ratio: f64| (1.0 - ratio).abs() <= TOLERANCE;
        let ceil = |ratio: f64, pods: usize| (ratio * pods as f64).ceil() as i32;
        let rebalance = !self.ignored.is_empty() && ratio > 1.0;
        if !rebalance && self.missing.is_empty() {
            return Ok(if close(ratio) { current } else { ceil(ratio, self.ready) });
        }
        let mut used: BTreeMap<&str, i64> = self.used.clone();
        used.extend(self.missing.iter().map(|pod| (*pod, if ratio < 1.0 { full(pod) } else { 0 })));
        if rebalance {
            used.extend(self.ignored.iter().map(|pod| (*pod, 0)));
        }
        let new = again(&used)?;
        if close(new) || (ratio < 1.0) != (new < 1.0) {
            return Ok(current);
        }
        let replicas = ceil(new, used.len());
        // Other pods were counted than there are: that must not turn the direction.
        let turned = new < 1.0 && replicas > current || new > 1.0 && replicas < current;
        Ok(if turned { current } else { replicas })
    }
}
