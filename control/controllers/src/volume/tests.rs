//! Claims and volumes over many looks, in a world that is a map.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use pal_resources::volumes::PROVISIONER;
use pal_scheduler::volumes::{Claim, Class, Volume};
use serde_json::{Value, json};

use super::claim::Site;
use super::*;
use crate::garbage::Item;
use crate::world::World;

/// A world with classes and nodes, and what was asked of these.
struct Stage {
    world: World,
    classes: Vec<Class>,
    nodes: Vec<Site>,
    waiting: Vec<String>,
    told: Vec<String>,
    directories: Vec<String>,
}

fn stage() -> Stage {
    let class = |name: &str, provisioner: &str, waits: bool| Class {
        name: name.to_owned(),
        provisioner: provisioner.to_owned(),
        waits,
        reclaim: "Delete".to_owned(),
        ..Class::default()
    };
    let site = |name: &str, is_open| Site { node: name.to_owned(), hostname: format!("host-{name}"), is_open };
    Stage {
        world: World::new(),
        classes: vec![
            class("local", PROVISIONER, false),
            class("later", PROVISIONER, true),
            class("none", "kubernetes.io/no-provisioner", false),
            class("other", "example.com/disks", false),
        ],
        nodes: vec![site("n1", true), site("n2", false)],
        waiting: Vec::new(),
        told: Vec::new(),
        directories: Vec::new(),
    }
}

impl Stage {
    fn claim(&mut self, name: &str, change: Value) {
        let mut claim = json!({"metadata": {"name": name, "namespace": "ns"}, "status": {"phase": "Pending"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}});
        merge(&mut claim, change);
        self.world.create(ResourceId::of::<PersistentVolumeClaim>(), claim);
    }

    fn volume(&mut self, name: &str, size: &str, change: Value) {
        let mut volume = json!({"metadata": {"name": name}, "status": {"phase": "Pending"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size},
            "persistentVolumeReclaimPolicy": "Retain"}});
        merge(&mut volume, change);
        self.world.create(ResourceId::of::<PersistentVolume>(), volume);
    }

    fn claims(&self) -> Vec<Claim> {
        self.world.list::<PersistentVolumeClaim>().iter().map(|claim| Claim::of(claim)).collect()
    }

    fn volumes(&self) -> Vec<Arc<Volume>> {
        self.world.list::<PersistentVolume>().iter().map(|volume| Arc::new(Volume::of(volume))).collect()
    }

    fn look_at_claim(&self, claim: &Claim) -> Plan {
        claim::reconcile(&claim::View {
            claim,
            volumes: &self.volumes(),
            class: self.classes.iter().find(|class| class.name == claim.class_name()),
            default_class: self.classes.iter().find(|class| class.is_default).map(|class| class.name.as_str()),
            nodes: &self.nodes,
            waiting: &self.waiting,
        })
    }

    fn look_at_volume(&self, volume: &Volume) -> Plan {
        let named = |claim: &&Claim| volume.claim.as_ref().is_some_and(|named| named.name == claim.name);
        let claims = self.claims();
        let objects = self.world.list::<PersistentVolume>();
        let object = objects.iter().find(|object| object.metadata.name.as_ref() == Some(&volume.name)).unwrap();
        let item = Item {
            target: volume_target(volume),
            kind: "Any".into(),
            resource_version: volume.version.clone(),
            owners: Vec::new(),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            deleting: volume.deleting,
        };
        let claim = claims.iter().find(named);
        reclaim::reconcile(&reclaim::View { volume, item: &item, claim, nodes: &["n1".to_owned()] })
    }

    fn apply(&mut self, plan: Plan) {
        for action in plan.actions {
            match action {
                Action::Tell(note) => self.told.push(format!("{} {}", note.reason, note.message)),
                Action::Provision { node, mut volume, .. } => {
                    volume["spec"]["local"] = json!({"path": format!("/{node}")});
                    volume["status"] = json!({"phase": "Pending"});
                    self.world.create(ResourceId::of::<PersistentVolume>(), volume);
                }
                Action::RemoveDirectory { node, volume, .. } => self.directories.push(format!("{node} {volume}")),
                other => self.world.apply(Plan::of(other)),
            }
        }
    }

    /// Looks at everything until there is nothing more to write.
    fn settle(&mut self) {
        for _ in 0..20 {
            let before = self.world.objects.clone();
            self.told.clear();
            for volume in self.volumes() {
                self.apply(self.look_at_volume(&volume));
            }
            for claim in self.claims() {
                self.apply(self.look_at_claim(&claim));
            }
            if self.world.objects == before {
                return;
            }
        }
        panic!("it never settles: {:#?}", self.world.objects);
    }

    /// Each claim and volume in a few words, and what was told in the last round.
    fn shown(&self) -> Vec<String> {
        let claims = self.claims().into_iter().map(|claim| {
            let capacity = claim.capacity.map(|capacity| capacity.to_string()).unwrap_or_default();
            format!("{} {} {} {capacity}", claim.name, claim.phase, claim.volume).replace("  ", " ").trim().to_owned()
        });
        let volumes = self.volumes().into_iter().map(|volume| {
            let claim = volume.claim.as_ref().map(|claim| claim.name.clone()).unwrap_or_default();
            format!("{} {} {claim}", volume.name, volume.phase).trim().to_owned()
        });
        claims.chain(volumes).chain(self.told.clone()).collect()
    }

    fn check(&mut self, expected: &[&str]) {
        self.settle();
        assert_eq!(self.shown(), expected);
    }
}

