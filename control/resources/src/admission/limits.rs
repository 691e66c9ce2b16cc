//! LimitRanger: what containers get that say nothing of it, and how much pods, containers and claims may ask for.

use serde_json::{Map, Value, json};

use crate::amounts::{self, Amounts, Side, containers, of_container, of_pod};
use crate::quantity::Quantity;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a new pod the defaults of the namespace's LimitRanges, each in its turn, and notes on the pod
/// which it got.
pub fn fill_pod(ranges: &[&Value], pod: &mut Value) {
    // What is limited is requested as much: that is decided before, for what the pod itself says.
    for_each_container(pod, &mut |container| {
        let limits = container["resources"]["limits"].clone();
        fill(container, Side::Requests, &limits, &mut Vec::new());
    });
    for range in ranges {
        fill_from(range, pod);
    }
}

fn for_each_container(pod: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    for list in ["containers", "initContainers"] {
        let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        containers.into_iter().flatten().filter(|container| container.is_object()).for_each(&mut *change);
    }
}

fn fill_from(range: &Value, pod: &mut Value) {
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for limit in of_type(range, "Container") {
        requests.extend(limit["defaultRequest"].as_object().cloned().unwrap_or_default());
        limits.extend(limit["default"].as_object().cloned().unwrap_or_default());
    }
    let (requests, limits) = (Value::Object(requests), Value::Object(limits));
    let mut notes = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter(|container| container.is_object()) {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for (side, defaults, word) in [(Side::Requests, &requests, "request"), (Side::Limits, &limits, "limit")] {
                let mut set = Vec::new();
                fill(container, side, defaults, &mut set);
                if !set.is_empty() {
                    set.sort();
                    notes.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if notes.is_empty() {
        return;
    }
    let note = format!("LimitRanger plugin set: {}", notes.join("; "));
    let metadata = pod.as_object_mut().map(|pod| pod.entry("metadata").or_insert_with(|| json!({})));
    if let Some(metadata) = metadata.filter(|metadata| metadata.is_object()) {
        if !metadata["annotations"].is_object() {
            metadata["annotations"] = json!({});
        }
        metadata["annotations"][ANNOTATION] = note.into();
    }
}

/// Adds what the container's list lacks; `set` gets the names.
fn fill(container: &mut Value, side: Side, defaults: &Value, set: &mut Vec<String>) {
    let Some(defaults) = defaults.as_object().filter(|defaults| !defaults.is_empty()) else { return };
    if !container["resources"].is_object() {
        container["resources"] = json!({});
    }
    let resources = &mut container["resources"];
    if !resources[side.field()].is_object() {
        resources[side.field()] = json!({});
    }
    let Some(list) = resources[side.field()].as_object_mut() else { return };
    for (name, amount) in defaults {
        if !list.contains_key(name) {
            list.insert(name.clone(), amount.clone());
            set.push(name.clone());
        }
    }
}

/// The parts of a LimitRange for one type of object.
fn of_type<'a>(range: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let limits = range["spec"]["limits"].as_array().into_iter().flatten();
    limits.filter(move |limit| limit["type"] == kind)
}

/// What a pod asks for against a LimitRange. The refusal's words.
pub fn check_pod(range: &Value, pod: &Value) -> Result<(), String> {
    let spec = &pod["spec"];
    let mut errors = Vec::new();
    for limit in range["spec"]["limits"].as_array().into_iter().flatten() {
        match limit["type"].as_str() {
            Some("Container") => {
                for container in containers(spec, "containers").chain(containers(spec, "initContainers")) {
                    let (requests, limits) =
                        (of_container(container, Side::Requests), of_container(container, Side::Limits));
                    check(limit, "Container", &requests, &limits, &mut errors);
                }
            }
            Some("Pod") => {
                let (requests, limits) = (of_pod(spec, Side::Requests), of_pod(spec, Side::Limits));
                check(limit, "Pod", &requests, &limits, &mut errors);
            }
            _ => {}
        }
    }
    all(errors)
}

/// What a claim asks for against a LimitRange.
pub fn check_claim(range: &Value, claim: &Value) -> Result<(), String> {
    const KIND: &str = "PersistentVolumeClaim";
    let requests = amounts::read(&claim["spec"]["resources"]["requests"]);
    let mut errors = Vec::new();
    for limit in of_type(range, KIND) {
        for (name, least) in amounts::read(&limit["min"]) {
            errors.extend(below(KIND, &name, least, &requests, &Amounts::new()));
        }
        for (name, most) in amounts::read(&limit["max"]) {
            errors.extend(match requests.get(&name) {
                None => Some(format!("maximum {name} usage per {KIND} is {most}.  No request is specified")),
                Some(request) if *request > most => {
                    Some(format!("maximum {name} usage per {KIND} is {most}, but request is {request}"))
                }
                Some(_) => None,
            });
        }
    }
    all(errors)
}

/// Several errors are told in brackets.
fn all(errors: Vec<String>) -> Result<(), String> {
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => {
            let mut told: Vec<&str> = Vec::new();
            for error in many {
                if !told.contains(&error.as_str()) {
                    told.push(error);
                }
            }
            Err(if told.len() == 1 { told[0].to_owned() } else { format!("[{}]", told.join(", ")) })
        }
    }
}

fn check(limit: &Value, kind: &str, requests: &Amounts, limits: &Amounts, errors: &mut Vec<String>) {
    for (name, least) in amounts::read(&limit["min"]) {
        errors.extend(below(kind, &name, least, requests, limits));
    }
    for (name, most) in amounts::read(&limit["max"]) {
        errors.extend(above(kind, &name, most, requests, limits));
    }
    for (name, ratio) in amounts::read(&limit["maxLimitRequestRatio"]) {
        errors.extend(out_of_ratio(kind, &name, ratio, requests, limits));
    }
}

fn below(kind: &str, name: &str, least: Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let words = format!("minimum {name} usage per {kind} is {least}");
    let Some(request) = requests.get(name) else { return Some(format!("{words}.  No request is specified")) };
    if *request < least {
        return Some(format!("{words}, but request is {request}"));
    }
    let limit = limits.get(name).filter(|limit| **limit < least)?;
    Some(format!("{words}, but limit is {limit}"))
}

fn above(kind: &str, name: &str, most: Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let words = format!("maximum {name} usage per {kind} is {most}");
    let Some(limit) = limits.get(name) else { return Some(format!("{words}.  No limit is specified")) };
    if *limit > most {
        return Some(format!("{words}, but limit is {limit}"));
    }
    let request = requests.get(name).filter(|request| **request > most)?;
    Some(format!("{words}, but request is {request}"))
}

fn out_of_ratio(kind: &str, name: &str, most: Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let words = format!("{name} max limit to request ratio per {kind} is {most}");
    let Some(request) = requests.get(name).filter(|request| !request.is_zero()) else {
        return Some(format!("{words}, but no request is specified or request is 0"));
    };
    let Some(limit) = limits.get(name).filter(|limit| !limit.is_zero()) else {
        return Some(format!("{words}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.millis() as f64 / request.millis() as f64;
    (ratio * 1000.0 > most.millis() as f64).then(|| format!("{words}, but provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(limits: Value) -> Value {
        json!({"spec": {"limits": limits}})
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn containers_get_what_they_do_not_say() {
        fn check(limits: Value, resources: Value, expected: Value, note: &str) {
            let mut pod = pod(resources);
            fill_pod(&[&range(limits)], &mut pod);
            assert_eq!(pod["spec"]["containers"][0]["resources"], expected);
            assert_eq!(pod["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default(), note);
        }
        let defaults = json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
                               "defaultRequest": {"memory": "512Mi", "cpu": "100m"}}]);
        check(
            defaults.clone(),
            json!(null),
            json!({"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}),
            "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c",
        );
        // What is limited is requested as much, not as the default says.
        check(
            defaults.clone(),
            json!({"limits": {"cpu": "2"}}),
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "2", "memory": "512Mi"}}),
            "LimitRanger plugin set: memory request for container c; memory limit for container c",
        );
        let all = json!({"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "1", "memory": "1"}});
        check(defaults, all.clone(), all, "");
        check(json!([{"type": "Pod", "max": {"cpu": "1"}}]), json!({}), json!({}), "");
    }

    #[test]
    fn pods_stay_within_what_is_allowed() {
        fn check(limits: Value, resources: Value, expected: Result<(), &str>) {
            let verdict = check_pod(&range(limits), &pod(resources));
            assert_eq!(verdict, expected.map_err(str::to_owned));
        }
        let cpu = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
        let max = json!([{"type": "Container", "max": {"cpu": "800m"}}]);
        let words = "maximum cpu usage per Container is 800m";
        check(max.clone(), cpu("500m", "800m"), Ok(()));
        check(max.clone(), cpu("500m", "1500m"), Err(&format!("{words}, but limit is 1500m")));
        check(max.clone(), cpu("1", "800m"), Err(&format!("{words}, but request is 1")));
        check(max, json!({}), Err(&format!("{words}.  No limit is specified")));
        let min = json!([{"type": "Container", "min": {"cpu": "200m", "memory": "1Mi"}}]);
        let words = "minimum cpu usage per Container is 200m";
        check(
            min.clone(),
            json!({"requests": {"cpu": "100m", "memory": "1Mi"}}),
            Err(&format!("{words}, but request is 100m")),
        );
        check(
            min,
            json!({}),
            Err(&format!(
                "[{words}.  No request is specified, minimum memory usage per Container is 1Mi.  No request is specified]"
            )),
        );
        let ratio = json!([{"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}]);
        let words = "cpu max limit to request ratio per Container is 2";
        check(ratio.clone(), cpu("500m", "1"), Ok(()));
        check(ratio.clone(), cpu("500m", "2"), Err(&format!("{words}, but provided ratio is 4.000000")));
        check(ratio.clone(), json!({}), Err(&format!("{words}, but no request is specified or request is 0")));
        let request = json!({"requests": {"cpu": "1"}});
        check(ratio, request, Err(&format!("{words}, but no limit is specified or limit is 0")));
        let pod = json!([{"type": "Pod", "max": {"memory": "1Gi"}}]);
        let two = json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}});
        check(pod, two, Err("maximum memory usage per Pod is 1Gi, but limit is 2Gi"));
    }

    #[test]
    fn claims_stay_within_what_is_allowed() {
        fn check(request: &str, expected: Result<(), &str>) {
            let limits =
                json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]);
            let claim = json!({"spec": {"resources": {"requests": {"storage": request}}}});
            assert_eq!(check_claim(&range(limits), &claim), expected.map_err(str::to_owned), "{request}");
        }
        check("1Gi", Ok(()));
        check("5Gi", Err("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"));
        check("1Mi", Err("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"));
    }
}
