//! What a manifest asks for, as far as the pod's life depends on it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerPort, EphemeralContainer, HTTPGetAction, Pod, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::hook::{Hook, HookKind, Hooks};
use crate::resize::Resources;
use crate::restart::Restarts;

/// `restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever the exit code.
    Always,
    /// After a failure.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    /// As manifests spell it; `Always` unless they say.
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "OnFailure" => Self::OnFailure,
            "Never" => Self::Never,
            _ => Self::Always,
        }
    }
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry each time.
    Always,
    /// Only when the node does not have it.
    IfNotPresent,
    /// The node has it or the container waits.
    Never,
}

/// What part a container plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: the next one starts when it is up, and it stays up.
    Sidecar,
    /// One of `containers`.
    Main,
    /// One of `ephemeralContainers`: it comes to a pod that is there already, runs once, and counts for nothing else.
    Ephemeral,
}

impl ContainerKind {
    /// The list of the manifest that has it.
    pub fn list(self) -> &'static str {
        match self {
            Self::Init | Self::Sidecar => "initContainers",
            Self::Main => "containers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// Until it succeeds the others rest.
    Startup,
    /// Gates traffic.
    Readiness,
    /// Its failure restarts the container.
    Liveness,
}

impl ProbeKind {
    /// All, in the order in which they are stored.
    pub(crate) const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// As events spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAction {
    /// `GET`; 200 to 399 is good.
    HttpGet {
        /// Where, when not the pod itself.
        host: Option<String>,
        /// The port.
        port: u16,
        /// The path with its query.
        path: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// A connection.
    TcpSocket {
        /// Where, when not the pod itself.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A program in the container; 0 is good.
    Exec {
        /// Its name and arguments.
        command: Vec<String>,
    },
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// What it does.
    pub action: ProbeAction,
    /// From the start of the run to the first one.
    pub initial_delay: Duration,
    /// From one to the next.
    pub period: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Successes in a row that count.
    pub success_threshold: u32,
    /// Failures in a row that count.
    pub failure_threshold: u32,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Its name.
    pub name: String,
    /// As the manifest has it.
    pub image: String,
    /// When to pull it.
    pub pull: PullPolicy,
    /// What part it plays.
    pub kind: ContainerKind,
    /// What becomes of it when it has ended.
    pub(crate) restarts: Restarts,
    /// What it may use.
    pub(crate) resources: Option<Arc<Resources>>,
    /// Startup, readiness, liveness.
    pub(crate) probes: [Option<Box<ProbePlan>>; 3],
    /// After the start and before the end.
    pub(crate) hooks: Hooks,
    /// Something in the manifest that cannot be done, in words.
    pub refusal: Option<String>,
}

impl ContainerPlan {
    /// Whether the pod is not ready without it.
    pub(crate) fn counts_for_ready(&self) -> bool {
        matches!(self.kind, ContainerKind::Sidecar | ContainerKind::Main)
    }

    /// Whether it runs again after that exit code, while the pod goes on.
    pub(crate) fn runs_again(&self, code: i32) -> bool {
        match self.kind {
            ContainerKind::Sidecar => true,
            ContainerKind::Ephemeral => false,
            ContainerKind::Init => code != 0 && self.restarts.again(code),
            ContainerKind::Main => self.restarts.again(code),
        }
    }

    /// The probe of that kind.
    pub fn probe(&self, kind: ProbeKind) -> Option<&ProbePlan> {
        self.probes[kind as usize].as_deref()
    }

    /// The hook of that kind.
    pub fn hook(&self, kind: HookKind) -> Option<&Hook> {
        self.hooks.get(kind)
    }
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// `NAME_NAMESPACE(UID)`, as kubelet's messages name a pod.
    pub label: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// What becomes of containers that end.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace: Duration,
    /// `activeDeadlineSeconds`.
    pub active_deadline: Option<Duration>,
    /// Conditions that must hold too before the pod is ready.
    pub readiness_gates: Vec<String>,
    /// Init containers first, in order, then the others, and those that came later at the end.
    pub containers: Vec<ContainerPlan>,
}

impl PodPlan {
    /// Reads a pod. What cannot be done is noted with the container that asks for it.
    pub fn new(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let namespace = meta.namespace.as_deref().unwrap_or("default");
        let uid = meta.uid.clone().unwrap_or_default();
        let spec = pod.spec.as_ref();
        let restart_policy = RestartPolicy::of(spec.and_then(|s| s.restart_policy.as_deref()).unwrap_or_default());
        let init = spec.and_then(|s| s.init_containers.as_deref()).unwrap_or_default();
        let main = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
        let refusal = spec.and_then(refusal);
        let of = |c: &Container, kind| {
            let mut plan = container(c, kind, restart_policy);
            plan.refusal = refusal.clone().or(plan.refusal);
            plan
        };
        let init = init.iter().map(|c| of(c, init_kind(c)));
        let later = spec.and_then(|s| s.ephemeral_containers.as_deref()).unwrap_or_default();
        let later = later.iter().map(|c| of(&as_container(c), ContainerKind::Ephemeral));
        let containers = init.chain(main.iter().map(|c| of(c, ContainerKind::Main))).chain(later).collect();
        let gates = spec.and_then(|s| s.readiness_gates.as_deref()).unwrap_or_default();
        Self {
            label: format!("{name}_{namespace}({uid})"),
            uid,
            generation: meta.generation,
            restart_policy,
            grace: seconds(spec.and_then(|s| s.termination_grace_period_seconds).unwrap_or(30)),
            active_deadline: spec.and_then(|s| s.active_deadline_seconds).map(seconds),
            readiness_gates: gates.iter().map(|g| g.condition_type.clone()).collect(),
            containers,
        }
    }

    /// The container of that name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|c| c.name == name)
    }
}

/// The manifest of a container that came later, in the form of the others.
pub fn as_container(later: &EphemeralContainer) -> Container {
    let own = later.clone();
    Container {
        name: own.name,
        image: own.image,
        image_pull_policy: own.image_pull_policy,
        command: own.command,
        args: own.args,
        working_dir: own.working_dir,
        env: own.env,
        env_from: own.env_from,
        volume_mounts: own.volume_mounts,
        security_context: own.security_context,
        stdin: own.stdin,
        stdin_once: own.stdin_once,
        tty: own.tty,
        ..Container::default()
    }
}

/// What the pod as a whole asks for and cannot have.
fn refusal(spec: &PodSpec) -> Option<String> {
    let refused = [
        (
            spec.host_network,
            "hostNetwork",
            "components have no network of their own to leave; use a Service of type NodePort",
        ),
        (spec.host_pid, "hostPID", "components are no processes of the node"),
        (spec.host_ipc, "hostIPC", "components share no memory with processes of the node"),
    ];
    let (_, field, why) = refused.into_iter().find(|(wanted, ..)| *wanted == Some(true))?;
    Some(format!("{field} is not supported: {why}"))
}

/// A port of the node that is none of HTTP's.
fn host_port(ports: &[ContainerPort]) -> Option<String> {
    let asks = |port: &&ContainerPort| port.host_port.is_some_and(|port| port > 0);
    let port = ports.iter().filter(asks).find(|port| port.protocol.as_deref().is_some_and(|of| of != "TCP"))?;
    let (number, protocol) = (port.host_port?, port.protocol.as_deref()?);
    Some(format!("hostPort {number} is not supported for {protocol}: pods are reached by HTTP"))
}

/// The manifest's seconds; less than none is none.
/// A longer time is as good as this one, with which clocks can still be reckoned.
pub(crate) const AGES: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A time that a user has set.
pub(crate) fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0)).min(AGES)
}

