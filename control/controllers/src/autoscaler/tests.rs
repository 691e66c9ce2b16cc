use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerStatus;
use serde_json::Value;

use super::*;
use crate::action::ResourceId;

const START: i64 = 1_800_000_000;

/// A pod that requests 200m of the CPU and 64Mi, ready since an hour, and what is changed of that.
fn pod(number: usize, more: Value) -> Arc<Pod> {
    let long_ago = Timestamp::from_second(START - 3600).unwrap();
    let mut pod = json!({
        "metadata": {"name": format!("p{number}"), "namespace": "a"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}}}]},
        "status": {"phase": "Running", "startTime": long_ago, "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": long_ago}]}
    });
    for (pointer, value) in more.as_object().into_iter().flatten() {
        *pod.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value.clone();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn usage(millis: u64) -> PodUsage {
    let at = Timestamp::from_second(START).unwrap();
    let container = ContainerUsage { name: "c".into(), cpu_nanos: millis * 1_000_000, memory_bytes: 32 << 20 };
    PodUsage { at, window: Duration::from_secs(15), containers: vec![container] }
}

struct Autoscaled {
    autoscaler: HorizontalPodAutoscaler,
    memory: Memory,
    replicas: i32,
    now: Timestamp,
    pods: Vec<Arc<Pod>>,
    told: Vec<&'static str>,
}

impl Autoscaled {
    fn new(spec: Value, replicas: i32) -> Self {
        let mut body = json!({
            "metadata": {"name": "h", "namespace": "a", "generation": 1},
            "spec": {"maxReplicas": 100, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 50}}}]}
        });
        body["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let pods = (0..usize::try_from(replicas).unwrap()).map(|number| pod(number, json!({}))).collect();
        let now = Timestamp::from_second(START).unwrap();
        let autoscaler = serde_json::from_value(body).unwrap();
        Self { autoscaler, memory: Memory::default(), replicas, now, pods, told: Vec::new() }
    }

    /// Looks after so many seconds, each pod using that many thousandths of the CPU.
    fn look(&mut self, seconds: i64, millis: &[u64]) -> i32 {
        self.now += jiff::SignedDuration::from_secs(seconds);
        let resource = ResourceId { group: "apps".into(), version: "v1".into(), plural: "deployments".into() };
        let target = Target { resource, namespace: Some("a".into()), name: "d".into(), uid: "u".into() };
        let measured = Measured {
            at: self.now,
            generation: 1,
            scale: Ok(Scale { target, replicas: self.replicas, selector: String::new() }),
            usage: millis.iter().enumerate().map(|(number, millis)| (format!("p{number}"), usage(*millis))).collect(),
        };
        let view = View { autoscaler: &self.autoscaler, measured: Some(&measured), pods: &self.pods };
        let plan = reconcile(&view, &mut self.memory, self.now);
        self.told.clear();
        for action in plan.actions {
            match action {
                Action::Patch { subresource: Some("scale"), patch, .. } => {
                    self.replicas = i32::try_from(patch["spec"]["replicas"].as_i64().unwrap()).unwrap();
                }
                Action::Patch { patch, .. } => {
                    let status: HorizontalPodAutoscalerStatus =
                        serde_json::from_value(patch["status"].clone()).unwrap();
                    self.autoscaler.status = Some(status);
                }
                Action::Tell(note) => self.told.push(note.reason),
                other => panic!("{other:?}"),
            }
        }
        self.replicas
    }

    fn conditions(&self) -> Vec<String> {
        let conditions = self.autoscaler.status.as_ref().and_then(|status| status.conditions.as_ref());
        let text = |one: &HorizontalPodAutoscalerCondition| {
            format!("{} {} {}", one.type_, one.status, one.reason.as_deref().unwrap_or_default())
        };
        conditions.into_iter().flatten().map(text).collect()
    }
}

#[test]
fn as_many_pods_are_wanted_as_bring_their_use_to_the_target() {
    let check = |spec: Value, replicas: i32, millis: &[u64], expected: i32| {
        let mut scaled = Autoscaled::new(spec.clone(), replicas);
        assert_eq!(scaled.look(0, millis), expected, "{spec} {millis:?}");
    };
    let at_once = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}});
    check(json!({}), 2, &[100, 100], 2);
    check(json!({}), 2, &[109, 109], 2);
    check(json!({}), 2, &[150, 150], 3);
    check(json!({}), 2, &[190, 30], 3);
    check(json!({}), 1, &[2000], 5);
    check(json!({"maxReplicas": 3}), 1, &[2000], 3);
    check(at_once.clone(), 4, &[50, 50, 50, 50], 2);
    check(at_once.clone(), 4, &[0, 0, 0, 0], 1);
    check(json!({"minReplicas": 3, "behavior": at_once["behavior"]}), 4, &[0, 0, 0, 0], 3);
    check(json!({}), 4, &[0, 0, 0, 0], 4);
    check(json!({"maxReplicas": 3}), 5, &[], 3);
    check(json!({"minReplicas": 3}), 1, &[], 3);
    let value = |name: &str, value: &str| {
        json!({"metrics": [{"type": "Resource", "resource": {"name": name,
            "target": {"type": "AverageValue", "averageValue": value}}}]})
    };
    check(value("cpu", "100m"), 2, &[150, 150], 3);
    check(value("memory", "16Mi"), 2, &[0, 0], 4);
    let of_container = json!({"metrics": [{"type": "ContainerResource", "containerResource": {"name": "cpu",
        "container": "c", "target": {"type": "Utilization", "averageUtilization": 50}}}]});
    check(of_container, 2, &[150, 150], 3);
    // Of one of four nothing is known: when few are wanted it is thought to use all that it requests.
    check(at_once, 4, &[50, 50, 50], 4);
    check(json!({}), 2, &[200], 2);
}

