//! A container's environment and arguments.

use std::collections::HashMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, Pod};
use pal_image::Defaults;

use super::env_file;
use super::fields::Facts;
use super::sources::{Data, SourceName, Sources};

/// The variables, in the order in which they came; of two with one name the last counts. `services` are those that tell of
/// Services, `volumes` the folder of the pod's volumes.
pub(crate) fn variables(
    container: &Container,
    facts: &Facts<'_>,
    services: &[(String, String)],
    sources: &Sources,
    volumes: &Path,
) -> Result<Vec<(String, String)>, String> {
    let mut vars = Variables::default();
    vars.set("HOSTNAME".to_owned(), hostname(facts.pod).0.to_owned());
    for (name, value) in services {
        vars.set(name.clone(), value.clone());
    }
    for from in container.env_from.iter().flatten() {
        for (name, value) in all_of(from, sources)? {
            vars.set(name, value);
        }
    }
    for var in container.env.iter().flatten() {
        if let Some(value) = value_of(var, container, facts, sources, volumes, &vars)? {
            vars.set(var.name.clone(), value);
        }
    }
    Ok(vars.list)
}

/// The arguments, the program's name first: `command`, or what the image has in its place, or the container's name; then
/// `args`, or, where there is no command either, those of the image.
pub(crate) fn arguments(container: &Container, env: &[(String, String)], defaults: Option<&Defaults>) -> Vec<String> {
    let lookup: HashMap<&str, &str> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expand = |text: &String| expand(text, |name| lookup.get(name).map(|v| (*v).to_owned()));
    let mut argv: Vec<String> = container.command.iter().flatten().map(expand).collect();
    let args = container.args.iter().flatten().map(expand);
    let Some(defaults) = defaults else {
        if argv.is_empty() {
            argv.push(container.name.clone());
        }
        argv.extend(args);
        return argv;
    };
    let args: Vec<String> = args.collect();
    let own = argv.is_empty();
    if own {
        argv.extend_from_slice(&defaults.entrypoint);
    }
    if own && args.is_empty() {
        argv.extend_from_slice(&defaults.cmd);
    }
    argv.extend(args);
    argv
}

/// What a pod takes its host to be called, and its domain within the namespace's: `spec.hostnameOverride` alone (KEP-4762),
/// or `spec.hostname`, or the pod's name.
pub(super) fn hostname(pod: &Pod) -> (&str, Option<&str>) {
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(|spec| spec.hostname_override.as_deref()) {
        return (name, None);
    }
    let given = spec.and_then(|spec| spec.hostname.as_deref()).or(pod.metadata.name.as_deref());
    (given.unwrap_or_default(), spec.and_then(|spec| spec.subdomain.as_deref()))
}

#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(i) => self.list[*i].1 = value,
            None => {
                self.index.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.index.get(name).map(|i| self.list[*i].1.clone())
    }
}

fn all_of(from: &EnvFromSource, sources: &Sources) -> Result<Vec<(String, String)>, String> {
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let (name, optional) = match (&from.config_map_ref, &from.secret_ref) {
        (Some(r), _) => (SourceName::ConfigMap(r.name.clone()), r.optional),
        (_, Some(r)) => (SourceName::Secret(r.name.clone()), r.optional),
        (None, None) => return Ok(Vec::new()),
    };
    let data = match sources.get(&name) {
        Err(_) if optional == Some(true) => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = Vec::new();
    for (key, value) in data {
        // A variable's name has no "=", and no value has a NUL; such keys are left out, as kubelet does.
        if let Ok(value) = String::from_utf8(value.clone())
            && !key.contains('=')
            && !value.contains('\0')
        {
            all.push((format!("{prefix}{key}"), value));
        }
    }
    Ok(all)
}

fn value_of(
    var: &EnvVar,
    container: &Container,
    facts: &Facts<'_>,
    sources: &Sources,
    volumes: &Path,
    vars: &Variables,
) -> Result<Option<String>, String> {
    let Some(from) = &var.value_from else {
        let value = var.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(value, |name| vars.get(name))));
    };
    match from {
        EnvVarSource { field_ref: Some(r), .. } => facts.field(&r.field_path).map(Some),
        EnvVarSource { resource_field_ref: Some(r), .. } => facts.resource(r, container).map(Some),
        EnvVarSource { config_map_key_ref: Some(r), .. } => {
            key_of(sources, SourceName::ConfigMap(r.name.clone()), &r.key, r.optional)
        }
        EnvVarSource { secret_key_ref: Some(r), .. } => {
            key_of(sources, SourceName::Secret(r.name.clone()), &r.key, r.optional)
        }
        EnvVarSource { file_key_ref: Some(r), .. } => env_file::value(volumes, r),
        _ => Err(format!("env {}: its valueFrom is not supported", var.name)),
    }
}

