//! Expressions of policies and of webhooks' conditions, from the documentation and tests of Kubernetes and from policies of others.

use serde_json::json;

use crate::policy::{Policy, webhook_faults};

/// Nothing is wrong with a policy that has all of that.
fn check(project: &str, field: &str, expressions: &[&str]) {
    let variables = json!([
        {"name": "containers", "expression": "object.spec.template.spec.containers"},
        {"name": "all", "expression": "(has(object.spec.containers) ? object.spec.containers : []) + (has(object.spec.initContainers) ? object.spec.initContainers : [])"},
        {"name": "labels", "expression": "has(object.metadata.labels) ? object.metadata.labels : {}"},
        {"name": "optional", "expression": "object.?spec.?template.?spec.?nodeSelector.orValue({})"},
        {"name": "environment", "expression": "'environment' in namespaceObject.metadata.labels ? namespaceObject.metadata.labels['environment'] : 'prod'"},
        {"name": "wanted", "expression": "'from-variable'"},
        {"name": "limits", "expression": "{'prod': 5, 'test': 1}"},
        {"name": "bad", "expression": "variables.all.filter(c, !c.image.startsWith('registry.example.com/')).map(c, c.name)"},
    ]);
    for expression in expressions {
        let mut spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "variables": variables});
        spec[field] = match field {
            "validations" | "matchConditions" => json!([{"name": "n", "expression": expression}]),
            "messages" => json!([]),
            "auditAnnotations" => json!([{"key": "k", "valueExpression": expression}]),
            "applyConfiguration" | "jsonPatch" => json!([]),
            _ => panic!("{field}"),
        };
        match field {
            "messages" => spec["validations"] = json!([{"expression": "false", "messageExpression": expression}]),
            "applyConfiguration" => {
                spec["mutations"] =
                    json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]);
            }
            "jsonPatch" => {
                spec["mutations"] = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]);
            }
            _ => {}
        }
        let policy = Policy::compile(&json!({"metadata": {"name": "p"}, "spec": spec}));
        let faults: Vec<String> = policy.faults().iter().map(ToString::to_string).collect();
        assert_eq!(faults, Vec::<String>::new(), "{project}: {expression}");
    }
}

