//! Carrying out what the machine asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use pal_engine::Mount;
use pal_lifecycle::{Effect, Event, Hook, HookKind, Note, ProbeAction, ProbeKind, ProbePlan, Run, StartFailure};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::worker::{Active, Done, Worker};
use super::{launch, sources};
use crate::disk;
use crate::events::Occurrence;
use crate::exec::{Container, once};
use crate::runtime::{CANCELLED, Runtime, Workload, exit};

/// How long a service stays reachable after it was asked to end.
const NOTICE: Duration = Duration::from_secs(1);
/// What a run gets at least after its hook, as kubelet gives it.
const AFTER_HOOK: Duration = Duration::from_secs(2);
/// How long a hook's request may take.
const HOOK_REQUEST: Duration = Duration::from_secs(30);
/// How long a hook's command may take; before the end the grace is what counts.
const HOOK_COMMAND: Duration = Duration::from_secs(60 * 60);

impl Worker {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Prepare => {
                let job = launch::prepare(self.shared.clone(), self.pod.clone(), self.address.take());
                self.jobs.push(Box::pin(async move { Done::Event(job.await) }));
            }
            Effect::FindImage { container } => {
                let (runtime, name) = (self.shared.runtime.clone(), self.image_name(container));
                self.jobs.push(Box::pin(async move { Done::Found(container, runtime.find_image(&name).await) }));
            }
            Effect::PullImage { container } => {
                let (runtime, name) = (self.shared.runtime.clone(), self.image_name(container));
                // What ran before goes on while no server can be reached.
                let or_local = self.state.attempt(container).is_some_and(|n| n > 0);
                self.jobs.push(Box::pin(async move {
                    let begun = Instant::now();
                    let pulled = runtime.pull_image(&name, or_local).await;
                    Done::Pulled(container, pulled, begun.elapsed())
                }));
            }
            Effect::Start(run) => self.start(run),
            Effect::Stop { run, grace } => self.stop(run, grace),
            Effect::PostStart(run) => self.post_start(run),
            Effect::Resize(run) => {
                let event = Event::Resized { run, outcome: self.resize(run) };
                self.jobs.push(Box::pin(std::future::ready(Done::Event(event))));
            }
            Effect::Probe { run, probe } => self.probe(run, probe),
            Effect::Note(note) => self.note(note),
            Effect::CleanUp => self.clean_up(),
            Effect::Remove => self.reporting.remove(),
        }
    }

    fn image_name(&self, container: usize) -> String {
        self.state.plan().containers[container].image.clone()
    }

    fn start(&mut self, run: Run) {
        let cancel = CancellationToken::new();
        let handle = &self.handle;
        let dir = self.shared.logs.pod_dir(&handle.namespace, &handle.name, &handle.uid);
        let log = self.shared.logs.begin(&dir, &self.state.plan().containers[run.container].name, run.attempt);
        let (workload, container, words, end_by) = (None, None, None, None);
        self.runs.push(Active { run, cancel: cancel.clone(), workload, container, words, log: log.clone(), end_by });
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        let (image, ip, claims) = (self.images[run.container].clone(), self.address, self.claims.clone());
        let seen = self.seen_by(run);
        self.jobs.push(Box::pin(async move {
            let (Some(image), Some(IpAddr::V4(ip))) = (image, ip) else {
                // The machine starts nothing before it has both.
                return Done::Launched(run, Err(StartFailure::Crashed(exit(CANCELLED, "no image or no address"))));
            };
            let result = tokio::select! {
                result = launch::start(shared, pod, launch::Start { run, ip, image, log, claims, seen }) => result,
                () = cancel.cancelled() => Err(StartFailure::Crashed(exit(CANCELLED, ""))),
            };
            Done::Launched(run, result)
        }));
    }

    /// The files of the container that this one is to look into, as that one sees them now.
    fn seen_by(&self, run: Run) -> Vec<Mount> {
        let name = &self.state.plan().containers[run.container].name;
        let target = self.pod.spec.as_ref().and_then(|spec| sources::target(spec, name));
        let target = target.and_then(|target| self.handle.running(target));
        target.map(|target| target.place.mounts.clone()).unwrap_or_default()
    }

    pub(super) fn launched(&mut self, run: Run, result: Result<launch::Launched, StartFailure>) {
        let launch::Launched { workload, container, words } = match result {
            Ok(launched) => launched,
            Err(failure) => {
                self.end_run(run);
                return self.step(Event::StartFailed(run, failure));
            }
        };
        let Some(active) = self.runs.iter_mut().find(|a| a.run == run) else { return };
        active.workload = Some(workload.clone());
        active.container = Some(container.clone());
        active.words = Some(words.clone());
        self.handle.enter(container);
        let cancelled = active.cancel.is_cancelled();
        self.step(Event::Started(run));
        if cancelled {
            self.stop(run, Duration::ZERO);
        } else if workload.ends() {
            self.jobs.push(Box::pin(async move {
                Done::Event(Event::Exited(run, words.add_to(workload.wait().await).await))
            }));
        }
    }

    fn stop(&mut self, run: Run, grace: Duration) {
        let Some(active) = self.runs.iter_mut().find(|a| a.run == run) else { return };
        active.cancel.cancel();
        let now = Instant::now();
        let end_by = now.checked_add(grace).unwrap_or(now);
        if let Some(deadline) = &active.end_by {
            deadline.send_if_modified(|at| {
                let sooner = end_by < *at;
                *at = end_by.min(*at);
                sooner
            });
        }
        let Some(workload) = active.workload.clone() else { return };
        match self.state.plan().containers[run.container].hook(HookKind::PreStop) {
            Some(hook) if !grace.is_zero() && active.end_by.is_none() => {
                let (deadline, told) = watch::channel(end_by);
                active.end_by = Some(deadline);
                let hook =
                    carry_out_hook(self.shared.runtime.clone(), self.address, active.container.clone(), hook.clone());
                self.jobs.push(Box::pin(async move { Done::PreStop(run, within(hook, told).await) }));
            }
            // Its hook is under way; without any grace the run does not wait for it.
            Some(_) if !grace.is_zero() && active.end_by.as_ref().is_some_and(|d| d.receiver_count() > 0) => {}
            _ => self.end_workload(run, workload, grace),
        }
    }

    fn end_workload(&self, run: Run, workload: Arc<dyn Workload>, grace: Duration) {
        let notice = if grace > NOTICE { NOTICE } else { Duration::ZERO };
        let words = self.runs.iter().find(|active| active.run == run).and_then(|active| active.words.clone());
        self.jobs.push(Box::pin(async move {
            let exit = workload.stop(notice, grace).await;
            let exit = match words {
                Some(words) => words.add_to(exit).await,
                None => exit,
            };
            Done::Event(Event::Exited(run, exit))
        }));
    }

    /// The hook is through: what is left of the grace is for the run itself.
    pub(super) fn pre_stopped(&mut self, run: Run, outcome: Result<(), String>) {
        let Some(active) = self.runs.iter().find(|a| a.run == run) else { return };
        let left = active.end_by.as_ref().map(|at| at.borrow().saturating_duration_since(Instant::now()));
        if let Some(workload) = active.workload.clone() {
            self.end_workload(run, workload, left.unwrap_or_default().max(AFTER_HOOK));
        }
        self.step(Event::Hooked { run, hook: HookKind::PreStop, outcome });
    }

    fn post_start(&mut self, run: Run) {
        let Some(hook) = self.state.plan().containers[run.container].hook(HookKind::PostStart) else { return };
        let container = self.container(run);
        let hook = carry_out_hook(self.shared.runtime.clone(), self.address, container, hook.clone());
        self.jobs.push(Box::pin(async move {
            let outcome = hook.await;
            Done::Event(Event::Hooked { run, hook: HookKind::PostStart, outcome })
        }));
    }

    pub(super) fn end_run(&mut self, run: Run) {
        if let Some(at) = self.runs.iter().position(|a| a.run == run) {
            let active = self.runs.swap_remove(at);
            if let Some(container) = &active.container {
                self.handle.leave(container);
            }
            active.log.close();
        }
    }

    /// What runs, for who joins it.
    fn container(&self, run: Run) -> Option<Arc<Container>> {
        self.runs.iter().find(|active| active.run == run)?.container.clone()
    }

    fn probe(&mut self, run: Run, probe: ProbeKind) {
        let (plan, runtime, ip) = (self.state.plan().clone(), self.shared.runtime.clone(), self.address);
        let container = self.container(run);
        self.jobs.push(Box::pin(async move {
            let outcome = match (plan.containers[run.container].probe(probe), ip) {
                (Some(ProbePlan { action: ProbeAction::Exec { command }, timeout, .. }), _) => match container {
                    Some(container) => once(&runtime, &container, command, *timeout).await.map(|()| None),
                    None => Err("the container does not run".to_owned()),
                },
                (Some(probe), Some(IpAddr::V4(ip))) => {
                    let once = timeout(probe.timeout, runtime.reach(ip, &probe.action));
                    once.await.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())).and_then(healthy)
                }
                _ => Err("the pod has no address".to_owned()),
            };
            Done::Event(Event::Probed { run, probe, outcome })
        }));
    }

    fn note(&mut self, note: Note) {
        let plan = self.state.plan();
        let container = note.container.map(|i| &plan.containers[i]);
        let field_path = container.map(|c| format!("spec.{}{{{}}}", c.kind.list(), c.name));
        self.shared.recorder.record(Occurrence {
            about: self.about.clone(),
            field_path,
            warning: note.warning,
            reason: note.reason,
            message: note.message,
            at: self.shared.clock.now().wall,
        });
    }

    fn clean_up(&mut self) {
        self.refresh = None;
        self.handle.hold(None);
        self.host_ports = None;
        if let Some(ip) = self.address.take() {
            self.shared.addresses.release(ip);
        }
        let dir = self.shared.volumes_dir.join(&self.handle.uid);
        self.jobs.push(Box::pin(async move {
            if let Err(error) = tokio::task::spawn_blocking(move || disk::remove_tree(&dir)).await.unwrap_or(Ok(())) {
                // The sweep at the agent's next start tries again.
                tracing::warn!(%error, "volumes not removed");
            }
            Done::Event(Event::CleanedUp)
        }));
    }
}

