//! What a StatefulSet says of itself.

use serde_json::json;

use super::{Look, revision_of};
use crate::action::Plan;
use crate::members::{count, says_the_same};
use crate::object::is_deleting;
use crate::pods::{Availability, is_ready, phase};

impl Look<'_> {
    /// Adds the write that brings the status up to date, if it is not.
    pub(super) fn status(&self, plan: &mut Plan) {
        let (mut replicas, mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0, 0);
        for pod in self.members.all() {
            replicas += 1;
            let runs = phase(pod) == "Running" && is_ready(pod);
            ready += usize::from(runs);
            match self.availability(pod) {
                Availability::Available => available += usize::from(runs),
                Availability::After(wait) => plan.look_again(wait),
                Availability::NotReady => {}
            }
            if !is_deleting(&pod.metadata) {
                current += usize::from(revision_of(pod) == Some(self.current.name.as_str()));
                updated += usize::from(revision_of(pod) == Some(self.update.name.as_str()));
            }
        }
        let wanted = usize::try_from(self.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let rolls =
            self.spec.update_strategy.as_ref().is_none_or(|strategy| strategy.type_.as_deref() != Some("OnDelete"));
        let complete = rolls && updated == wanted && ready == wanted && replicas == wanted;
        let name = if complete { &self.update.name } else { &self.current.name };
        let current = if complete { updated } else { current };
        let nonzero = |number: usize| (number > 0).then(|| count(number));
        let known = self.set.status.as_ref();
        let status = json!({
            "replicas": count(replicas),
            "readyReplicas": nonzero(ready),
            "availableReplicas": count(available),
            "currentReplicas": nonzero(current),
            "updatedReplicas": nonzero(updated),
            "currentRevision": name,
            "updateRevision": self.update.name,
            "observedGeneration": self.set.metadata.generation,
            "collisionCount": self.collisions,
        });
        if known.is_none() || !says_the_same(&json!(known), &status) {
            plan.push(self.owner.report(status));
        }
    }
}