use crate::action::Plan;

fn merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            change.into_iter().for_each(|(key, change)| merge(value.entry(key).or_insert(Value::Null), change));
        }
        (value, change) => *value = change,
    }
}

#[test]
fn a_claim_and_the_smallest_volume_that_suits_find_each_other() {
    let mut stage = stage();
    stage.volume("a", "5Gi", json!({}));
    stage.volume("b", "2Gi", json!({}));
    stage.check(&["a Available", "b Available"]);
    stage.claim("c", json!({}));
    stage.check(&["c Bound b 2Gi", "a Available", "b Bound c"]);
    let claim = stage.world.list::<PersistentVolumeClaim>()[0].metadata.annotations.clone().unwrap();
    let bound: Vec<&str> = claim.keys().map(String::as_str).collect();
    assert_eq!(bound, ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"]);
    let volume = serde_json::to_value(&*stage.world.list::<PersistentVolume>()[1]).unwrap();
    assert_eq!(volume["metadata"]["annotations"], json!({"pv.kubernetes.io/bound-by-controller": "yes"}));
    assert_eq!(volume["spec"]["claimRef"]["uid"], stage.claims()[0].uid.as_str());
    stage.world.remove::<PersistentVolumeClaim>("ns", "c");
    stage.check(&["a Available", "b Released c"]);
    // Another claim of that name is another claim.
    stage.claim("c", json!({}));
    stage.check(&["c Bound a 5Gi", "a Bound c", "b Released c"]);
    stage.world.remove::<PersistentVolume>("", "a");
    let lost = "ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    let claim = stage.claims().remove(0);
    let plan = stage.look_at_claim(&claim);
    stage.told.clear();
    stage.apply(plan);
    assert_eq!(stage.shown(), ["c Lost a 5Gi", "b Released c", lost]);
}

#[test]
fn what_a_claim_waits_for_is_told() {
    let check = |change: Value, expected: &str| {
        let mut stage = stage();
        stage.claim("c", change);
        stage.settle();
        assert_eq!(stage.told, [expected]);
    };
    check(json!({}), "FailedBinding no persistent volumes available for this claim and no storage class is set");
    check(
        json!({"spec": {"storageClassName": "later"}}),
        "WaitForFirstConsumer waiting for first consumer to be created before binding",
    );
    check(
        json!({"spec": {"storageClassName": "gone"}}),
        "ProvisioningFailed storageclass.storage.k8s.io \"gone\" not found",
    );
    check(
        json!({"spec": {"storageClassName": "none"}}),
        "ProvisioningFailed no volume plugin matched name: kubernetes.io/no-provisioner",
    );
    let failed = "ProvisioningFailed failed to provision volume with StorageClass \"local\":";
    check(
        json!({"spec": {"storageClassName": "local", "accessModes": ["ReadWriteMany"]}}),
        &format!("{failed} only the access modes ReadWriteOnce and ReadWriteOncePod are supported"),
    );
    check(
        json!({"spec": {"storageClassName": "local", "volumeMode": "Block"}}),
        &format!("{failed} only file systems are provisioned, no block devices"),
    );
    let mut stage = stage();
    stage.waiting = vec!["p".to_owned()];
    stage.claim("c", json!({"spec": {"storageClassName": "later"}}));
    stage.check(&["c Pending", "WaitForPodScheduled waiting for pod p to be scheduled"]);
}

#[test]
fn a_volume_that_a_user_names_is_taken_if_it_suits_and_is_free() {
    let check = |claim: Value, volume: Value, expected: &[&str]| {
        let mut stage = stage();
        stage.volume("a", "5Gi", volume);
        stage.claim("c", claim);
        stage.check(expected);
    };
    let named = json!({"spec": {"volumeName": "a"}});
    check(named.clone(), json!({}), &["c Bound a 5Gi", "a Bound c"]);
    check(json!({"spec": {"volumeName": "x"}}), json!({}), &["c Pending x", "a Available"]);
    let large = json!({"spec": {"volumeName": "a", "resources": {"requests": {"storage": "9Gi"}}}});
    let small = "VolumeMismatch Cannot bind to requested volume \"a\": requested PV is too small";
    check(large, json!({}), &["c Pending a", "a Available", small]);
    let class = "VolumeMismatch Cannot bind to requested volume \"a\": storageClassName does not match";
    check(named.clone(), json!({"spec": {"storageClassName": "s"}}), &["c Pending a", "a Available", class]);
    let taken = json!({"spec": {"claimRef": {"namespace": "ns", "name": "d"}}});
    let why = "FailedBinding volume \"a\" already bound to a different claim.";
    check(named, taken, &["c Pending a", "a Available d", why]);
    // The user of the volume has named the claim.
    let ours = json!({"spec": {"claimRef": {"namespace": "ns", "name": "c"}, "storageClassName": "whatever"}});
    check(json!({}), ours, &["c Bound a 5Gi", "a Bound c"]);
}

#[test]
fn a_claim_without_a_class_gets_the_default_one_as_soon_as_there_is_one() {
    let mut stage = stage();
    stage.claim("c", json!({"spec": {"storageClassName": null}}));
    let why = "FailedBinding no persistent volumes available for this claim and no storage class is set";
    stage.check(&["c Pending", why]);
    stage.classes[1].is_default = true;
    stage.check(&["c Pending", "WaitForFirstConsumer waiting for first consumer to be created before binding"]);
    assert_eq!(stage.claims()[0].class.as_deref(), Some("later"));
}

#[test]
fn a_directory_is_made_for_a_claim_and_goes_with_it() {
    let mut stage = stage();
    stage.claim("c", json!({"spec": {"storageClassName": "local"}}));
    let uid = stage.claims()[0].uid.clone();
    let name = format!("pvc-{uid}");
    stage.check(&[&format!("c Bound {name} 1Gi"), &format!("{name} Bound c")]);
    let volume = serde_json::to_value(&*stage.world.list::<PersistentVolume>()[0]).unwrap();
    let affinity = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(affinity["values"], json!(["host-n1"]));
    assert_eq!(volume["metadata"]["finalizers"], json!([DIRECTORY]));
    // It grows, as its class and the admission of its change allow.
    let grown = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
    stage.world.edit::<PersistentVolumeClaim>("ns", "c", grown);
    stage.check(&[&format!("c Bound {name} 3Gi"), &format!("{name} Bound c")]);
    stage.world.remove::<PersistentVolumeClaim>("ns", "c");
    stage.check(&[]);
    assert_eq!(stage.directories, [format!("n1 {name}")]);
}

#[test]
fn a_claim_whose_pods_node_is_away_is_left_to_the_scheduler_again() {
    let mut stage = stage();
    let annotations = json!({"volume.kubernetes.io/selected-node": "n2"});
    stage.claim("c", json!({"metadata": {"annotations": annotations}, "spec": {"storageClassName": "later"}}));
    stage.check(&["c Pending", "WaitForFirstConsumer waiting for first consumer to be created before binding"]);
    assert_eq!(stage.claims()[0].selected_node, None);
    let again = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}});
    stage.world.edit::<PersistentVolumeClaim>("ns", "c", again);
    stage.settle();
    assert_eq!(stage.claims()[0].phase, "Bound");
}

