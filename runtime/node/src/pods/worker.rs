//! One pod's task: feeds the machine, has its [effects](super::effects) carried out, and reports.
//!
//! What takes time is a future in `jobs`; the task itself never waits for anything but the next thing to happen. An idle
//! pod is a task without timers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use pal_lifecycle::{Event, ImageFailure, PodPlan, PodState, Report, RestartPolicy, Run, StartFailure};
use pal_resources::host_port::HostPort;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::host_ports::Taken;
use super::launch::{self, REFRESH};
use super::report;
use super::reporting::{Reported, Reporting, save};

use super::storage::{Limits, MEASURE, Places};
use super::termination::LastWords;
use super::{PodHandle, Shared, Wanted, sources};
use crate::exec::Container;
use crate::logs::ContainerLog;
use crate::runtime::{LocalImage, PortClaims, Workload};

/// What a job brought.
pub(super) enum Done {
    Event(Event),
    Found(usize, Result<Option<LocalImage>, ImageFailure>),
    Pulled(usize, Result<LocalImage, ImageFailure>, Duration),
    Launched(Run, Result<launch::Launched, StartFailure>),
    /// The hook before the run's end is through, or its time is over.
    PreStop(Run, Result<(), String>),
    Reported(Reported),
    /// The volumes are up to date, for that long.
    Refreshed(Option<Duration>),
    /// Which limit of the disk the pod is beyond, if it is.
    Measured(Option<String>),
}

/// A run that is starting or running.
pub(super) struct Active {
    pub(super) run: Run,
    /// Ends it while it is starting.
    pub(super) cancel: CancellationToken,
    pub(super) workload: Option<Arc<dyn Workload>>,
    /// For who joins it, once it runs.
    pub(super) container: Option<Arc<Container>>,
    /// What it leaves to say of its end, likewise.
    pub(super) words: Option<LastWords>,
    pub(super) log: Arc<ContainerLog>,
    /// When it has to have ended, once its hook before the end was begun.
    pub(super) end_by: Option<watch::Sender<Instant>>,
}

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Arc<PodHandle>,
    wanted: watch::Receiver<Wanted>,
    pub(super) pod: Arc<Pod>,
    pub(super) state: PodState,
    pub(super) jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    /// By container.
    pub(super) images: Vec<Option<LocalImage>>,
    pub(super) runs: Vec<Active>,
    /// Which container serves on which port.
    pub(super) claims: PortClaims,
    /// The address that the pod holds.
    pub(super) address: Option<IpAddr>,
    /// The ports of the node that the pod has; none once it has ended, or if another has them.
    pub(super) host_ports: Option<Taken>,
    pub(super) reporting: Reporting,
    /// When the pod was bound to the node.
    bound: Timestamp,
    changed: bool,
    pub(super) refresh: Option<Instant>,
    /// What the pod may use of the disk, if that is limited.
    limits: Option<Arc<Limits>>,
    /// When it is looked at what the pod uses.
    measure: Option<Instant>,
    pub(super) about: Arc<ObjectReference>,
}

impl Worker {
    /// For a pod with what was known of it before.
    pub(super) fn new(
        shared: Arc<Shared>,
        handle: Arc<PodHandle>,
        wanted: watch::Receiver<Wanted>,
        pod: Arc<Pod>,
    ) -> Self {
        let plan = Arc::new(PodPlan::new(&pod));
        let now = shared.clock.now();
        let before =
            pod.status.as_ref().filter(|s| s.container_statuses.is_some() || s.init_container_statuses.is_some());
        let state = match before {
            Some(status) => PodState::restore(plan.clone(), status, now),
            None => PodState::new(plan.clone(), now),
        };
        let ip = pod.status.as_ref().and_then(|s| s.pod_ip.as_deref()).and_then(|ip| ip.parse::<IpAddr>().ok());
        let address = ip.filter(|ip| !state.is_finished() && shared.addresses.reserve(*ip));
        handle.hold(address);
        let asked = if state.is_finished() { Vec::new() } else { HostPort::of_pod(&pod) };
        let host_ports = shared.host_ports.take(asked, before.is_some());
        let meta = &pod.metadata;
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        let limits = Limits::of(&pod).map(Arc::new);
        let bound = report::scheduled_at(&pod).unwrap_or(now.wall);
        let images = vec![None; plan.containers.len()];
        let (jobs, runs, about) = (FuturesUnordered::new(), Vec::new(), Arc::new(about));
        Self {
            shared,
            handle,
            wanted,
            pod,
            state,
            jobs,
            images,
            runs,
            claims: PortClaims::default(),
            address,
            host_ports,
            reporting: Reporting::new(),
            bound,
            changed: true,
            refresh: None,
            limits,
            measure: None,
            about,
        }
    }

