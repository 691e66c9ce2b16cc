//! Who makes the volume of a claim, and what a volume is like that is made here: a directory of a node.

use std::time::Duration;

use pal_resources::volumes::{
    HOSTNAME, NO_PROVISIONER, PROVISIONED_BY, PROVISIONER, SELECTED_NODE, STORAGE_PROVISIONER,
};
use pal_scheduler::volumes::{Claim, Class, SINGLE_POD};
use serde_json::{Value, json};

use super::claim::{Site, View};
use super::{DIRECTORY, about_claim, change_claim, claim_ref};
use crate::action::{Action, Plan, Severity};

const REASON: &str = "ProvisioningFailed";

/// When it is tried again to find a node.
const NODE_AGAIN: Duration = Duration::from_secs(5);

/// Adds what is to be done for a claim that no volume suits.
pub(super) fn plan(view: &View<'_>, plan: &mut Plan) {
    let claim = view.claim;
    let mut failed = |why: String| plan.push(view.tell(Severity::Warning, REASON, why));
    let Some(class) = view.class else {
        return failed(format!("storageclass.storage.k8s.io {:?} not found", claim.class_name()));
    };
    let by = &class.provisioner;
    if by == NO_PROVISIONER {
        return failed(format!("no volume plugin matched name: {by}"));
    }
    if claim.provisioner.as_ref() != Some(by) {
        let annotations: Value = STORAGE_PROVISIONER.iter().map(|key| ((*key).to_owned(), json!(by))).collect();
        plan.push(change_claim(claim, json!({ "metadata": { "annotations": annotations } })));
        if by != PROVISIONER {
            let why = format!(
                "Waiting for a volume to be created either by the external provisioner '{by}' or manually by the system \
                 administrator. If volume creation is delayed, please verify that the provisioner is running and \
                 correctly registered."
            );
            plan.push(view.tell(Severity::Normal, "ExternalProvisioning", why));
        }
    } else if by == PROVISIONER {
        // Written in an earlier look: the claim's version is that of now.
        here(view, class, plan);
    }
}

fn here(view: &View<'_>, class: &Class, plan: &mut Plan) {
    let claim = view.claim;
    let failed = |why: &str| {
        let why = format!("failed to provision volume with StorageClass {:?}: {why}", class.name);
        view.tell(Severity::Warning, REASON, why)
    };
    if let Some(why) = refusal(claim) {
        return plan.push(failed(why));
    }
    let mut open = view.nodes.iter().filter(|site| site.is_open);
    let site = match &claim.selected_node {
        Some(node) => match open.find(|site| site.node == *node) {
            Some(site) => site,
            // The pod is placed anew.
            None => {
                let forget = json!({ "metadata": { "annotations": { SELECTED_NODE: null } } });
                plan.push(failed(&format!("node {node:?} is not ready")));
                return plan.push(change_claim(claim, forget));
            }
        },
        None => {
            let open: Vec<&Site> = open.collect();
            // Any does; claims are spread, and a claim keeps its choice while the nodes stay.
            let choice =
                claim.uid.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
            match open.len() {
                0 => {
                    plan.push(failed("no node is ready"));
                    return plan.look_again(NODE_AGAIN);
                }
                count => open[choice % count],
            }
        }
    };
    plan.push(Action::Provision {
        node: site.node.clone(),
        volume: volume(claim, class, site),
        claim: about_claim(claim),
    });
}

/// Why a directory is not what the claim asks for.
fn refusal(claim: &Claim) -> Option<&'static str> {
    let possible = |mode: &String| mode == "ReadWriteOnce" || mode == SINGLE_POD;
    if claim.is_block {
        Some("only file systems are provisioned, no block devices")
    } else if !claim.modes.iter().all(possible) {
        Some("only the access modes ReadWriteOnce and ReadWriteOncePod are supported")
    } else if claim.selector.is_some() {
        Some("claim.Spec.Selector is not supported")
    } else if claim.is_copy {
        Some("data sources are not supported")
    } else {
        None
    }
}

/// The volume; where it is on its node, the node says.
fn volume(claim: &Claim, class: &Class, site: &Site) -> Value {
    let hostname = json!([{ "key": HOSTNAME, "operator": "In", "values": [site.hostname] }]);
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": format!("pvc-{}", claim.uid),
            "annotations": { PROVISIONED_BY: PROVISIONER },
        },
        "spec": {
            "accessModes": claim.modes,
            "capacity": { "storage": claim.asked.to_string() },
            "claimRef": claim_ref(claim),
            "persistentVolumeReclaimPolicy": class.reclaim,
            "storageClassName": class.name,
            "volumeMode": "Filesystem",
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": hostname }] } },
        },
    });
    if class.reclaim == "Delete" {
        body["metadata"]["finalizers"] = json!([DIRECTORY]);
    }
    if !class.mount_options.is_empty() {
        body["spec"]["mountOptions"] = json!(class.mount_options);
    }
    if !claim.attributes.is_empty() {
        body["spec"]["volumeAttributesClassName"] = json!(claim.attributes);
    }
    body
}