#[test]
fn validations_are_taken() {
    check(
        "Kubernetes, documentation and tests; pod security; others",
        "validations",
        &[
            "object.spec.replicas <= 5",
            "object.spec.replicas <= int(params.data.maxReplicas)",
            "params == null || object.spec.replicas <= params.maxReplicas",
            "!has(params.maxReplicas) || object.spec.replicas <= params.maxReplicas",
            "variables.containers.all(c, !c.image.contains('bad'))",
            "variables.environment == 'prod' || variables.containers.all(c, c.image.startsWith('test/'))",
            "variables.environment in variables.limits && object.spec.replicas <= variables.limits[variables.environment]",
            "object.metadata.name.endsWith('k8s') && request.operation in ['CREATE', 'UPDATE']",
            "oldObject == null || object.spec == oldObject.spec",
            "oldObject != null ? object.spec.replicas >= oldObject.spec.replicas : true",
            "has(object.metadata.labels) && 'team' in object.metadata.labels && object.metadata.labels['team'] != ''",
            "has(object.spec.securityContext) && has(object.spec.securityContext.runAsNonRoot) && object.spec.securityContext.runAsNonRoot == true",
            "variables.all.all(c, has(c.securityContext) && has(c.securityContext.allowPrivilegeEscalation) && c.securityContext.allowPrivilegeEscalation == false)",
            "variables.all.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add) || c.securityContext.capabilities.add.all(x, x in ['NET_BIND_SERVICE', 'CHOWN']))",
            "object.spec.containers.all(c, c.?securityContext.?runAsUser.orValue(0) != 0)",
            "object.metadata.?annotations[?'cost-center'].orValue('') != '' || object.metadata.?labels[?'environment'].orValue('') == 'dev'",
            "object.spec.?containers.orValue([]).all(c, c.image.contains(':') && !c.image.endsWith(':latest')) && object.spec.?template.?spec.?containers.orValue([]).all(c, c.image.contains(':'))",
            "object.spec.?jobTemplate.?spec.?template.?spec.?containers.orValue([]).all(c, c.image.startsWith('r/')) || variables.optional.size() == 0",
            "variables.all.all(c, c.image.substring(c.image.lastIndexOf('/') + 1).contains(':'))",
            "variables.bad.size() == 0 && size(variables.bad) == 0 && variables.bad == []",
            "object.spec.template.spec.containers.all(c, has(c.resources) && has(c.resources.limits) && quantity(c.resources.limits.memory).isLessThan(quantity('4Gi')))",
            "object.spec.containers.map(c, quantity(c.resources.requests.cpu)).all(q, q.compareTo(quantity('1')) <= 0)",
            "object.spec.ports.all(p, p.port >= 1024 && (type(p.targetPort) == string || p.targetPort > 1024))",
            "authorizer.group('').resource('pods').subresource('exec').namespace('default').check('create').allowed()",
            "authorizer.requestResource.check('custom').allowed() || authorizer.path('/healthz').check('get').allowed()",
            "authorizer.serviceAccount('default', 'sa').group('apps').resource('deployments').name('n').check('delete').reason() == ''",
            "authorizer.group('').resource('pods').fieldSelector('spec.nodeName=n').labelSelector('a in (b)').check('list').errored() == false",
            "request.userInfo.username.startsWith('system:serviceaccount:') || request.userInfo.groups.exists(g, g == 'system:masters')",
            "'authentication.kubernetes.io/node-name' in request.userInfo.extra && request.userInfo.extra['authentication.kubernetes.io/node-name'][0] == object.spec.nodeName",
            "has(request.userInfo.extra) && request.userInfo.extra.all(k, v, v.all(x, x != ''))",
            "request.?options.?propagationPolicy.orValue('') != 'Orphan' && !(request.dryRun)",
            "request.resource.group == 'apps' && request.requestKind.kind == 'Deployment' && request.subResource == '' && request.namespace != 'kube-system'",
            "namespaceObject.metadata.labels['environment'] == 'test' && has(namespaceObject.metadata.annotations) && namespaceObject.status.phase == 'Active'",
            "namespaceObject.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z') && namespaceObject.spec.finalizers.exists(f, f == 'kubernetes')",
            "object.spec.rules.all(r, r.host.matches('^[a-z.]+$')) && object.spec.?tls.orValue([]).map(t, t.?hosts.orValue([])).all(h, h.size() > 0)",
            "object.metadata.labels.all(k, !k.contains('x')) && object.metadata.labels.exists(k, v, k == v)",
            "object.webhooks.all(w, w.?failurePolicy.orValue('Fail') == 'Ignore' || w.rules.all(r, !('*' in r.apiGroups)))",
            "[object.spec.a, object.spec.b].filter(x, x != null).size() == 1 && [has(object.spec.a), has(object.spec.b)].exists_one(x, x)",
            "object.spec.schedule.split(' ').size() == 5 && int(object.spec.schedule.split(' ')[0]) < 60",
            "object.spec.volumes.all(v, ['configMap', 'secret', 'emptyDir'].exists(k, k in v)) && dyn(object.spec.volumes).size() < 10",
            "object.data.all(k, isIP(object.data[k]) || isCIDR(object.data[k]) || isURL(object.data[k]))",
            "(has(object.spec.replicas) ? object.spec.replicas : 1) >= 1 && (object.spec.?replicas.orValue(1) + 1) * 2 > 2",
            "object.spec.items.sum() > 3 && object.spec.items.isSorted() && object.spec.items.max() < object.spec.limit && object.spec.names.join(',') != ''",
            "variables.labels.transformMap(k, v, v + 'x').size() > 0 && sets.contains(object.spec.a, ['x']) && sets.intersects(variables.bad, object.spec.names)",
            "string(object.spec.replicas) == '1' && duration(object.spec.period) < duration('1h') && timestamp(object.metadata.creationTimestamp) < timestamp('2030-01-01T00:00:00Z')",
            "object.spec.port == 80 ? true : object.spec.name == 'x'",
            "object.spec.n - 1 > 0 && -object.spec.n < 0 && object.spec.n % 2 == 0 && object.spec.x / object.spec.y >= 1 && object.spec.s + 'a' == 'ba'",
        ],
    );
    let params = "object.metadata.namespace == params.metadata.namespace && params.spec.allowed.exists(a, object.spec.image.startsWith(a))";
    check(
        "Kubernetes, params",
        "validations",
        &[params, "params.data[object.metadata.name] == 'x' && int(params.data['max']) > 3"],
    );
}

