//! What a file of WebAssembly is, from its bytes alone: nothing is compiled.

use std::fmt;

use wasmparser::{Encoding, Parser, Payload};

use crate::PrepareError;

/// The module that core programs for WASI 0.1 import everything from.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Which HTTP interface a service exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// `wasi:http/incoming-handler` 0.2.
    P2,
    /// `wasi:http/handler` 0.3.
    P3,
}

/// How a component is run; its exports decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgramKind {
    /// Runs from start to exit.
    Command,
    /// Answers requests.
    HttpService {
        /// The interface that it exports.
        version: HttpVersion,
    },
    /// Exports neither: other components may import from it.
    Library,
}

impl ProgramKind {
    /// The kind with its article, for messages.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Command => "a command",
            Self::HttpService { .. } => "an HTTP service",
            Self::Library => "a library component",
        }
    }
}

impl fmt::Display for ProgramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command (wasi:cli/run)",
            Self::HttpService { version: HttpVersion::P2 } => "HTTP service (wasi:http 0.2)",
            Self::HttpService { version: HttpVersion::P3 } => "HTTP service (wasi:http 0.3)",
            Self::Library => "library",
        })
    }
}

/// What [`inspect`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// How the program would be run.
    pub kind: ProgramKind,
    /// Whether it is a core module, which is adapted to a component before it runs.
    pub is_core_module: bool,
    /// The names of its imports, in their order.
    pub imports: Vec<String>,
    /// The names of its exports, in their order.
    pub exports: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// What its instances consist of.
    pub parts: Parts,
}

/// How many of what the pool provides are written out in a component, at any depth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Instances of core modules.
    pub core_instances: u32,
    /// Linear memories of core modules.
    pub memories: u32,
    /// Tables of core modules.
    pub tables: u32,
}

/// Says what `bytes` are: kind, imports, exports and size.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, PrepareError> {
    let outline = outline(bytes)?;
    let kind = if outline.is_core_module { core_kind(&outline.exports) } else { component_kind(&outline.exports) };
    Ok(Inspection {
        kind,
        is_core_module: outline.is_core_module,
        imports: outline.imports,
        exports: outline.exports,
        size: bytes.len() as u64,
        parts: outline.parts,
    })
}

struct Outline {
    is_core_module: bool,
    imports: Vec<String>,
    exports: Vec<String>,
    parts: Parts,
}

/// Reads the outermost module's or component's imports and exports.
fn outline(bytes: &[u8]) -> Result<Outline, PrepareError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(PrepareError::NotWasm);
    }
    let malformed = |e: wasmparser::BinaryReaderError| PrepareError::Malformed(e.to_string());
    let mut found =
        Outline { is_core_module: false, imports: Vec::new(), exports: Vec::new(), parts: Parts::default() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(malformed)?;
        found.parts.count(&payload).map_err(malformed)?;
        match payload {
            Payload::Version { encoding, .. } if depth == 0 => {
                found.is_core_module = encoding == Encoding::Module;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            // The outermost one's end is the end of the file.
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(malformed)?;
                    found.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    found.exports.push(export.map_err(malformed)?.name.to_owned());
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import.map_err(malformed)?;
                    found.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export.map_err(malformed)?;
                    found.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

impl Parts {
    fn count(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.core_instances += u32::from(matches!(instance?, wasmparser::Instance::Instantiate { .. }));
                }
            }
            Payload::MemorySection(section) => self.memories += section.count(),
            Payload::TableSection(section) => self.tables += section.count(),
            _ => {}
        }
        Ok(())
    }
}

/// A core module is a command when it has the entry point of one.
fn core_kind(exports: &[String]) -> ProgramKind {
    if exports.iter().any(|name| name == "_start") { ProgramKind::Command } else { ProgramKind::Library }
}

/// A component that handles requests is a service even if it exports `run` too: toolchains that build services from
/// programs with a `main` leave one that is never meant to be called.
pub(crate) fn component_kind(exports: &[String]) -> ProgramKind {
    let has = |interface: &str, minor: &str| exports.iter().any(|name| is(name, interface, minor));
    if has("wasi:http/handler", "0.3.") {
        ProgramKind::HttpService { version: HttpVersion::P3 }
    } else if has("wasi:http/incoming-handler", "0.2.") {
        ProgramKind::HttpService { version: HttpVersion::P2 }
    } else if has("wasi:cli/run", "0.2.") || has("wasi:cli/run", "0.3.") {
        ProgramKind::Command
    } else {
        ProgramKind::Library
    }
}

/// Whether `name` is `interface` in a version that begins with `minor`. Release candidates are not compatible with what
/// was released.
pub(crate) fn is(name: &str, interface: &str, minor: &str) -> bool {
    name.split_once('@')
        .is_some_and(|(found, version)| found == interface && version.starts_with(minor) && !version.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_decide_the_kind() {
        let p2 = ProgramKind::HttpService { version: HttpVersion::P2 };
        let p3 = ProgramKind::HttpService { version: HttpVersion::P3 };
        let check = |exports: &[&str], expected| {
            let exports: Vec<_> = exports.iter().map(|s| s.to_string()).collect();
            assert_eq!(component_kind(&exports), expected, "{exports:?}");
        };
        check(&["wasi:cli/run@0.2.3"], ProgramKind::Command);
        check(&["wasi:cli/run@0.3.0"], ProgramKind::Command);
        check(&["wasi:http/incoming-handler@0.2.0"], p2);
        check(&["wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2.4"], p2);
        check(&["wasi:http/handler@0.3.0"], p3);
        check(&["wasi:http/handler@0.3.0-rc-2025-09-16"], ProgramKind::Library);
        check(&["wasi:cli/run@1.0.0"], ProgramKind::Library);
        check(&["acme:tax/vat@0.2.0"], ProgramKind::Library);
        check(&[], ProgramKind::Library);
    }

    #[test]
    fn what_is_no_wasm_is_refused_with_the_reason() {
        let check = |bytes: &[u8], expected: PrepareError| {
            assert_eq!(inspect(bytes).unwrap_err(), expected);
        };
        check(b"", PrepareError::NotWasm);
        check(b"\x7fELF\x02\x01", PrepareError::NotWasm);
        check(b"\0as", PrepareError::NotWasm);
        for broken in
            [&b"\0asm"[..], b"\0asm\x01\0\0\0\x01", b"\0asm\xff\0\xff\0", b"\0asm\x0d\0\x01\0\x0b\xff\xff\xff\xff\x0f"]
        {
            assert!(matches!(inspect(broken), Err(PrepareError::Malformed(_))), "{broken:?}");
        }
    }

    #[test]
    fn an_empty_module_is_a_library() {
        let found = inspect(b"\0asm\x01\0\0\0").unwrap();
        assert!(found.is_core_module);
        assert_eq!(found.kind, ProgramKind::Library);
        assert_eq!(found.size, 8);
    }
}
