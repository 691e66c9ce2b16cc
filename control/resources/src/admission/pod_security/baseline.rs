//! What the baseline level does not allow.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Violation;
use super::checks::{Subject, containers, name, plural, quoted, setters, violation};

const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Allowed kernel parameters, each with the minor version from which on it is.
const SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
const SELINUX_TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t"];
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The checks in the order of their names, without those that the restricted level does in a stricter way.
pub(super) fn violations(subject: &Subject<'_>, restricted: bool) -> Vec<Violation> {
    let strict = |check: fn(&Subject<'_>) -> Option<Violation>, from: u32| {
        if restricted && subject.minor >= from { None } else { check(subject) }
    };
    let found = [
        apparmor(subject),
        strict(capabilities, 22),
        host_namespaces(subject),
        strict(host_paths, 0),
        host_ports(subject),
        host_probes(subject),
        privileged(subject),
        proc_mount(subject),
        selinux(subject),
        strict(seccomp, 19),
        sysctls(subject),
        windows(subject),
    ];
    found.into_iter().flatten().collect()
}

/// Who set such a profile to other types than those that a runtime has, and to which.
fn profiles(subject: &Subject<'_>, field: &str) -> (Option<String>, BTreeSet<String>) {
    let bad = |context: &Value| {
        let kind = context[field]["type"].as_str();
        kind.filter(|kind| !matches!(*kind, "RuntimeDefault" | "Localhost")).map(str::to_owned)
    };
    let pod = bad(subject.context());
    let mut values: BTreeSet<String> = pod.iter().cloned().collect();
    values.extend(subject.containers().filter_map(|container| bad(&container["securityContext"])));
    let names = subject.named(|container| bad(&container["securityContext"]).is_some());
    (setters(pod.is_some(), &names), values)
}

fn apparmor(subject: &Subject<'_>) -> Option<Violation> {
    let mut parts = Vec::new();
    let (setters, values) = profiles(subject, "appArmorProfile");
    if let Some(setters) = setters {
        parts.push(format!("{setters} must not set AppArmor profile type to {}", quoted(&values)));
    }
    let annotations = subject.metadata["annotations"].as_object().into_iter().flatten();
    let forbidden: Vec<String> = annotations
        .filter(|(key, value)| {
            let value = value.as_str().unwrap_or_default();
            let allowed = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APPARMOR) && !allowed
        })
        .map(|(key, value)| format!("{key:?}={value}"))
        .collect();
    if !forbidden.is_empty() {
        let word = plural("annotation", "annotations", forbidden.len());
        parts.push(format!("{word} {}", forbidden.join(", ")));
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len() + forbidden.len());
    (!parts.is_empty()).then(|| violation(reason, parts.join("; ")))
}

fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    let mut forbidden = BTreeSet::new();
    let mut names = Vec::new();
    for container in subject.containers() {
        let added = container["securityContext"]["capabilities"]["add"].as_array().into_iter().flatten();
        let bad: Vec<&str> = added.filter_map(Value::as_str).filter(|added| !CAPABILITIES.contains(added)).collect();
        if !bad.is_empty() {
            names.push(name(container));
            forbidden.extend(bad);
        }
    }
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            quoted(&forbidden)
        );
        violation("non-default capabilities", detail)
    })
}

fn host_namespaces(subject: &Subject<'_>) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| subject.spec[*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!shared.is_empty()).then(|| violation("host namespaces", shared.join(", ")))
}

fn host_paths(subject: &Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec["volumes"].as_array().into_iter().flatten();
    let names: Vec<String> = volumes.filter(|volume| volume["hostPath"].is_object()).map(name).collect();
    (!names.is_empty()).then(|| {
        let detail = format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
        violation("hostPath volumes", detail)
    })
}

fn host_ports(subject: &Subject<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let names: Vec<String> = subject
        .containers()
        .filter(|container| {
            let list = container["ports"].as_array().into_iter().flatten();
            let own: Vec<i64> = list.filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0).collect();
            ports.extend(own.iter().map(ToString::to_string));
            !own.is_empty()
        })
        .map(name)
        .collect();
    (!names.is_empty()).then(|| {
        let (uses, word) = (plural("uses", "use", names.len()), plural("hostPort", "hostPorts", ports.len()));
        let list: Vec<&str> = ports.iter().map(String::as_str).collect();
        violation("hostPort", format!("{} {uses} {word} {}", containers(&names), list.join(", ")))
    })
}

