//! What reads bytes of clients, of other servers and of files, as targets for fuzzing: each takes any bytes, and fails where
//! the product's promises do not hold. Pure functions; `tests/targets.rs` runs them for a moment each, and `cargo fuzz` as long
//! as you like.

mod bodies;
mod definitions;
mod patches;
mod policies;
mod texts;

/// Runs a target on some input.
pub type Target = fn(&[u8]);

/// All targets, by their names; `corpus/NAME` has inputs to begin with.
pub const TARGETS: &[(&str, Target)] = &[
    ("json", bodies::json),
    ("yaml", bodies::yaml),
    ("protobuf", bodies::protobuf),
    ("json_patch", patches::json_patch),
    ("merge_patch", patches::merge_patch),
    ("strategic_patch", patches::strategic_patch),
    ("apply", patches::apply),
    ("field_sets", patches::field_sets),
    ("selectors", texts::selectors),
    ("quantities", texts::quantities),
    ("durations", texts::durations),
    ("schedules", texts::schedules),
    ("packets", texts::packets),
    ("definitions", definitions::definitions),
    ("cel", definitions::cel),
    ("policies", policies::policies),
    ("requests", pal_server::fuzzing::requests),
    ("continue_tokens", pal_registry::fuzz_continue_token),
    ("credentials", pal_server::fuzzing::credentials),
    ("audit_policy", pal_server::fuzzing::audit_policy),
    ("authentication", pal_server::fuzzing::authentication),
    ("websocket", pal_server::fuzzing::websocket),
    ("spdy", pal_server::fuzzing::spdy),
    ("peers", pal_store::fuzzing::peers),
    ("log", pal_store::fuzzing::log),
    ("image", pal_store::fuzzing::image),
    ("stored", pal_store::fuzzing::stored),
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The input's parts, which NUL bytes separate.
fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut rest = input.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}
