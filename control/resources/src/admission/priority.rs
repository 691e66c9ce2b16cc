//! Priority: what number a pod's PriorityClass gives it.

use serde_json::Value;

use super::pod::object;

/// The class whose value pods have that name none. Of several the one with the least value.
fn default_class<'a>(classes: &[&'a Value]) -> Option<&'a Value> {
    let defaults = classes.iter().copied().filter(|class| class["globalDefault"] == true);
    defaults.min_by_key(|class| class["value"].as_i64().unwrap_or_default())
}

/// Gives a new pod its number, and what it may do to pods of less. The refusal's words.
pub fn fill_pod(classes: &[&Value], pod: &mut Value) -> Result<(), String> {
    let Some(spec) = object(pod, "spec") else { return Ok(()) };
    let named = spec.get("priorityClassName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let class = match named {
        None => default_class(classes),
        Some(name) => {
            let found = classes.iter().copied().find(|class| class["metadata"]["name"] == name);
            Some(found.ok_or_else(|| format!("no PriorityClass with name {name} was found"))?)
        }
    };
    let value = class.and_then(|class| class["value"].as_i64()).unwrap_or(0);
    if let Some(asked) = spec.get("priority").and_then(Value::as_i64)
        && asked != value
    {
        return Err(format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        ));
    }
    let policy = class.and_then(|class| class["preemptionPolicy"].as_str()).unwrap_or("PreemptLowerPriority");
    if let Some(asked) = spec.get("preemptionPolicy").and_then(Value::as_str)
        && asked != policy
    {
        return Err(format!(
            "the string value of PreemptionPolicy ({asked}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        ));
    }
    if let Some(name) = class.map(|class| class["metadata"]["name"].clone()) {
        spec.insert("priorityClassName".to_owned(), name);
    }
    spec.insert("priority".to_owned(), value.into());
    spec.insert("preemptionPolicy".to_owned(), policy.into());
    Ok(())
}

/// There is one default at most.
pub fn check_class(classes: &[&Value], class: &Value) -> Result<(), String> {
    let other = classes
        .iter()
        .find(|other| other["globalDefault"] == true && other["metadata"]["name"] != class["metadata"]["name"]);
    match other {
        Some(other) if class["globalDefault"] == true => {
            let name = other["metadata"]["name"].as_str().unwrap_or_default();
            Err(format!("PriorityClass {name} is already marked as default. Only one default can exist"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_the_number_of_its_class() {
        let classes = [
            json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"}),
            json!({"metadata": {"name": "usual"}, "value": 10, "globalDefault": true}),
        ];
        let classes: Vec<&Value> = classes.iter().collect();
        let check = |classes: &[&Value], spec: Value, expected: Result<Value, &str>| {
            let mut pod = json!({"spec": spec});
            let outcome = fill_pod(classes, &mut pod).map(|()| pod["spec"].clone());
            assert_eq!(outcome, expected.map_err(str::to_owned));
        };
        let pod = |class: &str, priority: i64, policy: &str| json!({"priorityClassName": class, "priority": priority, "preemptionPolicy": policy});
        check(&[], json!({}), Ok(json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"})));
        check(&classes, json!({}), Ok(pod("usual", 10, "PreemptLowerPriority")));
        check(&classes, json!({"priorityClassName": "high"}), Ok(pod("high", 1000, "Never")));
        check(&classes, json!({"priorityClassName": "high", "priority": 1000}), Ok(pod("high", 1000, "Never")));
        let refusal = "no PriorityClass with name low was found";
        check(&classes, json!({"priorityClassName": "low"}), Err(refusal));
        let refusal = "the integer value of priority (5) must not be provided in pod spec; priority admission \
                       controller computed 10 from the given PriorityClass name";
        check(&classes, json!({"priority": 5}), Err(refusal));
        let refusal = "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority \
                       admission controller computed PreemptLowerPriority from the given PriorityClass name";
        check(&classes, json!({"preemptionPolicy": "Never"}), Err(refusal));
        let other = json!({"metadata": {"name": "other"}, "globalDefault": true});
        let refusal = "PriorityClass usual is already marked as default. Only one default can exist";
        assert_eq!(check_class(&classes, &other), Err(refusal.to_owned()));
        assert_eq!(check_class(&classes, classes[1]), Ok(()));
    }
}
