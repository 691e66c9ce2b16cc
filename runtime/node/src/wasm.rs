//! Images, components and the network as they really are.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use pal_engine::{
    Body, Engine, InstanceSpec, Outbound, OutboundError, OutboundTimeouts, PrepareError, Program, ProgramKind, Running,
    Service, StartError,
};
use pal_image::{Artifact, PullError, PullPolicy, Puller};
use pal_lifecycle::{Cause, Exit, Image, ImageFailure, ProbeAction, StartFailure};
use pal_network::{
    Attachment, Backend, HostPort as OpenPort, Network, PodOrigin, PodOutbound, SendError, SharedBackend,
};
use pal_resources::host_port::{ANY_ADDRESS, HostPort};
use tokio::sync::{OnceCell, Semaphore};

use crate::exec::tools;
use crate::reach;
use crate::runtime::{
    self, CANCELLED, ExecFailure, KILLED, LaunchSpec, LocalImage, PortClaim, Runtime, TRAPPED, Workload, exit,
};
use crate::stats::{Place, Stats};

/// How long a command may take to be cancelled.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// The node's own.
pub(crate) struct WasmRuntime {
    pub(crate) engine: Engine,
    pub(crate) puller: Puller,
    pub(crate) network: Network,
    /// What runs is counted here.
    pub(crate) stats: Arc<Stats>,
    /// Services that are tried at a time.
    pub(crate) trials: Semaphore,
    /// The shell and the other programs that every container has, once one was asked for.
    pub(crate) tools: OnceCell<Arc<Program>>,
}

#[async_trait]
impl Runtime for WasmRuntime {
    async fn find_image(&self, reference: &str) -> Result<Option<LocalImage>, ImageFailure> {
        match self.puller.pull(reference, PullPolicy::Never).await {
            Ok(artifact) => Ok(Some(local(artifact))),
            Err(PullError::NotPresent(_)) => Ok(None),
            Err(error) => Err(image_failure(&error)),
        }
    }

    async fn pull_image(&self, reference: &str, or_local: bool) -> Result<LocalImage, ImageFailure> {
        let pulled = self.puller.pull(reference, PullPolicy::Always).await;
        if let (Err(error @ PullError::Unreachable { .. }), true) = (&pulled, or_local)
            && let Ok(artifact) = self.puller.pull(reference, PullPolicy::Never).await
        {
            tracing::warn!(%error, "the image that is here is used");
            return Ok(local(artifact));
        }
        pulled.map(local).map_err(|e| image_failure(&e))
    }

    async fn launch(&self, image: &LocalImage, spec: LaunchSpec) -> Result<Arc<dyn Workload>, StartFailure> {
        let program = self.engine.prepare(&image.path, &image.digest).await.map_err(|e| prepare_failure(&e))?;
        let instance = self.instance(&spec);
        let serving = image.defaults.as_ref().and_then(|defaults| defaults.serving(&spec.args));
        match (program.kind(), serving) {
            (ProgramKind::Command, _) | (ProgramKind::HttpService { .. }, Some(false)) => {
                let heeds_interrupts = spec.terminal && self.is_tools(&program).await;
                let running = program.run(instance).await.map_err(start_failure)?;
                Ok(Arc::new(Command { running, heeds_interrupts }))
            }
            (ProgramKind::HttpService { .. }, Some(true)) => {
                let served = self.serve(&program, instance.clone(), &spec).await?;
                let running = program.run(instance).await.map_err(start_failure)?;
                Ok(Arc::new(Both { command: Command { running, heeds_interrupts: false }, served }))
            }
            (ProgramKind::HttpService { .. }, None) => Ok(Arc::new(self.serve(&program, instance, &spec).await?)),
            (ProgramKind::Library, _) => Err(not_created(
                "the component is a library: it exports neither wasi:cli/run nor a wasi:http handler, \
                 and linking libraries is not supported yet"
                    .to_owned(),
            )),
        }
    }

    async fn exec(&self, image: &LocalImage, program: runtime::Program) -> Result<Arc<dyn Workload>, ExecFailure> {
        let component = self.program_named(program.args.first().map_or("", String::as_str), image).await?;
        let (place, terminal) = (program.place, program.terminal);
        let spec = InstanceSpec {
            args: program.args,
            env: place.env,
            mounts: place.mounts,
            stdin: program.stdin,
            terminal,
            stdout: program.stdout,
            stderr: program.stderr,
            memory_limit: place.memory_limit,
            outbound: self.way_out(place.namespace, place.pod, place.ip),
            ..InstanceSpec::default()
        };
        let heeds_interrupts = terminal && self.is_tools(&component).await;
        let running = component.run(spec).await.map_err(|error| ExecFailure::Other(error.to_string()))?;
        Ok(Arc::new(Command { running, heeds_interrupts }))
    }

    async fn reach(&self, ip: Ipv4Addr, action: &ProbeAction) -> Result<Option<StatusCode>, String> {
        reach::reach(&self.network, ip, action).await
    }
}

