//! Names that those share who deal with volumes: the scheduler, the controllers, the servers and the nodes.

use k8s_openapi::api::core::v1::{Pod, Volume};

/// Who makes volumes out of directories of nodes: the provisioner of the class that every cluster begins with.
pub const PROVISIONER: &str = "palinurus.dev/local";
/// The provisioner of classes whose volumes nobody makes.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// On a claim: its volume is its own, and says so too.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or a volume: what binds it was not written by a user.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim that waits for a pod: the node on which the pod will be.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: who is asked to make its volume; the second is the older name, which is written too.
pub const STORAGE_PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// The older place of a claim's or volume's class.
pub const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// The label by which volumes are bound to nodes.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// The claim that stands behind a volume of a pod, if one does: an ephemeral volume's is called after both.
pub fn claim_of(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name)),
        (None, None) => None,
    }
}

/// The claims that a pod's volumes name.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim_of(pod, volume))
}