#[test]
fn pods_that_have_just_begun_say_nothing_of_the_cpu() {
    let mut scaled = Autoscaled::new(json!({}), 2);
    let now = scaled.now;
    scaled.pods[1] = pod(1, json!({"/status/startTime": now, "/status/conditions/0/status": "False"}));
    assert_eq!(scaled.look(0, &[100, 2000]), 2);
    scaled.pods[1] = pod(1, json!({"/status/phase": "Pending"}));
    assert_eq!(scaled.look(15, &[180]), 2, "the one that comes is waited for");
}

#[test]
fn fewer_are_made_only_after_a_while_and_more_only_so_fast() {
    let mut scaled = Autoscaled::new(json!({}), 4);
    assert_eq!(scaled.look(0, &[10; 4]), 4);
    assert_eq!(scaled.conditions()[0], "AbleToScale True ScaleDownStabilized");
    assert_eq!(scaled.look(290, &[10; 4]), 4);
    assert_eq!(scaled.look(20, &[10; 4]), 1);
    assert_eq!(scaled.told, ["SuccessfulRescale"]);
    let mut scaled = Autoscaled::new(json!({}), 10);
    assert_eq!(scaled.look(0, &[2000; 10]), 20);
    let expected = [
        "AbleToScale True SucceededRescale",
        "ScalingActive True ValidMetricFound",
        "ScalingLimited True ScaleUpLimit",
    ];
    assert_eq!(scaled.conditions(), expected);
    scaled.pods = (0..20).map(|number| pod(number, json!({}))).collect();
    assert_eq!(scaled.look(10, &[2000; 20]), 20, "within the same period no more");
    assert_eq!(scaled.look(10, &[2000; 20]), 40);
    let slow = json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Min", "policies": [
        {"type": "Pods", "value": 2, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]}}});
    let mut scaled = Autoscaled::new(slow, 10);
    assert_eq!(scaled.look(0, &[2000; 10]), 12);
    let never = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}}});
    assert_eq!(Autoscaled::new(never, 10).look(0, &[0; 10]), 10);
}

#[test]
fn what_cannot_be_judged_is_told_and_changes_nothing() {
    let check = |spec: Value, replicas: i32, millis: &[u64], condition: &str, told: &[&str]| {
        let mut scaled = Autoscaled::new(spec.clone(), replicas);
        assert_eq!(scaled.look(0, millis), replicas, "{spec}");
        assert_eq!((scaled.conditions().last().map(String::as_str), scaled.told.as_slice()), (Some(condition), told));
    };
    let told = ["FailedGetResourceMetric", "FailedComputeMetricsReplicas"];
    check(json!({}), 2, &[], "ScalingActive False FailedGetResourceMetric", &told);
    check(json!({}), 0, &[], "ScalingActive False ScalingDisabled", &[]);
    let pods = json!({"metrics": [{"type": "Pods", "pods": {"metric": {"name": "x"}, "target": {"type": "AverageValue",
        "averageValue": "1"}}}]});
    let told = ["FailedGetPodsMetric", "FailedComputeMetricsReplicas"];
    check(pods, 2, &[1, 1], "ScalingActive False FailedGetPodsMetric", &told);
    let mut scaled = Autoscaled::new(json!({}), 1);
    scaled.pods[0] = pod(0, json!({"/spec/containers/0/resources": {}}));
    scaled.look(0, &[100]);
    let conditions = scaled.autoscaler.status.as_ref().and_then(|status| status.conditions.clone()).unwrap();
    let expected = "the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for \
                    cpu in container c of Pod p0";
    assert_eq!(conditions[1].message.as_deref(), Some(expected));
}

#[test]
fn it_is_measured_every_so_often_and_judged_once() {
    let mut scaled = Autoscaled::new(json!({}), 1);
    let view = View { autoscaler: &scaled.autoscaler, measured: None, pods: &[] };
    let plan = reconcile(&view, &mut scaled.memory, scaled.now);
    assert!(matches!(plan.actions.as_slice(), [Action::Measure { generation: 1, .. }]), "{plan:?}");
    let found = Measured { at: scaled.now, generation: 1, scale: Err("no such thing".into()), usage: BTreeMap::new() };
    let view = View { measured: Some(&found), ..view };
    let plan = reconcile(&view, &mut scaled.memory, scaled.now);
    assert_eq!((plan.actions.len(), plan.again), (2, Some(PERIOD)));
    let plan = reconcile(&view, &mut scaled.memory, scaled.now);
    assert_eq!((plan.actions.len(), plan.again), (0, Some(PERIOD)));
    let plan = reconcile(&view, &mut scaled.memory, scaled.now + jiff::SignedDuration::from_secs(15));
    assert!(matches!(plan.actions.as_slice(), [Action::Measure { .. }]));
}
