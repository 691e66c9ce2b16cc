//! Endpoints into slices with as few slices written as may be.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::Endpoint;

use super::identity;

/// A slice as it is.
pub(super) struct Existing<'a> {
    pub(super) endpoints: &'a [Endpoint],
    /// Whether it has to be written in any case.
    pub(super) stale_labels: bool,
}

/// What to do to the slices. Slices are told by their position.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edit {
    Write { slice: usize, endpoints: Vec<Endpoint> },
    Create { endpoints: Vec<Endpoint> },
    Delete { slice: usize },
}

struct Draft {
    endpoints: Vec<Endpoint>,
    changed: bool,
}

/// Keeps each endpoint in its slice. New ones fill up slices that change anyhow, then the others, the fullest first,
/// then new slices. Slices that are left empty go.
pub(super) fn pack(existing: &[Existing<'_>], wanted: BTreeMap<String, Endpoint>, per_slice: usize) -> Vec<Edit> {
    let mut missing = wanted;
    let mut drafts: Vec<Draft> = existing
        .iter()
        .map(|slice| {
            let kept: Vec<Endpoint> = slice
                .endpoints
                .iter()
                .filter_map(|endpoint| missing.remove(&identity(endpoint)))
                .take(per_slice)
                .collect();
            let changed = slice.stale_labels || kept != slice.endpoints;
            Draft { endpoints: kept, changed }
        })
        .collect();
    let mut missing = missing.into_values();
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    order.sort_by_key(|index| {
        let draft = &drafts[*index];
        (!draft.changed, std::cmp::Reverse(draft.endpoints.len()))
    });
    for index in order {
        let draft = &mut drafts[index];
        let room = per_slice.saturating_sub(draft.endpoints.len());
        let before = draft.endpoints.len();
        draft.endpoints.extend(missing.by_ref().take(room));
        draft.changed |= draft.endpoints.len() > before;
    }
    let mut edits: Vec<Edit> = drafts
        .into_iter()
        .enumerate()
        .filter_map(|(slice, draft)| match (draft.endpoints.is_empty(), draft.changed) {
            (true, _) => Some(Edit::Delete { slice }),
            (false, true) => Some(Edit::Write { slice, endpoints: draft.endpoints }),
            (false, false) => None,
        })
        .collect();
    loop {
        let endpoints: Vec<Endpoint> = missing.by_ref().take(per_slice).collect();
        if endpoints.is_empty() {
            return edits;
        }
        edits.push(Edit::Create { endpoints });
    }
}
