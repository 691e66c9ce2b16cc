//! Local Wasm files in manifests: pushed to the cluster's registry, and named there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pal_engine::Inspection;
use pal_image::{Reference, RegistryClient, push};
use serde_json::Value;

use crate::error::CliError;
use crate::manifest::Document;
use crate::paths::as_name;

/// Pushes local files and remembers what they are called now, so that each is sent once.
pub struct Images {
    client: RegistryClient,
    pushed: HashMap<PathBuf, String>,
}

impl Images {
    /// Pushes by this client.
    pub fn new(client: RegistryClient) -> Self {
        Self { client, pushed: HashMap::new() }
    }

    /// Rewrites every `image` of the document that names a local file.
    pub async fn resolve(&mut self, document: &mut Document) -> Result<(), CliError> {
        let (origin, folder) = (document.origin.to_string(), document.origin.folder.clone());
        let kind = document.kind().to_owned();
        for image in container_images(&kind, &mut document.object) {
            let Some(text) = image.as_str() else { continue };
            let Some(path) = Reference::local_file(text) else { continue };
            let reference = self.push(&folder.join(path)).await.map_err(|error| match error {
                CliError::File { path, source } => {
                    CliError::other(format!("{origin}: image {text:?}: {}: {source}", path.display()))
                }
                other => other,
            })?;
            *image = Value::String(reference);
        }
        Ok(())
    }

    /// Pushes one file; what it is called in the cluster.
    pub async fn push(&mut self, path: &Path) -> Result<String, CliError> {
        let path = std::fs::canonicalize(path).map_err(CliError::file(path))?;
        if let Some(reference) = self.pushed.get(&path) {
            return Ok(reference.clone());
        }
        let bytes = tokio::fs::read(&path).await.map_err(CliError::file(&path))?;
        let reference = self.push_bytes(&path, bytes).await?;
        self.pushed.insert(path, reference.clone());
        Ok(reference)
    }

    /// Pushes what was read from a file.
    pub async fn push_bytes(&self, path: &Path, bytes: Vec<u8>) -> Result<String, CliError> {
        let os = if inspect(path, &bytes)?.is_core_module { "wasip1" } else { "wasip2" };
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = as_name(stem).unwrap_or_else(|| "app".to_owned());
        let pushed = push(&self.client, &name, bytes.into(), os)
            .await
            .map_err(|error| CliError::other(format!("cannot push {}: {error}", path.display())))?;
        Ok(pushed.reference)
    }
}

/// What the bytes of that file are, or why they are no program.
pub fn inspect(path: &Path, bytes: &[u8]) -> Result<Inspection, CliError> {
    pal_engine::inspect(bytes).map_err(|error| CliError::other(format!("{}: {error}", path.display())))
}

/// The `image` fields of a Pod, or of a kind that has a pod template.
fn container_images<'a>(kind: &str, object: &'a mut Value) -> Vec<&'a mut Value> {
    let spec = match kind {
        "Pod" => object.get_mut("spec"),
        "CronJob" => object.pointer_mut("/spec/jobTemplate/spec/template/spec"),
        _ => object.pointer_mut("/spec/template/spec"),
    };
    let Some(Value::Object(spec)) = spec else { return Vec::new() };
    spec.iter_mut()
        .filter(|(field, _)| matches!(field.as_str(), "containers" | "initContainers" | "ephemeralContainers"))
        .filter_map(|(_, containers)| containers.as_array_mut())
        .flatten()
        .filter_map(|container| container.get_mut("image"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_where_pods_and_templates_have_them() {
        let check = |kind: &str, object: Value, expected: &[&str]| {
            let mut object = object;
            let found: Vec<String> =
                container_images(kind, &mut object).iter().map(|i| i.as_str().unwrap_or_default().to_owned()).collect();
            assert_eq!(found, expected, "{kind}");
        };
        let pod =
            serde_json::json!({"containers": [{"image": "a"}, {"name": "x"}], "initContainers": [{"image": "b"}]});
        check("Pod", serde_json::json!({ "spec": pod }), &["a", "b"]);
        check("Deployment", serde_json::json!({"spec": {"template": {"spec": pod}}}), &["a", "b"]);
        check("ConfigMap", serde_json::json!({"data": {"image": "a"}}), &[]);
    }
}
