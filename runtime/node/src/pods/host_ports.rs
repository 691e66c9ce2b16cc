//! Which ports of the node its pods have.

use std::sync::{Arc, Mutex, PoisonError};

use pal_resources::host_port::HostPort;

/// A port, and whose it is.
type Owned = (Arc<()>, HostPort);

/// Ports of the node that pods have; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostPorts(Arc<Mutex<Vec<Owned>>>);

impl HostPorts {
    /// Takes ports for a pod, all or none: none if another pod has one of them and `anyway` is not said, as of a pod that
    /// has run here before.
    pub(crate) fn take(&self, wanted: Vec<HostPort>, anyway: bool) -> Option<Taken> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let conflict = taken.iter().any(|(_, port)| wanted.iter().any(|other| port.conflicts_with(other)));
        if conflict && !anyway {
            return None;
        }
        let owner = Arc::new(());
        taken.extend(wanted.into_iter().map(|port| (owner.clone(), port)));
        Some(Taken { all: self.clone(), owner })
    }
}

/// The ports of one pod, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    all: HostPorts,
    owner: Arc<()>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|(owner, _)| !Arc::ptr_eq(owner, &self.owner));
    }
}
