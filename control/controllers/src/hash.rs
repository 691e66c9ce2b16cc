//! A short name for a pod template.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Letters and digits that make no words, as Kubernetes uses for generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Ten characters or fewer that depend on the template and on how many collisions there were before.
pub(crate) fn of(template: &PodTemplateSpec, collisions: i32) -> String {
    // Maps in these types are ordered, so that equal templates are equal bytes.
    let bytes = serde_json::to_vec(template).unwrap_or_default();
    let mut hash = fnv(0x811c_9dc5, &bytes);
    if collisions > 0 {
        hash = fnv(hash, &collisions.to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// FNV-1a with 32 bits.
fn fnv(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
