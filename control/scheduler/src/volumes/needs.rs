//! What a pod's claims mean for where it goes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use pal_resources::volumes::{NO_PROVISIONER, claim_of};

use super::facts::{Claim, Class, Volume};
use super::matching::best;
use crate::candidate::Candidate;
use crate::cluster::{Cluster, NodeState};
use crate::filter::Refusal;

/// All claims, volumes and classes.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// By namespace and name.
    claims: BTreeMap<String, HashMap<String, Arc<Claim>>>,
    volumes: BTreeMap<String, Arc<Volume>>,
    classes: BTreeMap<String, Arc<Class>>,
}

impl Storage {
    /// Takes in a claim as it now is. True when pods that wait for it may go on.
    pub fn set_claim(&mut self, claim: Arc<Claim>) -> bool {
        let facts = |claim: &Claim| {
            let Claim { uid, is_bound, deleting, selected_node, class, phase, .. } = claim;
            (uid.clone(), *is_bound, *deleting, selected_node.clone(), class.clone(), phase.clone())
        };
        let home = self.claims.entry(claim.namespace.clone()).or_default();
        let before = home.insert(claim.name.clone(), claim.clone());
        before.is_none_or(|before| facts(&before) != facts(&claim))
    }

    /// Forgets a claim.
    pub fn remove_claim(&mut self, namespace: &str, name: &str) {
        if let Some(home) = self.claims.get_mut(namespace) {
            home.remove(name);
            if home.is_empty() {
                self.claims.remove(namespace);
            }
        }
    }

    /// Takes in a volume as it now is. True when pods may use it that could not.
    pub fn set_volume(&mut self, volume: Arc<Volume>) -> bool {
        let free = volume.phase == "Available";
        self.volumes.insert(volume.name.clone(), volume).is_none() || free
    }

    /// Forgets a volume.
    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove(name);
    }

    /// Takes in a class as it now is.
    pub fn set_class(&mut self, class: Arc<Class>) {
        self.classes.insert(class.name.clone(), class);
    }

    /// Forgets a class.
    pub fn remove_class(&mut self, name: &str) {
        self.classes.remove(name);
    }

    fn claim(&self, namespace: &str, name: &str) -> Option<&Arc<Claim>> {
        self.claims.get(namespace)?.get(name)
    }
}

/// A claim that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) name: String,
    /// It is made for the pod.
    is_ephemeral: bool,
}

impl Used {
    /// The claims that a pod uses.
    pub(crate) fn of(pod: &Pod) -> Vec<Self> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let used = |volume| Some(Self { name: claim_of(pod, volume)?, is_ephemeral: volume.ephemeral.is_some() });
        volumes.filter_map(used).collect()
    }
}

/// Why a pod's claims keep it from every node, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    NotFound(String),
    /// The claim of an ephemeral volume is not made yet.
    NotMade(String),
    /// A claim that is called as the pod's own is to be is somebody else's.
    NotOurs {
        claim: String,
        pod: String,
    },
    Deleting(String),
    Lost {
        claim: String,
        volume: String,
    },
    /// A claim waits for a volume and not for the pod.
    Unbound,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(claim) => write!(f, "persistentvolumeclaim {claim:?} not found"),
            Self::NotMade(claim) => {
                write!(f, "waiting for ephemeral volume controller to create the persistentvolumeclaim {claim:?}")
            }
            Self::NotOurs { claim, pod } => write!(f, "PVC {claim} was not created for pod {pod} (pod is not owner)"),
            Self::Deleting(claim) => write!(f, "persistentvolumeclaim {claim:?} is being deleted"),
            Self::Lost { claim, volume } => {
                write!(f, "persistentvolumeclaim {claim:?} bound to non-existent persistentvolume {volume:?}")
            }
            Self::Unbound => f.write_str("pod has unbound immediate PersistentVolumeClaims"),
        }
    }
}

/// What is to become of a claim before its pod goes to a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// It gets this volume.
    Bind { claim: Arc<Claim>, volume: Arc<Volume> },
    /// A volume is made for it.
    Provision { claim: Arc<Claim> },
}

