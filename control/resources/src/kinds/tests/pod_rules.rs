use serde_json::{Value, json};

use super::{check_refused, merge};

/// A pod with this change of its spec is refused for exactly these causes, all of them below `path`.
fn check_in(change: Value, path: &str, expected: &[&str]) {
    let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}]}});
    merge(&mut pod["spec"], change);
    let expected: Vec<String> = expected.iter().map(|cause| format!("{path}{cause}")).collect();
    check_refused("Pod", pod, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

fn check(change: Value, expected: &[&str]) {
    check_in(change, "spec.", expected);
}

/// The same for its only container.
fn check_container(change: Value, expected: &[&str]) {
    let mut container = json!({"name": "a", "image": "x:1"});
    merge(&mut container, change);
    check_in(json!({"containers": [container]}), "spec.containers[0].", expected);
}

/// The same for one volume.
fn check_volume(mut volume: Value, expected: &[&str]) {
    volume["name"] = json!("v");
    check_in(json!({"volumes": [volume]}), "spec.volumes[0].", expected);
}

const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

#[test]
fn a_host_has_one_name_in_the_place_of_all_others() {
    let path = "hostnameOverride";
    check(
        json!({"hostnameOverride": "a", "setHostnameAsFQDN": true}),
        &[&format!("{path}: Forbidden: may not be specified when `setHostnameAsFQDN` is true")],
    );
    check(
        json!({"hostnameOverride": "a", "hostNetwork": true}),
        &[&format!("{path}: Forbidden: may not be specified when `hostNetwork` is true")],
    );
    check(json!({"hostnameOverride": "a".repeat(65)}), &[&format!("{path}: Too long: may not be more than 64 bytes")]);
    check(json!({"hostnameOverride": "A"}), &[&format!("{path}: Invalid value: \"A\": {}", super::SUBDOMAIN)]);
}

#[test]
fn a_volume_of_an_image_names_it() {
    check_volume(json!({"image": {}}), &["image.reference: Required value"]);
    check_volume(json!({"image": {"reference": ""}}), &["image.reference: Required value"]);
}

#[test]
fn how_names_are_looked_up_is_checked() {
    check(
        json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["x"]}}),
        &[&format!("dnsConfig.nameservers[0]: Invalid value: \"x\": {NO_IP}")],
    );
    check(
        json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1"]}}),
        &[
            "dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\"]: must not have more than 3 nameservers",
        ],
    );
    check(
        json!({"dnsConfig": {"options": [{"value": "1"}]}}),
        &["dnsConfig.options[0]: Required value: must not be empty"],
    );
    check(
        json!({"dnsConfig": {"searches": ["_a.b_c.", ".", "A b"]}}),
        &[
            "dnsConfig.searches[2]: Invalid value: \"A b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ],
    );
    check(
        json!({"hostAliases": [{"ip": "x", "hostnames": ["a"]}]}),
        &[&format!("hostAliases[0].ip: Invalid value: \"x\": {NO_IP}")],
    );
}

