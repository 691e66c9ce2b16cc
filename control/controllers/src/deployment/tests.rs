use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::{Value, json};

use super::simulation::{Cluster, deployment};
use super::*;
use crate::action::Action;
use crate::hash;
use crate::object::{annotation, name};

fn new_image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

fn condition(deployment: &Deployment, kind: &str) -> (String, String, String) {
    let conditions = deployment.status.as_ref().unwrap().conditions.as_ref().unwrap();
    let found = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (found.status.clone(), found.reason.clone().unwrap_or_default(), found.message.clone().unwrap_or_default())
}

fn set_of(cluster: &Cluster, image: &str) -> Option<Arc<ReplicaSet>> {
    cluster.world.list::<ReplicaSet>().into_iter().find(|set| {
        let template = set.spec.as_ref().unwrap().template.as_ref().unwrap();
        template.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image)
    })
}

fn settled(replicas: i32) -> Cluster {
    let mut cluster = Cluster::new(deployment(replicas, json!({}), "v1"));
    cluster.settle();
    cluster
}

#[test]
fn a_new_deployment_makes_a_labelled_set_and_tells_of_it() {
    let mut cluster = Cluster::new(deployment(3, json!({}), "v1"));
    cluster.look_at_deployment();
    let set = set_of(&cluster, "v1").unwrap();
    let labels = set.metadata.labels.as_ref().unwrap();
    let hash = &labels[TEMPLATE_HASH];
    assert_eq!(name(&set.metadata), format!("web-{hash}"));
    assert_eq!(labels["app"], "web");
    let spec = set.spec.as_ref().unwrap();
    assert_eq!(spec.selector.match_labels.as_ref().unwrap()[TEMPLATE_HASH], *hash);
    assert_eq!(spec.replicas, Some(3));
    assert_eq!(annotation(&set.metadata, REVISION), Some("1"));
    assert_eq!(annotation(&cluster.deployment().metadata, REVISION), Some("1"));
    assert_eq!(cluster.world.told, [format!("Scaled up replica set web-{hash} from 0 to 3")]);
    assert_eq!(
        condition(&cluster.deployment(), "Progressing"),
        ("True".into(), "NewReplicaSetCreated".into(), format!("Created new replica set \"web-{hash}\""))
    );
    assert_eq!(
        condition(&cluster.deployment(), "Available"),
        ("False".into(), "MinimumReplicasUnavailable".into(), "Deployment does not have minimum availability.".into())
    );
}

