//! Which volume a claim may have.

use super::facts::{Claim, Volume};

/// Why a claim may not have the volume that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    TooSmall,
    Class,
    Mode,
    AccessModes,
    Attributes,
}

impl Mismatch {
    /// In Kubernetes' words.
    pub fn text(self) -> &'static str {
        match self {
            Self::TooSmall => "requested PV is too small",
            Self::Class => "storageClassName does not match",
            Self::Mode => "incompatible volumeMode",
            Self::AccessModes => "incompatible accessMode",
            Self::Attributes => "volumeAttributesClassName does not match",
        }
    }
}

/// Why a claim may not have a volume, but for what its selector says.
pub fn mismatch(claim: &Claim, volume: &Volume) -> Option<Mismatch> {
    let has = |mode: &String| volume.modes.contains(mode);
    if volume.capacity < claim.asked {
        Some(Mismatch::TooSmall)
    } else if volume.class != claim.class_name() {
        Some(Mismatch::Class)
    } else if volume.attributes != claim.attributes {
        Some(Mismatch::Attributes)
    } else if volume.is_block != claim.is_block {
        Some(Mismatch::Mode)
    } else if !claim.modes.iter().all(has) {
        Some(Mismatch::AccessModes)
    } else {
        None
    }
}

/// The volume for a claim: one that names the claim, else the smallest that is free and suits it; of equal ones the first.
/// With `waits`, only one that names it. What `usable` refuses is left out.
pub fn best<'a>(
    claim: &Claim,
    volumes: impl IntoIterator<Item = &'a Volume>,
    waits: bool,
    usable: impl Fn(&Volume) -> bool,
) -> Option<&'a Volume> {
    let mut smallest: Option<&Volume> = None;
    for volume in volumes {
        if volume.deleting || volume.is_block != claim.is_block {
            continue;
        }
        if let Some(named) = &volume.claim {
            if named.names(claim) && volume.capacity >= claim.asked {
                // One that cannot be used where it is wanted leaves no other choice.
                return Some(volume).filter(|volume| usable(volume));
            }
            continue;
        }
        let suits = || {
            volume.phase == "Available"
                && mismatch(claim, volume).is_none()
                && claim.selector.as_ref().is_none_or(|selector| selector.matches(&volume.labels))
                && usable(volume)
        };
        if !waits && smallest.is_none_or(|best| volume.capacity < best.capacity) && suits() {
            smallest = Some(volume);
        }
    }
    smallest
}