#[test]
fn to_which_nodes_a_pod_may_go_is_checked() {
    let check_terms = |terms: Value, expected: &str| {
        let path = format!("spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms");
        check_in(json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}}), &path, &[expected]);
    };
    check_terms(json!([]), ": Required value: must have at least one node selector term");
    let expression = |operator: &str, values: &[&str]| json!([{"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}]);
    check_terms(
        expression("In", &[]),
        "[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
    );
    check_terms(
        expression("Exists", &["x"]),
        "[0].matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
    );
    check_terms(
        expression("Gt", &["1", "2"]),
        "[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
    );
    check_terms(
        expression("Like", &["x"]),
        "[0].matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
    );
    check_terms(
        json!([{"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["x"]}]}]),
        "[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key",
    );
    check(
        json!({"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 0, "preference": {}}]}}}),
        &[&format!("affinity.nodeAffinity.{PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100")],
    );
}

#[test]
fn how_pods_lie_together_and_apart_is_checked() {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}});
    check(
        json!({"affinity": {"podAntiAffinity": {PREFERRED: [{"weight": 101, "podAffinityTerm": term}]}}}),
        &[&format!("affinity.podAntiAffinity.{PREFERRED}[0].weight: Invalid value: 101: must be in the range 1-100")],
    );
    check(
        json!({"affinity": {"podAffinity": {REQUIRED: [{"topologyKey": "zone", "matchLabelKeys": ["a"]}]}}}),
        &[&format!(
            "affinity.podAffinity.{REQUIRED}[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"
        )],
    );
    let spread = |change: Value| {
        let mut spread = json!({
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"a": "b"}},
        });
        merge(&mut spread, change);
        spread
    };
    let check_spread = |change: Value, expected: &[&str]| {
        let change = json!({"topologySpreadConstraints": [spread(change)]});
        check_in(change, "spec.topologySpreadConstraints[0].", expected);
    };
    check_spread(
        json!({"minDomains": 0}),
        &[
            "minDomains: Invalid value: 0: must be greater than zero",
            "minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ],
    );
    check_spread(
        json!({"nodeTaintsPolicy": "x"}),
        &["nodeTaintsPolicy: Unsupported value: \"x\": supported values: \"Honor\", \"Ignore\""],
    );
    check_spread(
        json!({"matchLabelKeys": ["a"]}),
        &["matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector"],
    );
    check(
        json!({"topologySpreadConstraints": [spread(json!({})), spread(json!({}))]}),
        &["topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, ScheduleAnyway}\""],
    );
}

#[test]
fn security_contexts_are_checked() {
    let range = "must be between 0 and 2147483647, inclusive";
    let pod = |context: Value, expected: &[&str]| {
        check_in(json!({"securityContext": context}), "spec.securityContext.", expected);
    };
    pod(
        json!({"runAsUser": -1, "fsGroup": 4_294_967_296_i64, "supplementalGroups": [0, -1]}),
        &[
            &format!("fsGroup: Invalid value: 4294967296: {range}"),
            &format!("runAsUser: Invalid value: -1: {range}"),
            &format!("supplementalGroups[1]: Invalid value: -1: {range}"),
        ],
    );
    pod(
        json!({"fsGroupChangePolicy": "x"}),
        &["fsGroupChangePolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnRootMismatch\""],
    );
    pod(
        json!({"sysctls": [{"name": "a.b", "value": ""}, {"name": "a.b", "value": ""}, {"name": "A", "value": ""}]}),
        &[
            "sysctls[1].name: Duplicate value: \"a.b\"",
            "sysctls[2].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        ],
    );
    check(
        json!({"hostPID": true, "shareProcessNamespace": true}),
        &[
            "securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
        ],
    );
    check(
        json!({"os": {"name": "plan9"}}),
        &["os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""],
    );
    check(
        json!({"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}, "shareProcessNamespace": true}),
        &[
            "shareProcessNamespace: Forbidden: cannot be set for a windows pod",
            "securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
        ],
    );
    check(
        json!({"hostUsers": false, "hostNetwork": true}),
        &["hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false"],
    );
}

#[test]
fn security_contexts_of_containers_are_checked() {
    let check_context = |context: Value, expected: &str| {
        let container = json!({"name": "a", "image": "x", "securityContext": context});
        check_in(json!({"containers": [container]}), "spec.containers[0].securityContext", &[expected]);
    };
    check_context(
        json!({"seccompProfile": {"type": "Foo"}}),
        ".seccompProfile.type: Unsupported value: \"Foo\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
    );
    check_context(
        json!({"seccompProfile": {"type": "Localhost"}}),
        ".seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
    );
    check_context(
        json!({"appArmorProfile": {"type": "Unconfined", "localhostProfile": "x"}}),
        ".appArmorProfile.localhostProfile: Invalid value: \"x\": can only be set when AppArmor type is Localhost",
    );
    check_context(
        json!({"privileged": true, "allowPrivilegeEscalation": false}),
        ": Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
    );
    check_context(
        json!({"procMount": "Unmasked"}),
        ".procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
    );
}

#[test]
fn what_containers_ask_for_is_checked() {
    check_container(
        json!({"resources": {"requests": {"example.com/x": "1"}}}),
        &["resources.limits: Required value: Limit must be set for non overcommitable resources"],
    );
    check_container(
        json!({"resources": {"requests": {"example.com/x": "1"}, "limits": {"example.com/x": "2"}}}),
        &["resources.requests: Invalid value: \"1\": must be equal to example.com/x limit of 2"],
    );
    check_container(
        json!({"resources": {"limits": {"hugepages-2Mi": "2Mi"}}}),
        &["resources: Forbidden: HugePages require cpu or memory"],
    );
    check_container(
        json!({"resources": {"claims": [{"name": "x"}]}}),
        &["resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty"],
    );
    check_container(
        json!({"ports": [{"containerPort": 80, "hostPort": 1}, {"containerPort": 81, "hostPort": 1}]}),
        &["ports[1].hostPort: Duplicate value: \"TCP//1\""],
    );
    check_container(
        json!({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]}),
        &["resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\""],
    );
    let rule = |action: &str, codes: Value| json!([{"action": action, "exitCodes": codes}]);
    let codes = json!({"operator": "In", "values": [42]});
    check_container(
        json!({"restartPolicyRules": rule("Restart", codes.clone())}),
        &["restartPolicy: Required value: must specify restartPolicy when restart rules are used"],
    );
    check_container(
        json!({"restartPolicy": "Maybe"}),
        &["restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", \"OnFailure\""],
    );
    check_container(
        json!({"restartPolicy": "Never", "restartPolicyRules": rule("Stop", codes)}),
        &["restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\""],
    );
    check_container(
        json!({"restartPolicy": "Never", "restartPolicyRules": rule("Restart", json!(null))}),
        &["restartPolicyRules[0].exitCodes: Required value: must be specified"],
    );
    check_container(
        json!({"restartPolicy": "Never", "restartPolicyRules": rule("Restart", json!({"operator": "Is"}))}),
        &["restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\""],
    );
    check_container(
        json!({"lifecycle": {"preStop": {"sleep": {"seconds": 100}}}}),
        &[
            "lifecycle.preStop.sleep: Invalid value: 100: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ],
    );
    let from_file = |file: Value| {
        let env = json!([{"name": "A", "valueFrom": {"fileKeyRef": file}}]);
        let volumes = json!([{"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]);
        json!({"volumes": volumes, "containers": [{"name": "a", "image": "x:1", "env": env}]})
    };
    let file = "containers[0].env[0].valueFrom.fileKeyRef.";
    check(
        from_file(json!({"volumeName": "", "path": "", "key": ""})),
        &[
            &format!("{file}key: Required value"),
            &format!("{file}volumeName: Required value"),
            &format!("{file}path: Required value"),
        ],
    );
    check(
        from_file(json!({"volumeName": "x", "path": "../a", "key": "A"})),
        &[
            &format!("{file}volumeName: Not found: \"x\""),
            &format!("{file}path: Invalid value: \"../a\": must not contain '..'"),
        ],
    );
    check(
        from_file(json!({"volumeName": "c", "path": "a", "key": "A"})),
        &[&format!("{file}volumeName: Invalid value: \"c\": referenced volume must be of type emptyDir")],
    );
    check_container(
        json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v2", "fieldPath": "metadata.name"}}}]}),
        &[
            "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name\": error converting fieldPath: unsupported pod version: v2",
        ],
    );
    check_container(
        json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]}),
        &[
            "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
        ],
    );
    let port = json!([{"containerPort": 80, "hostPort": 81}]);
    check(
        json!({"hostNetwork": true, "containers": [{"name": "a", "image": "x", "ports": port}]}),
        &["containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"],
    );
    check(
        json!({"resourceClaims": [{"name": "a"}]}),
        &[
            "resourceClaims[0]: Invalid value: {\"name\":\"a\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        ],
    );
}

#[test]
fn mounts_and_devices_are_checked() {
    let check_mount = |mut mount: Value, expected: &str| {
        merge(&mut mount, json!({"name": "v", "mountPath": "/a"}));
        let container = json!({"name": "a", "image": "x", "volumeMounts": [mount]});
        let change = json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [container]});
        check_in(change, "spec.containers[0].volumeMounts.", &[expected]);
    };
    check_mount(
        json!({"mountPropagation": "Foo"}),
        "mountPropagation: Unsupported value: \"Foo\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
    );
    check_mount(
        json!({"mountPropagation": "Bidirectional"}),
        "mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
    );
    check_mount(
        json!({"recursiveReadOnly": "Enabled"}),
        "recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
    );
    check_container(
        json!({"volumeDevices": [{"name": "x", "devicePath": "/a/../b"}]}),
        &[
            "volumeDevices[0].devicePath: Invalid value: \"/a/../b\": can not contain backsteps ('..')",
            "volumeDevices[0].name: Not found: \"x\"",
        ],
    );
}

#[test]
fn sources_of_volumes_are_checked() {
    check_volume(
        json!({"emptyDir": {"sizeLimit": "-1"}}),
        &["emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
    );
    check_volume(
        json!({"hostPath": {"path": "/a/../b"}}),
        &["hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
    );
    check_volume(
        json!({"hostPath": {"path": "/a", "type": "Foo"}}),
        &[
            "hostPath.type: Unsupported value: \"Foo\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ],
    );
    check_volume(
        json!({"secret": {"secretName": "a", "items": [{"key": "k", "path": "..x"}]}}),
        &["secret.items[0].path: Invalid value: \"..x\": must not start with '..'"],
    );
    check_volume(
        json!({"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}}),
        &["downwardAPI.resourceFieldRef.containerName: Required value"],
    );
    check_volume(
        json!({"projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}}),
        &["projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"],
    );
    let item = json!([{"key": "k", "path": "x"}]);
    check_volume(
        json!({"projected": {"sources": [{"secret": {"name": "a", "items": item}}, {"configMap": {"name": "b", "items": item}}]}}),
        &["projected: Invalid value: \"b\": conflicting duplicate paths"],
    );
    check_volume(
        json!({"projected": {"sources": [{"serviceAccountToken": {"path": "", "expirationSeconds": 600}}]}}),
        &["projected.path: Required value"],
    );
    check_volume(
        json!({"nfs": {"server": "", "path": "x"}}),
        &["nfs.path: Invalid value: \"x\": must be an absolute path", "nfs.server: Required value"],
    );
    check_volume(
        json!({"image": {"reference": "x", "pullPolicy": "Foo"}}),
        &["image.pullPolicy: Unsupported value: \"Foo\": supported values: \"Always\", \"IfNotPresent\", \"Never\""],
    );
    check_volume(json!({"ephemeral": {}}), &["ephemeral.volumeClaimTemplate: Required value"]);
    check_volume(json!({"azureFile": {"secretName": "a", "shareName": ""}}), &["azureFile.shareName: Required value"]);
    check_volume(
        json!({"fc": {}}),
        &["fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"],
    );
    check_volume(
        json!({"flexVolume": {"driver": "a/b", "options": {"k8s.io/x": "y"}}}),
        &[
            "flexVolume.options[k8s.io/x]: Invalid value: \"k8s.io/x\": kubernetes.io and k8s.io namespaces are reserved",
        ],
    );
}
