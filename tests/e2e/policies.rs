//! Policies of admission, as kubectl's users write them.

use crate::kubectl::{cluster, has};

/// A policy and its binding; `spec` and `bound` are YAML below their specs.
fn bound(kind: &str, name: &str, resources: &str, spec: &str, bound: &str) -> String {
    let (group, version) = match resources.split_once('/') {
        Some((group, _)) => (group, "v1"),
        None => ("", "v1"),
    };
    let resource = resources.rsplit('/').next().unwrap_or_default();
    format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: ["{group}"], apiVersions: ["{version}"], operations: [CREATE, UPDATE], resources: ["{resource}"]}}
{spec}
---
apiVersion: admissionregistration.k8s.io/v1
kind: {kind}Binding
metadata: {{name: {name}}}
spec:
  policyName: {name}
{bound}
"#
    )
}

fn config(name: &str, rest: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n{rest}\n")
}

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
"#;

#[tokio::test]
async fn mutating_policies_change_what_is_written() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    let apply = async |manifest: &str| kubectl.with_manifest("apply", manifest).await;
    apply(&config("limits", "data: {most: '3', team: red}")).await;
    let limited = bound(
        "MutatingAdmissionPolicy",
        "limited",
        "apps/deployments",
        r#"
  paramKind: {apiVersion: v1, kind: ConfigMap}
  reinvocationPolicy: IfNeeded
  variables: [{name: least, expression: "object.spec.replicas < 1 ? int(params.data.most) : object.spec.replicas"}]
  matchConditions: [{name: by-users, expression: "!request.userInfo.username.startsWith('system:')"}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: >-
        Object{metadata: Object.metadata{labels: {"team": params.data.team}},
        spec: Object.spec{replicas: variables.least, template: Object.spec.template{spec: Object.spec.template.spec{
        containers: object.spec.template.spec.containers.map(c,
        Object.spec.template.spec.containers{name: c.name, tty: true})}}}}
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b"), value: "c"}]'"#,
        "  paramRef: {name: limits, namespace: default, parameterNotFoundAction: Deny}",
    );
    has(&apply(&limited).await, &["mutatingadmissionpolicy.admissionregistration.k8s.io/limited created"]);
    has(
        &kubectl.ok("get mutatingadmissionpolicies").await,
        &["MUTATIONS", "PARAMKIND", "limited", "2", "v1/ConfigMap"],
    );
    has(&kubectl.ok("get mutatingadmissionpolicybindings").await, &["POLICYNAME", "PARAMREF", "default/limits"]);
    has(&kubectl.ok("explain mutatingadmissionpolicy.spec.mutations").await, &["applyConfiguration", "patchType"]);
    apply(DEPLOYMENT).await;
    let shown = "get deployment web -o jsonpath={.spec.replicas}/{.metadata.labels.team}/{.metadata.labels.a\\/b}\
                 /{.spec.template.spec.containers[0].tty}";
    assert_eq!(kubectl.ok(shown).await, "3/red/c/true");
    kubectl.ok("scale deployment web --replicas=2").await;
    kubectl.ok("label deployment web team=blue --overwrite").await;
    assert_eq!(kubectl.ok(shown).await, "2/red/c/true");

    let refused = async |manifest: &str, parts: &[&str]| {
        has(&kubectl.words(&["apply", "-f", "-"], manifest).await.refused(), parts);
    };
    // The parameters go: the binding says that nothing may be written without.
    kubectl.ok("delete configmap limits").await;
    refused(&DEPLOYMENT.replace("web}", "other}"), &["no params found for policy binding with `Deny`"]).await;
    kubectl.ok("delete mutatingadmissionpolicybinding limited").await;
    apply(&DEPLOYMENT.replace("name: web}\nspec", "name: other}\nspec")).await;

    let broken = |policy: &str, how: &str| {
        let spec = format!(
            "  failurePolicy: {policy}\n  reinvocationPolicy: Never\n  mutations:\n  - patchType: ApplyConfiguration\n    \
             applyConfiguration: {{expression: '{how}'}}"
        );
        bound("MutatingAdmissionPolicy", "broken", "configmaps", &spec, "  matchResources: {}")
    };
    apply(&broken("Fail", "Object{data: Object.data{a: object.none}}")).await;
    refused(&config("a", ""), &["policy 'broken' with binding 'broken' denied request", "no such key: none"]).await;
    apply(&broken("Ignore", "Object{data: Object.data{a: object.none}}")).await;
    apply(&config("a", "")).await;
    apply(&broken("Fail", "Object{data: Object.data{a: \"b\"}, spec: Object.spec{}}")).await;
    refused(&config("b", ""), &["field not declared in schema"]).await;
    refused(&broken("Fail", "Object{"), &["spec.mutations[0].applyConfiguration.expression", "Syntax error"]).await;
    cluster.stop().await;
}