#[test]
fn a_volume_whose_claim_has_gone_is_dealt_with_as_it_says() {
    let check = |change: Value, phase: &str, message: &str| {
        let mut stage = stage();
        let mut volume = json!({"spec": {"claimRef": {"namespace": "ns", "name": "c", "uid": "u"}}});
        merge(&mut volume, change);
        stage.volume("a", "1Gi", volume);
        stage.settle();
        let volume = &stage.volumes()[0];
        assert_eq!((volume.phase.as_str(), volume.message.as_str()), (phase, message));
        assert_eq!(stage.directories, Vec::<String>::new());
    };
    let policy = |policy: &str| json!({"spec": {"persistentVolumeReclaimPolicy": policy}});
    check(policy("Retain"), "Released", "");
    check(policy("Recycle"), "Failed", "No recycler plugin found for the volume!");
    let none = "error getting deleter volume plugin for volume \"a\": no volume plugin matched";
    check(policy("Delete"), "Failed", none);
    let mut foreign = policy("Delete");
    foreign["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": "example.com/disks"});
    check(foreign, "Released", "");
}

#[test]
fn others_are_asked_for_the_volumes_of_their_classes() {
    let mut stage = stage();
    stage.claim("c", json!({"spec": {"storageClassName": "other"}}));
    stage.check(&["c Pending"]);
    assert_eq!(stage.claims()[0].provisioner.as_deref(), Some("example.com/disks"));
}

#[test]
fn the_claims_of_ephemeral_volumes_are_made_once() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": [], "volumes": [{"name": "a", "emptyDir": {}},
            {"name": "v", "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"k": "v"}}, "spec": {}}}}]},
    }))
    .unwrap();
    let check = |claim: Option<Claim>, expected: &str| {
        let plan = ephemeral::reconcile(&pod, |name| claim.as_ref().filter(|_| name == "p-v"));
        let found = match plan.actions.as_slice() {
            [] => String::new(),
            [Action::Create { body, .. }] => {
                let owner = &body["metadata"]["ownerReferences"][0];
                format!("{} of {} {}", body["metadata"]["name"], owner["uid"], body["metadata"]["labels"])
            }
            [Action::Tell(note)] => note.message.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected);
    };
    let owned = |uid: &str| Some(Claim { owner: Some(uid.to_owned()), ..Claim::default() });
    check(None, r#""p-v" of "u" {"k":"v"}"#);
    check(owned("u"), "");
    let foreign = "ephemeral volume v: PVC ns/p-v was not created for pod ns/p (pod is not owner)";
    check(owned("other"), foreign);
}
