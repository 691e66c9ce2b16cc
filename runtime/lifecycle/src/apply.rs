//! What each event changes.

use std::sync::Arc;
use std::time::Duration;

use crate::Now;
use crate::advance::{EVICTED, PORTS_TAKEN};
use crate::container::{ContainerState, Ended, Stage, StopCause};
use crate::event::{Cause, Effect, Event, Exit, Image, ImageFailure, Run, StartFailure};
use crate::hook::HookKind;
use crate::plan::{AGES, ContainerKind, PodPlan, ProbeKind, PullPolicy};
use crate::probe::ProbeState;
use crate::state::{Effects, Ending, Ground, PodState};
use crate::status::duration;

impl PodState {
    pub(crate) fn apply(&mut self, event: Event, now: Now, out: &mut Effects) {
        match event {
            Event::Tick => {}
            Event::Prepared { ip } => {
                if self.ground == Ground::Asked {
                    self.ground = Ground::Ready;
                    self.ip = Some(ip);
                }
            }
            Event::PrepareFailed { reason, message } => {
                if self.ground == Ground::Asked {
                    out.warning(None, reason, message);
                    self.ground = Ground::Wanted { at: now.mono + self.preparations.delay() };
                }
            }
            Event::PortsTaken => {
                if !self.must_end() {
                    self.failure = Some(PORTS_TAKEN);
                    out.warning(None, PORTS_TAKEN.0, PORTS_TAKEN.1.trim_start_matches("Pod was rejected: ").to_owned());
                }
            }
            Event::Exceeded(why) => {
                if !self.must_end() {
                    self.failure = Some((EVICTED, why.clone().into()));
                    out.warning(None, EVICTED, why);
                }
            }
            Event::ImageFound { container, image } => {
                if self.awaits(container, &Stage::Finding) {
                    let name = &self.plan.containers[container].image;
                    let text =
                        format!("Container image {name:?} already present on machine and can be accessed by the pod");
                    out.normal(Some(container), "Pulled", text);
                    self.image_ready(container, image);
                }
            }
            Event::ImageAbsent { container } => self.image_absent(container, now, out),
            Event::ImagePulled { container, image, took } => self.image_pulled(container, image, took, out),
            Event::ImageFailed { container, failure } => self.image_failed(container, failure, now, out),
            Event::Started(run) => self.started(run, now, out),
            Event::StartFailed(run, failure) => self.start_failed(run, failure, now, out),
            Event::Exited(run, exit) => self.exited(run, exit, now, out),
            Event::Probed { run, probe, outcome } => self.probed(run, probe, outcome, now, out),
            Event::Hooked { run, hook, outcome } => self.hooked(run, hook, outcome, now, out),
            Event::Resized { run, outcome } => {
                if self.current(run) {
                    self.resized(run, outcome, now, out);
                }
            }
            Event::Updated(plan) => self.updated(plan, now, out),
            Event::Gates(gates) => {
                if gates.len() == self.gates.len() {
                    self.gates = gates;
                }
            }
            Event::Delete { grace } => self.delete(now.mono + grace.min(AGES), now, out),
            Event::Gone => {
                self.gone = true;
                self.delete(now.mono, now, out);
            }
            Event::CleanedUp => self.ground = Ground::Released,
        }
    }

    fn awaits(&self, container: usize, stage: &Stage) -> bool {
        self.containers.get(container).is_some_and(|c| c.stage == *stage)
    }

    fn image_ready(&mut self, container: usize, image: Image) {
        let state = &mut self.containers[container];
        state.image_id = Some(image.id);
        state.stage = Stage::ImageReady;
        state.pulls = crate::backoff::Backoff::attempts();
    }

    fn image_absent(&mut self, container: usize, now: Now, out: &mut Effects) {
        if !self.awaits(container, &Stage::Finding) || self.must_end() {
            return;
        }
        let plan = &self.plan.containers[container];
        if plan.pull == PullPolicy::Never {
            let message = format!("Container image {:?} is not present with pull policy of Never", plan.image);
            self.no_image(container, Cause::ErrImageNeverPull, message, now, out);
        } else {
            self.pull(container, out);
        }
    }

    fn image_pulled(&mut self, container: usize, image: Image, took: Duration, out: &mut Effects) {
        if self.awaits(container, &Stage::Pulling) {
            let name = &self.plan.containers[container].image;
            let (took, size) = (duration(took), image.size);
            let text = format!(
                "Successfully pulled image {name:?} in {took} ({took} including waiting). Image size: {size} bytes."
            );
            out.normal(Some(container), "Pulled", text);
            self.image_ready(container, image);
        }
    }

