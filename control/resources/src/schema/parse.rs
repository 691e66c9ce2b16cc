//! The table's text into messages.

use std::collections::BTreeMap;

use super::Message;

/// The parsed table.
pub(super) struct Table {
    pub(super) messages: Vec<Message>,
    /// By group, version and kind.
    pub(super) kinds: BTreeMap<(&'static str, &'static str, &'static str), u16>,
}

impl Table {
    pub(super) fn by_name(&'static self, name: &str) -> Option<&'static Message> {
        // The table is ordered by name.
        self.messages.binary_search_by(|m| m.name.cmp(name)).ok().map(|at| &self.messages[at])
    }

    pub(super) fn kind(&'static self, group: &str, version: &str, kind: &str) -> Option<&'static Message> {
        self.kinds.get(&(group, version, kind)).map(|at| &self.messages[usize::from(*at)])
    }

    pub(super) fn shared_kind(&'static self, kind: &str) -> Option<&'static Message> {
        let shared = ["DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "GetOptions", "ListOptions", "Status"];
        let name = shared.iter().find(|shared| **shared == kind)?;
        self.by_name(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"))
    }
}

pub(super) fn table(_text: &'static str) -> Table {
    Table { messages: Vec::new(), kinds: BTreeMap::new() }
}
