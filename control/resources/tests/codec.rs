//! Bodies as clients send them, and what becomes of them.

use pal_resources::codec::{
    FieldValidation, Media, ShownPatch, conform, conform_patched, decode, decode_as, decode_json_patch, to_protobuf,
};
use pal_resources::resource::{Resource, find};
use serde_json::{Value, json};

const DEPLOYMENTS: (&str, &str, &str) = ("apps", "v1", "deployments");
const PODS: (&str, &str, &str) = ("", "v1", "pods");

fn read(resource: (&str, &str, &str), body: &str, mode: FieldValidation) -> Result<(Value, Vec<String>), String> {
    let resource = find(resource.0, resource.1, resource.2).expect("a built-in resource");
    match decode(Media::Json, body.as_bytes(), Some(&resource), mode) {
        Ok(decoded) => Ok((decoded.value, decoded.warnings)),
        Err(status) => {
            assert_eq!(status.code, 400, "{status:?}");
            Err(status.message)
        }
    }
}

#[test]
fn bodies_are_of_the_type_that_is_named_if_that_is_well_formed() {
    let check = |text: &str, expected: Option<Media>| assert_eq!(Media::from_content_type(text), expected, "{text:?}");
    check("", Some(Media::Json));
    check("application/json; charset=utf-8", Some(Media::Json));
    check("APPLICATION/JSON;", Some(Media::Json));
    check("application/yaml; a=b; c=d ;", Some(Media::Yaml));
    check("application/json; charset", None);
    check("application/json; =utf-8", None);
    check("application/json, application/yaml", None);
    check("text/plain", None);
    check("*/*", None);
    check("application/*", None);
}

#[test]
fn values_are_canonical() {
    let check = |resource, body: &str, expected: Value| {
        let (value, warnings) = read(resource, body, FieldValidation::Strict).expect("it is well formed");
        assert_eq!(value, expected);
        assert_eq!(warnings, Vec::<String>::new());
    };
    check(PODS, "{}", json!({"kind": "Pod", "apiVersion": "v1"}));
    check(PODS, " null\n", json!({"kind": "Pod", "apiVersion": "v1"}));
    check(
        PODS,
        r#"{"apiVersion":"v1","metadata":{"name":"a","creationTimestamp":null,"labels":{"x":null},"finalizers":[]},"kind":"Pod","status":{}}"#,
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"x": ""}}, "status": {}}),
    );
    check(
        DEPLOYMENTS,
        r#"{"metadata":{"managedFields":[]},"spec":{"template":{"metadata":{"managedFields":[]}}}}"#,
        json!({"kind": "Deployment", "apiVersion": "apps/v1",
               "metadata": {"managedFields": []}, "spec": {"template": {"metadata": {}}}}),
    );
    check(
        PODS,
        r#"{"spec":{"hostNetwork":false,"enableServiceLinks":false,"nodeName":"","terminationGracePeriodSeconds":0,"containers":[{"name":"","ports":[{"containerPort":80,"hostPort":0}],"resources":{"limits":{"cpu":0.5,"memory":"1024Mi","x":"1000m"}},"livenessProbe":{"httpGet":{"port":8080},"periodSeconds":0}}]}}"#,
        json!({"kind": "Pod", "apiVersion": "v1", "spec": {
            "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "500m", "memory": "1Gi", "x": "1"}},
                "livenessProbe": {"httpGet": {"port": 8080}}}],
        }}),
    );
    check(
        DEPLOYMENTS,
        r#"{"spec":{"replicas":0,"minReadySeconds":0,"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0}}}}"#,
        json!({"kind": "Deployment", "apiVersion": "apps/v1", "spec": {
            "replicas": 0, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        }}),
    );
}

#[test]
fn kind_and_version_may_stand_anywhere() {
    for version in ["v1", "/v1"] {
        let body = format!(r#"{{"metadata":{{"name":"a"}},"apiVersion":"{version}","kind":"Pod"}}"#);
        let (value, _) = read(PODS, &body, FieldValidation::Strict).expect("it is well formed");
        assert_eq!(value, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}));
    }
}