    fn image_failed(&mut self, container: usize, failure: ImageFailure, now: Now, out: &mut Effects) {
        if self.awaits(container, &Stage::Pulling) || self.awaits(container, &Stage::Finding) {
            let name = &self.plan.containers[container].image;
            let (reason, what) = match failure.cause {
                Cause::InvalidImageName => ("InspectFailed", "apply default image tag"),
                _ => ("Failed", "pull image"),
            };
            out.warning(Some(container), reason, format!("Failed to {what} {name:?}: {}", failure.message));
            self.no_image(container, failure.cause, failure.message, now, out);
        }
    }

    fn no_image(&mut self, container: usize, cause: Cause, message: String, now: Now, out: &mut Effects) {
        out.warning(Some(container), "Failed", format!("Error: {}", cause.as_str()));
        let state = &mut self.containers[container];
        let delay = state.pulls.delay();
        let shown_until = (cause == Cause::ErrImagePull).then(|| now.mono + Duration::from_secs(2));
        state.stage = Stage::NoImage { cause, message, shown_until, until: now.mono + delay };
    }

    fn current(&self, run: Run) -> bool {
        self.containers.get(run.container).is_some_and(|c| c.attempt == run.attempt && c.busy())
    }

    fn started(&mut self, run: Run, now: Now, out: &mut Effects) {
        if !self.current(run) {
            return;
        }
        let plan = &self.plan.containers[run.container];
        let state = &mut self.containers[run.container];
        let Stage::Starting { stop } = state.stage else { return };
        out.normal(Some(run.container), "Created", "Container created".to_owned());
        out.normal(Some(run.container), "Started", "Container started".to_owned());
        state.creations = crate::backoff::Backoff::attempts();
        state.resources.clone_from(&plan.resources);
        state.stage = Stage::Running { since: now.wall, since_mono: now.mono, stop };
        state.hooking = stop.is_none() && plan.hook(HookKind::PostStart).is_some();
        match state.hooking {
            true => out.push(Effect::PostStart(run)),
            false => self.begin_first_probes(run.container, now),
        }
    }

    fn begin_first_probes(&mut self, container: usize, now: Now) {
        let first = match self.plan.containers[container].probe(ProbeKind::Startup) {
            Some(_) => &[ProbeKind::Startup][..],
            None => &[ProbeKind::Readiness, ProbeKind::Liveness],
        };
        self.begin_probes(container, first, now.mono, now);
    }

    fn hooked(&mut self, run: Run, hook: HookKind, outcome: Result<(), String>, now: Now, out: &mut Effects) {
        if !self.current(run) {
            return;
        }
        let i = run.container;
        match (hook, outcome) {
            (HookKind::PreStop, Ok(())) => {}
            (HookKind::PreStop, Err(why)) => {
                out.warning(Some(i), "FailedPreStopHook", format!("PreStopHook failed: {why}"));
            }
            (HookKind::PostStart, Ok(())) => {
                self.containers[i].hooking = false;
                self.begin_first_probes(i, now);
            }
            (HookKind::PostStart, Err(why)) => {
                out.warning(Some(i), "FailedPostStartHook", format!("PostStartHook failed: {why}"));
                self.stop(i, StopCause::Unhooked, now, out);
            }
        }
    }

    fn begin_probes(&mut self, container: usize, kinds: &[ProbeKind], since: Duration, now: Now) {
        for kind in kinds {
            let state =
                self.plan.containers[container].probe(*kind).map(|p| Box::new(ProbeState::new(p, since, now.mono)));
            self.containers[container].probes[*kind as usize] = state;
        }
    }

    fn start_failed(&mut self, run: Run, failure: StartFailure, now: Now, out: &mut Effects) {
        if !self.current(run) {
            return;
        }
        match failure {
            StartFailure::Crashed(exit) => self.exited(run, exit, now, out),
            StartFailure::NotCreated { cause, message } => {
                let must_end = self.must_end();
                let state = &mut self.containers[run.container];
                let changed = matches!(state.stage, Stage::Starting { stop: Some(StopCause::Changed) });
                if must_end || changed {
                    state.stage = Stage::Idle;
                    return;
                }
                let delay = match cause {
                    Cause::CreateContainerConfigError => Duration::from_secs(3),
                    _ => state.creations.delay(),
                };
                out.warning(Some(run.container), "Failed", format!("Error: {message}"));
                state.stage = Stage::NotCreated { cause, message, until: now.mono + delay };
            }
        }
    }