    /// Goes on until the pod is gone or the agent stops.
    pub(super) async fn run(mut self) {
        self.look_at_wanted();
        self.step(if self.host_ports.is_some() { Event::Tick } else { Event::PortsTaken });
        while !self.state.is_over() {
            self.report();
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = self.handle.stop.cancelled() => return self.suspend().await,
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.look_at_wanted(),
                    // The manager is gone, and with it the agent.
                    Err(_) => return self.suspend().await,
                },
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => self.take(done),
                () = sleep_until(wake), if wake.is_some() => self.tick(),
            }
        }
        self.forget().await;
    }

    fn next_wake(&self) -> Option<Instant> {
        let machine = self.state.deadline().map(|at| self.shared.clock.instant(at));
        let report = self.reporting.wake();
        [machine, report, self.refresh, self.measure].into_iter().flatten().min()
    }

    fn tick(&mut self) {
        self.step(Event::Tick);
        if self.refresh.is_some_and(|at| at <= Instant::now()) {
            self.refresh = None;
            let (shared, pod, ip) = (self.shared.clone(), self.pod.clone(), self.address);
            self.jobs.push(Box::pin(async move {
                let next = launch::set_up_volumes(&shared, &pod, ip).await.unwrap_or_else(|why| {
                    tracing::debug!(pod = pod.metadata.name, why, "volumes not refreshed");
                    Some(REFRESH)
                });
                Done::Refreshed(next)
            }));
        }
        if self.measure.is_some_and(|at| at <= Instant::now()) {
            self.measure = None;
            let (Some(limits), shared, handle) = (self.limits.clone(), self.shared.clone(), self.handle.clone()) else {
                return;
            };
            let work = move || limits.exceeded(&Places::of(&shared, &handle));
            self.jobs.push(Box::pin(async move {
                // Who could not look says nothing against the pod.
                Done::Measured(tokio::task::spawn_blocking(work).await.unwrap_or_default())
            }));
        }
    }

    /// Looks at the disk again, as long as the pod can use more of it.
    fn measure_later(&mut self) {
        self.measure = (self.limits.is_some() && !self.state.is_finished()).then(|| Instant::now() + MEASURE);
    }

    fn look_at_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let pod = match wanted {
            Wanted::Gone => {
                // Who comes after it must not be turned away for what is being stopped.
                self.host_ports = None;
                return self.step(Event::Gone);
            }
            Wanted::Object(pod) => pod,
        };
        self.pod = pod.clone();
        self.reporting.compare(&pod);
        self.changed = true;
        let plan = PodPlan::new(&pod);
        if !plan.readiness_gates.is_empty() {
            self.step(Event::Gates(report::gates(&pod, &plan.readiness_gates)));
        }
        if plan != **self.state.plan() {
            // Some may have come; a plan has no fewer than the one before.
            self.images.resize(plan.containers.len().max(self.images.len()), None);
            self.step(Event::Updated(Arc::new(plan)));
        }
        if pod.metadata.deletion_timestamp.is_some() {
            let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            self.step(Event::Delete { grace: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) });
        }
    }

    pub(super) fn step(&mut self, event: Event) {
        self.changed = true;
        for effect in self.state.step(event, self.shared.clock.now()) {
            self.carry_out(effect);
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Event(event) => {
                match &event {
                    Event::Prepared { ip } => {
                        self.address = Some(*ip);
                        self.handle.hold(self.address);
                        // The first look tells how long it is to the next.
                        let any = sources::may_change(&self.pod);
                        self.refresh = any.then(|| next_refresh(REFRESH));
                        self.measure_later();
                    }
                    Event::Exited(run, _) => self.end_run(*run),
                    _ => {}
                }
                self.step(event);
            }
            Done::Found(container, Ok(Some(image))) => {
                self.images[container] = Some(image.clone());
                self.step(Event::ImageFound { container, image: image.image });
            }
            Done::Found(container, Ok(None)) => self.step(Event::ImageAbsent { container }),
            Done::Pulled(container, Ok(image), took) => {
                self.images[container] = Some(image.clone());
                self.step(Event::ImagePulled { container, image: image.image, took });
            }
            Done::Found(container, Err(failure)) | Done::Pulled(container, Err(failure), _) => {
                self.step(Event::ImageFailed { container, failure });
            }
            Done::Launched(run, result) => self.launched(run, result),
            Done::PreStop(run, outcome) => self.pre_stopped(run, outcome),
            Done::Reported(reported) => {
                self.changed = true;
                if self.reporting.done(reported, &self.pod) {
                    self.step(Event::Gone);
                }
            }
            Done::Refreshed(next) => self.refresh = next.map(next_refresh),
            Done::Measured(Some(why)) => self.step(Event::Exceeded(why)),
            Done::Measured(None) => self.measure_later(),
        }
    }

    /// Makes the status if something happened, and sends what is due.
    fn report(&mut self) {
        if std::mem::take(&mut self.changed) {
            let about = Report { host_ip: self.shared.host_ip, scheduled: self.bound };
            let status = Arc::new(self.state.status(&about));
            self.reporting.plan(status.clone(), self.state.plan().restart_policy != RestartPolicy::Always);
            self.handle.set_status(status);
        }
        if let Some(write) = self.reporting.next(&self.shared, &self.pod) {
            self.jobs.push(Box::pin(async move { Done::Reported(write.await) }));
        }
    }

    /// The agent stops: so does what runs, without hooks; the pod stays on disk as it is.
    async fn suspend(mut self) {
        let grace = self.shared.stop_grace.get().copied().unwrap_or_default();
        let workloads: Vec<_> = self.runs.iter().filter_map(|a| a.workload.clone()).collect();
        let stops = workloads.iter().map(|w| w.stop(Duration::ZERO, grace));
        let limit = grace + Duration::from_secs(5);
        if tokio::time::timeout(limit, futures::future::join_all(stops)).await.is_err() {
            tracing::warn!(pod = self.handle.name, "containers did not end in time");
        }
        for active in self.runs.drain(..) {
            if let Some(container) = &active.container {
                self.handle.leave(container);
            }
            active.log.close();
        }
        if let Some(status) = self.handle.status() {
            save(&self.shared, self.reporting.kept(), self.pod, &status).await;
        }
    }

    /// Nothing is left of the pod but what is on disk.
    async fn forget(self) {
        let (shared, handle, kept) = (self.shared, self.handle, self.reporting.kept().clone());
        let work = move || {
            let dir = shared.logs.pod_dir(&handle.namespace, &handle.name, &handle.uid);
            shared.logs.remove(&dir).and(shared.records.remove(&kept, &handle.uid))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
            tracing::warn!(%error, "pod's files not removed");
        }
    }
}

/// Not all at once, and a token not before its time.
fn next_refresh(after: Duration) -> Instant {
    Instant::now() + after + REFRESH.mul_f64(rand::random_range(0.0..0.4))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
