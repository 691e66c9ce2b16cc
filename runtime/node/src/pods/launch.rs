//! What a pod needs before its containers can run, and what a container needs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use pal_engine::Mount;
use pal_image::Defaults;
use pal_lifecycle::{Cause, Event, Run, StartFailure};
use pal_resources::host_port::HostPort;
use pal_resources::quantity::Quantity;

use super::fields::Facts;
use super::sources::{self, Origin, Sources};
use super::termination::LastWords;
use super::volumes::Shown;
use super::{Shared, env, root, user, volumes};
use crate::disk;
use crate::exec::{self, Asked, Io, Place};
use crate::logs::{ContainerLog, Stream};
use crate::runtime::{LaunchSpec, LocalImage, PortClaims, Workload};

/// How long a pod waits at a time for an address, and for objects.
const PREPARE_LIMIT: Duration = Duration::from_secs(10);
/// Where a container that looks into another sees that one's files: with containers of processes it is the root of the
/// first process, which is the other container's.
const TARGET_ROOT: &str = "/proc/1/root";
/// How often volumes that show objects are brought up to date.
pub(super) const REFRESH: Duration = Duration::from_secs(60);
/// Where an HTTP service is reached that names no port.
const DEFAULT_PORT: u16 = 8080;
/// A pod's word on how long its services may take to answer, in seconds.
const REQUEST_TIMEOUT: &str = "palinurus.dev/request-timeout";

/// Gives the pod an address and its volumes.
pub(super) async fn prepare(shared: Arc<Shared>, pod: Arc<Pod>, ip: Option<IpAddr>) -> Event {
    let ip = match ip {
        Some(ip) => ip,
        None => match shared.addresses.allocate(PREPARE_LIMIT).await {
            Ok(ip) => IpAddr::V4(ip),
            Err(message) => return Event::PrepareFailed { reason: "FailedCreatePodSandBox", message },
        },
    };
    match set_up_volumes(&shared, &pod, Some(ip)).await {
        Ok(_) => Event::Prepared { ip },
        Err(message) => {
            shared.addresses.release(ip);
            Event::PrepareFailed { reason: "FailedMount", message }
        }
    }
}

/// Makes or refreshes the pod's volumes. What comes back is how long they may stay as they are now; nothing where they
/// always do.
pub(super) async fn set_up_volumes(
    shared: &Arc<Shared>,
    pod: &Arc<Pod>,
    ip: Option<IpAddr>,
) -> Result<Option<Duration>, String> {
    if pod.spec.as_ref().is_none_or(|s| s.volumes.as_ref().is_none_or(Vec::is_empty)) {
        return Ok(None);
    }
    let sources = fetch(shared, pod, sources::of_volumes(pod)).await?;
    let next = next_look(sources::follow_objects(pod), sources.renew(), Timestamp::now());
    let (shared, pod) = (shared.clone(), pod.clone());
    let work = move || {
        let facts = Facts { pod: &pod, ip, host_ip: shared.host_ip, capacity: shared.capacity };
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let dir = shared.volumes_dir.join(uid).join("volumes");
        volumes::set_up(&dir, &facts, &sources, &shared.local_volumes)
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())??;
    Ok(next)
}

/// When volumes are looked at again: soon where they follow objects, or where a token could not be renewed in its time;
/// else when a token is to be renewed.
fn next_look(follow_objects: bool, renew: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    if follow_objects {
        return Some(REFRESH);
    }
    let left = renew.map(|renew| Duration::try_from(now.duration_until(renew)).unwrap_or_default());
    left.map(|left| left.max(REFRESH))
}