#[tokio::test]
async fn validating_policies_refuse_and_warn() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    let policy = |action: &str| {
        bound(
            "ValidatingAdmissionPolicy",
            "named",
            "configmaps",
            r#"
  validations:
  - {expression: "has(object.data) && 'owner' in object.data", messageExpression: "object.metadata.name + ' needs an owner'", reason: Forbidden}"#,
            &format!("  validationActions: [{action}]"),
        )
    };
    kubectl.with_manifest("apply", &policy("Deny")).await;
    let run = kubectl.words(&["apply", "-f", "-"], &config("a", "")).await;
    has(
        &run.refused(),
        &["(Forbidden)", "ValidatingAdmissionPolicy 'named' with binding 'named' denied request: a needs an owner"],
    );
    kubectl.with_manifest("apply", &config("a", "data: {owner: me}")).await;
    has(
        &kubectl
            .words(&["patch", "cm", "a", "--type=json", "-p", r#"[{"op":"remove","path":"/data/owner"}]"#], "")
            .await
            .refused(),
        &["needs an owner"],
    );
    kubectl.with_manifest("apply", &policy("Warn")).await;
    let run = kubectl.words(&["apply", "-f", "-"], &config("b", "")).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    has(
        &run.stderr,
        &["Warning: Validation failed for ValidatingAdmissionPolicy 'named' with binding 'named': b needs an owner"],
    );
    cluster.stop().await;
}

#[tokio::test]
async fn validating_policies_judge_deletes_scales_and_connections() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    let policy = |name: &str, resource: &str, part: &str, operation: &str, expression: &str, message: &str| {
        let spec = format!("  validations:\n  - {{expression: \"{expression}\", messageExpression: \"{message}\"}}");
        let manifest = bound("ValidatingAdmissionPolicy", name, resource, &spec, "  validationActions: [Deny, Audit]");
        let plural = resource.rsplit('/').next().unwrap_or_default();
        manifest
            .replace("[CREATE, UPDATE]", &format!("[{operation}]"))
            .replace(&format!("[\"{plural}\"]"), &format!("[\"{plural}{part}\"]"))
    };
    let bot = "authorizer.serviceAccount('default', 'default').group('').resource('configmaps').check('get')";
    let kept = format!(
        "object != null || !has(oldObject.metadata.labels) || {bot}.allowed() || !{}.allowed()",
        "authorizer.requestResource.check('purge')"
    );
    for manifest in [
        policy("kept", "configmaps", "", "DELETE", &kept, "oldObject.metadata.name + ' is kept'"),
        policy(
            "few",
            "apps/deployments",
            "/scale",
            "UPDATE",
            "object.spec.replicas < 3 || request.kind.kind != 'Scale'",
            "'too many: ' + string(object.spec.replicas)",
        ),
        policy("closed", "pods", "/exec", "CONNECT", "object.command[0] != 'sh'", "'no shells in ' + request.name"),
        config("a", "").replace("{name: a}", "{name: a, labels: {keep: me}}"),
        config("b", ""),
        DEPLOYMENT.to_owned(),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web}]}\n".to_owned(),
    ] {
        kubectl.with_manifest("apply", &manifest).await;
    }
    let refused = async |words: &[&str], part: &str| {
        has(&kubectl.words(words, "").await.refused(), &[part, "denied request"]);
    };
    refused(&["delete", "configmap", "a"], "a is kept").await;
    refused(&["delete", "configmaps", "-l", "keep"], "a is kept").await;
    kubectl.ok("delete configmap b").await;
    kubectl.ok("label configmap a keep-").await;
    kubectl.ok("delete configmap a").await;
    refused(&["scale", "deployment", "web", "--replicas=5"], "too many: 5").await;
    kubectl.ok("scale deployment web --replicas=2").await;
    refused(&["exec", "web", "--", "sh"], "no shells in web").await;
    let run = kubectl.words(&["exec", "web", "--", "ls"], "").await;
    assert!(!run.stderr.contains("denied request"), "{run:?}");
    cluster.stop().await;
}