#[test]
fn a_finished_rollout_says_so() {
    let cluster = settled(2);
    let deployment = cluster.deployment();
    let set = set_of(&cluster, "v1").unwrap();
    assert_eq!(
        condition(&deployment, "Progressing"),
        (
            "True".into(),
            "NewReplicaSetAvailable".into(),
            format!("ReplicaSet \"{}\" has successfully progressed.", name(&set.metadata))
        )
    );
    assert_eq!(condition(&deployment, "Available").1, "MinimumReplicasAvailable");
    let status = deployment.status.unwrap();
    assert_eq!(
        (status.replicas, status.updated_replicas, status.available_replicas, status.unavailable_replicas),
        (Some(2), Some(2), Some(2), None)
    );
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn an_undo_uses_the_old_set_again_and_numbers_it_anew() {
    let mut cluster = settled(2);
    cluster.edit(new_image("v2"));
    cluster.settle();
    let first = set_of(&cluster, "v1").unwrap();
    assert_eq!(annotation(&cluster.deployment().metadata, REVISION), Some("2"));
    cluster.edit(new_image("v1"));
    cluster.settle();
    let again = set_of(&cluster, "v1").unwrap();
    assert_eq!(again.metadata.uid, first.metadata.uid);
    assert_eq!(annotation(&again.metadata, REVISION), Some("3"));
    assert_eq!(annotation(&again.metadata, REVISION_HISTORY), Some("1"));
    assert_eq!(annotation(&cluster.deployment().metadata, REVISION), Some("3"));
    assert_eq!(cluster.images(), [("v1".to_owned(), 2)]);
}

#[test]
fn old_sets_are_kept_up_to_the_limit() {
    let mut cluster = settled(1);
    for image in ["v2", "v3", "v4", "v5"] {
        cluster.edit(new_image(image));
        cluster.settle();
    }
    let mut revisions: Vec<_> = cluster
        .world
        .list::<ReplicaSet>()
        .iter()
        .map(|set| annotation(&set.metadata, REVISION).unwrap().to_owned())
        .collect();
    revisions.sort();
    assert_eq!(revisions, ["3", "4", "5"]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = settled(2);
    cluster.edit(json!({"spec": {"paused": true}}));
    cluster.edit(new_image("v2"));
    cluster.edit(json!({"spec": {"replicas": 5}}));
    cluster.settle();
    assert_eq!(cluster.images(), [("v1".to_owned(), 5)]);
    assert_eq!(
        condition(&cluster.deployment(), "Progressing"),
        ("Unknown".into(), "DeploymentPaused".into(), "Deployment is paused".into())
    );
    cluster.edit(json!({"spec": {"paused": false}}));
    cluster.settle();
    assert_eq!(cluster.images(), [("v2".to_owned(), 5)]);
    assert_eq!(condition(&cluster.deployment(), "Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn a_rollout_that_stands_still_times_out_and_recovers() {
    let mut cluster = settled(2);
    cluster.edit(new_image("v2"));
    cluster.look_at_deployment();
    cluster.look_at_sets();
    cluster.look_at_deployment();
    cluster.world.pass(599_000);
    cluster.look_at_deployment();
    assert_eq!(condition(&cluster.deployment(), "Progressing").0, "True");
    cluster.world.pass(2_000);
    cluster.look_at_deployment();
    let (status, reason, message) = condition(&cluster.deployment(), "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ProgressDeadlineExceeded"));
    assert!(message.ends_with("has timed out progressing."), "{message}");
    cluster.settle();
    assert_eq!(condition(&cluster.deployment(), "Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn a_taken_name_counts_as_a_collision_and_the_next_look_takes_another() {
    let mut cluster = Cluster::new(deployment(1, json!({}), "v1"));
    let current = cluster.deployment();
    let plan = reconcile(&View { deployment: &current, sets: &[], taken: &|_| true }, cluster.world.now);
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::Create { .. })));
    cluster.world.apply(plan);
    assert_eq!(cluster.deployment().status.unwrap().collision_count, Some(1));
    let template = &current.spec.as_ref().unwrap().template;
    assert_ne!(hash::of(template, 0), hash::of(template, 1));
    cluster.settle();
    assert_eq!(cluster.images(), [("v1".to_owned(), 1)]);
}

#[test]
fn a_change_of_size_during_a_rollout_is_shared_out() {
    let mut cluster = Cluster::new(deployment(
        10,
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}),
        "v1",
    ));
    cluster.settle();
    cluster.edit(new_image("v2"));
    cluster.look_at_deployment();
    cluster.look_at_sets();
    cluster.look_at_deployment();
    assert_eq!(cluster.asked_for(), 13);
    cluster.edit(json!({"spec": {"replicas": 20}}));
    cluster.look_at_deployment();
    assert_eq!(cluster.asked_for(), 23, "{:?}", cluster.images());
    let images = cluster.images();
    assert!(images.iter().all(|(_, count)| *count > 5), "{images:?}");
    cluster.settle();
    assert_eq!(cluster.images(), [("v2".to_owned(), 20)]);
}

#[test]
fn a_failure_of_a_set_shows_on_the_deployment() {
    let mut cluster = settled(1);
    let set = set_of(&cluster, "v1").unwrap();
    cluster.world.edit::<ReplicaSet>(
        "default",
        name(&set.metadata),
        json!({"status": {"conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}
        ]}}),
    );
    cluster.look_at_deployment();
    assert_eq!(
        condition(&cluster.deployment(), "ReplicaFailure"),
        ("True".into(), "FailedCreate".into(), "quota".into())
    );
}

#[test]
fn a_set_that_is_adopted_counts_before_another_is_made() {
    let cluster = settled(3);
    let mut orphan = (*set_of(&cluster, "v1").unwrap()).clone();
    orphan.metadata.owner_references = None;
    let mut changed = Cluster::new(deployment(3, json!({"type": "Recreate"}), "v1"));
    changed.edit(new_image("v2"));
    let sets = [Arc::new(orphan)];
    let view = View { deployment: &changed.deployment(), sets: &sets, taken: &|_| false };
    let plan = reconcile(&view, "2027-01-15T08:00:10Z".parse().unwrap());
    assert!(matches!(plan.actions.as_slice(), [Action::Patch { .. }]), "only the adoption: {:?}", plan.actions);
}

#[test]
fn a_rollout_that_becomes_a_recreation_of_another_size_ends() {
    let mut cluster = settled(10);
    cluster.edit(new_image("v2"));
    for _ in 0..3 {
        cluster.look_at_deployment();
        cluster.look_at_sets();
    }
    cluster.edit(json!({"spec": {"replicas": 5, "strategy": {"type": "Recreate", "rollingUpdate": null}}}));
    cluster.settle();
    assert_eq!(cluster.images(), [("v2".to_owned(), 5)]);
}
