//! What volumes, claims and drivers are refused for, and what they are given.

use serde_json::{Value, json};

use super::{SUBDOMAIN, check_refused, created};

#[test]
fn volumes_of_drivers_name_their_secrets_whole() {
    let volume = |source: Value| {
        let mut volume = json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}});
        super::merge(&mut volume["spec"], source);
        volume
    };
    check_refused(
        "PersistentVolume",
        volume(json!({"csi": {"driver": "a.b", "volumeHandle": "h", "nodePublishSecretRef": {"name": "A"}}})),
        &[
            &format!("spec.csi.nodePublishSecretRef.name: Invalid value: \"A\": {SUBDOMAIN}"),
            "spec.csi.nodePublishSecretRef.namespace: Required value",
        ],
    );
    check_refused(
        "PersistentVolume",
        volume(json!({"hostPath": {"path": "/a", "type": "Disk"}})),
        &["spec.hostPath.type: Unsupported value: \"Disk\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \
           \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""],
    );
}

#[test]
fn disks_of_clouds_are_where_such_disks_are() {
    let check = |source: Value, expected: &[&str]| {
        let mut volume = json!({"name": "v"});
        super::merge(&mut volume, source);
        let spec = json!({"containers": [{"name": "c", "image": "i"}], "volumes": [volume]});
        check_refused("Pod", json!({"spec": spec}), expected);
    };
    check(
        json!({"gcePersistentDisk": {"pdName": "p", "partition": 256}}),
        &["spec.volumes[0].persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive"],
    );
    check(
        json!({"azureDisk": {"diskName": "p", "diskURI": "x"}}),
        &["spec.volumes[0].azureDisk.diskURI: Unsupported value: \"x\": supported values: \
           \"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd\""],
    );
}

#[test]
fn what_drivers_say_of_themselves_stays() {
    let of_driver = json!({"spec": {"attachRequired": true}});
    super::check_change_refused(
        "CSIDriver",
        of_driver.clone(),
        json!({"spec": {"attachRequired": false, "volumeLifecycleModes": ["Ephemeral"]}}),
        &[
            "spec.attachedRequired: Invalid value: false: field is immutable",
            "spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable",
        ],
    );
    let old = created("CSIDriver", of_driver);
    super::updated("CSIDriver", &old, None, json!({"spec": {"podInfoOnMount": true}})).expect("may change");
    let requests = json!([{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}]);
    check_refused(
        "CSIDriver",
        json!({"spec": {"tokenRequests": requests}}),
        &[
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
        ],
    );
    super::check_change_refused(
        "CSINode",
        json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "n", "allocatable": {"count": 1}}]}}),
        json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "m", "allocatable": {"count": 2}}]}}),
        &["spec.drivers: Invalid value: {\"name\":\"a.b\",\"nodeID\":\"m\"}: field is immutable"],
    );
}

#[test]
fn attachments_name_a_volume_and_a_node() {
    check_refused(
        "VolumeAttachment",
        json!({"spec": {"attacher": "a.b", "nodeName": "A", "source": {"persistentVolumeName": ""}}}),
        &[
            "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName",
            &format!("spec.source.persistentVolumeName: Invalid value: \"\": {SUBDOMAIN}"),
            &format!("spec.nodeName: Invalid value: \"A\": {SUBDOMAIN}"),
        ],
    );
}

#[test]
fn places_of_volumes_are_told_once() {
    let term = |values: Value| json!({"matchLabelExpressions": [{"key": "zone", "values": values}]});
    check_refused(
        "StorageClass",
        json!({"provisioner": "a.b/c", "allowedTopologies": [term(json!(["a", "b"])), term(json!(["b", "a"]))]}),
        &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""],
    );
    check_refused(
        "StorageClass",
        json!({"provisioner": "a.b/c", "allowedTopologies": [{}]}),
        &["allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\""],
    );
    let twice = json!([{"key": "zone", "values": ["a"]}, {"key": "zone", "values": ["b"]}]);
    check_refused(
        "StorageClass",
        json!({"provisioner": "a.b/c", "allowedTopologies": [{"matchLabelExpressions": twice}]}),
        &["allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"zone\""],
    );
}

#[test]
fn a_claim_grows_once_it_is_bound() {
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let why = "spec: Forbidden: spec is immutable after creation except resources.requests and \
               volumeAttributesClassName for bound claims";
    super::check_change_refused("PersistentVolumeClaim", claim.clone(), larger.clone(), &[why]);
    let mut bound = created("PersistentVolumeClaim", claim);
    bound["status"]["phase"] = json!("Bound");
    super::updated("PersistentVolumeClaim", &bound, None, larger).expect("grows");
}

#[test]
fn what_a_claim_begins_with_has_both_its_names() {
    let check = |given: Value, expected: Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        spec.as_object_mut().expect("a map").extend(given.as_object().expect("a map").clone());
        let claim = created("PersistentVolumeClaim", json!({"spec": spec}));
        for field in ["dataSource", "dataSourceRef"] {
            assert_eq!(claim["spec"][field], expected, "{field} of {given}");
        }
    };
    let claim = json!({"kind": "PersistentVolumeClaim", "name": "a"});
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "a"});
    let other = json!({"apiGroup": "example.com", "kind": "Populator", "name": "a"});
    check(json!({"dataSource": claim}), claim.clone());
    check(json!({"dataSource": snapshot}), snapshot);
    check(json!({"dataSourceRef": other}), other.clone());
    check(json!({"dataSource": other}), Value::Null);
}
