//! What the restricted level does not allow beside the baseline.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Violation;
use super::checks::{Subject, containers, name, plural, quoted, setters, violation};

/// Volumes that lead nowhere else than to the cluster's own objects.
const VOLUMES: &[&str] =
    &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

pub(super) fn violations(subject: &Subject<'_>) -> Vec<Violation> {
    let found = [
        escalation(subject),
        capabilities(subject),
        volumes(subject),
        non_root(subject),
        user(subject),
        seccomp(subject),
    ];
    found.into_iter().flatten().collect()
}

fn escalation(subject: &Subject<'_>) -> Option<Violation> {
    if subject.minor < 8 || subject.is_windows() {
        return None;
    }
    let names = subject.named(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    (!names.is_empty()).then(|| {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
        violation("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    if subject.minor < 22 || subject.is_windows() {
        return None;
    }
    let (mut keeping, mut adding, mut forbidden) = (Vec::new(), Vec::new(), BTreeSet::new());
    for container in subject.containers() {
        let list = |side: &str| {
            let list = container["securityContext"]["capabilities"][side].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        if !list("drop").iter().any(|dropped| dropped == "ALL") {
            keeping.push(name(container));
        }
        let bad: Vec<String> = list("add").into_iter().filter(|added| added != "NET_BIND_SERVICE").collect();
        if !bad.is_empty() {
            adding.push(name(container));
            forbidden.extend(bad);
        }
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        let forbidden = quoted(&forbidden);
        let who = containers(&adding);
        details.push(format!("{who} must not include {forbidden} in securityContext.capabilities.add"));
    }
    (!details.is_empty()).then(|| violation("unrestricted capabilities", details.join("; ")))
}

fn volumes(subject: &Subject<'_>) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in subject.spec["volumes"].as_array().into_iter().flatten() {
        let sources =
            volume.as_object().into_iter().flatten().filter(|(field, value)| *field != "name" && !value.is_null());
        let bad: Vec<&String> =
            sources.map(|(field, _)| field).filter(|field| !VOLUMES.contains(&field.as_str())).collect();
        if !bad.is_empty() {
            names.push(name(volume));
            kinds.extend(bad);
        }
    }
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {} {}",
            plural("volume", "volumes", names.len()),
            quoted(&names),
            plural("uses", "use", names.len()),
            plural("restricted volume type", "restricted volume types", kinds.len()),
            quoted(&kinds),
        );
        violation("restricted volume types", detail)
    })
}

fn non_root(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() {
        return None;
    }
    const REASON: &str = "runAsNonRoot != true";
    let pod = &subject.context()["runAsNonRoot"];
    let explicit = subject.named(|container| container["securityContext"]["runAsNonRoot"] == false);
    if let Some(setters) = setters(*pod == false, &explicit) {
        return Some(violation(REASON, format!("{setters} must not set securityContext.runAsNonRoot=false")));
    }
    let silent = |container: &Value| container["securityContext"]["runAsNonRoot"].is_null();
    let names = if *pod == true { Vec::new() } else { subject.named(silent) };
    (!names.is_empty()).then(|| {
        let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&names));
        violation(REASON, detail)
    })
}

fn user(subject: &Subject<'_>) -> Option<Violation> {
    if subject.minor < 23 || subject.has_own_users() {
        return None;
    }
    let is_root = |context: &Value| context["runAsUser"] == 0;
    let names = subject.named(|container| is_root(&container["securityContext"]));
    let setters = setters(is_root(subject.context()), &names)?;
    Some(violation("runAsUser=0", format!("{setters} must not set runAsUser=0")))
}

fn seccomp(subject: &Subject<'_>) -> Option<Violation> {
    if subject.minor < 19 || subject.is_windows() {
        return None;
    }
    let given = |context: &Value| context["seccompProfile"]["type"].as_str().map(str::to_owned);
    let allowed = |kind: &String| matches!(kind.as_str(), "RuntimeDefault" | "Localhost");
    let pod = given(subject.context());
    let mut values: BTreeSet<String> = pod.iter().filter(|kind| !allowed(kind)).cloned().collect();
    let bad_pod = !values.is_empty();
    let mut explicit = Vec::new();
    let mut silent = Vec::new();
    for container in subject.containers() {
        match given(&container["securityContext"]) {
            Some(kind) if allowed(&kind) => {}
            Some(kind) => {
                explicit.push(name(container));
                values.insert(kind);
            }
            None if pod.as_ref().is_none_or(|kind| !allowed(kind)) => silent.push(name(container)),
            None => {}
        }
    }
    if let Some(setters) = setters(bad_pod, &explicit) {
        let detail = format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(&values));
        return Some(violation("seccompProfile", detail));
    }
    (!silent.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&silent)
        );
        violation("seccompProfile", detail)
    })
}
