//! `pal inspect`

use serde_json::json;

use crate::args::InspectArgs;
use crate::error::CliError;
use crate::out;

pub async fn run(args: InspectArgs) -> Result<(), CliError> {
    for (index, path) in args.files.iter().enumerate() {
        let bytes = tokio::fs::read(path).await.map_err(CliError::file(path))?;
        let found =
            pal_engine::inspect(&bytes).map_err(|error| CliError::other(format!("{}: {error}", path.display())))?;
        if args.json {
            let value = json!({
                "file": path.display().to_string(), "kind": found.kind.to_string(), "coreModule": found.is_core_module,
                "size": found.size, "imports": found.imports, "exports": found.exports,
            });
            out::line(format_args!("{value}"))?;
            continue;
        }
        if index > 0 {
            out::line("")?;
        }
        out::line(format_args!("{}", path.display()))?;
        let form = if found.is_core_module { "core module (adapted when it is run)" } else { "component" };
        out::line(format_args!("  kind:     {}", found.kind))?;
        out::line(format_args!("  form:     {form}"))?;
        out::line(format_args!("  size:     {} bytes", found.size))?;
        list("imports:", &found.imports)?;
        list("exports:", &found.exports)?;
    }
    Ok(())
}

fn list(title: &str, names: &[String]) -> Result<(), CliError> {
    let first = names.first().map_or("none", String::as_str);
    out::line(format_args!("  {title:9} {first}"))?;
    for name in names.iter().skip(1) {
        out::line(format_args!("  {:9} {name}", ""))?;
    }
    Ok(())
}
