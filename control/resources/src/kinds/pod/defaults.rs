//! What pods and pod templates default to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, Lifecycle, LifecycleHandler, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{ephemeral, volume, whole};
use crate::kinds::optional::{fill, fill_number, items_mut, text};
use crate::quantity::Quantity;

const DEFAULT_MODE: i32 = 0o644;

/// The defaults of a pod template.
pub(in crate::kinds) fn fill_template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    fill_spec(template.spec.get_or_insert_default());
}

/// The defaults that pods and templates share.
pub(super) fn fill_spec(spec: &mut PodSpec) {
    fill(&mut spec.restart_policy, "Always");
    fill(&mut spec.dns_policy, "ClusterFirst");
    fill(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_default();
    // `serviceAccount` is the old name of `serviceAccountName`; both are kept the same.
    if text(&spec.service_account_name).is_none() {
        spec.service_account_name = spec.service_account.take_if(|name| !name.is_empty());
    }
    spec.service_account.clone_from(&spec.service_account_name);
    for container in &mut spec.containers {
        fill_container(container);
    }
    for container in items_mut(&mut spec.init_containers) {
        fill_container(container);
    }
    for container in items_mut(&mut spec.ephemeral_containers) {
        ephemeral::fill_container(container);
    }
    for volume in items_mut(&mut spec.volumes) {
        fill_volume(volume);
    }
    canonical(&mut spec.overhead);
    if let Some(resources) = &mut spec.resources {
        canonical(&mut resources.limits);
        canonical(&mut resources.requests);
    }
}

/// The defaults that pods have and templates have not.
pub(super) fn fill_pod(spec: &mut PodSpec) {
    spec.enable_service_links.get_or_insert(true);
    for container in spec.containers.iter_mut().chain(items_mut(&mut spec.init_containers)) {
        request_what_is_limited(&mut container.resources);
        if spec.host_network == Some(true) {
            for port in items_mut(&mut container.ports) {
                fill_number(&mut port.host_port, port.container_port);
            }
        }
    }
    whole::fill(spec);
}

/// A limit without a request is also the request.
fn request_what_is_limited(resources: &mut Option<ResourceRequirements>) {
    let Some(resources) = resources else { return };
    let Some(limits) = &resources.limits else { return };
    for (name, limit) in limits {
        resources.requests.get_or_insert_default().entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

fn fill_container(container: &mut Container) {
    let policy = default_pull_policy(container.image.as_deref().unwrap_or(""));
    fill(&mut container.image_pull_policy, policy);
    fill(&mut container.termination_message_path, "/dev/termination-log");
    fill(&mut container.termination_message_policy, "File");
    for port in items_mut(&mut container.ports) {
        fill(&mut port.protocol, "TCP");
    }
    for variable in items_mut(&mut container.env) {
        let source = variable.value_from.as_mut().and_then(|source| source.field_ref.as_mut());
        if let Some(field) = source {
            fill(&mut field.api_version, "v1");
        }
    }
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe]
        .into_iter()
        .flatten()
    {
        fill_probe(probe);
    }
    if let Some(Lifecycle { post_start, pre_stop, .. }) = &mut container.lifecycle {
        post_start.iter_mut().chain(pre_stop).for_each(fill_handler);
    }
    let ResourceRequirements { limits, requests, .. } = container.resources.get_or_insert_default();
    canonical(limits);
    canonical(requests);
}

fn fill_probe(probe: &mut Probe) {
    fill_number(&mut probe.timeout_seconds, 1);
    fill_number(&mut probe.period_seconds, 10);
    fill_number(&mut probe.success_threshold, 1);
    fill_number(&mut probe.failure_threshold, 3);
    if let Some(http) = &mut probe.http_get {
        fill(&mut http.path, "/");
        fill(&mut http.scheme, "HTTP");
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn fill_handler(handler: &mut LifecycleHandler) {
    if let Some(http) = &mut handler.http_get {
        fill(&mut http.path, "/");
        fill(&mut http.scheme, "HTTP");
    }
}

fn fill_volume(source: &mut Volume) {
    if volume::sources(source).is_empty() {
        source.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(limit) = source.empty_dir.as_mut().and_then(|dir| dir.size_limit.as_mut()) {
        limit.0 = Quantity::canonical(&limit.0).unwrap_or_else(|_| limit.0.clone());
    }
    if let Some(secret) = &mut source.secret {
        secret.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(config) = &mut source.config_map {
        config.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(path) = &mut source.host_path {
        path.type_.get_or_insert_default();
    }
    if let Some(downward) = &mut source.downward_api {
        downward.default_mode.get_or_insert(DEFAULT_MODE);
        for file in items_mut(&mut downward.items) {
            if let Some(field) = &mut file.field_ref {
                fill(&mut field.api_version, "v1");
            }
        }
    }
    if let Some(projected) = &mut source.projected {
        projected.default_mode.get_or_insert(DEFAULT_MODE);
        for part in items_mut(&mut projected.sources) {
            if let Some(token) = &mut part.service_account_token {
                token.expiration_seconds.get_or_insert(3600);
            }
            let files = part.downward_api.as_mut().and_then(|downward| downward.items.as_mut());
            for field in files.into_iter().flatten().filter_map(|file| file.field_ref.as_mut()) {
                fill(&mut field.api_version, "v1");
            }
        }
    }
}

/// `Always` where the image's name may mean another image tomorrow.
pub(super) fn default_pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(n, d)| (n, Some(d)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, "latest")), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

/// Amounts in the form in which Kubernetes stores them; what is no amount stays for validation to refuse.
pub(in crate::kinds) fn canonical(amounts: &mut Option<BTreeMap<String, Text>>) {
    for amount in amounts.iter_mut().flat_map(|map| map.values_mut()) {
        if let Ok(quantity) = amount.0.parse::<Quantity>() {
            amount.0 = quantity.rounded_to_millis().to_string();
        }
    }
}
