//! From a core module for WASI 0.1 to a component.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::inspect::{Inspection, PREVIEW1};
use crate::{PrepareError, ProgramKind};

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

    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        })
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|e| PrepareError::Malformed(format!("{e:#}")))
}
