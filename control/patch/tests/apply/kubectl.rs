//! Objects that were applied from the client's side.

use pal_patch::apply::Shape;
use serde_json::{Value, json};

use crate::story::Step::{Apply, Conflict, Update};
use crate::story::Story;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn deployment(replicas: i64, image: &str) -> Value {
    json!({
        "kind": "Deployment", "apiVersion": "v1", "metadata": {"name": "a"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
    })
}

fn with_annotation(mut object: Value) -> Value {
    object["metadata"]["annotations"] = json!({ANNOTATION: format!("{object}\n")});
    object
}

fn story() -> Story<'static> {
    let mut story = Story::new(Shape::of_kind("apps", "v1", "Deployment").expect("a kind"));
    story.step(Update("kubectl-client-side-apply", with_annotation(deployment(1, "x"))));
    story
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_clients_side() {
    let mut story = story();
    story.step(Conflict("other", deployment(2, "x"), &[".spec.replicas"]));
    story.step(Apply("kubectl", deployment(2, "y")));
    let annotation: Value =
        serde_json::from_str(story.live["metadata"]["annotations"][ANNOTATION].as_str().expect("the annotation stays"))
            .expect("JSON");
    assert_eq!(annotation, deployment(2, "y"), "and is in step");
}

#[test]
fn kubectl_does_not_take_over_what_others_changed_since() {
    let mut story = story();
    let mut scaled = with_annotation(deployment(1, "x"));
    scaled["spec"]["replicas"] = 5.into();
    story.step(Update("scaler", scaled));
    story.step(Conflict("kubectl", deployment(2, "y"), &[".spec.replicas"]));
    story.step(Apply("kubectl", deployment(5, "y")));
}

#[test]
fn the_annotation_is_written_as_go_would() {
    let mut story = story();
    let mut config = deployment(1, "x");
    config["metadata"]["labels"] = json!({"b": "<&>", "a": "1"});
    story.step(Apply("kubectl", config));
    assert_eq!(
        story.live["metadata"]["annotations"][ANNOTATION],
        "{\"apiVersion\":\"v1\",\"kind\":\"Deployment\",\"metadata\":{\"labels\":{\"a\":\"1\",\
         \"b\":\"\\u003c\\u0026\\u003e\"},\"name\":\"a\"},\"spec\":{\"replicas\":1,\"template\":{\"spec\":\
         {\"containers\":[{\"image\":\"x\",\"name\":\"c\"}]}}}}\n"
    );
}

#[test]
fn other_managers_leave_the_annotation_alone() {
    let mut story = story();
    let before = story.live["metadata"]["annotations"][ANNOTATION].clone();
    story.step(Apply("helm", deployment(1, "x")));
    assert_eq!(story.live["metadata"]["annotations"][ANNOTATION], before);
}