/// What a probe makes of an answer. A redirect that is left is one to another host, which is not followed.
fn healthy(status: Option<StatusCode>) -> Result<Option<&'static str>, String> {
    match status {
        Some(status) if status.is_redirection() => Ok(Some("Probe terminated redirects")),
        Some(status) if !status.is_success() => Err(format!("HTTP probe failed with statuscode: {}", status.as_u16())),
        _ => Ok(None),
    }
}

/// What a hook makes of an answer: kubelet asks for any at all. Here 500 and more is what stands for a component that
/// failed and gave none.
fn carried_out(status: Option<StatusCode>) -> Result<(), String> {
    match status {
        Some(status) if status.is_server_error() => Err(format!("the answer was {status}")),
        _ => Ok(()),
    }
}

/// Carries out a hook of a container of a pod at that address.
async fn carry_out_hook(
    runtime: Arc<dyn Runtime>,
    ip: Option<IpAddr>,
    container: Option<Arc<Container>>,
    hook: Hook,
) -> Result<(), String> {
    match (hook, ip) {
        (Hook::Exec(command), _) => match container {
            Some(container) => once(&runtime, &container, &command, HOOK_COMMAND).await,
            None => Err("the container does not run".to_owned()),
        },
        (Hook::Sleep(time), _) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        (Hook::Http(action), Some(IpAddr::V4(ip))) => {
            let answer = timeout(HOOK_REQUEST, runtime.reach(ip, &action)).await;
            answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())).and_then(carried_out)
        }
        (Hook::Http(_), _) => Err("the pod has no address".to_owned()),
    }
}

/// The outcome, or that the time is over, which may become shorter meanwhile.
async fn within(
    hook: impl Future<Output = Result<(), String>>,
    mut deadline: watch::Receiver<Instant>,
) -> Result<(), String> {
    let mut hook = std::pin::pin!(hook);
    loop {
        let at = *deadline.borrow_and_update();
        tokio::select! {
            outcome = &mut hook => return outcome,
            () = sleep_until(at) => return Err("the grace period is over".to_owned()),
            changed = deadline.changed() => {
                if changed.is_err() {
                    return Err("the container has ended".to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_and_hooks_judge_answers_differently() {
        let check = |status: Option<u16>, probe: bool, hook: bool| {
            let status = status.map(|code| StatusCode::from_u16(code).unwrap());
            assert_eq!((healthy(status).is_ok(), carried_out(status).is_ok()), (probe, hook), "{status:?}");
        };
        check(None, true, true);
        check(Some(200), true, true);
        check(Some(302), true, true);
        check(Some(404), false, true);
        check(Some(500), false, false);
        check(Some(503), false, false);
    }
}