#[test]
fn what_is_empty_is_gone_unless_that_says_something() {
    let check = |place: (&str, &str, &str), body: Value, pointer: &str, kept: bool| {
        let resource = find(place.0, place.1, place.2).expect("built in");
        let conformed = conform(body, (&resource.group, &resource.version, &resource.kind), FieldValidation::Strict);
        let value = conformed.expect("it is well formed").value;
        assert_eq!(value.pointer(pointer).is_some(), kept, "{value}");
    };
    let scalers = ("autoscaling", "v2", "horizontalpodautoscalers");
    let rules = json!({"spec": {"maxReplicas": 1, "behavior": {"scaleUp": {"policies": []}}, "metrics": []}});
    check(scalers, rules.clone(), "/spec/behavior/scaleUp/policies", true);
    check(scalers, rules, "/spec/metrics", false);
    let definitions = ("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    let versions = json!({"spec": {"versions": [{"name": "v1", "deprecationWarning": ""}]}});
    check(definitions, versions, "/spec/versions/0/deprecationWarning", true);
    let pods = ("", "v1", "pods");
    check(
        pods,
        json!({"spec": {"securityContext": {"supplementalGroups": []}}}),
        "/spec/securityContext/supplementalGroups",
        false,
    );
}

#[test]
fn unknown_and_duplicate_fields_are_told_as_asked() {
    let body = r#"{"metadata":{"name":"a","name":"b","labels":{"k":"1","k":"2"}},"dta":1,
        "spec":{"containers":[{"name":"c","nope":{"deep":1}}],"replicas":1}}"#;
    let problems = [
        r#"duplicate field "metadata.name""#,
        r#"duplicate field "metadata.labels.k""#,
        r#"unknown field "dta""#,
        r#"unknown field "spec.containers[0].nope""#,
        r#"unknown field "spec.replicas""#,
    ];
    let refused = read(PODS, body, FieldValidation::Strict).expect_err("it has unknown fields");
    let words =
        format!("Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: {}", problems.join(", "));
    assert_eq!(refused, words);
    let (value, warnings) = read(PODS, body, FieldValidation::Warn).expect("they are passed over");
    assert_eq!(warnings, problems);
    assert_eq!(value["metadata"], json!({"name": "b", "labels": {"k": "2"}}));
    assert_eq!(value["spec"], json!({"containers": [{"name": "c"}]}));
    assert_eq!(read(PODS, body, FieldValidation::Ignore), Ok((value, vec![])));
}

