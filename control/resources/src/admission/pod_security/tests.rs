use serde_json::json;

use super::*;

fn standard(text: &str) -> Standard {
    let (level, given) = text.split_once(':').expect("a standard");
    let level = LEVELS.iter().find(|(name, _)| *name == level).expect("a level").1;
    Standard { level, minor: version(given).expect("a version") }
}

fn judged(under: &str, spec: Value) -> String {
    verdict(standard(under), &json!({}), &spec).unwrap_or_default()
}

fn one(context: Value) -> Value {
    json!({"containers": [{"name": "c", "securityContext": context}]})
}

const CAREFUL: &str = r#"{"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
                          "seccompProfile": {"type": "RuntimeDefault"}}"#;

fn careful(more: Value) -> Value {
    let mut context: Value = serde_json::from_str(CAREFUL).expect("JSON");
    context.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    one(context)
}

#[test]
fn pods_are_judged_by_the_standard() {
    fn check(under: &str, spec: Value, expected: &str) {
        assert_eq!(judged(under, spec.clone()), expected, "{under} {spec}");
    }
    let (restricted, baseline) = ("restricted:latest", "baseline:latest");
    check("privileged:latest", one(json!({"privileged": true})), "");
    check(baseline, one(json!({})), "");
    check(
        restricted,
        one(json!({})),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or \
         container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    check(restricted, careful(json!({})), "");
    check(
        baseline,
        one(json!({"privileged": true})),
        "privileged (container \"c\" must not set securityContext.privileged=true)",
    );
    let host = json!({"hostNetwork": true, "hostPID": true, "containers": [{"name": "c", "ports": [{"hostPort": 80}]}],
                      "volumes": [{"name": "v", "hostPath": {"path": "/"}}]});
    check(
        baseline,
        host,
        "host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"v\"), hostPort (container \"c\" uses \
         hostPort 80)",
    );
    check(
        baseline,
        one(json!({"capabilities": {"add": ["CHOWN", "NET_ADMIN"]}})),
        "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
    );
    check(
        restricted,
        careful(json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}})),
        "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
    );
    check(restricted, careful(json!({"runAsUser": 0})), "runAsUser=0 (container \"c\" must not set runAsUser=0)");
    check("restricted:v1.22", careful(json!({"runAsUser": 0})), "");
    let mut with_volume = careful(json!({}));
    with_volume["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "e", "emptyDir": {}}]);
    check(restricted, with_volume, "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")");
    let mut roots = careful(json!({"runAsNonRoot": false}));
    roots["securityContext"] = json!({"runAsNonRoot": false});
    check(
        restricted,
        roots,
        "runAsNonRoot != true (pod and container \"c\" must not set securityContext.runAsNonRoot=false)",
    );
    let unconfined = json!({"seccompProfile": {"type": "Unconfined"}});
    let words = "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")";
    check(baseline, one(unconfined.clone()), words);
    check(restricted, careful(unconfined), words);
    let sysctls = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}, {"name": "kernel.x"}]}});
    check(baseline, sysctls.clone(), "forbidden sysctls (kernel.x)");
    check("baseline:v1.20", sysctls, "forbidden sysctls (net.ipv4.tcp_rmem, kernel.x)");
    let probed = json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "h"}}}]});
    check(baseline, probed.clone(), "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")");
    check("baseline:v1.33", probed, "");
    check(
        baseline,
        one(json!({"seLinuxOptions": {"type": "x", "user": "u"}})),
        "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set)",
    );
    check(
        baseline,
        one(json!({"appArmorProfile": {"type": "Unconfined"}})),
        "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
    );
    check(
        baseline,
        one(json!({"procMount": "Unmasked", "windowsOptions": {"hostProcess": true}})),
        "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\"), hostProcess (container \"c\" \
         must not set securityContext.windowsOptions.hostProcess=true)",
    );
}

#[test]
fn labels_choose_the_standard() {
    fn check(labels: &[(&str, &str)], expected: [&str; 3], errors: usize) {
        let labels =
            labels.iter().map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), (*value).to_owned()));
        let (policy, found) = Policy::of_labels(&labels.collect());
        assert_eq!([policy.enforce, policy.audit, policy.warn].map(|standard| standard.to_string()), expected);
        assert_eq!(found.len(), errors);
    }
    let none = "privileged:latest";
    check(&[], [none; 3], 0);
    check(&[("enforce", "baseline"), ("enforce-version", "v1.30")], ["baseline:v1.30", none, "baseline:v1.30"], 0);
    check(&[("warn", "restricted")], [none, none, "restricted:latest"], 0);
    check(&[("enforce", "restricted"), ("warn", "baseline")], ["restricted:latest", none, "baseline:latest"], 0);
    check(&[("enforce", "strict"), ("warn-version", "1.2")], ["restricted:latest", none, none], 2);
}

#[test]
fn pods_that_are_there_are_told_together() {
    let (bad, good) = (json!({"spec": one(json!({"privileged": true}))}), json!({"spec": one(json!({}))}));
    let told = existing("ns", standard("baseline:latest"), [("b", &bad), ("a", &bad), ("c", &good)].into_iter());
    let head = "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:latest\"";
    assert_eq!(told, [head, "a (and 1 other pod): privileged"]);
}