    fn exited(&mut self, run: Run, exit: Exit, now: Now, out: &mut Effects) {
        if !self.current(run) {
            return;
        }
        let must_end = self.must_end();
        let plan = &self.plan.containers[run.container];
        let state = &mut self.containers[run.container];
        let (since, length, stop) = match state.stage {
            Stage::Running { since, since_mono, stop } => (since, now.mono.saturating_sub(since_mono), stop),
            Stage::Starting { stop } => (now.wall, Duration::ZERO, stop),
            _ => return,
        };
        let code = exit.code;
        if exit.is_broken_off() && !exit.message.is_empty() && stop.is_none() {
            out.warning(Some(run.container), "Failed", format!("Container {} ended: {}", plan.name, exit.message));
        }
        state.end(Ended::new(run.attempt, exit, Some(since), now.wall));
        let replaced = matches!(stop, Some(StopCause::Changed | StopCause::Resized));
        let again = plan.kind != ContainerKind::Ephemeral && replaced || plan.runs_again(code);
        if must_end || !again {
            state.stage = Stage::Done;
            return;
        }
        let delay = match stop {
            Some(StopCause::Changed | StopCause::Resized) => Duration::ZERO,
            _ => state.crashes.after_run(length),
        };
        state.stage = Stage::Crashed { until: now.mono + delay, delay };
        if !delay.is_zero() {
            let text = format!("Back-off restarting failed container {} in pod {}", plan.name, self.plan.label);
            out.warning(Some(run.container), "BackOff", text);
        }
    }

    fn probed(
        &mut self,
        run: Run,
        kind: ProbeKind,
        outcome: Result<Option<&str>, String>,
        now: Now,
        out: &mut Effects,
    ) {
        if !self.current(run) {
            return;
        }
        let i = run.container;
        let plan = Arc::clone(&self.plan);
        let Some(probe) = plan.containers[i].probe(kind) else { return };
        let Stage::Running { since_mono, .. } = self.containers[i].stage else { return };
        let Some(state) = self.containers[i].probes[kind as usize].as_mut() else { return };
        let reached = state.answer(probe, outcome.is_ok(), now.mono);
        match &outcome {
            Ok(None) => {}
            Ok(Some(what)) => out.warning(Some(i), "ProbeWarning", format!("{} probe warning: {what}", kind.as_str())),
            Err(why) => out.warning(Some(i), "Unhealthy", format!("{} probe failed: {why}", kind.as_str())),
        }
        match (kind, reached, outcome.is_ok()) {
            (ProbeKind::Startup, true, true) => {
                state.retire();
                self.begin_probes(i, &[ProbeKind::Readiness, ProbeKind::Liveness], since_mono, now);
            }
            (ProbeKind::Startup | ProbeKind::Liveness, true, false) => {
                self.stop(i, StopCause::Unhealthy(kind), now, out)
            }
            _ => {}
        }
    }

    fn updated(&mut self, plan: Arc<PodPlan>, now: Now, out: &mut Effects) {
        let known = self.containers.len();
        if plan.containers.len() < known || plan.containers[known..].iter().any(|c| c.kind != ContainerKind::Ephemeral)
        {
            // The API lets nobody remove containers of a pod, nor add others than these.
            return;
        }
        self.containers.resize_with(plan.containers.len(), ContainerState::new);
        let old = std::mem::replace(&mut self.plan, plan);
        for i in 0..known {
            if old.containers[i].image == self.plan.containers[i].image {
                if old.containers[i].resources != self.plan.containers[i].resources {
                    self.look_at_resources(i, out);
                }
                continue;
            }
            match self.containers[i].stage {
                Stage::NoImage { .. }
                | Stage::NotCreated { .. }
                | Stage::Finding
                | Stage::Pulling
                | Stage::ImageReady => {
                    self.containers[i].stage = Stage::Idle;
                }
                _ if !self.must_end() => self.stop(i, StopCause::Changed, now, out),
                _ => {}
            }
        }
    }

    fn delete(&mut self, deadline: Duration, now: Now, out: &mut Effects) {
        match &mut self.ending {
            Some(ending) if ending.deadline <= deadline => return,
            Some(ending) => ending.deadline = deadline,
            None => self.ending = Some(Ending { deadline, removed: false }),
        }
        // Those that were asked to stop before hear of the shorter grace.
        for (i, container) in self.containers.iter().enumerate() {
            if let Stage::Starting { stop: Some(_) } | Stage::Running { stop: Some(_), .. } = container.stage {
                let run = Run { container: i, attempt: container.attempt };
                out.push(Effect::Stop { run, grace: deadline.saturating_sub(now.mono) });
            }
        }
    }
}
