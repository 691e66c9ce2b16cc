//! ServiceAccount and RuntimeClass: what a pod takes over from the objects that it names.

use serde_json::{Map, Value, json};

use crate::amounts;

/// The annotation of a pod that shows what a node runs without the API.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// A field that holds an object.
pub(super) fn object<'a>(of: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    of.get_mut(field).and_then(Value::as_object_mut)
}

/// The account that a pod names, or that all have that name none.
pub fn account(pod: &Value) -> &str {
    let given = |field: &str| pod["spec"][field].as_str().filter(|name| !name.is_empty());
    given("serviceAccountName").or_else(|| given("serviceAccount")).unwrap_or("default")
}

/// Whether the pod is a node's own, shown to the cluster.
pub fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get(MIRROR).is_some()
}

/// Gives a pod its account's name, and the secrets that the account pulls images with, if it has none of its own.
pub fn fill_account(account: &str, object_of: Option<&Value>, pod: &mut Value) {
    let Some(spec) = object(pod, "spec") else { return };
    spec.insert("serviceAccountName".to_owned(), account.into());
    spec.insert("serviceAccount".to_owned(), account.into());
    let secrets = object_of.and_then(|account| account["imagePullSecrets"].as_array());
    let has_own = spec.get("imagePullSecrets").and_then(Value::as_array).is_some_and(|own| !own.is_empty());
    if let Some(secrets) = secrets.filter(|secrets| !secrets.is_empty() && !has_own) {
        spec.insert("imagePullSecrets".to_owned(), secrets.clone().into());
    }
}

/// The RuntimeClass that a pod names.
pub fn runtime_class(pod: &Value) -> Option<&str> {
    pod["spec"]["runtimeClassName"].as_str().filter(|name| !name.is_empty())
}

/// Gives a pod what its RuntimeClass costs and where that runs. The refusal's words.
pub fn fill_runtime(class: Option<&Value>, pod: &mut Value) -> Result<(), String> {
    let name = runtime_class(pod).map(str::to_owned);
    let own = amounts::read(&pod["spec"]["overhead"]);
    let Some(spec) = object(pod, "spec") else { return Ok(()) };
    let class = match (name, class) {
        (Some(name), None) => return Err(format!("pod rejected: RuntimeClass {name:?} not found")),
        (None, _) => &Value::Null,
        (Some(_), Some(class)) => class,
    };
    let fixed = &class["overhead"]["podFixed"];
    let overhead = amounts::read(fixed);
    if overhead.is_empty() {
        if !own.is_empty() {
            return Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned());
        }
    } else if !own.is_empty() && own != overhead {
        return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
    } else {
        spec.insert("overhead".to_owned(), fixed.clone());
    }
    place(&class["scheduling"], spec)
}

fn place(scheduling: &Value, spec: &mut Map<String, Value>) -> Result<(), String> {
    let labels = scheduling["nodeSelector"].as_object().filter(|labels| !labels.is_empty());
    if let Some(labels) = labels {
        let selector = spec.entry("nodeSelector").or_insert_with(|| json!({}));
        if selector.is_null() {
            *selector = json!({});
        }
        for (key, value) in labels {
            let own = &mut selector[key];
            if !own.is_null() && own != value {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(value),
                    text(own),
                ));
            }
            *own = value.clone();
        }
    }
    let tolerations = scheduling["tolerations"].as_array().filter(|list| !list.is_empty());
    if let Some(tolerations) = tolerations {
        let own = spec.entry("tolerations").or_insert_with(|| json!([]));
        if own.is_null() {
            *own = json!([]);
        }
        if let Some(own) = own.as_array_mut() {
            own.extend(tolerations.iter().filter(|toleration| !own.contains(toleration)).cloned().collect::<Vec<_>>());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_takes_its_accounts_secrets() {
        let account_object = json!({"imagePullSecrets": [{"name": "s"}]});
        let mut pod = json!({"spec": {}});
        fill_account("a", Some(&account_object), &mut pod);
        let expected = json!({"serviceAccountName": "a", "serviceAccount": "a", "imagePullSecrets": [{"name": "s"}]});
        assert_eq!(pod["spec"], expected);
        let mut pod = json!({"spec": {"imagePullSecrets": [{"name": "own"}]}});
        fill_account("a", Some(&account_object), &mut pod);
        assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "own"}]));
    }

    #[test]
    fn a_pod_takes_what_its_runtime_class_says() {
        let class = json!({
            "overhead": {"podFixed": {"cpu": "100m"}},
            "scheduling": {"nodeSelector": {"wasm": "yes"}, "tolerations": [{"key": "wasm"}]}
        });
        let check = |spec: Value, class: Option<&Value>, expected: Result<Value, &str>| {
            let mut pod = json!({"spec": spec});
            let outcome = fill_runtime(class, &mut pod).map(|()| pod["spec"].clone());
            assert_eq!(outcome, expected.map_err(str::to_owned));
        };
        let whole = json!({"runtimeClassName": "w", "overhead": {"cpu": "100m"}, "nodeSelector": {"wasm": "yes"},
                           "tolerations": [{"key": "wasm"}]});
        check(json!({"runtimeClassName": "w"}), Some(&class), Ok(whole.clone()));
        check(whole.clone(), Some(&class), Ok(whole));
        check(json!({}), None, Ok(json!({})));
        let refusal = "pod rejected: RuntimeClass \"w\" not found";
        check(json!({"runtimeClassName": "w"}), None, Err(refusal));
        let refusal = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        check(json!({"overhead": {"cpu": "1"}}), None, Err(refusal));
        let refusal = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
        check(json!({"runtimeClassName": "w", "overhead": {"cpu": "1"}}), Some(&class), Err(refusal));
        let refusal = "conflict: runtimeClass.scheduling.nodeSelector[wasm] = yes; pod.spec.nodeSelector[wasm] = no";
        check(json!({"runtimeClassName": "w", "nodeSelector": {"wasm": "no"}}), Some(&class), Err(refusal));
    }
}