fn key_of(sources: &Sources, name: SourceName, key: &str, optional: Option<bool>) -> Result<Option<String>, String> {
    let optional = optional == Some(true);
    let data: &Data = match sources.get(&name) {
        Err(_) if optional => return Ok(None),
        other => other?,
    };
    match data.get(key) {
        Some(value) => {
            let text = String::from_utf8(value.clone()).map_err(|_| format!("key {key:?} of {name} is not text"))?;
            if text.contains('\0') { Err(format!("key {key:?} of {name} contains a NUL byte")) } else { Ok(Some(text)) }
        }
        None if optional => Ok(None),
        None => Err(format!("couldn't find key {key} in {name}")),
    }
}

/// Puts values for `$(NAME)`; `$$` is a dollar sign, and names that nobody set stay as they are.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;
    use crate::pods::fields::Capacity;

    fn check(manifest: serde_json::Value, expected: Result<&[(&str, &str)], &str>, argv: &[&str]) {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-0", "namespace": "ns", "uid": "u", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [manifest]},
        }))
        .unwrap();
        let facts = Facts {
            pod: &pod,
            ip: Some("100.64.0.7".parse().unwrap()),
            host_ip: "10.0.0.1".parse().unwrap(),
            capacity: Capacity { cpu_millis: 2000, memory_bytes: 1 << 30 },
        };
        let sources = Sources::default()
            .with(SourceName::ConfigMap("c".into()), &[("a", "1"), ("b=", "x")])
            .with(SourceName::Secret("s".into()), &[("k", "secret")]);
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let got = variables(container, &facts, &[], &sources, Path::new("/none"));
        match (got, expected) {
            (Ok(vars), Ok(expected)) => {
                let vars: Vec<_> = vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                assert_eq!(vars[0], ("HOSTNAME", "web-0"));
                assert_eq!(&vars[1..], expected);
                let env: Vec<_> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
                assert_eq!(arguments(container, &env, None), argv);
            }
            (Err(error), Err(words)) => assert_eq!(error, words),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn variables_come_from_literals_objects_and_the_pod_itself() {
        check(
            serde_json::json!({"name": "c", "args": ["--at=$(IP)", "$$(IP)", "$(NOBODY)", "$"], "env": [
                {"name": "A", "value": "x"},
                {"name": "B", "value": "$(A)-$(B)"},
                {"name": "A", "value": "y"},
                {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": true}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            ], "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}),
            Ok(&[
                ("A", "y"),
                ("B", "x-$(B)"),
                ("K", "secret"),
                ("IP", "100.64.0.7"),
                ("APP", "web"),
                ("CPU", "2"),
                ("MEM", "64"),
            ]),
            &["c", "--at=100.64.0.7", "$(IP)", "$(NOBODY)", "$"],
        );
        check(
            serde_json::json!({"name": "c", "command": ["run", "it"], "args": ["now"], "envFrom": [
                {"prefix": "P_", "configMapRef": {"name": "c"}},
                {"secretRef": {"name": "no", "optional": true}},
            ]}),
            Ok(&[("P_a", "1")]),
            &["run", "it", "now"],
        );
    }

    #[test]
    fn an_images_own_command_is_replaced_as_container_engines_do() {
        let defaults = |entrypoint: &[&str], cmd: &[&str]| Defaults {
            entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
            cmd: cmd.iter().map(|word| (*word).to_owned()).collect(),
            ..Defaults::default()
        };
        let check = |manifest: serde_json::Value, defaults: &Defaults, expected: &[&str]| {
            let mut manifest = manifest;
            manifest["name"] = "test".into();
            let container: Container = serde_json::from_value(manifest).unwrap();
            assert_eq!(arguments(&container, &[], Some(defaults)), expected);
        };
        let (shell, pause) = (defaults(&[], &["sh"]), defaults(&["/pause"], &["-v"]));
        check(serde_json::json!({}), &shell, &["sh"]);
        check(serde_json::json!({"args": ["sleep", "5"]}), &shell, &["sleep", "5"]);
        check(serde_json::json!({"command": ["sh", "-c", "x"]}), &shell, &["sh", "-c", "x"]);
        check(serde_json::json!({"command": ["sh"], "args": ["-c", "x"]}), &shell, &["sh", "-c", "x"]);
        check(serde_json::json!({}), &pause, &["/pause", "-v"]);
        check(serde_json::json!({"args": ["x"]}), &pause, &["/pause", "x"]);
        check(serde_json::json!({"command": ["x"]}), &pause, &["x"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let env = |from: serde_json::Value| serde_json::json!({"name": "c", "env": [{"name": "X", "valueFrom": from}]});
        check(
            env(serde_json::json!({"configMapKeyRef": {"name": "no", "key": "k"}})),
            Err("configmap \"no\" not found"),
            &[],
        );
        check(
            env(serde_json::json!({"secretKeyRef": {"name": "s", "key": "z"}})),
            Err("couldn't find key z in secret \"s\""),
            &[],
        );
        check(
            env(serde_json::json!({"fieldRef": {"fieldPath": "spec.x"}})),
            Err("fieldPath \"spec.x\" is not supported"),
            &[],
        );
        check(
            serde_json::json!({"name": "c", "envFrom": [{"configMapRef": {"name": "no"}}]}),
            Err("configmap \"no\" not found"),
            &[],
        );
    }
}