#[test]
fn wrong_types_are_told_in_gos_words() {
    let check = |resource, body: &str, expected: &str| {
        let error = read(resource, body, FieldValidation::Ignore).expect_err(body);
        let words = error.split_once(": ").map(|(_, words)| words.to_owned());
        assert_eq!(words.as_deref(), Some(expected), "{error}");
    };
    let field = |got: &str, path: &str, ty: &str| {
        format!("json: cannot unmarshal {got} into Go struct field {path} of type {ty}")
    };
    check(DEPLOYMENTS, r#"{"spec":{"replicas":"3"}}"#, &field("string", "DeploymentSpec.spec.replicas", "int32"));
    check(DEPLOYMENTS, r#"{"spec":{"replicas":1.5}}"#, &field("number 1.5", "DeploymentSpec.spec.replicas", "int32"));
    check(
        DEPLOYMENTS,
        r#"{"spec":{"replicas":3000000000}}"#,
        &field("number 3000000000", "DeploymentSpec.spec.replicas", "int32"),
    );
    check(DEPLOYMENTS, r#"{"spec":[]}"#, &field("array", "Deployment.spec", "v1.DeploymentSpec"));
    check(PODS, r#"{"metadata":{"labels":{"a":1}}}"#, &field("number", "ObjectMeta.metadata.labels", "string"));
    check(PODS, r#"{"spec":{"containers":{}}}"#, &field("object", "PodSpec.spec.containers", "[]v1.Container"));
    check(PODS, r#"{"spec":{"containers":["a"]}}"#, &field("string", "PodSpec.spec.containers", "v1.Container"));
    check(
        PODS,
        r#"{"spec":{"containers":[{"env":[{"name":"A","value":true}]}]}}"#,
        &field("bool", "EnvVar.spec.containers.env.value", "string"),
    );
    check(
        PODS,
        r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}}"#,
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    check(("", "v1", "secrets"), r#"{"data":{"a":"*"}}"#, "illegal base64 data at input byte 0");
}

#[test]
fn bodies_that_are_none_are_refused() {
    let check = |body: &str, expected: &str| {
        assert_eq!(read(PODS, body, FieldValidation::Strict).expect_err(body), expected);
    };
    let headless =
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ";
    check("", &format!("{headless}unexpected end of JSON input (<empty>)"));
    check(
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"abcdef",
        &format!("{headless}unexpected end of JSON input ({{\"kind\":\"Pod\",\"metadata\":{{\"nam ...)"),
    );
    check("{} {}", &format!("{headless}invalid character '{{' after top-level value ({{}} {{}})"));
    check("{\0}", &format!("{headless}invalid character '\\x00' looking for beginning of object key string ({{\0}})"));
    check(
        "[1]",
        &format!(
            "{headless}json: cannot unmarshal array into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }} (5b315d)"
        ),
    );
    check(
        "{\"kind\":1}",
        &format!("{headless}json: cannot unmarshal number into Go struct field .kind of type string ({{\"kind\":1}})"),
    );
    let deep = format!(
        "{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{}1{}}}]}}}}",
        "{\"a\":".repeat(110),
        "}".repeat(110)
    );
    check(&deep, "Pod in version \"v1\" cannot be handled as a Pod: exceeded max depth");
}

#[test]
fn another_kind_than_the_path_names_is_refused() {
    let check = |body: &str, expected: &str| {
        assert_eq!(read(PODS, body, FieldValidation::Strict).expect_err(body), expected);
    };
    check(
        r#"{"kind":"Deployment","apiVersion":"apps/v1","spec":{"replicas":1}}"#,
        "Deployment in version \"v1\" cannot be handled as a Pod: converting (v1.Deployment) to (core.Pod): unknown conversion",
    );
    check(
        r#"{"kind":"Foo","apiVersion":"v1"}"#,
        "Foo in version \"v1\" cannot be handled as a Pod: no kind \"Foo\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
    );
}

#[test]
fn without_an_expected_kind_the_body_names_one() {
    let body = br#"{"kind":"ConfigMap","apiVersion":"v1","data":{"a":"b"}}"#;
    let decoded = decode(Media::Json, body, None, FieldValidation::Strict).expect("it is well formed");
    assert_eq!(decoded.value, json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "b"}}));
    let twice = br#"{"kind":"Pod","apiVersion":"v1","kind":"ConfigMap"}"#;
    let decoded = decode(Media::Json, twice, None, FieldValidation::Warn).expect("the last counts");
    assert_eq!(decoded.warnings, [r#"duplicate field "kind""#]);
    assert_eq!(decoded.value["kind"], "ConfigMap");
    let error = decode(Media::Json, b"{}", None, FieldValidation::Strict).expect_err("it has no kind");
    assert_eq!(error.message, "Object 'Kind' is missing in '{}'");
}

#[test]
fn yaml_is_read_as_json_is() {
    let body =
        b"kind: Pod\nmetadata:\n  name: a\n  name: b\nspec:\n  containers:\n  - {name: c, nope: 1}\n---\nkind: Other\n";
    let pods = find("", "v1", "pods").expect("a built-in resource");
    let decoded = decode(Media::Yaml, body, Some(&pods), FieldValidation::Warn).expect("it is well formed");
    let problems = [r#"line 4: key "name" already set in map"#, r#"unknown field "spec.containers[0].nope""#];
    assert_eq!(decoded.warnings, problems);
    let refused = decode(Media::Yaml, body, Some(&pods), FieldValidation::Strict).expect_err("it has an unknown field");
    assert_eq!(
        refused.message,
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: yaml: unmarshal errors:\n  line 4: key \
         \"name\" already set in map, unknown field \"spec.containers[0].nope\""
    );
    let expected =
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "b"}, "spec": {"containers": [{"name": "c"}]}});
    assert_eq!(decoded.value, expected);
    let error = decode(Media::Yaml, b"a: [", Some(&pods), FieldValidation::Warn).expect_err("it is cut off");
    assert!(
        error.message.starts_with(
            "the object provided is unrecognized (must be of type Pod): error converting YAML to JSON: yaml: "
        ),
        "{error}"
    );
}

#[test]
fn kinds_without_schema_are_kept_as_they_are() {
    let pods = find("", "v1", "pods").expect("a built-in resource");
    let custom =
        Resource { group: "example.com".into(), plural: "things".into(), kind: "Thing".into(), ..(*pods).clone() };
    let body =
        br#"{"kind":"Thing","apiVersion":"example.com/v1","metadata":{"name":"a"},"spec":{"x":null,"x":[],"y":0}}"#;
    for (media, problem) in
        [(Media::Json, r#"duplicate field "spec.x""#), (Media::Yaml, r#"line 1: key "x" already set in map"#)]
    {
        let decoded = decode(media, body, Some(&custom), FieldValidation::Warn).expect("it is well formed");
        assert_eq!(decoded.warnings, [problem]);
        let expected = json!({"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "a"}, "spec": {"x": [], "y": 0}});
        assert_eq!(decoded.value, expected);
    }
    let check = |body: &str, expected: &str| {
        let error = decode(Media::Json, body.as_bytes(), Some(&custom), FieldValidation::Warn).expect_err(body);
        assert_eq!(error.message, expected, "{body}");
    };
    check(
        r#"{"apiVersion":"example.com/v1"}"#,
        "the object provided is unrecognized (must be of type Thing): Object 'Kind' is missing in \
         '{\"apiVersion\":\"example.com/v1\"}' ({\"apiVersion\":\"example.com/v1\" ...)",
    );
    let version = |given: &str| {
        format!("the API version in the data ({given}) does not match the expected API version (example.com/v1)")
    };
    check(r#"{"kind":"Thing"}"#, &version(""));
    check(r#"{"kind":"Thing","apiVersion":"example.com/v2"}"#, &version("example.com/v2"));
    check(r#"{"kind":"Pod","apiVersion":"v1"}"#, &version("v1"));
}

#[test]
fn options_are_read_under_any_group() {
    let body = br#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}"#;
    let decoded = decode_as(Media::Json, body, Some(("apps", "v1", "DeleteOptions")), FieldValidation::Strict);
    assert_eq!(decoded.expect("it is well formed").value["propagationPolicy"], "Background");
}

#[test]
fn what_is_wrong_with_options_is_told_without_a_frame() {
    let check = |media: Media, body: &str, expected: &str| {
        let refused = decode_as(media, body.as_bytes(), Some(("", "v1", "DeleteOptions")), FieldValidation::Ignore);
        let refused = refused.expect_err("these are no options");
        assert_eq!((refused.code, refused.message.as_str()), (400, expected), "{body}");
    };
    let json = Media::Json;
    check(json, "{", "couldn't get version/kind; json parse error: unexpected end of JSON input");
    let words = "json: cannot unmarshal string into Go struct field DeleteOptions.dryRun of type []string";
    check(json, r#"{"kind":"DeleteOptions","apiVersion":"v1","dryRun":"All"}"#, words);
    let words = "no kind \"Pod\" is registered for version \"v1\" in scheme \
                 \"pkg/apis/meta/internalversion/scheme/register.go:27\"";
    check(json, r#"{"kind":"Pod","apiVersion":"v1"}"#, words);
    let words = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
    check(Media::Protobuf, "{}", words);
}

#[test]
fn what_a_patch_made_is_checked() {
    let kind = ("apps", "v1", "Deployment");
    let value = json!({"spec": {"foo": 1, "replicas": 2}});
    let error = conform(value.clone(), kind, FieldValidation::Strict).expect_err("it has an unknown field");
    assert_eq!(
        error.to_string(),
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.foo\""
    );
    let found = vec!["duplicate field \"spec.replicas\"".to_owned()];
    let error = conform_patched(
        value.clone(),
        ShownPatch::Strategic("map[spec:map[foo:1]]"),
        found,
        kind,
        FieldValidation::Strict,
    )
    .expect_err("so it has");
    assert_eq!(error.code, 422);
    assert_eq!(
        error.message,
        " \"\" is invalid: patch: Invalid value: \"map[spec:map[foo:1]]\": strict decoding error: duplicate field \
         \"spec.replicas\", unknown field \"spec.foo\""
    );
    let decoded = conform(value, kind, FieldValidation::Warn).expect("it is passed over");
    assert_eq!(decoded.value, json!({"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"replicas": 2}}));
}

#[test]
fn what_a_strategic_patch_made_is_no_text_that_could_be_decoded() {
    let check = |value: Value, expected: &str, of_text: &str| {
        let kind = ("apps", "v1", "Deployment");
        for (shown, words) in [(ShownPatch::Strategic("p"), expected), (ShownPatch::Object("p"), of_text)] {
            let error = conform_patched(value.clone(), shown, Vec::new(), kind, FieldValidation::Warn);
            let message = error.expect_err("it does not fit").message;
            assert_eq!(message.trim_start_matches(" \"\" is invalid: patch: Invalid value: \"p\": "), words, "{value}");
        }
    };
    let of_text = |got: &str, field: &str, ty: &str| {
        format!("json: cannot unmarshal {got} into Go struct field {field} of type {ty}")
    };
    check(
        json!({"metadata": {"labels": "invalid"}}),
        "cannot restore map from string",
        &of_text("string", "ObjectMeta.metadata.labels", "map[string]string"),
    );
    check(
        json!({"metadata": {"finalizers": {}}}),
        "cannot restore slice from map",
        &of_text("object", "ObjectMeta.metadata.finalizers", "[]string"),
    );
    check(
        json!({"spec": {"template": []}}),
        "cannot restore struct from: slice",
        &of_text("array", "DeploymentSpec.spec.template", "v1.PodTemplateSpec"),
    );
    check(
        json!({"spec": {"replicas": "x"}}),
        "unrecognized type: int32",
        &of_text("string", "DeploymentSpec.spec.replicas", "int32"),
    );
    check(
        json!({"spec": {"replicas": 1.5}}),
        "cannot convert float64 to int32",
        &of_text("number 1.5", "DeploymentSpec.spec.replicas", "int32"),
    );
    check(
        json!({"metadata": {"labels": {"a": 1}}}),
        "cannot convert int64 to string",
        &of_text("number", "ObjectMeta.metadata.labels", "string"),
    );
}

#[test]
fn operations_of_a_json_patch_have_their_own_fields() {
    let body =
        br#"[{"op":"add","path":"/a","value":{"k":1,"k":2},"foo":1,"foo":2},{"op":"add","path":"/b","path":"/c"}]"#;
    let (patch, found) = decode_json_patch(body, FieldValidation::Warn).expect("it is JSON");
    assert_eq!(patch[1], json!({"op": "add", "path": "/c"}));
    let problems = [
        r#"json patch unknown field "[0].foo""#,
        r#"json patch duplicate field "[0].value.k""#,
        r#"json patch duplicate field "[1].path""#,
    ];
    assert_eq!(found, problems);
}

#[test]
fn protobuf_is_read_as_json_is() {
    let objects = [
        json!({"kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": {"name": "web", "labels": {"app": "web"}, "creationTimestamp": "2026-11-21T18:00:00Z", "generation": 3},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i",
                    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k", "optional": false}}}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                    "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}],
                    "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "cm"}}]}},
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}}}),
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"a": "YQ==", "b": ""}, "type": "Opaque"}),
        json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": "l"},
            "spec": {"holderIdentity": "", "renewTime": "2026-11-21T18:00:00.123456Z", "leaseDurationSeconds": 40}}),
        json!({"kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1", "metadata": {"name": "c"},
            "spec": {"request": "YWJj", "signerName": "x/y", "usages": ["client auth"], "extra": {"k": ["v", "w"]}}}),
        json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "c"},
        "spec": {"group": "g", "names": {"plural": "cs", "kind": "C"}, "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {
                    "a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["k"]},
                    "b": {"additionalProperties": true, "default": {"x": [1, "y"]}, "x-kubernetes-int-or-string": true},
                    "c": {"additionalProperties": {"type": "integer", "enum": [1, "two"]}, "minimum": 0.5},
                }}}}]}}),
        json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}),
    ];
    for object in objects {
        let bytes = to_protobuf(&object).expect("the schema has the kind");
        let decoded = decode(Media::Protobuf, &bytes, None, FieldValidation::Strict).expect("it is well formed");
        assert_eq!(decoded.value, object);
    }
}

