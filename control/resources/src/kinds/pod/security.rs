//! What is wrong with the security contexts of pods and containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, Sysctl,
};

use super::container::validate_local_path;
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{items, one_of};
use crate::{FieldError, FieldPath};

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
/// The longest path of a profile, in bytes.
const MAX_PROFILE: usize = 4095;
const MAX_SYSCTL: usize = 253;

/// The security context of a pod or a template.
pub(super) fn validate_pod(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let Some(context) = &spec.security_context else { return };
    let shared = spec.share_process_namespace == Some(true) && spec.host_pid == Some(true);
    if *context == PodSecurityContext::default() && !shared {
        return;
    }
    let path = path.child("securityContext");
    let ids = [("fsGroup", context.fs_group), ("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)];
    validate_ids(&ids, &path, errors);
    for (index, group) in items(&context.supplemental_groups).iter().enumerate() {
        validate_id(*group, || path.child("supplementalGroups").index(index), errors);
    }
    if shared {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&path.child("shareProcessNamespace"), true, why));
    }
    validate_sysctls(items(&context.sysctls), spec, &path.child("sysctls"), errors);
    if let Some(policy) = &context.fs_group_change_policy {
        one_of(policy, &["Always", "OnRootMismatch"], || path.child("fsGroupChangePolicy"), errors);
    }
    validate_seccomp(context.seccomp_profile.as_ref(), &path, errors);
    validate_app_armor(context.app_armor_profile.as_ref(), &path, errors);
    if let Some(policy) = &context.supplemental_groups_policy {
        one_of(policy, &["Merge", "Strict"], || path.child("supplementalGroupsPolicy"), errors);
    }
    if let Some(policy) = &context.se_linux_change_policy {
        one_of(policy, &["MountOption", "Recursive"], || path.child("seLinuxChangePolicy"), errors);
    }
}