/// What the claims of one pod ask of a node. Empty for a pod without claims.
#[derive(Debug, Default)]
pub(crate) struct Needs<'a> {
    storage: Option<&'a Storage>,
    /// The volumes of the claims that have one; `None` of one that is gone.
    bound: Vec<Option<&'a Volume>>,
    /// The claims that wait for the pod, the smallest first.
    pending: Vec<&'a Arc<Claim>>,
    /// Another pod has a claim that one pod at a time may use.
    taken: bool,
}

impl<'a> Needs<'a> {
    pub(crate) fn of(cluster: &'a Cluster, candidate: &Candidate) -> Result<Self, Hindrance> {
        if candidate.claims.is_empty() {
            return Ok(Self::default());
        }
        let storage = cluster.storage();
        let mut needs = Self { storage: Some(storage), ..Self::default() };
        let namespace = &candidate.face.namespace;
        for used in &candidate.claims {
            let name = &used.name;
            let Some(claim) = storage.claim(namespace, name) else {
                let missing = if used.is_ephemeral { Hindrance::NotMade } else { Hindrance::NotFound };
                return Err(missing(name.clone()));
            };
            if used.is_ephemeral && claim.owner.as_deref() != Some(candidate.uid()) {
                let pod = candidate.pod.metadata.name.as_deref().unwrap_or_default();
                let full = |name: &str| format!("{namespace}/{name}");
                return Err(Hindrance::NotOurs { claim: full(name), pod: full(pod) });
            }
            if claim.phase == "Lost" {
                return Err(Hindrance::Lost { claim: name.clone(), volume: claim.volume.clone() });
            }
            if claim.deleting {
                return Err(Hindrance::Deleting(name.clone()));
            }
            let waits = || storage.classes.get(claim.class_name()).is_some_and(|class| class.waits);
            // The node looks at the phase, which is written last.
            if claim.is_bound && !claim.volume.is_empty() && claim.phase == "Bound" {
                needs.bound.push(storage.volumes.get(&claim.volume).map(Arc::as_ref));
            } else if claim.volume.is_empty() && waits() {
                needs.pending.push(claim);
            } else {
                return Err(Hindrance::Unbound);
            }
            needs.taken |= claim.is_for_one_pod() && cluster.uses_claim(namespace, name, candidate.uid());
        }
        needs.pending.sort_by_key(|claim| claim.asked);
        Ok(needs)
    }

    /// What becomes of the claims that wait, if the pod goes to that node; else why it cannot.
    pub(crate) fn on_node(&self, name: &str, node: &NodeState) -> Result<Vec<Choice>, Refusal> {
        let Some(storage) = self.storage else { return Ok(Vec::new()) };
        if self.taken {
            return Err(Refusal::ClaimInUse);
        }
        for volume in &self.bound {
            let volume = volume.ok_or(Refusal::VolumeGone)?;
            if !volume.is_reached_from(name, &node.labels) {
                return Err(Refusal::VolumeElsewhere);
            }
        }
        let mut chosen: Vec<&str> = Vec::new();
        let mut choices = Vec::new();
        for &claim in &self.pending {
            if let Some(selected) = &claim.selected_node {
                if selected != name {
                    return Err(Refusal::NoVolume);
                }
                choices.push(Choice::Provision { claim: claim.clone() });
                continue;
            }
            let usable =
                |volume: &Volume| !chosen.contains(&volume.name.as_str()) && volume.is_reached_from(name, &node.labels);
            let volumes = storage.volumes.values().map(Arc::as_ref);
            let found = best(claim, volumes, false, usable).and_then(|volume| storage.volumes.get(&volume.name));
            match found {
                Some(volume) => {
                    chosen.push(&volume.name);
                    choices.push(Choice::Bind { claim: claim.clone(), volume: volume.clone() });
                }
                None if storage.is_made_for(claim, node) => {
                    choices.push(Choice::Provision { claim: claim.clone() });
                }
                None => return Err(Refusal::NoVolume),
            }
        }
        Ok(choices)
    }
}

impl Storage {
    /// Whether volumes are made for a claim where that node is.
    fn is_made_for(&self, claim: &Claim, node: &NodeState) -> bool {
        self.classes.get(claim.class_name()).is_some_and(|class| {
            !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER && class.allows(&node.labels)
        })
    }
}
