//! HTTP services: a fresh instance for each request.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::budget::Exhausted;
use crate::failure::Failure;
use crate::instance::{self, Ended, Live};
use crate::meter::metered;
use crate::reply::{self, Broken, Lifeline, Over, Released};
use crate::workload::Workload;
use crate::{Body, Program, StartError};

/// How long a request waits for a turn, a slot or memory before it is refused.
const PATIENCE: Duration = Duration::from_secs(2);

const SERVICE_FULL: &str = "the service's memory limit is reached";
const NODE_FULL: &str = "the node's memory for components is used up";

/// A service that takes requests. Clones share everything; when the last one is dropped, nothing is left of it but the
/// requests that are being handled.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    program: Arc<Program>,
    workload: Arc<Workload>,
    /// One permit for each request that may be handled at a time.
    turns: Arc<Semaphore>,
    max_requests: u32,
    stop: CancellationToken,
}

/// Makes a service, after one instance was made on trial and dropped.
pub(crate) async fn start(program: Arc<Program>, workload: Arc<Workload>) -> Result<Service, StartError> {
    let limit = workload.spec.request_timeout;
    let room = timeout(limit.min(PATIENCE), workload.engine.room().clone().acquire_many_owned(program.slots()))
        .await
        .map_err(|_| StartError::NoRoom("all slots are taken".into()))?
        .map_err(|_| StartError::Stopping)?;
    let trial = workload.engine.guests().spawn({
        let (program, workload) = (program.clone(), workload.clone());
        let live = Live::new(&workload, room, None);
        async move { timeout(limit, instance::trial(&program, &workload, live)).await }
    });
    match trial.await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(failure))) => return Err(refusal(failure)),
        Ok(Err(_)) => return Err(StartError::Timeout(limit)),
        Err(_) => return Err(StartError::Stopping),
    }
    let max_requests = workload
        .spec
        .max_requests
        .unwrap_or(workload.engine.config().max_requests_per_service)
        .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    Ok(Service {
        inner: Arc::new(Inner {
            program,
            workload,
            turns: Arc::new(Semaphore::new(max_requests)),
            max_requests: max_requests as u32,
            stop: CancellationToken::new(),
        }),
    })
}

fn refusal(failure: Failure) -> StartError {
    match failure {
        Failure::Exit(code) => StartError::Trap(format!("exit {code} while it was instantiated")),
        Failure::OutOfMemory => StartError::OutOfMemory("an instance needs more than the limit".into()),
        Failure::NodeOutOfMemory => StartError::NoRoom(NODE_FULL.into()),
        Failure::NoRoom(why) => StartError::NoRoom(why),
        Failure::Trap(why) => StartError::Trap(why),
    }
}