#[test]
fn messages_annotations_and_conditions_are_taken() {
    check(
        "messages",
        "messages",
        &[
            "'wants replicas > 1, got ' + object.spec.replicas",
            "'object.spec.replicas must be no greater than ' + string(params.maxReplicas)",
            "'Replicas ' + string(object.spec.replicas) + ' exceeds limit ' + params.data.maxReplicas",
            "'denied: ' + object.metadata.name + ' in ' + request.namespace",
            "'%s has %d of %s'.format([object.metadata.name, object.spec.replicas, variables.bad])",
            "'not from us: ' + variables.bad.join(', ') + string(variables.limits['prod'])",
            "variables.environment + ' only'",
        ],
    );
    check(
        "audit annotations",
        "auditAnnotations",
        &["'checked'", "'by ' + request.userInfo.username", "null", "string(object.spec.replicas)"],
    );
    let conditions = [
        "!(request.resource.group == 'coordination.k8s.io' && request.resource.resource == 'leases')",
        "!('system:nodes' in request.userInfo.groups)",
        "request.resource.group != 'rbac.authorization.k8s.io' && object.metadata.namespace != 'kube-system'",
        "!object.metadata.namespace.startsWith('kube-')",
        "authorizer.group('admissionregistration.k8s.io').resource('validatingwebhookconfigurations').name('my-webhook.example.com').check('breakglass').allowed() == false",
        "has(object.metadata.labels) && object.metadata.labels.exists(k, k == 'a')",
        "request.operation == 'DELETE' || object.metadata.?labels[?'skip'].orValue('') != 'true'",
    ];
    check("Kubernetes, cert-manager, Kyverno", "matchConditions", &conditions);
    let conditions: Vec<_> = conditions.iter().map(|condition| json!({"name": "n", "expression": condition})).collect();
    let faults = webhook_faults(&json!({"webhooks": [{"matchConditions": conditions}]}));
    assert_eq!(faults.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn mutations_are_taken() {
    check(
        "Kubernetes, Kyverno",
        "applyConfiguration",
        &[
            "Object{spec: Object.spec{replicas: object.spec.replicas + 100}}",
            "Object{metadata: Object.metadata{labels: {'env': 'prod', 'x': variables.wanted}}}",
            "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{volumes: [Object.spec.template.spec.volumes{name: 'y'}]}}}}",
            "Object{spec: Object.spec{containers: object.spec.containers.map(c, Object.spec.containers{name: c.name, imagePullPolicy: has(c.imagePullPolicy) ? c.imagePullPolicy : 'IfNotPresent'})}}",
            "!has(object.spec.template.spec.terminationGracePeriod) ? Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{terminationGracePeriod: '4h'}}}} : Object{}",
            "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'mesh-proxy', image: 'mesh/proxy:v1.0.0', args: ['proxy', 'sidecar'], restartPolicy: 'Always', env: [Object.spec.initContainers.env{name: 'A', value: 'b'}]}]}}",
            "Object{metadata: Object.metadata{annotations: {'v': string(object.spec.replicas)}}, spec: Object.spec{paused: true, ratio: 1.5, selector: Object.spec.selector{matchLabels: variables.labels}}}",
            "Object{spec: Object.spec{?serviceAccountName: object.spec.?name, securityContext: has(object.spec.x) ? Object.spec.securityContext{} : Object.spec.securityContext{runAsNonRoot: true}}}",
        ],
    );
    check(
        "Kubernetes, Kyverno",
        "jsonPatch",
        &[
            "[JSONPatch{op: 'test', path: '/spec/replicas', value: 1}, JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 2}]",
            "[JSONPatch{op: 'add', path: '/spec/selector', value: Object.spec.selector{matchLabels: {'environment': 'test'}}}]",
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/environment'), value: 'test'},]",
            "has(object.metadata.labels) ? [JSONPatch{op: 'add', path: '/metadata/labels/x', value: 'true'}] : [JSONPatch{op: 'add', path: '/metadata/labels', value: {'x': 'true'}}]",
            "(!has(object.metadata.labels) ? [JSONPatch{op: 'add', path: '/metadata/labels', value: {}}] : []) + (variables.labels.size() == 0 ? [JSONPatch{op: 'add', path: '/a', value: 'u'}] : [])",
            "object.spec.containers.map(c, JSONPatch{op: 'add', path: '/x', value: c.name})",
            "variables.bad.map(k, JSONPatch{op: 'remove', path: '/metadata/labels/' + jsonpatch.escapeKey(k)}) + variables.bad.map(k, JSONPatch{op: 'remove', path: '/spec/selector/' + k})",
            "object.spec.containers.map(c, has(c.image) ? JSONPatch{op: 'add', path: '/a', value: 1} : null).filter(p, p != null)",
            "[JSONPatch{op: 'copy', from: '/a', path: '/b'}, JSONPatch{op: 'add', path: '/c', value: null}, JSONPatch{op: 'add', path: '/d', value: [1, 2]}]",
            "variables.wanted == 'x' ? [] : [JSONPatch{op: 'remove', path: '/a'}]",
            "[]",
        ],
    );
}
