//! From a core module for WASI 0.1 to a component.
//!
//! The adapter that does most of it knows only success and failure, as `wasi:cli/exit.exit` does, while Kubernetes shows
//! exit codes. So the module's `proc_exit` is redirected to `exit-with-code` before the adapter sees it: in the core both
//! are a function of one i32.

use std::ops::Range;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wasmparser::{BinaryReaderError, ImportSectionReader, Imports, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::inspect::{Inspection, PREVIEW1};
use crate::{PrepareError, ProgramKind};

const EXIT_MODULE: &str = "wasi:cli/exit@0.2.12";
const EXIT_FUNCTION: &str = "exit-with-code";

/// The interface as the adapter has it, so that the two can be merged.
const EXIT_WIT: &str = "
package wasi:cli@0.2.12;

@since(version = 0.2.0)
interface exit {
  @since(version = 0.2.0)
  exit: func(status: result);
  @since(version = 0.2.12)
  exit-with-code: func(status-code: u8);
}

world exits {
  import exit;
}
";

/// Makes a component of the command `module`.
pub(crate) fn adapt(module: &[u8], outline: &Inspection) -> Result<Vec<u8>, PrepareError> {
    if outline.kind != ProgramKind::Command {
        return Err(PrepareError::Unsupported { what: "a core module without an entry point (_start)".into() });
    }
    let foreign: Vec<_> = outline
        .imports
        .iter()
        .filter(|name| name.split_once('.').is_none_or(|(from, _)| from != PREVIEW1))
        .cloned()
        .collect();
    if !foreign.is_empty() {
        return Err(PrepareError::MissingImports(foreign));
    }
    encode(redirect_exit(module).map_err(malformed)?)
}

fn malformed(why: impl std::fmt::Display) -> PrepareError {
    PrepareError::Malformed(format!("{why:#}"))
}

fn encode(mut module: Vec<u8>) -> Result<Vec<u8>, PrepareError> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("exit.wit", EXIT_WIT).map_err(malformed)?;
    let world = resolve.select_world(&[package], Some("exits")).map_err(malformed)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(malformed)?;
    ComponentEncoder::default()
        .module(&module)
        .map_err(malformed)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        .map_err(malformed)?
        .validate(true)
        .encode()
        .map_err(malformed)
}

/// Replaces the import of `proc_exit` by that of `exit-with-code`; everything else stays byte for byte.
fn redirect_exit(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    const IMPORT_SECTION: u8 = 2;
    // A section's head, its identifier and size, begins where the one before ends.
    let mut head = 0;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::Version { range, .. } => head = range.end,
            Payload::ImportSection(section) => {
                let range = section.range();
                let Some(names) = exit_names(section.clone(), module)? else {
                    break;
                };
                let mut content = module[range.start..names.start].to_vec();
                for name in [EXIT_MODULE, EXIT_FUNCTION] {
                    leb128(&mut content, name.len());
                    content.extend_from_slice(name.as_bytes());
                }
                content.extend_from_slice(&module[names.end..range.end]);

                let mut out = module[..head].to_vec();
                out.push(IMPORT_SECTION);
                leb128(&mut out, content.len());
                out.extend_from_slice(&content);
                out.extend_from_slice(&module[range.end..]);
                return Ok(out);
            }
            _ => {
                if let Some((_, range)) = payload.as_section() {
                    head = range.end;
                }
            }
        }
    }
    Ok(module.to_vec())
}

/// Where the two names of the import of `proc_exit` are in the module.
fn exit_names(section: ImportSectionReader<'_>, module: &[u8]) -> Result<Option<Range<usize>>, BinaryReaderError> {
    for group in section {
        // In the compact forms of the section the names are not beside each other; no toolchain writes them yet.
        if let Imports::Single(start, import) = group?
            && (import.module, import.name) == (PREVIEW1, "proc_exit")
        {
            let end = import.name.as_ptr() as usize - module.as_ptr() as usize + import.name.len();
            return Ok(Some(start..end));
        }
    }
    Ok(None)
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect;

    #[test]
    fn proc_exit_is_redirected_and_nothing_else_changes() {
        // (type (func (param i32))) (import proc_exit) (import fd_close) and a custom section behind.
        let entry = |module: &str, name: &str| {
            let mut out = Vec::new();
            for text in [module, name] {
                leb128(&mut out, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            out.extend_from_slice(&[0, 0]);
            out
        };
        let module = |entries: &[&Vec<u8>]| {
            let mut content = vec![entries.len() as u8];
            entries.iter().for_each(|entry| content.extend(*entry));
            let mut out = b"\0asm\x01\0\0\0\x01\x05\x01\x60\x01\x7f\0\x02".to_vec();
            leb128(&mut out, content.len());
            out.extend(content);
            out.extend(b"\0\x03\x01nx");
            out
        };
        let close = entry(PREVIEW1, "fd_close");
        let exit = entry(PREVIEW1, "proc_exit");
        let redirected = entry(EXIT_MODULE, EXIT_FUNCTION);
        let check = |given: &[&Vec<u8>], expected: &[&Vec<u8>]| {
            assert_eq!(redirect_exit(&module(given)).unwrap(), module(expected));
        };
        check(&[&close], &[&close]);
        check(&[&exit], &[&redirected]);
        check(&[&close, &exit, &close], &[&close, &redirected, &close]);
    }

    #[test]
    fn a_module_that_imports_from_elsewhere_is_refused_by_name() {
        let module = b"\0asm\x01\0\0\0";
        let outline = crate::Inspection {
            kind: ProgramKind::Command,
            imports: vec!["wasi_snapshot_preview1.fd_write".into(), "env.now".into()],
            ..inspect(module).unwrap()
        };
        assert_eq!(adapt(module, &outline), Err(PrepareError::MissingImports(vec!["env.now".into()])));
    }
}