impl Service {
    /// Answers one request: with what the guest answers, else 500 (trap), 502 (no response was set), 503 (no memory, no
    /// room) or 504 (too slow). Dropping the future or the response's body ends the instance.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let deadline = Instant::now() + self.inner.workload.spec.request_timeout;
        let live = match self.admit(deadline).await {
            Ok(live) => live,
            Err(why) => return reply::plain(StatusCode::SERVICE_UNAVAILABLE, why),
        };
        let head_only = request.method() == http::Method::HEAD;
        let label = Label::of(&request);
        let (lifeline, released) = Lifeline::new();
        let (answer, answered) = oneshot::channel();
        let broken = Broken::default();
        let task = self.spawn(request, live, answer, broken.clone(), released);
        match timeout_at(deadline, answered).await {
            Ok(Ok(Ok(response))) => {
                let stall = self.inner.workload.spec.request_timeout;
                reply::streamed(response, lifeline, broken, stall, head_only)
            }
            Ok(Ok(Err(why))) => {
                self.report(&label, &format!("the guest failed it: {why}"));
                reply::plain(StatusCode::BAD_GATEWAY, "the service failed this request")
            }
            // The guest has ended and set nothing.
            Ok(Err(_)) => self.unanswered(&label, task, deadline).await,
            Err(_) => {
                self.report(&label, "no response in time");
                reply::plain(StatusCode::GATEWAY_TIMEOUT, "the service took too long to respond")
            }
        }
    }

    /// Waits for a turn, a slot and memory.
    async fn admit(&self, deadline: Instant) -> Result<Live, &'static str> {
        let inner = &self.inner;
        let patience = deadline.min(Instant::now() + PATIENCE);
        if inner.stop.is_cancelled() {
            return Err("the service is stopping");
        }
        let turn = permits(&inner.turns, 1, patience).await.ok_or("too many requests at a time")?;
        let room = permits(inner.workload.engine.room(), inner.program.slots(), patience)
            .await
            .ok_or("the node runs too many instances")?;
        inner.workload.budget.room_for(inner.program.initial_bytes(), patience).await.map_err(|whose| match whose {
            Exhausted::Workload => SERVICE_FULL,
            Exhausted::Node => NODE_FULL,
        })?;
        Ok(Live::new(&inner.workload, room, Some(turn)))
    }

    fn spawn(
        &self,
        request: Request<Body>,
        live: Live,
        answer: instance::Answer,
        broken: Broken,
        released: Released,
    ) -> JoinHandle<Ended> {
        let inner = self.inner.clone();
        let label = Label::of(&request);
        let limit = inner.workload.spec.request_timeout;
        let meter = inner.workload.spec.meter.clone();
        inner.workload.engine.guests().clone().spawn(metered(meter, async move {
            let ended = tokio::select! {
                ended = instance::handle(&inner.program, &inner.workload, live, request, answer, broken) => ended,
                () = inner.stop.cancelled() => Ended::Stopped,
                over = released.over(limit) => {
                    if over == Over::Stalled {
                        report(&inner.workload, &label, "nothing of the response was taken in time");
                    }
                    Ended::Abandoned
                }
            };
            if let Ended::Failed(failure) = &ended {
                report(&inner.workload, &label, &describe(failure));
            }
            ended
        }))
    }

    /// The response for a request that the guest did not answer.
    async fn unanswered(&self, label: &Label, task: JoinHandle<Ended>, deadline: Instant) -> Response<Body> {
        match timeout_at(deadline, task).await {
            Ok(Ok(Ended::Returned)) => {
                self.report(label, "the guest returned without a response");
                reply::plain(StatusCode::BAD_GATEWAY, "the service gave no response")
            }
            Ok(Ok(Ended::Stopped | Ended::Abandoned)) => {
                reply::plain(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping")
            }
            Ok(Ok(Ended::Failed(Failure::OutOfMemory))) => reply::plain(StatusCode::SERVICE_UNAVAILABLE, SERVICE_FULL),
            Ok(Ok(Ended::Failed(Failure::NodeOutOfMemory | Failure::NoRoom(_)))) => {
                reply::plain(StatusCode::SERVICE_UNAVAILABLE, NODE_FULL)
            }
            Ok(Ok(Ended::Failed(Failure::Trap(_) | Failure::Exit(_))) | Err(_)) | Err(_) => {
                reply::plain(StatusCode::INTERNAL_SERVER_ERROR, "the service failed while it handled this request")
            }
        }
    }

    fn report(&self, label: &Label, what: &str) {
        report(&self.inner.workload, label, what);
    }

    /// The requests that are being handled, bodies that still stream included.
    pub fn in_flight(&self) -> usize {
        (self.inner.max_requests as usize).saturating_sub(self.inner.turns.available_permits())
    }

    /// Another memory limit for all instances from now on; refused with the bytes that they have, where those are more.
    pub fn set_memory_limit(&self, bytes: u64) -> Result<(), u64> {
        self.inner.workload.budget.set_limit(bytes)
    }

    /// Ends all instances; further requests get 503.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }

    /// Waits until no request is being handled. New ones are still let in while it waits: take the service out of what
    /// routes to it first.
    pub async fn drained(&self) {
        // Once all turns are had, no request has one.
        let all = self.inner.turns.acquire_many(self.inner.max_requests).await;
        drop(all);
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("program", &self.inner.program)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// What a request is called in the log; written out only when it is.
struct Label(http::Method, http::Uri);

impl Label {
    fn of(request: &Request<Body>) -> Self {
        Self(request.method().clone(), request.uri().clone())
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1.path())
    }
}

async fn permits(semaphore: &Arc<Semaphore>, count: u32, until: Instant) -> Option<OwnedSemaphorePermit> {
    // Without a queue, as nearly always, there is no timer to set.
    if let Ok(permit) = semaphore.clone().try_acquire_many_owned(count) {
        return Some(permit);
    }
    timeout_at(until, semaphore.clone().acquire_many_owned(count)).await.ok()?.ok()
}

fn report(workload: &Workload, label: &Label, what: &str) {
    workload.report(&format!("pal: {label}: {what}"));
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Exit(code) => format!("the guest called exit({code})"),
        Failure::OutOfMemory => "out of memory".into(),
        Failure::NodeOutOfMemory => format!("out of memory: {NODE_FULL}"),
        Failure::NoRoom(why) | Failure::Trap(why) => why.clone(),
    }
}