/// The security context of a container.
pub(super) fn validate_container(container: &Container, spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let Some(context) = &container.security_context else { return };
    let path = path.child("securityContext");
    validate_ids(&[("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)], &path, errors);
    if let Some(mount) = &context.proc_mount {
        one_of(mount, &["Default", "Unmasked"], || path.child("procMount"), errors);
        if mount == "Unmasked" && spec.host_users != Some(false) {
            let why = "`hostUsers` must be false to use `Unmasked`";
            errors.push(FieldError::invalid(&path.child("procMount"), mount.as_str(), why));
        }
    }
    validate_seccomp(context.seccomp_profile.as_ref(), &path, errors);
    validate_escalation(context, &path, errors);
    validate_app_armor(context.app_armor_profile.as_ref(), &path, errors);
}

/// Who may do everything cannot be kept from getting to do more.
fn validate_escalation(context: &SecurityContext, path: &FieldPath, errors: &mut Errors) {
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    let shown = || serde_json::to_value(context).unwrap_or_default();
    if context.privileged == Some(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(FieldError::invalid(path, shown(), why));
    }
    let added = context.capabilities.as_ref().map_or(&[][..], |capabilities| items(&capabilities.add));
    for _ in added.iter().filter(|capability| *capability == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.push(FieldError::invalid(path, shown(), why));
    }
}

fn validate_ids(ids: &[(&str, Option<i64>)], path: &FieldPath, errors: &mut Errors) {
    for (field, id) in ids {
        if let Some(id) = id {
            validate_id(*id, || path.child(field), errors);
        }
    }
}

/// A user's or a group's number.
fn validate_id(id: i64, path: impl FnOnce() -> FieldPath, errors: &mut Errors) {
    let found = names::in_range(id, 0, i64::from(i32::MAX));
    if !found.is_empty() {
        errors.push(FieldError::invalid(&path(), id, &found.join(";")));
    }
}

fn validate_seccomp(profile: Option<&SeccompProfile>, path: &FieldPath, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let path = path.child("seccompProfile");
    if profile.type_.is_empty() {
        let why = "type is required when seccompProfile is set";
        errors.push(FieldError::required(&path.child("type"), why));
    } else {
        one_of(&profile.type_, PROFILES, || path.child("type"), errors);
    }
    let path = path.child("localhostProfile");
    match &profile.localhost_profile {
        None if profile.type_ == "Localhost" => {
            errors.push(FieldError::required(&path, "must be set when seccomp type is Localhost"));
        }
        Some(local) if profile.type_ == "Localhost" => validate_local_path(local, || path.clone(), errors),
        Some(_) => {
            let shown = serde_json::to_value(profile).unwrap_or_default();
            errors.push(FieldError::invalid(&path, shown, "can only be set when seccomp type is Localhost"));
        }
        None => {}
    }
}

fn validate_app_armor(profile: Option<&AppArmorProfile>, path: &FieldPath, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let path = path.child("appArmorProfile");
    let local = path.child("localhostProfile");
    let needed = "must be set when AppArmor type is Localhost";
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("", _) => {
            errors.push(FieldError::required(&path.child("type"), "type is required when appArmorProfile is set"))
        }
        ("Localhost", None) => errors.push(FieldError::required(&local, needed)),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.push(FieldError::invalid(&local, name.as_str(), "must not be padded with whitespace"));
            } else if name.is_empty() {
                errors.push(FieldError::required(&local, needed));
            }
            if name.len() > MAX_PROFILE {
                errors.push(FieldError::too_long(&local, MAX_PROFILE));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.push(FieldError::invalid(&local, name.as_str(), "can only be set when AppArmor type is Localhost"));
        }
        (other, _) => one_of(other, PROFILES, || path.child("type"), errors),
    }
}

fn validate_sysctls(sysctls: &[Sysctl], spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if !is_sysctl(name) {
            let why = format!(
                "must have at most {MAX_SYSCTL} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            errors.push(FieldError::invalid(&path, name, &why));
        } else if !taken.insert(name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        let shared = [
            (spec.host_network, name.starts_with("net."), "may not be specified when 'hostNetwork' is true"),
            (spec.host_ipc, is_of_ipc(name), "may not be specified when 'hostIPC' is true"),
        ];
        for (_, _, why) in shared.iter().filter(|(host, concerns, _)| *host == Some(true) && *concerns) {
            errors.push(FieldError::invalid(&path, name, why));
        }
    }
}

/// Whether the setting belongs to a namespace of inter-process communication.
fn is_of_ipc(name: &str) -> bool {
    ["kernel.sem", "kernel.msg", "kernel.shm", "fs.mqueue."].iter().any(|start| name.starts_with(start))
}

fn is_sysctl(name: &str) -> bool {
    let plain = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let segment = |part: &str| {
        let bytes = part.as_bytes();
        plain(bytes.first())
            && plain(bytes.last())
            && bytes.iter().all(|byte| plain(Some(byte)) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= MAX_SYSCTL && name.split(['.', '/']).all(segment)
}

/// What a pod says of its operating system, and what does not go together with it.
pub(super) fn validate_os(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let Some(os) = &spec.os else { return };
    let containers = [("containers", spec.containers.as_slice()), ("initContainers", items(&spec.init_containers))];
    let contexts = containers.iter().flat_map(|(field, list)| {
        let path = move |index| path.child(field).index(index).child("securityContext");
        list.iter().enumerate().filter_map(move |(index, one)| Some((path(index), one.security_context.as_ref()?)))
    });
    match os.name.as_str() {
        "" => errors.push(FieldError::required(&path.child("os").child("name"), "cannot be empty")),
        "linux" => {
            let why = "windows options cannot be set for a linux pod";
            let pod = spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
            if pod.is_some() {
                errors.push(FieldError::forbidden(&path.child("securityContext").child("windowsOptions"), why));
            }
            for (path, _) in contexts.filter(|(_, context)| context.windows_options.is_some()) {
                errors.push(FieldError::forbidden(&path.child("windowsOptions"), why));
            }
        }
        "windows" => {
            let why = "cannot be set for a windows pod";
            for field in linux_fields(spec) {
                let parts = field.split('.');
                let path = parts.fold(path.clone(), |path, part| path.child(part));
                errors.push(FieldError::forbidden(&path, why));
            }
            for (path, context) in contexts {
                for field in linux_fields_of(context) {
                    errors.push(FieldError::forbidden(&path.child(field), why));
                }
            }
        }
        other => one_of(other, &["linux", "windows"], || path.child("os"), errors),
    }
}

/// The fields of the pod that mean something on Linux alone.
fn linux_fields(spec: &PodSpec) -> Vec<&'static str> {
    let none = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    let given = [
        ("securityContext.appArmorProfile", context.app_armor_profile.is_some()),
        ("securityContext.seLinuxOptions", context.se_linux_options.is_some()),
        ("hostUsers", spec.host_users.is_some()),
        ("hostPID", spec.host_pid == Some(true)),
        ("hostIPC", spec.host_ipc == Some(true)),
        ("securityContext.seccompProfile", context.seccomp_profile.is_some()),
        ("securityContext.fsGroup", context.fs_group.is_some()),
        ("securityContext.fsGroupChangePolicy", context.fs_group_change_policy.is_some()),
        ("securityContext.sysctls", !items(&context.sysctls).is_empty()),
        ("shareProcessNamespace", spec.share_process_namespace.is_some()),
        ("securityContext.runAsUser", context.run_as_user.is_some()),
        ("securityContext.runAsGroup", context.run_as_group.is_some()),
        ("securityContext.supplementalGroups", context.supplemental_groups.is_some()),
        ("securityContext.supplementalGroupsPolicy", context.supplemental_groups_policy.is_some()),
        ("securityContext.seLinuxChangePolicy", context.se_linux_change_policy.is_some()),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(field, _)| field).collect()
}

/// The fields of a container's security context that mean something on Linux alone.
fn linux_fields_of(context: &SecurityContext) -> Vec<&'static str> {
    let given = [
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("capabilities", context.capabilities.is_some()),
        ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
        ("privileged", context.privileged.is_some()),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
        ("procMount", context.proc_mount.is_some()),
        ("runAsUser", context.run_as_user.is_some()),
        ("runAsGroup", context.run_as_group.is_some()),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(field, _)| field).collect()
}
