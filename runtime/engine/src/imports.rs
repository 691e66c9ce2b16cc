//! Which imports a component may have: what WASI offers here, by name.

use crate::PrepareError;
use crate::inspect::is;

/// What is provided of WASI 0.2. Of `wasi:sockets` the interfaces that C libraries import for the sake of closing what
/// they never open; those that open something are missing on purpose.
const P2: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/udp",
];

/// What is provided of WASI 0.3.
const P3: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/types",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/client",
    "wasi:http/types",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Refuses imports that nothing provides, all of them by name.
pub(crate) fn check<'a>(imports: impl IntoIterator<Item = &'a str>) -> Result<(), PrepareError> {
    let mut missing = Vec::new();
    let mut sockets = Vec::new();
    for name in imports {
        let offered = |names: &[&str], minor| names.iter().any(|offered| is(name, offered, minor));
        if offered(P2, "0.2.") || offered(P3, "0.3.") {
            continue;
        }
        if name.starts_with("wasi:sockets/") {
            sockets.push(name.to_owned());
        } else {
            missing.push(name.to_owned());
        }
    }
    if !missing.is_empty() {
        missing.append(&mut sockets);
        Err(PrepareError::MissingImports(missing))
    } else if !sockets.is_empty() {
        Err(PrepareError::Unsupported { what: sockets.join(", ") })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worlds_in_wit_are_what_is_provided() {
        for (dir, offered, minor) in [("p2", P2, "0.2."), ("p3", P3, "0.3.")] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
            let mut resolve = wit_parser::Resolve::default();
            let (package, _) = resolve.push_dir(path.join(dir)).expect("the packages resolve");
            let world = resolve.select_world(&[package], Some("imports")).expect("the world is there");
            let named: Vec<_> = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect();
            for name in &named {
                let known = offered.iter().any(|offered| is(name, offered, minor));
                assert!(known, "{name} is in the world and not provided");
            }
            assert_eq!(named.len(), offered.len(), "{named:?}");
        }
    }

    #[test]
    fn imports_that_nothing_provides_are_named_together() {
        let missing =
            |names: &[&str]| Err(PrepareError::MissingImports(names.iter().map(|name| name.to_string()).collect()));
        let refused = |what: &str| Err(PrepareError::Unsupported { what: what.into() });
        let check = |imports: &[&str], expected| {
            assert_eq!(check(imports.iter().copied()), expected, "{imports:?}");
        };
        check(&[], Ok(()));
        check(&["wasi:io/poll@0.2.0", "wasi:http/types@0.2.12"], Ok(()));
        check(&["wasi:http/client@0.3.0", "wasi:io/error@0.2.6"], Ok(()));
        check(
            &["acme:tax/vat@1.0.0", "wasi:io/poll@0.2.0", "acme:tax/duty@1.0.0"],
            missing(&["acme:tax/vat@1.0.0", "acme:tax/duty@1.0.0"]),
        );
        check(&["wasi:io/poll@0.3.0"], missing(&["wasi:io/poll@0.3.0"]));
        check(&["wasi:http/types@0.3.0-rc-2025-09-16"], missing(&["wasi:http/types@0.3.0-rc-2025-09-16"]));
        check(&["wasi:sockets/tcp@0.2.0"], Ok(()));
        check(
            &["wasi:sockets/tcp@0.2.0", "wasi:sockets/tcp-create-socket@0.2.0"],
            refused("wasi:sockets/tcp-create-socket@0.2.0"),
        );
        check(&["wasi:sockets/ip-name-lookup@0.3.0"], refused("wasi:sockets/ip-name-lookup@0.3.0"));
    }
}