/// Probes and hooks that are sent to another host than the pod.
fn host_probes(subject: &Subject<'_>) -> Option<Violation> {
    if subject.minor < 34 {
        return None;
    }
    let mut hosts = BTreeSet::new();
    let mut names = Vec::new();
    for container in subject.containers() {
        let lifecycle = &container["lifecycle"];
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let handlers = probes.into_iter().chain([&lifecycle["postStart"], &lifecycle["preStop"]]);
        let own: Vec<&str> = handlers
            .flat_map(|handler| [&handler["httpGet"]["host"], &handler["tcpSocket"]["host"]])
            .filter_map(Value::as_str)
            .filter(|host| !host.is_empty())
            .collect();
        if !own.is_empty() {
            names.push(name(container));
            hosts.extend(own);
        }
    }
    (!names.is_empty()).then(|| {
        let (uses, word) = (plural("uses", "use", names.len()), plural("host", "hosts", hosts.len()));
        let detail = format!("{} {uses} probe or lifecycle {word} {}", containers(&names), quoted(&hosts));
        violation("probe or lifecycle host", detail)
    })
}

fn privileged(subject: &Subject<'_>) -> Option<Violation> {
    let names = subject.named(|container| container["securityContext"]["privileged"] == true);
    (!names.is_empty()).then(|| {
        violation("privileged", format!("{} must not set securityContext.privileged=true", containers(&names)))
    })
}

fn proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() {
        return None;
    }
    let mut values = BTreeSet::new();
    let names: Vec<String> = subject
        .containers()
        .filter(|container| {
            let given = container["securityContext"]["procMount"].as_str().filter(|given| *given != "Default");
            values.extend(given);
            given.is_some()
        })
        .map(name)
        .collect();
    (!names.is_empty()).then(|| {
        let detail = format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&values));
        violation("procMount", detail)
    })
}

fn selinux(subject: &Subject<'_>) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut bad = |context: &Value| {
        let options = &context["seLinuxOptions"];
        let text = |field: &str| options[field].as_str().unwrap_or_default().to_owned();
        let bad_type = !SELINUX_TYPES.contains(&text("type").as_str());
        if bad_type {
            types.insert(text("type"));
        }
        let (sets_user, sets_role) = (!text("user").is_empty(), !text("role").is_empty());
        user |= sets_user;
        role |= sets_role;
        bad_type || sets_user || sets_role
    };
    let pod = bad(subject.context());
    let names: Vec<String> =
        subject.containers().filter(|container| bad(&container["securityContext"])).map(name).collect();
    let setters = setters(pod, &names)?;
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    data.extend(user.then(|| "user may not be set".to_owned()));
    data.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{setters} set forbidden securityContext.seLinuxOptions: {}", data.join("; "));
    Some(violation("seLinuxOptions", detail))
}

fn seccomp(subject: &Subject<'_>) -> Option<Violation> {
    if subject.minor < 19 {
        return None;
    }
    let (setters, values) = profiles(subject, "seccompProfile");
    let setters = setters?;
    let detail = format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(&values));
    Some(violation("seccompProfile", detail))
}

fn sysctls(subject: &Subject<'_>) -> Option<Violation> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, from)| *known == name && subject.minor >= *from);
    let given = subject.context()["sysctls"].as_array().into_iter().flatten();
    let bad: Vec<String> = given.map(name).filter(|name| !allowed(name)).collect();
    (!bad.is_empty()).then(|| violation("forbidden sysctls", bad.join(", ")))
}

fn windows(subject: &Subject<'_>) -> Option<Violation> {
    let bad = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let names = subject.named(|container| bad(&container["securityContext"]));
    let setters = setters(bad(subject.context()), &names)?;
    let detail = format!("{setters} must not set securityContext.windowsOptions.hostProcess=true");
    Some(violation("hostProcess", detail))
}