fn init_kind(container: &Container) -> ContainerKind {
    match container.restart_policy.as_deref() {
        Some("Always") => ContainerKind::Sidecar,
        _ => ContainerKind::Init,
    }
}

fn container(c: &Container, kind: ContainerKind, pod: RestartPolicy) -> ContainerPlan {
    let image = c.image.clone().unwrap_or_default();
    let pull = match c.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    };
    let ports = c.ports.as_deref().unwrap_or_default();
    let mut refusal = host_port(ports);
    let wanted = [
        ("startupProbe", &c.startup_probe),
        ("readinessProbe", &c.readiness_probe),
        ("livenessProbe", &c.liveness_probe),
    ];
    let probes = wanted.map(|(field, p)| {
        let p = p.as_ref()?;
        match probe(p, ports) {
            Ok(plan) => Some(Box::new(plan)),
            Err(why) => {
                refusal.get_or_insert(format!("{field}: {why}"));
                None
            }
        }
    });
    let hooks = Hooks::new(c.lifecycle.as_ref(), ports).unwrap_or_else(|why| {
        refusal.get_or_insert(why);
        Hooks::default()
    });
    let (restarts, resources) = (Restarts::of(c, pod), Resources::of(c));
    ContainerPlan { name: c.name.clone(), image, pull, kind, restarts, resources, probes, hooks, refusal }
}

fn probe(p: &Probe, ports: &[ContainerPort]) -> Result<ProbePlan, String> {
    let action = if let Some(get) = &p.http_get {
        http_get(get, ports)?
    } else if let Some(tcp) = &p.tcp_socket {
        ProbeAction::TcpSocket { host: tcp.host.clone().filter(|h| !h.is_empty()), port: port(&tcp.port, ports)? }
    } else if let Some(exec) = &p.exec {
        ProbeAction::Exec { command: exec.command.clone().unwrap_or_default() }
    } else if p.grpc.is_some() {
        return Err("grpc is not supported; use httpGet or tcpSocket".to_owned());
    } else {
        return Err("it has no handler".to_owned());
    };
    let at_least_one = |value: Option<i32>, default: u32| {
        value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
    };
    Ok(ProbePlan {
        action,
        initial_delay: seconds(p.initial_delay_seconds.unwrap_or(0).into()),
        period: Duration::from_secs(at_least_one(p.period_seconds, 10).into()),
        timeout: Duration::from_secs(at_least_one(p.timeout_seconds, 1).into()),
        success_threshold: at_least_one(p.success_threshold, 1),
        failure_threshold: at_least_one(p.failure_threshold, 3),
    })
}

/// A request to the container.
pub(crate) fn http_get(get: &HTTPGetAction, ports: &[ContainerPort]) -> Result<ProbeAction, String> {
    if get.scheme.as_deref() == Some("HTTPS") {
        return Err("httpGet.scheme HTTPS is not supported: components serve plain HTTP".to_owned());
    }
    let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let headers = get.http_headers.as_deref().unwrap_or_default();
    Ok(ProbeAction::HttpGet {
        host: get.host.clone().filter(|h| !h.is_empty()),
        port: port(&get.port, ports)?,
        path: format!("{slash}{path}"),
        headers: headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect(),
    })
}

fn port(value: &IntOrString, ports: &[ContainerPort]) -> Result<u16, String> {
    let number = match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match ports.iter().find(|p| p.name.as_deref() == Some(name)) {
            Some(port) => port.container_port,
            None => name.parse().map_err(|_| format!("no port of the container is named {name:?}"))?,
        },
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("{number} is no port"))
}
