//! Whom a container's security context names as its user. A component has none: nothing hangs on it, but programs that ask
//! who they are, and whose the files are, are told what the pod says.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SecurityContext};

/// Who a container runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: i64,
    gid: i64,
    /// Beside the first one.
    groups: Vec<i64>,
}

impl User {
    pub(super) fn of(spec: &PodSpec, container: &Container) -> Self {
        let pod = spec.security_context.as_ref();
        let own = container.security_context.as_ref();
        let group = own.and_then(|own| own.run_as_group).or_else(|| pod?.run_as_group);
        let mut groups: Vec<i64> =
            pod.iter().flat_map(|pod| pod.supplemental_groups.iter().flatten().copied()).collect();
        groups.extend(fs_group(spec));
        Self { uid: uid(spec, own).unwrap_or_default(), gid: group.unwrap_or_default(), groups }
    }

    /// What Linux tells of it in `/proc/self/status`.
    pub(super) fn status(&self) -> String {
        let Self { uid, gid, groups } = self;
        let mut status = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t");
        for group in groups {
            // Writing to a string does not fail.
            let _ = write!(status, "{group} ");
        }
        status + "\n"
    }
}

/// Which user the container names, or its pod.
fn uid(spec: &PodSpec, own: Option<&SecurityContext>) -> Option<i64> {
    own.and_then(|own| own.run_as_user).or_else(|| spec.security_context.as_ref()?.run_as_user)
}

/// The group that the pod's volumes belong to.
pub(super) fn fs_group(spec: &PodSpec) -> Option<i64> {
    spec.security_context.as_ref()?.fs_group
}

/// The user whose the pod's tokens are: the one that all its containers run as.
pub(super) fn fs_user(spec: &PodSpec) -> Option<i64> {
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| container.security_context.as_ref());
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut all = all.map(|container| container.security_context.as_ref()).chain(ephemeral).map(|own| uid(spec, own));
    let first = all.next()??;
    all.all(|uid| uid == Some(first)).then_some(first)
}

/// Why the container may not start as who it is: it asks not to be root, and to be.
pub(super) fn breaks_non_root(pod: &Pod, container: &Container) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let own = container.security_context.as_ref();
    let non_root = own.and_then(|own| own.run_as_non_root).or_else(|| spec.security_context.as_ref()?.run_as_non_root);
    if non_root != Some(true) || uid(spec, own) != Some(0) {
        return None;
    }
    let meta = &pod.metadata;
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let pod = format!("{}_{}({})", of(&meta.name), of(&meta.namespace), of(&meta.uid));
    Some(format!("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {})", container.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(context: Value, containers: Value) -> Pod {
        let meta = json!({"name": "p", "namespace": "n", "uid": "u"});
        serde_json::from_value(
            json!({"metadata": meta, "spec": {"securityContext": context, "containers": containers}}),
        )
        .expect("a pod")
    }

    #[test]
    fn programs_are_told_who_the_pod_says_they_are() {
        let check = |context: Value, own: Value, expected: &str| {
            let pod = pod(context, json!([{"name": "c", "securityContext": own}]));
            let spec = pod.spec.as_ref().expect("a spec");
            assert_eq!(User::of(spec, &spec.containers[0]).status(), expected);
        };
        check(json!({}), json!({}), "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\n");
        check(
            json!({"runAsUser": 1, "runAsGroup": 2, "supplementalGroups": [3, 4], "fsGroup": 5}),
            json!({"runAsUser": 6}),
            "Uid:\t6\t6\t6\t6\nGid:\t2\t2\t2\t2\nGroups:\t3 4 5 \n",
        );
    }

    #[test]
    fn tokens_are_those_of_the_user_that_all_containers_are() {
        let check = |context: Value, containers: Value, expected: Option<i64>| {
            assert_eq!(fs_user(pod(context, containers).spec.as_ref().expect("a spec")), expected);
        };
        let (same, other) = (json!({"name": "a"}), json!({"name": "b", "securityContext": {"runAsUser": 2}}));
        check(json!({"runAsUser": 1}), json!([same, same]), Some(1));
        check(json!({"runAsUser": 1}), json!([same, other]), None);
        check(json!({}), json!([other, other]), Some(2));
        check(json!({}), json!([same]), None);
    }

    #[test]
    fn who_is_not_to_be_root_is_not_started_as_root() {
        let check = |context: Value, own: Value, refused: bool| {
            let pod = pod(context, json!([{"name": "c", "securityContext": own}]));
            let why = breaks_non_root(&pod, &pod.spec.as_ref().expect("a spec").containers[0]);
            let expected = "container's runAsUser breaks non-root policy (pod: \"p_n(u)\", container: c)";
            assert_eq!(why.as_deref(), refused.then_some(expected));
        };
        check(json!({"runAsNonRoot": true}), json!({"runAsUser": 0}), true);
        check(json!({"runAsUser": 0}), json!({"runAsNonRoot": true}), true);
        check(json!({"runAsNonRoot": true, "runAsUser": 0}), json!({"runAsUser": 1}), false);
        check(json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false, "runAsUser": 0}), false);
        // Whom an image names nobody is no root.
        check(json!({"runAsNonRoot": true}), json!({}), false);
    }
}