impl WasmRuntime {
    fn way_out(&self, namespace: String, pod: String, ip: Ipv4Addr) -> Arc<dyn Outbound> {
        Arc::new(WayOut(self.network.outbound(PodOrigin { namespace, name: pod, ip: Some(ip) })))
    }

    async fn tools(&self) -> Result<&Arc<Program>, ExecFailure> {
        let prepare = async || {
            let other = |why: String| ExecFailure::Other(why);
            let (digest, path) = self.puller.tools().await.map_err(|error| other(error.to_string()))?;
            self.engine.prepare(&path, digest.as_str()).await.map_err(|error| other(error.to_string()))
        };
        self.tools.get_or_try_init(prepare).await
    }

    /// Whether it is the shell with its tools, by whatever name it was pulled.
    async fn is_tools(&self, program: &Program) -> bool {
        self.puller.tools().await.is_ok_and(|(digest, _)| digest.as_str() == program.digest())
    }

    /// The component that a program's name means in a container of that image.
    async fn program_named(&self, name: &str, image: &LocalImage) -> Result<Arc<Program>, ExecFailure> {
        let shared = self.tools().await?;
        if tools::provide(name) {
            return Ok(shared.clone());
        }
        if image.digest == shared.digest() {
            // A script's path may lead somewhere, another name does not.
            return if name.contains('/') { Ok(shared.clone()) } else { Err(ExecFailure::NotFound(name.to_owned())) };
        }
        let own = self.engine.prepare(&image.path, &image.digest).await;
        let own = own.map_err(|error| ExecFailure::Other(error.to_string()))?;
        match own.kind() {
            ProgramKind::Command => Ok(own),
            ProgramKind::HttpService { .. } | ProgramKind::Library => Err(ExecFailure::NoCommand(name.to_owned())),
        }
    }

    fn instance(&self, spec: &LaunchSpec) -> InstanceSpec {
        InstanceSpec {
            args: spec.args.clone(),
            env: spec.env.clone(),
            mounts: spec.mounts.clone(),
            stdin: spec.stdin.clone(),
            terminal: spec.terminal,
            stdout: spec.stdout.clone(),
            stderr: spec.stderr.clone(),
            memory_limit: spec.memory_limit,
            outbound: self.way_out(spec.namespace.clone(), spec.pod.clone(), spec.ip),
            request_timeout: spec.request_timeout,
            meter: self.stats.begin(Place {
                namespace: spec.namespace.clone(),
                pod: spec.pod.clone(),
                container: spec.container.clone(),
            }),
            ..InstanceSpec::default()
        }
    }

    async fn serve(
        &self,
        program: &Arc<Program>,
        instance: InstanceSpec,
        spec: &LaunchSpec,
    ) -> Result<Served, StartFailure> {
        let claim = spec.claims.claim(&spec.container, &spec.ports).map_err(not_created)?;
        let permit = self.trials.acquire().await;
        let service = program.serve(instance).await.map_err(start_failure)?;
        drop(permit);
        let backend: SharedBackend = Arc::new(ServiceBackend(service.clone()));
        let attachments = spec.ports.iter().map(|port| self.network.attach(spec.ip, *port, backend.clone())).collect();
        let host_ports = spec.host_ports.iter().map(|port| self.open(port, backend.clone()));
        let host_ports = host_ports.collect::<Result<_, _>>().map_err(not_created)?;
        let reach = Reach { _attachments: attachments, _host_ports: host_ports, _claim: claim };
        Ok(Served { service, reach: Mutex::new(Some(reach)) })
    }

    fn open(&self, port: &HostPort, backend: SharedBackend) -> Result<OpenPort, String> {
        let number = u16::try_from(port.port).map_err(|_| format!("hostPort {} is no port", port.port))?;
        let address = match port.address.as_str() {
            ANY_ADDRESS => None,
            address => Some(address.parse().map_err(|_| format!("hostIP {address:?} is no address"))?),
        };
        self.network.open_host_port(address, number, backend).map_err(|error| error.to_string())
    }
}

fn local(artifact: Artifact) -> LocalImage {
    LocalImage {
        image: Image { id: artifact.image_id.into(), size: artifact.size },
        digest: artifact.digest.to_string(),
        path: artifact.path,
        defaults: artifact.defaults,
    }
}

fn image_failure(error: &PullError) -> ImageFailure {
    let cause = match error {
        PullError::BadReference(_) => Cause::InvalidImageName,
        _ => Cause::ErrImagePull,
    };
    ImageFailure { cause, message: error.to_string() }
}

fn not_created(message: String) -> StartFailure {
    StartFailure::NotCreated { cause: Cause::CreateContainerError, message }
}

fn prepare_failure(error: &PrepareError) -> StartFailure {
    not_created(match error {
        PrepareError::NotWasm => format!("{error}; Palinurus runs Wasm components"),
        _ => error.to_string(),
    })
}

