//! What an autoscaler's target has and uses, asked of the registry and of the nodes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pal_registry::{ListOptions, Object, Read};
use pal_resources::resource;
use pal_resources::selector::LabelSelector;

use super::execute::Executor;
use crate::action::{ResourceId, Target};
use crate::autoscaler::{Measured, PodUsage, Scale};

/// Whose scale is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) namespace: String,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
}

impl Executor {
    pub(super) async fn measure(&self, asked: &Asked, generation: i64) -> Measured {
        let scale = self.scale(asked).await;
        let usage = match &scale {
            Ok(scale) => self.usage(&asked.namespace, &scale.selector).await,
            Err(_) => BTreeMap::new(),
        };
        Measured { at: Timestamp::now(), generation, scale, usage }
    }

    async fn scale(&self, asked: &Asked) -> Result<Scale, String> {
        let Asked { namespace, api_version, kind, name } = asked;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = self.registry.find_kind(group, version, kind);
        let found = found.ok_or_else(|| format!("no matches for kind {kind:?} in group {group:?}"))?;
        let home = found.namespaced.then_some(namespace.as_str());
        let scale = self.registry.get_subresource(&found, "scale", home, name, Read::Any).await;
        let value = scale.and_then(|scale| scale.value()).map_err(|status| status.message)?;
        let text = |at: &str| value.pointer(at).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
        let selector = text("/status/selector");
        if selector.is_empty() {
            return Err("the HPA target's scale is missing a selector".to_owned());
        }
        let replicas = value["spec"]["replicas"].as_i64().unwrap_or(0);
        let (group, version, plural) = (found.group.to_string(), found.version.to_string(), found.plural.to_string());
        let target = Target {
            resource: ResourceId { group, version, plural },
            namespace: home.map(str::to_owned),
            name: name.clone(),
            uid: text("/metadata/uid"),
        };
        Ok(Scale { target, replicas: i32::try_from(replicas).unwrap_or(i32::MAX), selector })
    }

    async fn usage(&self, namespace: &str, selector: &str) -> BTreeMap<String, PodUsage> {
        let (Some(pods), Ok(label)) = (resource::find("", "v1", "pods"), LabelSelector::parse(selector)) else {
            return BTreeMap::new();
        };
        let options = ListOptions { label: Some(label), ..ListOptions::default() };
        let Ok(list) = self.registry.list(&pods, Some(namespace), options).await else { return BTreeMap::new() };
        let place = |pod: &Object| {
            let node = pod.index().field("spec.nodeName").filter(|node| !node.is_empty())?;
            Some((pod.name().to_owned(), node.to_owned()))
        };
        self.metrics.usage(namespace, list.items.iter().filter_map(place).collect()).await
    }
}