#[test]
fn broken_protobuf_is_refused() {
    let pods = find("", "v1", "pods").expect("a built-in resource");
    let check = |body: &[u8], expected: &str| {
        let error = decode(Media::Protobuf, body, Some(&pods), FieldValidation::Strict).expect_err("it is broken");
        assert_eq!((error.code, error.message.contains(expected)), (400, true), "{error}");
    };
    check(b"", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    check(b"k8s\0\x12\x05ab", "unexpected EOF");
    check(b"k8s\0\x07", "illegal");
    let secret = to_protobuf(&json!({"kind": "Secret", "apiVersion": "v1"})).expect("the schema has the kind");
    check(&secret, "Secret in version \"v1\" cannot be handled as a Pod");
}

/// Bodies of kubectl 1.37.1, which has no other form for them.
#[test]
fn what_kubectl_sends_as_protobuf_is_read() {
    let check = |body: &[u8], kind: (&str, &str, &str), expected: Value| {
        let decoded = decode_as(Media::Protobuf, body, Some(kind), FieldValidation::Strict).expect("kubectl sent it");
        assert_eq!(decoded.value, expected);
    };
    // kubectl create deployment w --image=x
    check(
        include_bytes!("kubectl/deployment.pb"),
        ("apps", "v1", "Deployment"),
        json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "w", "labels": {"app": "w"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "w"}}, "strategy": {},
                "template": {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "x", "image": "x", "resources": {}}]}}},
            "status": {}}),
    );
    // kubectl create secret generic s --from-literal=a=b
    check(
        include_bytes!("kubectl/secret.pb"),
        ("", "v1", "Secret"),
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"a": "Yg=="}}),
    );
    // kubectl create namespace x
    check(
        include_bytes!("kubectl/namespace.pb"),
        ("", "v1", "Namespace"),
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "x"}, "spec": {}, "status": {}}),
    );
    // kubectl create token default
    check(
        include_bytes!("kubectl/tokenrequest.pb"),
        ("authentication.k8s.io", "v1", "TokenRequest"),
        json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}, "status": {}}),
    );
    // kubectl auth can-i list pods
    check(
        include_bytes!("kubectl/selfsubjectaccessreview.pb"),
        ("authorization.k8s.io", "v1", "SelfSubjectAccessReview"),
        json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
            "spec": {"resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}},
            "status": {"allowed": false}}),
    );
}