fn start_failure(error: StartError) -> StartFailure {
    match error {
        StartError::Mount { .. } => {
            StartFailure::NotCreated { cause: Cause::CreateContainerConfigError, message: error.to_string() }
        }
        StartError::Trap(message) => StartFailure::Crashed(exit(TRAPPED, message)),
        StartError::OutOfMemory(message) => StartFailure::Crashed(Exit { code: KILLED, out_of_memory: true, message }),
        StartError::Timeout(_) => StartFailure::Crashed(exit(KILLED, error.to_string())),
        other => not_created(other.to_string()),
    }
}

/// A command that runs.
struct Command {
    running: Running,
    /// It is the shell, or one of its tools.
    heeds_interrupts: bool,
}

fn ended(end: pal_engine::Exit) -> Exit {
    match end {
        pal_engine::Exit::Code(code) => exit(code, ""),
        pal_engine::Exit::Trap(message) => exit(TRAPPED, message),
        pal_engine::Exit::OutOfMemory => Exit { code: KILLED, out_of_memory: true, message: String::new() },
        pal_engine::Exit::Cancelled => exit(CANCELLED, ""),
    }
}

#[async_trait]
impl Workload for Command {
    fn ends(&self) -> bool {
        true
    }

    fn heeds_interrupts(&self) -> bool {
        self.heeds_interrupts
    }

    fn set_memory_limit(&self, bytes: u64) -> Result<(), u64> {
        self.running.set_memory_limit(bytes)
    }

    async fn wait(&self) -> Exit {
        ended(self.running.wait().await)
    }

    /// A component cannot be told to end, so that there is nothing it could do with the grace: this is SIGTERM for a
    /// program that does not handle it.
    async fn stop(&self, _notice: Duration, _grace: Duration) -> Exit {
        self.running.cancel();
        match tokio::time::timeout(CANCEL_LIMIT, self.running.wait()).await {
            Ok(end) => ended(end),
            Err(_) => exit(KILLED, "it did not end in time"),
        }
    }
}

/// A service that is reachable.
struct Served {
    service: Service,
    reach: Mutex<Option<Reach>>,
}

/// What makes a service reachable, until it is dropped.
struct Reach {
    _attachments: Vec<Attachment>,
    _host_ports: Vec<OpenPort>,
    _claim: PortClaim,
}

#[async_trait]
impl Workload for Served {
    fn ends(&self) -> bool {
        false
    }

    fn set_memory_limit(&self, bytes: u64) -> Result<(), u64> {
        self.service.set_memory_limit(bytes)
    }

    async fn wait(&self) -> Exit {
        std::future::pending().await
    }

    async fn stop(&self, notice: Duration, grace: Duration) -> Exit {
        let notice = notice.min(grace);
        tokio::time::sleep(notice).await;
        drop(self.reach.lock().unwrap_or_else(PoisonError::into_inner).take());
        let drained = tokio::time::timeout(grace.saturating_sub(notice), self.service.drained()).await;
        self.service.stop();
        match drained {
            Err(_) if !grace.is_zero() && self.service.in_flight() > 0 => {
                exit(KILLED, "requests outlived the grace period")
            }
            _ => exit(0, ""),
        }
    }
}

/// A program that runs and answers requests too; it ends with what runs.
struct Both {
    command: Command,
    served: Served,
}

#[async_trait]
impl Workload for Both {
    fn ends(&self) -> bool {
        true
    }

    fn set_memory_limit(&self, bytes: u64) -> Result<(), u64> {
        self.command.set_memory_limit(bytes)?;
        self.served.set_memory_limit(bytes)
    }

    async fn wait(&self) -> Exit {
        let exit = self.command.wait().await;
        self.served.stop(Duration::ZERO, Duration::ZERO).await;
        exit
    }

    async fn stop(&self, notice: Duration, grace: Duration) -> Exit {
        self.served.stop(notice, grace).await;
        self.command.stop(notice, grace).await
    }
}

struct ServiceBackend(Service);

impl Backend for ServiceBackend {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let service = self.0.clone();
        Box::pin(async move { service.handle(request).await })
    }
}

/// A pod's way out, as the engine wants it.
struct WayOut(PodOutbound);

impl Outbound for WayOut {
    fn send(
        &self,
        request: Request<Body>,
        timeouts: OutboundTimeouts,
    ) -> BoxFuture<'static, Result<Response<Body>, OutboundError>> {
        let network = self.0.clone();
        Box::pin(async move {
            let sent = network.send(request);
            let answer = match timeouts.first_byte {
                Some(limit) => tokio::time::timeout(limit, sent).await.map_err(|_| OutboundError::ResponseTimeout)?,
                None => sent.await,
            };
            answer.map_err(|error| match error {
                SendError::NoHost => OutboundError::Protocol(error.to_string()),
                SendError::NoSuchHost(host) => OutboundError::DnsError(host),
                SendError::Refused(_) => OutboundError::Refused,
                SendError::Denied(why) => OutboundError::Denied(why),
                SendError::Unreachable(_) => OutboundError::ConnectionTimeout,
                SendError::Reset(_) => OutboundError::ConnectionReset,
            })
        })
    }
}