async fn fetch(shared: &Shared, pod: &Pod, names: Vec<sources::SourceName>) -> Result<Sources, String> {
    if names.is_empty() {
        return Ok(Sources::default());
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let kept = shared.volumes_dir.join(pod.metadata.uid.as_deref().unwrap_or_default()).join("objects");
    let origin = Origin { client: &shared.client, namespace, kept: &kept, root_ca: &shared.root_ca };
    let fetched = tokio::time::timeout(PREPARE_LIMIT, Sources::fetch(origin, names)).await;
    fetched.map_err(|_| "the server gave no answer".to_owned())?
}

/// A container that is to be started.
pub(super) struct Start {
    pub(super) run: Run,
    pub(super) ip: Ipv4Addr,
    pub(super) image: LocalImage,
    pub(super) log: Arc<ContainerLog>,
    pub(super) claims: PortClaims,
    /// Another container's files, shown at [`TARGET_ROOT`].
    pub(super) seen: Vec<Mount>,
}

/// Starts a container.
pub(super) async fn start(shared: Arc<Shared>, pod: Arc<Pod>, start: Start) -> Result<Launched, StartFailure> {
    let Start { run, ip, image, log, claims, seen } = start;
    let wrong = |message: String| StartFailure::NotCreated { cause: Cause::CreateContainerConfigError, message };
    let spec = pod.spec.as_ref().ok_or_else(|| wrong("the pod has no spec".to_owned()))?;
    let container = sources::container(spec, run.container).ok_or_else(|| wrong("no such container".to_owned()))?;
    let container = &*container;
    if let Some(why) = user::breaks_non_root(&pod, container) {
        return Err(wrong(why));
    }
    let sources = fetch(&shared, &pod, sources::of_env(container)).await.map_err(wrong)?;
    let facts = Facts { pod: &pod, ip: Some(ip.into()), host_ip: shared.host_ip, capacity: shared.capacity };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let services = shared.services.variables(namespace, spec.enable_service_links.unwrap_or(true));
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let pod_dir = shared.volumes_dir.join(uid);
    let volumes = pod_dir.join("volumes");
    let mut variables = env::variables(container, &facts, &services, &sources, &volumes).map_err(wrong)?;
    let shown = shown(&pod_dir, &pod, container, &variables).map_err(wrong)?;
    let mut mounts = shown.mounts.clone();
    if mounts.iter().all(|mount| mount.guest != "/") {
        let (dir, files) =
            (pod_dir.join("roots").join(&container.name), image.defaults.as_ref().map(|image| &image.files));
        let root = root::set_up(&dir, &pod, container, ip.into(), files, &shown);
        mounts.insert(0, root.map_err(wrong)?);
    }
    show(&seen, &mut mounts).map_err(wrong)?;
    if let Some(dir) = container.working_dir.as_ref().filter(|dir| !dir.is_empty()) {
        variables.push(("PWD".to_owned(), dir.clone()));
    }
    let asked = Asked {
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
    };
    let (io, stdin) = Io::new(log.clone(), asked);
    let place = Place {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        ip,
        env: variables,
        mounts,
        memory_limit: memory_limit(container).map_err(wrong)?,
    };
    let args = env::arguments(container, &place.env, image.defaults.as_ref());
    let ports = ports(container, image.defaults.as_ref(), &args);
    let launch = LaunchSpec {
        namespace: place.namespace.clone(),
        pod: place.pod.clone(),
        args,
        env: place.env.clone(),
        mounts: place.mounts.clone(),
        memory_limit: place.memory_limit,
        request_timeout: request_timeout(&pod).map_err(wrong)?,
        ip,
        container: container.name.clone(),
        host_ports: HostPort::of_container(container).collect(),
        ports,
        claims,
        stdin,
        terminal: asked.tty,
        stdout: io.sink(Stream::Stdout),
        stderr: io.sink(Stream::Stderr),
    };
    let words = LastWords::of(container, &launch.mounts, log);
    let workload = shared.runtime.launch(&image, launch).await?;
    let heeds = workload.heeds_interrupts();
    let container = Arc::new(exec::Container::new(container.name.clone(), image, place, io, heeds));
    Ok(Launched { workload, container, words })
}

/// A container that was started.
pub(super) struct Launched {
    pub(super) workload: Arc<dyn Workload>,
    /// For who joins it.
    pub(super) container: Arc<exec::Container>,
    /// What it leaves to say of its end.
    pub(super) words: LastWords,
}

/// Shows another container's files below [`TARGET_ROOT`].
fn show(seen: &[Mount], mounts: &mut Vec<Mount>) -> Result<(), String> {
    let own = mounts.iter().find(|mount| mount.guest == "/" && !seen.is_empty());
    if let Some(own) = own {
        // Programs that list directories find it there.
        let place = own.host.join(&own.sub_path).join(TARGET_ROOT.trim_start_matches('/'));
        disk::private_dir(&place).map_err(|error| format!("the other container's files: {error}"))?;
    }
    mounts.extend(seen.iter().map(|mount| {
        let guest = format!("{TARGET_ROOT}{}", mount.guest.trim_end_matches('/'));
        Mount { guest, ..mount.clone() }
    }));
    Ok(())
}

fn shown(pod_dir: &Path, pod: &Pod, container: &Container, env: &[(String, String)]) -> Result<Shown, String> {
    let files = pod_dir.join("files").join(&container.name);
    volumes::show(&pod_dir.join("volumes"), &files, pod, container, env)
}

/// `limits.memory`, in bytes.
pub(super) fn memory_limit(container: &Container) -> Result<Option<u64>, String> {
    let limit = container.resources.as_ref().and_then(|r| r.limits.as_ref()).and_then(|l| l.get("memory"));
    let limit = limit.map(|q| Quantity::try_from(q).map_err(|e| format!("limits.memory: {e}"))).transpose()?;
    Ok(limit.and_then(|q| u64::try_from(q.units()).ok()).filter(|bytes| *bytes > 0))
}

fn request_timeout(pod: &Pod) -> Result<Duration, String> {
    match pod.metadata.annotations.as_ref().and_then(|a| a.get(REQUEST_TIMEOUT)) {
        None => Ok(Duration::from_secs(30)),
        Some(text) => match text.trim_end_matches('s').parse::<f64>() {
            Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Err(format!("annotation {REQUEST_TIMEOUT}: {text:?} is no number of seconds")),
        },
    }
}

/// Where the container is reached: at the ports that it declares, at the one that its program is known to listen at, else
/// at the image's.
fn ports(container: &Container, defaults: Option<&Defaults>, args: &[String]) -> Vec<u16> {
    let tcp = container.ports.iter().flatten().filter(|p| p.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let mut ports: Vec<u16> = tcp.filter_map(|p| u16::try_from(p.container_port).ok()).collect();
    let own = defaults.and_then(|defaults| defaults.own_port(args));
    ports.extend(own.filter(|own| !ports.contains(own)));
    if ports.is_empty() {
        ports.push(defaults.and_then(|defaults| defaults.port).unwrap_or(DEFAULT_PORT));
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_containers_files_are_seen_below_its_root() {
        let dir = tempfile::tempdir().unwrap();
        let at = |guest: &str, host: &Path| Mount {
            host: host.to_owned(),
            sub_path: Default::default(),
            guest: guest.to_owned(),
            read_only: false,
        };
        let mut mounts = vec![at("/", dir.path())];
        show(&[], &mut mounts).unwrap();
        assert!(mounts.len() == 1 && !dir.path().join("proc").exists());
        show(&[at("/", Path::new("/a")), at("/data/", Path::new("/b"))], &mut mounts).unwrap();
        let guests: Vec<_> = mounts.iter().map(|mount| mount.guest.as_str()).collect();
        assert_eq!(guests, ["/", "/proc/1/root", "/proc/1/root/data"]);
        assert!(dir.path().join("proc/1/root").is_dir());
    }

    #[test]
    fn volumes_are_looked_at_when_something_in_them_may_have_changed() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let check = |follow: bool, renew: Option<i64>, expected: Option<u64>| {
            let found = next_look(follow, renew.map(at), at(1000));
            assert_eq!(found, expected.map(Duration::from_secs), "{follow} {renew:?}");
        };
        check(false, None, None);
        check(true, None, Some(60));
        check(true, Some(4000), Some(60));
        check(false, Some(4000), Some(3000));
        check(false, Some(1010), Some(60));
        check(false, Some(500), Some(60));
    }
}
