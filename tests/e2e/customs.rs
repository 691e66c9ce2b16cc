//! Custom resources, as kubectl's users define and use them.

use pal_tests::wait_until;

use crate::LIMIT;
use crate::kubectl::{cluster, has};

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, description: When it runs, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is wanted of the table.
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$'}
              image: {type: string, description: What runs.}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
            x-kubernetes-validations:
            - {rule: "self.replicas < 8 || has(self.image)", message: many replicas need an image}
          status:
            type: object
            properties: {replicas: {type: integer}}
"#;

fn tab(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {{name: {name}}}\n\
         spec: {{cronSpec: '* * * * */5'{rest}}}\n"
    )
}

#[tokio::test]
async fn a_definition_from_apply_to_delete() {
    let Some((cluster, kubectl)) = cluster().await else { return };
    let refused = async |manifest: String, parts: &[&str]| {
        let run = kubectl.words(&["apply", "-f", "-"], &manifest).await;
        has(&run.refused(), parts);
    };
    // kubectl may go on for a while by the discovery documents that it keeps.
    has(&kubectl.run("get crontabs").await.refused(), &["crontabs"]);
    has(&kubectl.with_manifest("apply", DEFINITION).await, &["crontabs.stable.example.com created"]);
    has(&kubectl.with_manifest("apply", &tab("one", "")).await, &["crontab.stable.example.com/one created"]);
    kubectl.ok("wait --for=condition=Established crd/crontabs.stable.example.com --timeout=20s").await;
    has(&kubectl.with_manifest("apply", DEFINITION).await, &["crontabs.stable.example.com unchanged"]);
    has(&kubectl.with_manifest("apply", &tab("one", "")).await, &["one unchanged"]);
    has(&kubectl.ok("get crd").await, &["NAME", "CREATED AT", "crontabs.stable.example.com"]);

    has(&kubectl.ok("get ct").await, &["SPEC", "REPLICAS", "AGE", "one", "* * * * */5", "1"]);
    has(&kubectl.ok("get all").await, &["crontab.stable.example.com/one"]);
    has(&kubectl.ok("api-resources --api-group=stable.example.com").await, &["crontabs", "ct", "CronTab"]);
    has(&kubectl.ok("explain crontab --recursive").await, &["cronSpec", "<string>", "replicas", "image"]);
    has(&kubectl.ok("explain ct.spec.image").await, &["What runs."]);

    refused(tab("bad", ", replicas: 11"), &["spec.replicas", "should be less than or equal to 10"]).await;
    refused(tab("bad", ", replicas: 9"), &["many replicas need an image"]).await;
    refused(tab("bad", ", imag: x"), &["unknown field \"spec.imag\""]).await;
    has(&kubectl.with_manifest("apply", &tab("one", ", image: x")).await, &["one configured"]);
    has(
        &kubectl.with_manifest("apply --server-side --force-conflicts", &tab("two", "")).await,
        &["serverside-applied"],
    );
    has(&kubectl.ok("scale crontab/one --replicas=3").await, &["scaled"]);
    assert_eq!(kubectl.ok("get ct one -o jsonpath={.spec.replicas}").await, "3");
    let status = ["patch", "ct", "one", "--subresource=status", "--type=merge", "-p", r#"{"status":{"replicas":3}}"#];
    assert_eq!(kubectl.words(&status, "").await.code, Some(0));
    assert_eq!(kubectl.ok("get ct one -o jsonpath={.status.replicas}/{.metadata.generation}").await, "3/3");

    // What a namespace holds goes with it, and what an object owns with that.
    kubectl.ok("create namespace away").await;
    kubectl.with_manifest("apply -n away", &tab("three", "")).await;
    kubectl.ok("delete namespace away --timeout=60s").await;
    has(&kubectl.ok("get ct -A").await, &["one", "two"]);
    let uid = kubectl.ok("get ct two -o jsonpath={.metadata.uid}").await;
    let owned = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: owned\n  ownerReferences:\n  \
         - {{apiVersion: stable.example.com/v1, kind: CronTab, name: two, uid: {uid}}}\n"
    );
    kubectl.with_manifest("apply", &owned).await;
    kubectl.ok("delete ct two").await;
    wait_until(LIMIT, "what the deleted object owned is deleted", async || {
        let run = kubectl.run("get configmap owned").await;
        if run.code == Some(0) { Err(run.stdout) } else { Ok(()) }
    })
    .await;

    has(&kubectl.ok("delete crd crontabs.stable.example.com --timeout=60s").await, &["deleted"]);
    // kubectl may go on for a while by the discovery documents that it keeps.
    has(&kubectl.run("get crontabs").await.refused(), &["crontabs"]);
    has(&kubectl.with_manifest("apply", DEFINITION).await, &["crontabs.stable.example.com created"]);
    kubectl.ok("wait --for=condition=Established crd/crontabs.stable.example.com --timeout=20s").await;
    has(&kubectl.with_manifest("apply", &tab("one", "")).await, &["one created"]);
    has(&kubectl.ok("get ct -o name").await, &["crontab.stable.example.com/one"]);
    cluster.stop().await;
}
